"""The main job on made data, from images to scores, small enough for two processor cores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Protocol, Variant
from sffshards.domain.task import M48
from sffshards.labels import find_data
from sffshards.models import ModelName
from sffshards.shards.build import BuildOptions, BuildReport, build_shards
from sffshards.shards.format import CodecName
from sffshards.synth import SynthReport, synthesize

if TYPE_CHECKING:
    from sffshards.forecasting.runs import RunScores

__all__ = ["DemoReport", "run_demo"]

HORIZON = M48
VARIANT = Variant.BASE
FOLD = 0
NUM_HARPS = 12
FRAMES_PER_HARP = 10
MAX_EPOCHS = 3
BATCH_SIZE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoReport:
    """What the demo made."""

    data: SynthReport
    build: BuildReport
    scores: RunScores


def run_demo(out: Path, *, seed: int, workers: int, progress: Progress) -> DemoReport:
    """Make data, build shards, train a small network on one fold, and score it.

    Run again, it goes on where it was, and keeps what is done.

    Parameters
    ----------
    out
        Folder that gets ``data/``, ``shards/`` and ``runs/``.
    seed
        Of the data and of the training.
    workers
        Processes that make and build.
    progress
        Told how far the work is.

    Raises
    ------
    ConflictError
        If ``out`` holds something else.
    """
    data = synthesize(
        out / "data",
        seed=seed,
        num_harps=NUM_HARPS,
        frames_per_harp=FRAMES_PER_HARP,
        workers=workers,
        progress=progress,
    )
    options = BuildOptions(
        task=HORIZON, codec=CodecName.JPG, seed=seed, shard_size_bytes=128_000_000, skip_bad_images=False
    )
    folder = out / "shards" / HORIZON.folder
    report = build_shards(
        find_data(out / "data"),
        options,
        out=folder,
        store_folder=out / "shards" / "frames",
        workers=workers,
        force=False,
        progress=progress,
    )
    return DemoReport(data=data, build=report, scores=_train_and_score(out, folder, seed=seed, progress=progress))


def _train_and_score(out: Path, build: Path, *, seed: int, progress: Progress) -> RunScores:
    import torch

    from sffshards.forecasting.runs import Inference, evaluate_run
    from sffshards.training import TrainingOptions, train_folds

    options = TrainingOptions(
        variant=VARIANT,
        protocol=Protocol.PAPER,
        model=ModelName.MVIT_TINY,
        weights=ModelName.MVIT_TINY.default_weights,
        max_epochs=MAX_EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=ModelName.MVIT_TINY.default_learning_rate,
        accelerator="cpu",
        seed=seed,
    )
    run = out / "runs" / HORIZON.folder / VARIANT
    train_folds(build, run, options, folds=[FOLD], force=False, progress=progress)
    inference = Inference(batch_size=BATCH_SIZE, num_threads=options.num_threads, device=torch.device("cpu"))
    return evaluate_run(run, build, folds=[FOLD], inference=inference, force=False, progress=progress)
