"""Verification of a run's forecasts: all scores with intervals, of every fold and of the ensemble, and its files.

Always over plain views, each sequence once, whatever the variant oversamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards import verification
from sffshards.base.atomic_files import write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.json_records import describe_record, format_json
from sffshards.domain.sample_sets import Stage
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.runs.fold_ensemble import IssuedForecast, Probability, combine_folds
from sffshards.forecasting.runs.run_scores import FoldMean, RunScores, average_folds, describe_run
from sffshards.forecasting.runs.sample_subsets import DEFINITIONS, Subset, explain_subsets, find_subsets

VERIFICATION_NAME = "verification.json"
VERIFICATION_TABLE_NAME = "verification.csv"
ENSEMBLE = "ensemble"
"""What stands in place of a fold's number for the ensemble."""

_FORMAT_VERSION = 3
_KEY = ("fold", "stage", "subset", "probability", "rule")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastKey:
    """What identifies a forecast of a run: who issues it, for which samples, and how it decides."""

    fold: int | None
    """Number of the fold; None for the ensemble."""
    stage: Stage
    subset: Subset
    probability: Probability
    rule: verification.ThresholdRule


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedForecast(ForecastKey):
    """The scores of one forecast."""

    scores: verification.ForecastScores


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut(ForecastKey):
    """A forecast that does not exist."""

    reason: str
    """Why there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationSummary(FoldMean):
    """A score averaged over folds."""

    stage: Stage
    subset: Subset
    probability: Probability
    rule: verification.ThresholdRule
    score: verification.AnyScore


@dataclass(frozen=True, kw_only=True, slots=True)
class RunVerification:
    """The verification of a run's forecasts."""

    forecasts: tuple[VerifiedForecast, ...]
    """Scores fold by fold, the ensemble last."""
    left_out: tuple[LeftOut, ...]
    """Forecasts that do not exist, with the reasons."""
    summary: tuple[VerificationSummary, ...]
    """Scores averaged over folds."""
    ensemble: IssuedForecast
    """Ensemble of the folds, as a forecast of the test set."""
    subset_note: str
    """How many positive samples of the first subset may follow an earlier flare."""


def verify_forecasts(
    issued: Sequence[IssuedForecast], *, name: str, task: Task, flares: HarpFlares | None = None
) -> RunVerification:
    """Verify the forecasts of a run's folds, and of their ensemble for the test set.

    Parameters
    ----------
    issued
        Forecasts of the validation and test set by each fold.
    name
        Name of the run.
    task
        The task that is forecast.
    flares
        Flares that decide which flares are first; None to follow the labels of the test set.
    """
    ensemble = combine_folds([fold for fold in issued if fold.stage is Stage.TEST], name=name)
    outcomes = [
        outcome
        for one in (*issued, ensemble)
        for subset, chosen in _subsets_of(one, task, flares)
        for outcome in _verify(one, subset, chosen)
    ]
    forecasts = tuple(outcome for outcome in outcomes if isinstance(outcome, VerifiedForecast))
    return RunVerification(
        forecasts=forecasts,
        left_out=tuple(outcome for outcome in outcomes if isinstance(outcome, LeftOut)),
        summary=tuple(_summarise(forecasts)),
        ensemble=ensemble,
        subset_note=explain_subsets(ensemble.samples, task=task, flares=flares),
    )


def write_verification(scores: RunScores) -> None:
    """Write ``verification.json`` and ``verification.csv`` into the run's folder."""
    folder = scores.run.folder
    header = [*_KEY, "threshold", "num_samples", "num_flares", "score", "estimate", "low", "high", "note"]
    write_atomic(folder / VERIFICATION_NAME, format_json(describe_verification(scores)))
    write_atomic(folder / VERIFICATION_TABLE_NAME, format_csv(header, _make_rows(scores)).encode("ascii"))


def describe_verification(scores: RunScores) -> dict[str, Any]:
    """Return a run's verification as ``verification.json`` holds it.

    ``forecasts`` has an entry for each fold (or ``ensemble``), set, subset, kind of probability and threshold rule: its
    threshold, climatology, counts, and scores with intervals. ``undefined`` states why a score is null, ``reason``
    why the ends of its interval are. ``left_out`` lists forecasts that do not exist, with the reason; ``summary`` has
    mean and standard deviation over folds.
    """
    found = scores.verification
    return {
        "format_version": _FORMAT_VERSION,
        **describe_run(scores.run),
        "num_folds": found.ensemble.num_folds,
        "level": verification.LEVEL,
        "subsets": {str(subset): DEFINITIONS[subset] for subset in dict.fromkeys(_list_subsets(found))},
        "subset_note": found.subset_note,
        "forecasts": [_describe_forecast(forecast) for forecast in found.forecasts],
        "left_out": [_key(left_out) | {"reason": left_out.reason} for left_out in found.left_out],
        "summary": [describe_record(summary) for summary in found.summary],
    }


def _list_subsets(found: RunVerification) -> Iterator[Subset]:
    for one in (*found.forecasts, *found.left_out):
        yield one.subset


def _subsets_of(
    issued: IssuedForecast, task: Task, flares: HarpFlares | None
) -> Iterator[tuple[Subset, NDArray[np.bool_]]]:
    """Yield the samples of each subset that is scored; the validation set is scored as a whole only."""
    yield Subset.ALL, np.ones(len(issued.samples), np.bool_)
    if issued.stage is Stage.TEST:
        yield from find_subsets(issued.samples, task=task, flares=flares).items()


def _verify(issued: IssuedForecast, subset: Subset, chosen: NDArray[np.bool_]) -> Iterator[VerifiedForecast | LeftOut]:
    base: dict[str, Any] = {"fold": issued.fold, "stage": issued.stage, "subset": subset}
    for probability in Probability:
        rules = (
            tuple(verification.ThresholdRule) if probability is Probability.RAW else (verification.ThresholdRule.HALF,)
        )
        thresholds = {rule: issued.threshold(probability, rule) for rule in rules}
        defined = {rule: t for rule, t in thresholds.items() if t is not None and chosen.any()}
        found: list[verification.ForecastScores] = []
        if defined:
            found = verification.score_thresholds(issued.forecast(probability, chosen=chosen), list(defined.values()))
        scores = dict(zip(defined, found, strict=True))
        for rule in rules:
            key = base | {"probability": probability, "rule": rule}
            if rule in scores:
                yield VerifiedForecast(**key, scores=scores[rule])
            else:
                why = (issued.reason or "not fitted") if chosen.any() else "there are no such samples"
                yield LeftOut(**key, reason=why)


def _summarise(forecasts: Sequence[VerifiedForecast]) -> Iterator[VerificationSummary]:
    """Yield mean and standard deviation of every score over folds."""
    groups: dict[tuple[Stage, Subset, Probability, verification.ThresholdRule], list[verification.ForecastScores]] = {}
    for one in forecasts:
        if one.fold is not None:
            groups.setdefault((one.stage, one.subset, one.probability, one.rule), []).append(one.scores)
    for (stage, subset, probability, rule), of_folds in groups.items():
        labels = {"stage": stage, "subset": subset, "probability": probability, "rule": rule}
        for name in verification.ALL_SCORES:
            values = [scores.interval(name).estimate for scores in of_folds]
            yield average_folds(values, VerificationSummary, **labels, score=name)


def _describe_forecast(forecast: VerifiedForecast) -> dict[str, Any]:
    return {
        **_key(forecast),
        **verification.describe_forecast_scores(forecast.scores),
        "undefined": {
            str(name): why
            for name in verification.ALL_SCORES
            if (why := verification.explain_score(forecast.scores, name)) is not None
        },
    }


def _key(of: ForecastKey) -> dict[str, Any]:
    values = {name: getattr(of, name) for name in _KEY}
    return values | ({"fold": ENSEMBLE} if of.fold is None else {})


def _make_rows(scores: RunScores) -> Iterator[list[object]]:
    for forecast in scores.verification.forecasts:
        found, table = forecast.scores, forecast.scores.table
        start = [*_key(forecast).values(), found.threshold, table.num_samples, table.num_positive]
        for name in verification.ALL_SCORES:
            interval = found.interval(name)
            note = verification.explain_score(found, name) or interval.reason
            yield [*start, name, interval.estimate, interval.low, interval.high, note]
    for left_out in scores.verification.left_out:
        yield [*_key(left_out).values(), *[None] * 7, left_out.reason]
