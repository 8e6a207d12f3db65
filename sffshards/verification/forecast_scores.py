"""All scores of one forecast at once, each with its interval: what stands in a row of every table of ours.

Shapes: n samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.verification.by_harp import (
    HarpStatistic,
    auc_by_harp,
    average_precision_by_harp,
    brier_by_harp,
    brier_skill_by_harp,
    score_by_harp,
)
from sffshards.verification.cluster_bootstrap import Interval, Resampling, bootstrap_difference, bootstrap_intervals
from sffshards.verification.contingency import ContingencyTable, count_outcomes
from sffshards.verification.score_names import ScoreName

__all__ = [
    "Forecast",
    "ForecastScores",
    "ProbabilityScore",
    "compare_forecasts",
    "describe_forecast_scores",
    "describe_interval",
    "prepare_statistic",
    "score_forecast",
    "score_thresholds",
]


class ProbabilityScore(StrEnum):
    """Scores of probabilities as such, whatever the threshold."""

    BRIER = "BS"
    BRIER_SKILL = "BSS"
    ROC_AUC = "AUC"
    AVERAGE_PRECISION = "AP"


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What was forecast for samples, and what came of it."""

    label: NDArray[np.int64]
    """0 or 1, shape (n,)."""
    probability: NDArray[np.float64]
    """Of a flare, shape (n,)."""
    harp: NDArray[np.int64]
    """HARP numbers, shape (n,)."""
    threshold: float
    """A flare is forecast at this probability or more."""
    climatology: float
    """The rate of flares that a forecaster knew, of the training set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastScores:
    """The scores of a forecast, with intervals by HARPs."""

    threshold: float
    climatology: float
    table: ContingencyTable
    num_harps: int
    num_flaring_harps: int
    of_calls: dict[ScoreName, Interval]
    """Scores at the threshold."""
    of_probabilities: dict[ProbabilityScore, Interval]
    """Scores that no threshold has a part in."""

    def interval(self, name: ScoreName | ProbabilityScore) -> Interval:
        """Give a score by its name."""
        return self.of_calls[name] if isinstance(name, ScoreName) else self.of_probabilities[name]


def score_forecast(forecast: Forecast, resampling: Resampling) -> ForecastScores:
    """Compute all scores of a forecast; what is undefined is nan.

    Raises
    ------
    InputError
        If it is no forecast, or has no samples.

    Examples
    --------
    >>> forecast = Forecast(
    ...     label=np.array([0, 0, 1, 1]),
    ...     probability=np.array([0.1, 0.6, 0.7, 0.9]),
    ...     harp=np.array([377, 392, 377, 401]),
    ...     threshold=0.5,
    ...     climatology=0.5,
    ... )
    >>> score_forecast(forecast, Resampling(num_resamples=10)).interval(ScoreName.TSS).estimate
    0.5
    """
    return score_thresholds(forecast, [forecast.threshold], resampling)[0]


def score_thresholds(forecast: Forecast, thresholds: Sequence[float], resampling: Resampling) -> list[ForecastScores]:
    """Compute all scores of a forecast at several thresholds, whatever its own is; raises as `score_forecast`.

    The same as one after the other, in less time: the scores of probabilities are computed once.
    """
    at_each = [replace(forecast, threshold=threshold) for threshold in thresholds]
    statistics = [prepare_statistic(at, name) for at in at_each for name in ScoreName]
    intervals = bootstrap_intervals(
        [*statistics, *(prepare_statistic(forecast, name) for name in ProbabilityScore)], resampling
    )
    num = len(ScoreName)
    of_calls = [
        dict(zip(ScoreName, intervals[num * number : num * (number + 1)], strict=True))
        for number in range(len(at_each))
    ]
    return [
        ForecastScores(
            threshold=at.threshold,
            climatology=at.climatology,
            table=count_outcomes(at.label, at.probability, threshold=at.threshold),
            num_harps=len(np.unique(at.harp)),
            num_flaring_harps=len(np.unique(at.harp[at.label == 1])),
            of_calls=calls,
            of_probabilities=dict(zip(ProbabilityScore, intervals[len(statistics) :], strict=True)),
        )
        for at, calls in zip(at_each, of_calls, strict=True)
    ]


def compare_forecasts(
    first: Forecast, second: Forecast, *, name: ScoreName | ProbabilityScore, resampling: Resampling
) -> Interval:
    """Give a score of the first forecast less that of the second, of the same samples, with its interval.

    Raises
    ------
    InputError
        If the two are not of the same samples.
    """
    return bootstrap_difference(prepare_statistic(first, name), prepare_statistic(second, name), resampling)


def prepare_statistic(forecast: Forecast, name: ScoreName | ProbabilityScore) -> HarpStatistic:
    """Prepare a score of a forecast for draws of its HARPs; raises as `score_forecast`."""
    label, probability, harp = forecast.label, forecast.probability, forecast.harp
    if isinstance(name, ScoreName):
        return score_by_harp(name, label, probability, harp, threshold=forecast.threshold)
    if name is ProbabilityScore.BRIER_SKILL:
        return brier_skill_by_harp(label, probability, harp, climatology=forecast.climatology)
    return _PREPARE[name](label, probability, harp)


def describe_forecast_scores(scores: ForecastScores) -> dict[str, Any]:
    """Give scores as JSON holds them; what is undefined is null."""
    every: list[tuple[str, Interval]] = [*scores.of_calls.items(), *scores.of_probabilities.items()]
    return {
        "threshold": _nullable(scores.threshold),
        "climatology": _nullable(scores.climatology),
        "counts": asdict(scores.table),
        "num_harps": scores.num_harps,
        "num_flaring_harps": scores.num_flaring_harps,
        "scores": {str(name): describe_interval(interval) for name, interval in every},
    }


def describe_interval(interval: Interval) -> dict[str, float | int | None]:
    """Give a score and its interval as JSON holds them."""
    numbers = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: _nullable(number) for name, number in numbers.items()} | {
        "level": interval.level,
        "num_resamples": interval.num_resamples,
        "num_undefined": interval.num_undefined,
    }


def _nullable(value: float) -> float | None:
    return value if math.isfinite(value) else None


_PREPARE: dict[
    ProbabilityScore, Callable[[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]], HarpStatistic]
] = {
    ProbabilityScore.BRIER: brier_by_harp,
    ProbabilityScore.ROC_AUC: auc_by_harp,
    ProbabilityScore.AVERAGE_PRECISION: average_precision_by_harp,
}
