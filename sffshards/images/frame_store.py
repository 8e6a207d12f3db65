"""The frame store: one memory-mappable uint8 array of all frames, and a journal of its rows.

``frames.npy`` has shape (rows, 224, 224); ``frames.csv`` is the journal. A row that it does not name is unused.

- Rows are never rewritten: a frame whose image changed gets a new row, so that a process that fills the store does not
  disturb a build that reads it.
- Pixels are checked against their checksum whenever they are read, so that a journal that outlived its pixels in a
  crash is detected.
"""

from __future__ import annotations

import io
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.atomic_files import opened, storage_errors, write_all
from sffshards.base.errors import ConflictError, DamageError, InputError
from sffshards.domain.frames import FRAME_SIDE
from sffshards.images.frame_journal import FrameRecord, append_journal, read_journal, trim_journal

FRAME_BYTES = FRAME_SIDE * FRAME_SIDE
"""Size of the pixels of a frame."""

_OWN_HEADER = re.compile(rb"\x93NUMPY\x01\x00.*'shape': \(\d+, %d, %d\)" % (FRAME_SIDE, FRAME_SIDE), re.DOTALL)
_DATA_OFFSET = 128
"""Bytes before the pixels in ``frames.npy``: numpy pads its header to this, with room for the row count to grow."""


class FrameStore:
    """A folder with frames; invariant: the row of every record lies within the array."""

    def __init__(self, folder: Path, *, journal_bytes: int | None = None) -> None:
        """Open a store; a folder without one is an empty store.

        Parameters
        ----------
        folder
            Folder of the store.
        journal_bytes
            Size of the part of the journal to read, without what was appended later; None for all of it.

        Raises
        ------
        FormatError
            If the journal is of another version.
        """
        self.folder = folder
        self._descriptor: int | None = None
        self._records, self.num_rows = self._read_journal(journal_bytes)

    @property
    def array_path(self) -> Path:
        """Path of the array, for ``numpy.load(path, mmap_mode="r")``."""
        return self.folder / "frames.npy"

    @property
    def journal_path(self) -> Path:
        """Path of the journal."""
        return self.folder / "frames.csv"

    def snapshot(self) -> StoreSnapshot:
        """Return a reference to the present content, which other processes can read while more is added."""
        with storage_errors(self.journal_path):
            journal_bytes = self.journal_path.stat().st_size if self.journal_path.exists() else 0
        return StoreSnapshot(folder=self.folder, journal_bytes=journal_bytes, token=secrets.token_hex(8))

    def get(self, name: str) -> FrameRecord | None:
        """Return the newest record of a frame, or None."""
        return self._records.get(name)

    def record(self, name: str) -> FrameRecord:
        """Return the newest record of a frame; raises `InputError` where there is none."""
        record = self._records.get(name)
        if record is None:
            raise InputError(self.folder, expected=f"frame {name}", found="none", fix="build again")
        return record

    def read(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """Read frames by name, and check each.

        Returns
        -------
        uint8 array of shape (len(names), 224, 224)

        Raises
        ------
        InputError
            If a frame is not in the store.
        DamageError
            If pixels are not those that were written.
        """
        frames = np.empty((len(names), FRAME_SIDE, FRAME_SIDE), np.uint8)
        for slot, name in enumerate(names):
            first = names.index(name)
            if first == slot:
                self.read_into(self.record(name), frames[slot])
            else:
                frames[slot] = frames[first]
        return frames

    def read_into(self, record: FrameRecord, frame: NDArray[np.uint8]) -> None:
        """Read a record's pixels into a contiguous (224, 224) array; raises `DamageError` if they changed."""
        with storage_errors(self.array_path):
            if self._descriptor is None:
                self._descriptor = os.open(self.array_path, os.O_RDONLY)
            count = os.preadv(self._descriptor, [frame], _DATA_OFFSET + record.row * FRAME_BYTES)
        if count != FRAME_BYTES or xxh3_64_intdigest(frame.data) != record.pixels_xxh3:
            raise DamageError(
                f"{self.array_path}, row {record.row} ({record.name})",
                expected=f"pixels with checksum {record.pixels_xxh3:016x}",
                found="others",
                fix=f"delete the folder {self.folder} and build again",
            )

    def grow(self, num_new: int) -> int:
        """Allocate rows after the last recorded one, on the disk too, and return the number of the first.

        Only for the process that holds the folder's lock: rows that a killed process had allocated are used again.
        """
        first = self.num_rows
        with storage_errors(self.array_path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with opened(self.array_path, os.O_RDWR | os.O_CREAT) as descriptor:
                _reserve(descriptor, _DATA_OFFSET + (first + num_new) * FRAME_BYTES)
                os.pwrite(descriptor, _format_header(first + num_new), 0)
        self.num_rows += num_new
        return first

    def append(self, records: Iterable[FrameRecord]) -> None:
        """Add records whose pixels have been written."""
        added = list(records)
        append_journal(self.journal_path, added)
        self._records.update((record.name, record) for record in added)

    def drop(self, names: Iterable[str]) -> None:
        """Forget frames whose pixels were found damaged, for as long as this store is open."""
        for name in names:
            self._records.pop(name, None)

    def close(self) -> None:
        """Close the file of the array."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read_journal(self, journal_bytes: int | None) -> tuple[dict[str, FrameRecord], int]:
        """Return the newest record of each frame whose pixels were written, and the number of rows."""
        if not self.journal_path.exists():
            self._require_own_array()
            return {}, 0
        records = read_journal(self.journal_path, num_bytes=journal_bytes)
        if not self.array_path.exists():
            return {}, 0
        with storage_errors(self.array_path):
            num_stored = max(0, (self.array_path.stat().st_size - _DATA_OFFSET) // FRAME_BYTES)
        written = [record for record in records if record.row < num_stored]
        return {record.name: record for record in written}, max((record.row + 1 for record in written), default=0)

    def _require_own_array(self) -> None:
        """Refuse an array without a journal, unless a process that was killed while filling may have left it."""
        if not self.array_path.exists():
            return
        with storage_errors(self.array_path), self.array_path.open("rb") as file:
            header = file.read(_DATA_OFFSET)
        if header.strip(b"\0") and not _OWN_HEADER.match(header):
            raise ConflictError(
                self.array_path,
                expected="no file, or the array of a frame store",
                found="another file",
                fix="name another folder with {out}, or move this file away",
            )

    def trim_journal(self) -> None:
        """Cut off a half-written last line, or remove a journal whose array is gone.

        Only for the process that holds the folder's lock.
        """
        if self.journal_path.exists() and self.array_path.exists():
            trim_journal(self.journal_path)
        else:
            with storage_errors(self.journal_path):
                self.journal_path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSnapshot:
    """The content of a store at one time."""

    folder: Path
    journal_bytes: int
    """Size of the journal at that time."""
    token: str
    """A random text, so that a store that was opened for another snapshot is not reused."""

    def open(self) -> FrameStore:
        """Open the store with the frames of that time."""
        return FrameStore(self.folder, journal_bytes=self.journal_bytes)


@lru_cache(maxsize=1)
def open_snapshot(snapshot: StoreSnapshot) -> FrameStore:
    """Open a store once per process, for all its tasks; a journal of 60,000 frames is read in 0.2 s."""
    return snapshot.open()


def write_frames(array_path: Path, first_row: int, frames: NDArray[np.uint8]) -> None:
    """Write frames of shape (n, 224, 224) into rows that `FrameStore.grow` allocated."""
    with opened(array_path, os.O_WRONLY) as descriptor:
        data = memoryview(np.ascontiguousarray(frames)).cast("B")
        write_all(descriptor, data, _DATA_OFFSET + first_row * FRAME_BYTES, where=array_path)


def _reserve(descriptor: int, size_bytes: int) -> None:
    """Set the size of a file and reserve its space on the disk, where the system can, to fail now if at all."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size_bytes)
    os.truncate(descriptor, size_bytes)


def _format_header(num_rows: int) -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (num_rows, FRAME_SIDE, FRAME_SIDE)}
    npy_format.write_array_header_1_0(buffer, fields)
    header = buffer.getvalue()
    if len(header) != _DATA_OFFSET:  # pragma: no cover
        raise AssertionError(f"numpy wrote a header of {len(header)} bytes")
    return header
