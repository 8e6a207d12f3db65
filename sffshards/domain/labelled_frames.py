"""Rows of a label list: one as a record, or all of them as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.frame_codes import code_of, frame_of, harps_of, times_of
from sffshards.domain.frames import FrameId

__all__ = ["LabelledFrame", "LabelledFrames"]

_CHUNK = 1 << 14
"""Rows that become records at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFrame:
    """One row of a label list."""

    frame: FrameId
    label: int
    """1 if the task's event follows within the horizon, 0 if not."""
    row: int
    """Position of the row in the list, from 0."""

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise ValueError(f"label must be 0 or 1, got {self.label}")


class LabelledFrames(Sequence[LabelledFrame]):
    """The rows of a label list: a sequence of `LabelledFrame`, kept as columns of 13 bytes a row.

    Parameters
    ----------
    codes
        Codes of the frames, int64 of shape (n,); see `sffshards.domain.frame_codes`.
    labels
        Labels, 0 or 1, shape (n,).
    rows
        Positions in the list, from 0, shape (n,).
    """

    def __init__(self, codes: NDArray[np.int64], labels: NDArray[np.uint8], rows: NDArray[np.uint32]) -> None:
        self.codes = codes
        self.labels = labels
        self.rows = rows

    @classmethod
    def of(cls, rows: Iterable[LabelledFrame]) -> LabelledFrames:
        """Return records as columns; raises `ValueError` for a frame that has no code."""
        if isinstance(rows, cls):
            return rows
        fields = [(code_of(row.frame), row.label, row.row) for row in rows]
        codes, labels, numbers = np.array(fields, np.int64).reshape(-1, 3).T
        return cls(codes.copy(), labels.astype(np.uint8), numbers.astype(np.uint32))

    @classmethod
    def join(cls, lists: Iterable[LabelledFrames]) -> LabelledFrames:
        """Return the rows of several lists, in their order."""
        every = list(lists)
        codes, labels, rows = (np.concatenate([getattr(of, n) for of in every]) for n in ("codes", "labels", "rows"))
        return cls(codes, labels, rows)

    @property
    def harps(self) -> NDArray[np.int64]:
        """HARP numbers, int64 of shape (n,)."""
        return harps_of(self.codes)

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Record times in TAI, datetime64[s] of shape (n,)."""
        return times_of(self.codes)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_] | slice) -> LabelledFrames:
        """Return some of the rows, by their positions, a mask or a slice."""
        return LabelledFrames(self.codes[chosen], self.labels[chosen], self.rows[chosen])

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, number: int) -> LabelledFrame: ...
    @overload
    def __getitem__(self, number: slice) -> LabelledFrames: ...
    def __getitem__(self, number: int | slice) -> LabelledFrame | LabelledFrames:
        if isinstance(number, slice):
            return self.take(number)
        frame = frame_of(self.codes.item(number))
        return LabelledFrame(frame=frame, label=self.labels.item(number), row=self.rows.item(number))

    def __iter__(self) -> Iterator[LabelledFrame]:
        for start in range(0, len(self), _CHUNK):
            columns = (column[start : start + _CHUNK].tolist() for column in (self.codes, self.labels, self.rows))
            for code, label, row in zip(*columns, strict=True):
                yield LabelledFrame(frame=frame_of(code), label=label, row=row)
