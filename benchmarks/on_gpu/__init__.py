"""The measurements of ``benchmarks/gpu.py``."""
