"""Flare lists: their records, and reading them from the tables and JSON of SWPC, HEK (through sunpy) and others."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import InputError
from sffshards.base.json_records import JsonFormat, decode_json
from sffshards.domain.task import GoesClass
from sffshards.flares.leap_seconds import FIRST_YEAR

COLUMNS = {
    "start": ("start_time", "event_starttime", "begin_time", "start"),
    "peak": ("peak_time", "event_peaktime", "max_time", "peak"),
    "class": ("goes_class", "fl_goescls", "max_class", "flare_class", "label", "class"),
    "region": ("noaa_ar", "ar_noaanum", "noaa_active_region", "noaa_region", "region"),
}
"""Names of the columns that are read, the first of each that exists; start and class are required."""

MAX_UNREADABLE = 0.05
"""Largest share of rows that may be unreadable; with more, the file is likely to be of another kind."""

_TIME = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[T _](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d*)?)?(?:Z|\+00:?00)?", re.ASCII
)
_TWO_DIGIT_YEAR = re.compile(r"\d{1,2}[-/.][\w]{1,3}[-/.]\d{1,2}\D.*|\d{6}\D.*", re.ASCII)
_BLANKS = frozenset({"", "-", "--", "0", "0.0", "nan", "nat", "none", "null", "unk", "unknown"})
_FIRST_WITH_LEADING_ONE = datetime(2002, 6, 15)
"""Day of region 10000; since then many lists omit the first digit."""

_JSON = JsonFormat(expected="JSON", fix="download the file again", error=InputError)

_Row = tuple[int, Mapping[str, str]]
"""Line of a row, and its fields by column; one that is missing is blank."""


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

    NO_START = "no start time"
    TWO_DIGIT_YEAR = "a year of two digits"
    BAD_TIME = "a time that cannot be read"
    EARLY_TIME = "a time before 1972"
    """GOES has measured since 1975, and before 1972 UTC and TAI do not differ by whole seconds."""
    NO_CLASS = "no class"
    BAD_CLASS = "a class that cannot be read"
    BAD_REGION = "a region that cannot be read"

    @property
    def is_blank(self) -> bool:
        """Whether the field is blank, as for events without an X-ray class."""
        return self in (UnusedReason.NO_START, UnusedReason.NO_CLASS)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusedRow:
    """A row of a flare list that could not be used."""

    line: int
    reason: UnusedReason
    text: str
    """Content of the field, cut to 60 characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlareList:
    """A flare list: the flares that can be used, and the rows that cannot."""

    source: str
    """Path of the list."""
    flares: tuple[Flare, ...]
    """Usable flares in the order of the file."""
    unused: tuple[UnusedRow, ...]
    """Rows that could not be used."""
    has_regions: bool
    """Whether the list has a column of regions; SWPC's JSON has none."""

    def count_unused(self) -> dict[UnusedReason, int]:
        """Return the number of unusable rows for each reason that occurs."""
        counts = Counter(row.reason for row in self.unused)
        return {reason: counts[reason] for reason in UnusedReason if counts[reason]}


class _UnusableError(Exception):
    """A row that cannot be used, and why."""

    def __init__(self, reason: UnusedReason, text: str) -> None:
        self.reason, self.text = reason, text
        super().__init__(reason)


def read_flare_list(path: Path) -> FlareList:
    """Read a flare list.

    The file is a table of comma-separated values with a line of column names, or a JSON list of objects, such as
    SWPC's ``xray-flares-7-day.json`` or HEK's ``result``. `COLUMNS` has the known column names; other columns are
    ignored. A row whose times, class or region cannot be used is left out and listed. A region that is blank or 0 is
    unknown; one of four digits lacks its leading 1. Times are in UTC, with a year of four digits first, from 1972 on.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If there is no column of starts or of classes, no usable row, or too many unreadable ones (`MAX_UNREADABLE`).
    StorageError
        If the file cannot be read.
    """
    text = read_text(path).removeprefix("\ufeff")
    is_json = text.lstrip()[:1] in ("[", "{")
    columns, rows = _open_json(text, path) if is_json else _open_table(text, path)
    names = _choose_columns(columns, path)
    flares, unused = [], []
    for line, row in rows:
        try:
            flares.append(_parse_row(line, {role: row.get(name) or "" for role, name in names.items()}))
        except _UnusableError as error:
            unused.append(UnusedRow(line=line, reason=error.reason, text=error.text[:60]))
    read = FlareList(source=str(path), flares=tuple(flares), unused=tuple(unused), has_regions="region" in names)
    _check_readable(read)
    return read


def _check_readable(read: FlareList) -> None:
    unreadable = [row for row in read.unused if not row.reason.is_blank]
    num_rows = len(read.flares) + len(read.unused)
    if read.flares and len(unreadable) <= MAX_UNREADABLE * num_rows:
        return
    worst = next(iter([*unreadable, *read.unused]), None)
    detail = f", first on line {worst.line}: {worst.reason} ({worst.text!r})" if worst else ""
    raise InputError(
        read.source,
        expected=f"flares, and at most {MAX_UNREADABLE:.0%} of the rows that cannot be read",
        found=f"{len(read.flares):,} flares and {len(unreadable):,} such rows of {num_rows:,}{detail}",
        fix="write times in UTC as 2012-03-07 00:24, classes as X5.4 and regions as 11429",
    )


def _open_table(text: str, path: Path) -> tuple[list[str], list[_Row]]:
    # Comment lines may precede the names; counting them keeps line numbers right.
    lines = text.splitlines()
    num_comments = next((i for i, line in enumerate(lines) if line.strip() and line[0] != "#"), len(lines))
    reader = csv.DictReader(io.StringIO("\n".join(lines[num_comments:])), strict=True)
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        return list(reader.fieldnames), [(num_comments + reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InputError(
            f"{path}:{num_comments + reader.reader.line_num}",
            expected="comma-separated values",
            found=str(error),
            fix="check that this is the right file",
        ) from None


def _open_json(text: str, path: Path) -> tuple[list[str], list[_Row]]:
    value = decode_json(text, where=path, expects=_JSON)
    entries = value.get("result") if isinstance(value, dict) else value
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            path, expected="a list of objects", found="other JSON", fix="check that this is the right file"
        )
    texts = [{name: str(value) for name, value in entry.items() if value is not None} for entry in entries]
    return list(dict.fromkeys(name for entry in entries for name in entry)), list(enumerate(texts, 1))


def _choose_columns(columns: list[str], path: Path) -> dict[str, str]:
    """Return the column of each role that the list has."""
    known = {column.lower(): column for column in columns}
    found = {role: known[name] for role, names in COLUMNS.items() for name in reversed(names) if name in known}
    for role in ("start", "class"):
        if role not in found:
            raise InputError(
                path,
                expected=f"a column of the {role}, one of {', '.join(COLUMNS[role])}",
                found=", ".join(columns)[:200] or "no columns",
                fix="rename the column, or check that this is a flare list",
            )
    return found


def _parse_row(line: int, row: Mapping[str, str]) -> Flare:
    start = _parse_time(row["start"])
    if start is None:
        raise _UnusableError(UnusedReason.NO_START, row["start"])
    return Flare(
        start_utc=start,
        peak_utc=_parse_time(row.get("peak", "")),
        goes_class=_parse_class(row["class"]),
        noaa_region=_parse_region(row.get("region", ""), start),
        line=line,
    )


def _parse_time(text: str) -> datetime | None:
    text = text.strip()
    if text.lower() in _BLANKS:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        two_digits = _TWO_DIGIT_YEAR.fullmatch(text)
        raise _UnusableError(UnusedReason.TWO_DIGIT_YEAR if two_digits else UnusedReason.BAD_TIME, text)
    try:
        time = datetime(*(int(number or 0) for number in match.groups()))  # type: ignore[arg-type]  # six of them
    except ValueError:
        raise _UnusableError(UnusedReason.BAD_TIME, text) from None
    if time.year < FIRST_YEAR:
        raise _UnusableError(UnusedReason.EARLY_TIME, text)
    return time


def _parse_class(text: str) -> GoesClass:
    if text.strip().lower() in _BLANKS:
        raise _UnusableError(UnusedReason.NO_CLASS, text)
    try:
        return GoesClass.parse(text)
    except InputError:
        raise _UnusableError(UnusedReason.BAD_CLASS, text) from None


def _parse_region(text: str, start: datetime) -> int | None:
    text = text.strip().removesuffix(".0")
    if text.lower() in _BLANKS:
        return None
    if not re.fullmatch(r"\d{4,5}", text, re.ASCII):
        raise _UnusableError(UnusedReason.BAD_REGION, text)
    number = int(text)
    return number + 10_000 if number < 10_000 and start >= _FIRST_WITH_LEADING_ONE else number
