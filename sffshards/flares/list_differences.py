"""Where flare lists disagree: flares that one has and another lacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sffshards.domain.task import GoesClass
from sffshards.flares.flare_lists import FlareList
from sffshards.flares.flare_rows import Flare

MAX_SHIFT = timedelta(minutes=30)
"""Longest time between the starts of a flare in two lists; lists differ by minutes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LackingFlare:
    """A flare of one list that another list lacks, though it covers the time."""

    source: str
    """Path of the list that has it."""
    flare: Flare
    lacking: str
    """Path of the list that lacks it."""
    instead: Flare | None
    """The flare that the other list has at that time: weaker, or of another region; None where it has none."""


def find_lacking_flares(lists: Sequence[FlareList], threshold: GoesClass) -> list[LackingFlare]:
    """Return the flares of at least a class that one list has and another lacks.

    A flare is in a list that has one of at least the class and of the same region within `MAX_SHIFT` of its start.
    Flares without a region, and before the first or after the last flare of the other list, are not compared.

    Parameters
    ----------
    lists
        Two or more lists.
    threshold
        The lowest class.
    """
    pairs = [(one, other) for one in lists for other in lists if one is not other]
    return [lacking for one, other in pairs for lacking in _compare(one, other, threshold)]


def _compare(one: FlareList, other: FlareList, threshold: GoesClass) -> Iterator[LackingFlare]:
    starts = [flare.start_utc for flare in other.flares]
    first, last = min(starts), max(starts)
    by_day: dict[int, list[Flare]] = defaultdict(list)
    for flare in other.flares:
        by_day[_day(flare.start_utc)].append(flare)
    for flare in one.flares:
        if flare.goes_class < threshold or flare.noaa_region is None or not first <= flare.start_utc <= last:
            continue
        day = _day(flare.start_utc)
        near = [
            candidate
            for number in (day - 1, day, day + 1)
            for candidate in by_day.get(number, ())
            if abs(candidate.start_utc - flare.start_utc) <= MAX_SHIFT
        ]
        if any(c.noaa_region == flare.noaa_region and c.goes_class >= threshold for c in near):
            continue
        yield LackingFlare(
            source=one.source,
            flare=flare,
            lacking=other.source,
            instead=min(near, key=lambda c: abs(c.start_utc - flare.start_utc), default=None),
        )


def _day(time: datetime) -> int:
    return time.toordinal()
