"""One synthetic active region: its random streams, its patch, its place in time, and how its field evolves.

The history of the field is drawn freely, or fitted to given labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WIDTHS_PX = (360, 640)
_HEIGHTS_PX = (180, 320)

_KNOT_HOURS = 4.0
_BEYOND_HOURS = 48.0
"""Length of a history after the last frame, whose label looks so far ahead."""
_SMOOTHING_HOURS = 5.0

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
    LATER_FLARES = 9

    def generator(self, *keys: int) -> np.random.Generator:
        """Return the random generator of this purpose and of keys (seed, HARP, time...), each at least 0.

        No draw depends on the order of the draws, or on the number of workers. The number of keys is a key itself:
        numpy pads the keys with zeros, so that without it (1, 2) and (1, 2, 0) would be the same stream.
        """
        return np.random.default_rng(np.random.SeedSequence([int(self), len(keys), *keys]))


class RegionKind(StrEnum):
    """Kind of a region, after the Mount Wilson classes; each overlaps with the next in everything that it shows."""

    PLAGE = "plage"
    """Old or small and weak, mostly without spots."""
    SIMPLE = "simple"
    """Large, but with polarities well apart."""
    MIXED = "mixed"
    """Small, with some field along the inversion line."""
    COMPLEX = "complex"
    """Large, with strong sheared field along the inversion line."""


_RANGES = {
    RegionKind.PLAGE: ((0.03, 0.25), (0.0, 0.12)),
    RegionKind.SIMPLE: ((0.25, 0.75), (0.0, 0.3)),
    RegionKind.MIXED: ((0.12, 0.4), (0.2, 0.5)),
    RegionKind.COMPLEX: ((0.6, 1.2), (0.68, 1.0)),
}
"""Ranges of the flux and of the strength along the inversion line by kind."""
_SHARES = {RegionKind.COMPLEX: 0.25, RegionKind.SIMPLE: 0.2, RegionKind.MIXED: 0.15}
_QUIET_SHARES = {RegionKind.PLAGE: 0.6, RegionKind.SIMPLE: 0.2, RegionKind.MIXED: 0.17, RegionKind.COMPLEX: 0.03}


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


def draw_kinds(num_harps: int, rng: np.random.Generator) -> list[RegionKind]:
    """Return the kinds of a part's regions in random order: always some complex ones, and always others.

    Parameters
    ----------
    num_harps
        Number of regions, at least 2.
    rng
        Random generator of the order.
    """
    counts = {kind: max(1, round(share * num_harps)) for kind, share in _SHARES.items()}
    kinds = [kind for kind, count in counts.items() for _ in range(count)][: num_harps - 1]
    kinds += [RegionKind.PLAGE] * (num_harps - len(kinds))
    return [kinds[i] for i in rng.permutation(num_harps)]


def draw_history(seed: int, harp: int, attempt: int, *, kind: RegionKind, duration_hours: float) -> FieldHistory:
    """Draw a life: emergence, growth, strong field along the inversion line for a while, cancellation, decay.

    Parameters
    ----------
    seed, harp, attempt
        Keys of the draw.
    kind
        Kind of the region, which sets the ranges of flux and of field along the inversion line.
    duration_hours
        Time from the first frame to the last.
    """
    rng, (flux_range, pil_range) = Stream.HISTORY.generator(seed, harp, attempt), _RANGES[kind]
    hours = np.arange(-_KNOT_HOURS, duration_hours + _BEYOND_HOURS + _KNOT_HOURS, _KNOT_HOURS)
    growth = _sigmoid((hours - rng.uniform(-2.0, 0.35) * duration_hours) / rng.uniform(6, 14))
    decay = np.exp(-np.maximum(hours - rng.uniform(0.3, 1.5) * duration_hours, 0) / 150)
    flux = rng.uniform(*flux_range) * (0.35 + 0.65 * growth) * decay
    onset = rng.uniform(-1.4, 0.5) * duration_hours
    end = onset + rng.uniform(90, 200)
    cancellation = np.exp(-np.maximum(hours - end, 0) / 25)
    pil = rng.uniform(*pil_range) * _sigmoid((hours - onset) / 10) * cancellation
    return _history(hours, flux, pil)


def fit_history(seed: int, harp: int, *, hours: Floats, strength: Floats) -> FieldHistory:
    """Draw a history that is strong where labels are positive, with the overlap between classes that the Sun has.

    Parameters
    ----------
    seed, harp
        Keys of the draw.
    hours
        Times of the labelled frames since the first one, increasing, (N,).
    strength
        0 for a negative frame, up to 1 for one whose flare is near, (N,).
    """
    rng = Stream.FITTED_HISTORY.generator(seed, harp)
    flares = bool(strength.max() > 0)
    kind = list(_QUIET_SHARES)[int(rng.choice(len(_QUIET_SHARES), p=list(_QUIET_SHARES.values())))]
    weak_flux, weak_pil = ((0.25, 0.6), (0.05, 0.4)) if flares else _RANGES[kind]
    strong_flux, strong_pil = _RANGES[RegionKind.COMPLEX]
    closeness = np.exp(-0.5 * np.square((hours[:, None] - hours[None, :]) / _SMOOTHING_HOURS))
    smooth = closeness @ strength / closeness.sum(axis=1)
    flux = _between(rng.uniform(*weak_flux), rng.uniform(*strong_flux), smooth)
    pil = _between(rng.uniform(*weak_pil), rng.uniform(*strong_pil), smooth)
    # Regions also change for reasons that have nothing to do with flares.
    sway = np.sin(2 * np.pi * (hours / rng.uniform(30, 90) + rng.random()))
    return _history(hours, flux * (1 + 0.15 * sway), np.minimum(pil * (1 + 0.15 * sway), 1))


def _between(low: float, high: float, position: Floats) -> Floats:
    return low + (high - low) * position


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _history(hours: Floats, flux: Floats, pil: Floats) -> FieldHistory:
    return FieldHistory(hours=tuple(hours.tolist()), flux=tuple(flux.tolist()), pil=tuple(pil.tolist()))
