"""The whole published experiment: train and score every variant, horizon and fold, write the table and the report.

All training comes before all scores: the other devices end with the training, and would time out waiting for scores.
Finished work is kept and interrupted work resumes, as in `train_folds` and `evaluate_run`, so the same call can be
repeated after any interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sffshards.base.atomic_files import write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.json_records import describe_record, format_json
from sffshards.base.output_checks import check_writable
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import LabelSet, Stage, Variant
from sffshards.domain.task import Task
from sffshards.forecasting.runs import PUBLISHED_RESULTS, PublishedResult, Summary
from sffshards.shards.read import Place, open_build
from sffshards.verification import PUBLISHED_SCORES, ScoreName

if TYPE_CHECKING:
    from sffshards.executors import DaskExecutor
    from sffshards.forecasting.runs import Inference, RunScores
    from sffshards.training import TrainingOptions

JSON_NAME = "results.json"
TABLE_NAME = "results.csv"
_FORMAT_VERSION = 1
_NO_SKILL_SEED = 123
"""Seed of the forecast without skill, as of `sffshards evaluate`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultRow:
    """The test scores of a variant at a horizon, over the folds."""

    task: Task
    variant: Variant
    folds: tuple[int, ...]
    """Numbers of the folds that were scored."""
    summary: dict[ScoreName, Summary]
    """Mean and standard deviation of each score over the folds in which it is defined."""
    published: PublishedResult | None
    """Published result of one fold, where known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """The runs to train and score: every variant of every task, each with the same folds and options."""

    builds: Mapping[Task, Place]
    """Build of each task."""
    variants: tuple[Variant, ...]
    folds: tuple[int, ...]
    options: TrainingOptions
    """Options of the training runs; the variant is replaced."""
    inference: Inference
    """How predictions are computed."""
    label_set: LabelSet = LabelSet.PUBLISHED
    """Whether the labels of the builds are published or rebuilt; published results are shown beside the former only."""

    @property
    def has_published_labels(self) -> bool:
        """Whether scores compare with published ones."""
        return self.label_set is LabelSet.PUBLISHED

    def list_runs(self, out: Path) -> list[tuple[Place, Path, TrainingOptions]]:
        """Return the build, the folder and the options of each run, task by task."""
        return [
            (build, out / task.folder / variant, replace(self.options, variant=variant))
            for task, build in self.builds.items()
            for variant in self.variants
        ]


def check_experiment(
    experiment: Experiment, out: Path, *, report: Path, num_jobs: int = 1, on_cluster: bool = False
) -> None:
    """Raise the errors that `reproduce` would raise before it trains; write nothing. Parameters as there."""
    from sffshards.experiments.parallel_folds import check_jobs
    from sffshards.report import check_folder
    from sffshards.training import check_folds

    check_jobs(experiment.options, num_workers=num_jobs, on_cluster=on_cluster)
    check_folder(report)
    check_writable(out)
    for build, run, options in experiment.list_runs(out):
        check_folds(build, run, options, folds=experiment.folds, here=not on_cluster)


def reproduce(
    experiment: Experiment,
    out: Path,
    *,
    report: Path,
    num_jobs: int = 1,
    open_workers: Callable[[int], DaskExecutor] | None = None,
    progress: Progress,
) -> list[RunScores]:
    """Train and score every variant of every task; write the table, the comparisons and the report.

    Parameters
    ----------
    experiment
        The runs.
    out
        Output folder: ``TASK/VARIANT/fold0..4/``, ``results.csv`` and ``results.json``, and in each task's folder the
        baselines and the differences between its variants.
    report
        Output folder of the report.
    num_jobs
        Number of folds to train and predict at a time, each on one device; 1 to do them in turn in this process.
    open_workers
        Function that opens a cluster, given the number of folds to train and predict on its workers; None to do so on
        this machine.
    progress
        Shows the progress.

    Returns
    -------
    the scores of each run, task by task; an empty list on ranks other than the first, which only train

    Raises
    ------
    InputError, ConflictError
        As `train_folds` and `evaluate_run`; errors in the inputs of any run are found before the first is trained.
    TrainingError
        If folds failed on a cluster; the others are finished.
    """
    from sffshards.forecasting.baselines import write_build_baselines
    from sffshards.forecasting.runs import compare_runs, evaluate_run, find_baselines, write_comparisons
    from sffshards.report import ReportOptions, write_report
    from sffshards.training import is_first_process, train_folds

    folds, inference = experiment.folds, experiment.inference
    runs, is_here = experiment.list_runs(out), open_workers is None
    check_experiment(experiment, out, report=report, num_jobs=num_jobs, on_cluster=not is_here)
    if num_jobs > 1 or not is_here:
        _train_side_by_side(experiment, runs, num_jobs=num_jobs, open_workers=open_workers, progress=progress)
    else:
        for number, (build, run, options) in enumerate(runs, 1):
            progress.note(f"{run}: run {number} of {len(runs)}")
            train_folds(build, run, options, folds=folds, force=False, progress=progress)
    if not is_first_process(experiment.options):
        return []
    scores = [
        evaluate_run(run, build, folds=folds, inference=inference, force=False, progress=progress)
        for build, run, _ in runs
    ]
    write_results(out, tabulate(scores, with_published=experiment.has_published_labels))
    for task, build in experiment.builds.items():
        networks = [of.run for of in scores if of.run.task == task]
        with open_build(build) as opened:
            write_build_baselines(
                out / task.folder, opened, networks=networks, flares=None, seed=_NO_SKILL_SEED, progress=progress
            )
    baselines = [
        evaluate_run(run.folder, None, folds=None, inference=None, force=False, progress=progress)
        for run in find_baselines([of.run for of in scores])
    ]
    write_comparisons(compare_runs([*baselines, *scores]))
    shown = ReportOptions(with_published=experiment.has_published_labels)
    page = write_report(out, report, shards=list(experiment.builds.values()), options=shown, progress=progress)
    progress.note(f"{page}: the report")
    return scores


def _train_side_by_side(
    experiment: Experiment,
    runs: Sequence[tuple[Place, Path, TrainingOptions]],
    *,
    num_jobs: int,
    open_workers: Callable[[int], DaskExecutor] | None,
    progress: Progress,
) -> None:
    """Train and predict the folds that are not done yet, in other processes."""
    from sffshards.experiments.cluster_folds import run_folds_on_cluster
    from sffshards.experiments.parallel_folds import FoldJob, is_done, run_jobs

    inference, device = experiment.inference, None
    if open_workers is not None:  # on a machine with other devices than this one
        device = "cpu" if experiment.options.accelerator == "cpu" else "auto"
    jobs = [
        FoldJob(build=build, run=run, fold=fold, options=options, inference=inference, device=device)
        for build, run, options in runs
        for fold in experiment.folds
        if not is_done(run, fold, max_epochs=options.max_epochs)
    ]
    if jobs and open_workers is not None:
        with open_workers(len(jobs)) as executor:
            run_folds_on_cluster(jobs, executor, progress=progress)
    elif jobs:
        run_jobs(jobs, num_workers=num_jobs, progress=progress)


def tabulate(scores: Sequence[RunScores], *, with_published: bool) -> list[ResultRow]:
    """Return the test scores of runs, each beside those of the published fold if they compare with these."""
    published = {(result.task, result.variant): result for result in PUBLISHED_RESULTS if with_published}
    return [
        ResultRow(
            task=of.run.task,
            variant=of.run.first.network.options.variant,
            folds=tuple(fold.number for fold in of.run.folds),
            summary=of.means(Stage.TEST),
            published=published.get((of.run.task, of.run.first.network.options.variant)),
        )
        for of in scores
    ]


def write_results(out: Path, rows: Sequence[ResultRow]) -> None:
    """Write the table as ``results.csv`` and ``results.json``, each whole or not at all."""
    content = {"format_version": _FORMAT_VERSION, "stage": Stage.TEST, "rows": [_describe(row) for row in rows]}
    write_atomic(out / JSON_NAME, format_json(describe_record(content)))
    write_atomic(out / TABLE_NAME, _format_table(rows).encode("ascii"))


def _describe(row: ResultRow) -> dict[str, Any]:
    columns = ("mean", "deviation", "num_defined")
    return {
        "task": row.task.name,
        "variant": row.variant,
        "folds": list(row.folds),
        "scores": {name: {column: getattr(of, column) for column in columns} for name, of in row.summary.items()},
        "published": row.published and {"fold": row.published.fold, "scores": row.published.scores},
    }


def _format_table(rows: Sequence[ResultRow]) -> str:
    """Return CSV with a line of means, one of deviations and, where known, one of the published fold for each run."""
    lines: list[list[object]] = []
    for row in rows:
        of_run, folds = [row.task, row.variant], " ".join(map(str, row.folds))
        lines += [
            [*of_run, what, folds, *(getattr(of, what) for of in row.summary.values())]
            for what in ("mean", "deviation")
        ]
        if row.published:
            lines.append([*of_run, "published", row.published.fold, *row.published.scores.values()])
    return format_csv(["task", "variant", "what", "folds", *PUBLISHED_SCORES], lines)
