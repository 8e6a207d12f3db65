"""Stronger forecasts without a network: from the lists of all parts, a flare list and SHARP keywords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sffshards.base.errors import ConflictError
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Part, Stage
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.baselines import (
    Baseline,
    BaselineName,
    KeywordTable,
    Samples,
    compute_baselines,
    read_samples,
)
from sffshards.forecasting.baselines import ThresholdRule as BaselineRule
from sffshards.forecasting.runs import Predictions
from sffshards.report.fold_decisions import RULE_SCORES, ThresholdRule
from sffshards.report.gathered_runs import RunResult, plain_rows
from sffshards.report.result_scores import ChosenScore, NamedScores
from sffshards.verification import Forecast, Resampling, score_forecast, score_thresholds

__all__ = ["ReportSources", "score_baselines"]

_SHOWN = (BaselineName.PERSISTENCE, BaselineName.EVER_FLARED)
"""Beside the regression; no skill and climatology are in every report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSources:
    """What a report knows beside the runs; without any of it, references follow from the test set's labels."""

    lists: Mapping[Task, Mapping[Part, Path]] = field(default_factory=dict)
    """Label lists, as `sffshards.labels.data_layout.find_label_lists` gives them."""
    catalogue: HarpFlares | None = None
    keywords: KeywordTable | None = None


def score_baselines(
    sources: ReportSources, runs: Sequence[RunResult], task: Task, *, resampling: Resampling, progress: Progress
) -> tuple[NamedScores, ...]:
    """Score the baselines of a horizon that its lists give; none without them.

    Logistic regression is fitted in the folds that were evaluated, under the protocol of the first run, and taken as
    the runs are: the mean of the folds' probabilities, at the mean of the thresholds that validation gave.

    Raises
    ------
    InputError
        If a list is malformed, the keywords are of other frames, or a fold's set has no flares, or flares only.
    ConflictError
        If the list of Test is not of the samples that the runs forecast.
    """
    evaluated = [run for run in runs if run.task == task and run.evaluated]
    if task not in sources.lists or not evaluated:
        return ()
    samples = read_samples(sources.lists[task])
    _check_same(samples[Part.TEST], plain_rows(evaluated[0].evaluated[0].tables[Stage.TEST]), sources.lists[task])
    folds = sorted({fold.record.fold for run in evaluated for fold in run.evaluated})
    made = compute_baselines(
        samples,
        task=task,
        protocol=evaluated[0].first.options.protocol,
        # Of each fold no intervals are shown, and the others are scored again below.
        resampling=replace(resampling, num_resamples=1),
        flares=sources.catalogue,
        keywords=sources.keywords,
        folds=folds,
        progress=progress,
    )
    return (*_score_simple(made, resampling), *_score_regression(made, resampling))


def _check_same(listed: Samples, forecast: Predictions, lists: Mapping[Part, Path]) -> None:
    """Refuse to set side by side scores of other samples, in whatever order they come."""
    rows = [
        sorted(zip(of.harp.tolist(), of.t_end_tai.astype(np.int64).tolist(), of.label.tolist(), strict=True))
        for of in (listed, forecast)
    ]
    if rows[0] != rows[1]:
        raise ConflictError(
            lists[Part.TEST],
            expected=f"the {len(rows[1]):,} test samples that the runs forecast",
            found=f"{len(rows[0]):,} samples, {len(set(rows[0]) & set(rows[1])):,} of them the same",
            fix="name the data that the build was made from, or leave out --data",
        )


def _score_simple(made: Sequence[Baseline], resampling: Resampling) -> Iterator[NamedScores]:
    for baseline in made:
        if baseline.name in _SHOWN:
            (forecast,) = baseline.forecasts
            source = "earlier labels of all parts" if baseline.source == "earlier labels" else baseline.source
            yield NamedScores(
                name=f"{baseline.name}, from {source}", scores=score_forecast(forecast, resampling), chosen={}
            )


def _score_regression(made: Sequence[Baseline], resampling: Resampling) -> Iterator[NamedScores]:
    fits = {baseline.rule: baseline for baseline in made if baseline.name is BaselineName.REGRESSION}
    if not fits:
        return
    half = fits[BaselineRule.HALF]
    mean = _average(half.forecasts)
    thresholds = {
        rule: float(np.mean([forecast.threshold for forecast in fits[BaselineRule(rule)].forecasts]))
        for rule in RULE_SCORES
    }
    scored = score_thresholds(mean, [mean.threshold, *thresholds.values()], resampling)
    chosen: dict[ThresholdRule, ChosenScore] = {}
    for (rule, score), scores in zip(RULE_SCORES.items(), scored[1:], strict=True):
        chosen[rule] = ChosenScore(threshold=scores.threshold, interval=scores.interval(score))
    folds = ", ".join(map(str, half.folds))
    yield NamedScores(name=f"{half.name}, from {half.source}, mean of folds {folds}", scores=scored[0], chosen=chosen)


def _average(forecasts: Sequence[Forecast]) -> Forecast:
    probability = np.clip(np.mean([forecast.probability for forecast in forecasts], axis=0), 0, 1)
    climatology = float(np.mean([forecast.climatology for forecast in forecasts]))
    return replace(forecasts[0], probability=probability, climatology=climatology)
