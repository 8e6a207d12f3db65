"""TAI and UTC: HMI names frames by International Atomic Time, flare lists are in Coordinated Universal Time.

Since 1972 the two differ by whole seconds, one more after each leap second. ERFA holds the table of IERS Bulletin C.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError

FIRST_YEAR = 1972
"""First year in which UTC and TAI differ by whole seconds."""


def utc_to_tai(t_utc: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return the TAI of times in UTC.

    Parameters
    ----------
    t_utc
        Times of any shape, from 1972 on.

    Returns
    -------
    datetime64[s] of the same shape

    Raises
    ------
    InputError
        If a time is before 1972.

    Examples
    --------
    >>> utc_to_tai(np.array(["2012-06-30T23:59:59", "2012-07-01T00:00:00"], "datetime64[s]")).astype(str).tolist()
    ['2012-07-01T00:00:33', '2012-07-01T00:00:35']
    """
    since_utc, offset = _read_table()
    return _shift(t_utc, since=since_utc, by=offset)


def tai_to_utc(t_tai: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return the UTC of times in TAI; a leap second itself, 23:59:60, becomes 00:00:00 of the next day.

    Parameters
    ----------
    t_tai
        Times of any shape, from 1972 on.

    Returns
    -------
    datetime64[s] of the same shape

    Raises
    ------
    InputError
        If a time is before 1972.
    """
    since_utc, offset = _read_table()
    return _shift(t_tai, since=since_utc + offset, by=-offset)


@cache
def _read_table() -> tuple[NDArray[np.datetime64], NDArray[np.timedelta64]]:
    """Return when each offset between TAI and UTC began, in UTC, and the offsets."""
    import erfa

    table = erfa.leap_seconds.get()
    table = table[table["year"] >= FIRST_YEAR]
    months = (table["year"] - 1970) * 12 + table["month"] - 1
    return months.astype("datetime64[M]").astype("datetime64[s]"), table["tai_utc"].astype("timedelta64[s]")


def _shift(
    times: NDArray[np.datetime64], *, since: NDArray[np.datetime64], by: NDArray[np.timedelta64]
) -> NDArray[np.datetime64]:
    times = np.asarray(times, "datetime64[s]")
    which = np.searchsorted(since, times, side="right") - 1
    if np.any(which < 0) or np.any(np.isnat(times)):
        found = "not a time" if np.any(np.isnat(times)) else str(times.min())
        raise InputError("time", expected=f"{FIRST_YEAR} or later", found=found, fix="correct the time")
    return times + by[which]
