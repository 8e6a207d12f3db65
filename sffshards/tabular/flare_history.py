"""The flare history of a region as numbers, from what was known at the time of a frame.

Shapes: n frames, m flares of a HARP, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.task import M1, GoesClass
from sffshards.flares import FlaresOfFrames, HarpFlares, pair_with_flares

RECENT_HOURS = 24
"""Length of the window of recent flares, and time in which the weight of a flare in `HISTORY` falls to 1/e."""

HISTORY = ("M flares", f"M flares, {RECENT_HOURS} h", "largest flare", "decayed sum")
"""Short history: number of flares of M1.0 and above so far and in the last hours; logarithm (base 10) of the largest
peak flux in W/m2, 1e-9 without a flare; and the sum of peak fluxes over that of M1.0, each times ``exp(-hours since /
24)``. Flares of all classes count in the last two."""

CLASSES = ("C", "M", "X")
"""Letters of the GOES classes whose flares are counted."""
DECAY_HOURS = (12, 48)
"""Decay times of the sums in which older flares weigh less."""
MAX_HOURS = 240.0
"""Hours since a flare where there was none, or a longer time ago."""

ACTIVITY = (
    *(f"log {letter} flares" for letter in CLASSES),
    *(f"log {letter} flares, {RECENT_HOURS} h" for letter in CLASSES),
    "largest C flare",
    f"largest C flare, {RECENT_HOURS} h",
    *(f"log decayed sum, {hours} h" for hours in DECAY_HOURS),
    "log hours since C flare",
    "log hours since M flare",
)
"""Long history, of flares of C1.0 and above: ``log(1 + number)`` of each class; ``1 + log10`` of the largest peak flux
over that of C1.0, 0 without a flare; ``log10(1 + sum)`` of peak fluxes over that of C1.0, each times ``exp(-hours since
/ decay)``; and ``log(1 + hours)`` since the last flare of at least a class, at most `MAX_HOURS`."""

_ANY = GoesClass(flux_pw_per_m2=1)
_LIMITS = np.array([GoesClass.parse(f"{letter}1.0").flux_pw_per_m2 for letter in CLASSES])
_LOG_NO_FLARE = -9.0
_PW_PER_W = 1e12


def describe_history(
    flares: HarpFlares, harps: NDArray[np.integer], times: NDArray[np.datetime64]
) -> NDArray[np.float64]:
    """Return what was known of the earlier flares of each frame's region.

    A flare is known from its peak on, as for `sffshards.flares.has_known_flare`, so later flares of the list change
    nothing.

    Parameters
    ----------
    flares
        From `sffshards.flares.assign_flares`.
    harps
        HARP numbers, shape (n,).
    times
        Times of the frames, shape (n,).

    Returns
    -------
    float64 of shape (n, F)
        Features in the order of `HISTORY` and `ACTIVITY`; nan where nothing is known of the region, as its HARP is not
        in the map or the time is not within that of the list.
    """
    times = np.asarray(times, "datetime64[s]")
    quiet = [0, 0, _LOG_NO_FLARE, 0, *[0] * (len(ACTIVITY) - 2), *[np.log1p(MAX_HOURS)] * 2]
    history_nF = np.tile(np.array(quiet, np.float64), (len(times), 1))
    for of in pair_with_flares(flares, harps, threshold=_ANY):
        history_nF[of.rows] = _describe_region(of, times[of.rows])
    is_known = np.array([flares.knows(harp) for harp in np.asarray(harps).tolist()], np.bool_)
    history_nF[~is_known | (times < flares.first) | (times > flares.last)] = np.nan
    return history_nF


def _describe_region(of: FlaresOfFrames, times: NDArray[np.datetime64]) -> NDArray[np.float64]:
    known_nm = of.known <= times[:, None]
    ages_nm = np.where(known_nm, (times[:, None] - of.came) / np.timedelta64(1, "h"), np.inf)
    return np.stack([*_describe_shortly(of.fluxes, ages_nm), *_describe_at_length(of.fluxes, ages_nm)], axis=1)


def _describe_shortly(fluxes: NDArray[np.int64], ages_nm: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    is_strong = fluxes >= M1.flux_pw_per_m2
    counts = [((ages_nm < hours) & is_strong).sum(axis=1).astype(np.float64) for hours in (np.inf, RECENT_HOURS)]
    largest = np.where(np.isfinite(ages_nm), np.log10(fluxes / _PW_PER_W), _LOG_NO_FLARE)
    total = _sum_in_order(np.exp(-ages_nm / RECENT_HOURS) * (fluxes / M1.flux_pw_per_m2))
    return [*counts, largest.max(axis=1, initial=_LOG_NO_FLARE), total]


def _describe_at_length(fluxes: NDArray[np.int64], ages_nm: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    kind_m = np.searchsorted(_LIMITS, fluxes, side="right") - 1
    size_m, is_counted = fluxes / _LIMITS[0], kind_m >= 0
    seen = [ages_nm < hours for hours in (np.inf, RECENT_HOURS)]
    counts = [np.log1p((of_all & (kind_m == kind)).sum(axis=1)) for of_all in seen for kind in range(len(CLASSES))]
    logs_m = np.where(is_counted, 1 + np.log10(size_m), 0)
    largest = [np.where(of_all, logs_m, 0).max(axis=1, initial=0) for of_all in seen]
    sums = [np.log10(1 + _sum_in_order(np.exp(-ages_nm / decay) * size_m * is_counted)) for decay in DECAY_HOURS]
    since = [ages_nm[:, kind_m >= kind].min(axis=1, initial=np.inf) for kind in (0, 1)]
    return [*counts, *largest, *sums, *(np.log1p(np.minimum(hours, MAX_HOURS)) for hours in since)]


def _sum_in_order(values_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums over flares, shape (n,), which flares of weight 0 leave the same to the last digit."""
    return np.cumsum(values_nm, axis=1)[:, -1]
