"""Frames encoded once for all samples that show them, kept on disk while a build writes shards.

``.build/encoded/`` holds files of encoded frames. They are made from the frame store in seconds, so a build that
resumes makes them again for the shards that are missing. Shapes: n frames.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.atomic_files import read_exactly, replacing, storage_errors
from sffshards.base.errors import DamageError
from sffshards.base.file_reading import OpenFiles, open_file_limit
from sffshards.base.progress import Progress
from sffshards.domain.sequence_table import SampleTable
from sffshards.domain.views import View, apply_view
from sffshards.executors import Executor, KeptOpen
from sffshards.images import StoredFrames
from sffshards.shards.format import PLACE_DTYPE, VIEWS, Piece, encode_frames

_TABLE_DTYPE = np.dtype([("code", "<i8"), ("view", "u1"), ("file", "<u2"), *PLACE_DTYPE.descr, ("xxh3", "<u8")])
_MIN_PER_FILE = 256
"""Minimum number of frames per task: some 30 ms of work and 2 MB."""
_MAX_FILES = 256
"""Maximum number of files, which every worker keeps open."""


class _Entry(NamedTuple):
    """A row of the table as Python numbers; see `PLACE_DTYPE`."""

    code: int
    view: int
    file: int
    start: int
    rest: int
    end: int
    first: int
    last: int
    xxh3: int


class EncodedFrames:
    """Encoded frames, each in a view, and where they are: what a task that reads them is sent.

    Parameters
    ----------
    folder
        A folder of this encoding only.
    table
        Place and checksum of each frame, sorted by view and code.
    numbers
        Positions of the rows in the table of all frames: consecutive ones in a file are read at once.
    """

    def __init__(self, folder: Path, table: NDArray[np.void], numbers: NDArray[np.int64] | None = None) -> None:
        self.folder = folder
        self._table = table
        self._codes = table["code"].copy()  # contiguous, or every search would copy it
        self._numbers = np.arange(len(table)) if numbers is None else numbers
        self._of_view = {
            view: slice(*np.searchsorted(table["view"], [number, number + 1])) for number, view in enumerate(VIEWS)
        }

    def select(self, samples: SampleTable) -> EncodedFrames:
        """Return the frames that samples show."""
        places = np.sort(
            np.concatenate([self._find(codes, VIEWS[number]) for number, codes in _frames_by_view(samples)])
        )
        return EncodedFrames(self.folder, self._table[places], self._numbers[places])

    def read(self, codes: NDArray[np.int64], view: View) -> list[Piece]:
        """Return frames in a view, encoded: one piece for each run of consecutive ones.

        Parameters
        ----------
        codes
            Codes of the frames; see `sffshards.domain.frame_codes`.
        view
            The view.

        Raises
        ------
        DamageError
            If the bytes are not those that were written.
        """
        places = self._find(codes, view)
        numbers = self._numbers[places].tolist()
        rows = self._table[places].tolist()
        entries = {number: _Entry(*row) for number, row in zip(numbers, rows, strict=True)}
        content: dict[int, tuple[memoryview, int]] = {}
        for run in _split_runs(sorted(entries), entries):
            content |= dict.fromkeys(run, self._read_run([entries[number] for number in run]))
        pieces = []
        for run in _split_runs(numbers, entries):
            head, tail, (data, first_bit) = entries[run[0]], entries[run[-1]], content[run[0]]
            rest, end = head.rest - first_bit, tail.end - first_bit
            pieces.append(Piece(data=data, rest=rest, end=end, first=head.first, last=tail.last, num_frames=len(run)))
        return pieces

    def _find(self, codes: NDArray[np.int64], view: View) -> NDArray[np.int64]:
        """Return the rows of frames in a view."""
        of_view = self._of_view[view]
        places: NDArray[np.int64] = of_view.start + self._codes[of_view].searchsorted(codes)
        return places

    def _read_run(self, entries: Sequence[_Entry]) -> tuple[memoryview, int]:
        """Read consecutive frames of a file at once and check each; return their bytes and the number of the first bit.

        Positional reads, not a memory map: its pages would count as memory of every worker, and a disk that fails
        would end the process without a word.
        """
        first, path = entries[0].start // 8, _file_path(self.folder, entries[0].file)
        with storage_errors(path):
            content = bytearray(-(-entries[-1].end // 8) - first)
            data = memoryview(content)[: read_exactly(_open_files(self.folder).enter(path), [content], first)]
        for entry in entries:
            if _hash_bits(data, entry.start - 8 * first, entry.end - 8 * first) != entry.xxh3:
                expected = f"checksum {entry.xxh3:016x} at byte {entry.start // 8}"
                fix = "run the same command again to resume"
                raise DamageError(path, expected=expected, found="other bytes", fix=fix)
        return data, 8 * first


_open_files: KeptOpen[Path, OpenFiles] = KeptOpen(lambda _: OpenFiles())
"""Keeps the files open for all shards that a process writes."""


@contextmanager
def frames_encoded(
    samples: SampleTable,
    store: StoredFrames,
    folder: Path,
    *,
    executor: Executor,
    progress: Progress,
) -> Iterator[EncodedFrames]:
    """Encode every frame that samples show, once in each view, and keep the files while the block runs.

    Parameters
    ----------
    samples
        Samples that will be written.
    store
        The frames.
    folder
        Folder in which a folder of the files is made, and removed afterwards.
    executor
        Where frames are encoded.
    progress
        Shows the progress.

    Yields
    ------
    EncodedFrames
        All the frames.
    """
    own = folder / secrets.token_hex(8)  # tasks of an earlier run, which a cluster may still compute, have another
    try:
        yield _encode(_list_shown(samples), store, own, executor=executor, progress=progress)
    finally:
        _open_files.close()
        shutil.rmtree(own, ignore_errors=True)
        with suppress(OSError):  # another part of the build has its own there
            folder.rmdir()


def _encode(
    table: NDArray[np.void], store: StoredFrames, folder: Path, *, executor: Executor, progress: Progress
) -> EncodedFrames:
    with storage_errors(folder):
        folder.mkdir(parents=True)
    size = max(_MIN_PER_FILE, -(-len(table) // min(_MAX_FILES, open_file_limit() // 4)))
    table["file"] = np.arange(len(table)) // size
    starts = range(0, len(table), size)
    tasks = (_make_task(table[start : start + size], store, _file_path(folder, start // size)) for start in starts)
    with progress.task("Encode frames", len(table)) as advance:
        for start, (places, checksums) in zip(starts, executor.run(_encode_file, tasks), strict=True):
            rows = table[start : start + size]
            for name, *_ in PLACE_DTYPE.descr:
                rows[name] = places[name]
            rows["xxh3"] = checksums
            advance(len(rows))
    return EncodedFrames(folder, table)


def _list_shown(samples: SampleTable) -> NDArray[np.void]:
    """Return a table of every frame in every view that samples show, each once, sorted by view and code."""
    shown = dict(_frames_by_view(samples))
    table = np.zeros(sum(map(len, shown.values())), _TABLE_DTYPE)
    table["code"] = np.concatenate(list(shown.values()))
    table["view"] = np.repeat(list(shown), [len(codes) for codes in shown.values()])
    return table


def _frames_by_view(samples: SampleTable) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the number of each view, and the codes of the frames that samples show in it."""
    for number in np.unique(samples.views).tolist():
        yield number, samples.sequences.take(np.flatnonzero(samples.views == number)).frames_shown()


_Task = tuple[Path, StoredFrames, NDArray[np.int64], NDArray[np.uint8]]
"""A file, the frames of a store, and the codes and the views of the frames to encode."""


def _make_task(rows: NDArray[np.void], store: StoredFrames, path: Path) -> _Task:
    return path, store.select(rows["code"]), rows["code"].copy(), rows["view"].copy()


def _encode_file(task: _Task) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
    """Write a file of frames, each in a view, encoded; return the place and the checksum of each."""
    path, store, codes, views = task
    frames = (store.read(codes[row : row + 1])[0] for row in range(len(codes)))
    data, places = encode_frames(
        apply_view(frame, VIEWS[number]) for frame, number in zip(frames, views.tolist(), strict=True)
    )
    with replacing(path, sync=False) as temporary:
        temporary.write_bytes(data)
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
