"""`sffshards reproduce`: the whole published experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from sffshards import experiments, training
from sffshards.base.option_fields import Option
from sffshards.base.progress import SILENT
from sffshards.cli import shared_options as shared
from sffshards.cli.command_options import OptionsOf
from sffshards.cli.score_output import format_results
from sffshards.cli.terminal_output import make_progress
from sffshards.domain.sample_sets import NUM_FOLDS, Variant
from sffshards.forecasting import runs
from sffshards.shards import read

__all__ = ["reproduce"]


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
        int, Option("Number of folds to train at a time, each on one device with the full batch size.", minimum=1)
    ] = 1,
    out: Annotated[
        Path, Option("Folder for the table and the runs; each fold has a subfolder, such as 48h/oTV/fold0.")
    ] = Path("runs"),
    report: Annotated[Path, Option("Folder for the report.")] = Path("report"),
    choices: Annotated[dict[str, Any], OptionsOf(training.TrainingOptions, without=frozenset({"variant"}))],
    cache_dir: shared.CacheFolderOption = None,
    cache_size: shared.CacheSizeOption = shared.CACHE_SIZE,
) -> None:
    """Repeat the whole published experiment.

    Every variant, horizon and fold is trained and scored, and a report is written. A table, also in results.csv and
    results.json, shows the mean and standard deviation of the test scores over the folds, and the published scores of
    single folds.

    After an interruption, run the same command again: finished folds are kept, and the others resume. If a batch queue
    stops it, the command saves and exits with code 143, as `train` does.

    Examples
    --------
    sffshards reproduce
        four variants, both horizons, five folds, into runs/
    sffshards reproduce --variants oTV --horizons 48h --folds 0,1
        two folds of one variant
    sffshards reproduce --protocol published
        as the authors' programs did
    sffshards reproduce --jobs 4
        four folds at a time, each on its own GPU
    sffshards reproduce --model mvit_tiny --epochs 3
        the small network, without a GPU
    """
    chosen_variants = shared.parse_choices("--variants", variants, Variant)
    chosen_folds = shared.parse_choices("--folds", folds, range(NUM_FOLDS))
    place = shared.place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    found = {manifest.task: folder for folder, manifest in read.load_builds(place).items()}
    builds = {task: found[task] for task in shared.parse_choices("--horizons", horizons, sorted(found))}
    is_remote = any(isinstance(build, read.RemoteFolder) for build in builds.values())
    choices["variant"] = chosen_variants[0]
    options = training.TrainingOptions.from_choices(choices, is_remote=is_remote)
    inference = runs.Inference(
        batch_size=options.batch_size,
        num_threads=options.num_threads,
        device=runs.choose_device("cpu" if options.accelerator == "cpu" else "auto"),
        check=options.check,
    )
    experiment = experiments.Experiment(
        builds=builds,
        variants=tuple(chosen_variants),
        folds=tuple(chosen_folds),
        options=options,
        inference=inference,
    )
    progress = make_progress() if training.is_first_process() else SILENT
    scores = experiments.reproduce(experiment, out, report=report, num_jobs=jobs, progress=progress)
    if scores:
        print(format_results(experiments.tabulate(scores)))
        print(f"{out}: results.csv and results.json hold this table, scores.csv of each run the scores of its folds")
