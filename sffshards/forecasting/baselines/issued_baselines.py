"""Baselines in the form of a run's forecast, so that runs are scored beside them and compared with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sffshards import verification
from sffshards.domain.task import Task
from sffshards.forecasting.baselines.baseline_forecasts import forecast_from_labels
from sffshards.forecasting.baselines.baseline_samples import Samples
from sffshards.forecasting.baselines.baseline_scores import BaselineName
from sffshards.forecasting.runs import IssuedForecast, Probability


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuedBaseline(IssuedForecast):
    """A baseline's forecast of the samples of a run."""

    baseline: BaselineName
    """The baseline."""

    def threshold(self, probability: Probability, rule: verification.ThresholdRule) -> float | None:
        """Return a threshold, or None where there is none.

        Runs at a chosen threshold are compared with a baseline that has only one threshold, 0.5, at that one.
        """
        if probability is Probability.RAW:
            return self.thresholds.get(rule, verification.THRESHOLD)
        return IssuedForecast.threshold(self, probability, rule)


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


def issue_references(ensemble: IssuedForecast, task: Task, *, seed: int) -> list[IssuedBaseline]:
    """Forecast the samples of an ensemble by the baselines that follow from their labels and its climatology."""
    known = Samples(harp=ensemble.samples.harp, t_end_tai=ensemble.samples.t_end_tai, label=ensemble.samples.label)
    forecasts = forecast_from_labels(known, task=task, climatology=ensemble.climatology, seed=seed)
    return [issue_baseline(ensemble, name, made, title=str(name)) for name, made in forecasts.items()]
