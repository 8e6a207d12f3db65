"""The rows of the report's tables of results: forecasts, references and differences, scored with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.sample_sets import Stage
from sffshards.domain.task import Task
from sffshards.forecasting.runs import (
    ComparedScore,
    FoldScores,
    IssuedForecast,
    Probability,
    Subset,
    compare_issued,
    find_subsets,
)
from sffshards.verification import (
    THRESHOLD,
    Forecast,
    ForecastScores,
    Interval,
    ProbabilityScore,
    Resampling,
    ScoreName,
    ThresholdRule,
    bootstrap_interval,
    forecast_ever_flared,
    forecast_no_skill,
    forecast_persistence,
    prepare_statistic,
    score_thresholds,
)

__all__ = [
    "DIFFERENCES",
    "ChosenScore",
    "Difference",
    "NamedScores",
    "SubsetScores",
    "compare_ensembles",
    "reference_forecasts",
    "score_ensemble",
    "score_named",
    "score_references",
    "score_subsets",
    "validation_skill",
]

DIFFERENCES: dict[str, ComparedScore] = {
    "TSS at 0.5": ComparedScore(probability=Probability.RAW, rule=ThresholdRule.HALF, score=ScoreName.TSS),
    "HSS at 0.5": ComparedScore(probability=Probability.RAW, rule=ThresholdRule.HALF, score=ScoreName.HSS),
    "TSS, chosen threshold": ComparedScore(
        probability=Probability.RAW, rule=ThresholdRule.MAX_TSS, score=ScoreName.TSS
    ),
    "HSS, chosen threshold": ComparedScore(
        probability=Probability.RAW, rule=ThresholdRule.MAX_HSS, score=ScoreName.HSS
    ),
    "BSS": ComparedScore(probability=Probability.RAW, rule=None, score=ProbabilityScore.BRIER_SKILL),
    "BSS, calibrated": ComparedScore(probability=Probability.PLATT, rule=None, score=ProbabilityScore.BRIER_SKILL),
}
"""The scores that the report compares runs in, by their headings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenScore:
    """A score at the threshold that made it highest on the validation set."""

    threshold: float
    interval: Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedScores:
    """A row of the table of forecasts: a name and its scores."""

    name: str
    """Name of the forecast in tables."""
    scores: ForecastScores
    """Scores at a probability of 0.5."""
    chosen: dict[ThresholdRule, ChosenScore]
    """TSS and HSS at chosen thresholds; empty for a forecast that has none."""
    calibrated_skill: Interval | None = None
    """Brier skill score of calibrated probabilities; None where there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetScores:
    """The scores of an ensemble for first flares, or for continuing activity."""

    name: str
    """Name of the run."""
    subset: Subset
    scored: NamedScores | None
    """Scores of the subset; None where it has no samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The scores of the second run's ensemble minus those of the first's, on the same samples."""

    first: str
    """Name of the first run."""
    second: str
    """Name of the second run."""
    intervals: dict[str, Interval | None]
    """Second minus first, by the headings of `DIFFERENCES`; None where one run has no such threshold or calibration."""


def score_named(
    name: str, forecast: Forecast, resampling: Resampling, *, thresholds: Mapping[ThresholdRule, float] | None = None
) -> NamedScores:
    """Score a forecast at 0.5, and TSS and HSS at the thresholds that were chosen for them.

    Parameters
    ----------
    name
        Name of the forecast in tables.
    forecast
        The forecast; its own threshold is not used.
    resampling
        How intervals are computed.
    thresholds
        Thresholds by rule, as far as there are any.
    """
    rules = {rule: rule.score for rule in thresholds or {} if rule.score is not None}
    at = [THRESHOLD, *((thresholds or {})[rule] for rule in rules)]
    half, *others = score_thresholds(forecast, at, resampling)
    chosen = {
        rule: ChosenScore(threshold=scores.threshold, interval=scores.interval(score))
        for (rule, score), scores in zip(rules.items(), others, strict=True)
    }
    return NamedScores(name=name, scores=half, chosen=chosen)


def score_ensemble(ensemble: IssuedForecast, resampling: Resampling) -> NamedScores:
    """Score the mean of a run's folds, or its only fold, and the skill of its calibrated probabilities."""
    skill = None
    if Probability.PLATT in ensemble.probabilities:
        statistic = prepare_statistic(ensemble.forecast(Probability.PLATT), ProbabilityScore.BRIER_SKILL)
        skill = bootstrap_interval(statistic, resampling)
    name = f"{ensemble.name}, {'mean of folds' if ensemble.num_folds > 1 else '1 fold'}"
    scored = score_named(name, ensemble.forecast(), resampling, thresholds=ensemble.thresholds)
    return replace(scored, calibrated_skill=skill)


def score_subsets(ensemble: IssuedForecast, task: Task, resampling: Resampling) -> tuple[SubsetScores, ...]:
    """Score an ensemble for first flares and for continuing activity."""
    found = []
    for subset, chosen in find_subsets(ensemble.samples, task=task).items():
        scored = None
        if chosen.any():
            name = f"{ensemble.name}, {subset}"
            forecast = ensemble.forecast(chosen=chosen)
            scored = score_named(name, forecast, resampling, thresholds=ensemble.thresholds)
        found.append(SubsetScores(name=ensemble.name, subset=subset, scored=scored))
    return tuple(found)


def compare_ensembles(ensembles: Sequence[IssuedForecast], resampling: Resampling) -> tuple[Difference, ...]:
    """Compare every two ensembles of the same test samples, the later minus the earlier; others are left out."""
    differences = []
    for first, second in combinations(ensembles, 2):
        if first.is_comparable(second):
            found = compare_issued(first, second, resampling=resampling)
            intervals = {heading: found.get(compared) for heading, compared in DIFFERENCES.items()}
            differences.append(Difference(first=first.name, second=second.name, intervals=intervals))
    return tuple(differences)


def reference_forecasts(ensemble: IssuedForecast, task: Task) -> dict[str, NDArray[np.float64]]:
    """Forecast an ensemble's samples without a network, from labels alone.

    Parameters
    ----------
    ensemble
        Its test samples are forecast, knowing its climatology.
    task
        The task that is forecast.

    Returns
    -------
    dict of float64 arrays of shape (n,)
        Probabilities of a flare, by the name of the reference.
    """
    samples = ensemble.samples
    known = samples.label, samples.t_end_tai, samples.harp
    return {
        "climatology of training": np.full(len(samples), ensemble.climatology),
        "persistence": forecast_persistence(*known, horizon_hours=task.horizon_hours, unknown=0),
        "ever flared": forecast_ever_flared(*known, horizon_hours=task.horizon_hours),
    }


def score_references(ensemble: IssuedForecast, task: Task, resampling: Resampling) -> list[NamedScores]:
    """Score no skill, and the reference forecasts of an ensemble's samples, against its climatology."""
    num_samples = len(ensemble.samples)
    no_skill = forecast_no_skill(ensemble.climatology, num_samples=num_samples, seed=resampling.seed)
    return [
        score_named(name, replace(ensemble.forecast(), probability=probability), resampling)
        for name, probability in {"no skill": no_skill, **reference_forecasts(ensemble, task)}.items()
    ]


def validation_skill(scores: FoldScores) -> float:
    """Return the mean TSS over the validation sets, by which the shown run is chosen; -1 where it is undefined."""
    (mean,) = (s.mean for s in scores.summary if (s.stage, s.score) == (Stage.VAL, ScoreName.TSS))
    return -1.0 if np.isnan(mean) else mean
