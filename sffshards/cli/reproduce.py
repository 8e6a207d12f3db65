"""`sffshards reproduce`: the whole published experiment."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from sffshards import experiments, training
from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option
from sffshards.base.progress import SILENT
from sffshards.cli import shared_options as shared
from sffshards.cli.command_options import OptionsOf
from sffshards.cli.score_output import format_results
from sffshards.cli.terminal_output import make_progress, show
from sffshards.domain.sample_sets import NUM_FOLDS, LabelSet, Variant
from sffshards.domain.task import Task
from sffshards.forecasting import runs
from sffshards.shards import read

__all__ = ["reproduce"]

_NOT_CHOSEN = frozenset({"variant", "inputs", "numbers_learning_rate"})
"""Options of training that the published experiment decides: all variants, of images alone."""


def reproduce(
    *,
    shards: shared.ShardsOption = "shards",
    variants: Annotated[
        str, Option("Variants: all, or a comma-separated list such as oT,oTV.", metavar="<list>")
    ] = "all",
    horizons: Annotated[
        str,
        Option(
            "Tasks to run: all that have shards, or a comma-separated list such as 24h,C48; 24h means M24.",
            metavar="<list>",
        ),
    ] = "all",
    folds: Annotated[str, Option("Folds: all, or a comma-separated list such as 0,1.", metavar="<list>")] = "all",
    jobs: Annotated[
        int,
        Option(
            "Number of folds to train at a time, each on one device with the full batch size; with --cluster pbs or "
            "slurm, number of jobs to keep queued or running, at most one per unfinished fold.",
            minimum=1,
            maximum=100_000,
        ),
    ] = 1,
    cluster: Annotated[
        str | None,
        Option(
            "Dask cluster that trains one fold on each worker: tcp://host:8786, a scheduler file, pbs, slurm (as your "
            "Dask configuration describes its jobs, with a GPU each), or local:N.",
            metavar="<cluster>",
        ),
    ] = None,
    label_set: Annotated[
        LabelSet,
        Option(
            "Labels to train on and to score against. published: those of --shards. rebuilt: those of "
            "--rebuilt-shards, into the folder `rebuilt` of --out, with a report of its own."
        ),
    ] = LabelSet.PUBLISHED,
    rebuilt_shards: Annotated[
        str, Option("Builds of lists that `sffshards labels rebuild` wrote, for --label-set rebuilt and both.")
    ] = "shards-rebuilt",
    out: Annotated[
        Path, Option("Folder for the table and the runs; each fold has a subfolder, such as 48h/oTV/fold0.")
    ] = Path("runs"),
    report: Annotated[Path, Option("Folder for the report.")] = Path("report"),
    recipe: shared.RecipeOption = "published",
    choices: Annotated[dict[str, Any], OptionsOf(training.TrainingOptions, without=_NOT_CHOSEN)],
    cache_dir: shared.CacheFolderOption = None,
    cache_size: shared.CacheSizeOption = shared.CACHE_SIZE,
) -> None:
    """Repeat the whole published experiment.

    Every variant, horizon and fold is trained and scored, and a report is written. A table, also in results.csv and
    results.json, shows the mean and standard deviation of the test scores over the folds, and the published scores of
    single folds.

    After an interruption, run the same command again: finished folds are kept, and the others resume. If a batch queue
    stops it, the command saves and exits with code 143, as `train` does.

    With --label-set rebuilt or both, the experiment is on labels that follow from a flare list. Write the lists with
    `labels rebuild`, and build them into --rebuilt-shards. Runs and table go to OUT/rebuilt, and the report goes to a
    folder beside that of --report, such as report-rebuilt. Published results are not
    shown beside scores by rebuilt labels.

    With --cluster, a fold that fails does not end the others; the failed ones are named at the end, with exit code 2.

    Examples
    --------
    sffshards reproduce
        four variants, both horizons, five folds, into runs/
    sffshards reproduce --variants oTV --horizons 48h --folds 0,1
        two folds of one variant
    sffshards reproduce --label-set both
        on the published labels, and on those of shards-rebuilt/
    sffshards reproduce --protocol published
        as the authors' programs did
    sffshards reproduce --jobs 4
        four folds at a time, each on its own GPU
    sffshards reproduce --cluster slurm --jobs 20
        20 folds at a time, each in a Slurm job
    sffshards reproduce --model mvit_tiny --epochs 3
        the small network, without a GPU
    """
    open_workers = None if cluster is None else partial(shared.open_fold_workers, cluster, jobs)
    if cluster is not None:
        shared.check_jobs(cluster, jobs)
    chosen_variants = shared.parse_choices("--variants", variants, Variant)
    chosen_folds = shared.parse_choices("--folds", folds, range(NUM_FOLDS))
    sets = {
        one: _find_builds(one, place, horizons, cache_dir=cache_dir, cache_size=cache_size)
        for one, place in ((LabelSet.PUBLISHED, shards), (LabelSet.REBUILT, rebuilt_shards))
        if label_set in (one, LabelSet.BOTH)
    }
    is_remote = any(isinstance(build, read.RemoteFolder) for builds in sets.values() for build in builds.values())
    choices["variant"] = chosen_variants[0]
    options = training.TrainingOptions.from_choices(choices, is_remote=is_remote, recipe=recipe)
    inference = runs.Inference(
        batch_size=options.batch_size,
        num_threads=options.num_threads,
        device=runs.choose_device("cpu" if cluster or options.accelerator == "cpu" else "auto"),
        check=options.check,
        factories=(options.model,),
    )
    if len(sets) > 1 and options.num_ranks > 1:
        raise InputError(
            Field("label_set"),
            expected="published or rebuilt, on several devices",
            found=label_set,
            fix="run one after the other; the processes of the other devices end after the first training",
        )
    progress = make_progress() if training.is_first_process(options) else SILENT
    plans = []
    for one, builds in sets.items():
        experiment = experiments.Experiment(
            builds=builds,
            variants=tuple(chosen_variants),
            folds=tuple(chosen_folds),
            options=options,
            inference=inference,
            label_set=one,
        )
        is_rebuilt = one is LabelSet.REBUILT
        page = report.parent / f"{report.name or 'report'}-{one}" if is_rebuilt else report
        plans.append((experiment, out / one if is_rebuilt else out, page))
    for experiment, folder, page in plans:  # before the training of any
        experiments.check_experiment(experiment, folder, report=page, num_jobs=jobs, on_cluster=cluster is not None)
    for experiment, folder, page in plans:
        scores = experiments.reproduce(
            experiment, folder, report=page, num_jobs=jobs, open_workers=open_workers, progress=progress
        )
        if scores:
            if len(plans) > 1:
                show(f"{experiment.label_set} labels")
            show(format_results(experiments.tabulate(scores, with_published=experiment.has_published_labels)))
            files = "results.csv and results.json hold this table, scores.csv of each run the scores of its folds"
            show(f"{folder}: {files}")


def _find_builds(
    label_set: LabelSet, shards: str, horizons: str, *, cache_dir: Path | None, cache_size: float
) -> dict[Task, read.Place]:
    """Return the chosen builds of a set of labels by their task."""
    place = shared.place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    try:
        found = {manifest.task: folder for folder, manifest in read.load_builds(place).items()}
    except InputError as error:
        if label_set is LabelSet.PUBLISHED:
            raise
        fix = "build lists of `sffshards labels rebuild` into this folder, or name another with {rebuilt_shards}"
        raise InputError(error.where, expected=error.expected, found=error.found, fix=fix) from None
    return {task: found[task] for task in shared.parse_choices("--horizons", horizons, sorted(found))}
