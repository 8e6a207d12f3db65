"""Baselines in the form of a run's forecast, so that runs are scored beside them and compared with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sffshards import verification
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.baselines.baseline_forecasts import (
    describe_source,
    forecast_from_flares,
    forecast_from_labels,
)
from sffshards.forecasting.baselines.baseline_samples import Samples
from sffshards.forecasting.baselines.baseline_scores import BaselineName
from sffshards.forecasting.runs import Comparison, IssuedForecast, Probability, RunKind, RunScores, compare_issued


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuedBaseline(IssuedForecast):
    """A baseline's forecast of the samples of a run.

    It has a value for all that a run has: a baseline without chosen thresholds or a calibration is what it is, and runs
    at theirs are compared with it as it is.
    """

    baseline: BaselineName
    """The baseline."""

    def threshold(self, probability: Probability, rule: verification.ThresholdRule) -> float:
        """Return a threshold; it is 0.5 for a rule by which none was chosen."""
        own = IssuedForecast.threshold(self, probability, rule)
        return verification.THRESHOLD if own is None else own

    def forecast(
        self,
        probability: Probability = Probability.RAW,
        *,
        threshold: float = verification.THRESHOLD,
        chosen: NDArray[np.bool_] | None = None,
    ) -> verification.Forecast:
        """Return the forecast in the form that verification takes; its own probabilities if it has no calibration."""
        own = probability if probability in self.probabilities else Probability.RAW
        return IssuedForecast.forecast(self, own, threshold=threshold, chosen=chosen)


def issue_baseline(
    ensemble: IssuedForecast, baseline: BaselineName, probability: NDArray[np.float64], *, title: str
) -> IssuedBaseline:
    """Return a baseline's forecast of an ensemble's samples, without chosen thresholds or a calibration.

    Parameters
    ----------
    ensemble
        Forecast of the same samples, with the climatology.
    baseline
        The baseline.
    probability
        Its probabilities of a flare, in the order of these samples.
    title
        Its name in tables.
    """
    return IssuedBaseline(
        name=title,
        baseline=baseline,
        fold=None,
        stage=ensemble.stage,
        samples=replace(ensemble.samples, probability=probability),
        probabilities={Probability.RAW: probability},
        thresholds={verification.ThresholdRule.HALF: verification.THRESHOLD},
        climatology=ensemble.climatology,
        reason=None,
    )


def issue_references(
    ensemble: IssuedForecast, task: Task, *, seed: int, flares: HarpFlares | None = None
) -> list[IssuedBaseline]:
    """Forecast the samples of an ensemble by the baselines that need no data beside it, or a flare list only.

    Parameters
    ----------
    ensemble
        Forecast of the samples, with the climatology.
    task
        The event that is forecast.
    seed
        Seed of the no-skill forecast.
    flares
        Flares that persistence and ever flared follow from; None: the labels of the samples.
    """
    known = Samples(harp=ensemble.samples.harp, t_end_tai=ensemble.samples.t_end_tai, label=ensemble.samples.label)
    forecasts = forecast_from_labels(known, task=task, climatology=ensemble.climatology, seed=seed)
    titles = {name: str(name) for name in forecasts}
    if flares is not None:
        by_list = forecast_from_flares(known, task=task, flares=flares)
        titles |= {name: f"{name}, from {describe_source(name, task, flares)}" for name in by_list}
        forecasts |= by_list
    return [issue_baseline(ensemble, name, made, title=titles[name]) for name, made in forecasts.items()]


def compare_with_references(scores: RunScores, *, seed: int, flares: HarpFlares | None = None) -> list[Comparison]:
    """Compare the ensemble of a run with every baseline of `issue_references`, which is the first of each pair.

    A run that is recorded as a baseline is not compared with that baseline.
    """
    ensemble, task = scores.verification.ensemble, scores.run.task
    own = scores.run.first.name if scores.run.kind is RunKind.BASELINE else None
    return [
        Comparison(
            task=task,
            first=baseline.name,
            second=scores.run.folder,
            compared=compared,
            difference=difference,
        )
        for baseline in issue_references(ensemble, task, seed=seed, flares=flares)
        if baseline.baseline != own
        for compared, difference in compare_issued(baseline, ensemble).items()
    ]
