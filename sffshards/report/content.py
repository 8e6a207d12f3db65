"""All numbers that a report holds of a horizon, computed before anything is drawn or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sffshards.records import Horizon
from sffshards.report.ensemble import Ensemble, average_folds
from sffshards.report.examples import Example, choose_examples, choose_harps
from sffshards.report.runs import RunResult
from sffshards.report.scoring import (
    FoldScores,
    NamedScores,
    score_ensemble,
    score_folds,
    score_references,
    validation_skill,
)
from sffshards.report.sets import SetCounts, SharedHarps, count_sets, find_shared_harps
from sffshards.verification.summary import Resampling

__all__ = ["HorizonContent", "compute_content"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HorizonContent:
    """What is said of a horizon."""

    horizon: Horizon
    runs: tuple[RunResult, ...]
    """Those that were evaluated."""
    folds: tuple[FoldScores, ...]
    """Of each run."""
    ensembles: tuple[Ensemble, ...]
    """Of each run."""
    forecasts: tuple[NamedScores, ...]
    """Of each ensemble."""
    references: tuple[NamedScores, ...]
    shown: int
    """The run of highest mean TSS on validation, of which regions and examples are shown."""
    harps: tuple[int, ...]
    """Regions shown in time."""
    examples: tuple[Example, ...]
    sets: tuple[tuple[SetCounts, ...], ...]
    """Of each run."""
    shared: tuple[SharedHarps, ...]
    """Each fold's three pairs of sets, as the first run has them that has the fold."""


def compute_content(
    runs: Sequence[RunResult],
    horizon: Horizon,
    *,
    resampling: Resampling,
    harps: Sequence[int] | None,
    per_outcome: int,
    further: Sequence[NamedScores],
) -> HorizonContent:
    """Compute what is said of a horizon, of which at least one run was evaluated.

    Parameters
    ----------
    runs
        Of all horizons.
    horizon
        Which.
    resampling
        How intervals are made.
    harps
        Regions to show in time; None for those with most flares.
    per_outcome
        Examples of each outcome.
    further
        Scores of more forecasts to stand beside those from labels alone, computed on the same sequences.

    Raises
    ------
    InputError
        If a region is in no test set.
    ConflictError
        If folds of a run predict other sequences.
    """
    evaluated = tuple(run for run in runs if run.horizon is horizon and run.evaluated)
    ensembles = tuple(average_folds(run) for run in evaluated)
    folds = tuple(score_folds(run) for run in evaluated)
    shown = max(range(len(folds)), key=lambda number: validation_skill(folds[number]))
    ordered = [ensembles[shown], *ensembles]
    shared = {
        (pair.fold, pair.first, pair.second): pair for run in reversed(evaluated) for pair in find_shared_harps(run)
    }
    return HorizonContent(
        horizon=horizon,
        runs=evaluated,
        folds=folds,
        ensembles=ensembles,
        forecasts=tuple(score_ensemble(ensemble, resampling) for ensemble in ensembles),
        references=(*score_references(ensembles[shown], horizon, resampling), *further),
        shown=shown,
        harps=choose_harps(ordered, harps),
        examples=choose_examples(ensembles[shown], per_outcome=per_outcome),
        sets=tuple(count_sets(run) for run in evaluated),
        shared=tuple(shared[key] for key in sorted(shared, key=lambda key: key[0])),
    )
