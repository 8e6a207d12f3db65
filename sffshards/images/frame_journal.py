"""The journal of a frame store: one line per frame, appended after its pixels were written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, FormatError
from sffshards.domain.frames import FRAME_SIDE

_HEADER_LINE = f"sffshards-frames,1,{FRAME_SIDE}"


class FrameRecord(NamedTuple):
    """A line of the journal, field by field: the image that a row was made from, and its checksums."""

    row: int
    name: str
    """Published name of the frame."""
    source_size_bytes: int
    source_mtime_ns: int
    source_xxh3: int
    """XXH3-64 of the image file."""
    pixels_xxh3: int
    """XXH3-64 of the frame's pixels."""

    def format_line(self) -> str:
        """Return the line of the journal, without its newline."""
        checksums = f"{self.source_xxh3:016x},{self.pixels_xxh3:016x}"
        return f"{self.row},{self.name},{self.source_size_bytes},{self.source_mtime_ns},{checksums}"

    @classmethod
    def parse_line(cls, line: str) -> FrameRecord:
        """Parse a line of the journal; raises `ValueError` for one that was cut off."""
        row, name, size, mtime, source, pixels = line.split(",")
        if len(pixels) != 16:
            raise ValueError("cut off")
        return cls(int(row), name, int(size), int(mtime), int(source, 16), int(pixels, 16))


def read_journal(path: Path, *, num_bytes: int | None) -> list[FrameRecord]:
    """Read the records of a journal; a last line that a killed process left half-written is ignored.

    Parameters
    ----------
    path
        The journal.
    num_bytes
        Number of bytes to read; None for all.

    Raises
    ------
    FormatError
        If it is of another version, or not a journal.
    DamageError
        If a line is malformed.
    StorageError
        If the system refuses.
    """
    with storage_errors(path):
        text = path.read_bytes()[:num_bytes].decode("ascii", errors="replace")
    header, _, body = text.partition("\n")
    if header != _HEADER_LINE and not _HEADER_LINE.startswith(header):
        raise FormatError(
            path,
            expected=f"the journal of a frame store, with first line {_HEADER_LINE!r}",
            found=repr(header[:60]),
            fix="name another folder with {out}, or move this file away if you do not need it",
        )
    records = []
    for number, line in enumerate(body[: body.rfind("\n") + 1].splitlines(), start=2):
        try:
            records.append(FrameRecord.parse_line(line))
        except ValueError:
            raise DamageError(
                f"{path}:{number}",
                expected="a line of the frame journal",
                found=repr(line[:60]),
                fix=f"delete the folder {path.parent} and build again",
            ) from None
    return records


def append_journal(path: Path, records: Iterable[FrameRecord]) -> None:
    """Append records to a journal, which is created if absent."""
    lines = "".join(f"{record.format_line()}\n" for record in records)
    with storage_errors(path), path.open("a", encoding="ascii") as journal:
        if journal.tell() == 0:
            journal.write(f"{_HEADER_LINE}\n")
        journal.write(lines)


def trim_journal(path: Path) -> None:
    """Cut off a half-written last line."""
    with storage_errors(path), path.open("r+b") as journal:
        journal.truncate(journal.read().rfind(b"\n") + 1)
