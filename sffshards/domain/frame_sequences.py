"""Windows of sixteen frames that end at the rows of a label list, as the published program cuts them or stricter."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part

__all__ = ["NUM_FRAMES", "PUBLISHED_WINDOWS", "OnShort", "Sequence", "WindowRule", "build_sequences", "pad_short_run"]

NUM_FRAMES = 16
"""Frames in a sequence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    """Sixteen frames of one HARP that end at a labelled frame."""

    frames: tuple[FrameId, ...]
    """The sixteen slots in order of time; a short run repeats frames."""
    label: int
    """The label of the last frame."""
    part: Part
    row: int
    """Position of the last frame in its label list, from 0."""

    def __post_init__(self) -> None:
        if len(self.frames) != NUM_FRAMES:
            raise ValueError(f"a sequence has {NUM_FRAMES} frames, got {len(self.frames)}")
        if len({frame.harp for frame in self.frames}) != 1:
            raise ValueError("the frames of a sequence are of one HARP")

    @property
    def harp(self) -> int:
        """HARP number of all frames."""
        return self.frames[0].harp

    @property
    def t_start_tai(self) -> datetime:
        """Time of the first frame."""
        return self.frames[0].t_rec_tai

    @property
    def t_end_tai(self) -> datetime:
        """Time of the last frame: the forecast is issued from here."""
        return self.frames[-1].t_rec_tai

    @property
    def num_distinct(self) -> int:
        """How many different frames there are, 1 to 16."""
        return len(set(self.frames))

    @property
    def gaps_minutes(self) -> tuple[int, ...]:
        """Minutes from each slot to the next, 15 numbers; 0 where a frame repeats."""
        times = [frame.t_rec_tai for frame in self.frames]
        return tuple(int((b - a).total_seconds() // 60) for a, b in pairwise(times))


class OnShort(StrEnum):
    """What becomes of a sequence of too few frames."""

    KEEP = "keep"
    """It is stretched to sixteen slots, as published."""
    DROP = "drop"


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowRule:
    """Which frames before a labelled one make a sequence, and which sequences are too short."""

    max_gap_minutes: int | None
    """Frames before a gap longer than this are left out of a sequence; None: gaps are not looked at."""
    min_frames: int
    """A sequence of fewer frames is short."""
    on_short: OnShort

    def __post_init__(self) -> None:
        if self.max_gap_minutes is not None and self.max_gap_minutes < 1:
            raise ValueError(f"max_gap_minutes must be at least 1, got {self.max_gap_minutes}")
        if not 1 <= self.min_frames <= NUM_FRAMES:
            raise ValueError(f"min_frames must be from 1 to {NUM_FRAMES}, got {self.min_frames}")


PUBLISHED_WINDOWS = WindowRule(max_gap_minutes=None, min_frames=NUM_FRAMES, on_short=OnShort.KEEP)
"""As the published program cuts them."""


def build_sequences(
    rows: Iterable[LabelledFrame], *, part: Part, windows: WindowRule = PUBLISHED_WINDOWS
) -> list[Sequence]:
    """Make one sequence for every row: the last up to 16 rows of the same HARP, in the list's order.

    Parameters
    ----------
    rows
        The rows of one list. A list starts afresh, even in the middle of a HARP.
    part
        The part that the list is.
    windows
        After which gap in time a window starts afresh too, and whether short sequences are left out; as published:
        gaps are not looked at, and all are kept.

    Returns
    -------
    list of Sequence
        In the order of the rows: one a row, but for those that are left out.
    """
    runs: dict[int, deque[FrameId]] = {}
    sequences = []
    for labelled in rows:
        window = runs.setdefault(labelled.frame.harp, deque(maxlen=NUM_FRAMES))
        if window and _is_gap(window[-1], labelled.frame, windows):
            window.clear()
        window.append(labelled.frame)
        if windows.on_short is OnShort.DROP and len(window) < windows.min_frames:
            continue
        frames = pad_short_run(tuple(window))
        sequences.append(Sequence(frames=frames, label=labelled.label, part=part, row=labelled.row))
    return sequences


def _is_gap(before: FrameId, after: FrameId, windows: WindowRule) -> bool:
    if windows.max_gap_minutes is None:
        return False
    return (after.t_rec_tai - before.t_rec_tai).total_seconds() > 60 * windows.max_gap_minutes


def pad_short_run(frames: tuple[FrameId, ...]) -> tuple[FrameId, ...]:
    """Stretch a run of 1 to 16 frames to 16 slots: slot i takes frame ``int(i * n / 16)`` of n."""
    return tuple(frames[slot * len(frames) // NUM_FRAMES] for slot in range(NUM_FRAMES))
