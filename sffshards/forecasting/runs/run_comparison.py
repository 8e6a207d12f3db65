"""Comparison of runs in pairs: how much higher the second one scores than the first, on the same test samples.

Every difference is the second score minus the first, so that a positive one favours the second run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

from sffshards import verification
from sffshards.base.atomic_files import write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.json_records import describe_record, format_json
from sffshards.domain.task import Task
from sffshards.forecasting.runs.fold_ensemble import IssuedForecast, Probability
from sffshards.forecasting.runs.forecast_record import RunKind
from sffshards.forecasting.runs.run_scores import RunScores

COMPARISONS_NAME = "comparisons.json"
COMPARISONS_TABLE_NAME = "comparisons.csv"
_FORMAT_VERSION = 4
_HEADER = ("first", "second", "probability", "rule", "score", "second_minus_first", "low", "high")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedScore:
    """A score that runs are compared in."""

    probability: Probability
    rule: verification.ThresholdRule | None
    """Rule of the threshold; None for a score of probabilities."""
    score: verification.AnyScore

    @property
    def is_main(self) -> bool:
        """Whether tables show it: at 0.5, at the threshold chosen for the score itself, or of probabilities."""
        return self.rule in (None, verification.ThresholdRule.HALF) or self.rule.score is self.score

    @property
    def heading(self) -> str:
        """Heading of a column, such as ``TSS at 0.5``, ``TSS, chosen threshold`` or ``BSS, calibrated``."""
        if self.rule is None:
            return str(self.score) if self.probability is Probability.RAW else f"{self.score}, calibrated"
        return f"{self.score}, chosen threshold" if self.rule.score is self.score else f"{self.score} at {self.rule}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The score of the second run's ensemble minus that of the first's."""

    compared: ComparedScore
    task: Task
    first: Path
    """Folder of the first run, which may be a baseline."""
    second: Path
    """Folder of the second run."""
    difference: verification.Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class RunComparisons:
    """Comparisons of runs in pairs."""

    between: list[Comparison]
    """Differences between runs other than baselines; between baselines where there is nothing else."""
    from_baselines: list[Comparison]
    """Differences of runs from baselines, each of which is the first of the two."""

    @property
    def every(self) -> list[Comparison]:
        """All comparisons."""
        return [*self.between, *self.from_baselines]


COMPARED_SCORES: tuple[ComparedScore, ...] = (
    *(
        ComparedScore(probability=Probability.RAW, rule=rule, score=name)
        for rule in verification.ThresholdRule
        for name in (verification.ScoreName.TSS, verification.ScoreName.HSS)
    ),
    *(
        ComparedScore(probability=probability, rule=None, score=verification.ProbabilityScore.BRIER_SKILL)
        for probability in (Probability.RAW, Probability.PLATT)
    ),
)
"""The scores that runs are compared in."""


def pair_runs(kinds: Sequence[RunKind]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return which runs of a task are compared, as pairs of their positions.

    Parameters
    ----------
    kinds
        What made each of the runs.

    Returns
    -------
    between, from_baselines
        Pairs of runs other than baselines, or of baselines where there is nothing else; and pairs of a baseline and
        another run.

    Examples
    --------
    >>> pair_runs([RunKind.BASELINE, RunKind.NETWORK, RunKind.COMBINATION])
    ([(1, 2)], [(0, 1), (0, 2)])
    """
    baselines = [number for number, kind in enumerate(kinds) if kind is RunKind.BASELINE]
    others = [number for number, kind in enumerate(kinds) if kind is not RunKind.BASELINE]
    return list(combinations(others or baselines, 2)), list(product(baselines, others))


def compare_runs(runs: Sequence[RunScores]) -> RunComparisons:
    """Compare the ensembles of runs that forecast the same test samples, over plain views.

    TSS and HSS are compared at the threshold of each rule, and the Brier skill score of raw and calibrated
    probabilities. Runs of another task, or of other samples or labels, are not compared.
    """
    tasks = dict.fromkeys(of.run.task for of in runs)
    between: list[Comparison] = []
    from_baselines: list[Comparison] = []
    for task in tasks:
        of_task = [of for of in runs if of.run.task == task]
        pairs = pair_runs([of.run.kind for of in of_task])
        between += _compare(of_task, pairs[0])
        from_baselines += _compare(of_task, pairs[1])
    return RunComparisons(between=between, from_baselines=from_baselines)


def _compare(runs: Sequence[RunScores], pairs: Iterable[tuple[int, int]]) -> list[Comparison]:
    return [
        Comparison(
            task=first.run.task,
            first=first.run.folder,
            second=second.run.folder,
            compared=compared,
            difference=difference,
        )
        for first, second in ((runs[one], runs[other]) for one, other in pairs)
        for compared, difference in compare_issued(first.verification.ensemble, second.verification.ensemble).items()
    ]


def compare_issued(first: IssuedForecast, second: IssuedForecast) -> dict[ComparedScore, verification.Interval]:
    """Compute the scores of the second forecast minus those of the first, each with its confidence interval.

    What makes a region hard for both cancels. A score that one of the two does not have, such as one at a threshold
    that could not be chosen, is left out. Forecasts of different samples have none.
    """
    found = {}
    for compared in COMPARED_SCORES if first.is_comparable(second) else ():
        pair = [
            issued.forecast(compared.probability, threshold=threshold)
            for issued in (first, second)
            if (threshold := issued.threshold(compared.probability, compared.rule or verification.ThresholdRule.HALF))
            is not None
        ]
        if len(pair) == 2:
            found[compared] = verification.compare_forecasts(*pair, name=compared.score)
    return found


def describe_comparisons(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return comparisons as ``comparisons.json`` holds them."""
    return [
        {
            "task": one.task.name,
            "first": str(one.first),
            "second": str(one.second),
            **describe_record(one.compared),
            "second_minus_first": describe_record(one.difference),
        }
        for one in comparisons
    ]


def write_comparisons(comparisons: RunComparisons) -> list[Path]:
    """Write ``comparisons.json`` and ``comparisons.csv``.

    Differences between runs of a task go into the folder that contains them, those from baselines into the run's own.

    Returns
    -------
    the folders written to
    """
    runs: dict[Task, list[Comparison]] = {}
    folders: dict[Path, list[Comparison]] = {}
    for one in comparisons.between:
        runs.setdefault(one.task, []).append(one)
    for one in comparisons.from_baselines:
        folders.setdefault(one.second, []).append(one)
    for of_task in runs.values():
        paths = [run.absolute().parent for one in of_task for run in (one.first, one.second)]
        folders[Path(os.path.commonpath(paths))] = of_task
    for folder, of_folder in folders.items():
        _write(folder, of_folder)
    return list(folders)


def _write(folder: Path, comparisons: Sequence[Comparison]) -> None:
    content = {
        "format_version": _FORMAT_VERSION,
        "task": comparisons[0].task.name,
        "forecasts": "ensembles of folds, test set, plain views",
        "comparisons": describe_comparisons(comparisons),
    }
    rows = [
        [one.first, one.second, *describe_record(one.compared).values()]
        + [getattr(one.difference, name) for name in ("estimate", "low", "high")]
        for one in comparisons
    ]
    write_atomic(folder / COMPARISONS_NAME, format_json(content))
    write_atomic(folder / COMPARISONS_TABLE_NAME, format_csv(_HEADER, rows).encode("utf-8"))
