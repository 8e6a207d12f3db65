"""Before shards are written: lists to sequences, and images to the frame store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sffshards.base.errors import ImageError, InputError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.base.worker_pool import WorkerPool
from sffshards.domain.frame_sequences import Sequence as FrameSequence
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId
from sffshards.domain.sample_sets import Kind, Part
from sffshards.images import FRAME_BYTES, FrameStore, StoreSnapshot, fill_store, find_images, is_stored
from sffshards.labels import DataLayout
from sffshards.shards.build.build_folder import check_folder
from sffshards.shards.build.build_inputs import BuildOptions, count_short, format_inputs, read_sequences
from sffshards.shards.build.disk_space import (
    check_room,
    count_samples,
    free_bytes,
    mean_sample_bytes,
    means_from_images,
    tars_bytes,
    total_bytes,
)
from sffshards.shards.build.shard_writer import prepare_worker
from sffshards.shards.format import BuildInputs, SourceList

__all__ = [
    "Estimate",
    "Prepared",
    "estimate_build",
    "prepare_build",
]


_NUM_PROBED_FIRST = 8
"""Sequences encoded to see early, within some tenths, whether a disk has room; the plan of shards takes more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """All that the writing of shards needs."""

    inputs: BuildInputs
    sequences: list[FrameSequence]
    num_skipped_sequences: int
    num_short_sequences: int
    sample_bytes: dict[Kind, float]
    """Mean size of a sample in a tar."""
    num_decoded: int
    """Images decoded now; the others were in the frame store."""
    store: StoreSnapshot
    """The frames that the build is made from."""

    @property
    def shard_bytes(self) -> int:
        """Bytes that all shards will take, by the means."""
        return total_bytes(self.sequences, self.sample_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a build would do, as ``--dry-run`` shows it."""

    num_images: int
    num_new_frames: int
    num_samples: dict[Kind, int]
    num_positive: int
    """Of the base samples."""
    num_short: int
    """Sequences that are short: left out, or kept, as the options have it."""
    shard_bytes: int
    """Of all tars, estimated from some samples."""
    store_bytes: int
    """That the frame store grows by."""
    free_bytes: int


def prepare_build(
    layout: DataLayout,
    options: BuildOptions,
    *,
    sequences: list[FrameSequence],
    lists: dict[Part, SourceList],
    store_folder: Path,
    out: Path,
    fresh: bool,
    pool: WorkerPool,
    progress: Progress,
) -> Prepared:
    """Bring all frames into the store and say exactly what the build will be made from.

    Parameters
    ----------
    layout, options
        What to build from, and how.
    sequences, lists
        As `read_sequences` gives them.
    store_folder
        Folder of the frame store.
    out
        Folder of the build, whose disk must have room.
    fresh
        Whether nothing is to be taken from earlier runs unread: every image is compared with the one that was decoded.
    pool
        Runs the work.
    progress
        Told how far the work is.

    Raises
    ------
    InputError
        If a list is malformed or an image cannot be used, unless those are to be skipped.
    StorageError
        If there is no room for the frames and the shards.
    """
    names = _frame_names(sequences)
    images, bad = find_images(layout.images, names)
    if bad and not options.skip_bad_images:
        raise _missing(layout.images, bad)
    _check_skipped(layout.images, bad, len(names), options)
    pool.start(prepare_worker)
    with folder_lock(store_folder, progress=progress, wait=True):
        store = FrameStore(store_folder)
        num_new = sum(not is_stored(store, image) for image in images)
        if num_new and not tars_bytes(out):  # a first run: what is missing later is known now
            means = means_from_images(layout, sequences, options.codec, num_probed=_NUM_PROBED_FIRST)
            check_room(out, num_new * FRAME_BYTES + total_bytes(sequences, means))
        check_room(store_folder, num_new * FRAME_BYTES)
        report = fill_store(
            store,
            images,
            pool=pool,
            strict=not options.skip_bad_images,
            progress=progress,
            trust_dates=not fresh,
        )
        snapshot = store.snapshot()
    bad |= report.bad
    _check_skipped(layout.images, bad, len(names), options)
    kept = _without(sequences, bad)
    if not kept:
        raise InputError(
            layout.images, expected="a sequence whose images can be used", found="none", fix="check the images"
        )
    sample_bytes = mean_sample_bytes(kept, options.codec, read=lambda name: store.read([name])[0])
    store.close()
    return Prepared(
        inputs=_with_images(format_inputs(layout, options, lists), store, [n for n in names if n not in bad], bad),
        sequences=kept,
        num_skipped_sequences=len(sequences) - len(kept),
        num_short_sequences=count_short(sequences, lists, options.windows),
        sample_bytes=sample_bytes,
        num_decoded=report.num_decoded,
        store=snapshot,
    )


def estimate_build(
    layout: DataLayout, options: BuildOptions, *, store_folder: Path, out: Path, force: bool = False
) -> Estimate:
    """Say what a build would read, write and need, without writing anything.

    Raises
    ------
    InputError, ConflictError
        As the build itself, as far as it shows before the images are read.
    """
    sequences, lists = read_sequences(layout, options.task, windows=options.windows)
    check_folder(out, format_inputs(layout, options, lists), force=force, early=True)
    num_short = count_short(sequences, lists, options.windows)
    names = _frame_names(sequences)
    images, missing = find_images(layout.images, names)
    if missing and not options.skip_bad_images:
        raise _missing(layout.images, missing)
    _check_skipped(layout.images, missing, len(names), options)
    sequences = _without(sequences, missing)
    store = FrameStore(store_folder)
    num_new = sum(not is_stored(store, image) for image in images)
    counts = count_samples(sequences)
    means = means_from_images(layout, sequences, options.codec)
    return Estimate(
        num_images=len(images),
        num_new_frames=num_new,
        num_samples=counts,
        num_positive=sum(sequence.label for sequence in sequences),
        num_short=num_short,
        shard_bytes=total_bytes(sequences, means),
        store_bytes=num_new * FRAME_BYTES,
        free_bytes=free_bytes(out),
    )


def _without(sequences: list[FrameSequence], bad: dict[str, str]) -> list[FrameSequence]:
    """Leave out the sequences that show a frame that cannot be used."""
    if not bad:
        return sequences
    return [s for s in sequences if not any(frame.name in bad for frame in set(s.frames))]


def _check_skipped(folder: Path, bad: dict[str, str], num_images: int, options: BuildOptions) -> None:
    """Refuse to skip so much that the folder is likely to be the wrong one."""
    percent = 100 * len(bad) / num_images
    if percent > options.max_skipped_percent:
        first, found = next(iter(bad.items()))
        raise ImageError(
            folder,
            expected=f"at most {options.max_skipped_percent:g} % of {num_images:,} images that cannot be used",
            found=f"{len(bad):,} ({percent:.1f} %), such as {first} ({found})",
            fix="check that this is the right folder, or allow more with --max-skipped",
        )


def _frame_names(sequences: Sequence[FrameSequence]) -> list[str]:
    """Name every frame that a sequence shows, once, sorted."""
    frames: set[FrameId] = set()
    for sequence in sequences:
        frames.update(sequence.frames)
    return sorted(frame.name for frame in frames)


def _with_images(inputs: BuildInputs, store: FrameStore, names: Sequence[str], bad: dict[str, str]) -> BuildInputs:
    """Add the fingerprint of the images that the build is made from."""
    digest = hashlib.sha256()
    for name in names:
        record = store.get(name)
        if record is not None:
            digest.update(f"{name} {record.source_xxh3:016x}\n".encode("ascii"))
    return replace(
        inputs,
        num_images=len(names),
        images_sha256=digest.hexdigest(),
        skipped_frames=dict(sorted(bad.items())),
    )


def _missing(folder: Path, missing: dict[str, str]) -> ImageError:
    first = next(iter(missing))
    more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
    return ImageError(
        folder,
        expected=f"the image {first}{IMAGE_SUFFIX}{more}",
        found="none",
        fix="add what is missing, or build with --on-bad-image skip",
    )
