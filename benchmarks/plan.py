"""Measure what it takes to plan an epoch of a million samples: ``python benchmarks/plan.py``, on an idle machine.

A rank runs up to its first step of an epoch, through `sffshards.loading.PlanSource`, over synthetic rows in shards of
800 and ten groups, with ten samples per rank and step. Every rank does the same. A row is a way to shuffle and a number
of ranks, in a process of its own: the median time, and the increase of the process's peak of resident memory, as Linux
counts it, over what it used with the rows in memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.loading_options import Shuffle
from sffshards.shards.read.build_reader import RowShards

SAMPLES_PER_SHARD = 800
NUM_GROUPS = 10
LOCAL_BATCH = 10
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def make_source(num_samples: int, shuffle: Shuffle, num_ranks: int) -> PlanSource:
    shards_N = np.arange(num_samples) // SAMPLES_PER_SHARD
    return PlanSource(
        rows=np.arange(num_samples),
        global_batch=LOCAL_BATCH * num_ranks,
        num_ranks=num_ranks,
        rank=num_ranks - 1,
        seed=1,
        shuffle=shuffle,
        shards=RowShards(shards_N=shards_N, groups_N=shards_N * NUM_GROUPS // (shards_N[-1] + 1)),
    )


def resident_mb(field: str) -> float:
    """Read ``VmRSS``, the memory that the process uses, or ``VmHWM``, its peak."""
    match = re.search(rf"^{field}:\s*(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"{STATUS} has no {field}")
    return int(match[1]) * 1024 / 1e6


def measure(num_samples: int, shuffle: Shuffle, num_ranks: int, repeats: int) -> tuple[list[float], float]:
    """Return the seconds of each repeat, and the MB by which the first raised the peak."""
    small = make_source(1_000, shuffle, num_ranks)
    next(small())  # costs of the first call only: imports, and memory that the libraries keep
    source = make_source(num_samples, shuffle, num_ranks)
    CLEAR_REFS.write_text("5")  # forget the peak of the imports
    held = resident_mb("VmRSS")
    seconds = []
    for epoch in range(repeats):
        source.epoch = epoch
        start = time.perf_counter()
        next(source())
        seconds.append(time.perf_counter() - start)
        if epoch == 0:
            peak = resident_mb("VmHWM")
    return seconds, peak - held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for shuffle in (Shuffle.GLOBAL, Shuffle.BLOCKS):
        for num_ranks in (1, 8):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                seconds, added_mb = pool.submit(measure, options.samples, shuffle, num_ranks, options.repeats).result()
            print(
                f"{shuffle:<7} {num_ranks} rank{'s' * (num_ranks > 1):<1} {statistics.median(seconds):6.3f} s"
                f" {added_mb:6.0f} MB  (of {', '.join(f'{s:.3f}' for s in seconds)})"
            )


if __name__ == "__main__":
    main()
