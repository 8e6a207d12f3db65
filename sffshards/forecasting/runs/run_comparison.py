"""Compare runs of a horizon in pairs: by how much one forecast scores higher than another, of the same test samples."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sffshards.base.atomic_files import write_atomic
from sffshards.domain.task import PUBLISHED_TASKS, Task
from sffshards.forecasting.runs.decision import ThresholdRule
from sffshards.forecasting.runs.fold_forecasts import Probability
from sffshards.forecasting.runs.run_scores import RunScores
from sffshards.forecasting.runs.run_verification import select_forecast
from sffshards.verification import Interval, ProbabilityScore, ScoreName, compare_forecasts, describe_interval

__all__ = ["Comparison", "compare_runs", "describe_comparisons", "write_comparisons"]

COMPARISONS_NAME = "comparisons.json"
COMPARISONS_TABLE_NAME = "comparisons.csv"
_FORMAT_VERSION = 1
_CASES: tuple[tuple[Probability, ThresholdRule | None, ScoreName | ProbabilityScore], ...] = (
    *((Probability.RAW, rule, name) for rule in ThresholdRule for name in (ScoreName.TSS, ScoreName.HSS)),
    (Probability.RAW, None, ProbabilityScore.BRIER_SKILL),
    (Probability.PLATT, None, ProbabilityScore.BRIER_SKILL),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A score of a run's ensemble, less that of another's."""

    task: Task
    first: Path
    second: Path
    """Folders of the two runs."""
    probability: Probability
    rule: ThresholdRule | None
    """None for a score of probabilities."""
    score: ScoreName | ProbabilityScore
    difference: Interval


def compare_runs(runs: Sequence[RunScores]) -> list[Comparison]:
    """Compare the ensembles of every two runs that forecast the same test samples, over plain views.

    TSS and HSS at each rule's threshold, and the Brier skill score, each with the interval of the difference from
    draws of whole HARPs that both share. Runs of other samples, labels or horizon are not compared.
    """
    return [comparison for first, second in combinations(runs, 2) for comparison in _compare(first, second)]


def describe_comparisons(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Give comparisons as ``comparisons.json`` holds them."""
    return [
        {
            "task": one.task.name,
            "first": str(one.first),
            "second": str(one.second),
            "probability": str(one.probability),
            "rule": None if one.rule is None else str(one.rule),
            "score": str(one.score),
            "difference": describe_interval(one.difference),
        }
        for one in comparisons
    ]


def write_comparisons(comparisons: Sequence[Comparison]) -> list[Path]:
    """Write ``comparisons.json`` and ``comparisons.csv`` of each horizon into the folder that its runs lie in.

    Returns
    -------
    the folders written to
    """
    folders = []
    for task in PUBLISHED_TASKS:
        of_horizon = [one for one in comparisons if one.task == task]
        if not of_horizon:
            continue
        folder = Path(
            os.path.commonpath([run.absolute().parent for one in of_horizon for run in (one.first, one.second)])
        )
        content = {
            "format_version": _FORMAT_VERSION,
            "task": task.name,
            "forecasts": "ensembles of folds, test set, plain views; difference: first less second",
            "comparisons": describe_comparisons(of_horizon),
        }
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_atomic(folder / COMPARISONS_NAME, text.encode("utf-8"))
        write_atomic(folder / COMPARISONS_TABLE_NAME, _to_csv(of_horizon).encode("utf-8"))
        folders.append(folder)
    return folders


def _compare(first: RunScores, second: RunScores) -> Iterator[Comparison]:
    task = first.records[0].task
    one, other = first.verification.ensemble, second.verification.ensemble
    same = one.samples.sequence == other.samples.sequence and np.array_equal(one.samples.label, other.samples.label)
    if second.records[0].task != task or not same:
        return
    for probability, rule, name in _CASES:
        at = ThresholdRule.HALF if rule is None else rule
        thresholds = [issued.threshold(probability, at) for issued in (one, other)]
        if thresholds[0] is None or thresholds[1] is None:
            continue
        difference = compare_forecasts(
            select_forecast(one, probability=probability, threshold=thresholds[0]),
            select_forecast(other, probability=probability, threshold=thresholds[1]),
            name=name,
            resampling=first.verification.resampling,
        )
        yield Comparison(
            task=task,
            first=first.run,
            second=second.run,
            probability=probability,
            rule=rule,
            score=name,
            difference=difference,
        )


def _to_csv(comparisons: Sequence[Comparison]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["first", "second", "probability", "rule", "score", "difference", "low", "high"])
    for one in comparisons:
        numbers = (one.difference.estimate, one.difference.low, one.difference.high)
        cells = ["undefined" if math.isnan(number) else repr(number) for number in numbers]
        writer.writerow([one.first, one.second, one.probability, one.rule or "", one.score, *cells])
    return text.getvalue()
