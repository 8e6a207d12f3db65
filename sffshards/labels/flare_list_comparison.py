"""Label lists against a catalogue of flares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Horizon
from sffshards.flares import HarpFlares, has_flare, is_covered
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
    read: Mapping[Horizon, Mapping[Part, ListRows]], flares: HarpFlares
) -> dict[Horizon, dict[Part, Disagreement]]:
    """Compare every row with whether a flare of its HARP came in ``(t, t + horizon]``."""
    return {
        horizon: {part: _compare(rows, horizon, flares) for part, rows in parts.items()}
        for horizon, parts in read.items()
    }


def _compare(rows: ListRows, horizon: Horizon, flares: HarpFlares) -> Disagreement:
    came = has_flare(flares, rows.harp, rows.t_rec_tai, after_hours=0, until_hours=horizon.hours)
    return Disagreement(
        missed=came & (rows.label == 0),
        extra=~came & (rows.label == 1),
        uncovered=~is_covered(flares, rows.t_rec_tai, horizon_hours=horizon.hours),
    )
