"""All scores of one forecast at once, each with its interval.

Shapes: n samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sffshards.base.json_records import describe_record
from sffshards.verification.by_harp import Forecast, prepare_statistic, prepare_statistics
from sffshards.verification.cluster_intervals import Interval, estimate_difference, estimate_interval
from sffshards.verification.contingency_tables import ContingencyTable, count_outcomes
from sffshards.verification.score_names import AnyScore, ProbabilityScore, ScoreName, explain_undefined

UNKNOWN_CLIMATOLOGY = "there are no forecasts of the training set, from whose labels the climatology would follow"
"""Why a Brier skill score without a known climatology is undefined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastScores:
    """The scores of a forecast, with intervals by HARPs."""

    threshold: float
    climatology: float
    table: ContingencyTable
    num_harps: int
    num_flaring_harps: int
    scores: dict[AnyScore, Interval]
    """Each score with its interval: first those at the threshold, then those of the probabilities."""

    def interval(self, name: AnyScore) -> Interval:
        """Return a score by its name."""
        return self.scores[name]


def score_forecast(forecast: Forecast) -> ForecastScores:
    """Compute all scores of a forecast; NaN where undefined.

    Raises
    ------
    InputError
        If it is not a forecast, or has no samples.

    Examples
    --------
    >>> forecast = Forecast(
    ...     label=np.array([0, 0, 1, 1]),
    ...     probability=np.array([0.1, 0.6, 0.7, 0.9]),
    ...     harp=np.array([377, 392, 377, 401]),
    ...     threshold=0.5,
    ...     climatology=0.5,
    ... )
    >>> score_forecast(forecast).interval(ScoreName.TSS).estimate
    0.5
    """
    return score_thresholds(forecast, [forecast.threshold])[0]


def score_thresholds(forecast: Forecast, thresholds: Sequence[float]) -> list[ForecastScores]:
    """Compute all scores of a forecast at several thresholds, whatever its own is; raises as `score_forecast`.

    Faster than one after the other: the scores of probabilities are computed once.
    """
    at_each = [replace(forecast, threshold=threshold) for threshold in thresholds]
    of_probabilities = _estimate(forecast, ProbabilityScore)
    return [
        ForecastScores(
            threshold=at.threshold,
            climatology=at.climatology,
            table=count_outcomes(at.label, at.probability, threshold=at.threshold),
            num_harps=len(np.unique(at.harp)),
            num_flaring_harps=len(np.unique(at.harp[at.label == 1])),
            scores=_estimate(at, ScoreName) | of_probabilities,
        )
        for at in at_each
    ]


def _estimate(forecast: Forecast, names: Iterable[AnyScore]) -> dict[AnyScore, Interval]:
    return {name: estimate_interval(one) for name, one in prepare_statistics(forecast, names).items()}


def compare_forecasts(first: Forecast, second: Forecast, *, name: AnyScore) -> Interval:
    """Compute a score of the second forecast minus that of the first, of the same samples, with its interval.

    The difference of Brier skill scores is undefined, with the reason, where the two climatologies differ.

    Raises
    ------
    InputError
        If the two are not of the same samples.
    """
    found = estimate_difference(prepare_statistic(first, name), prepare_statistic(second, name))
    if name is not ProbabilityScore.BRIER_SKILL or math.isclose(first.climatology, second.climatology):
        return found
    rates = f"{first.climatology:.6g} and {second.climatology:.6g}"
    reason = UNKNOWN_CLIMATOLOGY if "nan" in rates else f"the two climatologies differ, {rates}"
    return replace(found, estimate=math.nan, low=math.nan, high=math.nan, reason=f"{name} undefined, as {reason}")


def describe_forecast_scores(scores: ForecastScores) -> dict[str, Any]:
    """Return scores as JSON holds them; what is undefined is None."""
    described = describe_record(scores)
    return {"counts": described.pop("table"), **described}


def explain_score(scores: ForecastScores, name: AnyScore) -> str | None:
    """Return why a score is undefined, or None where it is defined.

    Examples
    --------
    >>> quiet = Forecast(
    ...     label=np.zeros(2, int), probability=np.ones(2), harp=np.array([1, 2]), threshold=0.5, climatology=0.1
    ... )
    >>> explain_score(score_forecast(quiet), ProbabilityScore.ROC_AUC)
    'no flare came'
    """
    if not math.isnan(scores.interval(name).estimate):
        return None
    if isinstance(name, ScoreName):
        return explain_undefined(name, scores.table)
    if name is ProbabilityScore.BRIER_SKILL:
        if math.isnan(scores.climatology):
            return UNKNOWN_CLIMATOLOGY
        return f"the climatology of {scores.climatology:g} was right every time"
    return "a flare came every time" if scores.table.num_positive else "no flare came"
