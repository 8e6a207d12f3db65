"""What of the test set is shown one by one: the most confident hits, misses and false alarms, and regions in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import Stage
from sffshards.report.fold_ensemble import Ensemble
from sffshards.report.gathered_runs import RunResult
from sffshards.verification import THRESHOLD, part_outcomes

__all__ = ["Example", "Outcome", "check_harps", "choose_examples", "choose_harps"]

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
    """Give the regions to show in time: of those named the ones that are in a test set of the horizon's ensembles.

    Where none are named, those with most flares, of the first ensemble.
    """
    if harps is None:
        rows = ensembles[0].rows
        numbers, counts = np.unique(rows.harp[rows.label == 1], return_counts=True)
        return tuple(numbers[np.argsort(-counts, kind="stable")][:MAX_HARPS].tolist())
    there = {harp for ensemble in ensembles for harp in np.unique(ensemble.rows.harp).tolist()}
    return tuple(harp for harp in dict.fromkeys(harps) if harp in there)


def check_harps(harps: Sequence[int], runs: Sequence[RunResult]) -> None:
    """Require that each region that is named is in the test set of one of the runs.

    Raises
    ------
    InputError
        If one is in none.
    """
    tests = [fold.tables[Stage.TEST].harp for run in runs for fold in run.evaluated]
    there = {harp for test in tests for harp in np.unique(test).tolist()}
    for harp in harps:
        if harp not in there:
            raise InputError(
                "--harps",
                expected="HARP numbers of a test set",
                found=str(harp),
                fix="name others; predictions-test.csv lists them in the column harp",
            )
