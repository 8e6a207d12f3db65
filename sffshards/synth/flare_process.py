"""Flares of made regions: a random process whose rate follows the field, and the labels that it gives."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sffshards.domain.frames import FrameId
from sffshards.domain.task import Task
from sffshards.synth.random_streams import Stream, stream
from sffshards.synth.synthetic_region import Region

__all__ = ["Flare", "draw_flares", "flare_rate_per_hour", "label_frames"]

_MAX_RATE_PER_HOUR = 0.08
_TYPICAL_FLUX = 0.42
_TYPICAL_PIL = 0.52
_NUM_C_PER_M = 8
"""Flares of class C and above for each of class M and above: a power law (Crosby et al. 1993, Sol. Phys. 143)."""
_STEP_HOURS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Flare:
    """A made flare of class C or above."""

    harp: int
    t_start_tai: datetime
    magnitude: int
    """Peak soft X-ray flux in units of 1e-7 W m-2: 10 is C1.0, 100 M1.0, 1000 X1.0."""

    @property
    def goes_class(self) -> str:
        """The class as GOES gives it.

        Examples
        --------
        >>> Flare(harp=1, t_start_tai=datetime(2012, 3, 7), magnitude=543).goes_class
        'M5.4'
        """
        for letter, unit in (("X", 1000), ("M", 100)):
            if self.magnitude >= unit:
                return f"{letter}{self.magnitude * 10 // unit / 10:.1f}"
        return f"C{self.magnitude / 10:.1f}"

    @property
    def is_major(self) -> bool:
        """Whether it is of class M or above, which is what labels ask."""
        return self.magnitude >= 100


def flare_rate_per_hour(flux: ArrayLike, pil: ArrayLike) -> NDArray[np.float64]:
    """Give the rate of flares of class M and above.

    It rises with unsigned flux and, more steeply, with the strength of the field along the polarity inversion line,
    and saturates: what Schrijver (2007, ApJ 655, L117) found on the Sun for his R value.

    Parameters
    ----------
    flux
        Unsigned flux as in `Course.flux`, at least 0.
    pil
        Strength along the inversion line as in `Course.pil`, 0 to 1.

    Returns
    -------
    Flares an hour, float64, of the common shape of both.
    """
    log_flux = np.log(np.maximum(np.asarray(flux, dtype=np.float64), 1e-3) / _TYPICAL_FLUX)
    excess = 2.8 * log_flux + 14.0 * (np.asarray(pil, dtype=np.float64) - _TYPICAL_PIL)
    return np.asarray(_MAX_RATE_PER_HOUR / (1 + np.exp(-excess)))


def draw_flares(region: Region, *, num_hours: float, attempt: int) -> tuple[Flare, ...]:
    """Draw the flares of class C and above of a region, as a Poisson process of the rate that its field sets.

    Parameters
    ----------
    region
        The region.
    num_hours
        How long from the first frame.
    attempt
        One of many possible outcomes.

    Returns
    -------
    The flares in order of time.
    """
    rng = stream(Stream.FLARES, region.seed, region.harp, attempt)
    hours = np.arange(0, num_hours, _STEP_HOURS)
    course = region.course
    rate = flare_rate_per_hour(np.interp(hours, course.hours, course.flux), np.interp(hours, course.hours, course.pil))
    counts = rng.poisson(_NUM_C_PER_M * rate * _STEP_HOURS)
    starts = np.sort(np.repeat(hours, counts) + rng.uniform(0, _STEP_HOURS, int(counts.sum())))
    # Survival (x/x0)**-a with a such that one flare in _NUM_C_PER_M is ten times the least one.
    magnitudes = 10 * (1 - rng.random(len(starts))) ** (-1 / np.log10(_NUM_C_PER_M))
    return tuple(
        Flare(
            harp=region.harp,
            t_start_tai=region.t_start_tai + timedelta(seconds=round(hour * 3600)),
            magnitude=min(int(magnitude), 99_999),
        )
        for hour, magnitude in zip(starts.tolist(), magnitudes.tolist(), strict=True)
    )


def label_frames(frames: Iterable[FrameId], flares: Sequence[Flare], *, task: Task) -> list[int]:
    """Label frames of one HARP: 1 where a flare of class M or above of that HARP starts in (t, t + horizon]."""
    starts = sorted(flare.t_start_tai for flare in flares if flare.is_major)
    span = timedelta(hours=task.horizon_hours)
    return [
        int(bisect_right(starts, frame.t_rec_tai) < bisect_right(starts, frame.t_rec_tai + span)) for frame in frames
    ]
