"""Tables of sequences and samples, stored as columns, and the rule that forms sequences from the rows of a label list.

Shapes: n sequences or samples; r rows of label lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from sffshards.base.package_faces import accepts_text
from sffshards.domain.frame_codes import frame_of, harps_of, stamp_of, times_of
from sffshards.domain.frame_sequences import NUM_FRAMES, PUBLISHED_WINDOWS, OnShort, Sample, WindowRule
from sffshards.domain.frame_sequences import Sequence as FrameSequence
from sffshards.domain.labelled_frames import LabelledFrame, LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.views import View

__all__ = ["SampleTable", "SequenceTable", "build_sequences", "stretched_slots"]

_PARTS = tuple(Part)
_VIEWS = tuple(View)
_CHUNK = 1 << 12
"""Sequences that become records at a time."""


class SequenceTable(Sequence[FrameSequence]):
    """Sequences of labelled frames: a sequence of `sffshards.domain.frame_sequences.Sequence`, kept as columns.

    The frames of all lists are kept once, each run of a HARP together; a sequence is the last frame of its window and
    the number of frames in it.

    Parameters
    ----------
    frames
        Codes of frames, int64 of shape (r,); see `sffshards.domain.frame_codes`.
    last
        Position of the last frame of each sequence in ``frames``, shape (n,).
    counts
        Number of distinct frames of each sequence, 1 to 16, shape (n,).
    labels
        Label of the last frame, shape (n,).
    rows
        Position of the last frame in its label list, shape (n,).
    parts
        Number of the part in `Part`, shape (n,).
    """

    COLUMNS = ("last", "counts", "labels", "rows", "parts")

    def __init__(
        self,
        frames: NDArray[np.int64],
        *,
        last: NDArray[np.int32],
        counts: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        rows: NDArray[np.uint32],
        parts: NDArray[np.uint8],
    ) -> None:
        self.frames = frames
        self.last = last
        self.counts = counts
        self.labels = labels
        self.rows = rows
        self.parts = parts

    @classmethod
    def join(cls, tables: Iterable[SequenceTable]) -> SequenceTable:
        """Return the sequences of several tables, in their order."""
        every = list(tables)
        starts = np.cumsum([0, *(len(table.frames) for table in every)])
        columns = {
            name: np.concatenate([getattr(table, name) for table in every]) for name in cls.COLUMNS if name != "last"
        }
        last = np.concatenate([table.last + start for table, start in zip(every, starts.tolist(), strict=False)])
        return cls(np.concatenate([table.frames for table in every]), last=last.astype(np.int32), **columns)

    @property
    def harps(self) -> NDArray[np.int64]:
        """HARP numbers, int64 of shape (n,)."""
        return harps_of(self.frames[self.last])

    @property
    def end_times(self) -> NDArray[np.datetime64]:
        """Record times of the last frames in TAI, datetime64[s] of shape (n,)."""
        return times_of(self.frames[self.last])

    def windows(self) -> NDArray[np.int64]:
        """Return the codes of the frames in the sixteen slots, int64 of shape (n, 16)."""
        first = self.last - self.counts + 1
        codes: NDArray[np.int64] = self.frames[first[:, None] + stretched_slots(self.counts)]
        return codes

    def frames_shown(self) -> NDArray[np.int64]:
        """Return the codes of all frames that sequences show, each once, sorted."""
        starts = np.bincount(self.last - self.counts + 1, minlength=len(self.frames))
        ends = np.bincount(self.last, minlength=len(self.frames))
        num_windows = np.cumsum(starts) - np.cumsum(ends) + ends
        return np.unique(self.frames[num_windows > 0])

    def without(self, codes: NDArray[np.int64]) -> SequenceTable:
        """Return the sequences that show none of some frames."""
        if not len(codes):
            return self
        unusable = np.concatenate([[0], np.cumsum(np.isin(self.frames, codes))])
        return self.take(np.flatnonzero(unusable[self.last + 1] == unusable[self.last + 1 - self.counts]))

    def take(self, chosen: NDArray[np.int64] | slice, *, compact: bool = False) -> SequenceTable:
        """Return some of the sequences, by their positions or a slice.

        Parameters
        ----------
        chosen
            The sequences.
        compact
            Whether to leave out the frames that the others show, so that the table can be sent to a worker.
        """
        columns = {name: getattr(self, name)[chosen] for name in self.COLUMNS}
        if not compact:
            return SequenceTable(self.frames, **columns)
        counts = columns["counts"].astype(np.int64)
        last = np.cumsum(counts) - 1
        shift = np.repeat(columns["last"] - last, counts)
        columns["last"] = last.astype(np.int32)
        return SequenceTable(self.frames[np.arange(len(shift)) + shift], **columns)

    def __len__(self) -> int:
        return len(self.last)

    @overload
    def __getitem__(self, number: int) -> FrameSequence: ...
    @overload
    def __getitem__(self, number: slice) -> SequenceTable: ...
    def __getitem__(self, number: int | slice) -> FrameSequence | SequenceTable:
        if isinstance(number, slice):
            return self.take(number)
        return next(iter(self.take(np.array([range(len(self))[number]]))))

    def __iter__(self) -> Iterator[FrameSequence]:
        for start in range(0, len(self), _CHUNK):
            some = self.take(slice(start, start + _CHUNK))
            columns = (column.tolist() for column in (some.windows(), some.labels, some.parts, some.rows))
            for codes, label, part, row in zip(*columns, strict=True):
                frames = {code: frame_of(code) for code in dict.fromkeys(codes)}
                yield FrameSequence(
                    frames=tuple(frames[code] for code in codes), label=label, part=_PARTS[part], row=row
                )


class SampleTable(Sequence[Sample]):
    """Samples, each a view of a sequence: a sequence of `sffshards.domain.frame_sequences.Sample`, kept as columns.

    Parameters
    ----------
    sequences
        The sequence of each sample.
    views
        Number of its view in `View`, shape (n,).
    """

    def __init__(self, sequences: SequenceTable, views: NDArray[np.uint8]) -> None:
        self.sequences = sequences
        self.views = views

    @classmethod
    def merge(cls, tables: Iterable[SampleTable]) -> SampleTable:
        """Return the samples of tables that were taken from the same one, in their order."""
        every = list(tables)
        columns = {
            name: np.concatenate([getattr(table.sequences, name) for table in every]) for name in SequenceTable.COLUMNS
        }
        frames = every[0].sequences.frames
        return cls(SequenceTable(frames, **columns), np.concatenate([table.views for table in every]))

    def take(self, chosen: NDArray[np.int64] | slice, *, compact: bool = False) -> SampleTable:
        """Return some of the samples; see `SequenceTable.take`."""
        return SampleTable(self.sequences.take(chosen, compact=compact), self.views[chosen])

    def keys(self) -> NDArray[np.bytes_]:
        """Return the keys of the samples, as `SequenceId.key` does, bytes of shape (n,)."""
        sequences = self.sequences
        firsts = sequences.frames[sequences.last - sequences.counts + 1]
        columns = (sequences.harps, firsts, sequences.frames[sequences.last], self.views)
        keys = (
            f"harp{harp:05d}-{stamp_of(first, 'T')}-{stamp_of(last, 'T')}-{_VIEWS[view]}".encode()
            for harp, first, last, view in zip(*(column.tolist() for column in columns), strict=True)
        )
        return np.fromiter(keys, "S48", len(self))

    def __len__(self) -> int:
        return len(self.views)

    @overload
    def __getitem__(self, number: int) -> Sample: ...
    @overload
    def __getitem__(self, number: slice) -> SampleTable: ...
    def __getitem__(self, number: int | slice) -> Sample | SampleTable:
        if isinstance(number, slice):
            return self.take(number)
        return Sample(sequence=self.sequences[number], view=_VIEWS[self.views.item(number)])

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _CHUNK):
            some = self.take(slice(start, start + _CHUNK))
            for sequence, view in zip(some.sequences, some.views.tolist(), strict=True):
                yield Sample(sequence=sequence, view=_VIEWS[view])


@accepts_text
def build_sequences(
    rows: Iterable[LabelledFrame], *, part: Part, windows: WindowRule = PUBLISHED_WINDOWS
) -> SequenceTable:
    """Return one sequence for every row: the last up to 16 rows of the same HARP, in the list's order.

    Parameters
    ----------
    rows
        Rows of one label list. No sequence reaches back into another list.
    part
        Part of the data that the list is.
    windows
        Longest gap within a sequence, and what to do with short ones; by default no limit, and all are kept.

    Returns
    -------
    One sequence per row, in the order of the rows, without those that are dropped.
    """
    table = LabelledFrames.of(rows)
    order = np.argsort(table.harps, kind="stable")
    frames = table.codes[order]
    positions = np.arange(len(frames))
    starts = np.maximum.accumulate(np.where(_starts_window(frames, windows), positions, 0))
    counts = np.minimum(positions - starts + 1, NUM_FRAMES).astype(np.uint8)
    is_kept = np.ones(len(frames), np.bool_)
    if windows.on_short is OnShort.DROP:
        is_kept = counts >= windows.min_frames
    last = np.empty(len(frames), np.int32)
    last[order] = positions
    last = last[is_kept[last]]
    chosen = order[last]
    return SequenceTable(
        frames,
        last=last,
        counts=counts[last],
        labels=table.labels[chosen],
        rows=table.rows[chosen],
        parts=np.full(len(last), _PARTS.index(part), np.uint8),
    )


def stretched_slots(counts: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return which frame of a run each of the 16 slots shows: slot i shows frame ``int(i * count / 16)``, as published.

    Parameters
    ----------
    counts
        Number of frames of each run, 1 to 16, shape (n,).

    Returns
    -------
    int64 of shape (n, 16)
    """
    return np.arange(NUM_FRAMES) * counts.astype(np.int64)[:, None] // NUM_FRAMES


def _starts_window(frames: NDArray[np.int64], windows: WindowRule) -> NDArray[np.bool_]:
    """Return whether a window may not reach back beyond each frame: it is of another HARP, or follows a long gap."""
    harps = harps_of(frames)
    starts = np.ones(len(frames), np.bool_)
    starts[1:] = harps[1:] != harps[:-1]
    if windows.max_gap_minutes is not None:
        gaps = np.diff(times_of(frames)).astype(np.int64)
        starts[1:] |= gaps > min(60 * windows.max_gap_minutes, np.iinfo(np.int64).max)
    return starts
