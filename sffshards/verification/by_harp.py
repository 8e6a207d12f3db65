"""Scores as functions of how often each HARP is counted, from sums over each HARP that are computed once.

Shapes: H HARPs in ascending order, R resamples, n samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.verification.contingency_tables import Counts, check_forecasts, part_outcomes
from sffshards.verification.score_names import ScoreName, compute_scores

__all__ = [
    "HarpStatistic",
    "auc_by_harp",
    "average_precision_by_harp",
    "brier_by_harp",
    "brier_skill_by_harp",
    "score_by_harp",
]

_BLOCK_NUMBERS = 1 << 22
"""Number of sums in memory at once: 32 MB per copy."""

_Compute = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, slots=True)
class HarpStatistic:
    """A score of forecasts, ready to be computed for resamples of their HARPs."""

    harps: NDArray[np.int64]
    """HARP numbers, shape (H,)."""
    num_samples: NDArray[np.int64]
    """Number of samples of each HARP, shape (H,)."""
    num_flares: NDArray[np.int64]
    """Number of samples of each HARP that a flare followed, shape (H,)."""
    compute: _Compute
    """Function from how often each HARP is counted, whole numbers of shape (R, H), to the score, shape (R,), or NaN."""


def score_by_harp(
    name: ScoreName,
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    harps: NDArray[np.integer],
    *,
    threshold: float,
) -> HarpStatistic:
    """Prepare a score of a contingency table.

    Parameters
    ----------
    name
        The score.
    labels
        Labels, 0 or 1, shape (n,).
    probabilities
        Probabilities of a flare, shape (n,).
    harps
        HARP numbers, shape (n,).
    threshold
        A flare is forecast at this probability or more.

    Raises
    ------
    InputError
        If they are not forecasts, or not every sample has a HARP.
    """
    numbers, where = _index_harps(labels, probabilities, harps)
    outcomes = part_outcomes(labels, probabilities, threshold=threshold)
    counts_H4 = np.stack([np.bincount(where, outcome, len(numbers)) for outcome in outcomes], axis=1)

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        tp, fp, fn, tn = (weights_RH @ counts_H4).T
        return compute_scores(name, Counts(tp=tp, fp=fp, fn=fn, tn=tn))

    return _gather(numbers, where, labels, compute)


def brier_by_harp(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], harps: NDArray[np.integer]
) -> HarpStatistic:
    """Prepare the Brier score; parameters and errors as of `score_by_harp`."""
    numbers, where = _index_harps(labels, probabilities, harps)
    errors_H = np.bincount(where, np.square(probabilities - labels), len(numbers))
    num_H = np.bincount(where, minlength=len(numbers)).astype(np.float64)
    return _gather(numbers, where, labels, lambda weights_RH: (weights_RH @ errors_H) / (weights_RH @ num_H))


def brier_skill_by_harp(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    harps: NDArray[np.integer],
    *,
    climatology: float,
) -> HarpStatistic:
    """Prepare the Brier skill score against a climatology; other parameters and errors as of `score_by_harp`."""
    own = brier_by_harp(labels, probabilities, harps)
    reference = brier_by_harp(labels, np.full(np.shape(labels), climatology), harps)

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 - _divide(own.compute(weights_RH), reference.compute(weights_RH))

    return HarpStatistic(harps=own.harps, num_samples=own.num_samples, num_flares=own.num_flares, compute=compute)


def auc_by_harp(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], harps: NDArray[np.integer]
) -> HarpStatistic:
    """Prepare the area under the ROC; parameters and errors as of `score_by_harp`.

    It is a sum over pairs of a sample with a flare and one without, so a table of pairs by their two HARPs gives the
    exact area of every resample.
    """
    numbers, where = _index_harps(labels, probabilities, harps)
    flares_H, others_H = (np.bincount(where[labels == label], minlength=len(numbers)) for label in (1, 0))
    right_HH = np.zeros((len(numbers), len(numbers)))
    others, where_others = probabilities[labels == 0], where[labels == 0]
    for harp in np.flatnonzero(flares_H):
        of_flares = np.sort(probabilities[(where == harp) & (labels == 1)])
        above = len(of_flares) - np.searchsorted(of_flares, others, side="right")
        ties = len(of_flares) - np.searchsorted(of_flares, others, side="left") - above
        right_HH[harp] = np.bincount(where_others, above + ties / 2, len(numbers))

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        num_right = np.sum((weights_RH @ right_HH) * weights_RH, axis=1)
        return _divide(num_right, (weights_RH @ flares_H) * (weights_RH @ others_H))

    return _gather(numbers, where, labels, compute)


def average_precision_by_harp(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], harps: NDArray[np.integer]
) -> HarpStatistic:
    """Prepare the average precision; parameters and errors as of `score_by_harp`.

    Hits and calls at the threshold of each distinct probability of a flare (K of them) are sums over HARPs, too.
    """
    numbers, where = _index_harps(labels, probabilities, harps)
    thresholds = np.unique(probabilities[labels == 1])
    called_HK, hits_HK = np.zeros((2, len(numbers), len(thresholds)))
    for harp in range(len(numbers)):
        of_harp = where == harp
        for sums, samples in ((called_HK, of_harp), (hits_HK, of_harp & (labels == 1))):
            sums[harp] = np.sum(samples) - np.searchsorted(np.sort(probabilities[samples]), thresholds)

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        num_rows = max(1, _BLOCK_NUMBERS // max(1, len(thresholds)))
        blocks = (weights_RH[start : start + num_rows] for start in range(0, len(weights_RH), num_rows))
        return np.concatenate([_average_precision(block @ called_HK, block @ hits_HK) for block in blocks])

    return _gather(numbers, where, labels, compute)


def _average_precision(called_RK: NDArray[np.float64], hits_RK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the average precision of each resample from forecast flares and hits at rising thresholds."""
    if not hits_RK.shape[1]:
        return np.full(len(hits_RK), np.nan)
    precision_RK = np.divide(hits_RK, called_RK, out=np.zeros_like(hits_RK), where=called_RK > 0)
    new_hits_RK = hits_RK - np.pad(hits_RK[:, 1:], ((0, 0), (0, 1)))
    return _divide(np.sum(new_hits_RK * precision_RK, axis=1), hits_RK[:, 0])


def _index_harps(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], harps: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the HARPs, and the position of each sample's HARP among them."""
    check_forecasts(labels, probabilities)
    if np.shape(harps) != np.shape(labels):
        found = f"shapes {np.shape(harps)} and {np.shape(labels)}"
        raise InputError("harps", expected="a HARP for each sample", found=found, fix="give them by sample")
    numbers, where = np.unique(np.asarray(harps, np.int64), return_inverse=True)
    return numbers, where


def _gather(
    numbers: NDArray[np.int64], where: NDArray[np.int64], labels: NDArray[np.integer], compute: _Compute
) -> HarpStatistic:
    return HarpStatistic(
        harps=numbers,
        num_samples=np.bincount(where, minlength=len(numbers)),
        num_flares=np.bincount(where[labels == 1], minlength=len(numbers)),
        compute=compute,
    )


def _divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
