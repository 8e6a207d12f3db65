"""How much higher fitted forecasters score than the first of them, at a threshold that keeps the TSS of validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sffshards import verification
from sffshards.base.json_records import describe_record
from sffshards.domain.sample_sets import Part
from sffshards.forecasting.baselines.baseline_samples import Samples
from sffshards.forecasting.baselines.baseline_scores import BaselineName
from sffshards.forecasting.baselines.fitted_folds import FittedFold
from sffshards.forecasting.baselines.model_fitting import Recipe

LEAST_TSS = 0.7
"""TSS that a threshold must keep on the validation part, if any does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SkillRow:
    """A fitted forecaster at thresholds that keep the TSS of validation; means over folds, with intervals by HARP."""

    name: BaselineName
    """Name of the forecaster."""
    thresholds: tuple[float, ...]
    """Threshold of each fold."""
    validation_tss: tuple[float, ...]
    """TSS of each fold on its validation part; below `LEAST_TSS` where no threshold keeps it."""
    tss: verification.Interval
    """TSS on Test."""
    hss: verification.Interval
    """HSS on Test."""
    difference: verification.Interval | None
    """HSS minus that of the first forecaster on the same samples; None of the first itself."""


def compare_skill(
    samples: Mapping[Part, Samples], fitted: Sequence[tuple[Recipe, tuple[FittedFold, ...]]]
) -> list[SkillRow]:
    """Score fitted forecasters on Test at the thresholds with the highest HSS among those that keep the TSS.

    The threshold of a fold has the highest HSS on its validation part among the thresholds at which the TSS of this
    part is `LEAST_TSS` or more; where there is none, it is that of the highest TSS.

    Parameters
    ----------
    samples
        Samples of every part, from `read_samples`.
    fitted
        Forecasters from `fit_recipes` with their folds; others are compared with the first.
    """
    rows: list[SkillRow] = []
    first: verification.HarpStatistic | None = None
    for recipe, fits in fitted:
        chosen = [_choose(samples, fit) for fit in fits]
        statistics = {
            name: verification.average_statistics(
                [
                    verification.prepare_statistic(_forecast(samples[Part.TEST], fit, threshold), name)
                    for fit, (threshold, _) in zip(fits, chosen, strict=True)
                ]
            )
            for name in (verification.ScoreName.TSS, verification.ScoreName.HSS)
        }
        hss = statistics[verification.ScoreName.HSS]
        rows.append(
            SkillRow(
                name=recipe.name,
                thresholds=tuple(threshold for threshold, _ in chosen),
                validation_tss=tuple(tss for _, tss in chosen),
                tss=verification.estimate_interval(statistics[verification.ScoreName.TSS]),
                hss=verification.estimate_interval(hss),
                difference=None if first is None else verification.estimate_difference(first, hss),
            )
        )
        first = first or hss
    return rows


def describe_skill(rows: Sequence[SkillRow]) -> list[dict[str, Any]]:
    """Return rows as plain values for JSON; undefined numbers are None."""
    return [describe_record(row) for row in rows]


def _choose(samples: Mapping[Part, Samples], fit: FittedFold) -> tuple[float, float]:
    """Return the threshold of a fold, and the TSS of its validation part at it."""
    labels, probabilities = samples[fit.validation].label, fit.probabilities[fit.validation]
    curve = verification.trace_thresholds(labels, probabilities)
    tss, hss = (curve.score(name)[1:] for name in (verification.ScoreName.TSS, verification.ScoreName.HSS))
    keeps = tss >= LEAST_TSS
    best = int(np.argmax(np.where(keeps, hss, -np.inf)) if keeps.any() else np.argmax(tss))
    return float(curve.threshold[1 + best]), float(tss[best])


def _forecast(test: Samples, fit: FittedFold, threshold: float) -> verification.Forecast:
    return verification.Forecast(
        label=test.label,
        probability=fit.probabilities[Part.TEST],
        harp=test.harp,
        threshold=threshold,
        climatology=fit.climatology,
    )
