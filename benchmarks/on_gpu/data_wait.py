"""How long a step waits for data, by layout of the shards and way of reading.

A new layout is a line in `LAYOUTS`, a new way of reading a function in `list_readers`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.on_gpu.results import Results, Row
from benchmarks.on_gpu.ways import Stepper, wait_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sffshards.loading import ClipBatch
    from sffshards.shards.read import Build

LAYOUTS = ("jpg", "npy")
"""Codecs of the shards."""
_SHARD_BYTES = 64_000_000


class Times(NamedTuple):
    """Seconds of one step."""

    wait: float
    """Until the batch was there."""
    copy: float
    """To copy it to the device."""
    step: float


class Data:
    """Synthetic data and their builds, in a folder.

    Parameters
    ----------
    folder
        Folder to write to.
    num_workers
        Number of processes that write; 0 for this one alone.
    """

    def __init__(self, folder: Path, *, num_workers: int) -> None:
        self.folder, self.num_workers = folder, num_workers

    def draw(self, *, num_harps: int, frames_per_harp: int) -> None:
        """Draw the images and write their lists."""
        from sffshards.executors.local_executor import LocalExecutor
        from sffshards.synth import synthesize

        folder = self.folder / "data"
        with LocalExecutor(self.num_workers) as executor:
            synthesize(folder, seed=1, num_harps=num_harps, frames_per_harp=frames_per_harp, executor=executor)

    def build(self, layout: str) -> Build:
        """Build shards in a layout, and open them."""
        from sffshards.domain.task import M48
        from sffshards.executors.local_executor import LocalExecutor
        from sffshards.labels import find_data
        from sffshards.shards.build import BuildOptions, build_shards
        from sffshards.shards.format import CodecName
        from sffshards.shards.read import open_build

        data, out, store = find_data(self.folder / "data"), self.folder / layout, self.folder / "frames"
        options = BuildOptions(
            task=M48, codec=CodecName(layout), seed=1, shard_size_bytes=_SHARD_BYTES, skip_bad_images=False
        )
        with LocalExecutor(self.num_workers) as executor:
            build_shards(data, options, out=out, store_folder=store, executor=executor)
        return open_build(out)


def list_readers(num_cores: int, *, pinned: bool) -> dict[str, Callable[[Build, int], Iterable[ClipBatch]]]:
    """Return functions that read all plain samples of a build in batches, by what they are."""
    from sffshards.loading import ClipLoader, PlanSource, Shuffle
    from sffshards.loading.stock_loader import ClassicLoader

    def plan(num_threads: int) -> Callable[[Build, int], Iterable[ClipBatch]]:
        def read(build: Build, batch: int) -> Iterable[ClipBatch]:
            rows = _plain_rows(build)
            shuffle = Shuffle.GLOBAL
            source = PlanSource(rows=rows, global_batch=batch, num_ranks=1, rank=0, seed=0, shuffle=shuffle)
            return ClipLoader(build, source, num_threads=num_threads, pinned=pinned)

        return read

    def classic(build: Build, batch: int) -> Iterable[ClipBatch]:
        rows, next_epoch = _plain_rows(build), count().__next__
        return ClassicLoader(
            build, rows=rows, batch_size=batch, num_ranks=1, rank=0, seed=0, epoch=next_epoch, pinned=pinned
        )

    threads = sorted({0, 2, num_cores})
    return {f"plan, {number} threads": plan(number) for number in threads} | {"classic": classic}


def measure_waits(stepper: Stepper, data: Data, results: Results, *, num_steps: int, num_cores: int) -> None:
    """Add a row for each layout and way of reading, with the means over some steps."""
    case = stepper.case
    table = f"Waiting for data, {stepper.way}, {case.format}, page cache warm"
    readers = list_readers(num_cores, pinned=case.device.type == "cuda")
    for layout in LAYOUTS:
        builds: list[Build] = []
        built = results.add(Row(table="Data", name=f"{layout} shards"))
        results.attempt(built, partial(_build, data, layout, built, builds), seconds=60)
        for name, read in readers.items():
            row = results.add(Row(table=table, name=f"{layout}, {name}", batch=case.batch))
            if builds:
                loader = read(builds[0], case.batch)
                results.attempt(row, partial(_measure_row, row, stepper, loader, num_steps), seconds=20)
            else:
                row.status = built.status
    results.show(["Data", table])


def _build(data: Data, layout: str, row: Row, builds: list[Build]) -> None:
    start = time.perf_counter()
    builds.append(data.build(layout))
    row.figures = {"seconds": time.perf_counter() - start, "bytes": builds[0].manifest.size_bytes}


def _plain_rows(build: Build) -> NDArray[np.int64]:
    return build.group_rows(name for name in build.manifest.groups if name.endswith("base"))


def _measure_row(row: Row, stepper: Stepper, loader: Iterable[ClipBatch], num_steps: int) -> None:
    """Take some steps, in as many passes as it needs; the first pass and each one's first step are not counted."""
    for _ in loader:
        pass  # shards are checked once
    passes = (_step_through(stepper, loader) for _ in count())
    steps = list(islice(chain.from_iterable(passes), num_steps))
    wait, copy, step = (sum(times) / len(steps) for times in zip(*steps, strict=True))
    row.figures = {
        "wait_ms": 1e3 * wait,
        "copy_ms": 1e3 * copy,
        "step_ms": 1e3 * step,
        "wait_share": wait / (wait + copy + step),
        "clips_per_second": stepper.case.batch / (wait + copy + step),
    }


def _step_through(stepper: Stepper, loader: Iterable[ClipBatch]) -> Iterator[Times]:
    batches = iter(loader)
    _take_step(stepper, next(batches))
    ready = time.perf_counter()
    for batch in batches:
        wait = time.perf_counter() - ready
        yield Times(wait, *_take_step(stepper, batch))
        ready = time.perf_counter()


def _take_step(stepper: Stepper, batch: ClipBatch) -> tuple[float, float]:
    """Copy a batch to the device and take a step; return the seconds of both."""
    start, device = time.perf_counter(), stepper.case.device
    clips_BTHW, labels_B = (part.to(device, non_blocking=True) for part in (batch.clips_BTHW, batch.labels_B))
    wait_for(device)
    copy = time.perf_counter() - start
    return copy, stepper.step(clips_BTHW, labels_B)
