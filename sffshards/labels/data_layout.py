"""Where a data set lies: its folder of images and its label lists, found in the layouts that are in use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.domain.published_names import format_list_name
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Horizon

__all__ = ["PART_SELECTIONS", "DataLayout", "find_data", "find_image_folder", "find_label_lists"]

IMAGE_FOLDER = "magnetogram_jpg"
"""Folder of the published images."""

PUBLISHED_ROOT = "Seq_Magnetogram"
"""Folder in which the published lists lie."""


PART_SELECTIONS = (tuple(Part), (Part.TEST,))
"""The parts that a data set may have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataLayout:
    """A data set on disk."""

    images: Path
    """Folder of images, named ``<frame name>.fits.jpg``."""
    lists: dict[Horizon, dict[Part, Path]]
    """The label lists of all six parts, or of Test alone, by horizon; only horizons that are there."""


def find_data(data: Path, *, images: Path | None = None, labels: Path | None = None) -> DataLayout:
    """Find images and lists under a folder, or where the user says they are.

    Parameters
    ----------
    data
        A folder with ``magnetogram_jpg/``, ``M24/`` and ``M48/``, or one with any of these in ``Seq_Magnetogram/``.
    images
        The folder of images, where it is elsewhere.
    labels
        The folder of lists, where it is elsewhere; with ``M24/`` and ``M48/`` in it, or the lists themselves.

    Raises
    ------
    InputError
        If either is not there, or a horizon lacks the list of a part and has others than that of Test.
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
        fix="make data with `sffshards synth`, or name the folders with --images and --labels",
    )


def find_label_lists(folder: Path) -> dict[Horizon, dict[Part, Path]]:
    """Find the lists of every horizon that has any: those of all six parts, or that of Test alone.

    Test alone is what can be forecast and scored, and not trained on. Any other selection is taken for a loss.

    Raises
    ------
    InputError
        If there are none, or a part lacks its own.
    """
    found = {}
    for horizon in Horizon:
        for place in _list_folders(folder, horizon):
            paths = {part: place / format_list_name(horizon, part) for part in Part}
            present = {part: path for part, path in paths.items() if path.is_file()}
            if not present:
                continue
            if tuple(present) not in PART_SELECTIONS:
                missing = ", ".join(path.name for part, path in paths.items() if part not in present)
                raise InputError(
                    place,
                    expected=f"the {horizon} lists of all six parts, or of {Part.TEST} alone",
                    found=f"no {missing}",
                    fix="add the lists that are missing",
                )
            found[horizon] = present
            break
    if not found:
        raise InputError(
            folder,
            expected=f"lists such as M48/{format_list_name(Horizon.H48, Part.TEST)}",
            found="none" if folder.is_dir() else "no such folder",
            fix="make data with `sffshards synth`, or name the folder of the lists with --labels",
        )
    return found


def _list_folders(folder: Path, horizon: Horizon) -> tuple[Path, ...]:
    name = f"M{horizon.hours}"
    return folder / name, folder / PUBLISHED_ROOT / name, folder


def _require_folder(folder: Path, expected: str) -> Path:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise InputError(folder, expected=expected, found=found, fix="check the path")
    return folder
