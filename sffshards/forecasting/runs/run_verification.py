"""Verify what a run forecasts: all scores with intervals, of every fold and the ensemble, over all that can be told.

Always over plain views, each sequence once, whatever sets the variant oversamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.sample_sets import Stage
from sffshards.domain.task import Task
from sffshards.forecasting.runs.decision import ThresholdRule
from sffshards.forecasting.runs.fold_forecasts import Issued, Probability, Subset, combine_folds
from sffshards.forecasting.runs.predictions_table import Predictions
from sffshards.forecasting.runs.run_scores import FoldMean, average_folds
from sffshards.verification import (
    Forecast,
    ForecastScores,
    ProbabilityScore,
    Resampling,
    ScoreName,
    forecast_persistence,
    score_thresholds,
)

__all__ = [
    "LeftOut",
    "RunVerification",
    "VerificationSummary",
    "VerifiedForecast",
    "find_continuing",
    "select_forecast",
    "verify_forecasts",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedForecast:
    """The scores of one forecast: whose, of which samples, and how it decides."""

    fold: int | None
    """None for the ensemble."""
    stage: Stage
    subset: Subset
    probability: Probability
    rule: ThresholdRule
    scores: ForecastScores


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A forecast that there is not, and why."""

    fold: int | None
    stage: Stage
    subset: Subset
    probability: Probability
    rule: ThresholdRule
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationSummary:
    """A score over the folds."""

    stage: Stage
    subset: Subset
    probability: Probability
    rule: ThresholdRule
    score: ScoreName | ProbabilityScore
    over_folds: FoldMean


@dataclass(frozen=True, kw_only=True, slots=True)
class RunVerification:
    """What there is to say of a run's forecasts."""

    resampling: Resampling
    forecasts: tuple[VerifiedForecast, ...]
    """Fold by fold, the ensemble last."""
    left_out: tuple[LeftOut, ...]
    summary: tuple[VerificationSummary, ...]
    ensemble: Issued
    """Of the test set."""

    def find(
        self, *, fold: int | None, stage: Stage, subset: Subset, probability: Probability, rule: ThresholdRule
    ) -> ForecastScores | None:
        """Give the scores of a forecast, or None if it was left out."""
        wanted = fold, stage, subset, probability, rule
        for forecast in self.forecasts:
            if (forecast.fold, forecast.stage, forecast.subset, forecast.probability, forecast.rule) == wanted:
                return forecast.scores
        return None


def verify_forecasts(issued: Sequence[Issued], *, task: Task, resampling: Resampling) -> RunVerification:
    """Verify the forecasts of a run's folds, and of the ensemble of those of the test set.

    Parameters
    ----------
    issued
        Of each fold: validation and test.
    horizon
        Of the labels.
    resampling
        How intervals are made.
    """
    ensemble = combine_folds([fold for fold in issued if fold.stage is Stage.TEST])
    forecasts: list[VerifiedForecast] = []
    left_out: list[LeftOut] = []
    for one in (*issued, ensemble):
        for subset, chosen in _find_subsets(one, task):
            for outcome in _verify(one, subset, chosen, resampling):
                if isinstance(outcome, VerifiedForecast):
                    forecasts.append(outcome)
                else:
                    left_out.append(outcome)
    return RunVerification(
        resampling=resampling,
        forecasts=tuple(forecasts),
        left_out=tuple(left_out),
        summary=tuple(_summarise(forecasts)),
        ensemble=ensemble,
    )


def find_continuing(samples: Predictions, *, task: Task) -> NDArray[np.bool_]:
    """Say of each sample whether its region was in continuing activity: bool of shape (n,).

    That is, whether the latest label of the region that was known by then, of a horizon ago or earlier, was a flare of
    class M or above. Only labels of the same set tell, each of them known a horizon after its time.

    References
    ----------
    Park et al., ApJ 890 (2020), 124: first flares are the harder, and the more useful to forecast.
    """
    persistence = forecast_persistence(
        samples.label, samples.t_end_tai, samples.harp, horizon_hours=task.horizon_hours, unknown=0
    )
    return np.asarray(persistence == 1)


def select_forecast(
    issued: Issued, *, probability: Probability, threshold: float, chosen: NDArray[np.bool_] | None = None
) -> Forecast:
    """Give a forecast as the verification takes it, of all samples or of the chosen ones."""
    rows = slice(None) if chosen is None else chosen
    return Forecast(
        label=issued.samples.label[rows],
        probability=issued.probabilities[probability][rows],
        harp=issued.samples.harp[rows],
        threshold=threshold,
        climatology=issued.climatology,
    )


def _find_subsets(issued: Issued, task: Task) -> Iterator[tuple[Subset, NDArray[np.bool_]]]:
    """Give the samples of each subset; of validation, all are enough."""
    yield Subset.ALL, np.ones(len(issued.samples), np.bool_)
    if issued.stage is Stage.TEST:
        continuing = find_continuing(issued.samples, task=task)
        yield Subset.FIRST, ~continuing
        yield Subset.CONTINUING, continuing


def _verify(
    issued: Issued, subset: Subset, chosen: NDArray[np.bool_], resampling: Resampling
) -> Iterator[VerifiedForecast | LeftOut]:
    for probability in Probability:
        rules = tuple(ThresholdRule) if probability is Probability.RAW else (ThresholdRule.HALF,)
        thresholds = {rule: issued.threshold(probability, rule) for rule in rules}
        defined = {rule: t for rule, t in thresholds.items() if t is not None and chosen.any()}
        scored: list[ForecastScores] = []
        if defined:
            forecast = select_forecast(issued, probability=probability, threshold=0.5, chosen=chosen)
            scored = score_thresholds(forecast, list(defined.values()), resampling)
        scores = dict(zip(defined, scored, strict=True))
        for rule in rules:
            if rule in scores:
                yield VerifiedForecast(
                    fold=issued.fold,
                    stage=issued.stage,
                    subset=subset,
                    probability=probability,
                    rule=rule,
                    scores=scores[rule],
                )
            else:
                yield _leave_out(issued, subset, probability, rule, is_empty=not chosen.any())


def _leave_out(
    issued: Issued, subset: Subset, probability: Probability, rule: ThresholdRule, *, is_empty: bool
) -> LeftOut:
    why = None if is_empty else issued.reasons.get(rule) or issued.reasons.get(probability)
    return LeftOut(
        fold=issued.fold,
        stage=issued.stage,
        subset=subset,
        probability=probability,
        rule=rule,
        reason=why or "there are no such samples",
    )


def _summarise(forecasts: Sequence[VerifiedForecast]) -> Iterator[VerificationSummary]:
    """Give mean and deviation of every score over the folds."""
    groups: dict[tuple[Stage, Subset, Probability, ThresholdRule], list[ForecastScores]] = {}
    for one in forecasts:
        if one.fold is not None:
            groups.setdefault((one.stage, one.subset, one.probability, one.rule), []).append(one.scores)
    for (stage, subset, probability, rule), of_folds in groups.items():
        for name in (*ScoreName, *ProbabilityScore):
            values = [scores.interval(name).estimate for scores in of_folds]
            yield VerificationSummary(
                stage=stage,
                subset=subset,
                probability=probability,
                rule=rule,
                score=name,
                over_folds=average_folds(value for value in values if not math.isnan(value)),
            )
