"""The size of a build on disk, estimated by encoding some of its samples, and the check that there is room for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ImageError, StorageError
from sffshards.domain.frame_sequences import NUM_FRAMES, Sample
from sffshards.domain.frame_sequences import Sequence as FrameSequence
from sffshards.domain.sample_sets import Kind
from sffshards.domain.views import View
from sffshards.images import FRAME_BYTES
from sffshards.labels import DataLayout
from sffshards.shards.build.build_folder import own_tars
from sffshards.shards.build.shard_writer import read_clip, read_images, sample_size_bytes
from sffshards.shards.format import CodecName, get_codec

NUM_PROBED = 48
"""Sequences encoded to estimate the size of a sample: the mean of these is within some 5 % of the mean of all."""

ReadFrames = Callable[[list[str]], NDArray[np.uint8]]
"""Returns the frames of n names, uint8 of shape (n, 224, 224)."""


def count_samples(sequences: Sequence[FrameSequence]) -> dict[Kind, int]:
    """Return the number of samples of each kind that sequences make."""
    num_positive = sum(sequence.label for sequence in sequences)
    return {Kind.BASE: len(sequences), Kind.OVER: num_positive * len(Kind.OVER.views)}


def mean_sample_bytes(
    sequences: Sequence[FrameSequence], codec: CodecName, *, read: ReadFrames, num_probed: int = NUM_PROBED
) -> dict[Kind, float]:
    """Return the mean size in bytes of a sample of each kind in a tar, from some sequences evenly spread.

    Augmented views are of positives only, whose strong fields take more bytes than quiet Sun.
    """
    positive = [sequence for sequence in sequences if sequence.label]
    base = _probe(sequences, codec, read=read, num_probed=num_probed)
    over = _probe(positive, codec, read=read, num_probed=num_probed) if positive else base
    return {Kind.BASE: base, Kind.OVER: over}


def means_from_images(
    layout: DataLayout, sequences: Sequence[FrameSequence], codec: CodecName, *, num_probed: int = NUM_PROBED
) -> dict[Kind, float]:
    """Return the means as `mean_sample_bytes`, read from the images, before there is a frame store."""
    return mean_sample_bytes(sequences, codec, read=partial(read_images, layout.images), num_probed=num_probed)


def total_bytes(sequences: Sequence[FrameSequence], means: Mapping[Kind, float]) -> int:
    """Return the expected size in bytes of all samples of sequences in tars."""
    return round(sum(number * means[kind] for kind, number in count_samples(sequences).items()))


def free_bytes(folder: Path) -> int:
    """Return the free space in bytes of the disk of a folder, which need not exist yet."""
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    with storage_errors(place):
        return shutil.disk_usage(place).free


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise `StorageError` if the disk of a folder has less free space than needed."""
    free = free_bytes(folder)
    if needed_bytes > free:
        raise StorageError(
            folder,
            expected=f"{needed_bytes / 1e6:,.1f} MB of free space",
            found=f"{free / 1e6:,.1f} MB",
            fix="free some space, or name a folder on another disk as {out}",
        )


def tars_bytes(out: Path) -> int:
    """Return the size in bytes of the tars in a build's folder."""
    with storage_errors(out):
        return sum(path.stat().st_size for path in own_tars(out))


def _probe(sequences: Sequence[FrameSequence], codec: CodecName, *, read: ReadFrames, num_probed: int) -> float:
    step = max(1, len(sequences) // num_probed)
    sizes = []
    for sequence in sequences[::step][:num_probed]:
        sample = Sample(sequence=sequence, view=View.NF)
        with suppress(ImageError):
            sizes.append(sample_size_bytes(get_codec(codec).encode(read_clip(sample, read)), sample))
    return sum(sizes) / len(sizes) if sizes else float(NUM_FRAMES * FRAME_BYTES)
