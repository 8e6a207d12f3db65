"""The frame store: files of decoded frames, and journals that say where each frame is.

- A file of frames, a segment, is a ``.npy`` file of shape (rows, 224, 224), uint8. One task writes it, under a name of
  its own, and it appears only when whole: machines that share a file system never write to the same file.
- A journal (``.csv``) has one line per frame; a row that no journal names is unused. Each writer appends to its own:
  ``frames.csv`` for a build, ``part-3-of-16.csv`` for a part of one. A store is what all its journals say.
- Rows are never rewritten: a frame whose image changed gets a new row, so that a process that fills the store does not
  disturb a build that reads it.
- Pixels are checked against their checksum whenever they are read, so that a journal that outlived its pixels in a
  crash is detected.

Frames are named by their codes; see `sffshards.domain.frame_codes`. Shapes: n frames.
"""

from __future__ import annotations

import io
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from sffshards.base.atomic_files import remove_temporary, replacing, storage_errors
from sffshards.base.errors import InputError
from sffshards.domain.frame_codes import find_codes, name_of, parse_code
from sffshards.domain.frames import FRAME_SIDE
from sffshards.images.frame_journal import (
    RECORD_DTYPE,
    FrameRecord,
    Records,
    Segments,
    append_journal,
    read_journal,
    trim_journal,
)
from sffshards.images.stored_frames import SEGMENT_OFFSET, StoredFrames, segment_path

MAX_SEGMENT_FRAMES = 1024
"""Maximum number of frames in a segment: 51 MB, about half a second of decoding."""

BUILD_WRITER = "frames"
"""Name of the journal of whole builds."""
_WRITER = rf"(?:{BUILD_WRITER}|part-\d+-of-\d+)"
_JOURNAL = re.compile(rf"{_WRITER}\.csv")


class FrameStore:
    """A folder with frames; invariant: the segment of every record exists.

    Parameters
    ----------
    folder
        Folder of the store; one without journals is an empty store.
    writer
        Name of the journal to which `append` adds.

    Raises
    ------
    FormatError
        If a journal is of another version.
    DamageError
        If a line of a journal was changed.
    """

    def __init__(self, folder: Path, *, writer: str = BUILD_WRITER) -> None:
        self.folder = folder
        self.writer = writer
        self._segments = Segments()
        self._added = list(self._read_journals())
        self._newest = np.empty(0, RECORD_DTYPE)
        self._is_dropped = np.empty(0, np.bool_)  # their records still count generations

    @property
    def journal_path(self) -> Path:
        """Path of the journal to which `append` adds."""
        return self.folder / f"{self.writer}.csv"

    def segment_path(self, segment: str) -> Path:
        """Return the path of a segment, for ``numpy.load(path, mmap_mode="r")``."""
        return segment_path(self.folder, segment)

    def find(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each frame in `records`; -1 where there is none, shape (n,)."""
        records = self.records
        places = find_codes(records["code"], codes)
        if self._is_dropped.any():
            places[self._is_dropped[places] & (places >= 0)] = -1
        return places

    @property
    def records(self) -> Records:
        """The newest record of every frame, sorted by code; those of dropped frames are among them."""
        if self._added:
            every = np.concatenate([self._newest, *self._added])
            dropped = self._newest["code"][self._is_dropped]
            added = np.concatenate([of["code"] for of in self._added])
            order = np.lexsort((every["generation"], every["code"]))  # stable: of equals, the last one read is taken
            codes = every["code"][order]
            is_newest = np.append(codes[1:] != codes[:-1], np.ones(min(1, len(codes)), np.bool_))
            self._newest = every[order[is_newest]]
            self._is_dropped = np.isin(self._newest["code"], np.setdiff1d(dropped, added))
            self._added = []
        return self._newest

    def get(self, name: str) -> FrameRecord | None:
        """Return the newest record of a frame, or None."""
        code = parse_code(name)
        place = -1 if code is None else self.find(np.array([code])).item()
        return None if place < 0 else FrameRecord.of(self.records[place].item(), self._segments.names)

    def record(self, name: str) -> FrameRecord:
        """Return the newest record of a frame; raises `InputError` where there is none."""
        record = self.get(name)
        if record is None:
            raise self._lacks(name)
        return record

    def select(self, codes: NDArray[np.int64]) -> StoredFrames:
        """Return frames as they are now, for this process or others to read while more is added.

        Raises
        ------
        InputError
            If a frame is not in the store.
        """
        wanted = np.unique(codes)
        places = self.find(wanted)
        if (lacking := np.flatnonzero(places < 0)).size:
            raise self._lacks(name_of(wanted[lacking[0]].item()))
        rows = self.records[places]
        used, segment = np.unique(rows["segment"], return_inverse=True)
        return StoredFrames(
            self.folder,
            wanted,
            segments=[self._segments.names[number] for number in used.tolist()],
            segment=segment.astype(np.uint32),
            row=rows["row"],
            pixels_xxh3=rows["pixels_xxh3"],
        )

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
        codes = np.array([self._parse(name) for name in names], np.int64)
        return self.select(codes).read(codes)

    def new_segment(self) -> str:
        """Return the name of a segment that no other task writes."""
        return f"{self.writer}-{secrets.token_hex(8)}"

    def number_segment(self, name: str) -> int:
        """Return the number of a segment in `records`."""
        return self._segments.number(name)

    def next_generations(self, codes: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the generation of the next record of each frame, shape (n,)."""
        places = find_codes(self.records["code"], codes)
        generations = np.zeros(len(codes), np.uint32)
        generations[places >= 0] = self.records["generation"][places[places >= 0]] + 1
        return generations

    def append(self, records: Records) -> None:
        """Add records whose pixels have been written; those of a higher generation replace the older ones."""
        append_journal(self.journal_path, records, self._segments)
        self._added.append(records)

    def drop(self, codes: NDArray[np.int64]) -> None:
        """Forget frames whose pixels were found damaged, for as long as this store is open."""
        places = self.find(codes)
        self._is_dropped[places[places >= 0]] = True

    def clean(self) -> None:
        """Cut off a half-written last line of the journal, and remove segments that the journal does not name.

        Only for the process that holds the lock of this writer.
        """
        if self.journal_path.exists():
            trim_journal(self.journal_path)
        own = re.compile(rf"{self.writer}-[0-9a-f]+\.npy")
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_temporary(self.folder, own)
            for path in self.folder.glob(f"{self.writer}-*.npy"):
                if own.fullmatch(path.name) and path.stem not in self._segments:
                    path.unlink()

    def _parse(self, name: str) -> int:
        code = parse_code(name)
        if code is None:
            raise self._lacks(name)
        return code

    def _lacks(self, name: str) -> InputError:
        return InputError(self.folder, expected=f"frame {name}", found="none", fix="build again")

    def _read_journals(self) -> Iterator[Records]:
        """Yield the records of each journal, in a fixed order, whose segments exist."""
        if not self.folder.is_dir():
            return
        with storage_errors(self.folder):
            names = os.listdir(self.folder)
            journals = [self.folder / name for name in sorted(names) if _JOURNAL.fullmatch(name)]
            sizes = [path.stat().st_size for path in journals]
        present = {name for name in names if name.endswith(".npy")}
        for path, size in zip(journals, sizes, strict=True):
            records = read_journal(path, num_bytes=size, segments=self._segments)
            is_present = np.array([f"{name}.npy" in present for name in self._segments.names], np.bool_)
            yield records[is_present[records["segment"]]]


def write_segment(path: Path, num_frames: int, blocks: Iterable[NDArray[np.uint8]]) -> None:
    """Write a segment, whole or not at all; it is not synced to the disk, as its pixels are checked when read.

    Parameters
    ----------
    path
        Path of the segment.
    num_frames
        Number of frames.
    blocks
        The frames, in arrays of shape (n, 224, 224), each used before the next one is asked for.
    """
    with replacing(path, sync=False) as temporary, temporary.open("wb") as file:
        file.write(_format_header(num_frames))
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)


def _format_header(num_rows: int) -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (num_rows, FRAME_SIDE, FRAME_SIDE)}
    npy_format.write_array_header_1_0(buffer, fields)
    header = buffer.getvalue()
    if len(header) != SEGMENT_OFFSET:  # pragma: no cover
        raise AssertionError(f"numpy wrote a header of {len(header)} bytes")
    return header
