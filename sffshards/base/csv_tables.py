"""Tables of comma-separated values: written with exact numbers, read with line numbers; and spellings of missing."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from sffshards.base.errors import InputError
from sffshards.base.file_reading import split_lines

__all__ = ["MAX_ROWS", "UNDEFINED", "check_rows", "check_separator", "format_csv", "is_missing", "split_csv"]

UNDEFINED = "undefined"
"""Cell of an undefined score, such as the precision of forecasts without a positive."""

MAX_ROWS = 1_000_000
"""Largest number of rows of a list or table; the published data set has 59,384 frames."""

_MAX_ROW_SIZE = 1_000_000
"""Largest number of characters of a row; those of HEK's events have some 4,000."""

_OF_PANDAS = "#n/a|#n/a n/a|#na|-1.#ind|-1.#qnan|-nan|1.#ind|1.#qnan|<na>|n/a|na|nan|nat|none|null"
_OF_OTHERS = "missing|invalid keylink|unk|unknown|undefined|masked|-|--|---|?|.|n.a.|not available|-999|-9999|-99999"
_MISSING = frozenset({"", *_OF_PANDAS.split("|"), *_OF_OTHERS.split("|")})
_ZEROS = re.compile(r"(?<=\d)\.0*$")
_SEPARATORS = {"semicolons": ";", "tabs": "\t", "vertical bars": "|", "blanks": None}


def is_missing(text: str) -> bool:
    """Return whether a cell is blank, or one of the words that pandas, JSOC or SWPC write for a missing value.

    Examples
    --------
    >>> is_missing(" N/A "), is_missing("<NA>"), is_missing("MISSING"), is_missing("-9999.0"), is_missing("0")
    (True, True, True, True, False)
    """
    return _ZEROS.sub("", text.strip().lower()) in _MISSING


def check_separator(header: str, known: Collection[str], *, where: object) -> None:
    """Check that the line of column names is separated by commas.

    Parameters
    ----------
    header
        The line.
    known
        Names of columns in lower case, some of which the line should have.
    where
        The place that an error names.

    Raises
    ------
    InputError
        If another separator, which the error names, gives more of the known columns.

    Examples
    --------
    >>> check_separator("HARPNUM;T_REC", {"harpnum", "t_rec"}, where="table.csv")
    Traceback (most recent call last):
    sffshards.base.errors.InputError: table.csv: expected columns separated by commas, found semicolons; save ...
    """

    def count(separator: str | None) -> int:
        return len({name.strip().strip('"').lower() for name in header.split(separator)} & set(known))

    found = max(_SEPARATORS, key=lambda name: count(_SEPARATORS[name]))
    if count(_SEPARATORS[found]) > count(","):
        raise InputError(
            where, expected="columns separated by commas", found=found, fix="save the table with commas (CSV)"
        )


def check_rows(number: int, *, where: object) -> None:
    """Raise `InputError` if the number of a row is larger than `MAX_ROWS`, before it fills the memory."""
    if number > MAX_ROWS:
        fix = "check that it is the right file, or split it"
        raise InputError(where, expected=f"at most {MAX_ROWS:,} rows", found="more", fix=fix)


def split_csv(text: str, known: Collection[str], *, where: object) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each row of a table, the column names first.

    Blank lines, and comments (#) before the column names, are omitted but counted.

    Parameters
    ----------
    text
        The table.
    known
        Names of columns in lower case, by which another separator is noticed.
    where
        The file, which an error names with the line.

    Raises
    ------
    InputError
        If the columns are separated by something else than commas, a row is malformed, or there are more than
        `MAX_ROWS`.
    """
    lines = split_lines(text)
    first, header = next(((i, line) for i, line in enumerate(lines) if line.strip() and line[0] != "#"), (0, ""))
    check_separator(header, known, where=f"{where}:{first + 1}")
    row_size = 0

    def feed() -> Iterator[str]:
        nonlocal row_size
        for line in chain([header], lines):
            row_size += len(line) + 1
            if row_size > _MAX_ROW_SIZE:
                fix = "check that this is the right file"
                raise InputError(where, expected=f"rows of at most {_MAX_ROW_SIZE:,} characters", found="more", fix=fix)
            yield f"{line}\n"

    reader = csv.reader(feed(), strict=True)
    try:
        for number, row in enumerate(reader):
            row_size = 0
            check_rows(number, where=where)
            if row:
                yield first + reader.line_num, row
    except csv.Error as error:
        raise InputError(
            f"{where}:{first + reader.line_num}",
            expected="comma-separated values",
            found=str(error),
            fix="check that this is the right file",
        ) from None


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
