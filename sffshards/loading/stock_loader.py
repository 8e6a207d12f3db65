"""The stock WebDataset reader over the same tars: whole shards in turn through a shuffle buffer.

A baseline, and a cross-check of the plan by independent code. docs/design/loading.md lists what it lacks.

Shapes: B batch, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
import webdataset as wds
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.errors import DamageError, Field, InputError, SffshardsError, format_count
from sffshards.base.package_faces import accepts_text
from sffshards.base.progress import SILENT
from sffshards.loading.clip_batches import NO_LABEL, BatchBuffers, ClipBatch
from sffshards.loading.epoch_plan import PADDING
from sffshards.shards.format import REBUILD, get_codec
from sffshards.shards.read import Build, CheckLevel, Place

_BUFFER_SAMPLES = 1_000
"""Number of samples in the shuffle buffer, which are not decoded yet."""


@accepts_text
class ClassicLoader:
    """Iterates over a set as stock WebDataset does; its batches are like those of `ClipLoader`.

    Shards are assigned to the ranks, shuffled and read in turn, and their samples drawn from a buffer of 1,000. A
    single rank sees every sample once per epoch. Of several, each repeats its shards and stops after as many samples as
    the others, so that some samples come twice in an epoch and others not at all. It cannot resume within an epoch, and
    reads in the calling process, without reading ahead.

    Parameters
    ----------
    build
        Build that holds the clips.
    rows
        Rows of the set: all rows of some of the build's shards.
    batch_size
        Clips per step on each rank.
    num_ranks, rank
        Number of processes that train together, and number of this one.
    seed
        Seed of the order, together with the epoch.
    epoch
        Function that returns the epoch, called when a pass begins.
    pinned
        Whether batches lie in page-locked memory, for a GPU.

    Raises
    ------
    InputError
        If there are fewer shards than ranks, or a shard's path is one that WebDataset would not open as a file.
    """

    def __init__(
        self,
        build: Build,
        *,
        rows: NDArray[np.int64],
        batch_size: int,
        num_ranks: int,
        rank: int,
        seed: int,
        epoch: Callable[[], int],
        pinned: bool = False,
    ) -> None:
        require_shards(build, rows, num_ranks=num_ranks)
        self.build = build
        self.rows = rows
        self.batch_size = batch_size
        self.num_ranks = num_ranks
        self.rank = rank
        self.seed = seed
        self._ask_epoch = epoch
        self._codec = get_codec(build.manifest.inputs.codec)
        self._paths = [_check_path(build.folder / name) for name in _shard_names(build, rows)]
        self._num_samples = math.ceil(len(rows) / num_ranks)
        self._local_batch = min(batch_size, self._num_samples)
        self._row_of_key = {bytes(build.index["key"][row]): int(row) for row in rows}
        self._buffers = BatchBuffers(batch_size=self._local_batch, num_kept=2, pinned=pinned)

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same on every rank."""
        return math.ceil(self._num_samples / self.batch_size)

    @property
    def num_samples(self) -> int:
        """Number of samples of an epoch, over all ranks."""
        return self._num_samples * self.num_ranks

    def __iter__(self) -> Iterator[ClipBatch]:
        """Yield the batches of an epoch.

        Raises
        ------
        DamageError
            If a shard or a sample has changed since it was written.
        """
        self.build.check_shards(self.rows, progress=SILENT)
        samples = iter(self._open(self.seed + self._ask_epoch()))
        for _ in range(len(self)):
            yield self._collate(self._take(samples))

    def _open(self, seed: int) -> wds.WebDataset:
        dataset = wds.WebDataset(
            self._paths,
            shardshuffle=len(self._paths),
            seed=seed,
            # As `webdataset.split_by_node` does for the rank that the environment names.
            nodesplitter=lambda shards: islice(shards, self.rank, None, self.num_ranks),
            workersplitter=wds.split_by_worker,
            select_files=lambda member: member.endswith((f".{self._codec.name}", ".cls")),
        )
        return dataset.shuffle(_BUFFER_SAMPLES, seed=seed).with_epoch(self._num_samples)

    def _take(self, samples: Iterator[dict[str, Any]]) -> list[tuple[int, bytes]]:
        """Return rows and payloads of the next samples; what tarfile and webdataset raise becomes `DamageError`."""
        try:
            return [self._identify(sample) for sample in islice(samples, self.batch_size)]
        except SffshardsError:
            raise
        except Exception as error:
            raise _unreadable(error, str(self.build.folder)) from error

    def _identify(self, sample: dict[str, Any]) -> tuple[int, bytes]:
        """Return the row and the payload of a sample; `WebDataset.decode` would unpickle some of its members."""
        key, where = str(sample["__key__"]), f"{sample['__url__']}, sample {sample['__key__']}"
        row = self._row_of_key.get(key.encode(errors="surrogateescape"))
        payload, label = sample.get(str(self._codec.name)), sample.get("cls")
        if row is None or payload is None or label is None:
            raise _damage(where, "an unknown sample, or one without pixels or label")
        entry = self.build.index[row]
        if label != str(entry["label"]).encode():
            raise _damage(where, "another label")
        if self.build.check is CheckLevel.FULL and xxh3_64_intdigest(payload) != int(entry["checksum"]):
            raise _damage(where, "other bytes")
        return row, payload

    def _collate(self, samples: list[tuple[int, bytes]]) -> ClipBatch:
        num_real, size = len(samples), self._local_batch
        rows_B, labels_B = np.full(size, PADDING, np.int64), np.full(size, NO_LABEL, np.int64)
        clips_BTHW = self._buffers.take()
        for position, (row, payload) in enumerate(samples):
            self._codec.decode_into(payload, clips_BTHW[position].numpy(), where=self.build.locate(row))
            rows_B[position], labels_B[position] = row, self.build.index[row]["label"]
        clips_BTHW[num_real:] = 0
        return ClipBatch(
            clips_BTHW=clips_BTHW,
            labels_B=torch.from_numpy(labels_B),
            rows_B=torch.from_numpy(rows_B),
            mask_B=torch.from_numpy(rows_B != PADDING),
            views_B=torch.zeros(size, dtype=torch.uint8),
            num_real=num_real * self.num_ranks,
        )


def require_shards(build: Build, rows: NDArray[np.int64], *, num_ranks: int) -> None:
    """Raise `InputError` for what the stock reader cannot read: remote shards, or fewer shards than ranks."""
    if build.is_remote:
        raise InputError(
            Field("engine"),
            expected="plan for a remote build: the stock reader reads local folders only",
            found=f"classic, for {build.folder}",
            fix="pass {engine} plan, or copy the build to this machine",
        )
    num_shards = len(_shard_names(build, rows))
    if num_shards < num_ranks:
        raise InputError(
            Field("engine"),
            expected=f"plan, or at most {format_count(num_shards, 'device')}, one for each shard of the training set",
            found=f"classic on {format_count(num_ranks, 'device')}",
            fix="pass {engine} plan, or build with a smaller {shard_size_bytes}",
        )


def _shard_names(build: Build, rows: NDArray[np.int64]) -> list[str]:
    return [build.manifest.shards[number].name for number in np.unique(build.row_shards(rows).shards_N)]


def _check_path(place: Place) -> str:
    """Return an absolute path that WebDataset opens as a file: without a scheme, and without what it would cut off."""
    text = str(place.absolute()) if isinstance(place, Path) else ""
    if urlparse(text).path != text:
        expected, fix = "a path that WebDataset opens as a file, without ? or #", "rename it, or pass {engine} plan"
        raise InputError(text, expected=expected, found="a path that it would parse as a URL", fix=fix)
    return text


def _damage(where: str, found: str) -> DamageError:
    return DamageError(where, expected="the sample that the index describes", found=found, fix=REBUILD)


def _unreadable(error: Exception, folder: str) -> DamageError:
    """Return the error for one of tarfile or WebDataset, which adds the open file and its path to the arguments."""
    for stream in error.args:
        if isinstance(stream, io.IOBase):
            stream.close()
    where = next((arg for arg in error.args[1:] if isinstance(arg, str)), folder)
    reason = str(error.args[0])[:100] if error.args else ""
    return _damage(where, f"a tar that stock WebDataset does not read ({type(error).__name__}: {reason})")
