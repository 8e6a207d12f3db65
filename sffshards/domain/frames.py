"""Frames: the SHARP magnetogram of one region at one time, its published name, and its label."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sffshards.base.errors import InputError
from sffshards.domain.times import format_stamp, parse_stamp

__all__ = ["FRAME_SIDE", "IMAGE_SUFFIX", "SERIES", "FrameId", "LabelledFrame"]

FRAME_SIDE = 224
"""Height and width of a frame in pixels, the input size of MViTv2-S."""

IMAGE_SUFFIX = ".fits.jpg"
"""Suffix that an image's file name adds to the name of its frame."""

SERIES = "hmi.sharp_720s"
"""JSOC series of the magnetograms, with which every published name begins."""

_NAME = re.compile(r"hmi\.sharp_720s\.([1-9]\d{0,8})\.(\d{8}_\d{6})_TAI\.magnetogram", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FrameId:
    """One SHARP magnetogram: an active region patch at one time."""

    harp: int
    """HARP number, at least 1."""
    t_rec_tai: datetime
    """Record time in TAI, as a naive datetime in whole seconds."""

    def __post_init__(self) -> None:
        if self.harp < 1:
            raise ValueError(f"harp must be at least 1, got {self.harp}")
        if self.t_rec_tai.tzinfo is not None or self.t_rec_tai.microsecond:
            raise ValueError(f"t_rec_tai must be naive and in whole seconds, got {self.t_rec_tai!r}")

    @classmethod
    def parse(cls, text: str, *, where: object = "frame name") -> FrameId:
        """Parse ``hmi.sharp_720s.<HARP>.<yyyymmdd_hhmmss>_TAI.magnetogram``.

        Parameters
        ----------
        text
            The published name, without a file's suffix.
        where
            The place that an error names, such as a file and line.

        Raises
        ------
        InputError
            If the name is not of that form, or its date does not exist.

        Examples
        --------
        >>> FrameId.parse("hmi.sharp_720s.377.20110213_000000_TAI.magnetogram").harp
        377
        """
        match = _NAME.fullmatch(text)
        time = parse_stamp(match[2]) if match else None
        if match is None or time is None:
            raise InputError(
                where,
                expected="a name of the form hmi.sharp_720s.<HARP>.<yyyymmdd_hhmmss>_TAI.magnetogram",
                found=repr(text[:120]),
                fix="correct or remove the line",
            )
        return cls(harp=int(match[1]), t_rec_tai=time)

    @property
    def name(self) -> str:
        """Published name of the frame, without a file's suffix."""
        return f"{SERIES}.{self.harp}.{format_stamp(self.t_rec_tai)}_TAI.magnetogram"

    @property
    def image_name(self) -> str:
        """File name of the frame's published image."""
        return self.name + IMAGE_SUFFIX


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
