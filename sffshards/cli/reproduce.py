"""`sffshards reproduce`: the whole published experiment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sffshards.base.errors import InputError
from sffshards.cli.option_records import with_options
from sffshards.cli.shared_options import CACHE_SIZE, CacheFolderOption, CacheSizeOption, ShardsOption, place_of
from sffshards.domain.sample_sets import Variant
from sffshards.training import TrainingOptions

if TYPE_CHECKING:
    from sffshards.experiments import ResultRow

__all__ = ["EXAMPLES", "reproduce"]

EXAMPLES = (
    ("sffshards reproduce", "four variants, both horizons, five folds, into runs/"),
    ("sffshards reproduce --variants oTV --horizons 48h --folds 0,1", "two folds of one variant"),
    ("sffshards reproduce --protocol published", "as the authors' programs did"),
    ("sffshards reproduce --jobs 4", "four folds at a time, each on its own GPU"),
    ("sffshards reproduce --model mvit_tiny --epochs 3", "the small network, without a GPU"),
)

_T = TypeVar("_T")


@with_options(TrainingOptions, after="report", without=("variant",))
def reproduce(
    shards: ShardsOption = "shards",
    variants: Annotated[
        str,
        typer.Option(help="Variants: all, or a comma-separated list such as oT,oTV.", metavar="<list>"),
    ] = "all",
    horizons: Annotated[
        str,
        typer.Option(help="Tasks: all that have shards, or a comma-separated list such as 24h,C48.", metavar="<list>"),
    ] = "all",
    folds: Annotated[
        str, typer.Option(help="Folds: all, or a comma-separated list such as 0,1.", metavar="<list>")
    ] = "all",
    jobs: Annotated[
        int,
        typer.Option(min=1, help="Number of folds to train at a time, each on one device with the full batch size."),
    ] = 1,
    out: Annotated[
        Path, typer.Option(help="Folder for the table and the runs; each fold has a subfolder, such as 48h/oTV/fold0.")
    ] = Path("runs"),
    report: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("report"),
    cache_dir: CacheFolderOption = None,
    cache_size: CacheSizeOption = CACHE_SIZE,
    *,
    choices: dict[str, Any],
) -> None:
    """Repeat the whole published experiment.

    Every variant, horizon and fold is trained and scored, and a report is written. A table, also in results.csv and
    results.json, shows the mean and standard deviation of the test scores over the folds, and the published scores of
    single folds.

    After an interruption, run the same command again: finished folds are kept, and the others resume. If a batch queue
    stops it, the command saves and exits with code 143, as `train` does.
    """
    from sffshards.shards.read import RemoteFolder, load_builds

    chosen_variants = parse_choices("--variants", variants, Variant)
    chosen_folds = parse_choices("--folds", folds, range(5))
    place = place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    found = {manifest.task: folder for folder, manifest in load_builds(place).items()}
    builds = {task: found[task] for task in parse_choices("--horizons", horizons, sorted(found))}
    is_remote = any(isinstance(build, RemoteFolder) for build in builds.values())
    options = TrainingOptions.from_choices({"variant": chosen_variants[0], **choices}, is_remote=is_remote)

    from sffshards.base.progress import SILENT
    from sffshards.cli.terminal_output import make_progress
    from sffshards.experiments import Experiment, tabulate
    from sffshards.experiments import reproduce as reproduce_all
    from sffshards.forecasting.runs import Inference, choose_device
    from sffshards.training import is_first_process

    device = choose_device("cpu" if options.accelerator == "cpu" else "auto")
    inference = Inference(
        batch_size=options.batch_size, num_threads=options.num_threads, device=device, check=options.check
    )
    experiment = Experiment(
        builds=builds,
        variants=tuple(chosen_variants),
        folds=tuple(chosen_folds),
        options=options,
        inference=inference,
    )
    progress = make_progress() if is_first_process() else SILENT
    scores = reproduce_all(experiment, out, report=report, num_jobs=jobs, progress=progress)
    if scores:
        print(format_results(tabulate(scores)))
        print(f"{out}: results.csv and results.json hold this table, scores.csv of each run the scores of its folds")


def parse_choices(option: str, text: str, choices: Iterable[_T]) -> list[_T]:
    """Parse ``all`` or a comma-separated list of choices; return each once, in the order of ``choices``."""
    known = {str(choice): choice for choice in choices}
    asked = list(known) if text == "all" else [name.strip() for name in text.split(",")]
    unknown = [name for name in asked if name not in known]
    if unknown:
        expected = f"all, or some of {', '.join(known)}"
        raise InputError(option, expected=expected, found=repr(unknown[0]), fix="separate them by commas")
    return [choice for name, choice in known.items() if name in asked]


def format_results(rows: list[ResultRow]) -> str:
    """Return the table as text: a line for each run, and below it the published scores of one fold."""
    from sffshards.cli.terminal_output import format_table
    from sffshards.verification import PUBLISHED_SCORES, compute_score, format_score

    lines = []
    for row in rows:
        cells = [_format_mean(row.mean[name], row.deviation[name]) for name in PUBLISHED_SCORES]
        lines.append([str(row.task), row.variant, _format_folds(row.folds), *cells])
        if row.published:
            values = [format_score(compute_score(name, row.published.table)) for name in PUBLISHED_SCORES]
            lines.append(["", "", f"published, fold {row.published.fold}", *values])
    header = ["horizon", "variant", "test scores of", *PUBLISHED_SCORES]
    return format_table(header, lines, left=(0, 1, 2))


def _format_mean(mean: float, deviation: float) -> str:
    from sffshards.verification import format_score

    shown = format_score(mean)
    return shown if deviation != deviation else f"{shown} \u00b1 {format_score(deviation)}"  # noqa: PLR0124  nan


def _format_folds(folds: tuple[int, ...]) -> str:
    return f"fold{'s' if len(folds) > 1 else ''} {', '.join(str(fold) for fold in folds)}"
