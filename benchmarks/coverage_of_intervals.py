"""Measure how often a 95 % interval contains the truth: ``python benchmarks/coverage_of_intervals.py``.

Regions are simulated, each with its own number of samples, share of flares and shift of the forecast's logit, so that
the errors of a region's samples are correlated. They are like those of the published test set: by default, a set has
155 regions, of which 9, 12, 25 or 50 flare, with 60 samples each on average. If uneven, a few regions have most of the
samples and flares. The truth is the score of 20,000 regions, of which as many percent flare.

A row is a score, or a difference of two forecasts that are equally good in truth (``null``) or not (``worse``). It
shows, for each method, the percentage of intervals that contain the truth with its standard error, that of intervals
that lie below and above it, their mean length and the number of sets without an interval. The rivals are the method
of earlier versions, expanded percentiles of 1,000 resamples of the regions, and plain percentiles of the same draws.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sffshards.verification import (
    AnyScore,
    Forecast,
    HarpStatistic,
    Interval,
    ProbabilityScore,
    ScoreName,
    average_precision,
    compute_score,
    count_outcomes,
    prepare_statistic,
    roc_auc,
)
from sffshards.verification.cluster_intervals import LEVEL, estimate_difference, estimate_interval

MEAN_SAMPLES, NUM_TRUTH = 60, 20_000
SHIFT_QUIET, SHIFT_FLARING, SHIFT_FLARE = -3.5, 3.0, 1.5
SPREAD_REGION, SPREAD_SAMPLE, SPREAD_FORECAST = 1.5, 0.7, 0.5
SCORES: tuple[AnyScore, ...] = (
    *map(ScoreName, ("POD", "POFD", "TSS", "HSS", "F1", "CSI", "PRE", "ACC", "MCC")),
    *map(ProbabilityScore, ("BSS", "AUC", "AP")),
)
COMPARED: tuple[AnyScore, ...] = (ScoreName.TSS, ScoreName.HSS, ProbabilityScore.BRIER_SKILL)
_Ends = tuple[float, float]


def draw_forecasts(
    random: np.random.Generator, num_regions: int, num_flaring: int, *, uneven: bool
) -> tuple[Forecast, Forecast, Forecast]:
    """Return two forecasts of the same samples that are equally good, and a worse one."""
    if uneven:
        nums, shares = random.geometric(1 / MEAN_SAMPLES, num_regions), random.beta(1, 2, num_regions)
    else:
        nums, shares = random.integers(20, 2 * MEAN_SAMPLES - 19, num_regions), random.beta(3, 6, num_regions)
    harps, flaring = np.repeat(np.arange(num_regions), nums), np.arange(num_regions) < num_flaring
    labels = (random.random(len(harps)) < np.where(flaring, shares, 0)[harps]).astype(np.int64)
    shift = SHIFT_QUIET + SHIFT_FLARING * flaring + random.normal(0, SPREAD_REGION, num_regions)
    shared = shift[harps] + SHIFT_FLARE * labels + random.normal(0, SPREAD_SAMPLE, len(harps))

    def forecast(spread: float) -> Forecast:
        logits = shared + random.normal(0, spread, num_regions)[harps] + random.normal(0, spread, len(harps))
        climatology = num_flaring / num_regions / 3
        return Forecast(
            label=labels, probability=1 / (1 + np.exp(-logits)), harp=harps, threshold=0.5, climatology=climatology
        )

    return forecast(SPREAD_FORECAST), forecast(SPREAD_FORECAST), forecast(3 * SPREAD_FORECAST)


def find_truths(forecasts: tuple[Forecast, ...]) -> dict[str, float]:
    """Return the scores of very many regions, and the differences between their forecasts."""
    first, _, worse = ({name: find_truth(one, name) for name in SCORES} for one in forecasts)
    truths = {str(name): score for name, score in first.items()}
    for name in COMPARED:
        truths |= {f"{name} null": 0.0, f"{name} worse": worse[name] - first[name]}
    return truths


def find_truth(of: Forecast, name: AnyScore) -> float:
    if isinstance(name, ScoreName):
        return compute_score(name, count_outcomes(of.label, of.probability))
    if name is ProbabilityScore.BRIER_SKILL:
        return 1 - float(np.mean((of.probability - of.label) ** 2) / np.mean((of.climatology - of.label) ** 2))
    return (roc_auc if name is ProbabilityScore.ROC_AUC else average_precision)(of.label, of.probability)


def bootstrap(values: NDArray[np.float64], num_effective: float) -> tuple[_Ends, _Ends]:
    """Return plain percentiles of resampled scores, and those of earlier versions, which lie further out."""
    from scipy.special import ndtr, stdtrit

    tail, defined = (1 - LEVEL) / 2, values[~np.isnan(values)]
    expanded = ndtr(stdtrit(num_effective - 1, tail) * math.sqrt(num_effective / (num_effective - 1)))
    low, lower, high, higher = np.quantile(defined, [tail, expanded, 1 - tail, 1 - expanded]).tolist()
    return (low, high), (lower, higher)


def count_effective(statistic: HarpStatistic, left_out: NDArray[np.float64]) -> float:
    """Return the number of regions that earlier versions expanded percentiles for."""
    influence = np.square(left_out - np.nanmean(left_out))
    kish = [float(np.sum(of) ** 2 / np.sum(np.square(of))) for of in (statistic.num_flares, influence) if of.any()]
    return max(min(kish), 3.0)


def measure_set(forecasts: tuple[Forecast, ...], weights_RH: NDArray[np.float64]) -> Iterator[tuple[str, list[_Ends]]]:
    """Yield the intervals of each score and difference, by method."""
    first, same, worse = forecasts
    for name in SCORES:
        statistic = prepare_statistic(first, name)
        yield str(name), [ends(estimate_interval(statistic)), *rivals(statistic, statistic.compute(weights_RH))]
    for name in COMPARED:
        one = prepare_statistic(first, name)
        for kind, other in (("null", prepare_statistic(same, name)), ("worse", prepare_statistic(worse, name))):
            drawn = other.compute(weights_RH) - one.compute(weights_RH)
            yield f"{name} {kind}", [ends(estimate_difference(one, other)), *rivals(one, drawn)]


def ends(interval: Interval) -> _Ends:
    return interval.low, interval.high


def rivals(statistic: HarpStatistic, drawn: NDArray[np.float64]) -> tuple[_Ends, _Ends]:
    """Return the intervals of the bootstrap, if its draws, the first of which each leave out a region, are given."""
    num_harps = len(statistic.harps)
    if len(drawn) <= num_harps:
        return (math.nan, math.nan), (math.nan, math.nan)
    return bootstrap(drawn[num_harps:], count_effective(statistic, drawn[:num_harps]))


def describe(found: NDArray[np.float64], truth: float) -> str:
    low, high = found[~np.isnan(found[:, 0])].T
    if not len(low):
        return "-"
    below, above = 100 * np.mean(high < truth), 100 * np.mean(low > truth)
    share = 100 - below - above
    error = math.sqrt(share * (100 - share) / len(low))
    none = f", none {len(found) - len(low)}" if len(low) < len(found) else ""
    return (
        f"{share:5.1f} +- {error:.1f} % (below {below:.1f}, above {above:.1f}, length {np.mean(high - low):.3f}{none})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=200, help="sets per cell; 1,000 for a standard error of 0.7 %%")
    parser.add_argument("--resamples", type=int, default=1000, help="of the rivals; 0 leaves them out")
    parser.add_argument("--regions", type=int, default=155)
    parser.add_argument("--flaring", type=int, nargs="+", default=[9, 12, 25, 50])
    options = parser.parse_args()
    num = options.regions
    for uneven in (False, True):
        for num_flaring in options.flaring:
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([1, num_flaring, uneven])))
            many = round(NUM_TRUTH * num_flaring / num)
            truths = find_truths(draw_forecasts(random, NUM_TRUTH, many, uneven=uneven))
            found: dict[str, list[list[_Ends]]] = {name: [] for name in truths}
            for _ in range(options.sets):
                draws = random.multinomial(num, np.full(num, 1 / num), options.resamples)
                weights_RH = np.concatenate([np.ones((num, num)) - np.eye(num), draws])
                forecasts = draw_forecasts(random, num, num_flaring, uneven=uneven)
                for name, intervals in measure_set(forecasts, weights_RH):
                    found[name].append(intervals)
            print(f"{'uneven' if uneven else 'alike'}, {num_flaring} of {num} regions flare, {options.sets} sets")
            for name, of_sets in found.items():
                by_method = np.moveaxis(np.array(of_sets), 1, 0)
                cells = [describe(of, truths[name]) for of in by_method]
                titles = ("jackknife", "percentile", "expanded")
                cells = [f"{title} {cell}" for title, cell in zip(titles, cells, strict=True) if cell != "-"]
                print(f"  {name:9} truth {truths[name]:6.3f}: {'; '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
