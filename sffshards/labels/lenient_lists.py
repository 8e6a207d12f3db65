"""Label lists for an audit: rows that cannot be read are noted, not refused, and labels are compared with flares.

Shapes: n rows of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares, compute_labels, is_covered
from sffshards.labels.label_lists import parse_label_line, split_lines

__all__ = ["Disagreement", "ListRows", "Lists", "compare_with_flares", "read_lists"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRows:
    """The readable rows of a label list, and the faults found while reading."""

    path: Path
    """Path of the list."""
    harp: NDArray[np.int64]
    """HARP numbers, shape (n,)."""
    t_rec_tai: NDArray[np.datetime64]
    """Times of the frames, datetime64[s] of shape (n,)."""
    label: NDArray[np.int64]
    """Labels, 0 or 1, shape (n,)."""
    line: NDArray[np.int64]
    """Line numbers in the file, from 1, shape (n,)."""
    malformed: tuple[str, ...] = ()
    """Descriptions of the rows that cannot be read."""
    duplicates: tuple[str, ...] = ()
    """Descriptions of the rows that repeat a frame; the first row of a frame counts."""


Lists = Mapping[Task, Mapping[Part, ListRows]]
"""The lists of all parts of each task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """The rows of a list that disagree with a flare catalogue, each a bool array of shape (n,)."""

    missed: NDArray[np.bool_]
    """Rows labelled 0 although the catalogue has a flare."""
    extra: NDArray[np.bool_]
    """Rows labelled 1 although the catalogue has no flare."""
    uncovered: NDArray[np.bool_]
    """Rows whose forecast window is not entirely within the time of the flare list."""


def read_lists(lists: Mapping[Task, Mapping[Part, Path]]) -> dict[Task, dict[Part, ListRows]]:
    """Read lists as `sffshards.labels.find_label_lists` finds them.

    Raises
    ------
    InputError
        If a list is not text.
    StorageError
        If a list cannot be read.
    """
    return {task: {part: _read(path) for part, path in parts.items()} for task, parts in lists.items()}


def compare_with_flares(read: Lists, flares: HarpFlares) -> dict[Task, dict[Part, Disagreement]]:
    """Compare every label with whether a flare of its HARP came in ``(t, t + horizon]``."""
    return {task: {part: _compare(rows, task, flares) for part, rows in parts.items()} for task, parts in read.items()}


def _read(path: Path) -> ListRows:
    seen: dict[FrameId, LabelledFrame] = {}
    malformed, duplicates = [], []
    for row, line in enumerate(split_lines(read_text(path))):
        try:
            labelled = parse_label_line(line, path=path, row=row)
        except InputError as error:
            malformed.append(f"{error.where}: {error.found}")
            continue
        first = seen.setdefault(labelled.frame, labelled)
        if first is not labelled:
            other = "" if first.label == labelled.label else f", labelled {labelled.label} and not {first.label}"
            name = labelled.frame.name
            duplicates.append(f"{path}:{row + 1}: {name}, first on line {first.row + 1}{other}")
    rows = list(seen.values())
    return ListRows(
        path=path,
        harp=np.array([row.frame.harp for row in rows], np.int64),
        t_rec_tai=np.array([row.frame.t_rec_tai for row in rows], "datetime64[s]"),
        label=np.array([row.label for row in rows], np.int64),
        line=np.array([row.row + 1 for row in rows], np.int64),
        malformed=tuple(malformed),
        duplicates=tuple(duplicates),
    )


def _compare(rows: ListRows, task: Task, flares: HarpFlares) -> Disagreement:
    came = compute_labels(flares, rows.harp, rows.t_rec_tai, task=task)
    return Disagreement(
        missed=came & (rows.label == 0),
        extra=~came & (rows.label == 1),
        uncovered=~is_covered(flares, rows.t_rec_tai, horizon_hours=task.horizon_hours),
    )
