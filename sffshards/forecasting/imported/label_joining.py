"""Forecasts of a table joined to the labels of a task: each forecast to at most one label, and the reverse.

Shapes: n forecasts that are joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError, format_count
from sffshards.base.json_records import describe_record
from sffshards.domain.frame_codes import find_codes, harps_of, times_of
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.forecasting.imported.forecast_tables import NO_FOLD, ForecastTable, UnusedForecast, UnusedRow
from sffshards.forecasting.runs import Predictions, plain_predictions

_MINUTE = 60
_MAX_LEAP_SECONDS = 40
"""Difference below which times may be in the other time scale; UTC and TAI differ by 34 to 37 s in the years of SDO."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedForecasts:
    """The forecasts of a table that have labels, in the order of fold, HARP and time."""

    table: ForecastTable
    """The table."""
    codes: NDArray[np.int64]
    """HARP and time of the labels, shape (n,); see `sffshards.domain.frame_codes`."""
    label: NDArray[np.int64]
    """Labels, 0 or 1, shape (n,)."""
    part: NDArray[np.int64]
    """Positions of the labels' parts in `Part`, shape (n,)."""
    fold: NDArray[np.int64]
    """Folds of the forecasts, shape (n,); `NO_FOLD` if the table has no such column."""
    probability: NDArray[np.float64]
    """Probabilities of a flare, shape (n,)."""
    unused: tuple[UnusedRow, ...]
    """Rows that are not the forecast of a label, in the order of the table."""
    num_labels: dict[Part, int]
    """Number of labels of each part."""

    def count_unused(self) -> dict[UnusedForecast, int]:
        """Return the number of unused rows for each reason that occurs."""
        counts = Counter(row.reason for row in self.unused)
        return {reason: counts[reason] for reason in UnusedForecast if counts[reason]}

    def count_joined(self, part: Part) -> int:
        """Return the number of labels of a part that have a forecast, by any fold."""
        return len(np.unique(self.codes[self.part == list(Part).index(part)]))

    def predictions(self, parts: Collection[Part], *, fold: int | None = None) -> Predictions:
        """Return the forecasts of some parts as a predictions table, sorted by HARP and time.

        Parameters
        ----------
        parts
            The parts.
        fold
            Number of a fold of the table; None for a table without folds.
        """
        chosen = np.isin(self.part, [list(Part).index(part) for part in parts])
        chosen &= self.fold == (NO_FOLD if fold is None else fold)
        return plain_predictions(
            harp=harps_of(self.codes[chosen]),
            t_end_tai=times_of(self.codes[chosen]),
            label=self.label[chosen],
            probability=self.probability[chosen],
        )

    def require_same_labels(self, part: Part) -> None:
        """Raise `InputError` if the folds of the table do not forecast the same labels of a part."""
        first, *others = ((fold, self.predictions([part], fold=fold)) for fold in self.table.folds or (None,))
        for fold, found in others:
            if not found.is_alike(first[1]):
                raise InputError(
                    self.table.source,
                    expected=f"forecasts of the same labels of {part} by all folds",
                    found=f"{len(first[1]):,} by fold {first[0]}, and {len(found):,} by fold {fold}",
                    fix="complete the table, or score each fold's rows as a table of their own",
                )


def join_labels(
    table: ForecastTable,
    labels: Mapping[Part, LabelledFrames],
    *,
    parts: Collection[Part] = tuple(Part),
    tolerance_minutes: int = 0,
) -> JoinedForecasts:
    """Join forecasts to labels of the same HARP and time.

    A forecast belongs to the first label at or after its own time, if that is within the tolerance, and a label takes
    the latest of its forecasts. So no forecast is that of two labels, no label has two, and none has one that was
    issued after it.

    Parameters
    ----------
    table
        Forecasts from `read_forecast_table`.
    labels
        Labels of all parts from `sffshards.labels.read_parts`.
    parts
        Parts whose labels are wanted; forecasts of others are set aside.
    tolerance_minutes
        Largest time from a forecast to its label, 0 for the same time.

    Raises
    ------
    InputError
        If no forecast has a label.
    """
    rows = LabelledFrames.join(labels.values())
    of_part = np.repeat([list(Part).index(part) for part in labels], [len(of) for of in labels.values()])
    order = np.argsort(rows.codes)
    rows, of_part = rows.take(order), of_part[order]
    place, reasons = _find_labels(table, rows.codes, tolerance_minutes * _MINUTE)
    wanted = np.isin(of_part, [list(Part).index(part) for part in parts])
    reasons[(place >= 0) & ~wanted[place]] = UnusedForecast.OTHER_PART
    is_joined = np.array([reason is None for reason in reasons], np.bool_)
    if not is_joined.any():
        raise _nothing_joined(table, rows, reasons)
    chosen = np.flatnonzero(is_joined)
    chosen = chosen[np.lexsort([place[chosen], table.fold[chosen]])]
    unused = [*table.unused, *_list_unused(table, reasons)]
    return JoinedForecasts(
        table=table,
        codes=rows.codes[place[chosen]],
        label=rows.labels[place[chosen]].astype(np.int64),
        part=of_part[place[chosen]],
        fold=table.fold[chosen],
        probability=table.probability[chosen],
        unused=tuple(sorted(unused, key=lambda row: row.line)),
        num_labels={part: len(of) for part, of in labels.items()},
    )


def describe_joined(joined: JoinedForecasts) -> dict[str, Any]:
    """Return what was read and joined as plain values for JSON, with every row that is not used."""
    return {
        "table": joined.table.source,
        "num_rows": joined.table.num_rows,
        "num_of_other_tasks": joined.table.num_of_other_tasks,
        "ignored_columns": list(joined.table.ignored_columns),
        "folds": list(joined.table.folds),
        "num_joined": {str(part): joined.count_joined(part) for part in joined.num_labels},
        "num_labels": {str(part): number for part, number in joined.num_labels.items()},
        "num_unused": {str(reason): number for reason, number in joined.count_unused().items()},
        "unused": [describe_record(row) for row in joined.unused],
    }


def _find_labels(
    table: ForecastTable, known: NDArray[np.int64], tolerance_seconds: int
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Return the place of each forecast's label, -1 without one, and the reason for which it has none."""
    reasons = np.full(len(table.codes), None, np.object_)
    place = np.minimum(known.searchsorted(table.codes), len(known) - 1)
    is_near = (harps_of(known[place]) == harps_of(table.codes)) & (known[place] >= table.codes)
    is_near &= known[place] - table.codes <= tolerance_seconds
    reasons[~is_near] = UnusedForecast.NO_LABEL
    reasons[find_codes(np.unique(harps_of(known)), harps_of(table.codes)) < 0] = UnusedForecast.UNKNOWN_HARP
    near = np.flatnonzero(is_near)
    near = near[np.lexsort([table.codes[near], place[near], table.fold[near]])]
    is_last = np.ones(len(near), np.bool_)
    is_last[:-1] = (place[near][1:] != place[near][:-1]) | (table.fold[near][1:] != table.fold[near][:-1])
    reasons[near[~is_last]] = UnusedForecast.FARTHER
    return np.where(is_near, place, -1), reasons


def _list_unused(table: ForecastTable, reasons: NDArray[np.object_]) -> Iterator[UnusedRow]:
    for row in np.flatnonzero([reason is not None for reason in reasons]).tolist():
        yield UnusedRow(line=table.line.item(row), reason=reasons[row], text=_describe(table.codes[row : row + 1]))


def _describe(code: NDArray[np.int64]) -> str:
    return f"HARP {harps_of(code).item()} at {times_of(code)[0]} TAI"


def _nothing_joined(table: ForecastTable, rows: LabelledFrames, reasons: NDArray[np.object_]) -> InputError:
    """Return the error of a table without a label for any forecast, with the remedy that fits its first row."""
    if not len(table.codes):
        first = table.unused[0]
        where, found = f"{table.source}:{first.line}", f"{first.text}: {first.reason}"
        return InputError(where, expected="a forecast", found=found, fix="check the columns and the map")
    others = f", nor do {format_count(len(table.codes) - 1, 'other')}" if len(table.codes) > 1 else ""
    found = f"{_describe(table.codes[:1])}: {reasons[0]}{others}"
    fix = "check that table and labels are of the same regions and times"
    place = np.minimum(rows.codes.searchsorted(table.codes - _MAX_LEAP_SECONDS), len(rows) - 1)
    if reasons[0] is UnusedForecast.OTHER_PART:
        fix = "choose the part with {part}"
    elif (np.abs(rows.codes[place] - table.codes) <= _MAX_LEAP_SECONDS).any():
        fix = "check the time scale: labels are in TAI, 34 to 37 s ahead of UTC; {time_scale} states that of the table"
    elif reasons[0] is UnusedForecast.NO_LABEL:
        fix = "check the time scale with {time_scale}, or accept earlier forecasts with {tolerance_minutes}"
    where = f"{table.source}:{table.line[0]}"
    return InputError(where, expected="a forecast of a label", found=found, fix=fix)
