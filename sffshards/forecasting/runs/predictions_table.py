"""The table of predictions: the probability of a flare for each sample, and the label."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import read_text, write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import Stage
from sffshards.domain.views import View
from sffshards.flares import FIRST_YEAR
from sffshards.shards.format import VIEWS, sequence_names
from sffshards.shards.read import Build


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Forecasts of a set, one row per sample, in the order of the build's index."""

    sequence: tuple[str, ...]
    """Published names of the sequences."""
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
        rows = np.flatnonzero(chosen)
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        taken: dict[str, Any] = {
            name: tuple(column[row] for row in rows) if isinstance(column, tuple) else column[rows]
            for name, column in columns.items()
        }
        return Predictions(**taken)


def plain_views(predictions: Predictions) -> Predictions:
    """Return the samples that show their sequence as it is, each sequence once, as verification counts them."""
    return predictions.where(np.array([view is View.NF for view in predictions.view], np.bool_))


_HEADER = tuple(field.name for field in fields(Predictions))
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


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a table as CSV, whole or not at all; probabilities read back exactly."""
    columns = (
        predictions.sequence,
        predictions.harp.tolist(),
        np.datetime_as_string(predictions.t_end_tai, unit="s").tolist(),
        predictions.view,
        predictions.label.tolist(),
        predictions.probability.tolist(),
    )
    write_atomic(path, format_csv(_HEADER, zip(*columns, strict=True)).encode("ascii"))


def read_predictions(path: Path) -> Predictions:
    """Read a table.

    Raises
    ------
    InputError
        If a line is malformed; it is named.
    """
    reader = csv.reader(io.StringIO(read_text(path)))
    try:
        lines = list(reader)
    except csv.Error as error:
        raise _malformed(path, reader.line_num, "comma-separated values", str(error)) from None
    if not lines or tuple(lines[0]) != _HEADER:
        raise _malformed(path, 1, f"the header {','.join(_HEADER)}", ",".join(lines[0]) if lines else "nothing")
    rows = [_parse_row(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    names, harps, times, views, labels, probabilities = zip(*rows, strict=True) if rows else ((),) * len(_HEADER)
    return Predictions(
        sequence=tuple(names),
        harp=np.array(harps, np.int64),
        t_end_tai=np.array(times, "datetime64[s]"),
        view=tuple(views),
        label=np.array(labels, np.int64),
        probability=np.array(probabilities, np.float64),
    )


def _parse_row(path: Path, number: int, line: Sequence[str]) -> tuple[str, int, datetime, View, int, float]:
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
