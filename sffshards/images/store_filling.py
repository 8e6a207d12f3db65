"""Fill the frame store: check the images, and decode in parallel those that it lacks."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.errors import DamageError, ImageError
from sffshards.base.progress import Progress
from sffshards.base.worker_pool import WorkerPool, chunked
from sffshards.domain.frames import FRAME_SIDE
from sffshards.images.frame_journal import FrameRecord
from sffshards.images.frame_store import FrameStore, write_frames
from sffshards.images.image_files import ImageFile, check_image, decode_image, read_bytes, resize_frame

__all__ = ["FillReport", "fill_store", "is_stored"]

_CHUNK = 64
"""Images per decoding task: milliseconds of messages for a tenth of a second of work, in 3 MB."""

_CHECK_CHUNK = 4096
"""Stored frames per checking task; each task reads the journal again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FillReport:
    """Counts of filling a store."""

    num_decoded: int
    """Number of images decoded."""
    num_kept: int
    """Number of frames that the store had from unchanged images, checked against their checksums."""
    bad: dict[str, str] = field(default_factory=dict)
    """Frames without a usable image, by name, with what was found instead."""


class _Chunk(NamedTuple):
    """A task for a worker: the files of images, and the first of the rows for them.

    Tuples of text are sent to a process in a fraction of the time that records take.
    """

    paths: tuple[str, ...]
    store: Path
    first_row: int


class _Decoded(NamedTuple):
    """Result for one file: checksums of its bytes and of the pixels of its frame, or an error."""

    source_xxh3: int
    pixels_xxh3: int
    error: ImageError | None


def fill_store(
    store: FrameStore,
    images: Sequence[ImageFile],
    *,
    pool: WorkerPool,
    strict: bool,
    progress: Progress,
    trust_dates: bool = True,
) -> FillReport:
    """Add the frames of all images to the store; those that it has from the same files are only checked.

    The caller holds the lock of the store's folder.

    Parameters
    ----------
    store
        The store to fill.
    images
        The images wanted.
    pool
        Processes that do the work.
    strict
        Whether a bad image is an error; otherwise it is reported.
    progress
        Receives the number of images.
    trust_dates
        Whether a file of the same size and date as the one that was decoded is taken to be the same, unread.

    Raises
    ------
    ImageError
        If ``strict`` and an image cannot be used; before any is decoded if its first or last bytes show it.
    StorageError
        If the disk has no room for the frames.
    """
    store.trim_journal()
    had = [image for image in images if is_stored(store, image)]
    doubtful = [image for image in had if not (trust_dates and _is_current(store, image))]
    _compare_files(store, doubtful, pool=pool, progress=progress)
    had = [image for image in had if _is_current(store, image)]
    store.drop(_find_damaged(store, had, pool=pool, progress=progress))
    wanted = [image for image in images if not _is_current(store, image)]
    bad = _check_images(wanted, pool=pool, strict=strict, progress=progress)
    good = [image for image in wanted if image.name not in bad]
    bad |= _decode_images(store, good, pool=pool, strict=strict, progress=progress)
    num_decoded = sum(image.name not in bad for image in good)
    return FillReport(num_decoded=num_decoded, num_kept=len(images) - len(wanted), bad=bad)


def is_stored(store: FrameStore, image: ImageFile) -> bool:
    """Return whether a store seems to have the frame of an image: from a file of the same size, of any date."""
    record = store.get(image.name)
    return record is not None and record.source_size_bytes == image.size_bytes


def _is_current(store: FrameStore, image: ImageFile) -> bool:
    record = store.get(image.name)
    return record is not None and is_stored(store, image) and record.source_mtime_ns == image.mtime_ns


def _compare_files(store: FrameStore, images: Sequence[ImageFile], *, pool: WorkerPool, progress: Progress) -> None:
    """Keep the frames of files that hold the same bytes as those that were decoded, such as copies; drop the others."""
    if not images:
        return
    tasks = [tuple(image.path for image in chunk) for chunk in chunked(images, 4 * _CHUNK)]
    with progress.task("Compare images with those decoded", len(images)) as advance:
        for chunk, digests in zip(chunked(images, 4 * _CHUNK), pool.run(_digest_files, tasks), strict=True):
            pairs = [(image, digest, store.get(image.name)) for image, digest in zip(chunk, digests, strict=True)]
            store.drop(image.name for image, digest, record in pairs if record and record.source_xxh3 != digest)
            store.append(
                replace(record, source_mtime_ns=image.mtime_ns)
                for image, digest, record in pairs
                if record and record.source_xxh3 == digest and record.source_mtime_ns != image.mtime_ns
            )
            advance(len(chunk))


def _digest_files(paths: tuple[Path, ...]) -> list[int | None]:
    digests: list[int | None] = []
    for path in paths:
        try:
            digests.append(xxh3_64_intdigest(read_bytes(path)))
        except ImageError:
            digests.append(None)  # decoding reports why
    return digests


def _find_damaged(
    store: FrameStore, images: Sequence[ImageFile], *, pool: WorkerPool, progress: Progress
) -> Iterator[str]:
    """Read the pixels of stored frames again, and yield the names of those that changed."""
    names = [image.name for image in images]
    if not names:
        return
    tasks = ((store.folder, tuple(chunk)) for chunk in chunked(names, _CHECK_CHUNK))
    with progress.task("Check stored frames", len(names)) as advance:
        for chunk, damaged in zip(chunked(names, _CHECK_CHUNK), pool.run(_check_stored, tasks), strict=True):
            yield from damaged
            advance(len(chunk))


def _check_stored(task: tuple[Path, tuple[str, ...]]) -> list[str]:
    folder, names = task
    store = FrameStore(folder)
    frame = np.empty((FRAME_SIDE, FRAME_SIDE), np.uint8)
    damaged = []
    for name in names:
        record = store.get(name)
        try:
            if record is not None:
                store.read_into(record, frame)
        except DamageError:
            damaged.append(name)
    store.close()
    return damaged


def _check_images(images: Sequence[ImageFile], *, pool: WorkerPool, strict: bool, progress: Progress) -> dict[str, str]:
    """Check the header of every image, so that a bad one is known before hours of decoding the good ones."""
    bad: dict[str, str] = {}
    if not images:
        return bad
    chunks = list(chunked(images, 4 * _CHUNK))
    tasks = (tuple(str(image.path) for image in chunk) for chunk in chunks)
    with progress.task("Check images", len(images)) as advance:
        for chunk, errors in zip(chunks, pool.run(_check_chunk, tasks), strict=True):
            bad |= _collect({chunk[number].name: error for number, error in errors.items()}, strict=strict)
            advance(len(chunk))
    return bad


def _check_chunk(paths: tuple[str, ...]) -> dict[int, ImageError]:
    errors = {}
    for number, path in enumerate(paths):
        try:
            check_image(path)
        except ImageError as error:
            errors[number] = error
    return errors


def _decode_images(
    store: FrameStore, images: Sequence[ImageFile], *, pool: WorkerPool, strict: bool, progress: Progress
) -> dict[str, str]:
    bad: dict[str, str] = {}
    if not images:
        return bad
    first_row = store.grow(len(images))
    chunks = list(zip(chunked(images, _CHUNK), chunked(range(first_row, first_row + len(images)), _CHUNK), strict=True))
    tasks = (_Chunk(tuple(str(i.path) for i in chunk), store.array_path, rows[0]) for chunk, rows in chunks)
    with progress.task("Decode and resize images", len(images)) as advance:
        for (chunk, rows), decoded in zip(chunks, pool.run(_decode_chunk, tasks), strict=True):
            found = list(zip(chunk, rows, decoded, strict=True))
            store.append(_make_record(image, row, of_image) for image, row, of_image in found if not of_image.error)
            bad |= _collect({image.name: of.error for image, _, of in found if of.error}, strict=strict)
            advance(len(chunk))
    return bad


def _decode_chunk(chunk: _Chunk) -> list[_Decoded]:
    """Decode and resize the images of a chunk into their rows; the row of a bad image stays unused."""
    frames = _reused_frames()[: len(chunk.paths)]
    decoded = []
    for frame, path in zip(frames, chunk.paths, strict=True):
        try:
            data = read_bytes(path)
            frame[:] = resize_frame(decode_image(data, where=path))
        except ImageError as error:
            frame[:] = 0
            decoded.append(_Decoded(0, 0, error))
        else:
            decoded.append(_Decoded(xxh3_64_intdigest(data), xxh3_64_intdigest(frame.data), None))
    write_frames(chunk.store, chunk.first_row, frames)
    return decoded


@functools.cache
def _reused_frames() -> NDArray[np.uint8]:
    """Return memory for the frames of a chunk, the same for every task of a process: touching new memory is slow."""
    return np.empty((_CHUNK, FRAME_SIDE, FRAME_SIDE), np.uint8)


def _make_record(image: ImageFile, row: int, decoded: _Decoded) -> FrameRecord:
    return FrameRecord(
        row=row,
        name=image.name,
        source_size_bytes=image.size_bytes,
        source_mtime_ns=image.mtime_ns,
        source_xxh3=decoded.source_xxh3,
        pixels_xxh3=decoded.pixels_xxh3,
    )


def _collect(errors: dict[str, ImageError], *, strict: bool) -> dict[str, str]:
    if strict:
        for error in errors.values():
            raise error
    return {name: error.found for name, error in errors.items()}
