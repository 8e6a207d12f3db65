"""A sequence of sixteen frames: its name, its keys, and the rule by which sequences are cut from label lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from sffshards.base.errors import InputError
from sffshards.base.package_faces import accepts_text
from sffshards.domain.frames import SERIES, FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.times import format_stamp, parse_stamp
from sffshards.domain.views import View

__all__ = [
    "CADENCE_MINUTES",
    "NUM_FRAMES",
    "PUBLISHED_WINDOWS",
    "OnShort",
    "Sample",
    "Sequence",
    "SequenceId",
    "WindowRule",
    "parse_key",
]

NUM_FRAMES = 16
"""Number of frames in a sequence."""
CADENCE_MINUTES = 96
"""Time between the frames of published sequences, but for gaps."""

_NAME = re.compile(r"hmi\.sharp_720s\.([1-9]\d{0,8})\.(\d{8}_\d{6})_TAI\.to\.(\d{8}_\d{6})_TAI", re.ASCII)
_KEY = re.compile(r"harp(\d{5,9})-(\d{8}T\d{6})-(\d{8}T\d{6})(?:-(nf|hf|vf|r1|r2|r3))?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class SequenceId:
    """What the name of a sequence states: its region, and the times of its first and last frame."""

    harp: int
    """HARP number of all frames."""
    t_start_tai: datetime
    """Record time of the first frame, TAI."""
    t_end_tai: datetime
    """Record time of the last frame, TAI."""

    @classmethod
    def parse(cls, text: str, *, where: object = "sequence") -> SequenceId:
        """Parse the published name of a sequence, or the key of a sample, with or without its view.

        Raises
        ------
        InputError
            If the text is neither a name nor a key.

        Examples
        --------
        >>> SequenceId.parse("harp00377-20110213T000000-20110214T000000-hf").name
        'hmi.sharp_720s.377.20110213_000000_TAI.to.20110214_000000_TAI'
        """
        if found := _match(_NAME.fullmatch(text) or _KEY.fullmatch(text)):
            return found
        raise InputError(
            where,
            expected="a sequence name (hmi.sharp_720s.<HARP>.<first>_TAI.to.<last>_TAI) or a key (harp00377-...-nf)",
            found=repr(text[:120]),
            fix="copy one from a predictions table or from `sffshards info --keys`",
        )

    @property
    def name(self) -> str:
        """Published name of the sequence: ``hmi.sharp_720s.<HARP>.<first>_TAI.to.<last>_TAI``."""
        return f"{SERIES}.{self.harp}.{format_stamp(self.t_start_tai)}_TAI.to.{format_stamp(self.t_end_tai)}_TAI"

    def key(self, view: View) -> str:
        """Return the key of a sample in a shard, such as ``harp00377-20110213T000000-20110214T000000-nf``.

        It has no dot, at the first of which WebDataset would cut it.
        """
        return f"{self.stem}-{view}"

    @property
    def stem(self) -> str:
        """The part of the key that all views of the sequence share."""
        start, end = (format_stamp(time).replace("_", "T") for time in (self.t_start_tai, self.t_end_tai))
        return f"harp{self.harp:05d}-{start}-{end}"


def parse_key(key: str) -> tuple[SequenceId, View]:
    """Parse the key of a sample in a shard, with its view.

    Raises
    ------
    InputError
        If the key is not of the form that `SequenceId.key` returns.
    """
    match = _KEY.fullmatch(key)
    sequence = _match(match)
    if match is None or sequence is None or match[4] is None:
        raise InputError(
            "sample key",
            expected="harp<number>-<yyyymmddThhmmss>-<yyyymmddThhmmss>-<view>",
            found=repr(key[:120]),
            fix="build the shards again and pass {force}",
        )
    return sequence, View(match[4])


def _match(match: re.Match[str] | None) -> SequenceId | None:
    """Return what a name or a key states, or None if it has no match or a time that does not exist."""
    if match is None:
        return None
    start, end = parse_stamp(match[2]), parse_stamp(match[3])
    return None if start is None or end is None else SequenceId(harp=int(match[1]), t_start_tai=start, t_end_tai=end)


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    """Sixteen frames of one HARP that end at a labelled frame."""

    frames: tuple[FrameId, ...]
    """The frames of the sixteen slots, in order of time; a short run repeats some."""
    label: int
    """Label of the last frame, 0 or 1."""
    part: Part
    """Part of the data that the label list is."""
    row: int
    """Position of the last frame in its label list, from 0."""

    def __post_init__(self) -> None:
        if len(self.frames) != NUM_FRAMES:
            raise ValueError(f"a sequence has {NUM_FRAMES} frames, got {len(self.frames)}")
        if len({frame.harp for frame in self.frames}) != 1:
            raise ValueError("the frames of a sequence are of one HARP")

    @property
    def id(self) -> SequenceId:
        """Region and times of the sequence, from which its name and its keys follow."""
        return SequenceId(harp=self.harp, t_start_tai=self.t_start_tai, t_end_tai=self.t_end_tai)

    @property
    def name(self) -> str:
        """Published name of the sequence."""
        return self.id.name

    @property
    def harp(self) -> int:
        """HARP number of all frames."""
        return self.frames[0].harp

    @property
    def t_start_tai(self) -> datetime:
        """Record time of the first frame, TAI."""
        return self.frames[0].t_rec_tai

    @property
    def t_end_tai(self) -> datetime:
        """Record time of the last frame, TAI, from which the forecast is issued."""
        return self.frames[-1].t_rec_tai

    @property
    def num_distinct(self) -> int:
        """Number of distinct frames, 1 to 16."""
        return len(set(self.frames))

    @property
    def gaps_minutes(self) -> tuple[int, ...]:
        """Minutes from each frame to the next, 15 numbers; 0 where a frame repeats."""
        times = [frame.t_rec_tai for frame in self.frames]
        return tuple(int((b - a).total_seconds() // 60) for a, b in pairwise(times))


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One view of one sequence."""

    sequence: Sequence
    view: View

    @property
    def key(self) -> str:
        """Key of the sample in its tar."""
        return self.sequence.id.key(self.view)


class OnShort(StrEnum):
    """What to do with a sequence of too few frames."""

    KEEP = "keep"
    """Stretch the sequence to sixteen slots, as published."""
    DROP = "drop"
    """Leave the sequence out."""


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class WindowRule:
    """Which frames before a labelled one make up its sequence, and which sequences are too short."""

    max_gap_minutes: int | None
    """Longest gap in minutes between two frames of a sequence; None for no limit, as published."""
    min_frames: int
    """Number of frames below which a sequence is short."""
    on_short: OnShort
    """What to do with short sequences."""

    def __post_init__(self) -> None:
        if self.max_gap_minutes is not None and self.max_gap_minutes < 1:
            raise ValueError(f"max_gap_minutes must be at least 1, got {self.max_gap_minutes}")
        if not 1 <= self.min_frames <= NUM_FRAMES:
            raise ValueError(f"min_frames must be from 1 to {NUM_FRAMES}, got {self.min_frames}")

    def keeps(self, *, num_distinct: int, longest_gap_minutes: int) -> bool:
        """Return whether a sequence that was cut by another rule is long enough, and has no gap that is too long."""
        is_kept = self.on_short is OnShort.KEEP or num_distinct >= self.min_frames
        return is_kept and (self.max_gap_minutes is None or longest_gap_minutes <= self.max_gap_minutes)


PUBLISHED_WINDOWS = WindowRule(max_gap_minutes=None, min_frames=NUM_FRAMES, on_short=OnShort.KEEP)
"""The rule of the published program."""
