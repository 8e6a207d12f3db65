"""The published scores of a run: by fold and set, and averaged over folds; ``scores.json`` and ``scores.csv``.

And the results that Grim and Gradvohl published: six test tables, each of a single fold. They are from the notebooks of
their program (github.com/lfgrim/SFF_MagSeq_MViTs), published with Solar Physics 299:33 (2024), doi
10.1007/s11207-024-02276-0. The paper alone has means over folds; they are not copied here.

Each view that the variant's set holds is a sample of its own, as in the paper.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sffshards import verification
from sffshards.base.atomic_files import write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.json_records import describe_record, format_json
from sffshards.domain.sample_sets import Stage, Variant
from sffshards.domain.task import M24, M48, Task
from sffshards.forecasting.runs.forecast_record import RunKind
from sffshards.forecasting.runs.run_folders import Run

if TYPE_CHECKING:
    from sffshards.forecasting.runs.run_verification import RunVerification

JSON_NAME = "scores.json"
TABLE_NAME = "scores.csv"
FOLD_COLUMNS = ("fold", "stage", "tp", "fp", "fn", "tn", *verification.PUBLISHED_SCORES)
"""Columns of a table of the scores of folds."""
PUBLISHED_DOI = "10.1007/s11207-024-02276-0"
"""DOI of the paper that published results are from."""

_FORMAT_VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldMean:
    """Mean and standard deviation of a quantity over folds."""

    num_defined: int
    """Number of folds in which the quantity is defined; the others are left out of the mean."""
    mean: float
    """Mean over these folds; NaN where there are none."""
    deviation: float
    """Sample standard deviation (n - 1) over these folds; NaN below two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary(FoldMean):
    """A published score of a set, averaged over folds."""

    stage: Stage
    score: verification.ScoreName


@dataclass(frozen=True, kw_only=True, slots=True)
class StageScores:
    """The published scores of one set of one fold."""

    fold: int
    stage: Stage
    table: verification.ContingencyTable

    @property
    def scores(self) -> dict[verification.ScoreName, float]:
        """Scores by name; NaN where undefined."""
        return verification.compute_published_scores(self.table)

    @property
    def undefined(self) -> dict[verification.ScoreName, str]:
        """Reasons why scores are undefined."""
        reasons = {name: verification.explain_undefined(name, self.table) for name in verification.PUBLISHED_SCORES}
        return {name: reason for name, reason in reasons.items() if reason is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldScores:
    """The published scores of a run's folds, at a probability of 0.5."""

    run: Run
    stages: tuple[StageScores, ...]
    """Scores of each fold's training, validation and test set."""
    summary: tuple[Summary, ...]
    """Scores averaged over folds, by set and score."""

    def means(self, stage: Stage) -> dict[verification.ScoreName, Summary]:
        """Return the scores of a set, averaged over folds."""
        return {summary.score: summary for summary in self.summary if summary.stage is stage}

    def rows(self) -> list[list[object]]:
        """Return a row of `FOLD_COLUMNS` for each set of each fold."""
        return [
            [s.fold, s.stage, s.table.tp, s.table.fp, s.table.fn, s.table.tn, *s.scores.values()] for s in self.stages
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScores(FoldScores):
    """All that an evaluation computes of a run."""

    verification: RunVerification
    """All scores with intervals, over plain views."""


_MeanT = TypeVar("_MeanT", bound=FoldMean)


def score_folds(run: Run) -> FoldScores:
    """Compute the published scores of the evaluated folds of a run."""
    stages = tuple(
        StageScores(fold=fold.number, stage=stage, table=verification.count_outcomes(table.label, table.probability))
        for fold in run.evaluated
        for stage, table in fold.tables.items()
    )
    return FoldScores(run=run, stages=stages, summary=summarise_scores(stages))


def summarise_scores(stages: Iterable[StageScores]) -> tuple[Summary, ...]:
    """Average each score of each set over the folds in which it is defined."""
    every = list(stages)
    return tuple(
        average_folds([s.scores[name] for s in every if s.stage is stage], Summary, stage=stage, score=name)
        for stage in Stage
        for name in verification.PUBLISHED_SCORES
    )


def average_folds(values: Iterable[float], kind: type[_MeanT], **labels: object) -> _MeanT:
    """Return mean and sample standard deviation of a quantity over the folds in which it is not NaN.

    Parameters
    ----------
    values
        The quantity in each fold; NaN where it is undefined.
    kind
        `FoldMean`, or a record that adds fields to it.
    labels
        These further fields.
    """
    defined = [value for value in values if not math.isnan(value)]
    return kind(
        num_defined=len(defined),
        mean=statistics.fmean(defined) if defined else math.nan,
        deviation=statistics.stdev(defined) if len(defined) > 1 else math.nan,
        **labels,
    )


def format_summary(summary: FoldMean) -> str:
    """Return mean and standard deviation over folds as a table shows them."""
    if math.isnan(summary.deviation):
        return verification.format_score(summary.mean)
    return f"{verification.format_score(summary.mean)} \u00b1 {verification.format_score(summary.deviation)}"


def write_scores(scores: FoldScores) -> None:
    """Write ``scores.json`` and ``scores.csv`` into the run's folder."""
    rows = [*scores.rows(), *_summary_rows(scores)]
    write_atomic(scores.run.folder / JSON_NAME, format_json(describe_scores(scores)))
    write_atomic(scores.run.folder / TABLE_NAME, format_csv(FOLD_COLUMNS, rows).encode("ascii"))


def describe_run(run: Run) -> dict[str, Any]:
    """Return what the JSON files of a run's scores state of the run."""
    first = run.first
    return {
        "task": run.task.name,
        "kind": run.kind,
        "name": first.name,
        "description": first.description,
        "variant": first.variant,
        "protocol": first.protocol,
        **_describe_network(run),
        "manifest_sha256": first.manifest_sha256,
        "missing": [
            {"fold": fold.number, "stage": stage, "reason": reason}
            for fold in run.folds
            for stage, reason in fold.missing.items()
        ],
    }


def _describe_network(run: Run) -> dict[str, Any]:
    """Return the name of a run's network, or None, and the options of its factory, if any."""
    if run.kind is not RunKind.NETWORK:
        return {"model": None}
    network = run.first.network.options.network
    return {"model": str(network.model)} | ({"model_options": network.options} if network.options else {})


def describe_scores(scores: FoldScores) -> dict[str, Any]:
    """Return a run's scores as ``scores.json`` holds them: null where undefined, with the reason."""
    return {
        "format_version": _FORMAT_VERSION,
        **describe_run(scores.run),
        "threshold": verification.THRESHOLD,
        "folds": [
            {
                "fold": s.fold,
                "stage": s.stage,
                "counts": describe_record(s.table),
                "scores": describe_record(s.scores),
                "undefined": s.undefined,
            }
            for s in scores.stages
        ],
        "summary": [describe_record(summary) for summary in scores.summary],
    }


def _summary_rows(scores: FoldScores) -> Iterator[list[object]]:
    for stage in dict.fromkeys(s.stage for s in scores.summary):
        means = scores.means(stage)
        for title, column in (("mean", "mean"), ("deviation", "deviation"), ("folds defined", "num_defined")):
            yield [title, stage, *[None] * 4, *(getattr(means[name], column) for name in verification.PUBLISHED_SCORES)]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedResult:
    """The published test result of one fold, at a probability of 0.5."""

    task: Task
    variant: Variant
    fold: int
    table: verification.ContingencyTable

    @property
    def scores(self) -> dict[verification.ScoreName, float]:
        """The eight published scores."""
        return verification.compute_published_scores(self.table)


def _result(task: Task, variant: Variant, fold: int, *counts: int) -> PublishedResult:
    tp, fp, fn, tn = counts
    return PublishedResult(
        task=task, variant=variant, fold=fold, table=verification.ContingencyTable(tp=tp, fp=fp, fn=fn, tn=tn)
    )


PUBLISHED_RESULTS = (
    _result(M24, Variant.BASE, 3, 165, 952, 30, 8237),
    _result(M24, Variant.OT, 0, 156, 773, 39, 8416),
    _result(M24, Variant.OTV, 3, 163, 748, 32, 8441),
    _result(M48, Variant.BASE, 1, 374, 688, 39, 8283),
    _result(M48, Variant.OT, 0, 352, 547, 61, 8424),
    _result(M48, Variant.OTV, 2, 372, 655, 41, 8316),
)
"""Published results, one for each task and variant."""
