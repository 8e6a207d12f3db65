"""TAI and UTC: HMI names frames by International Atomic Time, flare lists are in Coordinated Universal Time.

Since 1972 the two differ by whole seconds, one more after each leap second: IERS Bulletin C
(https://www.iers.org/IERS/EN/Publications/Bulletins/bulletins.html), which announces them half a year ahead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sffshards.errors import InputError

__all__ = ["tai_to_utc", "utc_to_tai"]

_SINCE_UTC = np.array(
    ["1999-01-01", "2006-01-01", "2009-01-01", "2012-07-01", "2015-07-01", "2017-01-01"], "datetime64[s]"
)
_TAI_LESS_UTC = np.array([32, 33, 34, 35, 36, 37]).astype("timedelta64[s]")
"""TAI less UTC since these dates: Bulletins C 16, 30, 36, 43, 49 and 52. No leap second has been announced since."""


def utc_to_tai(t_utc: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Turn times in UTC into TAI.

    Parameters
    ----------
    t_utc
        Of any shape, from 1999 on.

    Returns
    -------
    datetime64[s] of the same shape

    Raises
    ------
    InputError
        If a time is before 1999.

    Examples
    --------
    >>> utc_to_tai(np.array(["2012-06-30T23:59:59", "2012-07-01T00:00:00"], "datetime64[s]")).astype(str).tolist()
    ['2012-07-01T00:00:33', '2012-07-01T00:00:35']
    """
    return _shift(t_utc, since=_SINCE_UTC, by=_TAI_LESS_UTC)


def tai_to_utc(t_tai: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Turn times in TAI into UTC; a leap second itself, 23:59:60, becomes 00:00:00 of the next day.

    Parameters
    ----------
    t_tai
        Of any shape, from 1999 on.

    Returns
    -------
    datetime64[s] of the same shape

    Raises
    ------
    InputError
        If a time is before 1999.
    """
    return _shift(t_tai, since=_SINCE_UTC + _TAI_LESS_UTC, by=-_TAI_LESS_UTC)


def _shift(
    times: NDArray[np.datetime64], *, since: NDArray[np.datetime64], by: NDArray[np.timedelta64]
) -> NDArray[np.datetime64]:
    times = np.asarray(times, "datetime64[s]")
    which = np.searchsorted(since, times, side="right") - 1
    if np.any(which < 0) or np.any(np.isnat(times)):
        found = "not a time" if np.any(np.isnat(times)) else str(times.min())
        raise InputError("time", expected="1999 or later", found=found, fix="correct the time")
    return times + by[which]
