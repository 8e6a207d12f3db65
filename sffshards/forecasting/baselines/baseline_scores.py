"""Baselines and their scores: of each forecast, and the mean over folds with its interval.

Shapes: R resamples, H HARPs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.verification import (
    Forecast,
    ForecastScores,
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

__all__ = ["Baseline", "BaselineName", "score_baseline"]

_Name = ScoreName | ProbabilityScore


class BaselineName(StrEnum):
    """The baselines, in display order."""

    NO_SKILL = "no skill"
    """Forecast flares at random, as often as in training."""
    CLIMATOLOGY = "climatology"
    """Forecast the flare rate of training."""
    PERSISTENCE = "persistence"
    """Forecast a flare if the region flared in the previous horizon."""
    EVER_FLARED = "ever flared"
    """Forecast a flare if the region has ever flared."""
    REGRESSION = "logistic regression"
    """Forecast from SHARP keywords, fitted in each fold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A baseline's forecasts of Test, one in all or one per fold, with their scores."""

    name: BaselineName
    """Name of the baseline."""
    source: str
    """Data that the forecasts follow from, in words."""
    rule: ThresholdRule
    """Rule that chose the thresholds."""
    folds: tuple[int, ...]
    """Folds of the forecasts; empty if they do not depend on the fold."""
    forecasts: tuple[Forecast, ...]
    """Forecasts of all samples of Test in the order of its list."""
    scores: tuple[ForecastScores, ...]
    """Scores of each forecast."""
    mean: dict[ScoreName | ProbabilityScore, Interval]
    """Mean of each score over the forecasts, with the mean's interval by HARP; nan if a score is undefined."""
    deviation: dict[ScoreName | ProbabilityScore, float]
    """Standard deviation of each score over folds (n - 1); nan for fewer than two."""


def score_baseline(
    name: BaselineName,
    *,
    source: str,
    rule: ThresholdRule,
    folds: tuple[int, ...],
    forecasts: tuple[Forecast, ...],
    resampling: Resampling,
) -> Baseline:
    """Return a baseline with the scores of its forecasts.

    The interval of the mean over folds comes from a cluster bootstrap over HARPs, with the same resamples in every
    fold. It shows the effect of the choice of regions; the deviation shows that of the training parts.

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
