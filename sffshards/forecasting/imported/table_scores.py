"""Scores of the forecasts of a table for one part of the labels, of each fold and of their mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sffshards import verification
from sffshards.base.errors import Field, InputError
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part, Stage
from sffshards.domain.task import Task
from sffshards.forecasting.imported.label_joining import JoinedForecasts, describe_joined
from sffshards.forecasting.runs import IssuedForecast, Probability, combine_folds


@dataclass(frozen=True, kw_only=True, slots=True)
class TableScores:
    """The scores of a table's forecasts of a part."""

    joined: JoinedForecasts
    """The forecasts and their labels."""
    part: Part
    """The part that is scored."""
    forecast: IssuedForecast
    """Forecast that is scored: the mean of the folds, where the table has folds."""
    scores: tuple[verification.ForecastScores, ...]
    """Scores with intervals at each decision threshold."""
    of_folds: dict[int, tuple[verification.ForecastScores, ...]]
    """The same of each fold; empty if the table has no folds."""


def find_climatology(labels: Mapping[Part, LabelledFrames], *, parts: Collection[Part]) -> float:
    """Return the rate of flares in parts of the labels.

    Raises
    ------
    InputError
        If the labels have none of these parts.
    """
    training = [of.labels for part, of in labels.items() if part in parts]
    if not training:
        raise InputError(
            Field("climatology"),
            expected="label lists of training parts, whose rate of flares is that without skill",
            found=f"those of {', '.join(labels)} alone",
            fix="state the rate with {climatology}",
        )
    return float(np.concatenate(training).mean())


def score_table(
    joined: JoinedForecasts, *, part: Part, climatology: float, thresholds: Sequence[float] = (verification.THRESHOLD,)
) -> TableScores:
    """Score the forecasts of a part with all scores and their intervals.

    Parameters
    ----------
    joined
        Forecasts from `join_labels`.
    part
        The part; labels without a forecast are not scored.
    climatology
        Climatological flare rate, from `find_climatology`.
    thresholds
        Decision thresholds, which must not have been chosen on this part.

    Raises
    ------
    InputError
        If the part has no forecasts, or the folds do not forecast the same labels.
    """
    joined.require_same_labels(part)
    folds = [_issue(joined, part, fold, climatology) for fold in joined.table.folds or (None,)]
    forecast = combine_folds(folds, name=joined.table.source) if len(folds) > 1 else folds[0]
    at = list(thresholds)
    return TableScores(
        joined=joined,
        part=part,
        forecast=forecast,
        scores=tuple(verification.score_thresholds(forecast.forecast(), at)),
        of_folds={
            one.fold: tuple(verification.score_thresholds(one.forecast(), at)) for one in folds if one.fold is not None
        },
    )


def describe_table_scores(scores: TableScores, *, task: Task) -> dict[str, Any]:
    """Return scores, and what was joined, as plain values for JSON."""
    return {
        "format_version": 1,
        "task": task.name,
        "part": str(scores.part),
        "level": verification.LEVEL,
        **describe_joined(scores.joined),
        "scores": [_describe(one) for one in scores.scores],
        "scores_of_folds": [
            {"fold": fold, **_describe(one)} for fold, found in scores.of_folds.items() for one in found
        ],
    }


def _describe(scores: verification.ForecastScores) -> dict[str, Any]:
    reasons = {str(name): verification.explain_score(scores, name) for name in verification.ALL_SCORES}
    undefined = {name: reason for name, reason in reasons.items() if reason is not None}
    return {**verification.describe_forecast_scores(scores), "undefined": undefined}


def _issue(joined: JoinedForecasts, part: Part, fold: int | None, climatology: float) -> IssuedForecast:
    samples = joined.predictions([part], fold=fold)
    return IssuedForecast(
        name=joined.table.source if fold is None else f"fold {fold}",
        fold=fold,
        stage=Stage.TEST,
        samples=samples,
        probabilities={Probability.RAW: samples.probability},
        thresholds={verification.ThresholdRule.HALF: verification.THRESHOLD},
        climatology=climatology,
        reason=None,
    )
