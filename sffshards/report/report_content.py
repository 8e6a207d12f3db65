"""All numbers that a report holds of a horizon, computed before anything is drawn or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.baselines import BaselineName
from sffshards.report.chosen_examples import Example, choose_examples, choose_harps
from sffshards.report.fold_ensemble import Ensemble, average_folds
from sffshards.report.fold_sets import SetCounts, SharedHarps, count_sets, find_shared_harps
from sffshards.report.gathered_runs import RunResult
from sffshards.report.region_flares import RegionFlare, find_region_flares
from sffshards.report.result_scores import (
    FoldScores,
    NamedScores,
    score_ensemble,
    score_folds,
    score_references,
    validation_skill,
)
from sffshards.report.subset_scores import Difference, SubsetScores, compare_ensembles, score_subsets
from sffshards.verification import Resampling

__all__ = ["HorizonContent", "compute_content"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HorizonContent:
    """What is said of a horizon."""

    task: Task
    runs: tuple[RunResult, ...]
    """Those that were evaluated."""
    folds: tuple[FoldScores, ...]
    """Of each run."""
    ensembles: tuple[Ensemble, ...]
    """Of each run."""
    forecasts: tuple[NamedScores, ...]
    """Of each ensemble."""
    references: tuple[NamedScores, ...]
    subsets: tuple[SubsetScores, ...]
    """Of each ensemble, first flares and continuing activity."""
    differences: tuple[Difference, ...]
    """Between every two ensembles of the same test samples."""
    shown: int
    """The run of highest mean TSS on validation, of which regions and examples are shown."""
    harps: tuple[int, ...]
    """Regions shown in time."""
    flares: dict[int, tuple[RegionFlare, ...]] | None
    """Of these, by HARP, while forecasts are made or a horizon later; None where no list was given."""
    examples: tuple[Example, ...]
    sets: tuple[tuple[SetCounts, ...], ...]
    """Of each run."""
    shared: tuple[SharedHarps, ...]
    """Each fold's three pairs of sets, as the first run has them that has the fold."""

    @property
    def persistence(self) -> NamedScores:
        """The reference that knows most: from a flare list or the labels of all parts, where there are any."""
        return [one for one in self.references if one.name.split(",")[0] == BaselineName.PERSISTENCE][-1]


def compute_content(
    runs: Sequence[RunResult],
    task: Task,
    *,
    resampling: Resampling,
    harps: Sequence[int] | None,
    per_outcome: int,
    further: Sequence[NamedScores],
    catalogue: HarpFlares | None,
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
        Regions to show in time, as far as the horizon tests them; None for those with most flares.
    per_outcome
        Examples of each outcome.
    further
        Scores of more forecasts to stand beside those from labels alone, computed on the same sequences.
    catalogue
        From which the flares of the regions in time are; None without.

    Raises
    ------
    ConflictError
        If folds of a run predict other sequences.
    """
    evaluated = tuple(run for run in runs if run.task == task and run.evaluated)
    ensembles = tuple(average_folds(run) for run in evaluated)
    folds = tuple(score_folds(run) for run in evaluated)
    shown = max(range(len(folds)), key=lambda number: validation_skill(folds[number]))
    shown_harps = choose_harps([ensembles[shown], *ensembles], harps)
    shared = {
        (pair.fold, pair.first, pair.second): pair for run in reversed(evaluated) for pair in find_shared_harps(run)
    }
    return HorizonContent(
        task=task,
        runs=evaluated,
        folds=folds,
        ensembles=ensembles,
        forecasts=tuple(score_ensemble(ensemble, resampling) for ensemble in ensembles),
        references=(*score_references(ensembles[shown], task, resampling), *further),
        subsets=tuple(one for of in ensembles for one in score_subsets(of, task, resampling)),
        differences=compare_ensembles(ensembles, resampling),
        shown=shown,
        harps=shown_harps,
        flares=None if catalogue is None else _find_flares(catalogue, ensembles[shown], shown_harps, task),
        examples=choose_examples(ensembles[shown], per_outcome=per_outcome),
        sets=tuple(count_sets(run) for run in evaluated),
        shared=tuple(shared[key] for key in sorted(shared, key=lambda key: key[0])),
    )


def _find_flares(
    catalogue: HarpFlares, ensemble: Ensemble, harps: Sequence[int], task: Task
) -> dict[int, tuple[RegionFlare, ...]]:
    found = {}
    for harp in harps:
        times = ensemble.rows.t_end_tai[ensemble.rows.harp == harp]
        if len(times):
            last = times.max() + np.timedelta64(task.horizon_hours, "h")
            found[harp] = find_region_flares(catalogue, harp, threshold=task.threshold, first=times.min(), last=last)
    return found
