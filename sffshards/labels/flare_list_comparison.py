"""Label lists against a catalogue of flares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares, compute_labels, is_covered
from sffshards.labels.audit_records import ListRows

__all__ = ["Disagreement", "compare_with_flares"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """Which rows of a list disagree with a catalogue."""

    missed: NDArray[np.bool_]
    """Labelled 0 though it has a flare, shape (n,)."""
    extra: NDArray[np.bool_]
    """Labelled 1 though it has none, shape (n,)."""
    uncovered: NDArray[np.bool_]
    """Whose horizon is not all within the time of the flare list, shape (n,)."""


def compare_with_flares(
    read: Mapping[Task, Mapping[Part, ListRows]], flares: HarpFlares
) -> dict[Task, dict[Part, Disagreement]]:
    """Compare every row with whether a flare of its HARP came in ``(t, t + horizon]``."""
    return {task: {part: _compare(rows, task, flares) for part, rows in parts.items()} for task, parts in read.items()}


def _compare(rows: ListRows, task: Task, flares: HarpFlares) -> Disagreement:
    came = compute_labels(flares, rows.harp, rows.t_rec_tai, task=task)
    return Disagreement(
        missed=came & (rows.label == 0),
        extra=~came & (rows.label == 1),
        uncovered=~is_covered(flares, rows.t_rec_tai, horizon_hours=task.horizon_hours),
    )
