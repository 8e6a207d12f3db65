"""Count the samples that an epoch misses or repeats, with our loader and with stock WebDataset.

``nox -s bench -- benchmarks/coverage.py`` (a few minutes). Sets of 107, 150 and 210 samples, on 1 to 16 ranks with 0 to
8 readers per rank: threads for ours, ``DataLoader`` worker processes for stock. A rank's share does not depend on the
other ranks, so the ranks of a row run one after the other. So do the workers of stock, each with the rank and worker
number that webdataset's splitters read from the environment; their samples are joined as a DataLoader joins them.
``--processes`` starts real DataLoader workers instead, for 0, 1, 2 and 8 of them.

ours
    `sffshards.loading.ClipLoader` on a build made here: the rows of its batches, read and decoded.
stock, no repeat
    ``webdataset.WebDataset`` with ``split_by_node`` and ``split_by_worker`` on tars of 10 samples. Every sample comes
    once, but ranks have different numbers of samples: ``apart`` is the largest difference in batches of 4. Ranks that
    train together wait forever for a rank without further batches. If all stop there, ``cut`` is what is missing.
    Readers without a shard yield nothing here; unchanged, stock raises ``ValueError``.
stock, with_epoch
    the same with the customary ``.repeat().with_epoch(n)``, where n is the samples over the ranks and workers, rounded
    up. All ranks have as many steps. ``empty`` counts the readers without a shard, which yield nothing.

Each row is the sum over the sets and the numbers of ranks named. ``missing``, ``doubled`` and ``cut`` are in percent of
samples.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds

from sffshards.base.progress import SILENT
from sffshards.domain.task import M48
from sffshards.labels.data_layout import find_data
from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.loading_options import Shuffle
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.read.build_reader import Build, open_build
from sffshards.synth import synthesize

SIZES = (107, 150, 210)
BATCH = 4
SAMPLES_A_TAR = 10


@dataclass
class Tally:
    """Samples that epochs delivered, compared with those of the set."""

    samples: int = 0
    missing: int = 0
    doubled: int = 0
    cut: int = 0
    empty: int = 0
    apart: int = 0

    def add(self, size: int, of_ranks: Sequence[Sequence[int]], *, empty: int = 0) -> None:
        seen = Counter(sample for of_rank in of_ranks for sample in of_rank)
        steps = [math.ceil(len(of_rank) / BATCH) for of_rank in of_ranks]
        kept = {sample for of_rank in of_ranks for sample in of_rank[: min(steps) * BATCH]}
        self.samples += size
        self.missing += size - len(seen)
        self.doubled += seen.total() - len(seen)
        self.cut += size - len(kept)
        self.empty += empty
        self.apart = max(self.apart, max(steps) - min(steps))

    def percent(self, count: int) -> str:
        return f"{100 * count / self.samples:6.2f}"


def make_tars(folder: Path, size: int) -> list[str]:
    """Write samples that contain only their number."""
    folder.mkdir()
    paths = []
    for first in range(0, size, SAMPLES_A_TAR):
        paths.append(str(folder / f"{first:05d}.tar"))
        with wds.TarWriter(paths[-1], encoder=False) as tar:
            for number in range(first, min(first + SAMPLES_A_TAR, size)):
                tar.write({"__key__": f"s{number:05d}", "cls": str(number).encode()})
    return paths


def make_build(folder: Path) -> Build:
    """Build at least as many samples as the largest set needs."""
    synthesize(folder / "data", seed=1, num_harps=2, frames_per_harp=20)
    options = BuildOptions(task=M48, codec=CodecName.JPG, seed=1, shard_size_bytes=2_000_000, skip_bad_images=False)
    build_shards(
        find_data(folder / "data"),
        options,
        out=folder / "48h",
        store_folder=folder / "frames",
        force=False,
        progress=SILENT,
    )
    return open_build(folder / "48h")


def read_ours(build: Build, size: int, *, num_ranks: int, rank: int, num_threads: int) -> list[int]:
    source = PlanSource(
        rows=np.arange(size),
        global_batch=BATCH * num_ranks,
        num_ranks=num_ranks,
        rank=rank,
        seed=0,
        shuffle=Shuffle.GLOBAL,
    )
    batches = ClipLoader(build, source, num_threads=num_threads)
    return [row for batch in batches for row in batch.rows_B[batch.mask_B].tolist()]


def stock(paths: list[str]) -> Any:
    return wds.WebDataset(
        paths, shardshuffle=len(paths), seed=0, nodesplitter=wds.split_by_node, empty_check=False
    ).shuffle(1_000, seed=0)


def number_of(sample: dict[str, bytes]) -> int:
    return int(sample["cls"])


def read_stock(paths: list[str], *, rank: int, num_ranks: int, num_workers: int, num_samples: int) -> list[list[int]]:
    """Return the samples of each reader of a rank: of its workers, one by one, or of the rank itself."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(num_ranks), "NUM_WORKERS": str(max(num_workers, 1))}
    found = []
    for worker in range(max(num_workers, 1)):
        os.environ["WORKER"] = str(worker)
        dataset = stock(paths).map(number_of)
        if num_samples:
            dataset = dataset.repeat().with_epoch(num_samples)
        found.append(list(dataset))
    return found


def read_processes(paths: list[str], *, rank: int, num_ranks: int, num_workers: int, num_samples: int) -> list[int]:
    """Return the samples of a DataLoader with real worker processes."""
    for name in ("WORKER", "NUM_WORKERS"):
        os.environ.pop(name, None)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(num_ranks)}
    dataset = stock(paths).map(number_of)
    if num_samples:
        dataset = dataset.repeat().with_epoch(num_samples)
    return list(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=num_workers))


def tally_ours(build: Build, sizes: Iterable[int], ranks: Iterable[int], num_threads: int) -> Tally:
    tally = Tally()
    for size in sizes:
        for num_ranks in ranks:
            shares = [
                read_ours(build, size, num_ranks=num_ranks, rank=rank, num_threads=num_threads)
                for rank in range(num_ranks)
            ]
            tally.add(size, shares)
    return tally


def tally_stock(
    tars: dict[int, list[str]], ranks: Iterable[int], num_workers: int, *, repeat: bool, processes: bool
) -> Tally:
    tally = Tally()
    for size, paths in tars.items():
        for num_ranks in ranks:
            num_samples = math.ceil(size / (num_ranks * max(num_workers, 1))) if repeat else 0
            shares, empty = [], 0
            for rank in range(num_ranks):
                place = {"rank": rank, "num_ranks": num_ranks, "num_workers": num_workers, "num_samples": num_samples}
                if processes:
                    shares.append(read_processes(paths, **place))
                else:
                    readers = read_stock(paths, **place)
                    empty += sum(not reader for reader in readers)
                    shares.append([sample for reader in readers for sample in reader])
            tally.add(size, shares, empty=empty)
    return tally


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=16, help="largest number of ranks")
    parser.add_argument("--readers", type=int, default=8, help="largest number of threads or workers per rank")
    parser.add_argument("--processes", action="store_true", help="start real DataLoader workers")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    every = range(1, options.ranks + 1)
    bands = [band for band in (range(1, 2), range(2, 5), range(5, 9), range(9, 17)) if set(band) & set(every)]
    counts = [0, 1, 2, 8] if options.processes else list(range(options.readers + 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tars = {size: make_tars(folder / str(size), size) for size in SIZES}
        print("               | ours            | stock, no repeat              | stock, with_epoch")
        print("ranks  readers | missing doubled | missing doubled apart     cut | missing doubled empty")
        with make_build(folder) as build:
            for band in bands:
                ranks = [num for num in band if num in every]
                for readers in counts:
                    ours = tally_ours(build, SIZES, ranks, readers)
                    once = tally_stock(tars, ranks, readers, repeat=False, processes=options.processes)
                    again = tally_stock(tars, ranks, readers, repeat=True, processes=options.processes)
                    print(
                        f"{ranks[0]:2} to {ranks[-1]:<2} {readers:5} |"
                        f"  {ours.percent(ours.missing)}  {ours.percent(ours.doubled)} |"
                        f"  {once.percent(once.missing)}  {once.percent(once.doubled)}"
                        f" {once.apart:5}  {once.percent(once.cut)} |"
                        f"  {again.percent(again.missing)}  {again.percent(again.doubled)} {again.empty:5}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
