"""Confidence intervals by cluster bootstrap over HARPs: samples of one region are not independent of each other.

Shapes: H HARPs, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.verification.by_harp import HarpStatistic

MIN_FLARING_HARPS = 5
"""Number of flaring HARPs below which an interval counts as not estimable.

Resamples of fewer clusters repeat a handful of regions, so that the ends of an interval depend on one or two of them.
"""

_BLOCK_NUMBERS = 1 << 22
"""Number of draws in memory at once: 32 MB per copy."""


class IntervalMethod(StrEnum):
    """How the ends of an interval are computed from the resamples."""

    PERCENTILE = "percentile"
    """Quantiles of the resamples."""
    EXPANDED = "expanded"
    """Quantiles further out, for few regions: see `bootstrap_interval`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resampling:
    """How intervals are computed. The defaults are those of every table and report of this package."""

    level: float = 0.95
    """Probability with which an interval shall contain the truth, above 0 and below 1."""
    num_resamples: int = 1000
    """Number of resamples, at least 1; use 1,000 or more for a level of 0.95."""
    seed: int = 123
    """Seed of the draws, 0 or more."""
    method: IntervalMethod = IntervalMethod.EXPANDED
    """How the ends are computed."""

    def __post_init__(self) -> None:
        for name, number, valid, expected in (
            ("level", self.level, 0 < self.level < 1, "above 0 and below 1"),
            ("num_resamples", self.num_resamples, self.num_resamples > 0, "at least 1"),
            ("seed", self.seed, self.seed >= 0, "0 or more"),
        ):
            if not valid:
                raise InputError(name, expected=expected, found=str(number), fix="choose another")


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A score, or a difference of two, with its confidence interval."""

    estimate: float
    """Score of the samples themselves; NaN where undefined."""
    low: float
    """Lower end; NaN where the estimate, or the score of every resample, is undefined, or there are too few HARPs."""
    high: float
    """Upper end; NaN where the lower end is."""
    level: float
    """Probability with which such intervals contain the truth, such as 0.95."""
    num_resamples: int
    """Number of resamples drawn."""
    num_undefined: int
    """Number of resamples in which the score is undefined, as where no flaring HARP was drawn; they are left out."""


def bootstrap_interval(statistic: HarpStatistic, resampling: Resampling) -> Interval:
    """Compute the confidence interval of a score, by drawing as many HARPs as there are, with replacement.

    Plain quantiles are too narrow where a few HARPs have most of the flares. Expanded ones lie as far out as those of
    Student's t with n - 1 degrees of freedom, times ``sqrt(n / (n - 1))``. The effective number of HARPs, n, is the
    least of these:

    - ``(sum m)^2 / sum m^2`` over the HARPs' numbers m of samples with a flare; below 3 there is no interval;
    - the same over their numbers of samples without a flare;
    - the same with m the squared change of the score when a HARP is left out, but at least 3.

    With at least 50 flaring HARPs, 93 to 97 % of simulated intervals of 95 % contained the truth
    (``benchmarks/coverage_of_intervals.py``). The draws are the same under any version of numpy.

    Parameters
    ----------
    statistic
        From `prepare_statistic`, or made of several of these.
    resampling
        How many draws, and what is taken from them.

    Raises
    ------
    InputError
        If there are no HARPs.

    References
    ----------
    Field and Welsh, Journal of the Royal Statistical Society B 69 (2007), 369, on clusters; Hesterberg, American
    Statistician 69 (2015), 371, section 4.3, on expanded quantiles; Kish, Survey Sampling (1965), on n; Satterthwaite,
    Biometrics Bulletin 2 (1946), 110, and Carter, Schnepel and Steigerwald, Review of Economics and Statistics 99
    (2017), 698, on the clusters that a variance is really estimated from.
    """
    return bootstrap_intervals([statistic], resampling)[0]


def explain_inestimable(interval: Interval, *, num_flaring_harps: int) -> str | None:
    """Return why an interval is not estimable, or None where it is.

    Parameters
    ----------
    interval
        Interval of a score that is defined.
    num_flaring_harps
        Number of HARPs with a flare among the samples.

    Examples
    --------
    >>> flat = Interval(estimate=0.0, low=0.0, high=0.0, level=0.95, num_resamples=1000, num_undefined=0)
    >>> explain_inestimable(flat, num_flaring_harps=2)
    'only 2 regions have flares, and at least 5 are needed'
    >>> explain_inestimable(flat, num_flaring_harps=40)
    'the score is the same in every resample'
    """
    if num_flaring_harps < MIN_FLARING_HARPS:
        have = {0: "no region has", 1: "only 1 region has"}.get(
            num_flaring_harps, f"only {num_flaring_harps} regions have"
        )
        return f"{have} flares, and at least {MIN_FLARING_HARPS} are needed"
    if math.isnan(interval.low):
        return "a few regions have most of the flares, or nearly all of the times without one"
    return "the score is the same in every resample" if interval.low == interval.high else None


def bootstrap_intervals(statistics: Sequence[HarpStatistic], resampling: Resampling) -> list[Interval]:
    """Compute the confidence intervals of several scores of the same samples, all from the same draws.

    Parameters
    ----------
    statistics
        Of the same HARPs; at least one.
    resampling
        As of `bootstrap_interval`, whose intervals these are.

    Raises
    ------
    InputError
        As `bootstrap_interval`, and if a statistic is of other HARPs than the first.
    """
    harps = statistics[0].harps
    if not len(harps):
        raise InputError("harps", expected="at least one", found="0", fix="give the forecasts of some regions")
    for statistic in statistics[1:]:
        _require_same(statistics[0], statistic, "harps")
    estimates = [float(statistic.compute(np.ones((1, len(harps))))[0]) for statistic in statistics]
    draws: list[list[NDArray[np.float64]]] = [[] for _ in statistics]
    for weights_RH in _draw_weights(len(harps), resampling.num_resamples, resampling.seed):
        for statistic, drawn in zip(statistics, draws, strict=True):
            drawn.append(statistic.compute(weights_RH))
    return [
        _find_ends(statistic, estimate, np.concatenate(drawn), resampling)
        for statistic, estimate, drawn in zip(statistics, estimates, draws, strict=True)
    ]


def bootstrap_difference(first: HarpStatistic, second: HarpStatistic, resampling: Resampling) -> Interval:
    """Compute the second score minus the first, of two forecasts of the same samples, with its confidence interval.

    Both are computed from the same draws, so that what makes a region hard for both cancels. A positive difference
    means that the second score is higher.

    Parameters
    ----------
    first, second
        Of the same HARPs, samples and labels.
    resampling
        As of `bootstrap_interval`.

    Raises
    ------
    InputError
        As `bootstrap_interval`, and if the two are not of the same samples.
    """
    for name in ("harps", "num_samples", "num_flares"):
        _require_same(first, second, name)
    difference = replace(first, compute=lambda weights_RH: second.compute(weights_RH) - first.compute(weights_RH))
    return bootstrap_interval(difference, resampling)


def _require_same(first: HarpStatistic, second: HarpStatistic, name: str) -> None:
    if not np.array_equal(getattr(first, name), getattr(second, name)):
        raise InputError(
            "second", expected=f"the {name} of the first", found="others", fix="compare forecasts of the same samples"
        )


def _find_ends(
    statistic: HarpStatistic, estimate: float, draws: NDArray[np.float64], resampling: Resampling
) -> Interval:
    """Return the interval of a statistic from its values in the resamples."""
    defined = draws[~np.isnan(draws)]
    low = high = math.nan
    if len(defined) and not math.isnan(estimate):
        tail = (1 - resampling.level) / 2
        if resampling.method is IntervalMethod.EXPANDED:
            tail = _expand_tail(tail, _count_effective_harps(statistic))
        if not math.isnan(tail):
            low, high = (float(end) for end in np.quantile(defined, [tail, 1 - tail]))
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        level=resampling.level,
        num_resamples=len(draws),
        num_undefined=len(draws) - len(defined),
    )


def _draw_weights(num_harps: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each HARP is drawn in each resample, in blocks of shape (R, H).

    Numbers below ``num_harps`` come from the upper half of raw 64-bit draws, by multiplication: numpy guarantees the
    streams of its bit generators (NEP 19), but not those of ``Generator.integers``.
    """
    bits = np.random.PCG64(np.random.SeedSequence(seed))
    num_block = max(1, _BLOCK_NUMBERS // num_harps)
    for start in range(0, num_resamples, num_block):
        num = min(num_block, num_resamples - start)
        drawn = (bits.random_raw(num * num_harps) >> np.uint64(32)) * np.uint64(num_harps) >> np.uint64(32)
        cells = drawn.astype(np.int64).reshape(num, num_harps) + np.arange(num)[:, None] * num_harps
        counts = np.bincount(cells.ravel(), minlength=num * num_harps)
        yield counts.reshape(num, num_harps).astype(np.float64)


def _count_effective_harps(statistic: HarpStatistic) -> float:
    """Return the number of equal HARPs with the same information; below 3 only where too few HARPs have the flares."""
    sides = statistic.num_flares, statistic.num_samples - statistic.num_flares
    by_size = min(_count_equal(side) for side in sides)
    if by_size < 3:
        return by_size
    num_harps = len(statistic.harps)
    left_out = statistic.compute(np.ones((num_harps, num_harps)) - np.eye(num_harps))
    defined = left_out[~np.isnan(left_out)]
    influence = np.square(defined - defined.mean()) if len(defined) else np.zeros(1)
    return max(min(by_size, _count_equal(influence)), 3.0) if influence.any() else by_size


def _count_equal(sizes: NDArray[np.floating] | NDArray[np.integer]) -> float:
    """Return Kish's effective number; 0 where all sizes are 0."""
    largest = float(np.max(sizes))
    if not largest:
        return 0.0
    shares = sizes / largest  # squares of tiny ones would vanish
    return float(np.sum(shares)) ** 2 / float(np.sum(np.square(shares)))


def _expand_tail(tail: float, num_harps: float) -> float:
    """Return the normal tail that begins where this tail of Student's t does; NaN below three HARPs."""
    if num_harps < 3:
        return math.nan
    from scipy.special import ndtr, stdtrit

    return float(ndtr(stdtrit(num_harps - 1, tail) * math.sqrt(num_harps / (num_harps - 1))))
