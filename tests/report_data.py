"""Runs as training and evaluation leave them, with made predictions, so that no network is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import PUBLISHED_TASKS
from sffshards.forecasting.runs.predictions_table import build_predictions, predictions_path, write_predictions
from sffshards.labels.data_layout import find_data
from sffshards.models.model_names import ModelName
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.read.build_reader import Build, open_build
from sffshards.training.class_counts import stage_weights
from sffshards.training.fold_record import FoldRecord, SavedCheckpoint, fold_folder, write_record
from sffshards.training.training_config import TrainingOptions
from tests.tiny import make_data

VARIANTS = (Variant.BASE, Variant.OTV)
FOLDS = (0, 3)


def make_builds(folder: Path) -> Path:
    """Build both horizons of a data set of four regions a part, half of which flare."""
    data = find_data(make_data(folder / "data", harps_per_part=4, frames_per_harp=6))
    for task in PUBLISHED_TASKS:
        options = BuildOptions(task=task, codec=CodecName.NPY, seed=0, shard_size_bytes=1 << 24, skip_bad_images=False)
        out, store = folder / "shards" / task.folder, folder / "frames"
        build_shards(data, options, out=out, store_folder=store, force=False, progress=SILENT)
    return folder / "shards"


def make_runs(shards: Path, folder: Path, *, variants: Sequence[Variant] = VARIANTS) -> Path:
    """Make runs of both horizons on builds: two folds each, with forecasts that are right more often than not."""
    for task in PUBLISHED_TASKS:
        with open_build(shards / task.folder) as build:
            for number, variant in enumerate(variants):
                for fold in FOLDS:
                    _make_fold(
                        build, fold_folder(folder / task.folder / variant, fold), variant, fold=fold, seed=number
                    )
    return folder


def _make_fold(build: Build, folder: Path, variant: Variant, *, fold: int, seed: int) -> None:
    sets = {stage: SampleSet(variant=variant, stage=stage, fold=fold, protocol=Protocol.PAPER) for stage in Stage}
    rng = np.random.default_rng([seed, fold])
    for stage, samples in sets.items():
        rows = build.set_rows(samples)
        logits = 4.0 * build.index["label"][rows] - 2 + rng.normal(0, 1.6, len(rows))
        write_predictions(predictions_path(folder, stage), build_predictions(build, rows, 1 / (1 + np.exp(-logits))))
    lines = ["epoch,step,train_loss,train_accuracy,valid_loss,valid_accuracy,next_learning_rate"]
    lines += [f"{epoch},{10 * epoch},{0.5 / (1 + epoch)},0.9,{0.6 / (1 + epoch)},0.8,1e-07" for epoch in range(3)]
    (folder / "metrics.csv").write_text("\n".join([*lines, ""]))
    record = FoldRecord(
        task=build.manifest.task,
        fold=fold,
        manifest_sha256=build.manifest.sha256,
        weights_sha256=None,
        options=TrainingOptions(
            variant=variant, protocol=Protocol.PAPER, model=ModelName.MVIT_TINY, weights="none", learning_rate=3e-4
        ),
        class_counts={stage: stage_weights(build.manifest, samples) for stage, samples in sets.items()},
        versions={"torch": "2.11.0"},
        num_epochs=3,
        checkpoints=(SavedCheckpoint(name="best.ckpt", epoch=2, valid_loss=0.2, sha256="cd" * 32),),
        finished=True,
    )
    write_record(folder, record)
