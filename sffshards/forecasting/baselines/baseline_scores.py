"""The scores of a baseline: of each forecast, and their mean over folds with its interval.

Shapes: R resamples, H HARPs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sffshards.forecasting.baselines.baseline_records import Baseline, BaselineName
from sffshards.verification import (
    Forecast,
    HarpStatistic,
    Interval,
    ProbabilityScore,
    Resampling,
    ScoreName,
    ThresholdRule,
    bootstrap_interval,
    prepare_statistic,
    score_forecast,
)

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
    members = [prepare_statistic(forecast, name) for forecast in forecasts]

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        mean_R: NDArray[np.float64] = np.mean([member.compute(weights_RH) for member in members], axis=0)
        return mean_R

    first = members[0]
    mean = HarpStatistic(harps=first.harps, num_samples=first.num_samples, num_flares=first.num_flares, compute=compute)
    return bootstrap_interval(mean, resampling)
