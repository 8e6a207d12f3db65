"""Where a data set is on disk: its folder of images and its label lists, in the layouts that are in use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M48, Task, is_task_name

_SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})

IMAGE_FOLDER = "magnetogram_jpg"
"""Name of the folder of the published images."""

PUBLISHED_ROOT = "Seq_Magnetogram"
"""Folder in which the published lists lie."""

SYNTHETIC_NOTE = "synth.json"
"""File name of the record of what ``sffshards synth`` drew a data set from; it is written before anything else."""

WHOLE_LIST = "orig"
"""Stands for the part in the name of a list of all parts together, as in the published lists."""

PART_SELECTIONS = (tuple(Part), (Part.TEST,))
"""The combinations of parts that a data set may have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataLayout:
    """A data set on disk."""

    images: Path
    """Folder of the images, which are named ``<frame name>.fits.jpg``."""
    lists: dict[Task, dict[Part, Path]]
    """Label lists of all six parts, or of Test alone, for each task that has lists."""

    @property
    def is_synthetic(self) -> bool:
        """Whether ``sffshards synth`` drew the images: its record lies beside their folder."""
        return (self.images.parent / SYNTHETIC_NOTE).is_file()


def find_data(data: Path, *, images: Path | None = None, labels: Path | None = None) -> DataLayout:
    """Find images and lists in a folder, or in the folders that the user names.

    Parameters
    ----------
    data
        A folder with ``magnetogram_jpg/``, ``M24/`` and ``M48/``, or one with any of these in ``Seq_Magnetogram/``.
    images
        Folder of the images, if it is not in ``data``.
    labels
        Folder of the lists, if they are not in ``data``; it holds ``M24/`` and ``M48/``, or the lists themselves.

    Raises
    ------
    InputError
        If there are no images or no lists, or a task has some lists of training parts but not all.
    """
    return DataLayout(
        images=find_image_folder(data) if images is None else _require_folder(images, "a folder of images"),
        lists=find_label_lists(data if labels is None else _require_folder(labels, "a folder of label lists")),
    )


def find_image_folder(data: Path) -> Path:
    """Find the folder of images of a data set; raises `InputError` if there is none."""
    candidates = (data / IMAGE_FOLDER, data / PUBLISHED_ROOT / IMAGE_FOLDER)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise InputError(
        data,
        expected=f"images in {IMAGE_FOLDER}/ or {PUBLISHED_ROOT}/{IMAGE_FOLDER}/",
        found="neither folder" if data.is_dir() else "no such folder",
        fix="generate data with `sffshards synth`, or name the folders with {images} and {labels}",
    )


def find_label_lists(folder: Path) -> dict[Task, dict[Part, Path]]:
    """Find the lists of every task that has any: those of all six parts, or that of Test alone.

    Test alone can be forecast and scored, but not trained on. Any other selection is refused as incomplete.

    Raises
    ------
    InputError
        If there are no lists, or the list of a part is missing.
    """
    found: dict[Task, dict[Part, Path]] = {}
    for place in _list_folders(folder):
        for task, present in _find_lists(place).items():
            if task in found:
                continue
            if tuple(present) not in PART_SELECTIONS:
                missing = ", ".join(task.list_name(part) for part in Part if part not in present)
                raise InputError(
                    place,
                    expected=f"the {task} lists of all six parts, or of {Part.TEST} alone",
                    found=f"no {missing}",
                    fix="add the lists that are missing",
                )
            found[task] = present
    if not found:
        instead, fix = _describe_no_lists(folder)
        example = f"{M48.name}/{M48.list_name(Part.TEST)}"
        raise InputError(folder, expected=f"lists such as {example}", found=instead, fix=fix)
    return dict(sorted(found.items()))


def list_path(folder: Path, task: Task, part: Part | None) -> Path:
    """Return the path of a list in a folder of lists; None is the list of all parts together."""
    return folder / task.name / task.list_name(WHOLE_LIST if part is None else part)


def _list_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders that may hold lists: one per task, also in the published root, and the folder itself."""
    for root in (folder, folder / PUBLISHED_ROOT):
        if root.is_dir():
            with storage_errors(root):
                yield from sorted(path for path in root.iterdir() if is_task_name(path.name) and path.is_dir())
    yield folder


def _find_lists(place: Path) -> dict[Task, dict[Part, Path]]:
    """Return the lists of parts in a folder; a folder named after a task holds no lists of other tasks."""
    own = Task.parse(place.name) if is_task_name(place.name) else None
    found: dict[Task, dict[Part, Path]] = {}
    with storage_errors(place):
        paths = sorted(place.glob("flare_*class_*h_*.txt"))
    for path in paths:
        named = Task.of_list(path.name)
        if named is not None and named[1] in tuple(Part) and path.is_file() and own in (None, named[0]):
            found.setdefault(named[0], {})[Part(named[1])] = path
    return {task: {part: parts[part] for part in Part if part in parts} for task, parts in found.items()}


def _describe_no_lists(folder: Path) -> tuple[str, str]:
    """Return what is in a folder without lists, and the remedy: a file, or names that are nearly those of lists."""
    if folder.is_file():
        return "a file", "name the folder of the lists"
    if not folder.is_dir():
        return "no such folder", "check the path"
    near = next((path for path in _near_lists(folder) if not is_system_file(path.name)), None)
    if near is not None:
        return f"none, but {near.relative_to(folder)}", "rename the files and their folders as in this example"
    return "none", "generate data with `sffshards synth`, or name the folder of the lists"


def _near_lists(folder: Path) -> Iterator[Path]:
    for pattern in ("*", "*/*"):
        yield from (path for path in folder.glob(pattern) if re.match("flare_[a-z]class_", path.name, re.IGNORECASE))


def _require_folder(folder: Path, expected: str) -> Path:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise InputError(folder, expected=expected, found=found, fix="check the path")
    return folder


def is_system_file(name: str) -> bool:
    """Return whether a file belongs to an operating system, not to the data: ``._`` and other hidden files, previews.

    Examples
    --------
    >>> is_system_file("._image.fits.jpg"), is_system_file("Thumbs.db"), is_system_file("image.fits.jpg")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES
