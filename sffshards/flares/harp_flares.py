"""Flares attributed to HARPs through their NOAA regions, and which frames a flare follows or precedes.

Shapes: n frames.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError, format_count
from sffshards.domain.task import GoesClass
from sffshards.flares.flare_lists import FlareList
from sffshards.flares.flare_rows import Flare, FlareTime
from sffshards.flares.harp_map import HarpMap
from sffshards.flares.leap_seconds import utc_to_tai


class FrameClock(StrEnum):
    """How the times of frames, which are TAI, are compared with those of flares, which are UTC."""

    AS_WRITTEN = "as-written"
    """Compare digit by digit, 34 to 37 s off; the published lists are made this way."""
    TAI = "tai"
    """Convert the flares' times to TAI first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HarpFlares:
    """The times and classes of flares by HARP, on the clock that frames are compared on."""

    flares: FlareList
    """The flare list."""
    harp_map: HarpMap
    """The map that attributes its flares."""
    times: dict[int, NDArray[np.datetime64]]
    """Times of the flares of each HARP in ascending order, in whole seconds; only HARPs with flares."""
    fluxes: dict[int, NDArray[np.int64]]
    """Peak fluxes of the same flares in 1e-12 W/m2, in the same order."""
    peaks: dict[int, NDArray[np.datetime64]]
    """Peak times of the same flares, in the same order, on the same clock; the start where the list has no peak."""
    flare_time: FlareTime
    """Which time of a flare counts."""
    clock: FrameClock
    """The clock of all times."""
    first: np.datetime64
    """Time from which the list is complete, on the same clock: as stated, or that of its first flare of any class."""
    last: np.datetime64
    """Time to which the list is complete: as stated, or that of its last flare of any class."""

    def describe(self) -> dict[str, str]:
        """Return how flares are compared with frames, as plain values for records: time, clock and coverage."""
        return {
            "flare_time": str(self.flare_time),
            "clock": str(self.clock),
            "covers_from": str(self.first),
            "covers_until": str(self.last),
        }

    def knows(self, harp: int) -> bool:
        """Return whether the map lists a HARP; the flares of other HARPs are unknown."""
        return harp in self.harp_map.regions

    def require_known(self, harps: Iterable[int], *, where: object) -> None:
        """Check that the map lists some of the HARPs: otherwise nothing is known of their flares.

        Parameters
        ----------
        harps
            HARP numbers of frames.
        where
            The place of the frames.

        Raises
        ------
        InputError
            If it lists none of them.
        """
        numbers = {int(harp) for harp in harps}
        if numbers and not any(map(self.knows, numbers)):
            raise InputError(
                self.harp_map.source,
                expected=f"HARPs of the frames in {where}, such as {min(numbers)}",
                found=f"none of {format_count(len(numbers), 'HARP')}",
                fix="name the map that has them; it may be older than the frames, or of another series",
            )

    def explain_unknown(self, harps: NDArray[np.integer], times: NDArray[np.datetime64]) -> str | None:
        """Return for how many frames the flare history is unknown, why, and what helps; None if it is known for all.

        Parameters
        ----------
        harps
            HARP numbers, shape (n,).
        times
            Times of the frames, shape (n,).
        """
        unmapped = sum(not self.knows(harp) for harp in np.asarray(harps).tolist())
        early, late = int((times < self.first).sum()), int((times > self.last).sum())
        source, end = self.flares.source, str(self.last).replace("T", " ")
        reasons = [f"{unmapped:,} of a HARP that {self.harp_map.source} lacks"] if unmapped else []
        reasons += [f"{early:,} before {source} begins"] if early else []
        if late and self.flares.covers_until_utc is not None:
            reasons.append(f"{late:,} after {end}, to which {source} is complete")
        elif late:
            reasons.append(
                f"{late:,} after {end}, the last flare of {source}; if it is complete to a later time, state it in a "
                f"first line such as `# covers 2010-05-01 to 2026-11-25`"
            )
        return ", ".join(reasons) or None

    @property
    def is_matched(self) -> bool:
        """Whether any region of a flare is one of a HARP in the map."""
        return bool(self.times)

    def count_flares(self, threshold: GoesClass) -> int:
        """Return the number of flares of at least a class."""
        return len(self._strong(threshold))

    def count_without_region(self, threshold: GoesClass) -> int:
        """Return the number of flares of at least a class that no HARP gets because they have no region."""
        return sum(flare.noaa_region is None for flare in self._strong(threshold))

    def count_without_peak(self, threshold: GoesClass) -> int:
        """Return the number of flares of at least a class left out because their peak time counts and is unknown."""
        return sum(_time_of(flare, self.flare_time) is None for flare in self._strong(threshold))

    def _strong(self, threshold: GoesClass) -> list[Flare]:
        return [flare for flare in self.flares.flares if flare.goes_class >= threshold]


@dataclass(frozen=True, kw_only=True, slots=True)
class FlaresOfFrames:
    """The frames of a HARP, and its flares of at least a class in ascending order of time."""

    rows: NDArray[np.intp]
    """Positions of the frames."""
    came: NDArray[np.datetime64]
    """Times of the flares, shape (m,)."""
    known: NDArray[np.datetime64]
    """Times from which on the class of each flare is known, because it has peaked, shape (m,)."""
    fluxes: NDArray[np.int64]
    """Peak fluxes in 1e-12 W/m2, shape (m,)."""


def assign_flares(flares: FlareList, harp_map: HarpMap, *, flare_time: FlareTime, clock: FrameClock) -> HarpFlares:
    """Attribute flares to the HARPs whose NOAA regions they came from.

    A HARP with several regions gets the flares of all of them; the flares of a region in several HARPs count for each.

    Parameters
    ----------
    flares, harp_map
        From `read_flare_list` and `read_harp_map`.
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
            found="none, as in SWPC's xray-flares JSON, so that no flare can be attributed to a HARP",
            fix="use a list with regions, such as HEK's",
        )
    timed = [(flare, time) for flare in flares.flares if (time := _time_of(flare, flare_time)) is not None]
    peaks = _on_clock([np.datetime64(flare.peak_utc or flare.start_utc, "s") for flare, _ in timed], clock)
    by_region: dict[int, list[tuple[np.datetime64, int, np.datetime64]]] = defaultdict(list)
    for (flare, _), time, peak in zip(timed, _on_clock([time for _, time in timed], clock), peaks, strict=True):
        if flare.noaa_region is not None:
            by_region[flare.noaa_region].append((time, flare.goes_class.flux_pw_per_m2, peak))
    by_harp = {
        harp: sorted(found)
        for harp, regions in harp_map.regions.items()
        if (found := [event for region in regions for event in by_region.get(region, [])])
    }
    starts = [flare.start_utc for flare in flares.flares]
    ends = flares.covers_from_utc or min(starts), flares.covers_until_utc or max(starts)
    first, last = _on_clock([np.datetime64(time, "s") for time in ends], clock)
    return HarpFlares(
        flares=flares,
        harp_map=harp_map,
        times={harp: np.array([time for time, _, _ in found], "datetime64[s]") for harp, found in by_harp.items()},
        fluxes={harp: np.array([flux for _, flux, _ in found], np.int64) for harp, found in by_harp.items()},
        peaks={harp: np.array([peak for _, _, peak in found], "datetime64[s]") for harp, found in by_harp.items()},
        flare_time=flare_time,
        clock=clock,
        first=first,
        last=last,
    )


def has_flare(
    flares: HarpFlares,
    harps: NDArray[np.integer],
    times: NDArray[np.datetime64],
    *,
    threshold: GoesClass,
    after_hours: int | None,
    until_hours: int,
) -> NDArray[np.bool_]:
    """Return for each frame whether its HARP flared in ``(time + after_hours, time + until_hours]``.

    A label of a horizon of h hours takes ``(0, h]``; persistence takes ``(-h, 0]``.

    Parameters
    ----------
    flares
        From `assign_flares`.
    harps
        HARP numbers, shape (n,).
    times
        Times of the frames as in their names, shape (n,).
    threshold
        The lowest class that counts.
    after_hours
        Start of the window, which is excluded; None: the window has no start.
    until_hours
        End of the window, which is included.

    Returns
    -------
    bool of shape (n,)
    """
    times = np.asarray(times, "datetime64[s]")
    found = np.zeros(len(times), np.bool_)
    for of in pair_with_flares(flares, harps, threshold=threshold):
        num_by_end = np.searchsorted(of.came, times[of.rows] + np.timedelta64(until_hours, "h"), side="right")
        num_before = (
            np.searchsorted(of.came, times[of.rows] + np.timedelta64(after_hours, "h"), side="right")
            if after_hours is not None
            else 0
        )
        found[of.rows] = num_by_end > num_before
    return found


def has_known_flare(
    flares: HarpFlares,
    harps: NDArray[np.integer],
    times: NDArray[np.datetime64],
    *,
    threshold: GoesClass,
    within_hours: int | None,
) -> NDArray[np.bool_]:
    """Return for each frame whether its HARP had a flare whose class was known by then, because it had peaked.

    Parameters
    ----------
    flares, harps, times, threshold
        As of `has_flare`.
    within_hours
        The flare came in ``(time - within_hours, time]``; None: at any time before.

    Returns
    -------
    bool of shape (n,)
    """
    times = np.asarray(times, "datetime64[s]")
    found = np.zeros(len(times), np.bool_)
    for of in pair_with_flares(flares, harps, threshold=threshold):
        known = of.known <= times[of.rows, None]
        if within_hours is not None:
            known &= of.came > times[of.rows, None] - np.timedelta64(within_hours, "h")
        found[of.rows] = known.any(axis=1)
    return found


def pair_with_flares(
    flares: HarpFlares, harps: NDArray[np.integer], *, threshold: GoesClass
) -> Iterator[FlaresOfFrames]:
    """Yield, for each HARP with flares of a class, its frames and these flares.

    Parameters
    ----------
    flares
        From `assign_flares`.
    harps
        HARP numbers, shape (n,).
    threshold
        The lowest class that counts.
    """
    for harp in np.unique(harps).tolist():
        if harp in flares.times:
            strong = flares.fluxes[harp] >= threshold.flux_pw_per_m2
            came = flares.times[harp][strong]
            yield FlaresOfFrames(
                rows=np.flatnonzero(harps == harp),
                came=came,
                known=np.maximum(came, flares.peaks[harp][strong]),
                fluxes=flares.fluxes[harp][strong],
            )


def _time_of(flare: Flare, which: FlareTime) -> np.datetime64 | None:
    time = flare.start_utc if which is FlareTime.START else flare.peak_utc
    return None if time is None else np.datetime64(time, "s")


def _on_clock(t_utc: list[np.datetime64], clock: FrameClock) -> NDArray[np.datetime64]:
    times = np.array(t_utc, "datetime64[s]")
    return times if clock is FrameClock.AS_WRITTEN or not len(times) else utc_to_tai(times)
