from .synthetic_dataset import SynthReport, synthesize, synthesize_for_lists

__all__ = ["SynthReport", "synthesize", "synthesize_for_lists"]
