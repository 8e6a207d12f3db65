"""One synthetic active region: its random streams, its patch, its place in time, and how its field evolves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

import numpy as np

from sffshards.base.errors import Field, InputError
from sffshards.domain.frames import FrameId

__all__ = [
    "MAX_SIDE_PX",
    "FieldHistory",
    "FieldState",
    "Region",
    "Stream",
    "check_number",
    "field_state",
    "make_region",
]

_WIDTHS_PX = (360, 640)
_HEIGHTS_PX = (180, 320)
_MAX_SHEAR_DEG = 80.0

MAX_SIDE_PX = 1024
"""Longest side of a patch in pixels."""


class Stream(IntEnum):
    """Purpose of a stream of random numbers; the values are part of what a seed means, so they never change."""

    TIMELINE = 1
    SHAPE = 2
    LAYOUT = 3
    HISTORY = 4
    FLARES = 5
    NETWORK = 6
    NOISE = 7
    FITTED_HISTORY = 8

    def generator(self, *keys: int) -> np.random.Generator:
        """Return the random generator of this purpose and of keys (seed, HARP, time...), each at least 0.

        No draw depends on the order of the draws, or on the number of workers. The number of keys is a key itself:
        numpy pads the keys with zeros, so that without it (1, 2) and (1, 2, 0) would be the same stream.
        """
        return np.random.default_rng(np.random.SeedSequence([int(self), len(keys), *keys]))


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldHistory:
    """The strength of a region over time, linear between knots and constant beyond them."""

    hours: tuple[float, ...]
    """Times of the knots since the region's first frame, increasing."""
    flux: tuple[float, ...]
    """Unsigned flux of the bipole at each knot; 1 is a very large region, 0.05 a pore."""
    pil: tuple[float, ...]
    """Strength of the field along the polarity inversion line at each knot, 0 to 1."""

    def __post_init__(self) -> None:
        if not self.hours or not len(self.hours) == len(self.flux) == len(self.pil):
            raise ValueError("a field history needs as many flux and pil values as hours, at least one")
        if any(b <= a for a, b in zip(self.hours, self.hours[1:], strict=False)):
            raise ValueError("the hours of a field history must increase")
        if min(self.flux) < 0 or min(self.pil) < 0 or max(self.pil) > 1:
            raise ValueError("flux must be at least 0 and pil between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A synthetic active region; together with a time, it determines an image to the last bit."""

    seed: int
    """Seed of the whole data set."""
    harp: int
    width_px: int
    height_px: int
    t_start_tai: datetime
    """Time of the first frame, from which the hours of the history count."""
    tilt_deg: float
    """Angle of the bipole's axis to the horizontal (Joy's law: small, the leader nearer the equator)."""
    leader_sign: int
    """Polarity of the leading spot, +1 or -1 (Hale's law: one sign per hemisphere and cycle)."""
    first_shear_deg: float
    """Shear of the polarity inversion line in the first frame; 0 is a line across the axis."""
    shear_deg_per_day: float
    history: FieldHistory

    def __post_init__(self) -> None:
        if self.leader_sign not in (-1, 1):
            raise ValueError(f"leader_sign must be -1 or 1, got {self.leader_sign}")
        if not all(1 <= side <= MAX_SIDE_PX for side in (self.width_px, self.height_px)):
            raise ValueError(f"a patch has sides of 1 to {MAX_SIDE_PX} pixels, got {self.width_px}x{self.height_px}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldState:
    """The quantities that determine a region's field at one time."""

    hours: float
    """Time since the first frame; negative before it."""
    flux: float
    pil: float
    shear_rad: float


def make_region(seed: int, harp: int, *, t_start_tai: datetime, history: FieldHistory) -> Region:
    """Draw the patch and the geometry of a region from the seed and its HARP number.

    Parameters
    ----------
    seed
        Seed of the data set, at least 0.
    harp
        HARP number; two HARPs of a seed differ in everything that is drawn.
    t_start_tai
        Time of the first frame.
    history
        Flux and strength along the polarity inversion line over time.
    """
    rng = Stream.SHAPE.generator(seed, harp)
    is_northern = bool(rng.random() < 0.5)
    return Region(
        seed=seed,
        harp=harp,
        width_px=int(rng.integers(_WIDTHS_PX[0], _WIDTHS_PX[1] + 1)),
        height_px=int(rng.integers(_HEIGHTS_PX[0], _HEIGHTS_PX[1] + 1)),
        t_start_tai=t_start_tai,
        tilt_deg=float((6 if is_northern else -6) + rng.normal(0, 9)),
        leader_sign=-1 if is_northern else 1,
        first_shear_deg=float(rng.uniform(5, 40)),
        shear_deg_per_day=float(rng.uniform(2, 14)),
        history=history,
    )


def field_state(region: Region, frame: FrameId) -> FieldState:
    """Return what determines the region's field at the time of a frame."""
    hours, history = (frame.t_rec_tai - region.t_start_tai).total_seconds() / 3600, region.history
    shear_deg = region.first_shear_deg + region.shear_deg_per_day * hours / 24
    return FieldState(
        hours=hours,
        flux=float(np.interp(hours, history.hours, history.flux)),
        pil=float(np.interp(hours, history.hours, history.pil)),
        shear_rad=float(np.deg2rad(min(max(shear_deg, 0.0), _MAX_SHEAR_DEG))),
    )


def check_number(name: str, value: int, *, least: int, most: int) -> None:
    """Raise `InputError` unless the value of a field lies between two whole numbers."""
    if not least <= value <= most:
        raise InputError(
            Field(name), expected=f"a whole number from {least} to {most}", found=str(value), fix="choose another"
        )
