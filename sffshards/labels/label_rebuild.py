"""Labels from a flare list, for any frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import check_replaceable, write_files
from sffshards.base.csv_tables import check_rows
from sffshards.base.errors import DamageError, InputError
from sffshards.base.file_reading import read_text, split_lines
from sffshards.base.json_records import JsonFormat, format_json, read_content, seal
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_codes import codes_of, harps_of, times_of
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId, HarpNumbers
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.domain.times import check_past
from sffshards.flares import HarpFlares, has_flare
from sffshards.labels.data_layout import IMAGE_FOLDER, PUBLISHED_ROOT, find_label_lists
from sffshards.labels.image_folder import format_others, list_images
from sffshards.labels.label_lists import read_parts

REBUILT_NAME = "labels.json"
"""Name of the file that records how lists were rebuilt."""
_BY_TASK = ("thresholds", "lists")
"""Fields of the record that have entries for each task."""
_EXPECTS = JsonFormat(
    expected="the record of label lists", fix="restore it, or write the lists again with `sffshards labels rebuild`"
)


def find_frames(data: Path, *, task: Task, progress: Progress = SILENT) -> dict[Part | None, list[FrameId]]:
    """Find the frames to label, in the order in which they are listed.

    Parameters
    ----------
    data
        A folder of label lists, whose frames and parts are kept; or a file with a frame name at the start of each
        line; or a folder of images.
    task
        The task whose lists are preferred where there are several; then those of the same horizon, then any.
    progress
        Receives a note on what else is in a folder of images.

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
        return {None: _find_images(data, progress)}
    chosen = min(lists, key=lambda other: (other != task, other.horizon_hours != task.horizon_hours))
    parts = read_parts(lists[chosen])
    return {part: [row.frame for row in rows] for part, rows in parts.items()}


def label_frames(frames: Sequence[FrameId], flares: HarpFlares, *, task: Task) -> list[int | None]:
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
    list of int or None
        One label per frame; 0 for HARPs without known regions. None where the list does not cover the whole of
        ``(t, t + horizon]``, even if it has a flare in a part of it: were these frames kept, and those without a flare
        left out, the outcome would decide which frames are labelled.
    """
    labels, is_known = find_labels(codes_of(frames), flares, task=task)
    return [label if known else None for label, known in zip(labels.tolist(), is_known.tolist(), strict=True)]


def find_labels(
    codes: NDArray[np.int64], flares: HarpFlares, *, task: Task
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return of n frames by their codes the labels, and which of these are known; see `label_frames`.

    Returns
    -------
    labels
        int64 of shape (n,): 1 where a flare follows within the horizon, 0 where the list has none.
    is_known
        bool of shape (n,): whether the list covers the whole horizon; the other labels mean nothing.
    """
    return find_flared(codes, flares, task=task).astype(np.int64), find_covered(codes, flares, task=task)


def require_known_labels(num_known: int, num_frames: int, flares: HarpFlares, *, where: str) -> None:
    """Check that a flare list determines the label of some frame; raises `InputError` that counts them otherwise."""
    if num_frames and not num_known:
        raise InputError(
            flares.flares.source,
            expected=f"flares of the horizon after {where}",
            found=f"a list from {flares.first} to {flares.last}, which covers that of none of {num_frames:,}",
            fix="use a list of these times, or state what it covers in a first line such as "
            "`# covers 2010-05-01 to 2026-11-25`, or with {flares_until}",
        )


def find_flared(codes: NDArray[np.int64], flares: HarpFlares, *, task: Task) -> NDArray[np.bool_]:
    """Return of n frames by their codes whether the list has a flare within the horizon, bool of shape (n,)."""
    window = {"after_hours": 0, "until_hours": task.horizon_hours}
    return has_flare(flares, harps_of(codes), times_of(codes), threshold=task.threshold, **window)


def find_covered(codes: NDArray[np.int64], flares: HarpFlares, *, task: Task) -> NDArray[np.bool_]:
    """Return for each frame whether its forecast window is within the time that the flare list covers."""
    times = times_of(codes)
    covered: NDArray[np.bool_] = (times >= flares.first) & (
        times + np.timedelta64(task.horizon_hours, "h") <= flares.last
    )
    return covered


def read_stated_numbers(folder: Path) -> HarpNumbers | None:
    """Return which HARP numbers the record of a folder of lists states; None where it states none.

    Raises
    ------
    DamageError
        If the record is not one, or has changed since it was written.
    """
    path = folder / REBUILT_NAME
    stated = read_content(path, expects=_EXPECTS).get("harp_numbers") if path.is_file() else None
    return HarpNumbers(stated) if stated in tuple(HarpNumbers) else None


def format_stated_numbers(numbers: HarpNumbers) -> bytes:
    """Return a record for a folder of lists that states which HARP numbers they have."""
    return format_json(seal({"format_version": 3, "harp_numbers": str(numbers), "lists": {}}))


def write_rebuilt(texts: Mapping[Path, str], record: Mapping[str, Any], *, out: Path, force: bool) -> None:
    """Write label lists and their record ``labels.json``, or nothing if a file would replace another.

    An existing record of the same rule and catalogue, such as that of another task's lists, is extended.

    Parameters
    ----------
    texts
        Content of each list, by its path in ``out``.
    record
        Record of how the lists were made, with their statistics under ``lists``, and those of classes under
        ``thresholds``.
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
    path = out / REBUILT_NAME
    lists = {place: text.encode("ascii") for place, text in texts.items()}
    merged = _merge_record(path, record)
    data = format_json(seal(dict(record) if merged is None else merged))
    check_replaceable(lists if merged else {**lists, path: data}, force=force)
    write_files({**lists, path: data}, force=True)


def _merge_record(path: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record with the lists of an existing one added, or None if that one is of another rule."""
    if not path.exists():
        return dict(record)
    try:
        existing = read_content(path, expects=_EXPECTS)
    except DamageError:
        return None
    if not all(isinstance(existing.get(name), dict) for name in _BY_TASK):
        return None
    rules = [{name: value for name, value in of.items() if name not in _BY_TASK} for of in (existing, record)]
    if rules[0] != rules[1]:
        return None
    return {**record, **{name: existing[name] | record[name] for name in _BY_TASK}}


def _read_names(path: Path) -> list[FrameId]:
    seen: dict[FrameId, int] = {}
    for number, line in enumerate(split_lines(read_text(path)), 1):
        check_rows(number, where=path)
        fields = line.split()
        fix = "correct or remove the line" if seen else "correct the line, or check that this is a file of frame names"
        frame = FrameId.parse(fields[0] if fields else "", where=f"{path}:{number}", fix=fix)
        check_past(frame.t_rec_tai, where=f"{path}:{number}", fix="correct or remove the line")
        first = seen.setdefault(frame, number)
        if first != number:
            raise InputError(
                f"{path}:{number}", expected="every frame once", found=f"one of line {first}", fix="remove the line"
            )
    return list(seen)


def _find_images(data: Path, progress: Progress) -> list[FrameId]:
    folders = (data / IMAGE_FOLDER, data / PUBLISHED_ROOT / IMAGE_FOLDER, data)
    folder = next((folder for folder in folders if folder.is_dir()), data)
    names, others = list_images(folder)
    if not names:
        raise InputError(
            folder,
            expected=f"label lists, or images named <frame name>{IMAGE_SUFFIX}",
            found=format_others(others) or "neither",
            fix="convert them with `sffshards ingest`"
            if "FITS files" in others
            else "name the folder of the lists, of the images, or a file of frame names",
        )
    if others:
        progress.note(f"{folder}: {format_others(others)} not taken")
    return sorted(
        FrameId.parse(name.removesuffix(IMAGE_SUFFIX), where=folder / name, fix="rename or remove the file")
        for name in names
    )
