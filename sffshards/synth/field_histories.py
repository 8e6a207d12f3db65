"""Histories of flux and of field along the inversion line, drawn freely or fitted to given labels."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.synth.active_region import FieldHistory, Stream

__all__ = ["RegionKind", "draw_history", "draw_kinds", "fit_history"]

Floats = NDArray[np.float64]

_KNOT_HOURS = 4.0
_BEYOND_HOURS = 48.0
"""Length of a history after the last frame, whose label looks so far ahead."""
_SMOOTHING_HOURS = 5.0


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


_FLUX = {
    RegionKind.PLAGE: (0.03, 0.25),
    RegionKind.SIMPLE: (0.25, 0.75),
    RegionKind.MIXED: (0.12, 0.4),
    RegionKind.COMPLEX: (0.6, 1.2),
}
"""Range of the flux by kind."""
_PIL = {
    RegionKind.PLAGE: (0.0, 0.12),
    RegionKind.SIMPLE: (0.0, 0.3),
    RegionKind.MIXED: (0.2, 0.5),
    RegionKind.COMPLEX: (0.68, 1.0),
}
"""Range of the strength along the inversion line by kind."""
_SHARES = {RegionKind.COMPLEX: 0.25, RegionKind.SIMPLE: 0.2, RegionKind.MIXED: 0.15}
_QUIET_SHARES = {RegionKind.PLAGE: 0.6, RegionKind.SIMPLE: 0.2, RegionKind.MIXED: 0.17, RegionKind.COMPLEX: 0.03}


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
    rng = Stream.HISTORY.generator(seed, harp, attempt)
    hours = np.arange(-_KNOT_HOURS, duration_hours + _BEYOND_HOURS + _KNOT_HOURS, _KNOT_HOURS)
    growth = _sigmoid((hours - rng.uniform(-2.0, 0.35) * duration_hours) / rng.uniform(6, 14))
    decay = np.exp(-np.maximum(hours - rng.uniform(0.3, 1.5) * duration_hours, 0) / 150)
    flux = rng.uniform(*_FLUX[kind]) * (0.35 + 0.65 * growth) * decay
    onset = rng.uniform(-1.4, 0.5) * duration_hours
    end = onset + rng.uniform(90, 200)
    cancellation = np.exp(-np.maximum(hours - end, 0) / 25)
    pil = rng.uniform(*_PIL[kind]) * _sigmoid((hours - onset) / 10) * cancellation
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
    weak_flux, weak_pil = ((0.25, 0.6), (0.05, 0.4)) if flares else (_FLUX[kind], _PIL[kind])
    closeness = np.exp(-0.5 * np.square((hours[:, None] - hours[None, :]) / _SMOOTHING_HOURS))
    smooth = closeness @ strength / closeness.sum(axis=1)
    flux = _between(rng.uniform(*weak_flux), rng.uniform(*_FLUX[RegionKind.COMPLEX]), smooth)
    pil = _between(rng.uniform(*weak_pil), rng.uniform(*_PIL[RegionKind.COMPLEX]), smooth)
    # Regions also change for reasons that have nothing to do with flares.
    sway = np.sin(2 * np.pi * (hours / rng.uniform(30, 90) + rng.random()))
    return _history(hours, flux * (1 + 0.15 * sway), np.minimum(pil * (1 + 0.15 * sway), 1))


def _between(low: float, high: float, position: Floats) -> Floats:
    return low + (high - low) * position


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _history(hours: Floats, flux: Floats, pil: Floats) -> FieldHistory:
    return FieldHistory(hours=tuple(hours.tolist()), flux=tuple(flux.tolist()), pil=tuple(pil.tolist()))
