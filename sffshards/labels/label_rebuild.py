"""Labels from a flare list, for any frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import check_replaceable, read_text, storage_errors, write_files
from sffshards.base.errors import InputError
from sffshards.base.json_records import format_json, read_own_json
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares, has_flare
from sffshards.labels.data_layout import IMAGE_FOLDER, PUBLISHED_ROOT, find_label_lists
from sffshards.labels.label_lists import read_parts

RECORD_NAME = "labels.json"
"""Name of the file that records how lists were rebuilt."""


def find_frames(data: Path, *, task: Task) -> dict[Part | None, list[FrameId]]:
    """Find the frames to label, in the order in which they are listed.

    Parameters
    ----------
    data
        A folder of label lists, whose frames and parts are kept; or a file with a frame name at the start of each
        line; or a folder of images.
    task
        The task whose lists are preferred where there are several; then those of the same horizon, then any.

    Returns
    -------
    dict
        Frames of each part. Those of a file, in its order, or of images, by HARP and time, have the part None.

    Raises
    ------
    InputError
        If there are no frames, or a name is not that of a frame.
    StorageError
        If a file cannot be read.
    """
    if data.is_file():
        return {None: _read_names(data)}
    try:
        lists = find_label_lists(data)
    except InputError as error:
        if not error.found.startswith("none"):  # an incomplete set of lists, or no folder at all
            raise
        return {None: _list_images(data)}
    chosen = min(lists, key=lambda other: (other != task, other.horizon_hours != task.horizon_hours))
    parts = read_parts(lists[chosen])
    return {part: [row.frame for row in rows] for part, rows in parts.items()}


def label_frames(frames: Sequence[FrameId], flares: HarpFlares, *, task: Task) -> list[int]:
    """Return the labels of frames: 1 where a flare of the frame's HARP came in ``(t, t + horizon]``, else 0.

    Parameters
    ----------
    frames
        Frames in any order.
    flares
        Flares from `sffshards.flares.assign_flares`, which defines the time and the clock by which they count.
    task
        The event to look for.

    Returns
    -------
    list of int
        One label per frame; 0 for HARPs without known regions and for times that the flare list does not cover.
    """
    harps = np.array([frame.harp for frame in frames], np.int64)
    window = {"after_hours": 0, "until_hours": task.horizon_hours}
    return [int(came) for came in has_flare(flares, harps, _times(frames), threshold=task.threshold, **window)]


def are_covered(frames: Sequence[FrameId], flares: HarpFlares, *, task: Task) -> list[bool]:
    """Return for each frame whether its forecast window lies between the first and the last flare of the list."""
    times = _times(frames)
    covered = (times >= flares.first) & (times + np.timedelta64(task.horizon_hours, "h") <= flares.last)
    return [bool(of_frame) for of_frame in covered]


def count_unfounded(frames: Sequence[FrameId], flares: HarpFlares, *, task: Task) -> tuple[int, int]:
    """Count the frames whose label 0 may only mean that flares are unknown.

    Returns
    -------
    tuple
        The number of frames whose HARP has no region in the map, and the number of those whose forecast window is not
        entirely within the time of the flare list.
    """
    num_unknown = sum(not flares.knows(frame.harp) for frame in frames)
    return num_unknown, are_covered(frames, flares, task=task).count(False)


def write_rebuilt(texts: Mapping[Path, str], record: Mapping[str, Any], *, out: Path, force: bool) -> None:
    """Write label lists and their record ``labels.json``, or nothing if a file would replace another.

    An existing record of the same rule and catalogue, such as that of another horizon's lists, is extended.

    Parameters
    ----------
    texts
        Content of each list, by its path in ``out``.
    record
        Record of how the lists were made, with their statistics under ``lists``.
    out
        Folder of the lists.
    force
        Whether to replace files of other content.

    Raises
    ------
    ConflictError
        If files of other content or the record of other lists exist, and not ``force``.
    StorageError
        If the system refuses.
    """
    path = out / RECORD_NAME
    lists = {place: text.encode("ascii") for place, text in texts.items()}
    merged = _merge_record(path, record)
    data = format_json(record if merged is None else merged)
    check_replaceable(lists if merged else {**lists, path: data}, force=force)
    write_files({**lists, path: data}, force=True)


def _times(frames: Sequence[FrameId]) -> NDArray[np.datetime64]:
    return np.array([frame.t_rec_tai for frame in frames], "datetime64[s]")


def _merge_record(path: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record with the lists of an existing one added, or None if that one is of another rule."""
    if not path.exists():
        return dict(record)
    existing = read_own_json(path)
    if not isinstance(existing, dict) or not isinstance(existing.get("lists"), dict):
        return None
    same = existing | {"lists": {}} == {**record, "lists": {}}
    return {**record, "lists": existing["lists"] | record["lists"]} if same else None


def _read_names(path: Path) -> list[FrameId]:
    seen: dict[FrameId, int] = {}
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), 1):
        fields = line.split()
        frame = FrameId.parse(fields[0] if fields else "", where=f"{path}:{number}")
        first = seen.setdefault(frame, number)
        if first != number:
            raise InputError(
                f"{path}:{number}", expected="every frame once", found=f"one of line {first}", fix="remove the line"
            )
    return list(seen)


def _list_images(data: Path) -> list[FrameId]:
    folders = [
        folder for folder in (data / IMAGE_FOLDER, data / PUBLISHED_ROOT / IMAGE_FOLDER, data) if folder.is_dir()
    ]
    with storage_errors(data):
        names = [path.name for path in folders[0].iterdir() if path.name.endswith(IMAGE_SUFFIX)] if folders else []
    if not names:
        raise InputError(
            data,
            expected=f"label lists, or images named <frame name>{IMAGE_SUFFIX}",
            found="neither",
            fix="name the folder of the lists, of the images, or a file of frame names",
        )
    return sorted(FrameId.parse(name.removesuffix(IMAGE_SUFFIX), where=data / name) for name in names)
