"""Scores as functions of how often each HARP is counted, from sums over each HARP that are computed once.

Shapes: H HARPs in ascending order, R resamples, n samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.verification.contingency_tables import Counts, check_forecasts, divide, part_outcomes
from sffshards.verification.score_names import AnyScore, ProbabilityScore, ScoreName, compute_scores

_BLOCK_NUMBERS = 1 << 22
"""Number of sums in memory at once: 32 MB per copy."""

_Compute = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """Probabilities that were forecast for samples, and the outcomes."""

    label: NDArray[np.int64]
    """Labels, 0 or 1, shape (n,)."""
    probability: NDArray[np.float64]
    """Probabilities of a flare, shape (n,)."""
    harp: NDArray[np.int64]
    """HARP numbers, shape (n,)."""
    threshold: float
    """A flare is forecast at this probability or more."""
    climatology: float
    """Rate of flares in the training set, which a forecaster knows."""


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


def prepare_statistic(forecast: Forecast, name: AnyScore) -> HarpStatistic:
    """Prepare a score of a forecast for resampling its HARPs.

    Raises
    ------
    InputError
        If it is not a forecast, or not every sample has a HARP.
    """
    check_forecasts(forecast.label, forecast.probability)
    if np.shape(forecast.harp) != np.shape(forecast.label):
        found = f"shapes {np.shape(forecast.harp)} and {np.shape(forecast.label)}"
        raise InputError("harps", expected="a HARP for each sample", found=found, fix="give them by sample")
    harps, where = np.unique(np.asarray(forecast.harp, np.int64), return_inverse=True)
    samples = _Samples(forecast=forecast, where=where, num_harps=len(harps))
    return HarpStatistic(
        harps=harps,
        num_samples=np.bincount(where, minlength=len(harps)),
        num_flares=np.bincount(where[forecast.label == 1], minlength=len(harps)),
        compute=_score_table(samples, name) if isinstance(name, ScoreName) else _PREPARE[name](samples),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Samples:
    """The samples of a forecast by HARP."""

    forecast: Forecast
    where: NDArray[np.int64]
    """Position of each sample's HARP, shape (n,)."""
    num_harps: int

    def sum(self, values: NDArray[np.float64 | np.bool_]) -> NDArray[np.float64]:
        """Return the sum of values, shape (n,), over the samples of each HARP, shape (H,)."""
        return np.bincount(self.where, values, self.num_harps)


def _score_table(samples: _Samples, name: ScoreName) -> _Compute:
    forecast = samples.forecast
    outcomes = part_outcomes(forecast.label, forecast.probability, threshold=forecast.threshold)
    counts_H4 = np.stack([samples.sum(outcome) for outcome in outcomes], axis=1)

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        tp, fp, fn, tn = (weights_RH @ counts_H4).T
        return compute_scores(name, Counts(tp=tp, fp=fp, fn=fn, tn=tn))

    return compute


def _brier(samples: _Samples, probability: NDArray[np.float64] | float | None = None) -> _Compute:
    """Prepare the Brier score of the forecast, or of another probability."""
    forecast = samples.forecast
    errors_H = samples.sum(np.square((forecast.probability if probability is None else probability) - forecast.label))
    num_H = samples.sum(np.ones(len(forecast.label)))
    return lambda weights_RH: (weights_RH @ errors_H) / (weights_RH @ num_H)


def _brier_skill(samples: _Samples) -> _Compute:
    label = samples.forecast.label
    check_forecasts(label, np.full(np.shape(label), samples.forecast.climatology))
    own, reference = _brier(samples), _brier(samples, samples.forecast.climatology)
    return lambda weights_RH: 1 - divide(own(weights_RH), reference(weights_RH))


def _roc_auc(samples: _Samples) -> _Compute:
    """Prepare the area under the ROC.

    It is a sum over pairs of a sample with a flare and one without, so a table of pairs by their two HARPs gives the
    exact area of every resample.
    """
    label, probability, where = samples.forecast.label, samples.forecast.probability, samples.where
    flares_H, others_H = (samples.sum(label == outcome) for outcome in (1, 0))
    right_HH = np.zeros((samples.num_harps, samples.num_harps))
    others, where_others = probability[label == 0], where[label == 0]
    for harp in np.flatnonzero(flares_H):
        of_flares = np.sort(probability[(where == harp) & (label == 1)])
        above = len(of_flares) - np.searchsorted(of_flares, others, side="right")
        ties = len(of_flares) - np.searchsorted(of_flares, others, side="left") - above
        right_HH[harp] = np.bincount(where_others, above + ties / 2, samples.num_harps)

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        num_right = np.sum((weights_RH @ right_HH) * weights_RH, axis=1)
        return divide(num_right, (weights_RH @ flares_H) * (weights_RH @ others_H))

    return compute


def _average_precision(samples: _Samples) -> _Compute:
    """Prepare the average precision.

    Hits and calls at the threshold of each distinct probability of a flare (K of them) are sums over HARPs, too.
    """
    probability, is_flare = samples.forecast.probability, samples.forecast.label == 1
    thresholds = np.unique(probability[is_flare])
    called_HK, hits_HK = np.zeros((2, samples.num_harps, len(thresholds)))
    for harp in range(samples.num_harps):
        of_harp = samples.where == harp
        for sums, chosen in ((called_HK, of_harp), (hits_HK, of_harp & is_flare)):
            sums[harp] = np.sum(chosen) - np.searchsorted(np.sort(probability[chosen]), thresholds)

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        num_rows = max(1, _BLOCK_NUMBERS // max(1, len(thresholds)))
        blocks = (weights_RH[start : start + num_rows] for start in range(0, len(weights_RH), num_rows))
        return np.concatenate([_average(block @ called_HK, block @ hits_HK) for block in blocks])

    return compute


def _average(called_RK: NDArray[np.float64], hits_RK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the average precision of each resample from forecast flares and hits at rising thresholds."""
    if not hits_RK.shape[1]:
        return np.full(len(hits_RK), np.nan)
    precision_RK = np.divide(hits_RK, called_RK, out=np.zeros_like(hits_RK), where=called_RK > 0)
    new_hits_RK = hits_RK - np.pad(hits_RK[:, 1:], ((0, 0), (0, 1)))
    return divide(np.sum(new_hits_RK * precision_RK, axis=1), hits_RK[:, 0])


_PREPARE: dict[ProbabilityScore, Callable[[_Samples], _Compute]] = {
    ProbabilityScore.BRIER: _brier,
    ProbabilityScore.BRIER_SKILL: _brier_skill,
    ProbabilityScore.ROC_AUC: _roc_auc,
    ProbabilityScore.AVERAGE_PRECISION: _average_precision,
}
