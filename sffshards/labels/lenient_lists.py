"""Label lists read for an audit: what cannot be read is noted, not refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.labels.audit_records import ListRows
from sffshards.labels.label_lists import parse_label_line

__all__ = ["read_lists"]


def read_lists(lists: Mapping[Task, Mapping[Part, Path]]) -> dict[Task, dict[Part, ListRows]]:
    """Read lists, such as `sffshards.labels.data_layout.find_label_lists` finds.

    Raises
    ------
    InputError
        If a list is not text.
    StorageError
        If a list cannot be read.
    """
    return {task: {part: _read(path) for part, path in parts.items()} for task, parts in lists.items()}


def _read(path: Path) -> ListRows:
    text = read_text(path)
    seen: dict[FrameId, LabelledFrame] = {}
    malformed, duplicates = [], []
    for row, line in enumerate(text.removesuffix("\n").split("\n") if text.strip() else []):
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
