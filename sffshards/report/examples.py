"""What of the test set is shown one by one: the most confident hits, misses and false alarms, and regions in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sffshards.errors import InputError
from sffshards.report.ensemble import Ensemble
from sffshards.verification.contingency import THRESHOLD, part_outcomes

__all__ = ["Example", "Outcome", "choose_examples", "choose_harps"]

MAX_HARPS = 6
"""Regions shown in time where none are named."""


class Outcome(StrEnum):
    """What became of a forecast, as far as it is shown."""

    HIT = "hit"
    MISS = "miss"
    FALSE_ALARM = "false alarm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A sequence of the test set."""

    outcome: Outcome
    sequence: str
    harp: int
    t_end_tai: np.datetime64
    probability: float


def choose_examples(ensemble: Ensemble, *, per_outcome: int) -> tuple[Example, ...]:
    """Choose the surest of each outcome, one a region, so that no single region fills the page."""
    rows = ensemble.rows
    hits, false_alarms, misses, _ = part_outcomes(rows.label, rows.probability, threshold=THRESHOLD)
    examples: list[Example] = []
    for outcome, chosen, sign in (
        (Outcome.HIT, hits, -1),
        (Outcome.MISS, misses, 1),
        (Outcome.FALSE_ALARM, false_alarms, -1),
    ):
        candidates = np.flatnonzero(chosen)
        ranked = candidates[np.argsort(sign * rows.probability[candidates], kind="stable")]
        _, first = np.unique(rows.harp[ranked], return_index=True)
        examples += [
            Example(
                outcome=outcome,
                sequence=rows.sequence[row],
                harp=int(rows.harp[row]),
                t_end_tai=rows.t_end_tai[row],
                probability=float(rows.probability[row]),
            )
            for row in ranked[np.sort(first)][:per_outcome].tolist()
        ]
    return tuple(examples)


def choose_harps(ensembles: Sequence[Ensemble], harps: Sequence[int] | None) -> tuple[int, ...]:
    """Give the regions to show in time: those named, or those with most flares, the first of a horizon's ensembles.

    Raises
    ------
    InputError
        If one that is named is in no test set.
    """
    if harps is None:
        rows = ensembles[0].rows
        numbers, counts = np.unique(rows.harp[rows.label == 1], return_counts=True)
        return tuple(numbers[np.argsort(-counts, kind="stable")][:MAX_HARPS].tolist())
    there = {int(harp) for ensemble in ensembles for harp in np.unique(ensemble.rows.harp)}
    for harp in harps:
        if harp not in there:
            raise InputError(
                "--harps",
                expected="HARP numbers of the test set",
                found=str(harp),
                fix="name others; predictions-test.csv lists them in the column harp",
            )
    return tuple(dict.fromkeys(harps))
