"""Flares put down to HARPs through their NOAA regions, and whether one came in a span around given times.

Shapes: n frames.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.flares.flare_records import Flare, FlareList, FlareTime, GoesClass, HarpMap
from sffshards.flares.leap_seconds import utc_to_tai

__all__ = ["FrameClock", "HarpFlares", "assign_flares", "has_flare", "is_covered"]


class FrameClock(StrEnum):
    """How the times of frames, which are TAI, are compared with those of flares, which are UTC."""

    AS_WRITTEN = "as-written"
    """Digit by digit, which is 34 to 37 s wrong: what the published lists follow from."""
    TAI = "tai"
    """The flares' times turned into TAI first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HarpFlares:
    """The times of flares from a class on, by HARP, on the clock that frames are compared on."""

    times: dict[int, NDArray[np.datetime64]]
    """By HARP, in ascending order, in whole seconds; only HARPs with flares."""
    known_harps: frozenset[int]
    """HARPs that the map has regions of; the others have no flares for want of knowledge."""
    threshold: GoesClass
    flare_time: FlareTime
    clock: FrameClock
    first: np.datetime64
    """When the list's first flare came, of any class, on the same clock."""
    last: np.datetime64
    """When its last flare came: what follows is not covered."""
    num_flares: int
    """Flares from the class on."""
    num_without_region: int
    """Of these, those of no known region."""
    num_without_peak: int
    """Of these, those without a peak time where that is what counts; they are left out."""


def assign_flares(
    flares: FlareList, harp_map: HarpMap, *, threshold: GoesClass, flare_time: FlareTime, clock: FrameClock
) -> HarpFlares:
    """Put flares down to the HARPs whose NOAA regions they came from.

    A HARP with several regions has the flares of all; a region in several HARPs gives its flares to each.

    Parameters
    ----------
    flares, harp_map
        From `read_flare_list` and `read_harp_map`.
    threshold
        The least class that counts; the published lists' is M1.0.
    flare_time
        Whether a flare counts when it starts, as in the published lists, or at its peak.
    clock
        How the times of frames are compared with those of flares.

    Raises
    ------
    InputError
        If the list has no column of regions.
    """
    if not flares.has_regions:
        raise InputError(
            flares.source,
            expected="a column of NOAA regions, such as noaa_ar or ar_noaanum",
            found="none, as in SWPC's xray-flares JSON, so that no flare can be put down to a HARP",
            fix="take a list with regions, such as HEK's",
        )
    strong = [flare for flare in flares.flares if flare.goes_class >= threshold]
    timed = [(flare, time) for flare in strong if (time := _time_of(flare, flare_time)) is not None]
    by_region: dict[int, list[np.datetime64]] = defaultdict(list)
    for (flare, _), time in zip(timed, _on_clock([time for _, time in timed], clock), strict=True):
        if flare.noaa_region is not None:
            by_region[flare.noaa_region].append(time)
    every = _on_clock([np.datetime64(flare.start_utc, "s") for flare in flares.flares], clock)
    times = {
        harp: np.sort(np.array(found, "datetime64[s]"))
        for harp, regions in harp_map.regions.items()
        if (found := [time for region in regions for time in by_region.get(region, [])])
    }
    return HarpFlares(
        times=times,
        known_harps=frozenset(harp_map.regions),
        threshold=threshold,
        flare_time=flare_time,
        clock=clock,
        first=every.min(),
        last=every.max(),
        num_flares=len(strong),
        num_without_region=flares.count_without_region(threshold),
        num_without_peak=len(strong) - len(timed),
    )


def has_flare(
    flares: HarpFlares,
    harps: NDArray[np.integer],
    times: NDArray[np.datetime64],
    *,
    after_hours: int | None,
    until_hours: int,
) -> NDArray[np.bool_]:
    """Say of each frame whether its HARP flared in ``(time + after_hours, time + until_hours]``.

    The label of a horizon of h hours is that of ``(0, h]``; persistence is ``(-h, 0]``.

    Parameters
    ----------
    flares
        From `assign_flares`.
    harps
        HARP numbers, shape (n,).
    times
        Of the frames, as their names have them, shape (n,).
    after_hours
        Where the span begins, itself not in it; None: it has no beginning.
    until_hours
        Where it ends, itself in it.

    Returns
    -------
    bool of shape (n,)
    """
    times = np.asarray(times, "datetime64[s]")
    found = np.zeros(len(times), np.bool_)
    for harp in np.unique(harps):
        events = flares.times.get(int(harp))
        if events is None:
            continue
        rows = np.flatnonzero(harps == harp)
        num_by_end = np.searchsorted(events, times[rows] + np.timedelta64(until_hours, "h"), side="right")
        num_before = (
            np.searchsorted(events, times[rows] + np.timedelta64(after_hours, "h"), side="right")
            if after_hours is not None
            else 0
        )
        found[rows] = num_by_end > num_before
    return found


def is_covered(flares: HarpFlares, times: NDArray[np.datetime64], *, horizon_hours: int) -> NDArray[np.bool_]:
    """Say of each time whether its horizon lies all between the first and the last flare of the list, of any class.

    Parameters
    ----------
    flares
        From `assign_flares`.
    times
        Of frames, as their names have them, shape (n,).
    horizon_hours
        How far ahead a label looks.

    Returns
    -------
    bool of shape (n,)
    """
    times = np.asarray(times, "datetime64[s]")
    return (times >= flares.first) & (times + np.timedelta64(horizon_hours, "h") <= flares.last)


def _time_of(flare: Flare, which: FlareTime) -> np.datetime64 | None:
    time = flare.start_utc if which is FlareTime.START else flare.peak_utc
    return None if time is None else np.datetime64(time, "s")


def _on_clock(t_utc: list[np.datetime64], clock: FrameClock) -> NDArray[np.datetime64]:
    times = np.array(t_utc, "datetime64[s]")
    return times if clock is FrameClock.AS_WRITTEN or not len(times) else utc_to_tai(times)
