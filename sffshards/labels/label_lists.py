"""Read and write label lists, one published frame name and its label per line; for an audit, faults are kept."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.csv_tables import check_rows
from sffshards.base.errors import InputError
from sffshards.base.file_reading import read_text, split_lines
from sffshards.domain.frame_codes import first_places, name_of, parse_code
from sffshards.domain.frames import FrameId
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.domain.times import latest_time


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRows:
    """The readable rows of a label list, and the faults found while reading."""

    path: Path
    """Path of the list."""
    rows: LabelledFrames
    """Readable rows in the order of the list; the first of each frame."""
    malformed: tuple[InputError, ...]
    """Errors of the rows that cannot be read."""
    duplicates: tuple[InputError, ...]
    """Errors of the rows that repeat a frame."""


_MAX_FAULTS = 100_000
"""Largest number of faulty lines that are kept; the published lists have 59,384 lines at most."""

_LABELS = {"0": 0, "1": 1}

Lists = Mapping[Task, Mapping[Part, ListRows]]
"""The lists of all parts of each task."""


def read_lists(lists: Mapping[Task, Mapping[Part, Path]]) -> dict[Task, dict[Part, ListRows]]:
    """Read lists as `sffshards.labels.find_label_lists` finds them, with their faults.

    Raises
    ------
    InputError
        If a list is not text.
    StorageError
        If a list cannot be read.
    """
    return {task: {part: _read_rows(path) for part, path in parts.items()} for task, parts in lists.items()}


def read_label_list(path: Path) -> LabelledFrames:
    """Read a label list in its own order.

    Parameters
    ----------
    path
        A text file with lines ``<frame name> <0|1>``; the last line may lack its newline.

    Raises
    ------
    InputError
        If the list is empty, a line is not of that form, or a frame is repeated; the error names the line.
    StorageError
        If the file cannot be read.
    """
    read = _read_rows(path)
    for error in (*read.malformed, *read.duplicates):
        raise error
    if not len(read.rows):
        raise InputError(path, expected="at least one line `<frame name> <0|1>`", found="none", fix="restore the list")
    return read.rows


def read_parts(paths: Mapping[Part, Path]) -> dict[Part, LabelledFrames]:
    """Read the lists of all parts, and refuse a frame that two parts share, which would be trained and tested on.

    Raises
    ------
    InputError
        As for `read_label_list`, or if a frame is in two parts.
    """
    parts = {part: read_label_list(path) for part, path in paths.items()}
    codes = np.concatenate([rows.codes for rows in parts.values()])
    firsts = first_places(codes)
    if (repeated := np.flatnonzero(firsts != np.arange(len(codes)))).size:
        places = [(part, row) for part, rows in parts.items() for row in rows.rows.tolist()]
        (part, row), (other, first) = places[repeated[0]], places[firsts[repeated[0]]]
        raise InputError(
            f"{paths[part]}:{row + 1}",
            expected="every frame in one part only",
            found=f"{name_of(codes[repeated[0]].item())}, which is also in {paths[other]}:{first + 1}",
            fix="remove it from one of the two lists",
        )
    return parts


def format_label_list(rows: Iterable[tuple[FrameId, int]]) -> str:
    """Return the text of a label list as published; every line ends in a newline."""
    return "".join(f"{frame.name} {label}\n" for frame, label in rows)


def _read_rows(path: Path) -> ListRows:
    text = read_text(path)
    codes, labels, numbers = array("q"), array("B"), array("L")
    malformed: list[InputError] = []
    latest = latest_time()
    for number, line in enumerate(split_lines(text) if text.strip() else []):
        check_rows(number + 1, where=path)
        if len(malformed) > _MAX_FAULTS:
            raise _no_list(path, malformed[0])
        try:
            code, label = _parse_line(line, path=path, row=number, latest=latest)
        except InputError as error:
            malformed.append(error)
        else:
            codes.append(code)
            labels.append(label)
            numbers.append(number)
    rows = LabelledFrames(np.array(codes, np.int64), np.array(labels, np.uint8), np.array(numbers, np.uint32))
    firsts = first_places(rows.codes)
    is_first = firsts == np.arange(len(rows))
    if len(malformed) + np.count_nonzero(~is_first) > _MAX_FAULTS:
        raise _no_list(path, next(chain(malformed, _describe_repeated(path, rows, firsts, ~is_first))))
    duplicates = tuple(_describe_repeated(path, rows, firsts, ~is_first))
    return ListRows(path=path, rows=rows.take(is_first), malformed=tuple(malformed), duplicates=duplicates)


def _describe_repeated(
    path: Path, rows: LabelledFrames, firsts: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> Iterator[InputError]:
    """Yield an error for each row whose frame an earlier row has."""
    for row, first in zip(rows.take(chosen), rows.take(firsts[chosen]), strict=True):
        other = "" if first.label == row.label else f", labelled {row.label} and not {first.label}"
        yield InputError(
            f"{path}:{row.row + 1}",
            expected="every frame once in a list",
            found=f"{row.frame.name}, first on line {first.row + 1}{other}",
            fix="remove one of the two lines",
        )


def _no_list(path: Path, first: InputError) -> InputError:
    """Return the error of a text with so many faults that it is no label list."""
    found = f"more, the first in {first.where.rpartition('/')[2]}: {first.found}"
    expected = f"a label list, with at most {_MAX_FAULTS:,} faulty lines"
    return InputError(path, expected=expected, found=found, fix="check that this is a label list")


def _parse_line(line: str, *, path: Path, row: int, latest: datetime) -> tuple[int, int]:
    """Return the code and the label of a line ``<frame name> <0|1>``, at position ``row`` from 0 in its file."""
    fields = line.split()
    if len(fields) == 2 and fields[1] in _LABELS:
        code = parse_code(fields[0], latest=latest)
        if code is not None:
            return code, _LABELS[fields[1]]
    raise _explain_line(line, path=path, row=row)


def _explain_line(line: str, *, path: Path, row: int) -> InputError:
    """Return the error of a line that cannot be read."""
    where, fields = f"{path}:{row + 1}", line.split()
    fix = "correct or remove the line" if row else "correct the line, or check that this is a label list"
    if len(fields) != 2:
        return InputError(
            where,
            expected="two fields, `<frame name> <0|1>`",
            found=f"{len(fields)} in {line[:120]!r}",
            fix="separate the two by a blank" if re.match(r"hmi\.\S+[,;|]", line) else fix,
        )
    if fields[1] not in _LABELS:
        return InputError(where, expected="label 0 or 1", found=repr(fields[1][:40]), fix=fix)
    try:
        frame = FrameId.parse(fields[0], where=where, fix=fix)
    except InputError as error:
        return error
    return InputError(
        where, expected="a time in the past", found=frame.t_rec_tai.isoformat(), fix="correct or remove the line"
    )
