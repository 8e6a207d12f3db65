"""Fill the frame store: check the images, and decode in parallel those that it lacks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.errors import ImageError
from sffshards.base.progress import Progress
from sffshards.domain.frame_codes import name_of, parse_code
from sffshards.domain.frames import FRAME_SIDE
from sffshards.executors import Executor, chunked
from sffshards.images.frame_journal import RECORD_DTYPE
from sffshards.images.frame_store import MAX_SEGMENT_FRAMES, FrameStore, write_segment
from sffshards.images.image_files import check_image, decode_image, read_bytes, resize_frame
from sffshards.images.stored_frames import StoredFrames
from sffshards.labels import ImageFiles

Task = TypeVar("Task")
Result = TypeVar("Result")

_BLOCK = 64
"""Images decoded before their frames are written, 3 MB; also the minimum number of images per task."""

_READ_CHUNK = 1024
"""Maximum number of images per task that only reads them."""

_CHECK_CHUNK = 4096
"""Maximum number of stored frames per checking task."""


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
    images: ImageFiles,
    *,
    executor: Executor,
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
    executor
        Where images are read and decoded.
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
    work = _Work(executor=executor, progress=progress, strict=strict)
    store.clean()
    had = images.take(is_stored(store, images))
    _compare_files(store, had.take(~_is_current(store, had)) if trust_dates else had, work)
    _drop_damaged(store, had.take(_is_current(store, had)), work)
    wanted = images.take(~_is_current(store, images))
    bad = _check_images(wanted, work)
    good = wanted.take(~np.isin(wanted.codes, np.array([parse_code(name) for name in bad], np.int64)))
    of_decoding = _decode_images(store, good, work)
    num_decoded = len(good) - len(of_decoding)
    return FillReport(num_decoded=num_decoded, num_kept=len(images) - len(wanted), bad=bad | of_decoding)


def is_stored(store: FrameStore, images: ImageFiles) -> NDArray[np.bool_]:
    """Return whether a store seems to have the frame of each image: from a file of the same size, of any date."""
    return _agrees(store, images, source_size_bytes=images.size_bytes)


def _is_current(store: FrameStore, images: ImageFiles) -> NDArray[np.bool_]:
    return _agrees(store, images, source_size_bytes=images.size_bytes, source_mtime_ns=images.mtime_ns)


def _agrees(store: FrameStore, images: ImageFiles, **columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each image whether the store has its frame, with these values in columns of its record."""
    places = store.find(images.codes)
    agrees = places >= 0
    records = store.records[places[agrees]]
    for name, values in columns.items():
        agrees[places >= 0] &= records[name] == values[places >= 0]
    return agrees


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """Where the work is done, the display of its progress, and the treatment of bad images."""

    executor: Executor
    progress: Progress
    strict: bool

    def run(
        self,
        what: str,
        images: ImageFiles,
        most: int,
        function: Callable[[Task], Result],
        to_task: Callable[[ImageFiles], Task],
    ) -> Iterator[tuple[ImageFiles, Result]]:
        """Call a function on chunks of images; yield each chunk with its result."""
        ranges = self.executor.split(range(len(images)), least=_BLOCK, most=most)
        chunks = [images[of[0] : of[-1] + 1] for of in ranges]
        if chunks:
            with self.progress.task(what, len(images)) as advance:
                for chunk, result in zip(chunks, self.executor.run(function, map(to_task, chunks)), strict=True):
                    yield chunk, result
                    advance(len(chunk))

    def describe(self, errors: dict[str, ImageError]) -> dict[str, str]:
        """Return what was found instead of images; raise the first error if bad images are not accepted."""
        for error in errors.values():
            if self.strict:
                raise error
        return {name: error.found for name, error in errors.items()}


def _compare_files(store: FrameStore, images: ImageFiles, work: _Work) -> None:
    """Keep the frames of files that hold the same bytes as those that were decoded, such as copies; drop the others."""
    rows = store.records[store.find(images.codes)]
    rows["generation"] = store.next_generations(images.codes)
    changed, done = [], 0
    what = "Compare images with those decoded"
    for chunk, digests in work.run(what, images, _READ_CHUNK, _digest_files, ImageFiles.list_paths):
        some = rows[done : done + len(chunk)]
        done += len(chunk)
        is_same = np.array(
            [digest == row for digest, row in zip(digests, some["source_xxh3"].tolist(), strict=True)], np.bool_
        )
        changed.append(some["code"][~is_same])
        is_copied = is_same & (some["source_mtime_ns"] != chunk.mtime_ns)
        some["source_mtime_ns"] = chunk.mtime_ns
        store.append(some[is_copied])
    store.drop(np.concatenate([np.empty(0, np.int64), *changed]))


def _digest_files(paths: list[str]) -> list[int | None]:
    digests: list[int | None] = []
    for path in paths:
        try:
            digests.append(xxh3_64_intdigest(read_bytes(path)))
        except ImageError:
            digests.append(None)  # decoding reports why
    return digests


def _drop_damaged(store: FrameStore, images: ImageFiles, work: _Work) -> None:
    """Read the pixels of stored frames again, and drop those that changed."""

    def to_task(chunk: ImageFiles) -> StoredFrames:
        return store.select(chunk.codes)

    damaged = [
        of for _, of in work.run("Check stored frames", images, _CHECK_CHUNK, StoredFrames.find_damaged, to_task)
    ]
    store.drop(np.concatenate([np.empty(0, np.int64), *damaged]))


def _check_images(images: ImageFiles, work: _Work) -> dict[str, str]:
    """Check the header of every image, so that a bad one is known before hours of decoding the good ones."""
    bad: dict[str, str] = {}
    for chunk, errors in work.run("Check images", images, _READ_CHUNK, _find_bad, ImageFiles.list_paths):
        bad |= work.describe({name_of(chunk.codes.item(number)): error for number, error in errors.items()})
    return bad


def _find_bad(paths: list[str]) -> dict[int, ImageError]:
    errors = {}
    for number, path in enumerate(paths):
        try:
            check_image(path)
        except ImageError as error:
            errors[number] = error
    return errors


def _decode_images(store: FrameStore, images: ImageFiles, work: _Work) -> dict[str, str]:
    bad: dict[str, str] = {}
    generations, done = store.next_generations(images.codes), 0

    def to_task(chunk: ImageFiles) -> tuple[Path, list[str]]:
        return store.segment_path(store.new_segment()), chunk.list_paths()

    decoded = work.run("Decode and resize images", images, MAX_SEGMENT_FRAMES, _decode_chunk, to_task)
    for chunk, (segment, of_images) in decoded:
        is_good = np.array([not isinstance(of, ImageError) for of in of_images], np.bool_)
        records = np.zeros(len(chunk), RECORD_DTYPE)
        records["code"] = chunk.codes
        records["segment"] = store.number_segment(segment)
        records["row"] = np.arange(len(chunk))
        records["generation"] = generations[done : done + len(chunk)]
        records["source_size_bytes"] = chunk.size_bytes
        records["source_mtime_ns"] = chunk.mtime_ns
        done += len(chunk)
        records = records[is_good]
        checksums = np.array([of for of in of_images if not isinstance(of, ImageError)], np.uint64).reshape(-1, 2)
        records["source_xxh3"], records["pixels_xxh3"] = checksums.T
        store.append(records)
        errors = {number: of for number, of in enumerate(of_images) if isinstance(of, ImageError)}
        bad |= work.describe({name_of(chunk.codes.item(number)): error for number, error in errors.items()})
    return bad


def _decode_chunk(task: tuple[Path, list[str]]) -> tuple[str, list[tuple[int, int] | ImageError]]:
    """Decode and resize images into a segment; the row of a bad image stays unused.

    Returns
    -------
    Name of the segment, and for each image the checksums of its bytes and of the pixels of its frame, or the error
    """
    path, images = task
    decoded: list[tuple[int, int] | ImageError] = []
    write_segment(path, len(images), _decode_blocks(images, decoded))
    return path.stem, decoded


def _decode_blocks(paths: list[str], decoded: list[tuple[int, int] | ImageError]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of images in blocks, and add the checksums or the error of each to a list."""
    for some in chunked(paths, _BLOCK):
        frames = _reused_frames()[: len(some)]
        for frame, path in zip(frames, some, strict=True):
            try:
                data = read_bytes(path)
                frame[:] = resize_frame(decode_image(data, where=path))
                decoded.append((xxh3_64_intdigest(data), xxh3_64_intdigest(frame.data)))
            except ImageError as error:
                frame[:] = 0
                decoded.append(error)
        yield frames


@functools.cache
def _reused_frames() -> NDArray[np.uint8]:
    """Return memory for the frames of a block, the same for every task of a process: touching new memory is slow."""
    return np.empty((_BLOCK, FRAME_SIDE, FRAME_SIDE), np.uint8)
