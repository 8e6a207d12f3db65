"""The journal of a frame store: one line per frame, appended after its pixels were written.

Each line ends with its own checksum: a changed digit would else name another image, and change the manifest of a build.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_hexdigest

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, FormatError
from sffshards.base.file_reading import reading
from sffshards.domain.frame_codes import name_of, parse_code
from sffshards.domain.frames import FRAME_SIDE

_HEADER_LINE = f"sffshards-frames,3,{FRAME_SIDE}"
_MAX_LINE_BYTES = 1000
_CHUNK = 1 << 16
"""Lines that become rows of an array at a time."""

RECORD_DTYPE = np.dtype(
    [
        ("code", "<i8"),
        ("segment", "<u4"),
        ("row", "<u2"),
        ("generation", "<u4"),
        ("source_size_bytes", "<i8"),
        ("source_mtime_ns", "<i8"),
        ("source_xxh3", "<u8"),
        ("pixels_xxh3", "<u8"),
    ]
)
"""The fields of `FrameRecord`, with the frame's code for its name, and a number for its segment."""

Records = NDArray[np.void]
"""A structured array of `RECORD_DTYPE`."""


class FrameRecord(NamedTuple):
    """A line of the journal, field by field: where a frame is, the image that it was made from, and its checksums."""

    segment: str
    """Name of the file of frames, without its suffix."""
    row: int
    """Row in that file."""
    generation: int
    """Number of older records of the same frame; of two records, the one with the higher number is valid."""
    name: str
    """Published name of the frame."""
    source_size_bytes: int
    source_mtime_ns: int
    source_xxh3: int
    """XXH3-64 of the image file."""
    pixels_xxh3: int
    """XXH3-64 of the frame's pixels."""

    @classmethod
    def of(cls, row: tuple[int, ...], segments: list[str]) -> FrameRecord:
        """Return the record of a row of `Records`."""
        code, segment, place, generation, *rest = row
        return cls(segments[segment], place, generation, name_of(code), *rest)

    def format_line(self) -> str:
        """Return the line of the journal, without its newline."""
        checksums = f"{self.source_xxh3:016x},{self.pixels_xxh3:016x}"
        place = f"{self.segment},{self.row},{self.generation}"
        text = f"{place},{self.name},{self.source_size_bytes},{self.source_mtime_ns},{checksums}"
        return f"{text},{xxh3_64_hexdigest(text.encode())}"


class Segments:
    """The names of segments, each with a number in the order in which they became known."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return the number of a segment, a new one if it was not known."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def __contains__(self, name: str) -> bool:
        return name in self._numbers


def read_journal(path: Path, *, num_bytes: int, segments: Segments) -> Records:
    """Read the records of a journal; a last line that a killed process left half-written is ignored.

    Parameters
    ----------
    path
        The journal.
    num_bytes
        Number of bytes to read.
    segments
        Receives the names of segments.

    Raises
    ------
    FormatError
        If it is of another version, or not a journal.
    DamageError
        If a line is malformed, or was changed.
    StorageError
        If the system refuses.
    """
    pieces, rows = [], []
    with reading(path) as file:
        _check_header(path, file.readline(min(num_bytes, _MAX_LINE_BYTES)))
        for number, line in enumerate(_list_lines(file, num_bytes), start=2):
            try:
                rows.append(_parse_line(line, segments))
            except ValueError:
                raise DamageError(
                    f"{path}:{number}",
                    expected="a line of the frame journal with its checksum",
                    found=repr(line[:60].decode("ascii", errors="replace")),
                    fix=f"delete the folder {path.parent} and build again",
                ) from None
            if len(rows) == _CHUNK:
                pieces.append(np.array(rows, RECORD_DTYPE))
                rows.clear()
    return np.concatenate([*pieces, np.array(rows, RECORD_DTYPE)])


def append_journal(path: Path, records: Records, segments: Segments) -> None:
    """Append records to a journal, which is created if absent."""
    with storage_errors(path), path.open("a", encoding="ascii") as journal:
        if journal.tell() == 0:
            journal.write(f"{_HEADER_LINE}\n")
        for start in range(0, len(records), _CHUNK):
            rows = records[start : start + _CHUNK].tolist()
            journal.write("".join(f"{FrameRecord.of(row, segments.names).format_line()}\n" for row in rows))


def trim_journal(path: Path) -> None:
    """Cut off a half-written last line."""
    with storage_errors(path), path.open("r+b") as journal:
        end, found = journal.seek(0, os.SEEK_END), -1
        while end and found < 0:
            start = max(0, end - _MAX_LINE_BYTES)
            journal.seek(start)
            found = journal.read(end - start).rfind(b"\n")
            end = start
        journal.truncate(end + found + 1)


def _check_header(path: Path, line: bytes) -> None:
    """Raise `FormatError` unless this is the first line of a journal, or a part of it."""
    header = line.decode("ascii", errors="replace").removesuffix("\n")
    if header != _HEADER_LINE and (line.endswith(b"\n") or not _HEADER_LINE.startswith(header)):
        raise FormatError(
            path,
            expected=f"the journal of a frame store, with first line {_HEADER_LINE!r}",
            found=repr(header[:60]),
            fix="name another folder with {out}, or move this file away if you do not need it",
        )


def _list_lines(file: BufferedReader, num_bytes: int) -> Iterator[bytes]:
    """Yield the whole lines up to a place in the file, without their ends."""

    def read() -> bytes:
        return file.readline(max(0, min(num_bytes - file.tell(), _MAX_LINE_BYTES)))

    while line := read():
        end = line
        while end and not end.endswith(b"\n"):
            end = read()
        if not end:  # half-written, or what a crash of the machine left in its place
            return
        yield line.removesuffix(b"\n")


def _parse_line(data: bytes, segments: Segments) -> tuple[int, ...]:
    """Return a row of `Records`; raise `ValueError` for a line that was cut off or changed."""
    line = data.decode("ascii")
    text, _, checksum = line.rpartition(",")
    if xxh3_64_hexdigest(text.encode()) != checksum:
        raise ValueError("cut off or changed")
    segment, row, generation, name, size, mtime, source, pixels = text.split(",")
    code = parse_code(name)
    if code is None:
        raise ValueError("no frame's name")
    place = segments.number(segment), int(row), int(generation)
    return code, *place, int(size), int(mtime), int(source, 16), int(pixels, 16)
