"""Reference forecasts without a network: no skill, persistence, and which regions have ever flared.

They follow from labels alone. The label of time t states whether a flare starts in (t, t + horizon], so that it is
known from t + horizon on; a forecast uses only labels that are known at its time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError


def forecast_no_skill(climatology: float, *, num_samples: int, seed: int) -> NDArray[np.float64]:
    """Forecast a flare at random, as often as in the training set: what no skill means in every table of this package.

    The expected TSS and HSS are 0; those of one draw, with their intervals, show how far chance alone gets.

    Parameters
    ----------
    climatology
        Rate of flares in the training set, from 0 to 1.
    num_samples
        Number of forecasts.
    seed
        Seed of the draw.

    Returns
    -------
    float64 of shape (num_samples,), 0 or 1
    """
    return (np.random.default_rng(seed).random(num_samples) < climatology).astype(np.float64)


def forecast_persistence(
    labels: NDArray[np.integer],
    t_end_tai: NDArray[np.datetime64],
    harps: NDArray[np.integer],
    *,
    horizon_hours: int,
    unknown: float,
) -> NDArray[np.float64]:
    """Forecast the latest label of each region that is known at the time.

    Where a region has a label exactly a horizon ago, this is whether it flared in the horizon before.

    Parameters
    ----------
    labels
        Labels, 0 or 1, shape (n,).
    t_end_tai
        Times of the labels, shape (n,), in any order.
    harps
        HARP numbers, shape (n,).
    horizon_hours
        Horizon of the labels in hours, at least 1.
    unknown
        Forecast where no label of the region is known yet, such as 0.

    Returns
    -------
    float64 of shape (n,)

    Raises
    ------
    InputError
        If the three are not of one length, or the horizon is not positive.

    Examples
    --------
    >>> days = np.array(["2012-03-06", "2012-03-07", "2012-03-08"], "datetime64[s]")
    >>> forecast_persistence(np.array([1, 0, 0]), days, np.full(3, 1449), horizon_hours=24, unknown=0).tolist()
    [0.0, 1.0, 0.0]
    """
    horizon = _check(labels, t_end_tai, harps, horizon_hours)
    forecast = np.full(len(labels), unknown, np.float64)
    for harp in np.unique(harps):
        rows = np.flatnonzero(harps == harp)
        rows = rows[np.argsort(t_end_tai[rows], kind="stable")]
        times = t_end_tai[rows]
        latest = np.searchsorted(times, times - horizon, side="right") - 1
        forecast[rows[latest >= 0]] = labels[rows[latest[latest >= 0]]]
    return forecast


def forecast_ever_flared(
    labels: NDArray[np.integer], t_end_tai: NDArray[np.datetime64], harps: NDArray[np.integer], *, horizon_hours: int
) -> NDArray[np.float64]:
    """Forecast a flare of every region that is known to have flared by then, and no flare of the others.

    Parameters
    ----------
    labels, t_end_tai, harps, horizon_hours
        As of `forecast_persistence`.

    Returns
    -------
    float64 of shape (n,), 0 or 1

    Raises
    ------
    InputError
        As `forecast_persistence`.
    """
    horizon = _check(labels, t_end_tai, harps, horizon_hours)
    forecast = np.zeros(len(labels))
    for harp in np.unique(harps[labels == 1]):
        rows = np.flatnonzero(harps == harp)
        first = t_end_tai[rows[labels[rows] == 1]].min()
        forecast[rows] = t_end_tai[rows] >= first + horizon
    return forecast


def _check(
    labels: NDArray[np.integer], t_end_tai: NDArray[np.datetime64], harps: NDArray[np.integer], horizon_hours: int
) -> np.timedelta64:
    lengths = len(labels), len(t_end_tai), len(harps)
    if len(set(lengths)) > 1:
        raise InputError("labels, times, HARPs", expected="one length", found=str(lengths), fix="give all by sample")
    if horizon_hours < 1:
        raise InputError("horizon_hours", expected="at least 1", found=str(horizon_hours), fix="give 24 or 48")
    return np.timedelta64(horizon_hours, "h")
