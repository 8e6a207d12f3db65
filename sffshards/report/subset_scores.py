"""What the scores of all test samples hide: skill at first flares, and by how much one run is better than another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.task import Task
from sffshards.forecasting.runs import Subset, find_continuing
from sffshards.report.fold_decisions import RULE_SCORES
from sffshards.report.fold_ensemble import Ensemble
from sffshards.report.result_scores import ChosenScore, NamedScores
from sffshards.verification import (
    THRESHOLD,
    Forecast,
    Interval,
    ProbabilityScore,
    Resampling,
    ScoreName,
    compare_forecasts,
    score_thresholds,
)

__all__ = ["DIFFERENCES", "Difference", "SubsetScores", "compare_ensembles", "score_subsets"]

DIFFERENCES = ("TSS at 0.5", "HSS at 0.5", "TSS, chosen threshold", "HSS, chosen threshold", "BSS", "BSS, calibrated")
"""What is compared, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetScores:
    """The scores of an ensemble where its regions were known to flare, or where they were not."""

    name: str
    """Of the run."""
    subset: Subset
    scored: NamedScores | None
    """None where there are no such samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """By how much one ensemble scores higher than another, of the same samples."""

    first: str
    second: str
    """Names of runs; each difference is the first's score less the second's."""
    intervals: dict[str, Interval | None]
    """By `DIFFERENCES`; None where one of the two has no such threshold or calibration."""


def score_subsets(ensemble: Ensemble, task: Task, resampling: Resampling) -> tuple[SubsetScores, ...]:
    """Score first flares and continuing activity, as `find_continuing` parts them, each by itself."""
    continuing = find_continuing(ensemble.rows, task=task)
    return tuple(
        SubsetScores(name=ensemble.name, subset=subset, scored=_score(ensemble, subset, chosen, resampling))
        for subset, chosen in ((Subset.FIRST, ~continuing), (Subset.CONTINUING, continuing))
    )


def compare_ensembles(ensembles: Sequence[Ensemble], resampling: Resampling) -> tuple[Difference, ...]:
    """Compare every two ensembles of the same test samples, the later less the earlier; others are left out.

    The regions that are drawn again are the same for both, so that what both find hard cancels out.
    """
    return tuple(
        Difference(first=first.name, second=second.name, intervals=dict(_compare(first, second, resampling)))
        for second, first in combinations(ensembles, 2)
        if first.rows.sequence == second.rows.sequence and np.array_equal(first.rows.label, second.rows.label)
    )


def _score(ensemble: Ensemble, subset: Subset, chosen: NDArray[np.bool_], resampling: Resampling) -> NamedScores | None:
    if not chosen.any():
        return None
    rows = ensemble.rows
    forecast = Forecast(
        label=rows.label[chosen],
        probability=rows.probability[chosen],
        harp=rows.harp[chosen],
        threshold=THRESHOLD,
        climatology=ensemble.climatology,
    )
    rules = {rule: ensemble.thresholds[rule] for rule in RULE_SCORES if rule in ensemble.thresholds}
    half, *others = score_thresholds(forecast, [THRESHOLD, *rules.values()], resampling)
    return NamedScores(
        name=f"{ensemble.name}, {subset}",
        scores=half,
        chosen={
            rule: ChosenScore(threshold=scores.threshold, interval=scores.interval(RULE_SCORES[rule]))
            for rule, scores in zip(rules, others, strict=True)
        },
    )


def _compare(first: Ensemble, second: Ensemble, resampling: Resampling) -> Iterator[tuple[str, Interval | None]]:
    halves = first.forecast(THRESHOLD), second.forecast(THRESHOLD)
    at_chosen = [
        [one.forecast(one.thresholds[rule]) for one in (first, second) if rule in one.thresholds]
        for rule in RULE_SCORES
    ]
    calibrated = [
        replace(ensemble.forecast(THRESHOLD), probability=ensemble.calibrated)
        for ensemble in (first, second)
        if ensemble.calibrated is not None
    ]
    pairs: list[tuple[Sequence[Forecast], ScoreName | ProbabilityScore]] = [
        *((halves, name) for name in RULE_SCORES.values()),
        *zip(at_chosen, RULE_SCORES.values(), strict=True),
        (halves, ProbabilityScore.BRIER_SKILL),
        (calibrated, ProbabilityScore.BRIER_SKILL),
    ]
    for said, (pair, name) in zip(DIFFERENCES, pairs, strict=True):
        yield said, compare_forecasts(*pair, name=name, resampling=resampling) if len(pair) == 2 else None
