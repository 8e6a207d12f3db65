"""Measure how fast our loader and its rivals deliver the same uint8 batches of (10, 16, 224, 224), in one run.

Run it on an idle machine: ``nox -s bench -- benchmarks/loader.py`` (about ten minutes), which installs the rivals. It
draws a synthetic data set, builds it as npy and as jpg, writes the same samples in the rivals' formats, and reads
everything from the page cache, in the process that consumes it:

memcpy, decode
    the bounds: a copy of the same bytes within memory; a bare loop that decodes payloads in memory on as many threads
    as ours.
ours
    `sffshards.loading.ClipLoader`, shuffled, with every checksum checked.
classic
    stock ``webdataset.WebDataset`` on our tars with a shuffle buffer of 100.
mosaicml, litdata
    ``StreamingDataset`` of mosaicml-streaming and of litdata, shuffled, on files that they wrote from the same samples.
datasets
    Hugging Face ``datasets``, streaming our tars.
plain
    a ``Dataset`` that opens 16 JPEG files and resizes them with torchvision for every sample, as published.

It prints the median number of samples per second over the repeats, and the ratio of ours to each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds
from numpy.typing import NDArray
from torch import Tensor

from sffshards.base.progress import SILENT
from sffshards.domain.frames import IMAGE_SUFFIX
from sffshards.domain.task import M48
from sffshards.executors.executor import Executor
from sffshards.executors.local_executor import LocalExecutor
from sffshards.labels.data_layout import find_data
from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.loading_options import Shuffle
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.format.codecs import CLIP_SHAPE, get_codec
from sffshards.shards.read.build_reader import Build, open_build
from sffshards.synth import synthesize

BATCH = 10
Batches = Iterator[Tensor]


class Samples:
    """The samples of a build, as files in every format."""

    def __init__(self, folder: Path, data: Path, codec: CodecName, executor: Executor) -> None:
        self.codec, self.data = codec, data
        self.folder = folder / codec
        options = BuildOptions(task=M48, codec=codec, seed=1, shard_size_bytes=64_000_000, skip_bad_images=False)
        build_shards(
            find_data(data),
            options,
            out=self.folder / "48h",
            store_folder=folder / "frames",
            executor=executor,
            force=False,
            progress=SILENT,
        )
        self.build: Build = open_build(self.folder / "48h")
        self.rows = self.build.group_rows(name for name in self.build.manifest.groups if name.endswith("base"))

    @property
    def urls(self) -> list[str]:
        names = (name for name in self.build.manifest.groups if name.endswith("base"))
        return [str(self.build.folder / name) for name in self.build.manifest.shard_names(names)]

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        return get_codec(self.codec).decode(payload, where="a sample")


def memcpy(samples: Samples) -> Batches:
    """Copy as many bytes from memory that is in no processor cache."""
    num_samples = len(samples.rows)
    source = np.ones((min(num_samples, 2_000), *CLIP_SHAPE), np.uint8)
    batches = [torch.empty((BATCH, *CLIP_SHAPE), dtype=torch.uint8) for _ in range(3)]
    order = np.random.default_rng(0).permutation(len(source))
    for step in range(num_samples // BATCH):
        batch = batches[step % 3]
        for slot in range(BATCH):
            batch[slot].numpy()[:] = source[order[(step * BATCH + slot) % len(source)]]
        yield batch


def bare_decode(samples: Samples, num_threads: int) -> Batches:
    """Decode payloads in memory, on threads, into reused memory."""
    payloads = [samples.build.read_payload(int(row)) for row in samples.rows[:500]]
    codec = get_codec(samples.codec)
    outputs = np.empty((num_threads, *CLIP_SHAPE), np.uint8)

    def decode(thread: int, share: range) -> None:
        for number in share:
            codec.decode_into(payloads[number % len(payloads)], outputs[thread], where="a sample")

    yield torch.empty(0)  # making the payloads is not timed
    with ThreadPoolExecutor(num_threads) as pool:
        jobs = [pool.submit(decode, t, range(t, len(samples.rows), num_threads)) for t in range(num_threads)]
        for job in jobs:
            job.result()
    for _ in range(len(samples.rows) // BATCH):
        yield torch.empty(0)


def ours(samples: Samples, num_threads: int) -> Batches:
    source = PlanSource(rows=samples.rows, global_batch=BATCH, num_ranks=1, rank=0, seed=0, shuffle=Shuffle.GLOBAL)
    for batch in ClipLoader(samples.build, source, num_threads=num_threads):
        yield batch.clips_BTHW


def classic(samples: Samples) -> Batches:
    def decode(sample: dict[str, Any]) -> NDArray[np.uint8]:
        return samples.decode(sample[samples.codec])

    dataset = wds.WebDataset(samples.urls, shardshuffle=len(samples.urls), seed=0).shuffle(100).map(decode)
    return _stack(dataset)


def mosaicml(samples: Samples) -> Batches:
    from streaming import MDSWriter, StreamingDataset

    out = samples.folder / "mds"
    if not out.exists():
        with MDSWriter(out=str(out), columns={"clip": "bytes", "label": "int"}, size_limit=1 << 26) as writer:
            for row in samples.rows:
                writer.write({"clip": to_store(samples, row), "label": int(samples.build.index["label"][row])})
    dataset = StreamingDataset(local=str(out), shuffle=True, batch_size=BATCH)
    return _stack(from_store(samples, sample["clip"]) for sample in dataset)


def litdata(samples: Samples) -> Batches:
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    out = samples.folder / "litdata"
    if not out.exists():
        out.mkdir()
        writer = BinaryWriter(str(out), chunk_bytes=1 << 26)
        for number, row in enumerate(samples.rows):
            label = int(samples.build.index["label"][row])
            writer.add_item(number, {"clip": to_store(samples, row), "label": label})
        writer.done()
        writer.merge()
    dataset = StreamingDataset(str(out), shuffle=True)
    return _stack(from_store(samples, sample["clip"]) for sample in dataset)


def to_store(samples: Samples, row: int) -> bytes:
    """Return what a rival stores: plain bytes, which each of them reads with the least work."""
    if samples.codec is CodecName.NPY:
        return samples.build.read_clip(int(row)).tobytes()
    return samples.build.read_payload(int(row))


def from_store(samples: Samples, data: bytes) -> NDArray[np.uint8]:
    if samples.codec is CodecName.NPY:
        return np.frombuffer(data, np.uint8).reshape(CLIP_SHAPE)
    return samples.decode(data)


def datasets(samples: Samples) -> Batches:
    from datasets import load_dataset

    stream = load_dataset("webdataset", data_files={"train": samples.urls}, split="train", streaming=True)
    clips = (np.asarray(sample[samples.codec], np.uint8).reshape(CLIP_SHAPE) for sample in stream)
    return _stack(clips)


class PlainDataset(torch.utils.data.Dataset[Tensor]):
    """Dataset of sixteen JPEG files per sample, each decoded and resized on access."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples.rows)

    def __getitem__(self, number: int) -> Tensor:
        from torchvision.io import ImageReadMode, read_image
        from torchvision.transforms.v2.functional import resize

        meta = self.samples.build.read_meta(int(self.samples.rows[number]))
        paths = [self.samples.data / "magnetogram_jpg" / f"{name}{IMAGE_SUFFIX}" for name in meta.frames]
        images = (read_image(str(path), ImageReadMode.GRAY) for path in paths)
        return torch.cat([resize(image, [224, 224], antialias=True) for image in images])


def plain(samples: Samples) -> Batches:
    order = torch.randperm(len(samples.rows), generator=torch.Generator().manual_seed(0)).tolist()
    return iter(torch.utils.data.DataLoader(PlainDataset(samples), batch_size=BATCH, sampler=order))


def _stack(clips: Any) -> Batches:
    stream = iter(clips)
    while len(batch := list(islice(stream, BATCH))) == BATCH:
        yield torch.from_numpy(np.stack(batch))


def measure(make: Callable[[], Batches], num_batches: int) -> float:
    """Return samples per second from the first batch on; starting up is not counted."""
    batches = make()
    next(batches)
    start = time.perf_counter()
    done = sum(1 for _ in islice(batches, num_batches))
    return done * BATCH / (time.perf_counter() - start)


def compare(samples: Samples, *, num_threads: int, repeats: int) -> None:
    num_batches = len(samples.rows) // BATCH - 1
    readers: dict[str, tuple[Callable[[], Batches], int]] = {
        "ours, no thread": (lambda: ours(samples, 0), num_batches),
        f"ours, {num_threads} threads": (lambda: ours(samples, num_threads), num_batches),
        "classic": (lambda: classic(samples), num_batches),
        "mosaicml": (lambda: mosaicml(samples), num_batches),
        "litdata": (lambda: litdata(samples), num_batches),
        "datasets": (lambda: datasets(samples), min(num_batches, 40)),
        "plain": (lambda: plain(samples), min(num_batches, 20)),
    }
    if samples.codec is CodecName.NPY:
        readers = {"memcpy": (lambda: memcpy(samples), num_batches), **readers}
    else:
        readers = {
            "decode, 1 thread": (lambda: bare_decode(samples, 1), num_batches),
            f"decode, {num_threads} threads": (lambda: bare_decode(samples, num_threads), num_batches),
            **readers,
        }
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for repeat in range(repeats + 1):
        for name, (make, count) in readers.items():
            rate = measure(make, count)
            if repeat:  # the first round fills the page cache and writes the rivals' files
                rates[name].append(rate)
    best = max(("ours, no thread", f"ours, {num_threads} threads"), key=lambda name: statistics.median(rates[name]))
    print(f"{samples.codec}: {len(samples.rows)} samples of {samples.build.manifest.size_bytes / 1e9:.1f} GB in all")
    for name, of_name in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates[best], of_name, strict=True))
        print(f"  {name:<18} {statistics.median(of_name):9.0f} samples/s   {best} is {ratio:6.2f} times that")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="reading threads of our loader"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--harps", type=int, default=4, help="regions in each of the six parts")
    parser.add_argument("--frames", type=int, default=60, help="frames of each region")
    parser.add_argument("--codecs", nargs="*", default=["npy", "jpg"])
    options = parser.parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    try:
        data = folder / "data"
        with LocalExecutor(len(os.sched_getaffinity(0))) as executor:
            synthesize(data, seed=1, num_harps=options.harps, frames_per_harp=options.frames, executor=executor)
            samples = [Samples(folder, data, CodecName(codec), executor) for codec in options.codecs]
        for of_codec in samples:
            compare(of_codec, num_threads=options.threads, repeats=options.repeats)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
