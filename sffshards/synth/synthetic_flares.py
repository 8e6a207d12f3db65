"""Flares of synthetic regions: a random process whose rate follows the field, labels, and the files of a catalogue."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sffshards.base.csv_tables import format_csv
from sffshards.domain.frames import FrameId
from sffshards.domain.task import GoesClass, Task
from sffshards.flares import tai_to_utc
from sffshards.synth.active_region import Region, Stream

FLARES_NAME = "flares.csv"
"""File name of the flare list of a synthetic data set."""
HARP_MAP_NAME = "harps.txt"
"""File name of the map of its HARPs to NOAA regions."""

_MAX_RATE_PER_HOUR = 0.08
_TYPICAL_FLUX = 0.42
_TYPICAL_PIL = 0.52
_NUM_C_PER_M = 8
"""Flares of class C and above per flare of class M and above: a power law (Crosby et al. 1993, Sol. Phys. 143)."""
_STEP_HOURS = 0.2
_FIRST_REGION = 10_000
"""The NOAA number of a synthetic HARP is so much higher than its own; those of the 2010s have five digits too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flare:
    """A synthetic flare of class C or above."""

    harp: int
    t_start_tai: datetime
    goes_class: GoesClass


def truncate_class(magnitude: int) -> GoesClass:
    """Return the class of a peak flux in units of 1e-7 W/m2, at least 10, cut to the tenth that flare lists state.

    Examples
    --------
    >>> str(truncate_class(543)), str(truncate_class(1999))
    ('M5.4', 'X1.9')
    """
    step = 10 ** min(len(str(magnitude)) - 2, 2)
    return GoesClass(flux_pw_per_m2=magnitude // step * step * 100_000)


def flare_rate_per_hour(flux: ArrayLike, pil: ArrayLike) -> NDArray[np.float64]:
    """Compute the rate of flares of class M and above.

    It rises with unsigned flux and, more steeply, with the strength of the field along the polarity inversion line,
    and saturates: what Schrijver (2007, ApJ 655, L117) found on the Sun for his R value.

    Parameters
    ----------
    flux
        Unsigned flux as in `FieldHistory.flux`, at least 0.
    pil
        Strength along the inversion line as in `FieldHistory.pil`, 0 to 1.

    Returns
    -------
    Flares per hour, float64, of the common shape of both.
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
        Length of the process from the first frame.
    attempt
        Number of one of many possible outcomes.

    Returns
    -------
    The flares in order of time.
    """
    rng = Stream.FLARES.generator(region.seed, region.harp, attempt)
    return _draw(region, rng, hours=np.arange(0, num_hours, _STEP_HOURS))


def draw_later_flares(region: Region, *, after_hours: float, num_hours: float) -> tuple[Flare, ...]:
    """Draw the flares of a region after those of `draw_flares`; they label rows at longer horizons only.

    Parameters
    ----------
    region
        The region, whose field stays as it is at the last frame.
    after_hours
        Time from the first frame at which they begin.
    num_hours
        Length of the process from then on.
    """
    rng = Stream.LATER_FLARES.generator(region.seed, region.harp)
    return _draw(region, rng, hours=np.arange(after_hours, after_hours + num_hours, _STEP_HOURS))


def _draw(region: Region, rng: np.random.Generator, *, hours: NDArray[np.float64]) -> tuple[Flare, ...]:
    known = region.history
    rate = flare_rate_per_hour(np.interp(hours, known.hours, known.flux), np.interp(hours, known.hours, known.pil))
    counts = rng.poisson(_NUM_C_PER_M * rate * _STEP_HOURS)
    starts = np.sort(np.repeat(hours, counts) + rng.uniform(0, _STEP_HOURS, int(counts.sum())))
    # Survival (x/x0)**-a with a such that one flare in _NUM_C_PER_M is ten times the weakest one.
    magnitudes = 10 * (1 - rng.random(len(starts))) ** (-1 / np.log10(_NUM_C_PER_M))
    return tuple(
        Flare(
            harp=region.harp,
            t_start_tai=region.t_start_tai + timedelta(seconds=round(hour * 3600)),
            goes_class=truncate_class(min(int(magnitude), 99_999)),
        )
        for hour, magnitude in zip(starts.tolist(), magnitudes.tolist(), strict=True)
    )


def label_frames(frames: Iterable[FrameId], flares: Sequence[Flare], *, task: Task) -> list[int]:
    """Return the labels of frames of one HARP: 1 where a flare of the task starts in (t, t + horizon], else 0."""
    starts = sorted(flare.t_start_tai for flare in flares if flare.goes_class >= task.threshold)
    span = timedelta(hours=task.horizon_hours)
    return [
        int(bisect_right(starts, frame.t_rec_tai) < bisect_right(starts, frame.t_rec_tai + span)) for frame in frames
    ]


def format_flare_list(flares: Iterable[Flare], *, first_tai: datetime, last_tai: datetime) -> str:
    """Return flares in order of time as CSV, ``start_time,goes_class,noaa_ar``, in UTC, as flare lists are.

    A comment states that the list covers the given times, if not those of further flares.
    """
    ordered = sorted(flares, key=lambda flare: (flare.t_start_tai, flare.harp))
    every = [flare.t_start_tai for flare in ordered]
    starts_utc = tai_to_utc(np.array(every, "datetime64[s]"))
    covered_utc = tai_to_utc(np.array([min([first_tai, *every]), max([last_tai, *every])], "datetime64[s]"))
    rows = (
        (start.isoformat(sep=" "), flare.goes_class, _FIRST_REGION + flare.harp)
        for flare, start in zip(ordered, starts_utc.tolist(), strict=True)
    )
    first, last = (time.isoformat(sep=" ") for time in covered_utc.tolist())
    return f"# covers {first} to {last}\n{format_csv(['start_time', 'goes_class', 'noaa_ar'], rows)}"


def format_harp_map(harps: Iterable[int]) -> str:
    """Return the NOAA region of each HARP, in the form of JSOC's ``all_harps_with_noaa_ars.txt``."""
    lines = ["HARPNUM NOAA_ARS", *(f"{harp} {_FIRST_REGION + harp}" for harp in sorted(harps))]
    return "\n".join(lines) + "\n"
