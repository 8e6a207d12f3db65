"""All numbers that a report holds of a task, computed before anything is drawn or written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sffshards.domain.sample_sets import LabelSet
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.baselines import BaselineName
from sffshards.forecasting.label_sets import LabelChoice, LabelledScores, score_by_labels
from sffshards.forecasting.runs import (
    FoldScores,
    IssuedForecast,
    Run,
    RunKind,
    SetCounts,
    SharedHarps,
    average_run,
    count_sets,
    explain_subsets,
    find_shared_harps,
    pair_runs,
    score_folds,
)
from sffshards.report import result_scores as results
from sffshards.report.chosen_examples import Example, RegionFlare, choose_examples, choose_harps, find_region_flares


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """What a report shows."""

    harps: tuple[int, ...] | None = None
    """Regions to show over time, for each task that tests them; None for those with most flares."""
    per_outcome: int = 3
    """Maximum number of film strips of hits, of misses and of false alarms."""
    explain_on: str | None = None
    """Device on which the forecasts of the film strips are explained, such as ``auto``; None to explain none."""
    catalogue: HarpFlares | None = None
    """Flares of active regions, which decide which flares are first and are drawn over time."""
    label_set: LabelSet = LabelSet.PUBLISHED
    """Labels that runs are scored against; if it is both, those of the lists are beside the rebuilt ones."""
    with_published: bool = True
    """Whether the labels of the lists are those of published results, which are then shown."""
    other_catalogues: tuple[HarpFlares, ...] = ()
    """Flares of further lists, whose labels the forecasts are scored against for comparison."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskContent:
    """All numbers of a task's part of the report."""

    task: Task
    runs: tuple[Run, ...]
    """The runs of the task that were evaluated, of any kind."""
    folds: tuple[FoldScores, ...]
    """Published scores of each run's folds."""
    ensembles: tuple[IssuedForecast, ...]
    """Forecast of the test set by the ensemble of each run's folds."""
    forecasts: tuple[results.NamedScores, ...]
    """Scores of each ensemble."""
    subsets: tuple[results.SubsetScores, ...]
    """Scores of each ensemble for first and later flares or, without a flare list, by what labels show."""
    subset_note: str
    """How many positive samples of the first subset may follow an earlier flare."""
    differences: tuple[results.Difference, ...]
    """Differences between every two ensembles other than baselines of the same test samples."""
    baseline_differences: tuple[results.Difference, ...]
    """Differences between every ensemble and every baseline of the same test samples."""
    shown: int
    """Position of the run whose regions and examples are shown: the one with the highest mean TSS on validation.

    Baselines are shown only where there is no other run.
    """
    harps: tuple[int, ...]
    """HARP numbers of the regions whose forecasts are shown over time."""
    flares: dict[int, tuple[RegionFlare, ...]] | None
    """Flares of these regions from the first forecast to a horizon after the last; None without a flare list."""
    examples: tuple[Example, ...]
    """Test sequences that are shown as film strips."""
    sets: tuple[tuple[SetCounts, ...], ...]
    """Classes of each run's sets."""
    shared: tuple[SharedHarps, ...]
    """Regions that the sets of each fold share, as the first run that has the fold has them."""

    @property
    def persistence(self) -> results.NamedScores | None:
        """The persistence forecast of the shown run's samples; None if no run is one."""
        shown = self.ensembles[self.shown]
        for scores, ensemble in zip(self.forecasts, self.ensembles, strict=True):
            if scores.baseline is BaselineName.PERSISTENCE and ensemble.is_comparable(shown):
                return scores
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelContent:
    """The labels of a task's part of a report, and the scores of its runs by others."""

    choice: LabelChoice
    by_labels: tuple[tuple[LabelledScores, ...], ...]
    """Test scores of each run by each set of labels; empty where there is only one."""
    published: TaskContent | None
    """The runs with the labels of the lists, where these are shown beside rebuilt ones; None where they are not."""


def compute_labels(runs: Sequence[Run], content: TaskContent, choice: LabelChoice) -> LabelContent:
    """Score the runs of a task by each set of labels.

    Parameters
    ----------
    runs
        Runs of any task, with the labels of the lists.
    content
        The numbers of the task's part of the report, by the main labels.
    choice
        The sets of labels.
    """
    evaluated = tuple(run for run in runs if run.task == content.task and run.evaluated)
    published = None
    if choice.label_set is LabelSet.BOTH:
        published = replace(content, runs=evaluated, folds=tuple(score_folds(run) for run in evaluated))
    return LabelContent(
        choice=choice,
        by_labels=tuple(score_by_labels(run, choice.compared) for run in evaluated) if choice.compared else (),
        published=published,
    )


def compute_content(runs: Sequence[Run], task: Task, options: ReportOptions) -> TaskContent:
    """Compute the numbers of a task's part of the report.

    Parameters
    ----------
    runs
        Runs of any task; at least one of this task was evaluated.
    task
        The task.
    options
        What to show.

    Raises
    ------
    ConflictError
        If the folds of a run forecast different sequences.
    """
    catalogue = options.catalogue
    evaluated = tuple(run for run in runs if run.task == task and run.evaluated)
    ensembles = tuple(average_run(run) for run in evaluated)
    folds = tuple(score_folds(run) for run in evaluated)
    shown = max(range(len(folds)), key=lambda number: _rank(folds[number]))
    harps = choose_harps([ensembles[shown], *ensembles], options.harps)
    shared = {
        (pair.fold, pair.first, pair.second): pair for run in reversed(evaluated) for pair in find_shared_harps(run)
    }
    between, from_baselines = pair_runs([run.kind for run in evaluated])
    return TaskContent(
        task=task,
        runs=evaluated,
        folds=folds,
        ensembles=ensembles,
        forecasts=tuple(results.score_ensemble(*pair) for pair in zip(ensembles, evaluated, strict=True)),
        subsets=tuple(one for of in ensembles for one in results.score_subsets(of, task, flares=catalogue)),
        subset_note=explain_subsets(ensembles[shown].samples, task=task, flares=catalogue),
        differences=results.compare_ensembles(ensembles, between),
        baseline_differences=results.compare_ensembles(ensembles, from_baselines),
        shown=shown,
        harps=harps,
        flares=None if catalogue is None else find_region_flares(catalogue, ensembles[shown], harps, task=task),
        examples=choose_examples(ensembles[shown], per_outcome=options.per_outcome),
        sets=tuple(count_sets(run) for run in evaluated),
        shared=tuple(shared[key] for key in sorted(shared, key=lambda key: key[0])),
    )


def _rank(scores: FoldScores) -> tuple[bool, float]:
    """Return what the shown run has most of."""
    skill = results.validation_skill(scores)
    return scores.run.kind is not RunKind.BASELINE, -1 if math.isnan(skill) else skill
