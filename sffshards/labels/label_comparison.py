"""Labels of a folder or a file by task and frame, and the comparison of two sets of labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import GoesClass, Task
from sffshards.labels.data_layout import WHOLE_LIST, find_label_lists, list_path
from sffshards.labels.label_lists import read_label_list, read_parts

Labels = dict[FrameId, tuple[int, Part | None]]
"""Label and part of each frame, in the order of the lists; the part is None in a list of all parts together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelDiff:
    """The frames in which two sets of lists of a task differ, in the order of the lists."""

    num_both: int
    """Number of frames that both have."""
    only_first: tuple[FrameId, ...]
    """Frames that only the first has."""
    only_second: tuple[FrameId, ...]
    """Frames that only the second has."""
    lost: tuple[FrameId, ...]
    """Frames labelled 1 in the first and 0 in the second."""
    gained: tuple[FrameId, ...]
    """Frames labelled 0 in the first and 1 in the second."""
    moved: tuple[FrameId, ...]
    """Frames in another part in the second."""

    @property
    def is_same(self) -> bool:
        """Whether frames, labels and parts are all equal."""
        return not (self.only_first or self.only_second or self.lost or self.gained or self.moved)


def diff_labels(first: Labels, second: Labels) -> LabelDiff:
    """Compare the labels and parts of all frames.

    Parameters
    ----------
    first, second
        Labels from `read_labels`; a frame without a part counts as not moved.
    """
    both = [frame for frame in first if frame in second]
    change = {frame: second[frame][0] - first[frame][0] for frame in both}
    return LabelDiff(
        num_both=len(both),
        only_first=tuple(frame for frame in first if frame not in second),
        only_second=tuple(frame for frame in second if frame not in first),
        lost=tuple(frame for frame in both if change[frame] < 0),
        gained=tuple(frame for frame in both if change[frame] > 0),
        moved=tuple(
            frame
            for frame in both
            if None not in (first[frame][1], second[frame][1]) and first[frame][1] is not second[frame][1]
        ),
    )


def read_labels(data: Path) -> dict[Task | None, Labels]:
    """Read all labels in a folder, or of one list.

    Parameters
    ----------
    data
        A folder with the lists of each part, or of all parts together (``M48/flare_Mclass_48h_orig.txt``); or a list.

    Returns
    -------
    dict
        Labels of each task that has lists; the task is None for a list whose name does not state it.

    Raises
    ------
    InputError
        If there are no lists, or one is malformed.
    StorageError
        If a list cannot be read.
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


def _find_whole(folder: Path) -> dict[Task, Path]:
    """Return the lists of all parts together in a folder of lists."""
    found = (
        (named[0], path)
        for path in sorted(folder.glob(f"*/*_{WHOLE_LIST}.txt"))
        if (named := Task.of_list(path.name)) is not None and path == list_path(folder, named[0], None)
    )
    return dict(sorted(found))


def _task_of(path: Path) -> Task | None:
    """Return the task that a list's name states; a name without a class means M1.0."""
    match = re.search(r"(?:_([ABCMX](?:\d+\.\d)?)class)?_(\d{1,4})h(?![a-z0-9])", path.name)
    if match is None:
        return None
    letter = match[1] or "M"
    threshold = GoesClass.parse(letter if len(letter) > 1 else f"{letter}1.0")
    return Task(threshold=threshold, horizon_hours=int(match[2]))


def _gather(parts: Mapping[Part, LabelledFrames] | Mapping[None, LabelledFrames]) -> Labels:
    return {row.frame: (row.label, part) for part, rows in parts.items() for row in rows}
