"""Flare lists from files: the tables and JSON in which SWPC, HEK (through sunpy) and others give them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import InputError
from sffshards.domain.task import GoesClass
from sffshards.flares.flare_records import Flare, FlareList, UnusedReason, UnusedRow
from sffshards.flares.leap_seconds import FIRST_YEAR

__all__ = ["COLUMNS", "MAX_UNREADABLE", "read_flare_list"]

COLUMNS = {
    "start": ("start_time", "event_starttime", "begin_time", "start"),
    "peak": ("peak_time", "event_peaktime", "max_time", "peak"),
    "class": ("goes_class", "fl_goescls", "max_class", "flare_class", "label", "class"),
    "region": ("noaa_ar", "ar_noaanum", "noaa_active_region", "noaa_region", "region"),
}
"""Names of the columns that are read, the first that is there of each; start and class must be."""

MAX_UNREADABLE = 0.05
"""Of a list's rows, how many may hold what cannot be read; with more it is likely to be another kind of file."""

_TIME = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[T _](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d*)?)?(?:Z|\+00:?00)?", re.ASCII
)
_TWO_DIGIT_YEAR = re.compile(r"\d{1,2}[-/.][\w]{1,3}[-/.]\d{1,2}\D.*|\d{6}\D.*", re.ASCII)
_BLANKS = frozenset({"", "-", "--", "0", "0.0", "nan", "nat", "none", "null", "unk", "unknown"})
_FIRST_WITH_LEADING_ONE = datetime(2002, 6, 15)
"""Region 10000 came on this day; since then many lists leave out the first digit."""

_Row = tuple[int, Mapping[str, str]]


class _UnusableError(Exception):
    """A row that cannot be used, and why."""

    def __init__(self, reason: UnusedReason, text: str) -> None:
        self.reason, self.text = reason, text
        super().__init__(reason)


def read_flare_list(path: Path) -> FlareList:
    """Read a flare list.

    Understood are tables of comma-separated values with a line of column names, and JSON lists of objects, such as
    SWPC's ``xray-flares-7-day.json`` or HEK's ``result``; `COLUMNS` has the names that are known, others are passed
    over. A row whose times, class or region cannot be used is set aside and listed. A region that is blank or 0 is not
    known; of four digits, it lacks its leading 1. Times are UTC, year first, the year in four digits, from
    1972 on.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If it has no column of starts or of classes, no row that can be used, or too many (`MAX_UNREADABLE`) that hold
        what cannot be read.
    StorageError
        If it cannot be read.
    """
    text = read_text(path).removeprefix("\ufeff")
    is_json = text.lstrip()[:1] in ("[", "{")
    columns, rows = _open_json(text, path) if is_json else _open_table(text, path)
    names = _choose_columns(columns, path)
    flares, unused, with_peaks = [], [], "peak" in names
    for line, row in rows:
        try:
            flares.append(_parse_row(line, {role: row[name] for role, name in names.items()}, with_peaks=with_peaks))
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
        fix="give times in UTC as 2012-03-07 00:24, classes as X5.4 and regions as 11429",
    )


def _open_table(text: str, path: Path) -> tuple[list[str], Iterator[_Row]]:
    # Lines before the names may be remarks; a count of them keeps line numbers right.
    lines = text.splitlines()
    num_remarks = next((i for i, line in enumerate(lines) if line.strip() and line[0] != "#"), len(lines))
    reader = csv.reader(io.StringIO("\n".join(lines[num_remarks:])), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        fields = [(num_remarks + reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(
            f"{path}:{num_remarks + reader.line_num}",
            expected="comma-separated values",
            found=str(error),
            fix="check that this is the right file",
        ) from None
    width = len(columns)
    return columns, ((line, dict(zip(columns, [*row, *[""] * width][:width], strict=True))) for line, row in fields)


def _open_json(text: str, path: Path) -> tuple[list[str], Iterator[_Row]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # json gives up numbers of thousands of digits with the former
        fix = "fetch the file again"
        raise InputError(path, expected="JSON", found=f"none: {error}", fix=fix) from None
    entries = value.get("result") if isinstance(value, dict) else value
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            path, expected="a list of objects", found="other JSON", fix="check that this is the right file"
        )
    columns = list(dict.fromkeys(name for entry in entries for name in entry))
    return columns, (
        (number, {name: "" if entry.get(name) is None else str(entry[name]) for name in columns})
        for number, entry in enumerate(entries, 1)
    )


def _choose_columns(columns: list[str], path: Path) -> dict[str, str]:
    """Give the column of each role that the list has."""
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


def _parse_row(line: int, row: Mapping[str, str], *, with_peaks: bool) -> Flare:
    start = _parse_time(row["start"])
    if start is None:
        raise _UnusableError(UnusedReason.NO_START, row["start"])
    return Flare(
        start_utc=start,
        peak_utc=_parse_time(row["peak"]) if with_peaks else None,
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
