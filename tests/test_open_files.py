"""Work on many shards by processes that may have few files open, and memory for batches larger than their set."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Part, Stage
from sffshards.domain.task import M48
from sffshards.executors.local_executor import LocalExecutor
from sffshards.forecasting.runs import network_prediction
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.labels.data_layout import find_data
from sffshards.loading.datamodule import ShardDataModule
from sffshards.loading.loading_options import Engine
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.build_verification import verify_build, verify_build_deep
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.read.build_reader import open_build
from sffshards.training import fold_training
from sffshards.training.fold_training import train_fold
from tests.commands import call
from tests.training_data import FastNetwork, fast_options


def under_limit(num_files: int, function: Callable[..., Any], *args: object) -> Any:
    """Return what a function returns in a new process that may have so many files open."""
    return call(_limited, num_files, function, *args)


def _limited(num_files: int, function: Callable[..., object], *args: object) -> object:
    resource.setrlimit(resource.RLIMIT_NOFILE, (num_files, num_files))
    return function(*args)


def make_lists(folder: Path, per_part: int) -> Path:
    """Make grey images, and 48h lists of four regions a part of which two flare; with 80 rows a part, 1,120 samples."""
    images, lists = folder / "magnetogram_jpg", folder / "M48"
    images.mkdir(parents=True)
    lists.mkdir()
    for position, part in enumerate(Part):
        lines = []
        for number in range(per_part):
            harp, time = (
                100 * (position + 1) + number % 4,
                datetime(2011, 2, 13) + timedelta(minutes=96 * (number // 4)),
            )
            name = f"hmi.sharp_720s.{harp}.{time:%Y%m%d_%H%M%S}_TAI.magnetogram"
            grey = np.full((24, 24), (7 * number + harp) % 250, np.uint8)
            Image.fromarray(grey).save(images / f"{name}.fits.jpg")
            lines.append(f"{name} {harp % 2}\n")
        (lists / f"flare_Mclass_48h_{part}.txt").write_text("".join(lines))
    return folder


def build_small_shards(data: Path, out: Path, workers: int) -> int:
    """Build shards of one sample each, twice, and verify them; give their number."""
    options = BuildOptions(task=M48, codec=CodecName.JPG, seed=0, shard_size_bytes=1, skip_bad_images=False)
    layout = find_data(data)
    with LocalExecutor(workers) as executor:
        for _ in range(2):  # the second time, all are checked and kept
            report = build_shards(layout, options, out=out, store_folder=out.parent / "frames", executor=executor)
        assert report.num_written == 0
        assert verify_build(out, executor=executor) == []
    return len(report.manifest.shards)


def train_on(shards: Path, run: Path, engine: str, variant: str) -> int:
    """Train and evaluate; give the number of shards of the training set."""
    for module in (fold_training, network_prediction):
        vars(module)["build_model"] = lambda *_, **__: FastNetwork()
    options = fast_options(max_epochs=1, engine=engine, variant=variant, batch_size=64, num_threads=2)
    train_fold(shards, run / "fold0", options, fold=0, force=False, progress=SILENT)
    evaluate_run(run, shards, folds=None, inference=inference(64), force=False, progress=SILENT)
    assert (run / "scores.csv").is_file()
    with open_build(shards) as build:
        rows = build.set_rows(options.sample_set(Stage.TRAIN, fold=0))
        return len(set(build.row_shards(rows).shards_N.tolist()))


def read_many_modules(shards: Path, num_modules: int) -> int:
    """Read training sets by several data modules that stay open; give the number of open files."""
    modules = [ShardDataModule(shards, fast_options(), fold=number % 5) for number in range(num_modules)]
    for module in modules:
        assert sum(int(batch.mask_B.sum()) for batch in module.train_dataloader()) == 40
    return len(os.listdir("/proc/self/fd"))


def verify_deep(data: Path, shards: Path) -> list[str]:
    return [str(error) for error in verify_build_deep(shards, find_data(data))]


def sum_in_workers(num_workers: int) -> int:
    with LocalExecutor(num_workers) as executor:
        return sum(executor.run(abs, range(-40, 0)))


def inference(batch_size: int) -> Inference:
    return Inference(batch_size=batch_size, num_threads=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lists(tmp_path_factory.mktemp("limits") / "data", 10)


@pytest.fixture(scope="module")
def small(data: Path) -> Path:
    """A build of 210 shards of one sample each."""
    out = data.parent / "shards" / "48h"
    assert build_small_shards(data, out, 0) == 210
    return out


class TestOpenFiles:
    @pytest.mark.parametrize(
        "workers", [pytest.param(0, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.slow)]
    )
    def test_a_build_has_more_shards_than_a_process_may_have_files_open(
        self, data: Path, tmp_path: Path, workers
    ) -> None:
        assert under_limit(64, build_small_shards, data, tmp_path / "shards" / "48h", workers) == 210

    @pytest.mark.parametrize(
        "engine",
        [pytest.param(Engine.PLAN, marks=pytest.mark.slow), pytest.param(Engine.CLASSIC, marks=pytest.mark.long)],
    )
    def test_so_has_a_training_set(self, small: Path, tmp_path: Path, engine: Engine) -> None:
        assert under_limit(64, train_on, small, tmp_path / "run", str(engine), "oTV") == 140

    @pytest.mark.slow
    def test_so_has_a_build_that_is_compared_with_its_images(self, data: Path, small: Path) -> None:
        assert under_limit(32, verify_deep, data, small) == []

    @pytest.mark.slow
    def test_several_data_modules_share_what_a_process_may_have_open(self, small: Path) -> None:
        assert under_limit(64, read_many_modules, small, 12) < 64

    @pytest.mark.slow
    def test_more_workers_than_a_process_may_have_files_open(self) -> None:
        assert under_limit(64, sum_in_workers, 200) == 820

    @pytest.mark.long
    def test_1092_shards_are_built_under_1024_open_files_and_trained_on_under_256(self, tmp_path: Path) -> None:
        data, shards = make_lists(tmp_path / "data", 52), tmp_path / "shards" / "48h"
        assert under_limit(1024, build_small_shards, data, shards, 2) == 1092
        for engine in Engine:
            assert under_limit(256, train_on, shards, tmp_path / engine, str(engine), "oTV") > 336


class TestLargeBatches:
    @pytest.mark.slow
    @pytest.mark.parametrize("engine", list(Engine))
    def test_a_batch_larger_than_its_set_takes_the_memory_of_the_set(self, small: Path, engine: Engine) -> None:
        module = ShardDataModule(small, fast_options(batch_size=10**9, engine=engine), fold=0)
        for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
            (batch,) = loader
            assert batch.clips_BTHW.shape == (int(batch.mask_B.sum()), 16, 224, 224)

    def test_so_does_a_batch_of_predictions(self, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fold_training, "build_model", lambda *_, **__: FastNetwork())
        monkeypatch.setattr(network_prediction, "build_model", lambda *_, **__: FastNetwork())
        options = replace(fast_options(max_epochs=1), batch_size=10**9)
        train_fold(small, tmp_path / "fold0", options, fold=0, force=False, progress=SILENT)
        evaluate_run(tmp_path, small, folds=None, inference=inference(10**9), force=False, progress=SILENT)
        assert (tmp_path / "scores.csv").is_file()
