"""Measure how often a 95 % interval of TSS contains the truth: ``python benchmarks/coverage_of_intervals.py``.

Regions are simulated, each with its own number of samples, share of flares and shift of the forecast's logit, so that
the errors of a region's samples are correlated. The true TSS of this process has a closed form. A row is a mean number
of flaring regions per set, with equal or uneven numbers of samples and flares. If uneven, a few regions have most of
them, and a third as many regions would be as informative. Each row shows the percentage of intervals that contain the
truth with its standard error, their mean length, and the number of sets with too few flaring regions for an interval;
for both ways to compute the ends from resampled HARPs, and for the rival, which resamples samples as if they were
independent.
"""

from __future__ import annotations

import argparse
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sffshards.verification.by_harp import Forecast, prepare_statistic
from sffshards.verification.cluster_bootstrap import IntervalMethod, Resampling, bootstrap_interval
from sffshards.verification.contingency_tables import Counts
from sffshards.verification.score_names import ScoreName, compute_scores

LEVEL = 0.95
FLARING = 0.15
"""Fraction of regions that flare."""
MEAN_SAMPLES = 60
SHIFT_QUIET, SHIFT_FLARING, SHIFT_FLARE = -1.5, 2.0, 1.0
SPREAD_REGION, SPREAD_SAMPLE = 1.0, 0.7


def true_tss() -> float:
    """Return the TSS of infinitely many regions at a threshold of 0.5."""
    above = NormalDist(0, math.hypot(SPREAD_REGION, SPREAD_SAMPLE)).cdf
    quiet_of_flaring = FLARING * 2 / 3  # a third of a flaring region's samples are followed by a flare
    shares = np.array([quiet_of_flaring, 1 - FLARING]) / (quiet_of_flaring + 1 - FLARING)
    false_alarms = shares @ [above(SHIFT_QUIET + SHIFT_FLARING), above(SHIFT_QUIET)]
    return float(above(SHIFT_QUIET + SHIFT_FLARING + SHIFT_FLARE) - false_alarms)


def draw_set(
    random: np.random.Generator, num_regions: int, *, uneven: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return labels, probabilities and HARPs."""
    if uneven:
        nums, shares = random.geometric(1 / MEAN_SAMPLES, num_regions), random.beta(1, 2, num_regions)
    else:
        nums, shares = random.integers(20, 2 * MEAN_SAMPLES - 19, num_regions), random.beta(3, 6, num_regions)
    harps = np.repeat(np.arange(num_regions), nums)
    flaring = random.random(num_regions) < FLARING
    share = np.where(flaring, shares, 0)
    labels = (random.random(len(harps)) < share[harps]).astype(np.int64)
    shift = SHIFT_QUIET + SHIFT_FLARING * flaring + random.normal(0, SPREAD_REGION, num_regions)
    logits = shift[harps] + SHIFT_FLARE * labels + random.normal(0, SPREAD_SAMPLE, len(harps))
    return labels, 1 / (1 + np.exp(-logits)), harps


def resample_samples(table: list[int], random: np.random.Generator, num_resamples: int) -> tuple[float, float]:
    """Return the interval of a program that assumes independent samples."""
    draws = random.multinomial(sum(table), np.array(table) / sum(table), num_resamples).T.astype(float)
    values = compute_scores(ScoreName.TSS, Counts(tp=draws[0], fp=draws[1], fn=draws[2], tn=draws[3]))
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def measure(
    num_regions: int, num_sets: int, num_resamples: int, *, uneven: bool, seed: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the intervals of each method, one per set."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, num_regions])))
    intervals: dict[str, list[tuple[float, float]]] = {"percentile": [], "expanded": [], "samples": []}
    for number in range(num_sets):
        labels, probabilities, harps = draw_set(random, num_regions, uneven=uneven)
        forecast = Forecast(label=labels, probability=probabilities, harp=harps, threshold=0.5, climatology=0.1)
        statistic = prepare_statistic(forecast, ScoreName.TSS)
        for method in IntervalMethod:
            found = bootstrap_interval(
                statistic, Resampling(level=LEVEL, num_resamples=num_resamples, seed=number, method=method)
            )
            intervals[method].append((found.low, found.high))
        called = probabilities >= 0.5
        table = [int(np.sum((called == f) & (labels == y))) for f, y in ((1, 1), (1, 0), (0, 1), (0, 0))]
        intervals["samples"].append(resample_samples(table, random, num_resamples))
    return intervals


def describe(method: str, ends: NDArray[np.float64], truth: float) -> str:
    low, high = ends[~np.isnan(ends[:, 0])].T
    share = float(np.mean((low <= truth) & (truth <= high)))
    error = math.sqrt(share * (1 - share) / len(low))
    length = np.mean(high - low)
    return f"{method} {100 * share:.1f} +- {100 * error:.1f} % (length {length:.3f}, none {len(ends) - len(low)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--flaring", type=int, nargs="+", default=[10, 25, 50, 75, 150])
    options = parser.parse_args()
    truth = true_tss()
    print(f"true TSS {truth:.4f}; {options.sets} sets, {options.resamples} resamples each")
    for uneven in (False, True):
        for num_flaring in options.flaring:
            num_regions = round(num_flaring / FLARING)
            intervals = measure(num_regions, options.sets, options.resamples, uneven=uneven, seed=1)
            cells = "; ".join(describe(method, np.array(ends), truth) for method, ends in intervals.items())
            print(
                f"{'uneven' if uneven else 'alike':<6} {num_flaring:4d} flaring of {num_regions:4d}: {cells}",
                flush=True,
            )


if __name__ == "__main__":
    main()
