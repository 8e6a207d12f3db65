"""Tables of forecasts by other systems: probabilities by region and time, read from CSV."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.csv_tables import split_csv
from sffshards.base.errors import Field
from sffshards.base.file_reading import MAX_TEXT_BYTES, decode_text, read_bytes, split_lines, unpack_gzip
from sffshards.domain.frame_codes import pack_codes
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.task import Task
from sffshards.domain.times import TimeScale
from sffshards.flares import HarpMap, utc_to_tai
from sffshards.forecasting.imported import forecast_fields as fields_of
from sffshards.forecasting.imported.forecast_fields import COLUMNS, refuse

_Columns = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
"""Codes, probabilities, folds and lines of forecasts."""

NO_FOLD = -1
"""Fold of the forecasts of a table without a column of folds."""


class UnusedForecast(StrEnum):
    """Why a row of a table of forecasts is not the forecast of a label."""

    NO_PROBABILITY = "no probability"
    """The row has no probability."""
    UNMAPPED = "a NOAA region that no HARP of the map has"
    """No HARP of the map has the NOAA region."""
    UNKNOWN_HARP = "a HARP that the labels do not have"
    """The labels do not have the HARP."""
    NO_LABEL = "no label of its HARP at that time"
    """The HARP has no label within the tolerance after the time."""
    FARTHER = "a later forecast is nearer to the label"
    """A later forecast of the HARP is nearer to the label."""
    OTHER_PART = "a label of another part"
    """The forecast is that of a label of another part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusedRow:
    """A row of a table of forecasts that is not used."""

    line: int
    reason: UnusedForecast
    text: str
    """Region and time of the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastTable:
    """A table of forecasts of one task: columns of one entry per forecast, of shape (n,)."""

    source: str
    """Path of the table."""
    codes: NDArray[np.int64]
    """HARP and time in TAI of each forecast; see `sffshards.domain.frame_codes`."""
    probability: NDArray[np.float64]
    """Probabilities of a flare."""
    fold: NDArray[np.int64]
    """Folds of the forecasts; `NO_FOLD` if the table has no such column."""
    line: NDArray[np.int64]
    """Lines of the file; the first of them where several NOAA regions make the forecast of a HARP."""
    num_rows: int
    """Number of rows of the table."""
    num_of_other_tasks: int
    """Number of rows that forecast another task, by the columns task, horizon and threshold."""
    ignored_columns: tuple[str, ...]
    """Columns that are not read."""
    unused: tuple[UnusedRow, ...]
    """Rows without a probability or a HARP."""
    harp_numbers: HarpNumbers
    """Which numbers the HARPs have, as the map or a comment before the column names states."""

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that have forecasts, ascending; empty if the table has no column of folds."""
        return tuple(fold for fold in np.unique(self.fold).tolist() if fold != NO_FOLD)


@dataclass(slots=True)
class _Rows:
    """The rows that have been read."""

    regions: array[int] = field(default_factory=lambda: array("q"))
    """HARP numbers, or NOAA numbers."""
    seconds: array[int] = field(default_factory=lambda: array("q"))
    """Times in seconds since 1970, in UTC or TAI as `is_utc` has it."""
    is_utc: array[int] = field(default_factory=lambda: array("b"))
    probabilities: array[float] = field(default_factory=lambda: array("d"))
    """Probabilities; NaN where missing."""
    folds: array[int] = field(default_factory=lambda: array("b"))
    lines: array[int] = field(default_factory=lambda: array("q"))
    num_others: int = 0
    """Number of rows of other tasks."""


def read_forecast_table(
    path: Path, *, task: Task, time_scale: TimeScale | None = None, harp_map: HarpMap | None = None
) -> ForecastTable:
    """Read the forecasts of a task from a table.

    The table has comma-separated values with a line of column names, plain or compressed (gzip). `COLUMNS` has the
    names that are known; other columns are ignored, except those of what happened, which are refused. There are

    - HARP or NOAA number, of which the HARP counts if there are both. Forecasts by NOAA region become forecasts of
      every HARP that has the region; that of a HARP with several regions is ``1 - prod(1 - p)``, a flare in any;
    - time, with hours and minutes. A value that ends with ``Z``, ``UTC`` or ``TAI`` has that scale, a column whose name
      ends with ``_utc`` or ``_tai`` the scale of its name, and other values have ``time_scale``;
    - probability, from 0 to 1; a missing one is set aside;
    - optionally fold, 0 to 4, and task (``M48``), or horizon in hours and threshold (``M1.0``), by which rows of other
      tasks are left out.

    Parameters
    ----------
    path
        The file.
    task
        The task whose forecasts are read.
    time_scale
        Scale of times that do not state one; None: each must. None for a column whose name states it.
    harp_map
        Map from `sffshards.flares.read_harp_map`, for a table of NOAA numbers; None for one of HARP numbers.

    Raises
    ------
    InputError
        If a column is missing, a field cannot be read, a forecast is repeated, or no row forecasts the task; the error
        names the line.
    StorageError
        If the table cannot be read.
    """
    text = decode_text(unpack_gzip(read_bytes(path, max_bytes=MAX_TEXT_BYTES), where=path), where=path)
    known = set(chain.from_iterable(COLUMNS.values()))
    lines = split_csv(text, known, where=path)
    columns = fields_of.choose_columns(next(lines, (0, []))[1], where=path)
    by_region = "region" in columns.places
    if by_region and harp_map is None:
        fix = "name one with {harp_map}, such as JSOC's all_harps_with_noaa_ars.txt"
        refuse(path, "a map from HARPs to NOAA regions beside a table of NOAA regions", "none", fix)
    if harp_map is not None and not by_region:
        refuse(Field("harp_map"), f"none, as {path} has HARP numbers", harp_map.source, "leave it out")
    if time_scale is not None and columns.scale is not None:
        found, fix = str(time_scale), "leave it out, or rename the column"
        refuse(Field("time_scale"), f"none, as {path} states it in the name of its column", found, fix)
    rows = _read_rows(path, lines, columns, task=task, time_scale=time_scale)
    if not rows.lines:
        found = f"{rows.num_others:,} rows of other tasks" if rows.num_others else "no rows"
        refuse(path, f"forecasts of {task.name}", found, "name the task that the table forecasts")
    t_tai = _to_tai(rows)
    _refuse_repeated(path, rows, t_tai, by_region=by_region)
    mapped = harp_map if by_region else None
    forecasts, unused = _gather_forecasts(rows, t_tai, None if mapped is None else mapped.regions)
    codes, probability, fold, line = forecasts
    return ForecastTable(
        source=str(path),
        codes=codes,
        probability=probability,
        fold=fold,
        line=line,
        num_rows=len(rows.lines) + rows.num_others,
        num_of_other_tasks=rows.num_others,
        ignored_columns=columns.ignored,
        unused=tuple(unused),
        harp_numbers=mapped.harp_numbers if mapped else HarpNumbers.stated_in(split_lines(text)),
    )


def _read_rows(
    path: Path,
    lines: Iterator[tuple[int, list[str]]],
    columns: fields_of.TableColumns,
    *,
    task: Task,
    time_scale: TimeScale | None,
) -> _Rows:
    rows = _Rows()
    scale = columns.scale or time_scale
    for line, row in lines:
        where = f"{path}:{line}"
        fields = columns.pick(row, where=where)
        if not fields_of.is_of_task(fields, task, where=where):
            rows.num_others += 1
            continue
        seconds, stated = fields_of.parse_time(fields["time"], scale=scale, where=where)
        probability = fields_of.parse_probability(fields["probability"], where=where)
        rows.regions.append(fields_of.parse_region(fields, where=where))
        rows.seconds.append(seconds)
        rows.is_utc.append(stated is TimeScale.UTC)
        rows.probabilities.append(np.nan if probability is None else probability)
        rows.folds.append(fields_of.parse_fold(fields["fold"], where=where) if "fold" in fields else NO_FOLD)
        rows.lines.append(line)
    return rows


def _to_tai(rows: _Rows) -> NDArray[np.datetime64]:
    t_tai = np.array(rows.seconds, np.int64).astype("datetime64[s]")
    is_utc = np.array(rows.is_utc, np.bool_)
    if is_utc.any():
        t_tai[is_utc] = utc_to_tai(t_tai[is_utc])
    return t_tai


def _refuse_repeated(path: Path, rows: _Rows, t_tai: NDArray[np.datetime64], *, by_region: bool) -> None:
    """Raise `InputError` if a fold has two forecasts of a region at a time."""
    codes, folds, lines = (
        pack_codes(np.array(rows.regions, np.int64), t_tai),
        np.array(rows.folds),
        np.array(rows.lines),
    )
    order = np.lexsort([lines, codes, folds])
    again = (codes[order][1:] == codes[order][:-1]) & (folds[order][1:] == folds[order][:-1])
    if again.any():
        first, second = min(
            ((order[place], order[place + 1]) for place in np.flatnonzero(again)), key=lambda pair: lines[pair[1]]
        )
        kind = "NOAA region" if by_region else "HARP"
        found = f"{kind} {rows.regions[second]} at {t_tai[second]} TAI again, as in line {lines[first]}"
        refuse(f"{path}:{lines[second]}", "each region and time once", found, "remove one of the two rows")


def _gather_forecasts(
    rows: _Rows, t_tai: NDArray[np.datetime64], regions: Mapping[int, Sequence[int]] | None
) -> tuple[_Columns, list[UnusedRow]]:
    """Return codes, probabilities, folds and lines of the forecasts by HARP, and the rows that make none."""
    probabilities = np.array(rows.probabilities)
    numbers, folds, lines = (np.array(column, np.int64) for column in (rows.regions, rows.folds, rows.lines))
    lacking = np.isnan(probabilities)
    kind = "HARP" if regions is None else "NOAA region"

    def list_unused(chosen: NDArray[np.bool_], reason: UnusedForecast) -> Iterator[UnusedRow]:
        for row in np.flatnonzero(chosen).tolist():
            yield UnusedRow(line=rows.lines[row], reason=reason, text=f"{kind} {rows.regions[row]} at {t_tai[row]} TAI")

    unused = [*list_unused(lacking, UnusedForecast.NO_PROBABILITY)]
    kept = np.flatnonzero(~lacking)
    if regions is None:
        return (pack_codes(numbers[kept], t_tai[kept]), probabilities[kept], folds[kept], lines[kept]), unused
    unmapped = ~lacking & ~np.isin(numbers, [region for of_harp in regions.values() for region in of_harp])
    unused += list_unused(unmapped, UnusedForecast.UNMAPPED)
    kept = np.flatnonzero(~lacking & ~unmapped)
    return _spread(numbers[kept], t_tai[kept], regions, (probabilities[kept], folds[kept], lines[kept])), unused


def _spread(
    numbers: NDArray[np.int64],
    t_tai: NDArray[np.datetime64],
    regions: Mapping[int, Sequence[int]],
    others: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]],
) -> _Columns:
    """Return the forecasts of every HARP that has one of the regions; that of several is of a flare in any."""
    probabilities, folds, lines = others
    harps_of: dict[int, list[int]] = {}
    for harp, of_harp in regions.items():
        for region in of_harp:
            harps_of.setdefault(region, []).append(harp)
    pairs = [(harp, row) for row, number in enumerate(numbers.tolist()) for harp in harps_of[number]]
    harps, at = np.array(pairs, np.int64).reshape(-1, 2).T
    codes = pack_codes(harps, t_tai[at])
    order = np.lexsort([lines[at], codes, folds[at]])
    codes, at = codes[order], at[order]
    starts = np.flatnonzero(np.r_[True, (codes[1:] != codes[:-1]) | (folds[at][1:] != folds[at][:-1])][: len(codes)])
    joined = [_join_probabilities(of) for of in np.split(probabilities[at], starts[1:])] if len(starts) else []
    return codes[starts], np.array(joined, np.float64), folds[at][starts], lines[at][starts]


def _join_probabilities(probabilities: NDArray[np.float64]) -> float:
    """Return the probability of a flare in any of several regions that flare independently."""
    return float(probabilities[0] if len(probabilities) == 1 else 1 - np.prod(1 - probabilities))
