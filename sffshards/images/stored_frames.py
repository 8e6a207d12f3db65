"""Frames of a store, and where their pixels are: what a task that reads them is sent.

They hold the segment, row and checksum of each frame, so that no worker reads a journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.atomic_files import read_exactly, storage_errors
from sffshards.base.errors import DamageError
from sffshards.base.file_reading import OpenFiles
from sffshards.domain.frame_codes import find_codes, name_of
from sffshards.domain.frames import FRAME_SIDE
from sffshards.executors import KeptOpen

FRAME_BYTES = FRAME_SIDE * FRAME_SIDE
"""Size of the pixels of a frame."""

SEGMENT_OFFSET = 128
"""Bytes before the pixels in a segment: numpy pads its header to this."""


def segment_path(folder: Path, segment: str) -> Path:
    """Return the path of a segment of a store."""
    return folder / f"{segment}.npy"


class StoredFrames:
    """Frames of a store at one time, by their codes.

    Parameters
    ----------
    folder
        Folder of the store.
    codes
        Codes of the frames, each once, sorted, int64 of shape (n,).
    segments
        Names of segments.
    segment
        Number of the segment of each frame in ``segments``, shape (n,).
    row
        Row of each frame in its segment, shape (n,).
    pixels_xxh3
        XXH3-64 of the pixels of each frame, uint64 of shape (n,).
    """

    def __init__(
        self,
        folder: Path,
        codes: NDArray[np.int64],
        *,
        segments: Sequence[str],
        segment: NDArray[np.uint32],
        row: NDArray[np.uint16],
        pixels_xxh3: NDArray[np.uint64],
    ) -> None:
        self.folder = folder
        self.codes = codes
        self._segments = segments
        self._segment = segment
        self._row = row
        self._pixels_xxh3 = pixels_xxh3

    def __len__(self) -> int:
        return len(self.codes)

    def select(self, codes: NDArray[np.int64]) -> StoredFrames:
        """Return some of the frames, with nothing of the others; codes may repeat."""
        places = np.unique(self._find(codes))
        used, segment = np.unique(self._segment[places], return_inverse=True)
        return StoredFrames(
            self.folder,
            self.codes[places],
            segments=[self._segments[number] for number in used.tolist()],
            segment=segment.astype(np.uint32),
            row=self._row[places],
            pixels_xxh3=self._pixels_xxh3[places],
        )

    def read(self, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read frames by their codes, which may repeat, and check each.

        Returns
        -------
        uint8 array of shape (len(codes), 224, 224)

        Raises
        ------
        DamageError
            If pixels are not those that were written.
        """
        frames = np.empty((len(codes), FRAME_SIDE, FRAME_SIDE), np.uint8)
        first: dict[int, int] = {}
        for slot, place in enumerate(self._find(codes).tolist()):
            if (earlier := first.setdefault(place, slot)) == slot:
                self._read_into(place, frames[slot])
            else:
                frames[slot] = frames[earlier]
        return frames

    def find_damaged(self) -> NDArray[np.int64]:
        """Return the codes of the frames whose pixels are not those that were written."""
        frame = np.empty((FRAME_SIDE, FRAME_SIDE), np.uint8)
        damaged = []
        for place, code in enumerate(self.codes.tolist()):
            try:
                self._read_into(place, frame)
            except DamageError:
                damaged.append(code)
        return np.array(damaged, np.int64)

    def _find(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        places = find_codes(self.codes, codes)
        if (places < 0).any():
            raise ValueError("a frame that was not selected from the store")
        return places

    def _read_into(self, place: int, frame: NDArray[np.uint8]) -> None:
        """Read the pixels of a frame into a contiguous array, and check them."""
        path, row = segment_path(self.folder, self._segments[self._segment[place]]), self._row.item(place)
        with storage_errors(path):
            descriptor = _open_files(self.folder).enter(path)
            count = read_exactly(descriptor, [frame.data.cast("B")], SEGMENT_OFFSET + row * FRAME_BYTES)
        checksum = self._pixels_xxh3.item(place)
        if count != FRAME_BYTES or xxh3_64_intdigest(frame.data) != checksum:
            raise DamageError(
                f"{path}, row {row} ({name_of(self.codes.item(place))})",
                expected=f"pixels with checksum {checksum:016x}",
                found="others",
                fix=f"delete the folder {self.folder} and build again",
            )


_open_files: KeptOpen[Path, OpenFiles] = KeptOpen(lambda _: OpenFiles())


def close_segments() -> None:
    """Close the segments that this process has open."""
    _open_files.close()
