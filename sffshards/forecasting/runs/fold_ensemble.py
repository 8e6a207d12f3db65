"""The forecasts that a run's folds issue for a set, each alone and averaged as an ensemble.

Shapes: F folds, N samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import ConflictError
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs.decision import Decision, fit_decision, leave_undecided, read_decision
from sffshards.forecasting.runs.predictions_table import Predictions
from sffshards.forecasting.runs.run_fold import RunFold
from sffshards.forecasting.runs.run_folders import Run
from sffshards.verification import THRESHOLD, Forecast, ThresholdRule


class Probability(StrEnum):
    """Which probabilities a forecast consists of."""

    RAW = "raw"
    """The forecaster's own probabilities."""
    PLATT = "Platt"
    """Probabilities calibrated by a line in the logit."""
    ISOTONIC = "isotonic"
    """Probabilities calibrated by isotonic regression."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuedForecast:
    """The forecast that a fold, or the ensemble of folds, issues for a set."""

    name: str
    """Name in tables: of the run for an ensemble, such as ``fold 0`` for a fold."""
    fold: int | None
    """Number of the fold; None for the ensemble."""
    stage: Stage
    """The set that is forecast."""
    samples: Predictions
    """Samples of the set with their raw probabilities; plain views only."""
    probabilities: dict[Probability, NDArray[np.float64]]
    """Probabilities of a flare, shape (N,); only the kinds that are defined."""
    thresholds: dict[ThresholdRule, float]
    """Thresholds of the raw probabilities, by rule; calibrated probabilities are compared with 0.5."""
    climatology: float
    """Rate of flares in the training set, over plain views."""
    reason: str | None
    """Reason why there is only a threshold of 0.5 and no calibration, for an ensemble in its first such fold."""
    members: tuple[IssuedForecast, ...] = ()
    """Forecasts of the folds that an ensemble averages; empty for a fold."""

    @property
    def num_folds(self) -> int:
        """Number of folds that the forecast averages."""
        return max(1, len(self.members))

    @property
    def member_probabilities(self) -> NDArray[np.float64]:
        """Raw probabilities of each fold, shape (F, N)."""
        return np.stack([one.samples.probability for one in self.members or (self,)])

    @property
    def undecided_folds(self) -> dict[int, str]:
        """Reasons why folds have a threshold of 0.5 only, and no calibration, by the fold's number."""
        return {one.fold: one.reason for one in self.members or (self,) if one.reason and one.fold is not None}

    def threshold(self, probability: Probability, rule: ThresholdRule) -> float | None:
        """Return a threshold, or None where there is none of its own.

        A monotonic calibration does not change which samples reach a threshold chosen on raw probabilities, so that
        calibrated ones have the threshold 0.5 only.
        """
        if probability is Probability.RAW:
            return self.thresholds.get(rule)
        return THRESHOLD if rule is ThresholdRule.HALF and probability in self.probabilities else None

    def forecast(
        self,
        probability: Probability = Probability.RAW,
        *,
        threshold: float = THRESHOLD,
        chosen: NDArray[np.bool_] | None = None,
    ) -> Forecast:
        """Return the forecast in the form that verification takes, of all samples or of the chosen ones."""
        rows = slice(None) if chosen is None else chosen
        return Forecast(
            label=self.samples.label[rows],
            probability=self.probabilities[probability][rows],
            harp=self.samples.harp[rows],
            threshold=threshold,
            climatology=self.climatology,
        )

    def is_comparable(self, other: IssuedForecast) -> bool:
        """Return whether another forecast is of the same samples and labels: HARP, end time and label."""
        return self.samples.is_alike(other.samples)


def calibrate(
    decision: Decision | None, probabilities: NDArray[np.float64], *, by: Probability
) -> NDArray[np.float64] | None:
    """Return calibrated probabilities, of the same shape, or None where the decision has no such calibration."""
    if by is Probability.RAW:
        return probabilities
    calibration = None if decision is None else decision.platt if by is Probability.PLATT else decision.isotonic
    return None if calibration is None else calibration.apply(probabilities)


def issue_forecast(
    samples: Predictions, decision: Decision, *, fold: int, stage: Stage, climatology: float
) -> IssuedForecast:
    """Apply a fold's decision to its probabilities.

    Parameters
    ----------
    samples
        Predictions of a set, plain views only.
    decision
        Decision of the fold.
    fold, stage
        Number of the fold, and the set.
    climatology
        Rate of flares in the fold's training set.
    """
    issued = {by: calibrate(decision, samples.probability, by=by) for by in Probability}
    return IssuedForecast(
        name=f"fold {fold}",
        fold=fold,
        stage=stage,
        samples=samples,
        probabilities={by: values for by, values in issued.items() if values is not None},
        thresholds=dict(decision.thresholds),
        climatology=climatology,
        reason=decision.reason,
    )


def issue_fold(fold: RunFold, decision: Decision, stage: Stage) -> IssuedForecast:
    """Apply a decision to the probabilities of a set of a fold, over plain views."""
    number, climatology = fold.number, fold.climatology
    return issue_forecast(fold.plain(stage), decision, fold=number, stage=stage, climatology=climatology)


def decide_fold(fold: RunFold) -> Decision:
    """Fit the decision of a fold to its validation set; without forecasts of that, the decision states why."""
    if Stage.VAL not in fold.tables:
        return leave_undecided(f"there are no forecasts of the validation set: {fold.missing[Stage.VAL]}")
    return fit_decision(fold.tables[Stage.VAL], source_sha256=fold.source_sha256)


def combine_folds(folds: Sequence[IssuedForecast], *, name: str) -> IssuedForecast:
    """Average the forecasts of several folds: the mean of their probabilities, thresholds and climatologies.

    A mean of calibrated probabilities takes the raw ones of folds without that calibration. The threshold of a rule is
    the mean over the folds that have one.

    Parameters
    ----------
    folds
        Forecasts of one set, at least one.
    name
        Name of the ensemble in tables.

    Raises
    ------
    ConflictError
        If the folds are not of the same samples.
    """
    first = folds[0]
    for other in folds:
        if not first.is_comparable(other):
            raise ConflictError(
                f"{name}, fold {other.fold}, {other.stage} set",
                expected=f"the samples and labels of fold {first.fold}",
                found="others",
                fix="evaluate all folds on one build, with `sffshards evaluate --force`",
            )
    defined = [by for by in Probability if any(by in fold.probabilities for fold in folds)]
    probabilities = {
        by: _average([fold.probabilities.get(by, fold.samples.probability) for fold in folds]) for by in defined
    }
    return IssuedForecast(
        name=name,
        fold=None,
        stage=first.stage,
        samples=replace(first.samples, probability=probabilities[Probability.RAW]),
        probabilities=probabilities,
        thresholds=mean_thresholds(fold.thresholds for fold in folds),
        climatology=float(np.mean([fold.climatology for fold in folds])),
        reason=next((fold.reason for fold in folds if fold.reason), None),
        members=tuple(folds),
    )


def average_run(run: Run) -> IssuedForecast:
    """Average the evaluated folds of a run, at least one, as one forecast of the test set.

    The decision of a fold is the one in its folder; where there is none, or the fold has other labels, it is fitted to
    the validation set.

    Raises
    ------
    ConflictError
        If the folds do not forecast the same samples, or a decision was fitted to other forecasts.
    DamageError
        If ``decision.json`` is not a decision.
    """
    issued = [issue_fold(fold, _find_decision(fold), Stage.TEST) for fold in run.evaluated]
    return combine_folds(issued, name=run.name)


def _find_decision(fold: RunFold) -> Decision:
    known = None if fold.is_relabelled else read_decision(fold.folder, source_sha256=fold.source_sha256)
    return known or decide_fold(fold)


def mean_thresholds(of_folds: Iterable[dict[ThresholdRule, float]]) -> dict[ThresholdRule, float]:
    """Return the mean threshold of each rule over the folds that have one."""
    every = list(of_folds)
    found = {rule: [of[rule] for of in every if rule in of] for rule in ThresholdRule}
    return {rule: float(np.mean(values)) for rule, values in found.items() if values}


def _average(probabilities: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean over folds, which rounding does not take out of 0 to 1."""
    return np.clip(np.mean(probabilities, axis=0), 0, 1)
