"""Confidence intervals of scores from how much each HARP changes them: samples of one region are not independent.

No step is random: the same forecasts always have the same intervals. Shapes: H HARPs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.verification.by_harp import HarpStatistic

LEVEL = 0.95
"""Probability with which an interval shall contain the truth, unless another is asked for."""
MIN_FLARING_HARPS = 5
"""Number of flaring HARPs below which a report calls an interval not estimable."""

_MIN_EFFECTIVE = 3.0
"""Effective number of HARPs below which there is no interval: a variance of two numbers tells too little."""
_MAX_PER_HARP = 4.0
"""Maximum number of independent samples that a HARP may count as in a fraction.

The variance of few HARPs is often far too small by chance, as where nearly all flares were forecast. Four means that
the samples of a HARP are taken to be correlated by at least a quarter.
"""
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A score, or a difference of two, with its confidence interval."""

    estimate: float
    """Score of the samples; NaN where undefined."""
    low: float
    """Lower end; NaN where the estimate is undefined or the interval is not estimable."""
    high: float
    """Upper end; NaN where the lower end is."""
    level: float
    """Probability with which such intervals contain the truth, such as 0.95."""
    reason: str | None = None
    """Why a defined score has no interval, or a difference is undefined although both scores are defined; else None."""


def estimate_interval(statistic: HarpStatistic, *, level: float = LEVEL) -> Interval:
    """Compute the confidence interval of a score.

    The standard error is that of a jackknife which leaves out one HARP at a time. Its degrees of freedom are the
    effective number of HARPs minus 1: ``(sum m)^2 / sum m^2`` over the HARPs' numbers m of the samples that the score
    mainly depends on. The interval is then

    - of a score with two limits, as of most: that of Korn and Graubard, which is the one of Clopper and Pearson for as
      many independent samples as have this standard error, corrected for the degrees of freedom;
    - of a difference of two such scores, as is TSS: those of the two, joined by the method of Zou and Donner;
    - of any other, such as the Brier skill score: from Student's t.

    ``benchmarks/coverage_of_intervals.py`` measures how often such intervals contain the truth.

    Parameters
    ----------
    statistic
        From `prepare_statistic`, or made of several of these.
    level
        Probability with which the interval shall contain the truth, above 0 and below 1.

    Raises
    ------
    InputError
        If there are no HARPs, or the level is not between 0 and 1.

    References
    ----------
    Korn and Graubard, Survey Methodology 24 (1998), 193, on fractions; Zou and Donner, Statistics in Medicine 27
    (2008), 1693, on joining intervals; Efron and Stein, Annals of Statistics 9 (1981), 586, on the jackknife; Kish,
    Survey Sampling (1965), on the effective number.
    """
    if not 0 < level < 1:
        raise InputError("level", expected="above 0 and below 1", found=str(level), fix="choose another")
    if not len(statistic.harps):
        raise InputError("harps", expected="at least one", found="0", fix="give the forecasts of some regions")
    estimate = float(statistic.compute(np.ones((1, len(statistic.harps))))[0])
    none = Interval(estimate=estimate, low=math.nan, high=math.nan, level=level)
    if math.isnan(estimate):
        return none
    if (reason := _explain_few(statistic)) is not None:
        return replace(none, reason=reason)
    changes_H = _leave_out(statistic)
    if (reason := _explain_changes(changes_H, estimate, statistic)) is not None:
        return replace(none, reason=reason)
    tail = (1 - level) / 2
    if statistic.parts is not None:
        low, high = _join_ends(*statistic.parts, tail=tail)
    elif all(map(math.isfinite, statistic.limits)):
        low, high = _find_bounded_ends(statistic, estimate, changes_H, tail=tail)
    else:
        reach = _t_quantile(_count_effective(statistic.support) - 1, tail) * _standard_error(changes_H)
        low, high = max(estimate - reach, statistic.limits[0]), min(estimate + reach, statistic.limits[1])
    return replace(none, low=low, high=high)


def estimate_difference(first: HarpStatistic, second: HarpStatistic, *, level: float = LEVEL) -> Interval:
    """Compute the second score minus the first, of two forecasts of the same samples, with its confidence interval.

    The jackknife leaves the same HARP out of both, so that what makes a region hard for both cancels. A positive
    difference means that the second score is higher. The degrees of freedom are the number of HARPs minus 1.

    Parameters
    ----------
    first, second
        Of the same HARPs, samples and labels.
    level
        As of `estimate_interval`.

    Raises
    ------
    InputError
        As `estimate_interval`, and if the two are not of the same samples.
    """
    for name in ("harps", "num_samples", "num_flares"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise InputError(
                "second",
                expected=f"the {name} of the first",
                found="others",
                fix="compare forecasts of the same samples",
            )
    difference = replace(
        first,
        compute=lambda weights_RH: second.compute(weights_RH) - first.compute(weights_RH),
        support=np.ones(len(first.harps), np.int64),
        limits=(-math.inf, math.inf),
        parts=None,
    )
    return estimate_interval(difference, level=level)


def explain_inestimable(interval: Interval, *, num_flaring_harps: int) -> str | None:
    """Return why a report calls an interval not estimable, or None where it shows it.

    Parameters
    ----------
    interval
        Interval of a score that is defined.
    num_flaring_harps
        Number of HARPs with a flare among the samples.

    Examples
    --------
    >>> found = Interval(estimate=0.5, low=0.1, high=0.8, level=0.95)
    >>> explain_inestimable(found, num_flaring_harps=2)
    'only 2 regions have flares, and at least 5 are needed'
    """
    if num_flaring_harps < MIN_FLARING_HARPS:
        have = {0: "no region has", 1: "only 1 region has"}.get(
            num_flaring_harps, f"only {num_flaring_harps} regions have"
        )
        return f"{have} flares, and at least {MIN_FLARING_HARPS} are needed"
    return interval.reason


def _explain_few(statistic: HarpStatistic) -> str | None:
    """Return why there are too few HARPs for an interval, if there are."""
    num_flares, num_quiet = statistic.num_flares, statistic.num_samples - statistic.num_flares
    if not (num_flares.any() and num_quiet.any()):
        return "a flare came every time" if num_flares.any() else "no flare came"
    for sizes, what in ((num_flares, "flares"), (num_quiet, "times without a flare")):
        if _count_effective(sizes) < _MIN_EFFECTIVE:
            return f"a few regions have most of the {what}"
    if _count_effective(statistic.support) < _MIN_EFFECTIVE:
        return "a few regions have most of the samples that the score depends on"
    return None


def _explain_changes(changes_H: NDArray[np.float64], estimate: float, statistic: HarpStatistic) -> str | None:
    """Return why the changes of a score yield no interval, if they do not."""
    if np.isnan(changes_H).any():
        return "the score is undefined without one of the regions"
    if not changes_H.any() and not any(math.isclose(estimate, limit, abs_tol=_ROUNDING) for limit in statistic.limits):
        return "the score is the same whichever region is left out"
    return None


def _leave_out(statistic: HarpStatistic) -> NDArray[np.float64]:
    """Return how the score without each HARP, shape (H,), differs from the mean of these; exactly 0 if by rounding."""
    num_harps = len(statistic.harps)
    left_out_H = statistic.compute(np.ones((num_harps, num_harps)) - np.eye(num_harps))
    changes_H = left_out_H - left_out_H.mean()
    return np.zeros(num_harps) if np.ptp(left_out_H) <= _ROUNDING * np.abs(left_out_H).max() else changes_H


def _standard_error(changes_H: NDArray[np.float64]) -> float:
    return math.sqrt((1 - 1 / len(changes_H)) * float(np.sum(np.square(changes_H))))


def _find_bounded_ends(
    statistic: HarpStatistic, estimate: float, changes_H: NDArray[np.float64], *, tail: float
) -> tuple[float, float]:
    """Return the interval of Korn and Graubard, of a score that is mapped to 0 to 1.

    A score at a limit in every HARP counts each as one sample, as if all of a HARP's samples had to be alike.
    """
    (lowest, highest), num_harps = statistic.limits, _count_effective(statistic.support)
    share = (estimate - lowest) / (highest - lowest)
    error = _standard_error(changes_H) / (highest - lowest)
    if error:
        correction = _t_quantile(math.inf, tail) / _t_quantile(num_harps - 1, tail)
        num = share * (1 - share) * (correction / error) ** 2
        if statistic.is_fraction:
            num = min(num, _MAX_PER_HARP * num_harps, float(np.sum(statistic.support)))
    else:
        num = num_harps
    low, high = _clopper_pearson(share * num, (1 - share) * num, tail)
    return lowest + (highest - lowest) * low, lowest + (highest - lowest) * high


def _clopper_pearson(num_right: float, num_wrong: float, tail: float) -> tuple[float, float]:
    """Return the exact interval of a fraction, for counts that need not be whole."""
    from scipy.special import betaincinv

    low = float(betaincinv(num_right, num_wrong + 1, tail)) if num_right > 0 else 0.0
    high = float(betaincinv(num_right + 1, num_wrong, 1 - tail)) if num_wrong > 0 else 1.0
    return low, high


def _join_ends(first: HarpStatistic, second: HarpStatistic, *, tail: float) -> tuple[float, float]:
    """Return the interval of the first score minus the second, from the interval of each and their correlation."""
    (x, x_low, x_high, x_changes_H), (y, y_low, y_high, y_changes_H) = (
        _find_part(part, tail=tail) for part in (first, second)
    )
    scale = math.sqrt(float(np.sum(np.square(x_changes_H)) * np.sum(np.square(y_changes_H))))
    correlation = float(x_changes_H @ y_changes_H) / scale if scale else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0))

    return x - y - reach(x - x_low, y_high - y), x - y + reach(x_high - x, y - y_low)


def _find_part(statistic: HarpStatistic, *, tail: float) -> tuple[float, float, float, NDArray[np.float64]]:
    estimate = float(statistic.compute(np.ones((1, len(statistic.harps))))[0])
    changes_H = _leave_out(statistic)
    low, high = _find_bounded_ends(statistic, estimate, changes_H, tail=tail)
    return estimate, low, high, changes_H


def _count_effective(sizes: NDArray[np.int64 | np.float64]) -> float:
    """Return Kish's effective number of HARPs; 0 where all sizes are 0."""
    total = float(np.sum(sizes))
    return total**2 / float(np.sum(np.square(sizes, dtype=np.float64))) if total else 0.0


def _t_quantile(freedom: float, tail: float) -> float:
    """Return the quantile of Student's t that this upper tail begins at; of the normal for infinite freedom."""
    from scipy.special import ndtri, stdtrit

    return float(-ndtri(tail) if math.isinf(freedom) else -stdtrit(freedom, tail))
