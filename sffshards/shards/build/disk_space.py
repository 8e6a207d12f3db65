"""The size of a build on disk, estimated by encoding some of its samples, and the check that there is room for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ImageError
from sffshards.domain.frame_codes import codes_of
from sffshards.domain.frame_sequences import NUM_FRAMES, Sample
from sffshards.domain.sample_sets import Kind
from sffshards.domain.sequence_table import SequenceTable
from sffshards.domain.views import View
from sffshards.images import FRAME_BYTES
from sffshards.labels import DataLayout
from sffshards.shards.build.build_folder import own_tars
from sffshards.shards.build.shard_writer import read_clip, read_images, sample_size_bytes
from sffshards.shards.format import CodecName, get_codec

NUM_PROBED = 48
"""Sequences encoded to estimate the size of a sample: the mean of these is within some 5 % of the mean of all."""

ReadFrames = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Returns the frames of n codes, uint8 of shape (n, 224, 224)."""


def count_samples(sequences: SequenceTable) -> dict[Kind, int]:
    """Return the number of samples of each kind that sequences make."""
    num_positive = int(sequences.labels.sum())
    return {Kind.BASE: len(sequences), Kind.OVER: num_positive * len(Kind.OVER.views)}


def mean_sample_bytes(
    sequences: SequenceTable, codec: CodecName, *, read: ReadFrames, num_probed: int = NUM_PROBED
) -> dict[Kind, float]:
    """Return the mean size in bytes of a sample of each kind in a tar, from some sequences evenly spread.

    Augmented views are of positives only, whose strong fields take more bytes than quiet Sun.
    """
    positive = sequences.take(np.flatnonzero(sequences.labels))
    base = _probe(sequences, codec, read=read, num_probed=num_probed)
    over = _probe(positive, codec, read=read, num_probed=num_probed) if len(positive) else base
    return {Kind.BASE: base, Kind.OVER: over}


def means_from_images(
    layout: DataLayout, sequences: SequenceTable, codec: CodecName, *, num_probed: int = NUM_PROBED
) -> dict[Kind, float]:
    """Return the means as `mean_sample_bytes`, read from the images, before there is a frame store."""
    return mean_sample_bytes(sequences, codec, read=partial(read_images, layout.images), num_probed=num_probed)


def total_bytes(sequences: SequenceTable, means: Mapping[Kind, float]) -> int:
    """Return the expected size in bytes of all samples of sequences in tars."""
    return round(sum(number * means[kind] for kind, number in count_samples(sequences).items()))


def tars_bytes(out: Path) -> int:
    """Return the size in bytes of the tars in a build's folder."""
    with storage_errors(out):
        return sum(path.stat().st_size for path in own_tars(out))


def _probe(sequences: SequenceTable, codec: CodecName, *, read: ReadFrames, num_probed: int) -> float:
    step = max(1, len(sequences) // num_probed)
    sizes = []
    for sequence in sequences.take(slice(0, step * num_probed, step)):
        sample = Sample(sequence=sequence, view=View.NF)
        with suppress(ImageError):
            sizes.append(
                sample_size_bytes(get_codec(codec).encode(read_clip(codes_of(sequence.frames), View.NF, read)), sample)
            )
    return sum(sizes) / len(sizes) if sizes else float(NUM_FRAMES * FRAME_BYTES)
