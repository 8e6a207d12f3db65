"""The steps before shards are written: images go into the frame store, and the inputs of the build are fixed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import ImageError, InputError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.output_checks import check_room, free_bytes
from sffshards.base.progress import Progress
from sffshards.domain.frame_codes import iterate_names, parse_code
from sffshards.domain.frames import IMAGE_SUFFIX
from sffshards.domain.sample_sets import Kind
from sffshards.domain.sequence_table import SequenceTable
from sffshards.executors import Executor
from sffshards.images import FRAME_BYTES, FrameStore, StoredFrames, fill_store, is_stored
from sffshards.labels import DataLayout, ImageFiles, count_images, find_images, format_others
from sffshards.shards.build import disk_space
from sffshards.shards.build.build_folder import check_folder
from sffshards.shards.build.build_inputs import BuildOptions, BuildSource, read_source
from sffshards.shards.build.shard_writer import prepare_worker
from sffshards.shards.format import BuildInputs

_HASHED_AT_ONCE = 1 << 16

_NUM_PROBED_FIRST = 8
"""Sequences encoded for the early check of disk space, which is good to some tenths; the plan of shards uses more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything that writing the shards needs."""

    inputs: BuildInputs
    sequences: SequenceTable
    num_skipped_sequences: int
    """Sequences left out because of unusable images."""
    num_short_sequences: int
    sample_bytes: dict[Kind, float]
    """Mean size in bytes of a sample in a tar, by kind."""
    num_decoded: int
    """Images decoded in this run; the others were in the frame store."""
    frames: StoredFrames
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
    source: BuildSource, *, store_folder: Path, out: Path, fresh: bool, executor: Executor, progress: Progress
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
    executor
        Where images are decoded.
    progress
        Shows the progress, and a note on what else is in the folder of images.

    Raises
    ------
    InputError
        If an image cannot be used and bad images are not skipped, or too many are.
    StorageError
        If there is no room for the frames and the shards.
    """
    layout, options, codes = source.layout, source.options, source.list_frames()
    images, bad = find_listed_images(source, codes)
    num_listed = len(images) + sum(not found.startswith("no such file") for found in bad.values())
    _note_others(layout.images, num_listed, progress)
    executor.start(prepare_worker)
    with folder_lock(store_folder, progress=progress, wait=True):
        store = FrameStore(store_folder)
        num_new = int((~is_stored(store, images)).sum())
        if num_new and not disk_space.tars_bytes(out):  # a first run can fail for lack of space before it decodes
            means = disk_space.means_from_images(layout, source.sequences, options.codec, num_probed=_NUM_PROBED_FIRST)
            check_room(out, num_new * FRAME_BYTES + disk_space.total_bytes(source.sequences, means))
        check_room(store_folder, num_new * FRAME_BYTES)
        strict = not options.skip_bad_images
        report = fill_store(store, images, executor=executor, strict=strict, progress=progress, trust_dates=not fresh)
    return fix_inputs(source, store, codes=codes, bad=bad | report.bad, num_decoded=report.num_decoded)


def fix_inputs(
    source: BuildSource, store: FrameStore, *, codes: NDArray[np.int64], bad: Mapping[str, str], num_decoded: int
) -> Prepared:
    """Return what a build will be made from, when its frames are in the store.

    Parameters
    ----------
    source
        Data and options of the build.
    store
        The store.
    codes
        Codes of all frames, in the order of their names.
    bad
        Frames without a usable image, by name, with what was found instead.
    num_decoded
        Images decoded in this run.

    Raises
    ------
    InputError
        If too many images cannot be used.
    """
    layout, options = source.layout, source.options
    _check_skipped(layout.images, bad, len(codes), options)
    kept = _without(source.sequences, bad)
    if not len(kept):
        expected = "a sequence whose images can be used"
        raise InputError(layout.images, expected=expected, found="none", fix="check the images")
    frames = store.select(kept.frames_shown())
    sample_bytes = disk_space.mean_sample_bytes(kept, options.codec, read=frames.read)
    return Prepared(
        inputs=_with_images(source.read_inputs(), store, codes, bad),
        sequences=kept,
        num_skipped_sequences=len(source.sequences) - len(kept),
        num_short_sequences=source.num_short,
        sample_bytes=sample_bytes,
        num_decoded=num_decoded,
        frames=frames,
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
    images, missing = find_listed_images(source, source.list_frames())
    sequences = _without(source.sequences, missing)
    store = FrameStore(store_folder)
    num_new = int((~is_stored(store, images)).sum())
    means = disk_space.means_from_images(layout, sequences, options.codec)
    return Estimate(
        num_images=len(images),
        num_new_frames=num_new,
        num_samples=disk_space.count_samples(sequences),
        num_positive=int(sequences.labels.sum()),
        num_short=source.num_short,
        shard_bytes=disk_space.total_bytes(sequences, means),
        store_bytes=num_new * FRAME_BYTES,
        free_bytes=free_bytes(out),
    )


def find_listed_images(source: BuildSource, codes: NDArray[np.int64]) -> tuple[ImageFiles, dict[str, str]]:
    """Return the images of frames, and the names of those that are missing, where the options allow it."""
    folder, options = source.layout.images, source.options
    images, missing = find_images(folder, codes)
    if missing and not options.skip_bad_images:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise ImageError(
            folder,
            expected=f"the image {next(iter(missing))}{IMAGE_SUFFIX}{more}",
            found=next(iter(missing.values())).replace("no such file", "none"),
            fix="add what is missing, or pass {skip_bad_images}",
        )
    _check_skipped(folder, missing, len(codes), options)
    return images, missing


def _note_others(folder: Path, num_listed: int, progress: Progress) -> None:
    """Note what is in the folder of images and not taken: images of no list, and other entries."""
    num_images, others = count_images(folder)
    if num_images > num_listed:
        others["images of no list"] = num_images - num_listed
    if others:
        progress.note(f"{folder}: {format_others(others)} not taken")


def _without(sequences: SequenceTable, bad: Mapping[str, str]) -> SequenceTable:
    """Return the sequences that show no unusable frame."""
    return sequences.without(_to_codes(bad))


def _to_codes(names: Iterable[str]) -> NDArray[np.int64]:
    return np.array([parse_code(name) for name in names], np.int64)


def _check_skipped(folder: Path, bad: Mapping[str, str], num_images: int, options: BuildOptions) -> None:
    """Refuse to skip so many images that the folder is likely to be the wrong one."""
    percent = 100 * len(bad) / max(1, num_images)  # a part of a build may have none
    if percent > options.max_skipped_percent:
        first, found = next(iter(bad.items()))
        raise ImageError(
            folder,
            expected=f"at most {options.max_skipped_percent:g} % of {num_images:,} images that cannot be used",
            found=f"{len(bad):,} ({percent:.1f} %), such as {first} ({found})",
            fix="check that this is the right folder, or raise {max_skipped_percent}",
        )


def _with_images(
    inputs: BuildInputs, store: FrameStore, codes: NDArray[np.int64], bad: Mapping[str, str]
) -> BuildInputs:
    """Add the fingerprint of the images that the build is made from."""
    digest = hashlib.sha256()
    good = codes[~np.isin(codes, _to_codes(bad))]
    for start in range(0, len(good), _HASHED_AT_ONCE):
        some = good[start : start + _HASHED_AT_ONCE]
        places = store.find(some)
        checksums = store.records["source_xxh3"][places[places >= 0]].tolist()
        names = iterate_names(some[places >= 0])
        lines = (f"{name} {xxh3:016x}\n" for name, xxh3 in zip(names, checksums, strict=True))
        digest.update("".join(lines).encode("ascii"))
    return replace(
        inputs,
        num_images=len(good),
        images_sha256=digest.hexdigest(),
        skipped_frames=dict(sorted(bad.items())),
    )
