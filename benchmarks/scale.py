"""Measure planning and opening a build of 1, 10 and 100 times the published number of rows.

``python benchmarks/scale.py`` runs on an idle machine, for about half an hour. Everything that the coordinator does is
real: it reads the lists, lists the folder of images, keeps the journal of the frame store, plans, sends tasks, and
writes index and manifest. Only the results of the tasks are simulated, by processes that decode and encode nothing:
images are empty files, frames are holes in sparse files, and shards have an index but no tar. Free space is not
checked. Each line of the output is one step:

- ``check label lists``, and ``read lists, cut sequences``: what every build begins with, timed alone;
- ``build``: the whole coordinator, and below it the tasks that a progress bar shows, those of the workers included;
- ``open``: manifest and index, checked; ``info``: the command, as a whole process;
- ``first batch planned``: a data module of fold 0, variant oTV, up to the rows of the first batch.

Columns: seconds; resident memory of the process in MB, its peak in the step, or at the end of a task of the build; and
how much that is more than before the step, in bytes per row of the lists (for ``info``, all memory). At the end: the
exponents of time and of memory against rows, from the smallest factor to the largest. A folder of ext4 may not hold the
six million names of 100 times; name one on another file system with ``--folder``, such as tmpfs with ``nr_inodes=0``.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import numpy as np
from xxhash import xxh3_64_intdigest

from sffshards.base.errors import SffshardsError
from sffshards.base.progress import Advance
from sffshards.domain.frame_sequences import PUBLISHED_WINDOWS
from sffshards.domain.frames import FRAME_SIDE
from sffshards.domain.sample_sets import Part, Protocol, Stage, Variant
from sffshards.domain.task import M48
from sffshards.executors import Executor, LocalExecutor
from sffshards.images.frame_store import write_segment
from sffshards.images.store_filling import _decode_chunk, _find_bad
from sffshards.images.stored_frames import FRAME_BYTES, StoredFrames
from sffshards.labels import audit_labels, find_data, list_path, read_lists
from sffshards.shards.build.build_inputs import BuildOptions, read_source
from sffshards.shards.build.encoded_frames import _encode_file
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.build.shard_writer import ShardTask, verify_written, write_shard, write_shard_record
from sffshards.shards.format import INDEX_DTYPE, PLACE_DTYPE, CodecName, Index, Shard
from sffshards.shards.read import open_build

PUBLISHED_ROWS = 59_384
ROWS_PER_HARP = 60
MAX_LINKS = 60_000
"""Names that are given to one empty file; ext4 allows 65,000."""
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")

T = TypeVar("T")
R = TypeVar("R")


class Cost(NamedTuple):
    """What a step cost."""

    seconds: float
    peak_mb: float
    added_mb: float
    """Peak over what the process held before."""


def resident_mb(field: str) -> float:
    """Read ``VmRSS``, the memory that the process uses, or ``VmHWM``, its peak."""
    match = re.search(rf"^{field}:\s*(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"{STATUS} has no {field}")
    return int(match[1]) * 1024 / 1e6


def measured(step: Callable[[], object]) -> Cost:
    held = resident_mb("VmRSS")
    CLEAR_REFS.write_text("5")
    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    return Cost(seconds, resident_mb("VmHWM"), resident_mb("VmHWM") - held)


def make_data(folder: Path, num_rows: int) -> None:
    """Write lists of some number of rows, and an empty file for the image of each."""
    images = folder / "magnetogram_jpg"
    images.mkdir(parents=True)
    (folder / "M48").mkdir()
    harps = np.arange(1, num_rows // ROWS_PER_HARP + 1)
    days = np.arange("2010-05-01", "2024-01-01", dtype="datetime64[D]")
    number = 0
    for part, of_part in zip(Part, np.array_split(harps, len(Part)), strict=True):
        lines = []
        for harp in of_part.tolist():
            times = days[harp % len(days)] + np.arange(ROWS_PER_HARP) * np.timedelta64(96, "m")
            label = int(harp % 20 == 0)
            for text in np.datetime_as_string(times, "s").tolist():
                stamp = text.replace("-", "").replace(":", "").replace("T", "_")
                name = f"hmi.sharp_720s.{harp}.{stamp}_TAI.magnetogram"
                lines.append(f"{name} {label}\n")
                source = folder / f"empty-{number // MAX_LINKS}"
                if number % MAX_LINKS == 0:
                    source.touch()
                os.link(source, images / f"{name}.fits.jpg")
                number += 1
        list_path(folder, M48, part).write_text("".join(lines))


class SimulatedWorkers(Executor):
    """Processes that simulate the results of the tasks of a build."""

    def __init__(self, workers: LocalExecutor) -> None:
        self._workers = workers

    @property
    def num_workers(self) -> int:
        return self._workers.num_workers

    def run(self, function: Callable[[T], R], tasks: Iterable[T], *, group: int = 1) -> Iterator[R]:
        simulated: dict[object, Callable[[Any], Any]] = {
            _find_bad: find_nothing_bad,
            StoredFrames.find_damaged: find_no_damage,
            _decode_chunk: write_black_segment,
            _encode_file: encode_nothing,
            write_shard: write_record_only,
            verify_written: verify_written,
        }
        return self._workers.run(simulated[function], tasks, group=group)


def find_nothing_bad(_: object) -> dict[int, SffshardsError]:
    return {}


def find_no_damage(_: object) -> Any:
    return np.empty(0, np.int64)


def write_black_segment(task: tuple[Path, list[str]]) -> tuple[str, list[tuple[int, int]]]:
    """Write a segment of black frames, all of them a hole in the file."""
    path, images = task
    write_segment(path, len(images), [])
    with path.open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) + len(images) * FRAME_BYTES)
    checksum = xxh3_64_intdigest(bytes(FRAME_SIDE * FRAME_SIDE))
    return path.stem, [(number, checksum) for number in range(len(images))]


def encode_nothing(task: tuple[Any, ...]) -> tuple[Any, Any]:
    num_frames = len(task[2])
    return np.zeros(num_frames, PLACE_DTYPE), np.zeros(num_frames, np.uint64)


def write_record_only(task: ShardTask) -> Shard:
    """Write the record of a shard that does not exist."""
    rows: Index = np.zeros(len(task.samples), INDEX_DTYPE)
    rows["key"] = task.samples.keys()
    rows["t_end_tai"], rows["harp"] = task.samples.sequences.end_times, task.samples.sequences.harps
    rows["row"], rows["label"] = task.samples.sequences.rows, task.samples.sequences.labels
    rows["view"], rows["num_distinct"] = task.samples.views, task.samples.sequences.counts
    shard = Shard(name=task.name, num_samples=len(rows), size_bytes=1, sha256="0" * 64)
    write_shard_record(task.out, shard, rows)
    return shard


class Steps:
    """Progress that measures each task."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = {}

    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        start, held = time.perf_counter(), resident_mb("VmRSS")
        yield lambda _: None
        self.costs[f"  {description.lower()}"] = Cost(
            time.perf_counter() - start, resident_mb("VmRSS"), resident_mb("VmRSS") - held
        )

    def note(self, message: str | SffshardsError) -> None:
        pass


def options_of_build() -> BuildOptions:
    return BuildOptions(
        task=M48,
        codec=CodecName.JPG,
        seed=1,
        shard_size_bytes=8_000_000,
        skip_bad_images=False,
        windows=PUBLISHED_WINDOWS,
    )


def measure_check(folder: Path) -> dict[str, Cost]:
    layout = find_data(folder)
    return {"check label lists": measured(lambda: audit_labels(read_lists(layout.lists)))}


def measure_source(folder: Path) -> dict[str, Cost]:
    layout = find_data(folder)
    return {"read lists, cut sequences": measured(lambda: read_source(layout, options_of_build()))}


def measure_build(folder: Path) -> dict[str, Cost]:
    layout, steps, out = find_data(folder), Steps(), folder / "out" / "48h"
    endless = mock.patch("sffshards.base.output_checks.free_bytes", return_value=1 << 60)
    with LocalExecutor(2) as workers, endless:
        cost = measured(
            lambda: build_shards(
                layout,
                options_of_build(),
                out=out,
                store_folder=folder / "out" / "frames",
                executor=SimulatedWorkers(workers),
                progress=steps,
            )
        )
    return {"build": cost, **steps.costs}


def measure_open(folder: Path) -> dict[str, Cost]:
    return {"open": measured(lambda: open_build(folder / "out" / "48h"))}


def measure_start(folder: Path) -> dict[str, Cost]:
    from sffshards.loading import LoadingOptions, ShardDataModule

    def start() -> None:
        options = LoadingOptions(variant=Variant.OTV, protocol=Protocol.PAPER)
        module = ShardDataModule(folder / "out" / "48h", options, fold=0)
        next(iter(module.stage_loader(Stage.TRAIN, shuffle=options.shuffle).source()))

    return {"first batch planned": measured(start)}


def measure_info(folder: Path) -> dict[str, Cost]:
    command = [sys.executable, "-m", "sffshards", "info", str(folder / "out" / "48h")]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"info ended with status {status}")
    peak_mb = usage.ru_maxrss * 1024 / 1e6
    return {"info": Cost(time.perf_counter() - start, peak_mb, peak_mb)}


STEPS = (measure_check, measure_source, measure_build, measure_open, measure_info, measure_start)


def measure(folder: Path, factor: float) -> dict[str, Cost]:
    """Return the cost of every step for some multiple of the published rows."""
    num_rows = round(PUBLISHED_ROWS * factor)
    make_data(folder, num_rows)
    costs: dict[str, Cost] = {}
    for step in STEPS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(step, folder).result()
        for name, cost in found.items():
            figures = f"{cost.seconds:8.2f} s {cost.peak_mb:7.0f} MB {1e6 * cost.added_mb / num_rows:7.0f} B/row"
            print(f"{factor:5g} x  {name:<28} {figures}", flush=True)
        costs |= found
    shutil.rmtree(folder)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", type=float, nargs="+", default=[1, 10, 100])
    parser.add_argument("--folder", type=Path, default=Path("scale-data"), help="folder of the synthetic data; removed")
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    every = {factor: measure(options.folder, factor) for factor in sorted(options.factors)}
    if options.json:
        plain = {factor: {name: cost._asdict() for name, cost in costs.items()} for factor, costs in every.items()}
        options.json.write_text(json.dumps(plain, indent=1) + "\n")
    least, most = min(every), max(every)
    if most > least:
        for name, cost in every[least].items():
            grown, span = every[most][name], math.log(most / least)
            of_time = math.log(grown.seconds / cost.seconds) / span
            of_memory = math.log(max(grown.added_mb, 0.1) / max(cost.added_mb, 0.1)) / span
            print(f"{name:<28} time ~ rows^{of_time:.2f}, memory ~ rows^{of_memory:.2f}")


if __name__ == "__main__":
    main()
