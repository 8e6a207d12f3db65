"""What catalogues hold: flares and their classes, rows that could not be used, and the NOAA regions of HARPs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sffshards.domain.task import GoesClass

__all__ = ["Flare", "FlareList", "FlareTime", "HarpMap", "UnusedReason", "UnusedRow"]


class FlareTime(StrEnum):
    """Which time of a flare counts."""

    START = "start"
    PEAK = "peak"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flare:
    """A flare of a list."""

    start_utc: datetime
    """Naive, in UTC."""
    peak_utc: datetime | None
    """Naive, in UTC; None where the list has none."""
    goes_class: GoesClass
    noaa_region: int | None
    """Number of the active region, in full (11429, not 1429); None where the list has none."""
    line: int
    """Where it stands in its file: a line from 1, or in JSON the position of the entry from 1."""


class UnusedReason(StrEnum):
    """Why a row of a flare list could not be used."""

    NO_START = "no start time"
    TWO_DIGIT_YEAR = "a year of two digits"
    BAD_TIME = "a time that cannot be read"
    EARLY_TIME = "a time before 1972"
    """There are no such flares, as GOES measures since 1975, and no whole seconds between UTC and TAI."""
    NO_CLASS = "no class"
    BAD_CLASS = "a class that cannot be read"
    BAD_REGION = "a region that cannot be read"

    @property
    def is_blank(self) -> bool:
        """Whether the list merely does not say, as for events that have no X-ray class."""
        return self in (UnusedReason.NO_START, UnusedReason.NO_CLASS)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusedRow:
    """A row of a flare list that could not be used."""

    line: int
    reason: UnusedReason
    text: str
    """What stands there, cut to 60 characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlareList:
    """A flare list as read: what can be used, and what cannot."""

    source: str
    """Its path."""
    flares: tuple[Flare, ...]
    """In the order of the file."""
    unused: tuple[UnusedRow, ...]
    has_regions: bool
    """Whether the list has a column of regions; SWPC's JSON has none."""

    def count_unused(self) -> dict[UnusedReason, int]:
        """Count the rows that could not be used by reason, only those that occur."""
        counts = Counter(row.reason for row in self.unused)
        return {reason: counts[reason] for reason in UnusedReason if counts[reason]}


@dataclass(frozen=True, kw_only=True, slots=True)
class HarpMap:
    """Which NOAA active regions lie in which HARP."""

    source: str
    """Its path."""
    regions: dict[int, tuple[int, ...]]
    """NOAA numbers in ascending order, by HARP; every HARP has one or more."""
    repeated: tuple[int, ...]
    """HARPs that came on several lines with other regions; they have the regions of all of them."""
    without_region: tuple[int, ...]
    """HARPs that are listed with no region, or region 0."""
