"""Labels of a folder or a file, by horizon and frame, to be compared or parted anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import GoesClass, Task
from sffshards.labels.data_layout import find_label_lists
from sffshards.labels.label_lists import read_label_list, read_parts

__all__ = ["Labels", "list_path", "read_labels"]

_WHOLE = "orig"
"""What the name of a list of no part has in place of the part, as the published lists of all parts."""

Labels = dict[FrameId, tuple[int, Part | None]]
"""Label and part of each frame, in the order of the lists; of no part, None."""


def read_labels(data: Path) -> dict[Task | None, Labels]:
    """Read all labels of a place.

    Parameters
    ----------
    data
        A folder with the lists of all parts, or with lists of no part (``M48/flare_Mclass_48h_orig.txt``); or a list.

    Returns
    -------
    dict
        By horizon, only those that are there; a list whose name does not tell its own has None.

    Raises
    ------
    InputError
        If there is no list, or one is malformed.
    StorageError
        If one cannot be read.
    """
    if data.is_file():
        return {_task_of(data): _gather({None: read_label_list(data)})}
    whole = _find_whole(data)
    try:
        return {task: _gather(read_parts(paths)) for task, paths in find_label_lists(data).items()}
    except InputError as error:
        if not whole or not error.found.startswith("none"):
            raise
    return {task: _gather({None: read_label_list(path)}) for task, path in whole.items()}


def list_path(folder: Path, task: Task, part: Part | None) -> Path:
    """Return the path of a list in a folder of lists; a list of no part is named as the published one of all parts."""
    return folder / task.name / task.list_name(_WHOLE if part is None else part)


def _find_whole(folder: Path) -> dict[Task, Path]:
    """Return the lists of no part in a folder of lists."""
    found = (
        (named[0], path)
        for path in sorted(folder.glob(f"*/*_{_WHOLE}.txt"))
        if (named := Task.of_list(path.name)) is not None and path == list_path(folder, named[0], None)
    )
    return dict(sorted(found))


def _task_of(path: Path) -> Task | None:
    """Return the task that a list's name states; the threshold may be missing from it and is M1.0 then."""
    match = re.search(r"(?:_([ABCMX](?:\d+\.\d)?)class)?_(\d{1,4})h(?![a-z0-9])", path.name)
    if match is None:
        return None
    letter = match[1] or "M"
    threshold = GoesClass.parse(letter if len(letter) > 1 else f"{letter}1.0")
    return Task(threshold=threshold, horizon_hours=int(match[2]))


def _gather(parts: Mapping[Part, list[LabelledFrame]] | Mapping[None, list[LabelledFrame]]) -> Labels:
    return {row.frame: (row.label, part) for part, rows in parts.items() for row in rows}
