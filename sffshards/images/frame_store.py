"""The frame store: one memory-mappable uint8 array of all frames, and a journal of what each row holds.

``frames.npy`` has shape (rows, 224, 224); ``frames.csv`` has a line a frame, appended after its pixels were written. A
row that the journal does not name is a hole. Rows are never rewritten: a frame whose image changed gets a new row, so
that a build that reads the store is not disturbed by one that fills it. Pixels are checked against their checksum
whenever they are read, so a journal that outlived its pixels in a crash is found out.
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

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ConflictError, DamageError, FormatError, InputError
from sffshards.domain.frames import FRAME_SIDE

__all__ = ["FRAME_BYTES", "FrameRecord", "FrameStore", "StoreSnapshot"]

FRAME_BYTES = FRAME_SIDE * FRAME_SIDE
"""Bytes of a frame's pixels."""

_HEADER_LINE = f"sffshards-frames,1,{FRAME_SIDE}"
_OWN_HEADER = re.compile(rb"\x93NUMPY\x01\x00.*'shape': \(\d+, %d, %d\)" % (FRAME_SIDE, FRAME_SIDE), re.DOTALL)
_DATA_OFFSET = 128
"""Bytes before the pixels in ``frames.npy``: numpy pads its header to this, with room for the row count to grow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameRecord:
    """A line of the journal: which image a row was made from, and its checksums."""

    row: int
    name: str
    """The frame's published name."""
    source_size_bytes: int
    source_mtime_ns: int
    source_xxh3: int
    """XXH3-64 of the image file."""
    pixels_xxh3: int
    """XXH3-64 of the frame's pixels."""

    def format_line(self) -> str:
        """Give the journal's line, without its newline."""
        checksums = f"{self.source_xxh3:016x},{self.pixels_xxh3:016x}"
        return f"{self.row},{self.name},{self.source_size_bytes},{self.source_mtime_ns},{checksums}"

    @classmethod
    def parse_line(cls, line: str) -> FrameRecord:
        """Read a journal's line back; raises `ValueError` for one that was cut off."""
        row, name, size, mtime, source, pixels = line.split(",")
        if len(pixels) != 16:
            raise ValueError("cut off")
        return cls(
            row=int(row),
            name=name,
            source_size_bytes=int(size),
            source_mtime_ns=int(mtime),
            source_xxh3=int(source, 16),
            pixels_xxh3=int(pixels, 16),
        )


class FrameStore:
    """A folder with frames; invariant: every record's row lies within the array."""

    def __init__(self, folder: Path, *, journal_bytes: int | None = None) -> None:
        """Open a store; a folder without one is an empty store.

        Parameters
        ----------
        folder
            Where it lies.
        journal_bytes
            How much of the journal to read: what was appended later is not seen; None for all of it.

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
        """The array, for ``numpy.load(path, mmap_mode="r")``."""
        return self.folder / "frames.npy"

    @property
    def journal_path(self) -> Path:
        """The journal."""
        return self.folder / "frames.csv"

    def snapshot(self) -> StoreSnapshot:
        """Fix what the store holds now, for other processes to read while more is added."""
        with storage_errors(self.journal_path):
            journal_bytes = self.journal_path.stat().st_size if self.journal_path.exists() else 0
        return StoreSnapshot(folder=self.folder, journal_bytes=journal_bytes, token=secrets.token_hex(8))

    def get(self, name: str) -> FrameRecord | None:
        """Give the newest record of a frame, or None."""
        return self._records.get(name)

    def record(self, name: str) -> FrameRecord:
        """Give the newest record of a frame; raises `InputError` where there is none."""
        record = self._records.get(name)
        if record is None:
            raise InputError(self.folder, expected=f"frame {name}", found="none", fix="build again")
        return record

    def read(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """Read frames by name and check each.

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
        done: dict[str, int] = {}
        for slot, name in enumerate(names):
            if name in done:
                frames[slot] = frames[done[name]]
                continue
            self.read_into(self.record(name), frames[slot])
            done[name] = slot
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
        """Make room for rows after the last recorded one, on the disk too; give the first one's number.

        Only for the process that holds the folder's lock: rows that a killed process had grown are given out again.
        """
        first = self.num_rows
        with storage_errors(self.array_path):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.array_path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _reserve(descriptor, _DATA_OFFSET + (first + num_new) * FRAME_BYTES)
                os.pwrite(descriptor, _format_header(first + num_new), 0)
            finally:
                os.close(descriptor)
        self.num_rows += num_new
        return first

    def append(self, records: Iterable[FrameRecord]) -> None:
        """Add records whose pixels are written already."""
        added = list(records)
        lines = "".join(f"{record.format_line()}\n" for record in added)
        with storage_errors(self.journal_path), self.journal_path.open("a", encoding="ascii") as journal:
            if journal.tell() == 0:
                journal.write(f"{_HEADER_LINE}\n")
            journal.write(lines)
        self._records.update((record.name, record) for record in added)

    def drop(self, names: Iterable[str]) -> None:
        """Forget frames whose pixels were found damaged, for as long as this store is open."""
        for name in names:
            self._records.pop(name, None)

    def close(self) -> None:
        """Let go of the array's file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read_journal(self, journal_bytes: int | None) -> tuple[dict[str, FrameRecord], int]:
        """Read all whole lines; a last one that a kill left half-written counts for nothing."""
        if not self.journal_path.exists():
            self._require_own_array()
            return {}, 0
        with storage_errors(self.journal_path):
            text = self.journal_path.read_bytes()[:journal_bytes].decode("ascii", errors="replace")
        self._require_own_journal(text)
        if not self.array_path.exists():
            return {}, 0
        with storage_errors(self.array_path):
            num_stored = max(0, (self.array_path.stat().st_size - _DATA_OFFSET) // FRAME_BYTES)
        body = text.partition("\n")[2]
        whole = body[: body.rfind("\n") + 1]
        records: dict[str, FrameRecord] = {}
        num_rows = 0
        for number, line in enumerate(whole.splitlines(), start=2):
            try:
                record = FrameRecord.parse_line(line)
            except ValueError:
                raise DamageError(
                    f"{self.journal_path}:{number}",
                    expected="a line of the frame journal",
                    found=repr(line[:60]),
                    fix=f"delete the folder {self.folder} and build again",
                ) from None
            if record.row < num_stored:
                records[record.name] = record
                num_rows = max(num_rows, record.row + 1)
        return records, num_rows

    def _require_own_journal(self, text: str) -> None:
        """Refuse a journal of another version, or a table of someone else's."""
        header = text.partition("\n")[0]
        if header != _HEADER_LINE and not _HEADER_LINE.startswith(header):
            raise FormatError(
                self.journal_path,
                expected=f"the journal of a frame store, with first line {_HEADER_LINE!r}",
                found=repr(header[:60]),
                fix="name another folder with --out, or move this file away if you do not need it",
            )

    def _require_own_array(self) -> None:
        """Refuse an array that no journal tells of, unless a fill that was killed at once may have left it."""
        if not self.array_path.exists():
            return
        with storage_errors(self.array_path), self.array_path.open("rb") as file:
            header = file.read(_DATA_OFFSET)
        if header.strip(b"\0") and not _OWN_HEADER.match(header):
            raise ConflictError(
                self.array_path,
                expected="no file, or the array of a frame store",
                found="another file",
                fix="name another folder with --out, or move this file away",
            )

    def trim_journal(self) -> None:
        """Cut a half-written last line off, or all of a journal whose array is gone.

        Only for the process that holds the folder's lock.
        """
        if not self.journal_path.exists():
            return
        if not self.array_path.exists():
            with storage_errors(self.journal_path):
                self.journal_path.unlink()
            return
        with storage_errors(self.journal_path), self.journal_path.open("r+b") as journal:
            data = journal.read()
            journal.truncate(data.rfind(b"\n") + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSnapshot:
    """A store as it was at a moment."""

    folder: Path
    journal_bytes: int
    """What was in the journal."""
    token: str
    """Of this moment only, so that no one takes a store that was opened for another one."""

    def open(self) -> FrameStore:
        """Open the store, with the frames of that moment."""
        return FrameStore(self.folder, journal_bytes=self.journal_bytes)


@lru_cache(maxsize=1)
def open_snapshot(snapshot: StoreSnapshot) -> FrameStore:
    """Open a store once a process, for all its tasks; a journal of 60,000 frames takes a fifth of a second to read."""
    return snapshot.open()


def write_frames(array_path: Path, first_row: int, frames: NDArray[np.uint8]) -> None:
    """Write frames of shape (n, 224, 224) into rows that `FrameStore.grow` made."""
    with storage_errors(array_path):
        descriptor = os.open(array_path, os.O_WRONLY)
        try:
            data = memoryview(np.ascontiguousarray(frames)).cast("B")
            offset = _DATA_OFFSET + first_row * FRAME_BYTES
            while data:
                count = os.pwrite(descriptor, data, offset)
                data, offset = data[count:], offset + count
        finally:
            os.close(descriptor)


def _reserve(descriptor: int, size_bytes: int) -> None:
    """Set a file's size, and take its space on the disk now where the system can, rather than fail half-way."""
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
