"""The folds of a run as one forecast of the test set: the mean of their probabilities.

Shapes: F folds, N sequences of the test set.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import ConflictError
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs import Predictions
from sffshards.report.fold_decisions import ThresholdRule, decide_fold
from sffshards.report.gathered_runs import RunResult, plain_rows
from sffshards.verification import Forecast

__all__ = ["Ensemble", "average_folds"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble:
    """The mean of a run's folds, over the sequences of the test set, each as it is and once."""

    name: str
    """Of the run."""
    rows: Predictions
    """The sequences, with the mean probability."""
    probability_FN: NDArray[np.float64]
    """Of each fold."""
    thresholds: dict[ThresholdRule, float]
    """Means of the folds' own, which their validation sets gave; a rule that no fold could follow is left out."""
    calibrated: NDArray[np.float64] | None
    """Mean of the folds' calibrated probabilities, of shape (N,), with raw ones of folds that have no calibration; None
    where no fold has one."""
    climatology: float
    """Mean rate of flares in the training sets."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Why a fold has a threshold of 0.5 alone, and no calibration, by its number; only of such folds."""

    def forecast(self, threshold: float) -> Forecast:
        """Give it as it is scored, at a threshold."""
        return Forecast(
            label=self.rows.label,
            probability=self.rows.probability,
            harp=self.rows.harp,
            threshold=threshold,
            climatology=self.climatology,
        )


def average_folds(run: RunResult) -> Ensemble:
    """Average the evaluated folds of a run, of which there must be one.

    Raises
    ------
    ConflictError
        If they do not predict the same sequences.
    """
    tests = [plain_rows(fold.tables[Stage.TEST]) for fold in run.evaluated]
    for fold, test in zip(run.evaluated, tests, strict=True):
        if test.sequence != tests[0].sequence or not np.array_equal(test.label, tests[0].label):
            raise ConflictError(
                fold.folder,
                expected=f"predictions of the test sequences of {run.evaluated[0].folder.name}",
                found="predictions of others",
                fix="evaluate the run again with `sffshards evaluate --force`",
            )
    probability_FN = np.stack([test.probability for test in tests])
    decisions = [decide_fold(fold) for fold in run.evaluated]
    chosen = [decision.thresholds for decision in decisions]
    rules = [rule for rule in ThresholdRule if any(rule in of_fold for of_fold in chosen)]
    calibrated = [
        raw if decision.platt is None else decision.platt.apply(raw)
        for decision, raw in zip(decisions, probability_FN, strict=True)
    ]
    rates = [plain_rows(fold.tables[Stage.TRAIN]).label for fold in run.evaluated]
    return Ensemble(
        name=run.name,
        rows=Predictions(
            sequence=tests[0].sequence,
            harp=tests[0].harp,
            t_end_tai=tests[0].t_end_tai,
            view=tests[0].view,
            label=tests[0].label,
            probability=np.clip(probability_FN.mean(axis=0), 0, 1),
        ),
        probability_FN=probability_FN,
        calibrated=np.mean(calibrated, axis=0) if any(decision.platt for decision in decisions) else None,
        thresholds={rule: statistics.fmean(of[rule] for of in chosen if rule in of) for rule in rules},
        reasons={
            fold.record.fold: decision.reason
            for fold, decision in zip(run.evaluated, decisions, strict=True)
            if decision.reason is not None
        },
        climatology=statistics.fmean(float(labels.mean()) if len(labels) else 0.0 for labels in rates),
    )
