"""How made regions live: courses of flux and of field along the inversion line, drawn freely or to fit given labels."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.synth.random_streams import Stream, stream
from sffshards.synth.synthetic_region import Course

__all__ = ["Temper", "draw_course", "fit_course", "share_tempers"]

Floats = NDArray[np.float64]

_KNOT_HOURS = 4.0
_BEYOND_HOURS = 48.0
"""A course goes on this long after the last frame, whose label looks so far ahead."""
_SMOOTHING_HOURS = 5.0


class Temper(StrEnum):
    """What kind of region it is, after the Mount Wilson classes; each overlaps with the next in all that it shows."""

    PLAGE = "plage"
    """Old or small and weak, mostly without spots."""
    SIMPLE = "simple"
    """Large, but the polarities stand well apart."""
    MIXED = "mixed"
    """Small, with some field along the inversion line."""
    COMPLEX = "complex"
    """Large, with strong sheared field along the inversion line."""


_FLUX = {
    Temper.PLAGE: (0.03, 0.25),
    Temper.SIMPLE: (0.25, 0.75),
    Temper.MIXED: (0.12, 0.4),
    Temper.COMPLEX: (0.6, 1.2),
}
_PIL = {
    Temper.PLAGE: (0.0, 0.12),
    Temper.SIMPLE: (0.0, 0.3),
    Temper.MIXED: (0.2, 0.5),
    Temper.COMPLEX: (0.68, 1.0),
}
_SHARES = {Temper.COMPLEX: 0.25, Temper.SIMPLE: 0.2, Temper.MIXED: 0.15}
_QUIET_TEMPERS = (Temper.PLAGE, Temper.SIMPLE, Temper.MIXED, Temper.COMPLEX)
_QUIET_SHARES = (0.6, 0.2, 0.17, 0.03)


def share_tempers(num_harps: int, rng: np.random.Generator) -> list[Temper]:
    """Give the tempers of a part's regions in random order: always some complex ones, and always others.

    Parameters
    ----------
    num_harps
        Number of regions, at least 2.
    rng
        Gives the order.
    """
    counts = {temper: max(1, round(share * num_harps)) for temper, share in _SHARES.items()}
    tempers = [temper for temper, count in counts.items() for _ in range(count)][: num_harps - 1]
    tempers += [Temper.PLAGE] * (num_harps - len(tempers))
    return [tempers[i] for i in rng.permutation(num_harps)]


def draw_course(seed: int, harp: int, attempt: int, *, temper: Temper, duration_hours: float) -> Course:
    """Draw a life: emergence, growth, strong field along the inversion line for a while, cancellation, decay.

    Parameters
    ----------
    seed, harp, attempt
        What the draw is keyed by.
    temper
        Sets the ranges of flux and of field along the inversion line.
    duration_hours
        Time from the first frame to the last.
    """
    rng = stream(Stream.COURSE, seed, harp, attempt)
    hours = np.arange(-_KNOT_HOURS, duration_hours + _BEYOND_HOURS + _KNOT_HOURS, _KNOT_HOURS)
    growth = _sigmoid((hours - rng.uniform(-2.0, 0.35) * duration_hours) / rng.uniform(6, 14))
    decay = np.exp(-np.maximum(hours - rng.uniform(0.3, 1.5) * duration_hours, 0) / 150)
    flux = rng.uniform(*_FLUX[temper]) * (0.35 + 0.65 * growth) * decay
    onset = rng.uniform(-1.4, 0.5) * duration_hours
    end = onset + rng.uniform(90, 200)
    cancellation = np.exp(-np.maximum(hours - end, 0) / 25)
    pil = rng.uniform(*_PIL[temper]) * _sigmoid((hours - onset) / 10) * cancellation
    return _course(hours, flux, pil)


def fit_course(seed: int, harp: int, *, hours: Floats, strength: Floats) -> Course:
    """Draw a course that is strong where labels are positive, with the overlap between classes that the Sun has.

    Parameters
    ----------
    seed, harp
        What the draw is keyed by.
    hours
        Times of the labelled frames since the first one, increasing, (N,).
    strength
        0 for a negative frame, up to 1 for one whose flare is near, (N,).
    """
    rng = stream(Stream.LABELLED_COURSE, seed, harp)
    flares = bool(strength.max() > 0)
    temper = _QUIET_TEMPERS[int(rng.choice(len(_QUIET_TEMPERS), p=_QUIET_SHARES))]
    weak = (0.25, 0.6) if flares else _FLUX[temper]
    calm = (0.05, 0.4) if flares else _PIL[temper]
    closeness = np.exp(-0.5 * np.square((hours[:, None] - hours[None, :]) / _SMOOTHING_HOURS))
    smooth = closeness @ strength / closeness.sum(axis=1)
    flux = _between(rng.uniform(*weak), rng.uniform(*_FLUX[Temper.COMPLEX]), smooth)
    pil = _between(rng.uniform(*calm), rng.uniform(*_PIL[Temper.COMPLEX]), smooth)
    # Regions change for reasons of their own, too.
    sway = np.sin(2 * np.pi * (hours / rng.uniform(30, 90) + rng.random()))
    return _course(hours, flux * (1 + 0.15 * sway), np.minimum(pil * (1 + 0.15 * sway), 1))


def _between(low: float, high: float, position: Floats) -> Floats:
    return low + (high - low) * position


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _course(hours: Floats, flux: Floats, pil: Floats) -> Course:
    return Course(hours=tuple(hours.tolist()), flux=tuple(flux.tolist()), pil=tuple(pil.tolist()))
