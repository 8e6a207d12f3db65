"""The steps before shards are written: images go into the frame store, and the inputs of the build are fixed."""

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
from sffshards.domain.frames import IMAGE_SUFFIX
from sffshards.domain.sample_sets import Kind
from sffshards.images import FRAME_BYTES, FrameStore, ImageFile, StoreSnapshot, fill_store, find_images, is_stored
from sffshards.labels import DataLayout
from sffshards.shards.build import disk_space
from sffshards.shards.build.build_folder import check_folder
from sffshards.shards.build.build_inputs import BuildOptions, BuildSource, read_source
from sffshards.shards.build.shard_writer import prepare_worker
from sffshards.shards.format import BuildInputs

_NUM_PROBED_FIRST = 8
"""Sequences encoded for the early check of disk space, which is good to some tenths; the plan of shards uses more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything that writing the shards needs."""

    inputs: BuildInputs
    sequences: list[FrameSequence]
    num_skipped_sequences: int
    """Sequences left out because of unusable images."""
    num_short_sequences: int
    sample_bytes: dict[Kind, float]
    """Mean size in bytes of a sample in a tar, by kind."""
    num_decoded: int
    """Images decoded in this run; the others were in the frame store."""
    store: StoreSnapshot
    """The frames that the build is made from."""

    @property
    def shard_bytes(self) -> int:
        """Expected size of all shards in bytes."""
        return disk_space.total_bytes(self.sequences, self.sample_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a build would read, write and need."""

    num_images: int
    num_new_frames: int
    """Images that are not in the frame store yet."""
    num_samples: dict[Kind, int]
    num_positive: int
    """Positive sequences."""
    num_short: int
    """Short sequences, whether they are kept or dropped."""
    shard_bytes: int
    """Size of all tars in bytes, estimated from some samples."""
    store_bytes: int
    """Bytes that the frame store grows by."""
    free_bytes: int
    """Free space in bytes of the disk of the build."""


def prepare_build(
    source: BuildSource, *, store_folder: Path, out: Path, fresh: bool, pool: WorkerPool, progress: Progress
) -> Prepared:
    """Put all frames into the store and return what the build will be made from.

    Parameters
    ----------
    source
        Data and options of the build.
    store_folder
        Folder of the frame store.
    out
        Folder of the build, whose disk must have room.
    fresh
        Whether to compare every image with the one decoded earlier, even where size and date have not changed.
    pool
        Worker processes.
    progress
        Shows the progress.

    Raises
    ------
    InputError
        If an image cannot be used and bad images are not skipped, or too many are.
    StorageError
        If there is no room for the frames and the shards.
    """
    layout, options, names = source.layout, source.options, source.frame_names
    images, bad = _find_images(source, names)
    pool.start(prepare_worker)
    with folder_lock(store_folder, progress=progress, wait=True):
        store = FrameStore(store_folder)
        num_new = sum(not is_stored(store, image) for image in images)
        if num_new and not disk_space.tars_bytes(out):  # a first run can fail for lack of space before it decodes
            means = disk_space.means_from_images(layout, source.sequences, options.codec, num_probed=_NUM_PROBED_FIRST)
            disk_space.check_room(out, num_new * FRAME_BYTES + disk_space.total_bytes(source.sequences, means))
        disk_space.check_room(store_folder, num_new * FRAME_BYTES)
        strict = not options.skip_bad_images
        report = fill_store(store, images, pool=pool, strict=strict, progress=progress, trust_dates=not fresh)
        snapshot = store.snapshot()
    bad |= report.bad
    _check_skipped(layout.images, bad, len(names), options)
    kept = _without(source.sequences, bad)
    if not kept:
        expected = "a sequence whose images can be used"
        raise InputError(layout.images, expected=expected, found="none", fix="check the images")
    sample_bytes = disk_space.mean_sample_bytes(kept, options.codec, read=store.read)
    store.close()
    return Prepared(
        inputs=_with_images(source.read_inputs(), store, [name for name in names if name not in bad], bad),
        sequences=kept,
        num_skipped_sequences=len(source.sequences) - len(kept),
        num_short_sequences=source.num_short,
        sample_bytes=sample_bytes,
        num_decoded=report.num_decoded,
        store=snapshot,
    )


def estimate_build(
    layout: DataLayout, options: BuildOptions, *, store_folder: Path, out: Path, force: bool = False
) -> Estimate:
    """Return what a build would read, write and need, without writing anything.

    Raises
    ------
    InputError, ConflictError
        As `build_shards`, as far as problems show before the images are read.
    """
    source = read_source(layout, options)
    check_folder(out, source.read_inputs(), force=force, early=True)
    images, missing = _find_images(source, source.frame_names)
    sequences = _without(source.sequences, missing)
    store = FrameStore(store_folder)
    num_new = sum(not is_stored(store, image) for image in images)
    means = disk_space.means_from_images(layout, sequences, options.codec)
    return Estimate(
        num_images=len(images),
        num_new_frames=num_new,
        num_samples=disk_space.count_samples(sequences),
        num_positive=sum(sequence.label for sequence in sequences),
        num_short=source.num_short,
        shard_bytes=disk_space.total_bytes(sequences, means),
        store_bytes=num_new * FRAME_BYTES,
        free_bytes=disk_space.free_bytes(out),
    )


def _find_images(source: BuildSource, names: list[str]) -> tuple[list[ImageFile], dict[str, str]]:
    """Return the images of frames, and the names of those that are missing, where the options allow it."""
    folder, options = source.layout.images, source.options
    images, missing = find_images(folder, names)
    if missing and not options.skip_bad_images:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise ImageError(
            folder,
            expected=f"the image {next(iter(missing))}{IMAGE_SUFFIX}{more}",
            found="none",
            fix="add what is missing, or pass {skip_bad_images}",
        )
    _check_skipped(folder, missing, len(names), options)
    return images, missing


def _without(sequences: list[FrameSequence], bad: dict[str, str]) -> list[FrameSequence]:
    """Return the sequences that show no unusable frame."""
    if not bad:
        return sequences
    return [s for s in sequences if not any(frame.name in bad for frame in set(s.frames))]


def _check_skipped(folder: Path, bad: dict[str, str], num_images: int, options: BuildOptions) -> None:
    """Refuse to skip so many images that the folder is likely to be the wrong one."""
    percent = 100 * len(bad) / num_images
    if percent > options.max_skipped_percent:
        first, found = next(iter(bad.items()))
        raise ImageError(
            folder,
            expected=f"at most {options.max_skipped_percent:g} % of {num_images:,} images that cannot be used",
            found=f"{len(bad):,} ({percent:.1f} %), such as {first} ({found})",
            fix="check that this is the right folder, or raise {max_skipped_percent}",
        )


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
