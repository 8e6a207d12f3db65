"""Frames: the SHARP magnetogram of one region at one time, and its label."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["FRAME_SIDE", "FrameId", "LabelledFrame"]

FRAME_SIDE = 224
"""Height and width of a frame in pixels, as MViTv2-S takes it."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FrameId:
    """One SHARP magnetogram: which active region patch, and when."""

    harp: int
    """HARP number, at least 1."""
    t_rec_tai: datetime
    """Record time in TAI, naive, to the second."""

    def __post_init__(self) -> None:
        if self.harp < 1:
            raise ValueError(f"harp must be at least 1, got {self.harp}")
        if self.t_rec_tai.tzinfo is not None or self.t_rec_tai.microsecond:
            raise ValueError(f"t_rec_tai must be naive and in whole seconds, got {self.t_rec_tai!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFrame:
    """A row of a label list."""

    frame: FrameId
    label: int
    """1: a flare of class M or above follows within the horizon; 0: none does."""
    row: int
    """Position in the list, from 0."""

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise ValueError(f"label must be 0 or 1, got {self.label}")
