"""The columns of a table of forecasts, and the fields of one of its rows as values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

from sffshards.base.csv_tables import is_missing
from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import NUM_FOLDS
from sffshards.domain.task import GoesClass, Task
from sffshards.domain.times import TimeScale
from sffshards.flares import FIRST_YEAR, complete_region

COLUMNS = {
    "harp": ("harp", "harpnum", "harp_number", "harp_num"),
    "region": ("noaa", "noaa_ar", "noaa_region", "noaa_number", "noaa_active_region", "ar_noaanum", "ar", "region"),
    "time": (
        *("time", "time_tai", "time_utc", "t_end_tai", "t_tai", "t_utc", "t_rec", "issue_time", "issue_time_utc"),
        *("datetime", "timestamp", "date"),
    ),
    "probability": ("probability", "prob", "flare_probability", "forecast_probability", "p", "forecast"),
    "fold": ("fold",),
    "task": ("task",),
    "horizon": ("horizon", "horizon_hours"),
    "threshold": ("threshold", "exceedance"),
}
"""Names of the columns that are read, in any case, the first of each that exists; HARP or region, time and probability
are required."""

_NAMES = frozenset(name for names in COLUMNS.values() for name in names)
_OUTCOMES = re.compile(
    r"(^|[^a-z])(labels?|flares?|flared|events?|observed|outcomes?|targets?|truth|true|actual|goes[^a-z]?class"
    r"|peak[^a-z]?flux)([^a-z]|$)"
)
"""Words of the names of columns that hold what happened, which no forecast may know."""
_FORECASTS = re.compile(r"prob|forecast")
"""Parts of the names of columns that hold a forecast, whatever else they say."""

_TIME = re.compile(
    r"(\d{4})(?:[-./](\d{1,2})[-./](\d{1,2})|(\d\d)(\d\d))[T _](\d{1,2})(?::(\d\d)(?::(\d\d(?:\.\d*)?))?|(\d\d)(\d\d)?)"
    r"\s*(Z|[+]00:?00|_?UTC|_?TAI)?",
    re.ASCII | re.IGNORECASE,
)
_EPOCH = datetime(1970, 1, 1)
_LAST_YEAR = 2199
_WHOLE = re.compile(r"(\d{1,9})(?:\.0*)?", re.ASCII)
_FIX = "correct the table"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableColumns:
    """The columns of a table of forecasts."""

    places: Mapping[str, int]
    """Position of the column of each role of `COLUMNS` that the table has."""
    num_columns: int
    """Number of columns."""
    ignored: tuple[str, ...]
    """Names of the columns that are not read."""
    scale: TimeScale | None
    """Time scale that the name of the column of times states."""

    def pick(self, row: Sequence[str], *, where: str) -> dict[str, str]:
        """Return the fields of a row by role; raises `InputError` if it does not have as many as columns."""
        if len(row) != self.num_columns:
            refuse(where, f"{self.num_columns} fields", str(len(row)), "check that the file is whole")
        return {role: row[place].strip() for role, place in self.places.items()}


def choose_columns(names: Sequence[str], *, where: Path) -> TableColumns:
    """Find the columns of a table of forecasts.

    Raises
    ------
    InputError
        If a column is missing or repeated, or one holds what happened: forecasts that were made with it are none.
    """
    columns = [name.strip().lower() for name in names]
    found = {role: _find(columns, known) for role, known in COLUMNS.items()}
    places = {role: place for role, place in found.items() if place is not None}
    others = [place for place in range(len(columns)) if place not in places.values()]
    for place in others:
        name = columns[place]
        if name not in _NAMES and _OUTCOMES.search(name) and not _FORECASTS.search(name):
            fix = "remove it: labels are read from the label lists only"
            refuse(where, "no column of what happened, which a forecast cannot know", f"`{names[place].strip()}`", fix)
    if repeated := next((name for name in columns if name and columns.count(name) > 1), None):
        refuse(where, "every column once", f"`{repeated}` again", "remove or rename one of them")
    for role, required in (("harp", ("harp", "region")), ("time", ("time",)), ("probability", ("probability",))):
        if not places.keys() & set(required):
            expected = (
                f"a column {' or '.join(COLUMNS[one][0] for one in required)} (or {', '.join(COLUMNS[role][1:])})"
            )
            refuse(where, expected, ", ".join(names)[:200] or "no columns", "name the columns so")
    if "harp" in places and "region" in places:
        others.append(places.pop("region"))
    of_time = columns[places["time"]]
    scale = TimeScale.TAI if of_time.endswith("_tai") else TimeScale.UTC if of_time.endswith("_utc") else None
    ignored = tuple(names[place].strip() or "without a name" for place in sorted(others))
    return TableColumns(places=places, num_columns=len(columns), ignored=ignored, scale=scale)


def parse_time(text: str, *, scale: TimeScale | None, where: str) -> tuple[int, TimeScale]:
    """Return a time in seconds since 1970, and its scale: that which the text states, or the given one.

    Fractions of a second are rounded.

    Raises
    ------
    InputError
        If the text is no time with hours and minutes, or nothing states its scale.

    Examples
    --------
    >>> parse_time("2012.03.06_14:24:00_TAI", scale=None, where="table.csv:2")
    (1331043840, <TimeScale.TAI: 'tai'>)
    """
    match = _TIME.fullmatch(text)
    if match is None:
        expected = "a time such as 2012-03-06T14:24:00Z, 2012-03-06 14:24 or 2012.03.06_14:24:00_TAI"
        refuse(where, expected, repr(text[:40]), "write times so, with hours and minutes")
    year, month, day, month_2, day_2, hour, minute, second, minute_2, second_2, stated = match.groups()
    try:
        time = datetime(int(year), int(month or month_2), int(day or day_2), int(hour), int(minute or minute_2 or 0))
        time += timedelta(seconds=round(_parse_seconds(second or second_2 or "0")))
    except ValueError:
        refuse(where, "a time that exists", repr(text[:40]), "correct the time")
    if not FIRST_YEAR <= time.year <= _LAST_YEAR:
        refuse(where, f"a time of {FIRST_YEAR} to {_LAST_YEAR}", repr(text[:40]), "correct the time")
    if stated is not None:
        scale = TimeScale.TAI if stated.upper().endswith("TAI") else TimeScale.UTC
    if scale is None:
        fix = "state the scale of all times with {time_scale}, or end each with Z or _TAI"
        refuse(where, "a time whose scale is stated", repr(text[:40]), fix)
    return (time - _EPOCH) // timedelta(seconds=1), scale


def parse_probability(text: str, *, where: str) -> float | None:
    """Return a probability, or None where it is missing; raises `InputError` if it is not from 0 to 1."""
    if is_missing(text):
        return None
    try:
        value = float(text) if text.isascii() and "_" not in text else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        fix = "divide percentages by 100" if 1 < value <= 100 or text.endswith("%") else _FIX
        refuse(where, "a probability from 0 to 1", repr(text[:40]), fix)
    return value


def parse_region(fields: Mapping[str, str], *, where: str) -> int:
    """Return the HARP number of a row or, if it has none, its NOAA number in full; raises `InputError`."""
    text = fields.get("harp", fields.get("region", ""))
    match = _WHOLE.fullmatch(text)
    number = int(match[1]) if match else 0
    if "harp" in fields:
        if not number:
            refuse(where, "a HARP number such as 377", repr(text[:40]), _FIX)
        return number
    if not 1_000 <= number <= 99_999:
        refuse(where, "a NOAA region such as 11158", repr(text[:40]), _FIX)
    return complete_region(number)


def parse_fold(text: str, *, where: str) -> int:
    """Return the number of a fold; raises `InputError`."""
    match = _WHOLE.fullmatch(text)
    if match is None or int(match[1]) >= NUM_FOLDS:
        refuse(where, f"a fold from 0 to {NUM_FOLDS - 1}", repr(text[:40]), _FIX)
    return int(match[1])


def is_of_task(fields: Mapping[str, str], task: Task, *, where: str) -> bool:
    """Return whether the columns task, horizon and threshold, as far as there are any, name a task.

    Raises
    ------
    InputError
        If one of them cannot be read.
    """
    if "task" in fields and Task.parse(fields["task"], where=where) != task:
        return False
    if "horizon" in fields:
        match = re.fullmatch(r"(\d{1,4})(?:\.0*)?\s*h?", fields["horizon"], re.ASCII)
        if match is None:
            refuse(where, "a horizon in hours such as 48", repr(fields["horizon"][:40]), _FIX)
        if int(match[1]) != task.horizon_hours:
            return False
    if "threshold" in fields:
        text = fields["threshold"].upper().removesuffix("+")
        return GoesClass.parse(f"{text}1.0" if len(text) == 1 else text, where=where) == task.threshold
    return True


def refuse(where: object, expected: str, found: str, fix: str) -> NoReturn:
    """Raise `InputError`."""
    raise InputError(where, expected=expected, found=found, fix=fix)


def _find(columns: Sequence[str], known: Sequence[str]) -> int | None:
    return next((columns.index(name) for name in known if name in columns), None)


def _parse_seconds(text: str) -> float:
    seconds = float(text)
    if seconds >= 60:
        raise ValueError(text)
    return seconds
