"""Baselines of a report: forecasts without a network, from the lists of all parts, a flare list and SHARP keywords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sffshards.base.errors import ConflictError
from sffshards.domain.sample_sets import Part, Stage
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting import baselines
from sffshards.forecasting.runs import Predictions, Run
from sffshards.report.result_scores import NamedScores, score_named
from sffshards.verification import Forecast, ThresholdRule

_SHOWN = (baselines.BaselineName.PERSISTENCE, baselines.BaselineName.EVER_FLARED)
"""Baselines that are shown beside the regression; no skill and climatology are in every report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSources:
    """Data that a report reads besides the runs; without any, references follow from the test set's labels."""

    lists: Mapping[Task, Mapping[Part, Path]] = field(default_factory=dict)
    """Label lists of each task, as `sffshards.labels.find_label_lists` returns them."""
    catalogue: HarpFlares | None = None
    """Flares of active regions."""
    keywords: baselines.KeywordTable | None = None
    """SHARP keywords of frames."""


def score_baselines(sources: ReportSources, runs: Sequence[Run], task: Task, *, seed: int) -> tuple[NamedScores, ...]:
    """Score the baselines of a task that follow from its lists; none without lists.

    Logistic regression is fitted in the folds that were evaluated, under the protocol of the first run. Like a run, it
    is scored as an ensemble: the mean of the folds' probabilities, at the mean of the thresholds chosen on validation.

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
    samples = baselines.read_samples(sources.lists[task])
    _check_same(samples[Part.TEST], evaluated[0].evaluated[0].plain(Stage.TEST), sources.lists[task])
    folds = sorted({fold.record.fold for run in evaluated for fold in run.evaluated})
    made = baselines.forecast_baselines(
        samples,
        task=task,
        protocol=evaluated[0].first.options.protocol,
        seed=seed,
        flares=sources.catalogue,
        keywords=sources.keywords,
        folds=folds,
    )
    return tuple(_score(made))


def _check_same(listed: baselines.Samples, forecast: Predictions, lists: Mapping[Part, Path]) -> None:
    """Check that the list has the samples that the runs forecast, in whatever order."""
    rows = [
        sorted(zip(of.harp.tolist(), of.t_end_tai.astype(np.int64).tolist(), of.label.tolist(), strict=True))
        for of in (listed, forecast)
    ]
    if rows[0] != rows[1]:
        raise ConflictError(
            lists[Part.TEST],
            expected=f"the {len(rows[1]):,} test samples that the runs forecast",
            found=f"{len(rows[0]):,} samples, {len(set(rows[0]) & set(rows[1])):,} of them the same",
            fix="name the data that the build was made from, or omit {data}",
        )


def _score(made: Sequence[baselines.BaselineForecasts]) -> Iterator[NamedScores]:
    for one in made:
        if one.name in _SHOWN:
            source = one.source.replace("earlier labels", "earlier labels of all parts")
            scored = score_named(f"{one.name}, from {source}", one.forecasts[0])
            yield replace(scored, baseline=one.name)
    fits = [one for one in made if one.name is baselines.BaselineName.REGRESSION]
    if fits:
        means = {fit.rule: _average(fit.forecasts) for fit in fits}
        thresholds = {rule: mean.threshold for rule, mean in means.items()}
        folds = f"ensemble of {len(fits[0].folds)} folds" if len(fits[0].folds) > 1 else "1 fold"
        name = f"{fits[0].name}, from {fits[0].source}, {folds}"
        yield score_named(name, means[ThresholdRule.HALF], thresholds=thresholds)


def _average(forecasts: Sequence[Forecast]) -> Forecast:
    return replace(
        forecasts[0],
        probability=np.clip(np.mean([forecast.probability for forecast in forecasts], axis=0), 0, 1),
        threshold=float(np.mean([forecast.threshold for forecast in forecasts])),
        climatology=float(np.mean([forecast.climatology for forecast in forecasts])),
    )
