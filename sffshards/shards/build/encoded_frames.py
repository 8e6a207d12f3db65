"""Frames encoded once for all samples that show them, kept on disk while a build writes shards.

``.build/encoded/`` holds files of encoded frames, and a table of their places and checksums. It is made from the frame
store in seconds, so a build that resumes makes it again for the shards that are missing.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError
from sffshards.base.progress import Progress
from sffshards.base.worker_pool import WorkerPool, chunked
from sffshards.domain.frame_sequences import Sample
from sffshards.domain.frames import FrameId
from sffshards.domain.views import View, apply_view
from sffshards.images import StoreSnapshot, open_snapshot
from sffshards.shards.format import PLACE_DTYPE, VIEWS, CodecName, Piece, encode_frames, get_codec

_TABLE = "table.npy"
_TABLE_DTYPE = np.dtype([("key", "<i8"), ("file", "<u2"), *PLACE_DTYPE.descr, ("xxh3", "<u8")])
_MIN_PER_FILE = 256
"""Minimum number of frames per task: some 30 ms of work and 2 MB."""
_MAX_FILES = 256
"""Maximum number of files, which every worker keeps open."""


class _Entry(NamedTuple):
    """A row of the table as Python numbers; see `PLACE_DTYPE`."""

    key: int
    file: int
    start: int
    rest: int
    end: int
    first: int
    last: int
    xxh3: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedSnapshot:
    """Location of encoded frames, for other processes to open."""

    folder: Path
    token: str
    """Identifier of this encoding, so that a process does not use another one that it has open."""


class EncodedFrames:
    """Reader of encoded frames of a store."""

    def __init__(self, folder: Path) -> None:
        with storage_errors(folder):
            self._table = np.load(folder / _TABLE, allow_pickle=False)
        self._keys = self._table["key"].copy()  # contiguous, or every search would copy it
        self._folder = folder
        self._descriptors: dict[int, int] = {}

    def read(self, rows: Sequence[int], view: View) -> list[Piece]:
        """Return rows of the store in a view, encoded: one piece for each run of consecutive frames.

        Raises
        ------
        DamageError
            If the bytes are not those that were written.
        """
        numbers = self._keys.searchsorted([_key(row, view) for row in rows]).tolist()
        shown = sorted(set(numbers))
        entries = {number: _Entry(*row) for number, row in zip(shown, self._table[shown].tolist(), strict=True)}
        content: dict[int, tuple[memoryview, int]] = {}
        for run in _split_runs(shown, entries):
            content |= dict.fromkeys(run, self._read_run([entries[number] for number in run]))
        pieces = []
        for run in _split_runs(numbers, entries):
            head, tail, (data, first_bit) = entries[run[0]], entries[run[-1]], content[run[0]]
            rest, end = head.rest - first_bit, tail.end - first_bit
            pieces.append(Piece(data=data, rest=rest, end=end, first=head.first, last=tail.last, num_frames=len(run)))
        return pieces

    def _read_run(self, entries: Sequence[_Entry]) -> tuple[memoryview, int]:
        """Read consecutive frames of a file at once and check each; return their bytes and the number of the first bit.

        Positional reads, not a memory map: its pages would count as memory of every worker, and a disk that fails
        would end the process without a word.
        """
        file, first = entries[0].file, entries[0].start // 8
        with storage_errors(path := _file_path(self._folder, file)):
            if file not in self._descriptors:
                self._descriptors[file] = os.open(path, os.O_RDONLY)
            data = memoryview(os.pread(self._descriptors[file], -(-entries[-1].end // 8) - first, first))
        for entry in entries:
            if _hash_bits(data, entry.start - 8 * first, entry.end - 8 * first) != entry.xxh3:
                raise DamageError(
                    path,
                    expected=f"checksum {entry.xxh3:016x} at byte {entry.start // 8}",
                    found="other bytes",
                    fix="run the same command again to resume",
                )
        return data, 8 * first

    def close(self) -> None:
        """Close the files."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


@lru_cache(maxsize=1)
def open_encoded(snapshot: EncodedSnapshot) -> EncodedFrames:
    """Open encoded frames once per process, for all its shards."""
    return EncodedFrames(snapshot.folder)


@contextmanager
def frames_encoded(
    samples: Iterable[Sample],
    codec: CodecName,
    store: StoreSnapshot,
    folder: Path,
    *,
    pool: WorkerPool,
    progress: Progress,
) -> Iterator[EncodedSnapshot | None]:
    """Encode every frame that samples show, once in each view, and keep the files while the block runs.

    Parameters
    ----------
    samples
        Samples that will be written.
    codec
        Codec of the build.
    store
        The frame store.
    folder
        Folder of the files, which is removed before and after.
    pool
        Worker processes.
    progress
        Shows the progress.

    Yields
    ------
    EncodedSnapshot or None
        Location of the frames; None if the codec encodes clips only as a whole.
    """
    snapshot = None
    try:
        if get_codec(codec).is_spliced:
            snapshot = _encode(_list_shown(samples, store), store, folder, pool=pool, progress=progress)
        yield snapshot
    finally:
        if snapshot is not None and not pool.workers:  # other processes close their files when they end
            open_encoded(snapshot).close()
            open_encoded.cache_clear()
        shutil.rmtree(folder, ignore_errors=True)


def _encode(
    shown: Sequence[tuple[int, str, View]], store: StoreSnapshot, folder: Path, *, pool: WorkerPool, progress: Progress
) -> EncodedSnapshot:
    shutil.rmtree(folder, ignore_errors=True)
    with storage_errors(folder):
        folder.mkdir(parents=True)
    size = max(_MIN_PER_FILE, -(-len(shown) // _MAX_FILES))
    tasks = (
        (store, _file_path(folder, number), [(name, view) for _, name, view in some])
        for number, some in enumerate(chunked(shown, size))
    )
    table = np.zeros(len(shown), _TABLE_DTYPE)
    table["key"] = [key for key, *_ in shown]
    table["file"] = np.arange(len(shown)) // size
    with progress.task("Encode frames", len(shown)) as advance:
        done = 0
        for places, checksums in pool.run(_encode_file, tasks):
            rows = table[done : done + len(places)]
            for name, *_ in PLACE_DTYPE.descr:
                rows[name] = places[name]
            rows["xxh3"] = checksums
            done += len(places)
            advance(len(places))
    with storage_errors(folder):
        np.save(folder / _TABLE, table)
    return EncodedSnapshot(folder=folder, token=secrets.token_hex(8))


def _key(row: int, view: View) -> int:
    """Return the number of a frame in a view, by which the frames of a view are consecutive, in the store's order."""
    return VIEWS.index(view) << 40 | row


def _list_shown(samples: Iterable[Sample], snapshot: StoreSnapshot) -> list[tuple[int, str, View]]:
    """Return every frame in every view that samples show, once, sorted: its number, its name and the view."""
    shown: dict[View, set[FrameId]] = {view: set() for view in View}
    for sample in samples:
        shown[sample.view].update(sample.sequence.frames)
    store = snapshot.open()
    names = {frame: frame.name for frames in shown.values() for frame in frames}
    rows = {frame: store.record(name).row for frame, name in names.items()}
    return sorted((_key(rows[frame], view), names[frame], view) for view, frames in shown.items() for frame in frames)


def _encode_file(
    task: tuple[StoreSnapshot, Path, list[tuple[str, View]]],
) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
    """Write a file of frames, each in a view, encoded; return the place and the checksum of each."""
    snapshot, path, frames = task
    store = open_snapshot(snapshot)
    data, places = encode_frames(apply_view(store.read([name])[0], view) for name, view in frames)
    with storage_errors(path):
        path.write_bytes(data)
    borders = zip(places["start"].tolist(), places["end"].tolist(), strict=True)
    return places, np.array([_hash_bits(memoryview(data), start, end) for start, end in borders], np.uint64)


def _split_runs(numbers: Sequence[int], entries: dict[int, _Entry]) -> list[Sequence[int]]:
    """Split numbers of entries into runs of frames that are consecutive in one file."""
    borders = [
        slot
        for slot, (before, number) in enumerate(pairwise(numbers), 1)
        if number != before + 1 or entries[number].file != entries[before].file
    ]
    return [numbers[start:end] for start, end in pairwise([0, *borders, len(numbers)])]


def _hash_bits(data: memoryview, start: int, end: int) -> int:
    """Return the XXH3-64 of the bytes that hold some bits."""
    return xxh3_64_intdigest(data[start // 8 : -(-end // 8)])


def _file_path(folder: Path, number: int) -> Path:
    return folder / f"{number:03d}.bin"
