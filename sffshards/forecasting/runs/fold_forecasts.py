"""What the folds of a run forecast for a set, each alone and all as an ensemble: probabilities and thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import ConflictError
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs.decision import Decision, ThresholdRule
from sffshards.forecasting.runs.predictions_table import Predictions
from sffshards.verification import THRESHOLD

__all__ = ["Issued", "Probability", "Subset", "calibrate", "combine_folds", "issue_forecast", "mean_thresholds"]


class Probability(StrEnum):
    """Whose probabilities."""

    RAW = "raw"
    """The network's own."""
    PLATT = "Platt"
    """Calibrated by a line in the logit."""
    ISOTONIC = "isotonic"
    """Calibrated by a rising map."""


class Subset(StrEnum):
    """Which samples of a set."""

    ALL = "all"
    FIRST = "first flares"
    """Those whose region was not known to flare: what comes is its first flare, or its first for some time."""
    CONTINUING = "continuing activity"
    """Those whose region was known to have flared in the horizon before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Issued:
    """What a fold, or the ensemble, forecasts for a set."""

    fold: int | None
    """None for the ensemble."""
    num_folds: int
    stage: Stage
    samples: Predictions
    """Plain views only, with the raw probabilities."""
    probabilities: dict[Probability, NDArray[np.float64]]
    """Of shape (n,); only those that are defined."""
    thresholds: dict[ThresholdRule, float]
    """Of raw probabilities; calibrated ones are called at 0.5."""
    climatology: float
    """Rate of flares in the training set, plain views only."""
    reasons: dict[Probability | ThresholdRule, str]
    """Why others are not defined."""

    def threshold(self, probability: Probability, rule: ThresholdRule) -> float | None:
        """Give a threshold; None where there is none, or none of its own: a rule chosen on raw ones calls the same."""
        if probability is Probability.RAW:
            return self.thresholds.get(rule)
        return THRESHOLD if rule is ThresholdRule.HALF and probability in self.probabilities else None


def calibrate(
    decision: Decision | None, probabilities: NDArray[np.float64], *, by: Probability
) -> NDArray[np.float64] | None:
    """Give calibrated probabilities, of the same shape, or None where the decision has no such calibration."""
    if by is Probability.RAW:
        return probabilities
    calibration = None if decision is None else decision.platt if by is Probability.PLATT else decision.isotonic
    return None if calibration is None else calibration.apply(probabilities)


def issue_forecast(samples: Predictions, decision: Decision, *, fold: int, stage: Stage, climatology: float) -> Issued:
    """Apply a fold's decision to its probabilities.

    Parameters
    ----------
    samples
        Plain views of a set.
    decision
        Of the fold.
    fold, stage
        Which.
    climatology
        Rate of flares in the fold's training set.
    """
    given = {by: calibrate(decision, samples.probability, by=by) for by in Probability}
    reason = decision.reason or "not fitted"
    missing = [by for by, values in given.items() if values is None]
    return Issued(
        fold=fold,
        num_folds=1,
        stage=stage,
        samples=samples,
        probabilities={by: values for by, values in given.items() if values is not None},
        thresholds=dict(decision.thresholds),
        climatology=climatology,
        reasons=dict.fromkeys([*missing, *(rule for rule in ThresholdRule if rule not in decision.thresholds)], reason),
    )


def combine_folds(folds: Sequence[Issued]) -> Issued:
    """Make one forecast of several folds': the mean of their probabilities, thresholds and climatologies.

    Of a calibration, the mean is over calibrated probabilities, and the raw ones of folds that lack it; a rule's
    threshold is the mean over the folds that have it.

    Raises
    ------
    ConflictError
        If the folds are not of the same samples.
    """
    first = folds[0]
    for other in folds[1:]:
        if other.samples.sequence != first.samples.sequence or not np.array_equal(
            other.samples.label, first.samples.label
        ):
            raise ConflictError(
                f"fold {other.fold}, {other.stage} set",
                expected=f"the samples and labels of fold {first.fold}",
                found="others",
                fix="evaluate all folds on one build, with `sffshards evaluate --force`",
            )
    defined = [by for by in Probability if any(by in fold.probabilities for fold in folds)]
    reasons = {key: reason for fold in reversed(folds) for key, reason in fold.reasons.items()}
    thresholds = mean_thresholds(fold.thresholds for fold in folds)
    return Issued(
        fold=None,
        num_folds=len(folds),
        stage=first.stage,
        samples=first.samples,
        probabilities={
            by: np.mean([fold.probabilities.get(by, fold.samples.probability) for fold in folds], axis=0)
            for by in defined
        },
        thresholds=thresholds,
        climatology=float(np.mean([fold.climatology for fold in folds])),
        reasons={key: reason for key, reason in reasons.items() if key not in defined and key not in thresholds},
    )


def mean_thresholds(of_folds: Iterable[dict[ThresholdRule, float]]) -> dict[ThresholdRule, float]:
    """Give each rule's mean threshold over the folds that have one."""
    every = list(of_folds)
    found = {rule: [of[rule] for of in every if rule in of] for rule in ThresholdRule}
    return {rule: float(np.mean(values)) for rule, values in found.items() if values}
