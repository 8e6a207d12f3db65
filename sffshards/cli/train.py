"""`sffshards train`: shards to trained folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.cli.shared_options import (
    CACHE_SIZE,
    CacheFolderOption,
    CacheSizeOption,
    CheckOption,
    ForceOption,
    HorizonOption,
    ProtocolOption,
    SeedOption,
    ShardsOption,
    ThresholdOption,
    VariantOption,
    choose_build,
    parse_task_choice,
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
from sffshards.loading import Engine, Shuffle, ViewSource
from sffshards.models import Attention, ModelName
from sffshards.shards.read import CheckLevel
from sffshards.training import LoggerName, Precision, Strategy

__all__ = ["EXAMPLES", "train"]

EXAMPLES = (
    ("sffshards train --variant oTV", "the published recipe, all five folds, into runs/48h/oTV/"),
    ("sffshards train --variant oTV --fold 0 --epochs 5", "one fold, for a look"),
    ("sffshards train --model mvit_tiny --batch-size 8", "a small network, without a GPU"),
    ("sffshards train --shards s3://bucket/shards/48h", "shards from elsewhere, through a cache"),
    ("sffshards train --devices 4 --precision bf16-mixed", "four GPUs; a step then takes four times --batch-size"),
    ("srun sffshards train --num-nodes 2 --devices 4", "two nodes of Slurm, four GPUs on each"),
)


def train(
    shards: ShardsOption = "shards",
    horizon: HorizonOption = None,
    threshold: ThresholdOption = None,
    variant: VariantOption = Variant.BASE,
    fold: Annotated[str, typer.Option(help="0 to 4, or all, one after the other.", metavar="<all|0..4>")] = "all",
    out: Annotated[Path, typer.Option(help="Folder that gets HORIZON/VARIANT/fold0..4/.")] = Path("runs"),
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
    num_nodes: NodesOption = 1,
    strategy: StrategyOption = Strategy.AUTO,
    logger: LoggerOption = LoggerName.TENSORBOARD,
    threads: ThreadsOption = 2,
    views: Annotated[
        ViewSource,
        typer.Option(
            help="Oversampled views: stored: from their shards. device: made where the network runs, from the plain "
            "samples, which is less to read; the same pixels under npy."
        ),
    ] = ViewSource.STORED,
    shuffle: Annotated[
        Shuffle | None,
        typer.Option(
            help="Order of the training set. global: all of it at random. blocks: at random within blocks of shards "
            "drawn at random, so that few shards are needed at a time. none: as it lies.  "
            "[default: global, or blocks where the shards are elsewhere]",
            show_default=False,
        ),
    ] = None,
    block_shards: Annotated[int, typer.Option(min=1, help="Shards a block, at least, for --shuffle blocks.")] = 10,
    cache_dir: CacheFolderOption = None,
    cache_size: CacheSizeOption = CACHE_SIZE,
    engine: Annotated[
        Engine,
        typer.Option(
            help="What reads the training set. plan: every sample once an epoch, on any number of devices. classic: "
            "the stock WebDataset reader, as a baseline: shards in turn, through a buffer of 1,000 samples, without "
            "--threads. On several devices some samples then come twice in an epoch, and others not at all; and a run "
            "that was stopped does its last epoch again from the start."
        ),
    ] = Engine.PLAN,
    check: CheckOption = CheckLevel.FULL,
    save_steps: SaveStepsOption = 500,
    protocol: ProtocolOption = Protocol.PAPER,
    seed: SeedOption = 123,
    force: ForceOption = False,
) -> None:
    """Train on the sets of a variant by the published recipe, fold by fold.

    Adam, cross-entropy with class weights 1 - n/N of each set, learning rate cut to a tenth after two epochs without a
    lower validation loss, end after ten. A fold that is done is kept; one that was stopped goes on where it was last
    saved, on any number of devices as long as --batch-size x --devices x --num-nodes stays the same.

    On SIGTERM or SIGUSR1, as queues send them before a time limit, it saves after the step that it is at, and ends with
    exit code 143; the same command goes on from there.
    """
    from sffshards.base.errors import InputError
    from sffshards.base.progress import SILENT
    from sffshards.cli.terminal_output import make_progress
    from sffshards.domain.sample_sets import NUM_FOLDS
    from sffshards.shards.read import RemoteFolder

    numbers = {str(k): [k] for k in range(NUM_FOLDS)} | {"all": list(range(NUM_FOLDS))}
    if fold not in numbers:
        raise InputError("--fold", expected="all, or 0 to 4", found=fold, fix="choose one")
    build, manifest = choose_build(
        place_of(shards, cache_dir=cache_dir, cache_size=cache_size), parse_task_choice(horizon, threshold)
    )
    run = out / manifest.task.folder / variant
    if shuffle is None:
        in_blocks = isinstance(build, RemoteFolder) and engine is Engine.PLAN
        shuffle = Shuffle.BLOCKS if in_blocks else Shuffle.GLOBAL

    from sffshards.training import TrainingOptions, is_first_process, train_folds

    options = TrainingOptions(
        variant=variant,
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
        views=views,
        shuffle=shuffle,
        block_shards=block_shards,
        engine=engine,
        check=check,
        save_every_steps=save_steps,
        seed=seed,
    )
    is_first = is_first_process()  # every further device runs this same command, and is silent
    progress = make_progress() if is_first else SILENT
    records = train_folds(build, run, options, folds=numbers[fold], force=force, progress=progress)
    if not is_first:
        return
    for record in records:
        best = record.best
        if best is not None:
            print(f"fold {record.fold}: valid_loss {best.valid_loss:.6f} after epoch {best.epoch}, {best.name}")
    print(f"{run}: {len(records)} folds trained; score them with `sffshards evaluate {run}`")
