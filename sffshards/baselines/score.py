"""The scores of a baseline: of each forecast, and their mean over folds with its interval.

Shapes: R resamples, H HARPs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sffshards.baselines.records import Baseline, BaselineName, ThresholdRule
from sffshards.verification.by_harp import (
    HarpStatistic,
    auc_by_harp,
    average_precision_by_harp,
    brier_by_harp,
    brier_skill_by_harp,
    score_by_harp,
)
from sffshards.verification.resampling import Interval, bootstrap_interval
from sffshards.verification.scores import ScoreName
from sffshards.verification.summary import Forecast, ProbabilityScore, Resampling, score_forecast

__all__ = ["score_baseline"]

_Name = ScoreName | ProbabilityScore


def score_baseline(
    name: BaselineName,
    *,
    source: str,
    rule: ThresholdRule,
    folds: tuple[int, ...],
    forecasts: tuple[Forecast, ...],
    resampling: Resampling,
) -> Baseline:
    """Score the forecasts of a baseline.

    The mean over folds is a score of the same HARPs like any other, so that its interval comes from drawing HARPs
    again, the same in every fold: it holds what the choice of regions does, and not what that of training parts does,
    which the deviation shows.

    Raises
    ------
    InputError
        If a forecast has no samples.
    """
    scores = tuple(score_forecast(forecast, resampling) for forecast in forecasts)
    names: list[_Name] = [*ScoreName, *ProbabilityScore]
    estimates = {score: [of.interval(score).estimate for of in scores] for score in names}
    return Baseline(
        name=name,
        source=source,
        rule=rule,
        folds=folds,
        forecasts=forecasts,
        scores=scores,
        mean={
            score: scores[0].interval(score) if len(scores) == 1 else _score_mean(forecasts, score, resampling)
            for score in names
        },
        deviation={
            score: float(np.std(values, ddof=1)) if len(values) > 1 else math.nan for score, values in estimates.items()
        },
    )


def _score_mean(forecasts: tuple[Forecast, ...], name: _Name, resampling: Resampling) -> Interval:
    members = [_prepare(forecast, name) for forecast in forecasts]

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        mean_R: NDArray[np.float64] = np.mean([member.compute(weights_RH) for member in members], axis=0)
        return mean_R

    first = members[0]
    return bootstrap_interval(
        HarpStatistic(harps=first.harps, num_samples=first.num_samples, num_flares=first.num_flares, compute=compute),
        level=resampling.level,
        num_resamples=resampling.num_resamples,
        seed=resampling.seed,
        method=resampling.method,
    )


def _prepare(forecast: Forecast, name: _Name) -> HarpStatistic:
    label, probability, harp = forecast.label, forecast.probability, forecast.harp
    if isinstance(name, ScoreName):
        return score_by_harp(name, label, probability, harp, threshold=forecast.threshold)
    if name is ProbabilityScore.BRIER_SKILL:
        return brier_skill_by_harp(label, probability, harp, climatology=forecast.climatology)
    prepare = {
        ProbabilityScore.BRIER: brier_by_harp,
        ProbabilityScore.ROC_AUC: auc_by_harp,
        ProbabilityScore.AVERAGE_PRECISION: average_precision_by_harp,
    }
    return prepare[name](label, probability, harp)
