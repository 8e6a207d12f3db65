"""The rows of the tables of results: forecasts by name, scored with intervals, and references from labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.sample_sets import Stage
from sffshards.domain.task import Task
from sffshards.forecasting.runs import StageScores, Summary, score_stage, summarise_scores
from sffshards.report.fold_decisions import RULE_SCORES, ThresholdRule
from sffshards.report.fold_ensemble import Ensemble
from sffshards.report.gathered_runs import RunResult
from sffshards.verification import (
    THRESHOLD,
    Forecast,
    ForecastScores,
    Interval,
    Resampling,
    bootstrap_interval,
    brier_skill_by_harp,
    count_outcomes,
    forecast_ever_flared,
    forecast_persistence,
    score_by_harp,
    score_forecast,
)

__all__ = [
    "ChosenScore",
    "FoldScores",
    "NamedScores",
    "reference_forecasts",
    "score_ensemble",
    "score_folds",
    "score_references",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenScore:
    """A score at the threshold that made it highest on validation."""

    threshold: float
    interval: Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedScores:
    """A row of the table of forecasts: a name, and the scores that belong to it."""

    name: str
    scores: ForecastScores
    """At a probability of 0.5."""
    chosen: dict[ThresholdRule, ChosenScore]
    """TSS and HSS at chosen thresholds; empty for a forecast that has none."""
    calibrated_skill: Interval | None = None
    """Brier skill score of calibrated probabilities; None where there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldScores:
    """The eight published scores of a run's folds, on the variant's own sets."""

    name: str
    stages: tuple[StageScores, ...]
    summary: tuple[Summary, ...]


def score_folds(run: RunResult) -> FoldScores:
    """Score the folds of a run as published: at 0.5, every view that the variant's set holds a sample of its own."""
    stages = tuple(
        score_stage(fold.record.fold, stage, count_outcomes(table.label, table.probability))
        for fold in run.evaluated
        for stage, table in fold.tables.items()
    )
    return FoldScores(name=run.name, stages=stages, summary=summarise_scores(stages))


def score_ensemble(ensemble: Ensemble, resampling: Resampling) -> NamedScores:
    """Score the mean of the folds at 0.5, and TSS and HSS at the thresholds chosen for them."""
    rows = ensemble.rows
    chosen = {}
    for rule, score in RULE_SCORES.items():
        if rule in ensemble.thresholds:
            threshold = ensemble.thresholds[rule]
            statistic = score_by_harp(score, rows.label, rows.probability, rows.harp, threshold=threshold)
            chosen[rule] = ChosenScore(threshold=threshold, interval=bootstrap_interval(statistic, resampling))
    skill = None
    if ensemble.calibrated is not None:
        prepared = brier_skill_by_harp(rows.label, ensemble.calibrated, rows.harp, climatology=ensemble.climatology)
        skill = bootstrap_interval(prepared, resampling)
    scores = score_forecast(ensemble.forecast(THRESHOLD), resampling)
    return NamedScores(name=f"{ensemble.name}, mean of folds", scores=scores, chosen=chosen, calibrated_skill=skill)


def reference_forecasts(ensemble: Ensemble, task: Task) -> dict[str, NDArray[np.float64]]:
    """Forecast the same sequences without a network, from labels alone: probabilities of shape (n,) by name."""
    rows = ensemble.rows
    known = rows.label, rows.t_end_tai, rows.harp
    return {
        "never a flare (no skill)": np.zeros(len(rows)),
        "climatology of training": np.full(len(rows), ensemble.climatology),
        "persistence": forecast_persistence(*known, horizon_hours=task.horizon_hours, unknown=0),
        "ever flared": forecast_ever_flared(*known, horizon_hours=task.horizon_hours),
    }


def score_references(ensemble: Ensemble, task: Task, resampling: Resampling) -> Sequence[NamedScores]:
    """Score the references on the sequences of an ensemble, whose climatology is theirs too."""
    rows = ensemble.rows
    named = []
    for name, probability in reference_forecasts(ensemble, task).items():
        forecast = Forecast(
            label=rows.label,
            probability=probability,
            harp=rows.harp,
            threshold=THRESHOLD,
            climatology=ensemble.climatology,
        )
        named.append(NamedScores(name=name, scores=score_forecast(forecast, resampling), chosen={}))
    return named


def validation_skill(scores: FoldScores) -> float:
    """Give the mean TSS of the validation sets, by which a run is chosen to be shown; -1 where it is undefined."""
    means = [s.mean for s in scores.summary if (s.stage, str(s.score)) == (Stage.VAL, "TSS")]
    return -1.0 if np.isnan(means[0]) else means[0]
