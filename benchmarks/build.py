"""Compare the time of a build with its lower bounds and with a naive build, in one run.

Run it on an idle machine: ``python benchmarks/build.py`` (about ten minutes), or ``nox -s bench``. It draws a synthetic
data set and times, with the same number of processes each:

frame stage
    `sffshards.images.fill_store` against a bare loop that decodes and resizes the same files and discards the result.
whole build
    `sffshards build --codec jpg` against the sum of its bounds: that loop, a bare loop that encodes the same film
    strips from memory, and a bare write of as many bytes with one fsync per shard.
naive build
    a build that opens, decodes and resizes the 16 images of every sample, with our decoder and with torchvision as the
    published program does, then encodes and writes the same. It is timed on some samples, evenly spread, and scaled to
    all of them.

It prints medians over the repeats, and the largest resident memory of any process of the build.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sffshards.base.progress import SILENT
from sffshards.domain.frame_codes import sort_by_name
from sffshards.domain.frame_sequences import PUBLISHED_WINDOWS, Sample
from sffshards.domain.frames import IMAGE_SUFFIX
from sffshards.domain.sample_sets import Kind
from sffshards.domain.task import M48
from sffshards.domain.views import View, apply_view
from sffshards.executors.executor import chunked
from sffshards.executors.local_executor import LocalExecutor
from sffshards.images.frame_store import FrameStore
from sffshards.images.image_files import decode_image, read_frame, resize_frame
from sffshards.images.store_filling import fill_store
from sffshards.labels.data_layout import find_data
from sffshards.labels.image_folder import ImageFiles, find_images
from sffshards.shards.build.build_inputs import read_sequences
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.format.codecs import get_codec
from sffshards.synth import synthesize


def timed(function: Callable[[], object]) -> float:
    """Time a function, after everything before it has been written to the disk."""
    os.sync()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def decode_files(paths: Sequence[Path]) -> int:
    """Decode and resize files, and discard the result."""
    for path in paths:
        resize_frame(decode_image(path.read_bytes(), where=path))
    return len(paths)


def encode_strips(strips: Sequence[tuple[tuple[Path, int], ...]]) -> int:
    """Encode film strips whose frames are rows of arrays in memory."""
    arrays: dict[Path, NDArray[np.uint8]] = {}
    num_bytes = 0
    for places in strips:
        for path in {path for path, _ in places} - arrays.keys():
            arrays[path] = np.load(path, mmap_mode="r")
        buffer = io.BytesIO()
        strip = np.concatenate([arrays[path][row] for path, row in places])
        Image.fromarray(strip).save(buffer, "JPEG", quality=95)
        num_bytes += buffer.getbuffer().nbytes
    return num_bytes


def read_as_published(path: Path) -> NDArray[np.uint8]:
    """Read an image as the published program does: torchvision, grey / 255, antialiased bilinear on floats."""
    import torch
    from torchvision.io import ImageReadMode, read_image
    from torchvision.transforms.v2.functional import resize

    torch.set_num_threads(1)
    image = resize(read_image(str(path), ImageReadMode.GRAY) / 255, [224, 224], antialias=True)
    pixels: NDArray[np.uint8] = (image[0] * 255).round().byte().numpy()
    return pixels


def build_naively(samples: Sequence[Sample], images: Path, read: Callable[[Path], NDArray[np.uint8]]) -> int:
    """Encode the payloads of samples as a loader without a frame store does: from sixteen images each."""
    codec = get_codec(CodecName.JPG)
    num_bytes = 0
    for sample in samples:
        names = [frame.name for frame in sample.sequence.frames]
        clip = np.stack([read(images / f"{name}{IMAGE_SUFFIX}") for name in names])
        num_bytes += len(codec.encode(np.ascontiguousarray(apply_view(clip, sample.view))))
    return num_bytes


def write_bytes(folder: Path, sizes: Sequence[int]) -> None:
    """Write files of given sizes, each synced to the disk."""
    block = os.urandom(1 << 20)
    for number, size in enumerate(sizes):
        with (folder / f"{number}.bin").open("wb") as file:
            for start in range(0, size, len(block)):
                file.write(block[: min(len(block), size - start)])
            file.flush()
            os.fsync(file.fileno())


class Bench:
    """A data set and the processes that all timings share; the processes are warm before the first timing."""

    def __init__(self, folder: Path, workers: int, num_harps: int, frames_per_harp: int) -> None:
        self.folder, self.workers = folder, workers
        self.data = folder / "data"
        self.executor = LocalExecutor(workers)  # as the build uses it, and as warm as the other
        synthesize(self.data, seed=1, num_harps=num_harps, frames_per_harp=frames_per_harp, executor=self.executor)
        self.layout = find_data(self.data)
        self.sequences = read_sequences(self.layout, M48, windows=PUBLISHED_WINDOWS)
        self.images, _ = find_images(self.layout.images, sort_by_name(self.sequences.frames_shown()))
        self.samples = [
            Sample(sequence=sequence, view=view)
            for sequence in self.sequences
            for view in View
            if view in Kind.BASE.views or sequence.label
        ]
        self.pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        list(self.pool.map(decode_files, [[image.path] for image in self.images[: 4 * workers]]))
        list(self.pool.map(read_as_published, [image.path for image in self.images[: 4 * workers]]))
        self.fill_store("warm", self.images[: 64 * workers])

    def fill_store(self, name: str, images: ImageFiles) -> None:
        store = FrameStore(self.folder / name)
        fill_store(store, images, executor=self.executor, strict=True, progress=SILENT)

    def frame_stage(self) -> float:
        shutil.rmtree(self.folder / "frames", ignore_errors=True)
        return timed(lambda: self.fill_store("frames", self.images))

    def bare_decode(self) -> float:
        chunks = list(chunked([image.path for image in self.images], 64))
        return timed(lambda: list(self.pool.map(decode_files, chunks)))

    def bare_encode(self) -> float:
        store = FrameStore(self.folder / "frames")
        places = {}
        for image in self.images:
            record = store.record(image.name)
            places[image.name] = store.segment_path(record.segment), record.row
        strips = [tuple(places[frame.name] for frame in s.sequence.frames) for s in self.samples]
        tasks = list(chunked(strips, 64))
        return timed(lambda: list(self.pool.map(encode_strips, tasks)))

    def bare_write(self, sizes: Sequence[int]) -> float:
        folder = self.folder / "write"
        folder.mkdir(exist_ok=True)
        seconds = timed(lambda: write_bytes(folder, sizes))
        shutil.rmtree(folder)
        return seconds

    def naive(self, num_timed: int, read: Callable[[Path], NDArray[np.uint8]]) -> float:
        step = max(1, len(self.samples) // num_timed)
        chosen = self.samples[::step]
        chunks = list(chunked(chosen, 8))
        seconds = timed(
            lambda: list(self.pool.map(partial(build_naively, images=self.layout.images, read=read), chunks))
        )
        return seconds * len(self.samples) / len(chosen)

    def whole_build(self) -> tuple[float, int, list[int]]:
        """Time the command. Return seconds, the largest process in KiB, and the sizes of the shards."""
        out = self.folder / "out"
        command = [sys.executable, "-m", "sffshards", "build", str(self.data), "--horizon", "48h", "--out", str(out)]
        os.sync()
        start = time.perf_counter()
        build = subprocess.Popen([*command, "--workers", str(self.workers)], stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(build.pid, 0)  # memory of the build and its workers, not of earlier runs
        seconds = time.perf_counter() - start
        if status:
            raise RuntimeError(f"the build ended with status {status}")
        shards = json.loads((out / "48h" / "manifest.json").read_text())["shards"]
        shutil.rmtree(out)  # the disk has finished before the next step starts
        return seconds, usage.ru_maxrss, [shard["size_bytes"] for shard in shards]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--harps", type=int, default=16, help="regions in each of the six parts")
    parser.add_argument("--frames", type=int, default=60, help="frames of each region")
    parser.add_argument("--naive-samples", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.workers, options.harps, options.frames)
        print(f"{len(bench.images)} images, {len(bench.samples)} samples, {options.workers} processes")
        times: dict[str, list[float]] = {
            name: []
            for name in ("frame stage", "bare decode", "bare encode", "bare write", "build", "naive", "published")
        }
        for _ in range(options.repeats):
            times["frame stage"].append(bench.frame_stage())
            times["bare decode"].append(bench.bare_decode())
            times["bare encode"].append(bench.bare_encode())
            seconds, peak_kib, sizes = bench.whole_build()
            times["build"].append(seconds)
            times["bare write"].append(bench.bare_write(sizes))
            for name, read in (("naive", read_frame), ("published", read_as_published)):
                times[name].append(bench.naive(options.naive_samples, read))
    for name, seconds_of in times.items():
        print(f"{name:<12} {statistics.median(seconds_of):8.2f} s  (of {', '.join(f'{s:.2f}' for s in seconds_of)})")

    def ratio(over: Sequence[str], under: Sequence[str]) -> float:
        pairs = zip(*(zip(*(times[n] for n in names), strict=True) for names in (over, under)), strict=True)
        return float(statistics.median(sum(a) / sum(b) for a, b in pairs))

    print(f"frame stage runs at {ratio(['bare decode'], ['frame stage']):.0%} of bare decoding and resizing")
    bounds = ["bare decode", "bare encode", "bare write"]
    print(f"build takes {ratio(['build'], bounds):.2f} times the sum of its bounds")
    for name, how in (("naive", "with our decoder"), ("published", "as the published program reads them")):
        times_faster = ratio([name, "bare write"], ["build"])
        print(f"build is {times_faster:.1f} times as fast as from 16 images a sample, {how}")
    print(f"largest process of the build: {peak_kib / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
