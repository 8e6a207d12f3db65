"""One row of a flare list: its fields as a flare, or the reason why they cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sffshards.base.csv_tables import is_missing
from sffshards.base.errors import InputError
from sffshards.domain.task import GoesClass
from sffshards.domain.times import latest_time
from sffshards.flares.leap_seconds import FIRST_YEAR

_TIME = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[T _](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d*)?)?(?:Z|\+00:?00)?", re.ASCII
)
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}", re.ASCII)
_TWO_DIGIT_YEAR = re.compile(r"\d{1,2}[-/.][\w]{1,3}[-/.]\d{1,2}\D.*|\d{6}\D.*", re.ASCII)
FIRST_WITH_LEADING_ONE = datetime(2002, 6, 15)
"""Day of region 10000; since then many lists omit the first digit."""

MAX_RISE = timedelta(hours=12)
"""Longest time from the start of a flare to its peak; those of the longest flares on record are below 11 hours."""
MAX_DURATION = timedelta(days=1)
"""Longest time from the start of a flare to its end; the longest on record are below a day."""


class FlareTime(StrEnum):
    """Which time of a flare counts."""

    START = "start"
    PEAK = "peak"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flare:
    """One flare of a flare list."""

    start_utc: datetime
    """Start time, naive, in UTC."""
    peak_utc: datetime | None
    """Peak time, naive, in UTC; None where the list has none."""
    goes_class: GoesClass
    noaa_region: int | None
    """Number of the active region, in full (11429, not 1429); None where the list has none."""
    line: int
    """Line of the file, or position of the entry in JSON, from 1."""


class UnusedReason(StrEnum):
    """Why a row of a flare list could not be used."""

    FEW_FIELDS = "fewer fields than columns"
    MANY_FIELDS = "more fields than columns"
    NO_START = "no start time"
    TWO_DIGIT_YEAR = "a year of two digits"
    BAD_TIME = "a time that cannot be read"
    EARLY_TIME = "a time before 1972"
    """GOES has measured since 1975, and before 1972 UTC and TAI do not differ by whole seconds."""
    FUTURE_TIME = "a time in the future"
    EARLY_PEAK = "a peak before the start"
    LATE_PEAK = "a peak more than 12 hours after the start"
    BAD_END = "an end before the peak, or more than a day after the start"
    NO_CLASS = "no class"
    BAD_CLASS = "a class that cannot be read"
    BAD_REGION = "a region that cannot be read"

    @property
    def is_blank(self) -> bool:
        """Whether the class is blank, as for events without an X-ray class and in blank rows."""
        return self is UnusedReason.NO_CLASS


class UnusableError(Exception):
    """A row that cannot be used, and why."""

    def __init__(self, reason: UnusedReason, text: str) -> None:
        self.reason, self.text = reason, text
        super().__init__(reason)


def parse_coverage_time(text: str, *, where: object) -> datetime:
    """Return a time to which a flare list is complete, in UTC; a date alone is its start.

    Raises
    ------
    InputError
        If it is no time, or in the future.

    Examples
    --------
    >>> parse_coverage_time("2012-03-08", where="flares.csv:1")
    datetime.datetime(2012, 3, 8, 0, 0)
    """
    text = text.strip()
    try:
        time = _parse_time(f"{text} 00:00" if _DATE.fullmatch(text) else text, latest_time())
    except UnusableError as error:
        time, found = None, f"{text[:40]!r}, {error.reason}"
    else:
        found = repr(text[:40])
    if time is None:
        fix = "write it in UTC, such as 2012-03-08 or 2012-03-08 06:00"
        raise InputError(where, expected="the time up to which the list is complete", found=found, fix=fix)
    return time


def complete_region(number: int) -> int:
    """Return the full number of a NOAA region since 2002, whose leading 1 many lists omit.

    Examples
    --------
    >>> complete_region(1429), complete_region(11429)
    (11429, 11429)
    """
    return number + 10_000 if number < 10_000 else number


def parse_flare(line: int, row: Mapping[str, str], *, latest: datetime) -> tuple[Flare, bool]:
    """Return the flare of a row, and whether its peak is taken as of the day after; raises `UnusableError`.

    Parameters
    ----------
    line
        Line of the row.
    row
        Fields by role: start and class, and where there are any, peak, end and region.
    latest
        Time in UTC after which a time is in the future.
    """
    start = _parse_time(row["start"], latest)
    if start is None:
        raise UnusableError(UnusedReason.NO_CLASS if _is_blank(row["class"]) else UnusedReason.NO_START, row["start"])
    peak, is_moved = _choose_peak(start, _parse_time(row.get("peak", ""), latest), row.get("peak", ""))
    _check_end(row.get("end", ""), start=start, peak=peak)
    flare = Flare(
        start_utc=start,
        peak_utc=peak,
        goes_class=_parse_class(row["class"]),
        noaa_region=_parse_region(row.get("region", ""), start),
        line=line,
    )
    return flare, is_moved


def _choose_peak(start: datetime, peak: datetime | None, text: str) -> tuple[datetime | None, bool]:
    """Return the peak, on the day after its date if only that fits the start, and whether it was moved."""
    if peak is None or start <= peak <= start + MAX_RISE:
        return peak, False
    day_after = peak + timedelta(days=1)
    if peak.date() == start.date() and start <= day_after <= start + MAX_RISE:
        return day_after, True
    raise UnusableError(UnusedReason.EARLY_PEAK if peak < start else UnusedReason.LATE_PEAK, text)


def _check_end(text: str, *, start: datetime, peak: datetime | None) -> None:
    """Check an end, also as of the day after; one that cannot be read is not used, and no fault of the row."""
    try:
        end = _parse_time(text, datetime.max)
    except UnusableError:
        return
    ends = [] if end is None else [end, end + timedelta(days=1)] if end.date() == start.date() else [end]
    if ends and not any((peak or start) <= time <= start + MAX_DURATION for time in ends):
        raise UnusableError(UnusedReason.BAD_END, text)


def _parse_time(text: str, latest: datetime) -> datetime | None:
    text = text.strip()
    if _is_blank(text):
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        two_digits = _TWO_DIGIT_YEAR.fullmatch(text)
        raise UnusableError(UnusedReason.TWO_DIGIT_YEAR if two_digits else UnusedReason.BAD_TIME, text)
    try:
        time = datetime(*(int(number or 0) for number in match.groups()))  # type: ignore[arg-type]  # six of them
    except ValueError:
        raise UnusableError(UnusedReason.BAD_TIME, text) from None
    if time.year < FIRST_YEAR:
        raise UnusableError(UnusedReason.EARLY_TIME, text)
    if time > latest:
        raise UnusableError(UnusedReason.FUTURE_TIME, text)
    return time


def _parse_class(text: str) -> GoesClass:
    if _is_blank(text):
        raise UnusableError(UnusedReason.NO_CLASS, text)
    try:
        return GoesClass.parse(text)
    except InputError:
        raise UnusableError(UnusedReason.BAD_CLASS, text) from None


def _parse_region(text: str, start: datetime) -> int | None:
    text = re.sub(r"\.0+$", "", text.strip())
    if _is_blank(text):
        return None
    if not re.fullmatch(r"\d{4,5}", text, re.ASCII):
        raise UnusableError(UnusedReason.BAD_REGION, text)
    return complete_region(int(text)) if start >= FIRST_WITH_LEADING_ONE else int(text)


def _is_blank(text: str) -> bool:
    return is_missing(text) or text.strip() in ("0", "0.0", "-1", "-1.0")
