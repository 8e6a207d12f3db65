"""Read and write label lists, one published frame name and its label per line; for an audit, faults are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRows:
    """The readable rows of a label list, and the faults found while reading."""

    path: Path
    """Path of the list."""
    rows: tuple[LabelledFrame, ...]
    """Readable rows in the order of the list; the first of each frame."""
    malformed: tuple[InputError, ...]
    """Errors of the rows that cannot be read."""
    duplicates: tuple[InputError, ...]
    """Errors of the rows that repeat a frame."""


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


def read_label_list(path: Path) -> list[LabelledFrame]:
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
    if not read.rows:
        raise InputError(path, expected="at least one line `<frame name> <0|1>`", found="none", fix="restore the list")
    return list(read.rows)


def read_parts(paths: Mapping[Part, Path]) -> dict[Part, list[LabelledFrame]]:
    """Read the lists of all parts, and refuse a frame that two parts share, which would be trained and tested on.

    Raises
    ------
    InputError
        As for `read_label_list`, or if a frame is in two parts.
    """
    parts = {part: read_label_list(path) for part, path in paths.items()}
    seen: dict[FrameId, tuple[Part, int]] = {}
    for part, rows in parts.items():
        for labelled in rows:
            other, row = seen.setdefault(labelled.frame, (part, labelled.row))
            if other is not part:
                raise InputError(
                    f"{paths[part]}:{labelled.row + 1}",
                    expected="every frame in one part only",
                    found=f"{labelled.frame.name}, which is also in {paths[other]}:{row + 1}",
                    fix="remove it from one of the two lists",
                )
    return parts


def format_label_list(rows: Iterable[tuple[FrameId, int]]) -> str:
    """Return the text of a label list as published; every line ends in a newline."""
    return "".join(f"{frame.name} {label}\n" for frame, label in rows)


def _read_rows(path: Path) -> ListRows:
    text = read_text(path)
    seen: dict[FrameId, LabelledFrame] = {}
    malformed, duplicates = [], []
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text.strip() else []):
        try:
            row = _parse_line(line, path=path, row=number)
        except InputError as error:
            malformed.append(error)
            continue
        first = seen.setdefault(row.frame, row)
        if first is not row:
            other = "" if first.label == row.label else f", labelled {row.label} and not {first.label}"
            duplicates.append(
                InputError(
                    f"{path}:{number + 1}",
                    expected="every frame once in a list",
                    found=f"{row.frame.name}, first on line {first.row + 1}{other}",
                    fix="remove one of the two lines",
                )
            )
    return ListRows(path=path, rows=tuple(seen.values()), malformed=tuple(malformed), duplicates=tuple(duplicates))


def _parse_line(line: str, *, path: Path, row: int) -> LabelledFrame:
    """Parse a line ``<frame name> <0|1>``, at position ``row`` from 0 in its file."""
    where = f"{path}:{row + 1}"
    fields = line.split()
    if len(fields) != 2:
        raise InputError(
            where,
            expected="two fields, `<frame name> <0|1>`",
            found=f"{len(fields)} in {line[:120]!r}",
            fix="correct or remove the line",
        )
    name, label = fields
    if label not in ("0", "1"):
        raise InputError(where, expected="label 0 or 1", found=repr(label[:40]), fix="correct or remove the line")
    return LabelledFrame(frame=FrameId.parse(name, where=where), label=int(label), row=row)
