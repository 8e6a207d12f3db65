"""The whole published experiment: every variant, horizon and fold trained and scored, the table of it all, the report.

Training comes first, all of it, and scores after: further devices end with the training, and would time out waiting
for scores. What is done is kept and what was cut off goes on, as in `train_folds` and `evaluate_run`, so the same call
can be made again after any interruption.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sffshards.base.atomic_files import write_atomic
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Stage, Variant
from sffshards.domain.task import Task
from sffshards.forecasting.runs import PUBLISHED_RESULTS, PublishedResult
from sffshards.shards.read import Place
from sffshards.verification import PUBLISHED_SCORES, ScoreName, compute_score

if TYPE_CHECKING:
    from sffshards.forecasting.runs import Inference, RunScores
    from sffshards.training import TrainingOptions

__all__ = ["JSON_NAME", "TABLE_NAME", "ResultRow", "find_published", "reproduce", "tabulate", "write_results"]

JSON_NAME = "results.json"
TABLE_NAME = "results.csv"
_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultRow:
    """The test scores of a variant at a horizon, over the folds."""

    task: Task
    variant: Variant
    folds: tuple[int, ...]
    mean: dict[ScoreName, float]
    """Over the folds in which it is defined; nan where in none."""
    deviation: dict[ScoreName, float]
    """Sample standard deviation (n - 1); nan below two folds."""
    num_defined: dict[ScoreName, int]
    """Folds in which a score is defined."""
    published: PublishedResult | None
    """Of one fold, where it is known."""


def reproduce(
    builds: Mapping[Task, Place],
    out: Path,
    options: TrainingOptions,
    *,
    variants: Sequence[Variant],
    folds: Sequence[int],
    inference: Inference,
    report: Path,
    num_jobs: int = 1,
    progress: Progress,
) -> list[RunScores]:
    """Train and score every variant at every horizon; write the table, the comparisons and the report.

    Parameters
    ----------
    builds
        The build of each horizon.
    out
        Folder that gets ``HORIZON/VARIANT/fold0..4/``, ``results.csv`` and ``results.json``, and in each horizon's
        folder the differences between its variants.
    options
        How to train; the variant is replaced.
    variants, folds
        Which.
    inference
        How to compute the scores.
    report
        Folder for the report on them.
    num_jobs
        Folds to train and predict at a time, each on one device; 1 for one after the other in this process.
    progress
        Told how far the work is.

    Returns
    -------
    the scores of each run, horizon by horizon; none on ranks other than the first, which only train

    Raises
    ------
    InputError, ConflictError
        As `train_folds` and `evaluate_run`; what stands in the way of any run is found before the first is trained.
    """
    from sffshards.experiments.parallel_folds import FoldJob, check_jobs, is_done, run_jobs
    from sffshards.forecasting.runs import compare_runs, evaluate_run, write_comparisons
    from sffshards.report import ReportOptions, check_folder, write_report
    from sffshards.training import check_folds, is_first_process, train_folds

    runs = [(build, out / task.folder / variant, variant) for task, build in builds.items() for variant in variants]
    check_jobs(options, num_workers=num_jobs)
    check_folder(report)
    for build, run, variant in runs:
        check_folds(build, run, replace(options, variant=variant), folds=folds)
    if num_jobs > 1:
        jobs = [
            FoldJob(build=build, run=run, fold=fold, options=replace(options, variant=variant), inference=inference)
            for build, run, variant in runs
            for fold in folds
        ]
        if open_jobs := [job for job in jobs if not is_done(job.run, job.fold)]:
            run_jobs(open_jobs, num_workers=num_jobs, progress=progress)
    else:
        for number, (build, run, variant) in enumerate(runs, 1):
            progress.note(f"{run}: run {number} of {len(runs)}")
            train_folds(build, run, replace(options, variant=variant), folds=folds, force=False, progress=progress)
    if not is_first_process():
        return []
    scores = [
        evaluate_run(run, build, folds=folds, inference=inference, force=False, progress=progress)
        for build, run, _ in runs
    ]
    write_results(out, tabulate(scores))
    write_comparisons(compare_runs(scores))
    page = write_report(out, report, shards=list(builds.values()), options=ReportOptions(), progress=progress)
    progress.note(f"{page}: the report")
    return scores


def tabulate(scores: Sequence[RunScores]) -> list[ResultRow]:
    """Give the test scores of runs, each beside the published fold's."""
    return [_tabulate_run(run) for run in scores]


def find_published(task: Task, variant: Variant) -> PublishedResult | None:
    """Give the published result of a variant, if one is known."""
    found = (result for result in PUBLISHED_RESULTS if (result.task, result.variant) == (task, variant))
    return next(found, None)


def write_results(out: Path, rows: Sequence[ResultRow]) -> None:
    """Write the table as ``results.csv`` and ``results.json``, each whole or not at all."""
    content = {"format_version": _FORMAT_VERSION, "stage": Stage.TEST, "rows": [_describe(row) for row in rows]}
    write_atomic(out / JSON_NAME, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii"))
    write_atomic(out / TABLE_NAME, _to_csv(rows).encode("ascii"))


def _tabulate_run(run: RunScores) -> ResultRow:
    first = run.run.first
    of_test = {summary.score: summary for summary in run.summary if summary.stage is Stage.TEST}
    return ResultRow(
        task=first.task,
        variant=first.options.variant,
        folds=tuple(fold.record.fold for fold in run.run.folds),
        mean={name: of_test[name].mean for name in PUBLISHED_SCORES},
        deviation={name: of_test[name].deviation for name in PUBLISHED_SCORES},
        num_defined={name: of_test[name].num_defined for name in PUBLISHED_SCORES},
        published=find_published(first.task, first.options.variant),
    )


def _describe(row: ResultRow) -> dict[str, Any]:
    scores = {
        name: {"mean": _nullable(row.mean[name]), "deviation": _nullable(row.deviation[name]), "num_defined": number}
        for name, number in row.num_defined.items()
    }
    published = row.published and {
        "fold": row.published.fold,
        "scores": {name: compute_score(name, row.published.table) for name in PUBLISHED_SCORES},
    }
    return {
        "task": row.task.name,
        "variant": row.variant,
        "folds": list(row.folds),
        "scores": scores,
        "published": published,
    }


def _to_csv(rows: Sequence[ResultRow]) -> str:
    """Lay out a line of means, one of deviations and, where it is known, one of the published fold, for each run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", "variant", "what", "folds", *PUBLISHED_SCORES])
    for row in rows:
        start, folds = [row.task, row.variant], " ".join(str(fold) for fold in row.folds)
        writer.writerow([*start, "mean", folds, *(_cell(row.mean[name]) for name in PUBLISHED_SCORES)])
        writer.writerow([*start, "deviation", folds, *(_cell(row.deviation[name]) for name in PUBLISHED_SCORES)])
        if row.published:
            values = [_cell(compute_score(name, row.published.table)) for name in PUBLISHED_SCORES]
            writer.writerow([*start, "published", row.published.fold, *values])
    return text.getvalue()


def _nullable(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: float) -> str:
    return "undefined" if math.isnan(value) else repr(value)
