"""Scores of probabilities: Brier score, Brier skill score, its decomposition, and the reliability curve.

Shapes: B bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.verification.contingency_tables import check_forecasts, divide


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityCurve:
    """How often flares came, by forecast probability."""

    edges: NDArray[np.float64]
    """Edges of the bins, from 0 to 1, shape (B + 1,). A bin includes its lower edge; the last one includes 1 too."""
    num_samples: NDArray[np.int64]
    """Number of forecasts in each bin, shape (B,)."""
    mean_probability: NDArray[np.float64]
    """Mean probability of the forecasts in each bin, shape (B,); NaN in an empty one."""
    flare_frequency: NDArray[np.float64]
    """Fraction of these forecasts that a flare followed, shape (B,); NaN in an empty bin. Perfect: the mean
    probability."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BrierParts:
    """Decomposition of a Brier score: ``reliability - resolution + uncertainty + within_bins``; the sum is checked."""

    brier_score: float
    reliability: float
    """Mean squared distance of the bins' mean probabilities from their flare frequencies; perfect 0."""
    resolution: float
    """Variance of the flare frequencies over the bins; at best the uncertainty, without skill 0."""
    uncertainty: float
    """Variance of the outcomes, which does not depend on the forecast; at most 0.25."""
    within_bins: float
    """Variance of the probabilities within bins minus twice their covariance with the outcomes; 0 where every bin
    contains one probability."""

    def __post_init__(self) -> None:
        total = self.reliability - self.resolution + self.uncertainty + self.within_bins
        if not math.isclose(total, self.brier_score, abs_tol=1e-9):
            raise ValueError(f"the parts must add up to the Brier score {self.brier_score}, got {total}")


def brier_score(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """Compute the mean squared difference of probabilities and outcomes.

    ``mean((p - y)^2)``; from 0 to 1, perfect 0; nan without samples. Where flares are rare, "never" scores low: compare
    with `brier_skill_score`.

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

    References
    ----------
    Brier, Monthly Weather Review 78 (1950), 1, in the half form of Wilks (2011), section 8.4.2.
    """
    check_forecasts(labels, probabilities)
    return float(np.mean(np.square(probabilities - labels))) if len(labels) else math.nan


def brier_skill_score(labels: NDArray[np.integer], probabilities: NDArray[np.floating], *, climatology: float) -> float:
    """Compute the fraction of the climatology's Brier score that is avoided.

    ``1 - BS / BS(climatology)``; from below, perfect 1, no better 0; nan without samples, or where the climatology is
    itself perfect.

    Parameters
    ----------
    labels, probabilities
        As of `brier_score`.
    climatology
        The reference's probability of a flare. A forecaster knows that of the training set; the mean of ``labels``
        itself is the hardest to beat.

    Raises
    ------
    InputError
        If they are not forecasts, or the climatology is not from 0 to 1.

    References
    ----------
    Wilks (2011), section 8.4.2; Leka et al., ApJ Supplement 243 (2019), 36.
    """
    if not 0 <= climatology <= 1:
        raise InputError("climatology", expected="from 0 to 1", found=str(climatology), fix="give the rate of flares")
    reference = brier_score(labels, np.full(np.shape(labels), climatology))
    return 1 - brier_score(labels, probabilities) / reference if reference else math.nan


def trace_reliability(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], *, num_bins: int
) -> ReliabilityCurve:
    """Compute the points of a reliability diagram, with counts, over bins of equal width.

    Parameters
    ----------
    labels, probabilities
        As of `brier_score`.
    num_bins
        At least 1.

    Raises
    ------
    InputError
        If they are not forecasts, or there are no bins.

    References
    ----------
    Wilks (2011), section 8.4.4.
    """
    check_forecasts(labels, probabilities)
    edges, bins = _find_bins(probabilities, num_bins)
    num, mean_probability, frequency = _average(bins, labels, probabilities, num_bins)
    return ReliabilityCurve(edges=edges, num_samples=num, mean_probability=mean_probability, flare_frequency=frequency)


def decompose_brier(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], *, num_bins: int | None
) -> BrierParts:
    """Decompose the Brier score.

    Parameters
    ----------
    labels, probabilities
        As of `brier_score`; at least one sample.
    num_bins
        Number of bins of equal width, as in `trace_reliability`; None for one bin per distinct probability, as in
        Murphy. Where all probabilities are distinct, that rates every forecast as unreliable: use bins.

    Raises
    ------
    InputError
        If they are not forecasts, or none.

    References
    ----------
    Murphy, Journal of Applied Meteorology 12 (1973), 595; what bins hide: Stephenson, Coelho and Jolliffe, Weather and
    Forecasting 23 (2008), 752.
    """
    score = brier_score(labels, probabilities)
    if math.isnan(score):
        raise InputError("labels", expected="at least one sample", found="none", fix="give some")
    bins = probabilities if num_bins is None else _find_bins(probabilities, num_bins)[1]
    filled, where = np.unique(bins, return_inverse=True)
    num, mean, frequency = _average(where, labels, probabilities, len(filled))
    share, rate = num / len(labels), float(np.mean(labels))
    within = probabilities - mean[where]
    return BrierParts(
        brier_score=score,
        reliability=float(share @ np.square(mean - frequency)),
        resolution=float(share @ np.square(frequency - rate)),
        uncertainty=rate * (1 - rate),
        within_bins=float(np.mean(np.square(within)) - 2 * np.mean(within * (labels - frequency[where]))),
    )


def _find_bins(probabilities: NDArray[np.floating], num_bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the edges of the bins, and the bin of each probability."""
    if num_bins < 1:
        raise InputError("num_bins", expected="at least 1", found=str(num_bins), fix="choose another, such as 10")
    edges = np.arange(num_bins + 1) / num_bins
    return edges, np.searchsorted(edges[1:-1], probabilities, side="right")


def _average(
    bins: NDArray[np.int64], labels: NDArray[np.integer], probabilities: NDArray[np.floating], num_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Count the samples of each bin, and average probabilities and labels."""
    num = np.bincount(bins, minlength=num_bins)
    sums = np.bincount(bins, probabilities, num_bins), np.bincount(bins, labels, num_bins)
    return num, divide(sums[0], num), divide(sums[1], num)
