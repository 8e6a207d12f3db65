"""Fill the frame store: check the images, and decode in parallel those that it lacks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

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

Item = TypeVar("Item")
Task = TypeVar("Task")
Result = TypeVar("Result")

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
    work = _Work(pool=pool, progress=progress, strict=strict)
    store.trim_journal()
    had = [image for image in images if is_stored(store, image)]
    _compare_files(store, [image for image in had if not (trust_dates and _is_current(store, image))], work)
    _drop_damaged(store, [image for image in had if _is_current(store, image)], work)
    wanted = [image for image in images if not _is_current(store, image)]
    bad = _check_images(wanted, work)
    good = [image for image in wanted if image.name not in bad]
    bad |= _decode_images(store, good, work)
    num_decoded = sum(image.name not in bad for image in good)
    return FillReport(num_decoded=num_decoded, num_kept=len(images) - len(wanted), bad=bad)


def is_stored(store: FrameStore, image: ImageFile) -> bool:
    """Return whether a store seems to have the frame of an image: from a file of the same size, of any date."""
    record = store.get(image.name)
    return record is not None and record.source_size_bytes == image.size_bytes


def _is_current(store: FrameStore, image: ImageFile) -> bool:
    record = store.get(image.name)
    return record is not None and is_stored(store, image) and record.source_mtime_ns == image.mtime_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """The processes that do the work, the display of its progress, and the treatment of bad images."""

    pool: WorkerPool
    progress: Progress
    strict: bool

    def run(
        self,
        what: str,
        items: Sequence[Item],
        size: int,
        function: Callable[[Task], Result],
        to_task: Callable[[Sequence[Item]], Task],
    ) -> Iterator[tuple[Sequence[Item], Result]]:
        """Call a function on chunks of items in the worker processes; yield each chunk with its result.

        A task consists of plain text and numbers, which are sent to a process in a fraction of the time of records.
        """
        chunks = list(chunked(items, size))
        if chunks:
            with self.progress.task(what, len(items)) as advance:
                for chunk, result in zip(chunks, self.pool.run(function, map(to_task, chunks)), strict=True):
                    yield chunk, result
                    advance(len(chunk))

    def describe(self, errors: dict[str, ImageError]) -> dict[str, str]:
        """Return what was found instead of images; raise the first error if bad images are not accepted."""
        for error in errors.values():
            if self.strict:
                raise error
        return {name: error.found for name, error in errors.items()}


def _list_paths(images: Sequence[ImageFile]) -> list[str]:
    return [str(image.path) for image in images]


def _compare_files(store: FrameStore, images: Sequence[ImageFile], work: _Work) -> None:
    """Keep the frames of files that hold the same bytes as those that were decoded, such as copies; drop the others."""
    what = "Compare images with those decoded"
    for chunk, digests in work.run(what, images, 4 * _CHUNK, _digest_files, _list_paths):
        pairs = [(image, digest, store.record(image.name)) for image, digest in zip(chunk, digests, strict=True)]
        store.drop(record.name for _, digest, record in pairs if record.source_xxh3 != digest)
        store.append(
            record._replace(source_mtime_ns=image.mtime_ns)
            for image, digest, record in pairs
            if record.source_xxh3 == digest and record.source_mtime_ns != image.mtime_ns
        )


def _digest_files(paths: list[str]) -> list[int | None]:
    digests: list[int | None] = []
    for path in paths:
        try:
            digests.append(xxh3_64_intdigest(read_bytes(path)))
        except ImageError:
            digests.append(None)  # decoding reports why
    return digests


def _drop_damaged(store: FrameStore, images: Sequence[ImageFile], work: _Work) -> None:
    """Read the pixels of stored frames again, and drop those that changed."""

    def to_task(chunk: Sequence[ImageFile]) -> tuple[Path, list[str]]:
        return store.folder, [image.name for image in chunk]

    for _, damaged in work.run("Check stored frames", images, _CHECK_CHUNK, _find_damaged, to_task):
        store.drop(damaged)


def _find_damaged(task: tuple[Path, list[str]]) -> list[str]:
    folder, names = task
    store = FrameStore(folder)
    frame = np.empty((FRAME_SIDE, FRAME_SIDE), np.uint8)
    damaged = []
    for name in names:
        try:
            store.read_into(store.record(name), frame)
        except DamageError:
            damaged.append(name)
    store.close()
    return damaged


def _check_images(images: Sequence[ImageFile], work: _Work) -> dict[str, str]:
    """Check the header of every image, so that a bad one is known before hours of decoding the good ones."""
    bad: dict[str, str] = {}
    for chunk, errors in work.run("Check images", images, 4 * _CHUNK, _find_bad, _list_paths):
        bad |= work.describe({chunk[number].name: error for number, error in errors.items()})
    return bad


def _find_bad(paths: list[str]) -> dict[int, ImageError]:
    errors = {}
    for number, path in enumerate(paths):
        try:
            check_image(path)
        except ImageError as error:
            errors[number] = error
    return errors


def _decode_images(store: FrameStore, images: Sequence[ImageFile], work: _Work) -> dict[str, str]:
    if not images:
        return {}
    bad: dict[str, str] = {}
    rows = list(enumerate(images, store.grow(len(images))))

    def to_task(chunk: Sequence[tuple[int, ImageFile]]) -> tuple[Path, int, list[str]]:
        return store.array_path, chunk[0][0], [str(image.path) for _, image in chunk]

    for chunk, decoded in work.run("Decode and resize images", rows, _CHUNK, _decode_chunk, to_task):
        pairs = [(row, image, of) for (row, image), of in zip(chunk, decoded, strict=True)]
        store.append(
            FrameRecord(row, image.name, image.size_bytes, image.mtime_ns, *checksums)
            for row, image, checksums in pairs
            if not isinstance(checksums, ImageError)
        )
        bad |= work.describe({image.name: of for _, image, of in pairs if isinstance(of, ImageError)})
    return bad


def _decode_chunk(task: tuple[Path, int, list[str]]) -> list[tuple[int, int] | ImageError]:
    """Decode and resize images into rows of the store; the row of a bad image stays unused.

    Returns
    -------
    For each image the checksums of its bytes and of the pixels of its frame, or the error
    """
    array_path, first_row, paths = task
    frames = _reused_frames()[: len(paths)]
    decoded: list[tuple[int, int] | ImageError] = []
    for frame, path in zip(frames, paths, strict=True):
        try:
            data = read_bytes(path)
            frame[:] = resize_frame(decode_image(data, where=path))
            decoded.append((xxh3_64_intdigest(data), xxh3_64_intdigest(frame.data)))
        except ImageError as error:
            frame[:] = 0
            decoded.append(error)
    write_frames(array_path, first_row, frames)
    return decoded


@functools.cache
def _reused_frames() -> NDArray[np.uint8]:
    """Return memory for the frames of a chunk, the same for every task of a process: touching new memory is slow."""
    return np.empty((_CHUNK, FRAME_SIDE, FRAME_SIDE), np.uint8)
