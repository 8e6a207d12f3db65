"""Format rows as CSV text with exact numbers and explicit undefined values."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

__all__ = ["UNDEFINED", "format_csv"]

UNDEFINED = "undefined"
"""Cell of an undefined score, such as the precision of forecasts without a positive."""


def format_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV text, with a header and Unix line ends.

    Parameters
    ----------
    header
        Names of the columns.
    rows
        One sequence of cells per row, as many as columns. A float is written with the fewest digits that read back
        to it, NaN as ``undefined``, and None as an empty cell.

    Examples
    --------
    >>> print(format_csv(["run", "TSS"], [["oTV", 0.1], ["base", float("nan")], ["oT", None]]), end="")
    run,TSS
    oTV,0.1
    base,undefined
    oT,
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_format_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _format_cell(cell: object) -> object:
    if not isinstance(cell, float):
        return cell
    return UNDEFINED if math.isnan(cell) else repr(float(cell))
