"""`sffshards train`: shards to trained folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sffshards.cli.option_records import with_options
from sffshards.cli.shared_options import (
    CACHE_SIZE,
    CacheFolderOption,
    CacheSizeOption,
    ForceOption,
    HorizonOption,
    ShardsOption,
    ThresholdOption,
    choose_build,
    parse_task_choice,
    place_of,
)
from sffshards.training import TrainingOptions

__all__ = ["EXAMPLES", "train"]

EXAMPLES = (
    ("sffshards train --variant oTV", "the published recipe, all five folds, into runs/48h/oTV/"),
    ("sffshards train --variant oTV --fold 0 --epochs 5", "one fold, five epochs"),
    ("sffshards train --model mvit_tiny --batch-size 8", "a small network, without a GPU"),
    ("sffshards train --shards s3://bucket/shards/48h", "remote shards, through a cache"),
    ("sffshards train --devices 4 --precision bf16-mixed", "four GPUs; each step has four times --batch-size clips"),
    ("srun sffshards train --num-nodes 2 --devices 4", "two Slurm nodes, four GPUs on each"),
)


@with_options(TrainingOptions, after="out")
def train(
    shards: ShardsOption = "shards",
    horizon: HorizonOption = None,
    threshold: ThresholdOption = None,
    fold: Annotated[
        str, typer.Option(help="Fold to train, 0 to 4; all: one after the other.", metavar="<all|0..4>")
    ] = ("all"),
    out: Annotated[
        Path, typer.Option(help="Folder for the runs; each fold has a subfolder, such as 48h/oTV/fold0.")
    ] = Path("runs"),
    cache_dir: CacheFolderOption = None,
    cache_size: CacheSizeOption = CACHE_SIZE,
    force: ForceOption = False,
    *,
    choices: dict[str, Any],
) -> None:
    """Train a network by the published recipe.

    The recipe is Adam on weighted cross-entropy: within each set, a class with n of N samples has the weight 1 - n/N.
    The learning rate is cut to a tenth after more than two epochs in a row without a lower validation loss. Training
    ends after ten such epochs in a row, or after --epochs.

    Finished folds are kept. A stopped fold resumes from its last checkpoint. The number of devices may change, as long
    as the product of --batch-size, --devices, --num-nodes and --accumulate stays the same.

    On SIGTERM or SIGUSR1, which batch queues send before a time limit, training saves after the current step and exits
    with code 143; the same command resumes it.
    """
    from sffshards.base.errors import InputError, format_count
    from sffshards.base.progress import SILENT
    from sffshards.cli.terminal_output import make_progress
    from sffshards.domain.sample_sets import NUM_FOLDS
    from sffshards.shards.read import RemoteFolder

    numbers = {str(k): [k] for k in range(NUM_FOLDS)} | {"all": list(range(NUM_FOLDS))}
    if fold not in numbers:
        raise InputError("--fold", expected="all, or 0 to 4", found=fold, fix="choose one")
    place = place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    build, manifest = choose_build(place, parse_task_choice(horizon, threshold))
    options = TrainingOptions.from_choices(choices, is_remote=isinstance(build, RemoteFolder))
    run = out / manifest.task.folder / options.variant

    from sffshards.training import is_first_process, train_folds

    is_first = is_first_process()  # every other device runs this same command silently
    progress = make_progress() if is_first else SILENT
    records = train_folds(build, run, options, folds=numbers[fold], force=force, progress=progress)
    if not is_first:
        return
    for record in records:
        best = record.best
        if best is not None:
            print(f"fold {record.fold}: valid_loss {best.valid_loss:.6f} after epoch {best.epoch}, {best.name}")
    print(f"{run}: {format_count(len(records), 'fold')} trained; score with `sffshards evaluate {run}`")
