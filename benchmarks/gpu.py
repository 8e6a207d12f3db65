"""Measure training and inference on one GPU, ours against torchvision's: ``python benchmarks/gpu.py``.

It takes at most eight minutes (``--budget-s``), prints tables, and saves the same as JSON after each measurement. It
runs from a checkout with torch, torchvision and lazy-loader; the rows that read shards need the packages in
`FOR_SHARDS` too. Without a GPU it rehearses everything on the CPU with the small network. Its jobs, in this order:

ceilings
    What the card reaches: large matrix products, a large copy. The share of the peak in later tables is that of the
    bfloat16 product measured here, not of a data sheet. A network's operations are those that
    `torch.utils.flop_counter` counts in a forward pass of torchvision's network; a training step is three of them.
train
    A training step in bfloat16 autocast on clips in memory, for both implementations of attention, plain and compiled.
data
    The time that a step of the fastest of them waits for data, by layout of the shards and way of reading. The data are
    synthetic and lie in the page cache.
profile
    The ten kernels on which a step spends most, of the default way and of the fastest.
options, batch
    What else may speed a step up, at the published batch of 10, and with larger batches.
memory
    The largest batch that fits, by doubling and bisection, in training and inference.
inference
    Clips per second without gradients, in bfloat16 and float32.
formats
    Training steps in float32, as torch computes it by default and with TF32 in all products.
graphs, autotune
    Other modes of `torch.compile`, which take long to compile.

The ways of a table take turns, step by step. Figures are medians; a ratio is the median of the ratios of adjacent
steps. Memory is the peak of what one way alone allocates. What fails says so in its row, and the rest goes on. What
does not fit in the budget is skipped, in the same way.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

STARTED = time.monotonic()

FOR_NETWORKS = ("torch", "torchvision", "numpy", "lazy_loader")
FOR_SHARDS = ("msgspec", "simplejpeg", "xxhash", "erfa", "webdataset", "braceexpand", "yaml")
"""Import names of what draws, writes and reads shards."""
JOBS = ("train", "data", "profile", "options", "batch", "memory", "inference", "formats", "graphs", "autotune")
"""What is measured after the ceilings, the most wanted first."""


def find_missing(names: Sequence[str]) -> list[str]:
    """Return the packages that cannot be imported, of some import names."""
    return [name for name in names if sys.modules.get(name, ...) is None or find_spec(name) is None]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-s", type=float, default=480, help="seconds in all, from the start of Python")
    parser.add_argument("--size", choices=["full", "small"], help="what to measure (default: full on a GPU)")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=JOBS, help="run these jobs only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to save (default: gpu-NAME_OF_THE_CARD.json)")
    options = parser.parse_args(arguments)
    if missing := find_missing(FOR_NETWORKS):
        names = ", ".join(FOR_NETWORKS)
        parser.exit(2, f"benchmarks/gpu.py: expected the packages {names}, found no {', '.join(missing)}\n")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed
    from benchmarks.on_gpu.jobs import run_jobs

    jobs = [job for job in JOBS if job in options.only]
    run_jobs(jobs, options, started=STARTED, missing=find_missing(FOR_SHARDS))


if __name__ == "__main__":
    main()
