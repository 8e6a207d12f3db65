"""Options of ingesting: component of the field, grey scale, grid of times, quality of frames, colours of movies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sffshards.base.errors import Field, InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.times import format_duration

KNEE_GAUSS = 100.0
"""Field at which the scales arctan and symlog turn from nearly proportional to compressed."""


_EPOCH_TAI = datetime(1993, 1, 1)
"""Slots of a grid are counted from here, as JSOC counts its records."""


class Component(StrEnum):
    """Component of the field in an image: along the line of sight, or of the vector on the sphere.

    The values are JSOC's names of the segments: Br radial, Bp westward, Bt southward.
    """

    MAGNETOGRAM = "magnetogram"
    BR = "Br"
    BP = "Bp"
    BT = "Bt"


class Scale(StrEnum):
    """Function from field to grey; each is odd about zero and reaches black and white at the field of clipping."""

    LINEAR = "linear"
    ARCTAN = "arctan"
    SYMLOG = "symlog"


class BadQuality(StrEnum):
    """Treatment of frames whose QUALITY marks them as poor: bit 0x10000 or a higher one is set."""

    DROP = "drop"
    KEEP = "keep"


class Colours(StrEnum):
    """Colour map of a movie; the names are matplotlib's, both from blue over white to red."""

    GREY = "grey"
    BWR = "bwr"
    SEISMIC = "seismic"


@dataclass(frozen=True, kw_only=True, slots=True)
class FitsOptions:
    """Choice of frames, and their conversion to grey."""

    component: Component
    scale: Scale
    clip_gauss: float
    """Field that becomes white; its negative becomes black."""
    jpeg_quality: int
    """JPEG quality of the images, 1 to 95."""
    bad_quality: BadQuality
    max_empty_percent: float = 50.0
    """Largest percentage of pixels that may be zero or without a value; a frame with more is left out."""
    ignore_datasum: bool = False
    """Whether to take files whose pixels disagree with the DATASUM of their headers."""
    cadence: timedelta | None
    """Time between slots of the grid; None to take every frame."""
    tolerance: timedelta
    """Longest time between a frame and its slot; at most half a cadence."""
    series: str | None
    """JSOC series of the files to take, by their names; None for all."""

    def __post_init__(self) -> None:
        if not 0 < self.clip_gauss < 1e6:
            raise InputError(
                Field("clip_gauss"), expected="a field above 0", found=f"{self.clip_gauss:g}", fix="change it"
            )
        if not 0 <= self.max_empty_percent <= 100:
            found = f"{self.max_empty_percent:g}"
            raise InputError(Field("max_empty_percent"), expected="0 to 100", found=found, fix="change it")
        if not 1 <= self.jpeg_quality <= 95:
            raise InputError(Field("jpeg_quality"), expected="1 to 95", found=str(self.jpeg_quality), fix="change it")
        if self.cadence is not None and 2 * self.tolerance > self.cadence:
            raise InputError(
                Field("tolerance"),
                expected=f"at most half of the cadence {format_duration(self.cadence)}",
                found=format_duration(self.tolerance),
                fix="choose a smaller one, or take every frame with a {cadence} of `all`",
            )

    def as_record(self) -> dict[str, str | float | int | None]:
        """Return the options as ``ingest.json`` holds them, without ``ignore_datasum``, which each frame notes."""
        from sffshards.base.json_records import to_plain

        return {
            "kind": "fits",
            **{name: value for name, value in to_plain(self).items() if name != "ignore_datasum"},
            "knee_gauss": None if self.scale is Scale.LINEAR else KNEE_GAUSS,
            "cadence": None if self.cadence is None else format_duration(self.cadence),
            "tolerance": None if self.cadence is None else format_duration(self.tolerance),
        }


def choose_on_grid(frames: Iterable[FrameId], *, cadence: timedelta, tolerance: timedelta) -> set[FrameId]:
    """Return for each region and slot of the grid the frame nearest to it, the earlier of two that are as near.

    Parameters
    ----------
    frames
        Frames of any regions, in any order.
    cadence
        Time between slots.
    tolerance
        Longest time between a frame and its slot.

    Examples
    --------
    >>> times = [datetime(2012, 3, 6, 14, 12), datetime(2012, 3, 6, 14, 36), datetime(2012, 3, 6, 15)]
    >>> frames = [FrameId(harp=377, t_rec_tai=time) for time in times]
    >>> chosen = choose_on_grid(frames, cadence=timedelta(minutes=96), tolerance=timedelta(minutes=12))
    >>> [f"{frame.t_rec_tai:%H:%M}" for frame in chosen]
    ['14:12']
    """
    nearest: dict[tuple[int, int], tuple[timedelta, FrameId]] = {}
    for frame in frames:
        since = frame.t_rec_tai - _EPOCH_TAI
        slot = (since + cadence / 2) // cadence
        ranked = abs(since - slot * cadence), frame  # frames of a region are ordered by time
        place = frame.harp, slot
        if ranked[0] <= tolerance and (place not in nearest or ranked < nearest[place]):
            nearest[place] = ranked
    return {frame for _, frame in nearest.values()}
