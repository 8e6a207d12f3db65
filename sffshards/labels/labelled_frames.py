"""Labels of a folder or a file, by horizon and frame, to be compared or parted anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Horizon
from sffshards.labels.data_layout import find_label_lists
from sffshards.labels.label_lists import read_label_list, read_parts

__all__ = ["Labels", "list_path", "read_labels"]

Labels = dict[FrameId, tuple[int, Part | None]]
"""Label and part of each frame, in the order of the lists; of no part, None."""


def read_labels(data: Path) -> dict[Horizon | None, Labels]:
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
        return {_horizon_of(data): _gather({None: read_label_list(data)})}
    whole = {horizon: path for horizon in Horizon if (path := list_path(data, horizon, None)).is_file()}
    try:
        return {horizon: _gather(read_parts(paths)) for horizon, paths in find_label_lists(data).items()}
    except InputError as error:
        if not whole or not error.found.startswith("none"):
            raise
    return {horizon: _gather({None: read_label_list(path)}) for horizon, path in whole.items()}


def list_path(folder: Path, horizon: Horizon, part: Part | None) -> Path:
    """Give where a list lies in a folder of lists; that of no part is called as the published one of all parts."""
    return folder / f"M{horizon.hours}" / f"flare_Mclass_{horizon}_{'orig' if part is None else part}.txt"


def _horizon_of(path: Path) -> Horizon | None:
    match = re.search(r"_(24h|48h)(?![a-z0-9])", path.name)
    return Horizon(match[1]) if match else None


def _gather(parts: Mapping[Part, list[LabelledFrame]] | Mapping[None, list[LabelledFrame]]) -> Labels:
    return {row.frame: (row.label, part) for part, rows in parts.items() for row in rows}
