"""The table of predictions: the probability of a flare for each sample, and the label."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import write_atomic
from sffshards.base.csv_tables import check_rows, format_csv
from sffshards.base.errors import InputError
from sffshards.base.file_reading import read_text, split_lines
from sffshards.domain.sample_sets import Stage
from sffshards.domain.views import View
from sffshards.flares import FIRST_YEAR
from sffshards.shards.format import VIEWS, sequence_names
from sffshards.shards.read import Build


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Forecasts of a set, one row per sample; a table that was read is in canonical order: HARP, end time, view."""

    sequence: tuple[str, ...]
    """Published names of the sequences; empty text where a forecaster does not know them."""
    harp: NDArray[np.int64]
    """HARP numbers, shape (n,)."""
    t_end_tai: NDArray[np.datetime64]
    """Times of the last frames, TAI, to the second, shape (n,)."""
    view: tuple[View, ...]
    """Views that the samples show."""
    label: NDArray[np.int64]
    """Labels, 0 or 1, shape (n,)."""
    probability: NDArray[np.float64]
    """Probabilities of a flare, from 0 to 1, shape (n,)."""

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns must be of one length, got {lengths}")
        if not np.isin(self.label, (0, 1)).all():
            raise ValueError("labels must be 0 or 1")
        if not ((self.probability >= 0) & (self.probability <= 1)).all():
            raise ValueError("probabilities must be from 0 to 1")

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.sequence)

    def where(self, chosen: NDArray[np.bool_]) -> Predictions:
        """Return the samples for which a bool array of shape (n,) is true."""
        return self.take(np.flatnonzero(chosen))

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """Return the samples at positions, in the order of these."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        taken: dict[str, Any] = {
            name: tuple(column[row] for row in rows) if isinstance(column, tuple) else column[rows]
            for name, column in columns.items()
        }
        return Predictions(**taken)

    def is_alike(self, other: Predictions) -> bool:
        """Return whether other forecasts are of the same samples and labels: HARP, end time and label."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("harp", "t_end_tai", "label"))


def plain_views(predictions: Predictions) -> Predictions:
    """Return the samples that show their sequence as it is, each sequence once, as verification counts them."""
    return predictions.where(np.array([view is View.NF for view in predictions.view], np.bool_))


_HEADER = tuple(field.name for field in fields(Predictions))
_VIEW_NUMBERS = {view: number for number, view in enumerate(View)}
_MAX_HARP = 10**9 - 1
"""The largest HARP number; published names have at most nine digits."""
_LAST_YEAR = 2999
"""The last year that a time may be of; the axis of a figure ends later."""


def predictions_path(folder: Path, stage: Stage) -> Path:
    """Return the path of a fold's table, such as ``fold0/predictions-test.csv``."""
    return folder / f"predictions-{stage}.csv"


def build_predictions(build: Build, rows: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Predictions:
    """Return a table of probabilities and what the build's index holds of their samples.

    Parameters
    ----------
    build
        Build of the samples.
    rows
        Rows of its index, each once, shape (n,); the table has them in ascending order.
    probabilities
        Probabilities of a flare, shape (n,).
    """
    order = np.argsort(rows, kind="stable")
    index = build.index[rows[order]]
    return Predictions(
        sequence=tuple(sequence_names(index)),
        harp=index["harp"].astype(np.int64),
        t_end_tai=index["t_end_tai"],
        view=tuple(VIEWS[number] for number in index["view"]),
        label=index["label"].astype(np.int64),
        probability=probabilities[order],
    )


def plain_predictions(
    *,
    harp: NDArray[np.int64],
    t_end_tai: NDArray[np.datetime64],
    label: NDArray[np.int64],
    probability: NDArray[np.float64],
    sequence: Sequence[str] = (),
) -> Predictions:
    """Return forecasts of sequences as they are (view nf), in canonical order.

    Parameters
    ----------
    harp, t_end_tai, label, probability
        Columns of `Predictions`, shape (n,), in any order.
    sequence
        Published names of the sequences; may be left out.

    Raises
    ------
    InputError
        If two rows are of one HARP and time.
    """
    num_samples = len(harp)
    unsorted = Predictions(
        sequence=tuple(sequence) or ("",) * num_samples,
        harp=np.asarray(harp, np.int64),
        t_end_tai=np.asarray(t_end_tai, "datetime64[s]"),
        view=(View.NF,) * num_samples,
        label=np.asarray(label, np.int64),
        probability=np.asarray(probability, np.float64),
    )
    return sort_samples(unsorted, where="forecasts")


def sort_samples(predictions: Predictions, *, where: object) -> Predictions:
    """Return samples in canonical order: HARP, end time, view.

    Raises
    ------
    InputError
        If two rows are of one HARP, time and view; the error names ``where``.
    """
    numbers = np.array([_VIEW_NUMBERS[view] for view in predictions.view], np.int64)
    order = np.lexsort((numbers, predictions.t_end_tai, predictions.harp))
    columns = predictions.harp[order], predictions.t_end_tai[order], numbers[order]
    repeated = np.flatnonzero(np.logical_and.reduce([column[1:] == column[:-1] for column in columns]))
    if len(repeated):
        row = order[repeated[0]]
        raise InputError(
            where,
            expected="every sample once",
            found=f"HARP {predictions.harp[row]} at {predictions.t_end_tai[row]}, view {predictions.view[row]}, again",
            fix="remove the rows that repeat others",
        )
    return predictions.take(order)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a table as CSV, whole or not at all; probabilities read back exactly."""
    write_atomic(path, format_predictions(predictions))


def format_predictions(predictions: Predictions) -> bytes:
    """Return a table as CSV, in the order of its rows."""
    columns = (
        predictions.sequence,
        predictions.harp.tolist(),
        np.datetime_as_string(predictions.t_end_tai, unit="s").tolist(),
        predictions.view,
        predictions.label.tolist(),
        predictions.probability.tolist(),
    )
    return format_csv(_HEADER, zip(*columns, strict=True)).encode("ascii")


def read_predictions(path: Path) -> Predictions:
    """Read a table, and put its rows into canonical order: HARP, end time, view.

    Runs that forecast the same samples then have them in the same order, and score alike to the last digit.

    Raises
    ------
    InputError
        If a line is malformed, which is named, or a sample is there twice.
    """
    lines = csv.reader(f"{line}\n" for line in split_lines(read_text(path)))
    try:
        header = next(lines, [])
        if tuple(header) != _HEADER:
            raise _malformed(path, 1, f"the header {','.join(_HEADER)}", ",".join(header) or "nothing")
        rows = [_parse_row(path, number, line) for number, line in enumerate(lines, start=2)]
    except csv.Error as error:
        raise _malformed(path, lines.line_num, "comma-separated values", str(error)) from None
    names, harps, times, views, labels, probabilities = zip(*rows, strict=True) if rows else ((),) * len(_HEADER)
    table = Predictions(
        sequence=tuple(names),
        harp=np.array(harps, np.int64),
        t_end_tai=np.array(times, "datetime64[s]"),
        view=tuple(views),
        label=np.array(labels, np.int64),
        probability=np.array(probabilities, np.float64),
    )
    return sort_samples(table, where=path)


def _parse_row(path: Path, number: int, line: Sequence[str]) -> tuple[str, int, datetime, View, int, float]:
    check_rows(number - 1, where=path)
    if len(line) != len(_HEADER):
        raise _malformed(path, number, f"{len(_HEADER)} fields", f"{len(line)}")
    name, harp, time, view, label, text = line
    try:
        probability = float(text)
        row = name, int(harp), datetime.fromisoformat(time), View(view), int(label), probability
    except ValueError as error:
        raise _malformed(path, number, "a row of a predictions table", str(error)) from None
    if not 1 <= row[1] <= _MAX_HARP:
        raise _malformed(path, number, f"a HARP from 1 to {_MAX_HARP}", harp)
    if row[2].tzinfo is not None or not FIRST_YEAR <= row[2].year <= _LAST_YEAR:
        raise _malformed(path, number, f"a time without a zone, in {FIRST_YEAR} to {_LAST_YEAR}", time)
    if label not in ("0", "1"):
        raise _malformed(path, number, "label 0 or 1", label)
    if not 0 <= probability <= 1:
        raise _malformed(path, number, "a probability from 0 to 1", text)
    return row


def _malformed(path: Path, number: int, expected: str, found: str) -> InputError:
    fix = "restore the file, or predict again with `sffshards evaluate --force`"
    return InputError(f"{path}:{number}", expected=expected, found=found[:120], fix=fix)
