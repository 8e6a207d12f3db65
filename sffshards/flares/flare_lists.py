"""Flare lists: their records, and reading them from the tables and JSON of SWPC, HEK (through sunpy) and others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sffshards.base.csv_tables import check_rows, split_csv
from sffshards.base.errors import InputError, format_count
from sffshards.base.file_reading import read_text, split_lines
from sffshards.base.json_records import JsonFormat, decode_json
from sffshards.domain.times import latest_time
from sffshards.flares.flare_rows import Flare, UnusableError, UnusedReason, parse_coverage_time, parse_flare

COLUMNS = {
    "start": ("start_time", "event_starttime", "begin_time", "start"),
    "peak": ("peak_time", "event_peaktime", "max_time", "peak"),
    "end": ("end_time", "event_endtime", "end"),
    "class": ("goes_class", "fl_goescls", "max_class", "flare_class", "label", "class"),
    "region": ("noaa_ar", "ar_noaanum", "noaa_active_region", "noaa_region", "region"),
}
"""Names of the columns that are read, the first of each that exists; start and class are required."""

MAX_UNREADABLE = 0.05
"""Largest share of rows that may be unreadable; with more, the file is likely to be of another kind."""

_JSON = JsonFormat(expected="JSON", fix="check that the file is whole, and that it is a flare list", error=InputError)
_JSON_LINES = "join them to one list, as with `jq -s .`"
_NO_NUMBER = re.compile(r"(?<=[:,\[])\s*-?(?:NaN|Infinity)(?=\s*[,\]}])")
"""What Python writes to JSON for a missing number, though JSON has no such value."""
_CUT_MARKS = ("overmax", "truncated", "hasmore", "next", "nextpage")
"""Names with which JSON states that it is one page of several: HEK's ``overmax``, and those of other services."""

_COUNTS = ("total", "count", "totalcount", "numtotal", "nummatched", "numbermatched", "totalresults")
"""Names of the number of all flares; that of a page is lower."""
_PAGES = ("pages", "numpages", "totalpages", "pagecount")

_COVERS = re.compile(r"#\s*covers\s+(.+?)\s+to\s+(.+)", re.IGNORECASE)
"""Comment with the times from which and to which a table is complete."""

_Row = tuple[int, Mapping[str, str] | list[str]]
"""Line of a row, and its fields by column; or the fields alone, where their number is not that of the columns."""


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
    next_day_peaks: tuple[int, ...] = ()
    """Lines of the flares whose peak has the date of the start but came after midnight; it is taken as of the day
    after."""
    covers_from_utc: datetime | None = None
    """Time from which the list is complete, in UTC; None where it is not stated."""
    covers_until_utc: datetime | None = None
    """Time to which the list is complete, in UTC; None where it is not stated."""

    def count_unused(self) -> dict[UnusedReason, int]:
        """Return the number of unusable rows for each reason that occurs."""
        counts = Counter(row.reason for row in self.unused)
        return {reason: counts[reason] for reason in UnusedReason if counts[reason]}


_FIX = "write times in UTC as 2012-03-07 00:24, classes as X5.4 and regions as 11429"
_FIXES = {
    UnusedReason.MANY_FIELDS: "quote fields that contain commas, and write one row for each region of a flare",
    UnusedReason.FEW_FIELDS: "check that the file is whole, and that every row has all fields",
    UnusedReason.BAD_REGION: "write regions as 11429, and one row for each region of a flare",
    UnusedReason.FUTURE_TIME: "correct the dates",
    UnusedReason.EARLY_PEAK: "correct the times, or leave those of the peaks blank",
    UnusedReason.LATE_PEAK: "correct the times, or leave those of the peaks blank",
    UnusedReason.BAD_END: "correct the times, or leave those of the ends blank",
}


def read_flare_list(path: Path, *, until_utc: datetime | None = None) -> FlareList:
    """Read a flare list.

    The file is a table of comma-separated values with a line of column names, or a JSON list of objects, such as
    SWPC's ``xray-flares-7-day.json`` or HEK's ``result``. `COLUMNS` has the known column names; other columns are
    ignored. A row with too few or too many fields, or whose times, class or region cannot be used or contradict each
    other, is left out and listed. A region that is blank or 0 is unknown; one of four digits lacks its leading 1. Times
    are in UTC, with a year of four digits first, from 1972 on. SWPC's reports have one date per flare, so a peak
    that is before the start by this date is of the day after, if that is within 12 hours of the start.

    A comment ``# covers 2010-05-01 to 2012-03-08 06:00`` before the column names states from when and to when a table
    is complete. Without it, nothing is known of the time before the first flare and after the last.

    Parameters
    ----------
    path
        The file.
    until_utc
        Time to which the list is complete, which replaces the one that it states; None: as it states.

    Raises
    ------
    InputError
        If there is no column of starts or of classes, no usable row, too many unreadable ones (`MAX_UNREADABLE`), a
        flare at a time that the list is stated not to cover, or the file states that it is cut, as HEK's answers do
        with ``overmax``.
    StorageError
        If the file cannot be read.
    """
    text = read_text(path)
    is_json = text.lstrip()[:1] in ("[", "{")
    columns, rows = _open_json(text, path) if is_json else _open_table(text, path)
    names = _choose_columns(columns, path)
    latest = latest_time()
    flares, unused, moved = [], [], []
    for number, (line, row) in enumerate(rows, 1):
        check_rows(number, where=path)
        try:
            fields = _pick_fields(row, names, num_columns=len(columns))
            flare, is_moved = parse_flare(line, fields, latest=latest)
        except UnusableError as error:
            unused.append(UnusedRow(line=line, reason=error.reason, text=error.text[:60]))
            continue
        flares.append(flare)
        moved += [line] if is_moved else []
    covers_from, covers_until = (None, None) if is_json else _find_coverage(text, path)
    read = FlareList(
        source=str(path),
        flares=tuple(flares),
        unused=tuple(unused),
        has_regions="region" in names,
        next_day_peaks=tuple(moved),
        covers_from_utc=covers_from,
        covers_until_utc=until_utc or covers_until,
    )
    _check_readable(read)
    _check_coverage(read)
    return read


def _find_coverage(text: str, path: Path) -> tuple[datetime | None, datetime | None]:
    """Return the times from which and to which a comment before the column names states that a table is complete."""
    for number, line in enumerate(split_lines(text), 1):
        if line.strip() and line[0] != "#":
            break
        if (match := _COVERS.fullmatch(line.strip())) is not None:
            first, last = (parse_coverage_time(time, where=f"{path}:{number}") for time in match.groups())
            return first, last
    return None, None


def _check_coverage(read: FlareList) -> None:
    first, last = read.covers_from_utc or datetime.min, read.covers_until_utc or datetime.max
    outside = next((flare for flare in read.flares if not first <= flare.start_utc <= last), None)
    if outside is not None:
        raise InputError(
            f"{read.source}:{outside.line}",
            expected=f"flares from {read.covers_from_utc or 'any time'} to {last}, which the list is stated to cover",
            found=f"one of {outside.start_utc}",
            fix="correct the times of `# covers`, or {flares_until}",
        )


def _check_readable(read: FlareList) -> None:
    unreadable = [row for row in read.unused if not row.reason.is_blank]
    num_rows = len(read.flares) + len(read.unused)
    if read.flares and len(unreadable) <= MAX_UNREADABLE * num_rows:
        return
    worst = next(iter([*unreadable, *read.unused]), None)
    detail = f", first on line {worst.line}: {worst.reason} ({worst.text!r})" if worst else ""
    num_flares = format_count(len(read.flares), "flare")
    found = f"{num_flares} and {format_count(len(unreadable), 'such row')} of {num_rows:,}{detail}"
    raise InputError(
        read.source,
        expected=f"flares, and at most {MAX_UNREADABLE:.0%} of the rows that cannot be read",
        found=found if num_rows else "no rows",
        fix=_FIXES.get(worst.reason, _FIX) if worst else "check that this is the right file",
    )


def _open_table(text: str, path: Path) -> tuple[list[str], Iterable[_Row]]:
    lines = split_csv(text, {name for names in COLUMNS.values() for name in names}, where=path)
    columns = [name.strip() for name in next(lines, (0, []))[1]]
    return columns, (
        (line, dict(zip(columns, row, strict=True)) if len(row) == len(columns) else row) for line, row in lines
    )


def _open_json(text: str, path: Path) -> tuple[list[str], Iterable[_Row]]:
    if re.match(r"\s*\{.*\}\s*\n\s*\{", text):
        raise InputError(path, expected="one list of objects", found="an object on each line", fix=_JSON_LINES)
    value = decode_json(_NO_NUMBER.sub("null", text), where=path, expects=_JSON)
    entries = value.get("result") if isinstance(value, dict) else value
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        found = f"an object with {', '.join(value)[:100] or 'nothing'}" if isinstance(value, dict) else "other JSON"
        raise InputError(
            path,
            expected="a list of objects, or an object with such a list named `result`",
            found=found,
            fix="check that this is the right file",
        )
    if isinstance(value, dict):
        _check_whole(value, len(entries), path)
    texts = ({name: str(value) for name, value in entry.items() if value is not None} for entry in entries)
    return list(dict.fromkeys(name for entry in entries for name in entry)), enumerate(texts, 1)


def _check_whole(answer: Mapping[str, Any], num_entries: int, path: Path) -> None:
    """Refuse a page of an answer: the flares of the other pages would be labelled as no flares."""
    parts = [answer, *(part for name in ("meta", "metadata") if isinstance(part := answer.get(name), dict))]
    known = {name.lower().replace("_", ""): value for part in parts for name, value in part.items()}
    marks = [name for name in _CUT_MARKS if str(known.get(name) or "false").lower() not in ("false", "0", "no")]
    marks += [name for name in _COUNTS if isinstance(known.get(name), int) and known[name] > num_entries]
    marks += [name for name in _PAGES if isinstance(known.get(name), int) and known[name] > 1]
    if marks:
        raise InputError(
            path,
            expected="a whole flare list",
            found=f"one page of it, cut after {format_count(num_entries, 'event')} (`{marks[0]}` is {known[marks[0]]})",
            fix="fetch all pages, or shorter times, and join their events to one list",
        )


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


def _pick_fields(row: Mapping[str, str] | list[str], names: Mapping[str, str], *, num_columns: int) -> dict[str, str]:
    """Return the fields that are read, by role; a row that is shifted against the columns is none to read."""
    if isinstance(row, list):
        reason = UnusedReason.FEW_FIELDS if len(row) < num_columns else UnusedReason.MANY_FIELDS
        raise UnusableError(reason, ",".join(row))
    return {role: row.get(name) or "" for role, name in names.items()}
