"""Scores as functions of how often each HARP is counted, from sums over each HARP that are computed once.

Shapes: H HARPs in ascending order, R sets of weights, n samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

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
    """Rate of flares in the training set, which a forecaster knows; NaN where it is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HarpStatistic:
    """A score of forecasts, ready to be computed for other weights of their HARPs."""

    harps: NDArray[np.int64]
    """HARP numbers, shape (H,)."""
    num_samples: NDArray[np.int64]
    """Number of samples of each HARP, shape (H,)."""
    num_flares: NDArray[np.int64]
    """Number of samples of each HARP that a flare followed, shape (H,)."""
    compute: _Compute
    """Function from how often each HARP is counted, of shape (R, H), to the score, shape (R,), or NaN."""
    support: NDArray[np.int64 | np.float64]
    """Number of samples of each HARP that the score mainly depends on, shape (H,): for a fraction, its denominator."""
    limits: tuple[float, float]
    """Lowest and highest value that the score can have; infinite where there is none."""
    is_fraction: bool = False
    """Whether the score is a fraction of the samples of its support."""
    parts: tuple[HarpStatistic, HarpStatistic] | None = None
    """Two scores whose difference this is; None if it is not computed as a difference."""


def prepare_statistic(forecast: Forecast, name: AnyScore) -> HarpStatistic:
    """Prepare a score of a forecast for any weights of its HARPs; raises as `prepare_statistics`."""
    return prepare_statistics(forecast, [name])[name]


def prepare_statistics(forecast: Forecast, names: Iterable[AnyScore]) -> dict[AnyScore, HarpStatistic]:
    """Prepare several scores of a forecast, whose samples are divided among HARPs once.

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
    by_outcome = samples.count_outcomes()

    def prepare(name: AnyScore) -> HarpStatistic:
        return HarpStatistic(
            harps=harps,
            num_samples=by_outcome.sum(axis=1),
            num_flares=by_outcome[:, _FLARES].sum(axis=1),
            compute=_score_table(by_outcome, name) if isinstance(name, ScoreName) else _PREPARE[name](samples),
            support=by_outcome[:, _SUPPORT.get(name, [_TP, _FP, _FN])].sum(axis=1),
            limits=_LIMITS.get(name, (0.0, 1.0)),
            is_fraction=name in _FRACTIONS,
            parts=(prepare(ScoreName.POD), prepare(ScoreName.POFD)) if name is ScoreName.TSS else None,
        )

    return {name: prepare(name) for name in names}


def average_statistics(statistics: Sequence[HarpStatistic]) -> HarpStatistic:
    """Return the mean of a score over several forecasts of the same samples, as a statistic."""
    first = statistics[0]
    parts = [one.parts for one in statistics if one.parts is not None]

    def compute(weights_RH: NDArray[np.float64]) -> NDArray[np.float64]:
        mean_R: NDArray[np.float64] = np.mean([one.compute(weights_RH) for one in statistics], axis=0)
        return mean_R

    return replace(
        first,
        compute=compute,
        support=np.mean([one.support for one in statistics], axis=0),
        parts=(average_statistics([a for a, _ in parts]), average_statistics([b for _, b in parts])) if parts else None,
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

    def count_outcomes(self) -> NDArray[np.int64]:
        """Return the number of hits, false alarms, misses and correct rejections of each HARP, shape (H, 4)."""
        of = self.forecast
        outcomes = part_outcomes(of.label, of.probability, threshold=of.threshold)
        return np.stack([self.sum(outcome) for outcome in outcomes], axis=1).astype(np.int64)


def _score_table(by_outcome: NDArray[np.int64], name: ScoreName) -> _Compute:
    counts_H4 = by_outcome.astype(np.float64)

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
    label, climatology = samples.forecast.label, samples.forecast.climatology
    if math.isnan(climatology):
        return lambda weights_RH: np.full(len(weights_RH), math.nan)
    check_forecasts(label, np.full(np.shape(label), climatology))
    own, reference = _brier(samples), _brier(samples, climatology)
    return lambda weights_RH: 1 - divide(own(weights_RH), reference(weights_RH))


def _roc_auc(samples: _Samples) -> _Compute:
    """Prepare the area under the ROC.

    It is a sum over pairs of a sample with a flare and one without, so a table of pairs by their two HARPs gives the
    exact area for all weights.
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
    """Return the average precision for each set of weights from forecast flares and hits at rising thresholds."""
    if not hits_RK.shape[1]:
        return np.full(len(hits_RK), np.nan)
    precision_RK = np.divide(hits_RK, called_RK, out=np.zeros_like(hits_RK), where=called_RK > 0)
    new_hits_RK = hits_RK - np.pad(hits_RK[:, 1:], ((0, 0), (0, 1)))
    return divide(np.sum(new_hits_RK * precision_RK, axis=1), hits_RK[:, 0])


_TP, _FP, _FN, _TN = range(4)
_ALL = [_TP, _FP, _FN, _TN]
_FLARES, _CALLED = [_TP, _FN], [_TP, _FP]

_SUPPORT: dict[AnyScore, list[int]] = {
    ScoreName.POD: _FLARES,
    ScoreName.POFD: [_FP, _TN],
    ScoreName.PRE: _CALLED,
    ScoreName.FAR: _CALLED,
    ScoreName.ACC: _ALL,
    ProbabilityScore.BRIER: _ALL,
    ProbabilityScore.BRIER_SKILL: _FLARES,
    ProbabilityScore.ROC_AUC: _FLARES,
    ProbabilityScore.AVERAGE_PRECISION: _FLARES,
}
"""Outcomes of the samples that a score mainly depends on; of others, all but correct rejections."""

_FRACTIONS = frozenset(map(ScoreName, ("F1", "ACC", "POD", "PRE", "FAR", "CSI", "POFD")))

_LIMITS: dict[AnyScore, tuple[float, float]] = {
    ScoreName.TSS: (-1.0, 1.0),
    ScoreName.HSS: (-1.0, 1.0),
    ScoreName.MCC: (-1.0, 1.0),
    ScoreName.ETS: (-1 / 3, 1.0),
    ScoreName.BIAS: (0.0, math.inf),
    ScoreName.APSS: (-math.inf, 1.0),
    ProbabilityScore.BRIER_SKILL: (-math.inf, 1.0),
}
"""Limits of a score; of others, 0 and 1."""

_PREPARE: dict[ProbabilityScore, Callable[[_Samples], _Compute]] = {
    ProbabilityScore.BRIER: _brier,
    ProbabilityScore.BRIER_SKILL: _brier_skill,
    ProbabilityScore.ROC_AUC: _roc_auc,
    ProbabilityScore.AVERAGE_PRECISION: _average_precision,
}
