"""Baselines of a report: forecasts without a network, from the lists of all parts, a flare list and SHARP keywords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards import tabular
from sffshards.base.errors import ConflictError
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting import baselines
from sffshards.forecasting.runs import IssuedForecast, Predictions, Probability, Run
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
    keywords: tabular.KeywordTable | None = None
    """SHARP keywords of frames."""


def issue_baselines(
    sources: ReportSources, evaluated: Sequence[Run], ensemble: IssuedForecast, task: Task, *, seed: int
) -> list[baselines.IssuedBaseline]:
    """Forecast the samples of an ensemble by the baselines of a task that follow from its lists; none without lists.

    Logistic regression is fitted in the folds that were evaluated, under the protocol of the first run. Like a run, it
    forecasts as an ensemble: the mean of the folds' probabilities, raw and calibrated, and of their thresholds.

    Raises
    ------
    InputError
        If a list is malformed, the keywords are of other frames, or a fold's set has no flares, or flares only.
    ConflictError
        If the list of Test is not of the samples that the runs forecast.
    """
    if task not in sources.lists:
        return []
    samples = baselines.read_samples(sources.lists[task])
    _check_same(samples[Part.TEST], ensemble.samples, sources.lists[task])
    folds = sorted({fold.number for run in evaluated for fold in run.evaluated})
    made = baselines.forecast_baselines(
        samples,
        task=task,
        protocol=evaluated[0].first.protocol,
        seed=seed,
        flares=sources.catalogue,
        keywords=sources.keywords,
        folds=folds,
    )
    return list(_issue(made, ensemble, _find_rows(samples[Part.TEST], ensemble.samples)))


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


def _find_rows(listed: baselines.Samples, forecast: Predictions) -> NDArray[np.int64]:
    """Return the position in the list of each sample of the runs, whose order may be another."""
    of_list, of_runs = (np.lexsort((of.t_end_tai, of.harp)) for of in (listed, forecast))
    rows = np.empty(len(of_runs), np.int64)
    rows[of_runs] = of_list
    return rows


def _issue(
    made: Sequence[baselines.BaselineForecasts], ensemble: IssuedForecast, rows: NDArray[np.int64]
) -> Iterator[baselines.IssuedBaseline]:
    for one in made:
        if one.name in _SHOWN:
            source = one.source.replace("earlier labels", "earlier labels of all parts")
            yield baselines.issue_baseline(
                ensemble, one.name, one.forecasts[0].probability[rows], title=f"{one.name}, from {source}"
            )
    fits = [one for one in made if one.name is baselines.BaselineName.REGRESSION]
    if fits:
        means = {(fit.probability, fit.rule): _average(fit.forecasts) for fit in fits}
        folds = f"ensemble of {len(fits[0].folds)} folds" if len(fits[0].folds) > 1 else "1 fold"
        raw, platt = (means[of, ThresholdRule.HALF] for of in (Probability.RAW, Probability.PLATT))
        title = f"{fits[0].name}, from {fits[0].source}, {folds}"
        alone = baselines.issue_baseline(ensemble, fits[0].name, raw.probability[rows], title=title)
        yield replace(
            alone,
            probabilities={**alone.probabilities, Probability.PLATT: platt.probability[rows]},
            thresholds={rule: mean.threshold for (of, rule), mean in means.items() if of is Probability.RAW},
            climatology=raw.climatology,
        )


def _average(forecasts: Sequence[Forecast]) -> Forecast:
    return replace(
        forecasts[0],
        probability=np.clip(np.mean([forecast.probability for forecast in forecasts], axis=0), 0, 1),
        threshold=float(np.mean([forecast.threshold for forecast in forecasts])),
        climatology=float(np.mean([forecast.climatology for forecast in forecasts])),
    )
