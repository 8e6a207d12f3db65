"""`sffshards train`: shards to trained folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from sffshards import tabular, training
from sffshards.base.errors import format_count
from sffshards.base.option_fields import Option
from sffshards.base.progress import SILENT
from sffshards.cli import flare_options
from sffshards.cli import shared_options as shared
from sffshards.cli.command_options import OptionsOf
from sffshards.cli.terminal_output import make_progress, show
from sffshards.domain.sample_sets import NUM_FOLDS
from sffshards.shards import read

__all__ = ["train"]


def train(
    *,
    shards: shared.ShardsOption = "shards",
    horizon: shared.HorizonOption = None,
    threshold: shared.ThresholdOption = None,
    fold: Annotated[
        str, Option("Folds to train, one after the other: all, or numbers such as 0,2.", metavar="<all|0..4,...>")
    ] = "all",
    out: Annotated[Path, Option("Folder for the runs; each fold has a subfolder, such as 48h/oTV/fold0.")] = Path(
        "runs"
    ),
    recipe: shared.RecipeOption = "published",
    choices: Annotated[dict[str, Any], OptionsOf(training.TrainingOptions)],
    keywords: flare_options.KeywordsOption = None,
    flares: flare_options.FlaresOption = None,
    harp_map: flare_options.HarpMapOption = None,
    clock: flare_options.ClockOption = "as-written",
    cache_dir: shared.CacheFolderOption = None,
    cache_size: shared.CacheSizeOption = shared.CACHE_SIZE,
    force: shared.ForceOption = False,
) -> None:
    """Train a network, by default by the published recipe.

    That recipe is Adam on weighted cross-entropy: within each set, a class with n of N samples has the weight 1 - n/N.
    The learning rate is cut to a tenth after three epochs in a row without a lower validation loss. Training
    ends after ten such epochs in a row, or after --epochs.

    The options from --epochs to --precision and from --sampler to --missing-frames change the recipe. A file for
    --recipe sets them too, such as learning_rate = 1e-5 and loss = "focal" on lines of their own; options of the
    command line take precedence over the file. What cannot be combined is refused.

    With --inputs images,keywords, images,history or images,keywords,history, the network also takes numbers of each
    sample, from --keywords and from --flares and --harp-map. Missing ones are masked.

    Finished folds are kept. A stopped fold resumes from its last checkpoint; --accumulate must be the same as before,
    and so must the product of --batch-size, --devices and --num-nodes.

    On SIGTERM or SIGUSR1, which batch queues send before a time limit, training saves after the current step and exits
    with code 143; the same command resumes it.

    Examples
    --------
    sffshards train --variant oTV
        the published recipe, all five folds, into runs/48h/oTV/
    sffshards train --variant oTV --fold 0 --epochs 5
        one fold, five epochs
    sffshards train --recipe gentle.toml --lr 1e-6
        the recipe of a file, with another learning rate
    sffshards train --model mvit_tiny --batch-size 8
        a small network, without a GPU
    sffshards train --shards s3://bucket/shards/48h
        remote shards, through a cache
    sffshards train --inputs images,keywords --keywords keywords.csv.gz
        SHARP keywords of the last frame beside the images
    sffshards train --devices 4 --precision bf16-mixed
        four GPUs; each step uses 4 x --batch-size sequences
    srun sffshards train --num-nodes 2 --devices 4
        two Slurm nodes, four GPUs on each
    """
    folds = shared.parse_choices("--fold", fold, range(NUM_FOLDS))
    place = shared.place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    build, manifest = shared.choose_build(place, shared.parse_task_choice(horizon, threshold))
    is_remote = isinstance(build, read.RemoteFolder)
    options = training.TrainingOptions.from_choices(choices, is_remote=is_remote, recipe=recipe)
    run = out / manifest.task.folder / options.variant
    is_first = training.is_first_process(options)  # every other device runs this same command silently
    progress = make_progress() if is_first else SILENT
    catalogue, table = flare_options.read_sources(
        flares, harp_map, keywords, tasks=[manifest.task], clock=clock, progress=progress
    )
    sources = tabular.NumberSources(keywords=table, flares=catalogue)
    others = "leave it out, or choose {inputs} that have it"
    sources.refuse_others(options.inputs, where="the network", fix=others)
    records = training.train_folds(build, run, options, folds=folds, force=force, sources=sources, progress=progress)
    if not is_first:
        return
    for record in records:
        if best := record.best:
            show(f"fold {record.fold}: valid_loss {best.valid_loss:.6f} after epoch {best.epoch}, {best.name}")
    show(f"{run}: {format_count(len(records), 'fold')} trained; score with `sffshards evaluate {run}`")
