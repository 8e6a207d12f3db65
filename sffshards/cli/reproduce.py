"""`sffshards reproduce`: the whole published experiment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from sffshards.base.errors import InputError
from sffshards.cli.shared_options import (
    CACHE_SIZE,
    CacheFolderOption,
    CacheSizeOption,
    CheckOption,
    ProtocolOption,
    SeedOption,
    ShardsOption,
    place_of,
)
from sffshards.cli.training_options import (
    AcceleratorOption,
    AccumulateOption,
    AttentionOption,
    BatchSizeOption,
    CompileOption,
    DevicesOption,
    EpochsOption,
    LoggerOption,
    ModelOption,
    NodesOption,
    PrecisionOption,
    RateOption,
    SaveStepsOption,
    StrategyOption,
    ThreadsOption,
    WeightsOption,
)
from sffshards.domain.sample_sets import Protocol, Variant
from sffshards.loading import Shuffle
from sffshards.models import Attention, ModelName
from sffshards.shards.read import CheckLevel
from sffshards.training import LoggerName, Precision, Strategy

if TYPE_CHECKING:
    from sffshards.experiments import ResultRow

__all__ = ["EXAMPLES", "reproduce"]

EXAMPLES = (
    ("sffshards reproduce", "four variants, both horizons, five folds, into runs/"),
    ("sffshards reproduce --variants oTV --horizons 48h --folds 0,1", "some of it"),
    ("sffshards reproduce --protocol published", "as the authors' programs did"),
    ("sffshards reproduce --jobs 4", "four folds at a time, each on a GPU of its own"),
    ("sffshards reproduce --model mvit_tiny --epochs 3", "the small network, without a GPU"),
)

_T = TypeVar("_T")


def reproduce(
    shards: ShardsOption = "shards",
    variants: Annotated[
        str, typer.Option(help="all, or some of base, oT, oTV and oTV_Test, with commas between.", metavar="<list>")
    ] = "all",
    horizons: Annotated[str, typer.Option(help="all that have shards, or some: 24h,C48.", metavar="<list>")] = "all",
    folds: Annotated[str, typer.Option(help="all, or some of 0 to 4, with commas between.", metavar="<list>")] = "all",
    out: Annotated[Path, typer.Option(help="Folder that gets HORIZON/VARIANT/fold0..4/ and the table.")] = Path("runs"),
    report: Annotated[Path, typer.Option(help="Folder that gets the report.")] = Path("report"),
    model: ModelOption = ModelName.MVIT_V2_S,
    weights: WeightsOption = None,
    epochs: EpochsOption = 100,
    batch_size: BatchSizeOption = 10,
    accumulate: AccumulateOption = 1,
    lr: RateOption = None,
    precision: PrecisionOption = Precision.FLOAT32,
    attention: AttentionOption = Attention.FUSED,
    compile_network: CompileOption = False,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = 1,
    jobs: Annotated[
        int,
        typer.Option(min=1, help="Folds to train at a time, each on one device; the published batch stays as it is."),
    ] = 1,
    num_nodes: NodesOption = 1,
    strategy: StrategyOption = Strategy.AUTO,
    logger: LoggerOption = LoggerName.TENSORBOARD,
    threads: ThreadsOption = 2,
    cache_dir: CacheFolderOption = None,
    cache_size: CacheSizeOption = CACHE_SIZE,
    check: CheckOption = CheckLevel.FULL,
    save_steps: SaveStepsOption = 500,
    protocol: ProtocolOption = Protocol.PAPER,
    seed: SeedOption = 123,
) -> None:
    """Train and score every variant, horizon and fold of the published experiment; end with its table and the report.

    What is done is kept, and what was cut off goes on: after any interruption, give the same command again. It ends as
    `train` does where a queue stops it, with exit code 143. The table, mean and deviation over the folds of the test
    scores beside what was published of single folds, is written to results.csv and results.json too.
    """
    from sffshards.shards.read import RemoteFolder, load_builds

    chosen_variants = parse_choices("--variants", variants, Variant)
    chosen_folds = parse_choices("--folds", folds, range(5))
    place = place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    there = {manifest.task: folder for folder, manifest in load_builds(place).items()}
    builds = {task: there[task] for task in parse_choices("--horizons", horizons, sorted(there))}
    from_elsewhere = any(isinstance(build, RemoteFolder) for build in builds.values())

    from sffshards.base.progress import SILENT
    from sffshards.cli.terminal_output import make_progress
    from sffshards.experiments import reproduce as reproduce_all
    from sffshards.experiments import tabulate
    from sffshards.forecasting.runs import Inference, choose_device
    from sffshards.training import TrainingOptions, is_first_process

    options = TrainingOptions(
        variant=chosen_variants[0],
        protocol=protocol,
        model=model,
        weights=model.default_weights if weights is None else weights,
        max_epochs=epochs,
        batch_size=batch_size,
        learning_rate=model.default_learning_rate if lr is None else lr,
        precision=precision,
        attention=attention,
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        accumulate=accumulate,
        compile_network=compile_network,
        logger=logger,
        num_threads=threads,
        shuffle=Shuffle.BLOCKS if from_elsewhere else Shuffle.GLOBAL,
        check=check,
        save_every_steps=save_steps,
        seed=seed,
    )
    device = choose_device("cpu" if accelerator == "cpu" else "auto")
    scores = reproduce_all(
        builds,
        out,
        options,
        variants=chosen_variants,
        folds=chosen_folds,
        inference=Inference(batch_size=batch_size, num_threads=threads, device=device, check=check),
        report=report,
        num_jobs=jobs,
        progress=make_progress() if is_first_process() else SILENT,
    )
    if scores:
        print(format_results(tabulate(scores)))
        print(f"{out}: results.csv and results.json hold this table, and each run's scores.csv those of its folds")


def parse_choices(option: str, text: str, choices: Iterable[_T]) -> list[_T]:
    """Take ``all``, or some choices with commas between, each once and in the order of ``choices``."""
    known = {str(choice): choice for choice in choices}
    asked = list(known) if text == "all" else [name.strip() for name in text.split(",")]
    unknown = [name for name in asked if name not in known]
    if unknown:
        expected = f"all, or some of {', '.join(known)}"
        raise InputError(option, expected=expected, found=repr(unknown[0]), fix="put commas between")
    return [choice for name, choice in known.items() if name in asked]


def format_results(rows: list[ResultRow]) -> str:
    """Lay out the table: a line for each run, and below it what was published of one fold."""
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
