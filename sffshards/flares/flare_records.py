"""What catalogues hold: flares and their classes, rows that could not be used, and the NOAA regions of HARPs."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sffshards.base.errors import InputError

__all__ = ["Flare", "FlareList", "FlareTime", "GoesClass", "HarpMap", "UnusedReason", "UnusedRow"]

_CLASS = re.compile(r"([ABCMX])(\d{1,3}(?:\.\d{1,3})?)", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class GoesClass:
    """The class of a flare by its peak X-ray flux at 0.1 to 0.8 nm, as GOES measures it; ordered by that flux."""

    flux_pw_per_m2: int
    """In 1e-12 W/m2, so that M1.0 is 10,000,000: whole numbers, which compare exactly."""

    def __post_init__(self) -> None:
        if self.flux_pw_per_m2 <= 0:
            raise ValueError(f"flux_pw_per_m2 must be above 0, got {self.flux_pw_per_m2}")

    @classmethod
    def parse(cls, text: str, *, where: object = "class") -> GoesClass:
        """Parse a letter and a number, such as ``M1.0``.

        Raises
        ------
        InputError
            If the text is not of that form.

        Examples
        --------
        >>> GoesClass.parse("C10.0") == GoesClass.parse("M1.0") < GoesClass.parse("X2")
        True
        """
        match = _CLASS.fullmatch(text.strip().upper())
        thousandths = round(float(match[2]) * 1000) if match else 0
        if match is None or not thousandths:
            raise InputError(
                where, expected="a class such as M1.0", found=repr(text[:40]), fix="give a letter of ABCMX and a number"
            )
        # A is 1e-8 W/m2, and each further letter ten times as much.
        return cls(flux_pw_per_m2=thousandths * 10 ** (1 + "ABCMX".index(match[1])))

    def __str__(self) -> str:
        power = min(max(len(str(self.flux_pw_per_m2)) - 5, 0), 4)
        return f"{'ABCMX'[power]}{self.flux_pw_per_m2 / 10 ** (power + 4):.1f}"


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

    def count_without_region(self, threshold: GoesClass) -> int:
        """Count the flares from a class on that no region is known of, so that no HARP has them."""
        return sum(flare.noaa_region is None and flare.goes_class >= threshold for flare in self.flares)


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
