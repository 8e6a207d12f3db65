"""TAI and UTC: HMI names frames by International Atomic Time, flare lists are in Coordinated Universal Time.

Since 1972 the two differ by whole seconds, one more after each leap second: IERS Bulletin C
(https://www.iers.org/IERS/EN/Publications/Bulletins/bulletins.html), which announces them half a year ahead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError

__all__ = ["FIRST_YEAR", "tai_to_utc", "utc_to_tai"]

FIRST_YEAR = 1972
"""From when on UTC and TAI differ by whole seconds."""

_DATES = """
1972-01-01 1972-07-01 1973-01-01 1974-01-01 1975-01-01 1976-01-01 1977-01-01 1978-01-01 1979-01-01 1980-01-01
1981-07-01 1982-07-01 1983-07-01 1985-07-01 1988-01-01 1990-01-01 1991-01-01 1992-07-01 1993-07-01 1994-07-01
1996-01-01 1997-07-01 1999-01-01 2006-01-01 2009-01-01 2012-07-01 2015-07-01 2017-01-01
"""
_SINCE_UTC = np.array(_DATES.split(), "datetime64[s]")
"""When TAI less UTC became 10 s, and one more each time. No leap second has been announced since the last."""
_TAI_LESS_UTC = (10 + np.arange(len(_SINCE_UTC))).astype("timedelta64[s]")


def utc_to_tai(t_utc: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Turn times in UTC into TAI.

    Parameters
    ----------
    t_utc
        Of any shape, from 1972 on.

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
    return _shift(t_utc, since=_SINCE_UTC, by=_TAI_LESS_UTC)


def tai_to_utc(t_tai: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Turn times in TAI into UTC; a leap second itself, 23:59:60, becomes 00:00:00 of the next day.

    Parameters
    ----------
    t_tai
        Of any shape, from 1972 on.

    Returns
    -------
    datetime64[s] of the same shape

    Raises
    ------
    InputError
        If a time is before 1972.
    """
    return _shift(t_tai, since=_SINCE_UTC + _TAI_LESS_UTC, by=-_TAI_LESS_UTC)


def _shift(
    times: NDArray[np.datetime64], *, since: NDArray[np.datetime64], by: NDArray[np.timedelta64]
) -> NDArray[np.datetime64]:
    times = np.asarray(times, "datetime64[s]")
    which = np.searchsorted(since, times, side="right") - 1
    if np.any(which < 0) or np.any(np.isnat(times)):
        found = "not a time" if np.any(np.isnat(times)) else str(times.min())
        raise InputError("time", expected=f"{FIRST_YEAR} or later", found=found, fix="correct the time")
    return times + by[which]
