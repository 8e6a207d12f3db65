"""The scores of a run as plain values: by fold and stage, and summed up over folds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sffshards.domain.sample_sets import Stage
from sffshards.training import FoldRecord
from sffshards.verification import PUBLISHED_SCORES, ContingencyTable, ScoreName, compute_score, format_score

if TYPE_CHECKING:
    from sffshards.forecasting.runs.run_verification import RunVerification

__all__ = [
    "FoldMean",
    "RunScores",
    "StageScores",
    "Summary",
    "average_folds",
    "format_summary",
    "score_stage",
    "summarise_scores",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldMean:
    """A figure over the folds."""

    num_defined: int
    """Folds in which it is defined, over which the mean is."""
    mean: float
    """nan where none is."""
    deviation: float
    """Sample standard deviation (n - 1); nan below two folds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageScores:
    """The scores of a fold's set."""

    fold: int
    stage: Stage
    table: ContingencyTable
    scores: dict[ScoreName, float]
    """nan where undefined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A score of a stage over the folds."""

    stage: Stage
    score: ScoreName
    num_defined: int
    """Folds in which it is defined, over which the mean is."""
    mean: float
    """nan where none is."""
    deviation: float
    """Sample standard deviation (n - 1); nan below two folds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScores:
    """The scores of a run, at the threshold `sffshards.verification.contingency.THRESHOLD`."""

    run: Path
    records: tuple[FoldRecord, ...]
    stages: tuple[StageScores, ...]
    """Fold by fold: training, validation, test."""
    summary: tuple[Summary, ...]
    """Stage by stage, score by score."""
    verification: RunVerification
    """All scores with intervals, over plain views."""


def score_stage(fold: int, stage: Stage, table: ContingencyTable) -> StageScores:
    """Compute the published scores of a table."""
    return StageScores(
        fold=fold, stage=stage, table=table, scores={name: compute_score(name, table) for name in PUBLISHED_SCORES}
    )


def summarise_scores(stages: Iterable[StageScores]) -> tuple[Summary, ...]:
    """Give mean and sample standard deviation of each score over the folds in which it is defined."""
    every = list(stages)
    summaries = []
    for stage in Stage:
        for name in PUBLISHED_SCORES:
            over = average_folds(s.scores[name] for s in every if s.stage is stage and not math.isnan(s.scores[name]))
            summaries.append(
                Summary(
                    stage=stage,
                    score=name,
                    num_defined=over.num_defined,
                    mean=over.mean,
                    deviation=over.deviation,
                )
            )
    return tuple(summaries)


def average_folds(defined: Iterable[float]) -> FoldMean:
    """Give mean and sample standard deviation of a figure, from its values in the folds where it is defined."""
    values = list(defined)
    return FoldMean(
        num_defined=len(values),
        mean=statistics.fmean(values) if values else math.nan,
        deviation=statistics.stdev(values) if len(values) > 1 else math.nan,
    )


def format_summary(summary: Summary | FoldMean) -> str:
    """Give a score's mean and deviation over the folds, as far as they are defined, for a table."""
    if math.isnan(summary.deviation):
        return format_score(summary.mean)
    return f"{format_score(summary.mean)} \u00b1 {format_score(summary.deviation)}"
