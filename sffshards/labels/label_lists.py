"""Read and write label lists: one published frame name and its label per line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part

__all__ = ["format_label_list", "parse_label_line", "read_label_list", "read_parts", "split_lines"]


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
    lines = split_lines(read_text(path))
    if not lines:
        raise InputError(path, expected="at least one line `<frame name> <0|1>`", found="none", fix="restore the list")
    seen: dict[FrameId, int] = {}
    rows = []
    for row, line in enumerate(lines):
        labelled = parse_label_line(line, path=path, row=row)
        first = seen.setdefault(labelled.frame, row)
        if first != row:
            raise InputError(
                f"{path}:{row + 1}",
                expected="every frame once in a list",
                found=f"{labelled.frame.name} again, first on line {first + 1}",
                fix="remove one of the two lines",
            )
        rows.append(labelled)
    return rows


def read_parts(paths: Mapping[Part, Path]) -> dict[Part, list[LabelledFrame]]:
    """Read the lists of all parts, and refuse a frame that two parts share, which would be trained and tested on.

    Raises
    ------
    InputError
        As for `read_label_list`, or if a frame is in two parts.
    """
    parts = {part: read_label_list(path) for part, path in paths.items()}
    seen: dict[tuple[int, datetime], tuple[Part, int]] = {}
    for part, rows in parts.items():
        for labelled in rows:
            frame = labelled.frame
            other, row = seen.setdefault((frame.harp, frame.t_rec_tai), (part, labelled.row))
            if other is not part:
                raise InputError(
                    f"{paths[part]}:{labelled.row + 1}",
                    expected="every frame in one part only",
                    found=f"{frame.name}, which is also in {paths[other]}:{row + 1}",
                    fix="remove it from one of the two lists",
                )
    return parts


def format_label_list(rows: Iterable[tuple[FrameId, int]]) -> str:
    """Return the text of a label list as published; every line ends in a newline."""
    return "".join(f"{frame.name} {label}\n" for frame, label in rows)


def split_lines(text: str) -> list[str]:
    """Return the lines of a list, none of blank text; the last newline is optional."""
    return text.removesuffix("\n").split("\n") if text.strip() else []


def parse_label_line(line: str, *, path: Path, row: int) -> LabelledFrame:
    """Parse a line ``<frame name> <0|1>``, at position ``row`` from 0 in its file.

    Raises
    ------
    InputError
        If the line is not of that form; the error names the file and line.
    """
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
