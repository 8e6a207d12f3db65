"""Curves over all thresholds: ROC, precision and detection, any score by threshold; and how a threshold is chosen.

Shapes: T thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.verification.contingency_tables import THRESHOLD, Counts, check_forecasts
from sffshards.verification.score_names import ScoreName, compute_scores


class ThresholdRule(StrEnum):
    """How the probability at which a flare is forecast is chosen."""

    HALF = "0.5"
    """A probability of 0.5, as published."""
    MAX_TSS = "max TSS"
    """The threshold with the highest true skill statistic on the validation set."""
    MAX_HSS = "max HSS"
    """The threshold with the highest Heidke skill score on the validation set."""

    @property
    def score(self) -> ScoreName | None:
        """The score that the rule makes highest on the validation set; None for the fixed threshold."""
        return {ThresholdRule.MAX_TSS: ScoreName.TSS, ThresholdRule.MAX_HSS: ScoreName.HSS}.get(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdCurve:
    """The contingency table at every threshold that makes a difference."""

    threshold: NDArray[np.float64]
    """From infinity, at which no flare is forecast, down to the least probability, shape (T,)."""
    counts: Counts
    """Each of shape (T,)."""

    def score(self, name: ScoreName) -> NDArray[np.float64]:
        """Return a score at each threshold, shape (T,); NaN where it is undefined.

        POD over POFD is the ROC; PRE over POD, precision and recall.
        """
        return compute_scores(name, self.counts)


def trace_thresholds(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> ThresholdCurve:
    """Count the outcomes at every threshold.

    Parameters
    ----------
    labels
        0 or 1, of shape (n,).
    probabilities
        Of a flare, of shape (n,).

    Raises
    ------
    InputError
        If they are not forecasts.

    Examples
    --------
    >>> curve = trace_thresholds(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.9]))
    >>> curve.threshold.tolist(), curve.score(ScoreName.POD).tolist(), curve.score(ScoreName.POFD).tolist()
    ([inf, 0.9, 0.2], [0.0, 0.5, 1.0], [0.0, 0.0, 1.0])
    """
    check_forecasts(labels, probabilities)
    values, where = np.unique(np.asarray(probabilities, np.float64), return_inverse=True)
    tp, fp = (
        np.concatenate([[0.0], np.cumsum(np.bincount(where[labels == label], minlength=len(values))[::-1])])
        for label in (1, 0)
    )
    counts = Counts(tp=tp, fp=fp, fn=tp[-1] - tp, tn=fp[-1] - fp)
    return ThresholdCurve(threshold=np.concatenate([[np.inf], values[::-1]]), counts=counts)


def roc_auc(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """Compute the area under the ROC: how often a sample with a flare has a higher probability than one without.

    Ties count half; from 0 to 1, perfect 1, no skill 0.5; nan where all outcomes are of one class. Neither how rare
    flares are nor calibration changes it.

    Parameters
    ----------
    labels, probabilities
        As of `trace_thresholds`.

    Raises
    ------
    InputError
        If they are not forecasts.

    References
    ----------
    Hanley and McNeil, Radiology 143 (1982), 29.
    """
    counts = trace_thresholds(labels, probabilities).counts
    num_pairs = counts.tp[-1] * counts.fp[-1]
    # Whole and half numbers below 2^53: the sum is exact.
    num_right = np.sum(np.diff(counts.fp) * (counts.tp[1:] + counts.tp[:-1])) / 2
    return float(num_right / num_pairs) if num_pairs else math.nan


def average_precision(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """Compute the mean precision over the flares, each at the threshold that just detects it.

    ``sum((POD_t - POD_(t-1)) PRE_t)`` down the thresholds, without interpolation; from 0 to 1, perfect 1, no skill the
    rate of flares; nan without flares.

    Parameters
    ----------
    labels, probabilities
        As of `trace_thresholds`.

    Raises
    ------
    InputError
        If they are not forecasts.

    References
    ----------
    Davis and Goadrich, ICML (2006), 233, on why precision and recall are not joined by lines.
    """
    counts = trace_thresholds(labels, probabilities).counts
    num_flares = counts.tp[-1]
    precision = counts.tp[1:] / (counts.tp[1:] + counts.fp[1:])
    return float(np.diff(counts.tp) @ precision / num_flares) if num_flares else math.nan


def choose_threshold(labels: NDArray[np.integer], probabilities: NDArray[np.floating], *, score: ScoreName) -> float:
    """Return the threshold with the highest score, the largest of several. Use a validation set, never the test set.

    Parameters
    ----------
    labels, probabilities
        As of `trace_thresholds`.
    score
        Such as TSS or HSS; one whose perfect value is its highest.

    Raises
    ------
    InputError
        If they are not forecasts, the score is undefined at every threshold, or high is not good in it.
    """
    if score in (ScoreName.FAR, ScoreName.POFD, ScoreName.BIAS):
        raise InputError("score", expected="one that is highest when perfect", found=score, fix="choose TSS or HSS")
    curve = trace_thresholds(labels, probabilities)
    values = curve.score(score)[1:]
    if np.isnan(values).all():
        found = "both" if len(set(np.unique(labels))) > 1 else "samples of one outcome, or none"
        raise InputError(
            "labels", expected=f"flares and times without, for {score}", found=found, fix="take a larger set"
        )
    return float(curve.threshold[1 + np.nanargmax(values)])


def choose_thresholds(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> dict[ThresholdRule, float]:
    """Return the threshold of each rule, from the labels and probabilities of a validation set.

    Raises
    ------
    InputError
        As `choose_threshold`, if the set does not have both outcomes.
    """
    return {
        rule: choose_threshold(labels, probabilities, score=rule.score) if rule.score else THRESHOLD
        for rule in ThresholdRule
    }
