"""Baselines and their scores: of each forecast, and the mean over folds with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np

from sffshards import verification
from sffshards.base.json_records import describe_record
from sffshards.base.progress import SILENT, Progress
from sffshards.executors import share_processors
from sffshards.forecasting.runs import Probability


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
    """Forecast from SHARP keywords by logistic regression, fitted in each fold."""
    HISTORY = "flare history"
    """Forecast from the earlier flares of the region, in the same way."""
    BOTH = "keywords and history"
    """Forecast from both, in the same way."""
    BOOSTING = "gradient boosting"
    """Forecast from both by boosted trees."""
    COURSE = "keywords, activity and course"
    """Forecast from keywords, their course over the sequence, and flares by class: the mean logit of a logistic
    regression and of boosted trees."""

    @property
    def folder_name(self) -> str:
        """Name of a folder of its run, such as ``ever-flared``."""
        short = {
            BaselineName.REGRESSION: "keywords",
            BaselineName.HISTORY: "history",
            BaselineName.BOTH: "keywords-history",
            BaselineName.COURSE: "course",
        }
        return short.get(self, self.replace(" ", "-"))


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineForecasts:
    """A baseline's forecasts of Test, one in all or one per fold."""

    name: BaselineName
    """Name of the baseline."""
    source: str
    """Data that the forecasts follow from, in words."""
    probability: Probability = Probability.RAW
    """Which probabilities the forecasts consist of."""
    rule: verification.ThresholdRule = verification.ThresholdRule.HALF
    """Rule that chose the thresholds."""
    folds: tuple[int, ...] = ()
    """Folds of the forecasts; empty if they do not depend on the fold."""
    forecasts: tuple[verification.Forecast, ...]
    """Forecasts of all samples of Test in the order of its list."""

    @property
    def title(self) -> str:
        """Name with the calibration, such as ``logistic regression, Platt``."""
        return str(self.name) if self.probability is Probability.RAW else f"{self.name}, {self.probability}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline(BaselineForecasts):
    """A baseline's forecasts of Test with their scores."""

    scores: tuple[verification.ForecastScores, ...]
    """Scores of each forecast."""
    mean: dict[verification.AnyScore, verification.Interval]
    """Mean of each score over the forecasts, with the mean's interval; nan if a score is undefined."""
    deviation: dict[verification.AnyScore, float]
    """Standard deviation of each score over folds (n - 1); nan for fewer than two."""


def score_baselines(baselines: Iterable[BaselineForecasts], *, progress: Progress = SILENT) -> list[Baseline]:
    """Score the forecasts of baselines.

    The interval of the mean over folds shows the effect of the choice of regions; the deviation shows that of the
    training parts.

    Parameters
    ----------
    baselines
        Baselines from `forecast_baselines`.
    progress
        Receives the progress.

    Raises
    ------
    InputError
        If a forecast has no samples.
    """
    waiting = list(baselines)
    scored: list[Baseline] = []
    with share_processors() as pool, progress.task("Score baselines", len(waiting)) as advance:
        for one in pool.map(_score, waiting):
            scored.append(one)
            advance(1)
    return scored


def describe_baselines(baselines: Iterable[Baseline]) -> list[dict[str, Any]]:
    """Return baselines as plain values for JSON; undefined scores are None."""
    return [
        {
            "name": str(baseline.name),
            "source": baseline.source,
            "probability": str(baseline.probability),
            "threshold_rule": str(baseline.rule),
            "mean": describe_record(baseline.mean),
            "deviation": describe_record(baseline.deviation),
            "folds": list(baseline.folds),
            "forecasts": [verification.describe_forecast_scores(scores) for scores in baseline.scores],
        }
        for baseline in baselines
    ]


def _score(baseline: BaselineForecasts) -> Baseline:
    scores = tuple(verification.score_forecast(forecast) for forecast in baseline.forecasts)
    estimates = {name: [of.interval(name).estimate for of in scores] for name in verification.ALL_SCORES}
    return Baseline(
        **{field.name: getattr(baseline, field.name) for field in fields(BaselineForecasts)},
        scores=scores,
        mean=scores[0].scores if len(scores) == 1 else _score_mean(baseline.forecasts),
        deviation={
            name: float(np.std(values, ddof=1)) if len(values) > 1 else math.nan for name, values in estimates.items()
        },
    )


def _score_mean(forecasts: Sequence[verification.Forecast]) -> dict[verification.AnyScore, verification.Interval]:
    members = [verification.prepare_statistics(forecast, verification.ALL_SCORES) for forecast in forecasts]
    return {
        name: verification.estimate_interval(verification.average_statistics([member[name] for member in members]))
        for name in verification.ALL_SCORES
    }
