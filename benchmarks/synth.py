"""Measure how fast synthetic images are drawn and written as JPEG: ``python benchmarks/synth.py``, on an idle machine.

A full rehearsal needs 59,384 images; at 150 per second that takes seven minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from sffshards.executors.local_executor import LocalExecutor
from sffshards.synth import synthesize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rates = []
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            with LocalExecutor(options.workers) as executor:
                report = synthesize(Path(folder), seed=repeat, num_harps=12, frames_per_harp=40, executor=executor)
            rates.append(report.num_written / (time.perf_counter() - start))
    print(f"{statistics.median(rates):.0f} images/s with {options.workers} processes, including their start")
    print(f"of {', '.join(f'{rate:.0f}' for rate in rates)}")


if __name__ == "__main__":
    main()
