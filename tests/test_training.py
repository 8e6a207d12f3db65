"""The published recipe, and folds that are trained, skipped, broken off and gone on with."""

from __future__ import annotations

import csv
import json
import math
import os
import resource
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_utilities.core.rank_zero import rank_zero_only
from torch.nn import functional

from sffshards.base.errors import (
    ConflictError,
    DamageError,
    FormatError,
    InputError,
    SffshardsError,
    StorageError,
    TrainingError,
)
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_sequences import PUBLISHED_WINDOWS
from sffshards.domain.sample_sets import Kind, Part, Protocol, SampleSet, Stage, Variant, format_group
from sffshards.domain.task import M24, M48, Task
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.loading.clip_batches import ClipBatch
from sffshards.loading.datamodule import ShardDataModule
from sffshards.loading.loading_options import Engine
from sffshards.models.model_names import Attention, ModelName
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.format.manifest import BuildInputs, Group, Manifest, Shard, SourceList
from sffshards.training import class_counts
from sffshards.training.checkpoint_files import AtomicCheckpoints, format_checkpoint_name
from sffshards.training.class_counts import StageWeights, stage_weights
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_checkpoints import FoldKeeper, check_folder
from sffshards.training.fold_record import (
    FoldRecord,
    SavedCheckpoint,
    read_record,
    write_record,
)
from sffshards.training.fold_training import train_fold, train_folds
from sffshards.training.optimisation import sample_losses, weigh_losses
from sffshards.training.recipe import ClassWeights, Precision
from sffshards.training.trainer_setup import quiet_lightning
from sffshards.training.training_config import LoggerName, TrainingOptions
from tests.tiny import digest_tree
from tests.training_data import FastNetwork, Listener, SpreadNetwork, fast_options, make_build, rewrite_record

# Positives of the published parts, TrainVal0 to 4 and Test; all have 10,000 rows but Test, and begin with a negative.
POSITIVES = {M24: (227, 247, 95, 498, 258, 195), M48: (396, 429, 267, 809, 523, 413)}
ROWS = (10_000,) * 5 + (9_384,)

MakeNetwork = Callable[..., FastNetwork]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("training"))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> MakeNetwork:
    """Train `FastNetwork` in place of MViT; a call says at which step the next one fails, and how."""
    failing: dict[str, object] = {}

    def build_fast(*_: object, **__: object) -> FastNetwork:
        network = FastNetwork()
        for name, value in failing.items():
            setattr(network, name, value)
        return network

    def fail(**how: object) -> None:
        failing.clear()
        failing.update(how)

    monkeypatch.setattr("sffshards.training.fold_training.build_model", build_fast)
    return fail  # type: ignore[return-value]


def published_manifest(task: Task) -> Manifest:
    groups, shards = {}, []
    for part, rows, positives in zip(Part, ROWS, POSITIVES[task], strict=True):
        sizes = {"base": (rows, positives), "over": (5 * positives, 5 * positives)}
        for kind, (num_samples, num_positive) in sizes.items():
            name = f"{part}/{task.name}-{part}-{kind}-00000.tar"
            shards.append(Shard(name=name, num_samples=num_samples, size_bytes=0, sha256="00" * 32))
            groups[f"{part}/{kind}"] = Group(
                num_samples=num_samples, num_positive=num_positive, first_label=0, shards=(name,)
            )
    inputs = BuildInputs(
        program_version="0",
        task=task,
        codec=CodecName.JPG,
        encoder="",
        seed=0,
        shard_size_bytes=1,
        windows=PUBLISHED_WINDOWS,
        lists={part: SourceList(name=f"{part}.txt", sha256="00" * 32, num_rows=0) for part in Part},
        image_options={},
        num_images=0,
        images_sha256="",
        skipped_frames={},
    )
    return Manifest(
        inputs=inputs,
        num_skipped_sequences=0,
        num_short_sequences=0,
        shards=tuple(shards),
        groups=groups,
        index_size_bytes=0,
        index_sha256="",
    )


def fit(
    build: Path,
    out: Path,
    options: TrainingOptions,
    *,
    force: bool = False,
    progress: Progress = SILENT,
) -> FoldRecord:
    return train_fold(build, out, options, fold=0, force=force, progress=progress)


def read_metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return state


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_same_run(a: Path, b: Path) -> None:
    assert read_metrics(a) == read_metrics(b)
    assert all(torch.equal(value, last_weights(b)[name]) for name, value in last_weights(a).items())
    assert sorted(p.name for p in a.glob("*.ckpt")) == sorted(p.name for p in b.glob("*.ckpt"))
    assert read_record(a).checkpoints == read_record(b).checkpoints
    assert digest_tree(a)["last.ckpt"] == digest_tree(b)["last.ckpt"]


# Recipe -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "variant", "fold", "stage", "protocol", "expected"),
    [
        # The two sets whose published counts are known.
        (M24, Variant.BASE, 3, Stage.TRAIN, Protocol.PUBLISHED, (29_016, 983)),
        (M24, Variant.OT, 0, Stage.TRAIN, Protocol.PUBLISHED, (29_430, 3_414)),
        # By hand from the counts of the parts.
        (M24, Variant.BASE, 3, Stage.TRAIN, Protocol.PAPER, (38_770, 1_230)),
        (M24, Variant.BASE, 3, Stage.VAL, Protocol.PUBLISHED, (9_904, 95)),
        (M24, Variant.OTV, 0, Stage.VAL, Protocol.PAPER, (9_742, 1_548)),
        (M48, Variant.BASE, 1, Stage.TRAIN, Protocol.PAPER, (37_972, 2_028)),
        (M48, Variant.BASE, 1, Stage.TRAIN, Protocol.PUBLISHED, (37_971, 2_028)),
        (M48, Variant.OTV_TEST, 4, Stage.TRAIN, Protocol.PAPER, (38_385, 9_690)),
        (M48, Variant.OTV, 4, Stage.TEST, Protocol.PAPER, (8_971, 413)),
        (M48, Variant.OTV_TEST, 4, Stage.TEST, Protocol.PAPER, (8_971, 2_478)),
    ],
)
def test_classes_are_counted_as_the_paper_or_its_programs_do(
    task: Task, variant: Variant, fold: int, stage: Stage, protocol: Protocol, expected: tuple[int, int]
) -> None:
    samples = SampleSet(variant=variant, stage=stage, fold=fold, protocol=protocol)
    counts = stage_weights(published_manifest(task), samples)
    assert (counts.num_negative, counts.num_positive) == expected
    total = sum(expected)
    assert counts.weigh(ClassWeights.PUBLISHED) == pytest.approx((expected[1] / total, expected[0] / total), rel=1e-12)


def test_the_row_that_published_counts_lose_may_be_a_positive() -> None:
    manifest = published_manifest(M48)
    name = format_group(Part.TEST, Kind.BASE)
    groups = manifest.groups | {name: replace(manifest.groups[name], first_label=1)}
    samples = SampleSet(variant=Variant.BASE, stage=Stage.TEST, fold=0, protocol=Protocol.PUBLISHED)
    counts = stage_weights(replace(manifest, groups=groups), samples)
    assert (counts.num_negative, counts.num_positive) == (8_971, 412)


def test_the_loss_is_the_mean_of_weight_times_cross_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    labels, shares = torch.tensor([1, 0]), torch.log(torch.tensor([0.97, 0.03]))
    losses = sample_losses(logits, labels, fast_options(), log_shares_K=shares, smooth=True)
    losses = weigh_losses(losses, labels, torch.tensor([True, True]), weights_K=torch.tensor([0.03, 0.97]))
    expected = [0.97 * math.log(2), 0.03 * math.log(1 + math.exp(-2))]
    assert losses.tolist() == pytest.approx(expected, rel=1e-6)


@given(num_real=st.integers(1, 6), num_padded=st.integers(0, 4), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_padding_changes_neither_loss_nor_gradient(num_real: int, num_padded: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor([0.1, 0.9])
    real = torch.randn((num_real, 2), generator=generator, requires_grad=True)
    labels = torch.randint(0, 2, (num_real,), generator=generator)
    padding = torch.full((num_padded, 2), math.nan)
    mask = torch.arange(num_real + num_padded) < num_real
    padded_labels = functional.pad(labels, (0, num_padded))
    losses = sample_losses(
        torch.cat([real, padding]), padded_labels, fast_options(), log_shares_K=weights.log(), smooth=True
    )
    loss = weigh_losses(losses, padded_labels, mask, weights_K=weights).sum() / num_real
    expected = (weights[labels] * functional.cross_entropy(real, labels, reduction="none")).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, real)[0], torch.autograd.grad(expected, real)[0])


def test_the_defaults_are_the_published_recipe() -> None:
    model = ModelName.MVIT_V2_S
    common: dict[str, Any] = {"variant": Variant.BASE, "protocol": Protocol.PAPER, "model": model}
    options = TrainingOptions(
        **common,
        weights=model.default_weights,
        learning_rate=model.default_learning_rate,
    )
    assert options == TrainingOptions(
        **common,
        weights="kinetics400",
        max_epochs=100,
        batch_size=10,
        learning_rate=1e-7,
        stop_patience=10,
        decay_patience=2,
        decay_factor=0.1,
        min_learning_rate=1e-10,
        precision=Precision.FLOAT32,
        seed=123,
    )


def test_optimiser_and_schedule_are_the_published_ones() -> None:
    module = FlareClassifier(FastNetwork(), some_record(fast_options(learning_rate=1e-7)))
    configured: dict = module.configure_optimizers()  # type: ignore[assignment]
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["betas"] == (0.9, 0.999)
    assert (schedule.mode, schedule.factor, schedule.patience, schedule.min_lrs) == ("min", 0.1, 2, [1e-10])
    rates = []
    for loss in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9):
        schedule.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-7] * 4 + [1e-8] * 2)


@pytest.mark.parametrize(("rate", "lowest"), [(1e-7, 1e-8), (3e-4, 3e-9)])
def test_the_learning_rate_falls_as_far_as_the_documentation_states(rate: float, lowest: float) -> None:
    module = FlareClassifier(FastNetwork(), some_record(fast_options(learning_rate=rate)))
    configured: dict = module.configure_optimizers()  # type: ignore[assignment]
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    for epoch in range(100):
        schedule.step(1.0 - 1e-6 * epoch)  # lower, but by less than 0.01 %
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lowest)


@pytest.mark.parametrize(("rate", "tag"), [(1e-7, "10-7"), (1e-3, "10-3"), (5e-5, "5x10-5"), (0.1, "10-1")])
def test_checkpoints_are_named_as_published(rate: float, tag: str) -> None:
    options = replace(fast_options(), learning_rate=rate)
    name = format_checkpoint_name(options, fold=2, epoch=4, valid_loss=0.0251584)
    assert name == f"sample-FLARE_MViT_tiny_{tag}-epoch=04-valid_loss=0.025158-Wloss_k=2.ckpt"


@pytest.mark.parametrize(
    ("option", "value"), [("max_epochs", 0), ("batch_size", 0), ("devices", 0), ("learning_rate", 0.0), ("seed", -1)]
)
def test_options_that_make_no_sense_are_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match=r"^`(max_epochs|batch_size|devices|learning_rate|seed)`: expected"):
        fast_options(**{option: value})


# Training -----------------------------------------------------------------------------------------------------------


def test_a_fold_leaves_its_checkpoints_table_logs_and_record(
    build: Path, tmp_path: Path, network: MakeNetwork, capfd: pytest.CaptureFixture[str]
) -> None:
    progress = Listener()
    record = fit(build, tmp_path / "fold0", fast_options(max_epochs=5), progress=progress)
    assert record == read_record(tmp_path / "fold0")
    assert record.finished
    assert record.num_epochs == 5
    assert len(record.checkpoints) == 3
    assert record.best is not None
    assert record.best.valid_loss == min(float(row["valid_loss"]) for row in read_metrics(tmp_path / "fold0"))
    names = {path.name for path in (tmp_path / "fold0").iterdir()}
    assert names == {c.name for c in record.checkpoints} | {
        "last.ckpt",
        "metrics.csv",
        "run.json",
        "tensorboard",
        ".lock",
    }
    assert any((tmp_path / "fold0" / "tensorboard").glob("events*"))
    content = json.loads((tmp_path / "fold0" / "run.json").read_text())
    assert content["class_counts"]["train"] == {"num_negative": 20, "num_positive": 20}
    assert content["class_weights"]["train"] == [0.5, 0.5]
    assert progress.tasks["Fold 0, epoch 4 (at most 5 epochs)"] == (50, 50)
    assert sum("valid_loss" in note for note in progress.notes) == 5
    assert capfd.readouterr() == ("", "")


def test_labels_are_learnt_from_the_pixels(build: Path, tmp_path: Path, network: MakeNetwork) -> None:
    fit(build, tmp_path / "fold0", fast_options(max_epochs=8))
    assert float(read_metrics(tmp_path / "fold0")[-1]["valid_accuracy"]) >= 0.9


def test_valid_loss_is_the_mean_over_all_samples_for_any_batch_size(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    # Ten samples: batches of 4, 4, 2 and of 7, 3 have other means of means. Training steps alike: one of 40.
    rows = []
    for batch_size in (4, 7):
        out = tmp_path / str(batch_size)
        fit(build, out, fast_options(max_epochs=1, batch_size=batch_size, learning_rate=1e-12))
        rows.append(read_metrics(out)[0])
    assert float(rows[0]["valid_loss"]) == pytest.approx(float(rows[1]["valid_loss"]), rel=1e-6)
    assert rows[0]["valid_accuracy"] == rows[1]["valid_accuracy"]


@pytest.mark.slow
def test_validation_is_the_same_to_the_last_bit_for_any_batch_size(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 35 samples, in batches of which the last is short; a rate too small for float32 leaves the weights as they are.
    monkeypatch.setattr("sffshards.training.fold_training.build_model", lambda *_, **__: SpreadNetwork())
    figures = set()
    for batch_size in (4, 9, 64):
        out = tmp_path / str(batch_size)
        fit(build, out, fast_options(variant=Variant.OTV, max_epochs=1, batch_size=batch_size, learning_rate=1e-30))
        figures.add((read_metrics(out)[0]["valid_loss"], read_metrics(out)[0]["valid_accuracy"]))
    assert len(figures) == 1


def test_the_same_seed_gives_the_same_run_and_another_does_not(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        fit(build, tmp_path / name, fast_options(seed=seed))
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert read_metrics(tmp_path / "a") != read_metrics(tmp_path / "c")


@pytest.mark.parametrize(  # an epoch is 5 steps and 2 of validation
    "fail_at", [8, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 17, 22))]
)
def test_a_run_that_was_broken_off_ends_like_one_that_was_not(
    build: Path, tmp_path: Path, network: MakeNetwork, fail_at: int
) -> None:
    # With no patience the learning rate is cut at once, so that the schedule's state matters too.
    options = fast_options(max_epochs=6, decay_patience=0, learning_rate=0.5)
    fit(build, tmp_path / "whole", options)
    assert len({row["next_learning_rate"] for row in read_metrics(tmp_path / "whole")}) > 1
    network(fail_at=fail_at)
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, tmp_path / "broken", options)
    assert not read_record(tmp_path / "broken").finished
    network()
    assert fit(build, tmp_path / "broken", options).finished
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize(
    ("epoch", "num_steps"),
    [(0, 2), (1, 3), *(pytest.param(*when, marks=pytest.mark.slow) for when in [(0, 1), (0, 4), (1, 0), (2, 2)])],
)
def test_a_run_that_was_broken_off_in_an_epoch_goes_on_with_the_next_batch(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, epoch: int, num_steps: int
) -> None:
    seen: list[tuple[int, int, tuple[int, ...], float]] = []
    step = FlareClassifier.training_step

    def noting(self: FlareClassifier, batch: ClipBatch, batch_idx: int) -> torch.Tensor:
        loss = step(self, batch, batch_idx)
        seen.append((self.current_epoch, batch_idx, tuple(batch.rows_B.tolist()), float(loss.detach())))
        return loss

    monkeypatch.setattr(FlareClassifier, "training_step", noting)
    options = fast_options(max_epochs=3, save_every_steps=2, learning_rate=0.5)
    fit(build, tmp_path / "whole", options)
    unbroken = seen.copy()
    assert len(unbroken) == 15
    seen.clear()
    network(fail_at=epoch * (5 + 2) + num_steps + 1)  # an epoch is 5 steps and 2 of validation
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, tmp_path / "broken", options)
    before = seen[: epoch * 5 + num_steps // 2 * 2]
    seen.clear()
    network()
    assert fit(build, tmp_path / "broken", options).finished
    assert before + seen == unbroken  # no batch twice, none left out, and the very same losses
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_a_run_with_the_stock_reader_goes_on_from_its_last_whole_epoch(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    options = fast_options(max_epochs=3, save_every_steps=2, engine=Engine.CLASSIC)
    fit(build, tmp_path / "whole", options)
    assert read_record(tmp_path / "whole").options.engine is Engine.CLASSIC
    network(fail_at=1 * (5 + 2) + 4)  # in the second epoch, after two of its steps
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, tmp_path / "broken", options)
    with pytest.raises(ConflictError, match=r"engine classic \(now plan\)"):
        fit(build, tmp_path / "broken", replace(options, engine=Engine.PLAN))
    network()
    assert fit(build, tmp_path / "broken", options).finished
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_more_devices_than_the_stock_reader_has_shards_are_refused_before_any_work(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [__file__])  # a process of pytest-xdist has no script, as a notebook has none
    with pytest.raises(InputError, match="`engine`: expected plan, or at most"):
        fit(build, tmp_path / "fold0", fast_options(engine=Engine.CLASSIC, devices=1_000))
    assert not (tmp_path / "fold0").exists()


def test_a_run_goes_on_with_another_batch_size_only_if_the_global_batch_stays(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sffshards.training.fold_training.check_devices", lambda _, **__: None)
    network(fail_at=4)
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, tmp_path / "fold0", fast_options(save_every_steps=1))
    with pytest.raises(ConflictError, match=r"global_batch 8 \(now 16\)"):
        fit(build, tmp_path / "fold0", fast_options(batch_size=16))
    there = read_record(tmp_path / "fold0")
    wanted = replace(there, options=fast_options(batch_size=4, devices=2))
    assert check_folder(tmp_path / "fold0", wanted) == there


def test_a_run_that_stopped_early_and_was_killed_before_saying_so_trains_no_more(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    options = fast_options(max_epochs=30, stop_patience=2, learning_rate=5.0)
    record = fit(build, tmp_path / "fold0", options)
    assert record.num_epochs < 30
    rewrite_record(tmp_path / "fold0" / "run.json", finished=False)
    assert fit(build, tmp_path / "fold0", options) == record


@pytest.mark.parametrize("num_epochs", [2, 30])  # the last epoch, and one after which training stopped early
def test_a_kill_between_the_last_checkpoint_and_the_table_loses_no_row(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, num_epochs: int
) -> None:
    options = fast_options(max_epochs=num_epochs, stop_patience=2, learning_rate=5.0)
    whole = fit(build, tmp_path / "whole", options)
    write_files = FoldKeeper.write_files

    def kill(keeper: FoldKeeper) -> None:
        if keeper.record.num_epochs == whole.num_epochs:
            raise RuntimeError("killed")
        write_files(keeper)

    with monkeypatch.context() as patch:
        patch.setattr(FoldKeeper, "write_files", kill)
        with pytest.raises(RuntimeError, match="killed"):
            fit(build, tmp_path / "killed", options)
    assert len(read_metrics(tmp_path / "killed")) == whole.num_epochs - 1
    assert fit(build, tmp_path / "killed", options).finished
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_a_fold_that_another_process_finished_meanwhile_is_kept(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, other = tmp_path / "fold0" / "last.ckpt", list[tuple[FoldRecord, int]]()

    def train_meanwhile(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr("sffshards.training.fold_training.folder_lock", folder_lock)
        other.append((fit(build, tmp_path / "fold0", fast_options()), last.stat().st_mtime_ns))
        return folder_lock(*args, **kwargs)

    monkeypatch.setattr("sffshards.training.fold_training.folder_lock", train_meanwhile)
    progress = Listener()
    kept = fit(build, tmp_path / "fold0", fast_options(), progress=progress)
    assert (kept, last.stat().st_mtime_ns) == other[0]
    assert "already finished, kept" in progress.notes[-1]


CHANGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "another network": lambda state: state["hyper_parameters"].update(model="mvit_v2_s"),
    "another fold": lambda state: state["hyper_parameters"].update(fold=1),
    "no optimiser": lambda state: state.pop("optimizer_states"),
    "no table": lambda state: state.pop("callbacks"),
    "other layers": lambda state: state["state_dict"].update({"model.head.1.weight": torch.ones(3, 7)}),
    "an optimiser of other layers": lambda state: state["optimizer_states"][0]["param_groups"][0]["params"].pop(),
    "rows of another kind": lambda state: state["callbacks"]["FoldKeeper"].pop("rows"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_last_checkpoint_of_something_else_is_refused_in_one_line(
    build: Path, tmp_path: Path, network: MakeNetwork, change: str
) -> None:
    path = tmp_path / "fold0" / "last.ckpt"
    network(fail_at=9)
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, path.parent, fast_options())
    network()
    state = torch.load(path, weights_only=True)
    CHANGED[change](state)
    torch.save(state, path)
    with pytest.raises(InputError, match=r"last\.ckpt: expected the checkpoint that this training saved last, found"):
        fit(build, path.parent, fast_options())


def test_a_folder_that_is_renamed_while_it_is_trained_ends_in_one_line(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    class Renaming(Listener):
        def note(self, message: str | SffshardsError) -> None:
            if "epoch 0" in str(message):
                (tmp_path / "runs").rename(tmp_path / "moved")

    with pytest.raises(ConflictError, match="found another one, or none, because it was moved or removed; put it back"):
        fit(build, tmp_path / "runs" / "fold0", fast_options(), progress=Renaming())
    assert not (tmp_path / "runs").exists()
    (tmp_path / "moved").rename(tmp_path / "runs")
    assert fit(build, tmp_path / "runs" / "fold0", fast_options()).finished


def test_a_full_disk_is_named_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    files = AtomicCheckpoints(some_record(fast_options()))
    files.save_checkpoint({"step": 1}, tmp_path / "last.ckpt")
    before = (tmp_path / "last.ckpt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(StorageError, match=r"last\.ckpt.*file too large"):
            files.save_checkpoint({"weights": torch.ones(100_000)}, tmp_path / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_equal_checkpoints_have_equal_bytes_whatever_their_names(tmp_path: Path) -> None:
    files = AtomicCheckpoints(some_record(fast_options()))
    for name in ("one.ckpt", "another.ckpt"):
        files.save_checkpoint({"weights": torch.ones(10)}, tmp_path / name)
    assert (tmp_path / "one.ckpt").read_bytes() == (tmp_path / "another.ckpt").read_bytes()


def test_ctrl_c_says_how_to_go_on(build: Path, tmp_path: Path, network: MakeNetwork) -> None:
    before = signal.getsignal(signal.SIGINT)
    progress = Listener()
    network(fail_at=9, failure=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fit(build, tmp_path / "fold0", fast_options(), progress=progress)
    assert "stopped; epoch 0 is done; the same command without --force resumes from the last save" in progress.notes[-1]
    assert signal.getsignal(signal.SIGINT) is before
    network()
    assert fit(build, tmp_path / "fold0", fast_options()).num_epochs == 2


def test_a_start_that_failed_does_not_stand_in_the_way_of_its_remedy(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    out = tmp_path / "fold0"
    network(fail_at=1)
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, out, fast_options())
    network()
    assert fit(build, out, fast_options(batch_size=4)).finished


def test_force_keeps_the_old_training_until_the_new_one_can_begin(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "fold0"
    network()
    fit(build, out, fast_options())
    before = sorted(path.name for path in out.glob("*.ckpt"))
    with pytest.raises(InputError, match="`accelerator`: expected one of auto, "):
        fit(build, out, fast_options(accelerator="gpux"), force=True)

    def refuse(*_: object, **__: object) -> None:
        raise InputError("--weights", expected="a file", found="none", fix="name one")

    monkeypatch.setattr("sffshards.training.fold_training.build_model", refuse)
    with pytest.raises(InputError, match="--weights"):
        fit(build, out, fast_options(learning_rate=0.2), force=True)
    assert sorted(path.name for path in out.glob("*.ckpt")) == before
    assert read_record(out).finished


@pytest.mark.parametrize("is_killed", [False, True])
def test_force_removes_the_old_training_only_when_the_new_one_has_saved_a_checkpoint(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, *, is_killed: bool
) -> None:
    out, options = tmp_path / "fold0", fast_options(learning_rate=0.2)
    fit(build, out, fast_options())
    (out / "decision.json").write_text("of the old training")
    before = read_files(out)
    network(fail_at=2)
    with monkeypatch.context() as patch:
        if is_killed:
            patch.setattr("sffshards.training.fold_training.settle_aside", lambda _: None)
        with pytest.raises(RuntimeError, match="killed"):
            fit(build, out, options, force=True)
    assert (read_files(out) == before) is not is_killed
    with pytest.raises(ConflictError, match="learning_rate"):  # the next call, too, puts back what a kill left
        fit(build, out, options)
    assert read_files(out) == before
    network()
    fit(build, out, options, force=True)
    fit(build, tmp_path / "new", options)
    assert_same_run(out, tmp_path / "new")
    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "new").iterdir()}


def test_a_conflict_in_a_later_fold_is_found_before_the_first_is_trained(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    network()
    other = fast_options(max_epochs=1, learning_rate=1e-3)
    train_folds(build, tmp_path, other, folds=[1], force=False, progress=SILENT)
    with pytest.raises(ConflictError, match="fold1"):
        train_folds(build, tmp_path, fast_options(), folds=[0, 1], force=False, progress=SILENT)
    assert not (tmp_path / "fold0").exists()


def test_a_finished_fold_is_kept(build: Path, tmp_path: Path, network: MakeNetwork) -> None:
    record = fit(build, tmp_path / "fold0", fast_options())
    network(fail_at=1)
    assert fit(build, tmp_path / "fold0", fast_options(num_threads=0)) == record


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_float16_is_refused_on_a_cpu(build: Path, tmp_path: Path, accelerator: str) -> None:
    options = fast_options(precision=Precision.FLOAT16, accelerator=accelerator)
    with pytest.raises(InputError, match=r"^`precision`: expected 32-true or bf16-mixed on a CPU, found 16-mixed"):
        fit(build, tmp_path / "fold0", options)
    assert not (tmp_path / "fold0").exists()


def test_a_folder_whose_name_is_no_text_is_for_loggers_that_can_write_there(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    out = tmp_path / "\udcff"
    with pytest.raises(InputError, match="expected a path in UTF-8, which tensorboard needs"):
        fit(build, out, fast_options(max_epochs=1))
    assert not out.exists()
    assert fit(build, out, fast_options(max_epochs=1, logger=LoggerName.CSV)).finished
    assert fit(build, out, fast_options(max_epochs=2, logger=LoggerName.CSV)).num_epochs == 2


def test_more_epochs_resume_a_finished_fold(build: Path, tmp_path: Path, network: MakeNetwork) -> None:
    fit(build, tmp_path / "whole", fast_options(max_epochs=3))
    fit(build, tmp_path / "more", fast_options(max_epochs=1))
    assert len(read_metrics(tmp_path / "more")) == 1
    record = fit(build, tmp_path / "more", fast_options(max_epochs=3))
    assert (record.num_epochs, record.finished, record.options.max_epochs) == (3, True, 3)
    assert_same_run(tmp_path / "whole", tmp_path / "more")
    (tmp_path / "more" / "last.ckpt").unlink()
    assert fit(build, tmp_path / "more", fast_options(max_epochs=3)) == record
    with pytest.raises(ConflictError, match=r"found a training of 3 epochs, and no last.ckpt to resume from"):
        fit(build, tmp_path / "more", fast_options(max_epochs=4))


def test_a_fold_that_stopped_early_stays_finished_with_more_epochs(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    options = {"stop_patience": 1, "learning_rate": 1e-30}
    record = fit(build, tmp_path, fast_options(max_epochs=5, **options))
    assert (record.num_epochs, record.finished) == (2, True)
    assert fit(build, tmp_path, fast_options(max_epochs=9, **options)) == record


def test_variables_of_ranks_that_another_program_left_change_nothing(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "PL_TRAINER_LIMIT_TRAIN_BATCHES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # Lightning reads them when it is imported
    assert fit(build, tmp_path, fast_options(max_epochs=1)).finished
    assert read_record(tmp_path).num_epochs == len(read_metrics(tmp_path)) == 1
    assert any((tmp_path / "tensorboard").iterdir())
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 5  # of 8 samples each


def test_the_record_is_that_of_the_process_that_trained(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_elsewhere(trainer: pl.Trainer, *_: object, **__: object) -> None:
        write_record(tmp_path, replace(read_record(tmp_path), num_epochs=2))

    monkeypatch.setattr(pl.Trainer, "fit", train_elsewhere)
    record = fit(build, tmp_path, fast_options())
    assert (record.num_epochs, record.finished) == (2, True)
    assert read_record(tmp_path) == record


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
    ],
    ids=["device", "processor"],
)
def test_too_little_memory_names_what_takes_less(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Large(FastNetwork):
        def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
            raise error

    monkeypatch.setattr("sffshards.training.fold_training.build_model", lambda *_, **__: Large())
    with pytest.raises(TrainingError, match=r"^`batch_size`: .* lower `batch_size`, and raise `accumulate`"):
        fit(build, tmp_path, fast_options())


def test_the_module_tests_and_predicts_every_sample_once(build: Path, tmp_path: Path) -> None:
    module = FlareClassifier(FastNetwork(), some_record(fast_options())).eval()
    data = ShardDataModule(build, fast_options(batch_size=7), fold=0)
    plain = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(devices=1, default_root_dir=tmp_path, **plain)  # type: ignore[arg-type]
    with quiet_lightning():
        (metrics,) = trainer.test(module, datamodule=data, verbose=False)
        predicted = trainer.predict(module, datamodule=data)
    assert predicted is not None
    clips = [data.build.read_clip(row) for row in range(175, 185)]
    labels = torch.tensor([int(data.build.index[row]["label"]) for row in range(175, 185)])
    with torch.no_grad():
        logits = module(torch.from_numpy(np.stack(clips)))
    weights = torch.tensor([1 - 5 / 6, 1 - 1 / 6])
    losses = weights[labels] * torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert metrics["test_loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert metrics["test_accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    rows = torch.cat([batch.rows_N for batch in predicted[-1]])
    assert rows.tolist() == list(range(175, 185))
    found = torch.cat([batch.probabilities_N for batch in predicted[-1]])
    torch.testing.assert_close(found, logits.softmax(1)[:, 1], rtol=1e-5, atol=1e-6)


def test_the_loss_follows_the_batches_that_the_trainer_accumulates(build: Path, tmp_path: Path) -> None:
    # Steps of 8 samples, whether as one batch or as two; of 40 samples, 3 of 5 steps.
    found = []
    for batch_size, accumulate, limit in ((8, 1, 3), (4, 2, 6)):
        torch.manual_seed(0)
        module = FlareClassifier(SpreadNetwork(), some_record(fast_options()))
        # Not Adam, whose first steps do not depend on the scale of the gradient.
        module.configure_optimizers = lambda module=module: torch.optim.SGD(module.parameters(), lr=1e-3)  # type: ignore[misc, method-assign]
        data = ShardDataModule(build, fast_options(batch_size=batch_size), fold=0)
        plain = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        trainer = pl.Trainer(
            devices=1,
            default_root_dir=tmp_path,
            max_epochs=1,
            accumulate_grad_batches=accumulate,
            limit_train_batches=limit,
            limit_val_batches=0,
            enable_checkpointing=False,
            **plain,  # type: ignore[arg-type]
        )
        with quiet_lightning():
            trainer.fit(module, train_dataloaders=data.train_dataloader(), val_dataloaders=data.val_dataloader())
        found.append(torch.cat([value.detach().flatten() for value in module.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-7)


def test_folds_are_trained_one_after_the_other(build: Path, tmp_path: Path, network: MakeNetwork) -> None:
    records = train_folds(
        build, tmp_path / "run", fast_options(max_epochs=1), folds=[1, 3], force=False, progress=SILENT
    )
    assert [record.fold for record in records] == [1, 3]
    assert (tmp_path / "run" / "fold3" / "run.json").is_file()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"max_epochs": 1}, "2 epochs (now at most 1)"), ({"variant": Variant.OTV}, "variant base (now oTV)")],
)
def test_a_folder_of_other_options_is_left_alone_unless_forced(
    build: Path, tmp_path: Path, network: MakeNetwork, change: dict[str, object], said: str
) -> None:
    fit(build, tmp_path / "fold0", fast_options())
    before = (tmp_path / "fold0" / "run.json").read_bytes()
    with pytest.raises(ConflictError) as caught:
        fit(build, tmp_path / "fold0", fast_options(**change))
    assert said in str(caught.value)
    assert (tmp_path / "fold0" / "run.json").read_bytes() == before
    (tmp_path / "fold0" / "decision.json").write_text("of the checkpoint before")
    assert fit(build, tmp_path / "fold0", fast_options(**change), force=True).options == fast_options(**change)
    assert not (tmp_path / "fold0" / "decision.json").exists()


def test_checkpoints_that_a_kill_left_half_written_are_removed(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    out = tmp_path / "fold0"
    out.mkdir()
    ours = out / ".last.ckpt.77.tmp", out / ".sample-FLARE_MViT_S_10-7-epoch=1-valid_loss=0.50-Wloss_k=0.ckpt.77.tmp"
    theirs = out / ".thesis.txt.77.tmp"
    for path in (*ours, theirs):
        path.write_bytes(b"half")
    fit(build, out, fast_options(max_epochs=1))
    assert [path.name for path in out.glob(".*.tmp")] == [theirs.name]


def test_a_folder_of_another_build_or_of_unknown_checkpoints_is_left_alone(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    fit(build, tmp_path / "fold0", fast_options())
    other = make_build(tmp_path / "other", seed=1)
    with pytest.raises(ConflictError, match="on build"):
        fit(other, tmp_path / "fold0", fast_options())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.ckpt").write_bytes(b"")
    with pytest.raises(ConflictError, match="checkpoints without a run.json"):
        fit(build, tmp_path / "mine", fast_options())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = FastNetwork.forward

    def spoilt(self: FastNetwork, x: torch.Tensor) -> torch.Tensor:
        return forward(self, x) * (math.nan if self.num_calls >= 9 else 1.0)

    monkeypatch.setattr(FastNetwork, "forward", spoilt)
    with pytest.raises(TrainingError, match="fold 0, epoch 1, training step 2: expected a finite loss, found nan"):
        fit(build, tmp_path / "fold0", fast_options())
    record = read_record(tmp_path / "fold0")
    assert record.best is not None
    assert record.best.epoch == 0
    assert all(torch.isfinite(value).all() for value in last_weights(tmp_path / "fold0").values())


@pytest.mark.parametrize(
    ("stage", "counts", "found"),
    [
        (Stage.TRAIN, (10, 0), "the train set has no positives"),
        (Stage.VAL, (10, 0), "the val set has no positives"),
        (Stage.VAL, (0, 10), "the val set has no negatives"),
    ],
)
def test_a_fold_with_a_set_of_one_class_is_refused_before_work(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, counts: tuple[int, int], found: str
) -> None:

    def count(_: object, samples: SampleSet) -> StageWeights:
        negative, positive = counts if (samples.stage, samples.fold) == (stage, 2) else (10, 10)
        return StageWeights(num_negative=negative, num_positive=positive)

    monkeypatch.setattr(class_counts, "stage_weights", count)
    expected = rf"48h fold 2: .*, found {found}, .*; train only fold 0,1,3,4, or pass `allow_one_class`"
    with pytest.raises(InputError, match=expected):  # also where other folds have both
        train_folds(build, tmp_path / "run", fast_options(), folds=[0, 2], force=False, progress=SILENT)
    assert not (tmp_path / "run").exists()


def test_a_set_of_one_class_is_said_and_trained_where_that_is_asked_for(
    build: Path, tmp_path: Path, network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(class_counts, "stage_weights", lambda *_, **__: StageWeights(num_negative=10, num_positive=0))
    progress = Listener()
    record = fit(build, tmp_path / "fold0", fast_options(max_epochs=1, allow_one_class=True), progress=progress)
    assert record.finished
    assert fit(build, tmp_path / "fold0", fast_options(max_epochs=1)) == record  # finished, and so kept
    assert "fold 0: the val set has no positives; with w_c = 1 - n_c/N its loss is 0" in progress.notes


def test_code_in_a_checkpoint_is_not_run_when_a_run_goes_on(build: Path, tmp_path: Path, network: MakeNetwork) -> None:
    network(fail_at=9)
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, tmp_path / "fold0", fast_options())
    network()

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "fold0" / "last.ckpt")
    with pytest.raises(InputError, match="objects that could run code"):
        fit(build, tmp_path / "fold0", fast_options())
    assert not (tmp_path / "ran").exists()


def test_where_the_weights_cannot_be_had_nothing_is_begun(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(path: Path, **_: Any) -> Path:
        asked.append(path)
        raise StorageError(path, expected="the weights", found="no network", fix="fetch them")

    monkeypatch.setattr("sffshards.fetch.fetch_weights", refuse)
    with pytest.raises(StorageError, match="expected the weights, found no network"):
        fit(build, tmp_path / "fold0", fast_options(model=ModelName.MVIT_V2_S, weights="kinetics400"))
    with pytest.raises(InputError, match="pass `model` mvit_v2_s"):
        fit(build, tmp_path / "fold0", fast_options(model=ModelName.MVIT_TINY, weights="kinetics400"))
    assert len(asked) == 1  # the small network has no such weights, and none are fetched for it
    assert not (tmp_path / "fold0").exists()


@pytest.mark.parametrize("size", [0, 500, 5000])
def test_a_checkpoint_that_was_cut_off_is_named_with_what_helps(
    build: Path, tmp_path: Path, network: MakeNetwork, size: int
) -> None:
    network(fail_at=9)
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, tmp_path / "fold0", fast_options())
    network()
    os.truncate(tmp_path / "fold0" / "last.ckpt", size)
    with pytest.raises(
        InputError,
        match=r"last\.ckpt: expected the checkpoint that this training saved last, .*train the fold again",
    ):
        fit(build, tmp_path / "fold0", fast_options())


def test_more_gpus_than_there_are_are_refused(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="`devices`: expected at most 1, the GPUs of this machine, found 4"):
        fit(build, tmp_path / "fold0", fast_options(accelerator="gpu", devices=4))
    assert not (tmp_path / "fold0").exists()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", DamageError),
        ('{"format_version": 9}', FormatError),
        ('{"format_version": 1}', FormatError),
        ('{"format_version": 2}', FormatError),
        ('{"format_version": 4}', DamageError),
    ],
)
def test_a_record_that_is_none_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(error, match=r"run\.json: .* train it again with `sffshards train --force`$"):
        read_record(tmp_path)


def some_record(options: TrainingOptions) -> FoldRecord:
    return FoldRecord(
        task=M48,
        fold=0,
        manifest_sha256="ab" * 32,
        weights_sha256=None,
        options=options,
        class_counts=dict.fromkeys(Stage, StageWeights(num_negative=5, num_positive=1)),
        versions={"torch": "2.11.0"},
        num_epochs=3,
        checkpoints=(SavedCheckpoint(name="best.ckpt", epoch=2, valid_loss=0.2, sha256="cd" * 32),),
        finished=True,
    )


def write_some_record(folder: Path) -> None:
    write_record(folder, some_record(fast_options()))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *((("checkpoints", 0, "name"), value) for value in (5, None, "a\0b", "\ud800", "", "..", "../fold1/a", "a\\b")),
        (("checkpoints", 0, "epoch"), -1),
        *((("checkpoints", 0, "valid_loss"), value) for value in ("0.2", math.nan)),
        *((("manifest_sha256",), value) for value in (5, "ab" * 31)),
        (("weights_sha256",), 5),
        *((("fold",), value) for value in (9, -1, "0", True, 1)),  # 1 is a fold, but not that of fold0
        *((("finished",), value) for value in ("no", 1)),
        *((("class_counts", "train", "num_positive"), value) for value in (-5, "5")),
        *((("num_epochs",), value) for value in (-1, "3")),
    ],
)
def test_a_record_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, keys: tuple[str | int, ...], value: object
) -> None:
    folder = tmp_path / "fold0"
    write_some_record(folder)
    content = json.loads((folder / "run.json").read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / "run.json").write_text(json.dumps(content))
    expected = r"run\.json: expected the record of a fold, found .+; train it again with `sffshards train --force`$"
    with pytest.raises(DamageError, match=expected) as caught:
        read_record(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["fold0", "mine", "fold1.old"])
def test_a_record_may_lie_in_its_folds_folder_or_one_of_another_name(tmp_path: Path, name: str) -> None:
    write_some_record(tmp_path / name)
    assert read_record(tmp_path / name).fold == 0


_TWO_RANKS = """
import json, sys
from pathlib import Path
from sffshards.base.progress import SILENT
from sffshards.training import fold_training as fit
from sffshards.training.flare_classifier import FlareClassifier
from tests.training_data import FastNetwork, fast_options

class Plain(FastNetwork):
    def __init__(self):
        super().__init__()
        self.head[0].p = 0.0  # ranks draw other numbers

build, run, devices, nodes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
step = FlareClassifier.training_step

def tracing(self, batch, batch_idx):
    loss = step(self, batch, batch_idx)
    with (run / f"trace-{self.global_rank}.txt").open("a") as file:
        file.write(json.dumps(float(loss.detach())) + "\\n")
    return loss

if __name__ == "__main__":
    run.mkdir(exist_ok=True)
    FlareClassifier.training_step = tracing
    fit.build_model = lambda *_, **__: Plain()
    options = fast_options(devices=devices, num_nodes=nodes, batch_size=6 // devices // nodes, max_epochs=3)
    fit.train_fold(build, run / "fold0", options, fold=0, force=False, progress=SILENT)
"""


def start_rank(build: Path, run: Path, *, devices: int, nodes: int, **environment: str) -> subprocess.Popen[bytes]:
    script = run.parent / "train.py"
    script.write_text(_TWO_RANKS)
    command = [sys.executable, str(script), str(build), str(run), str(devices), str(nodes)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment)


def read_losses(run: Path) -> list[float]:
    """Give the loss of each step: what the ranks' gradients, averaged, are those of."""
    ranks = [[float(line) for line in path.read_text().splitlines()] for path in sorted(run.glob("trace-*.txt"))]
    return [sum(losses) / len(ranks) for losses in zip(*ranks, strict=True)]


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_global_batch(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 40 samples in batches of 6: the last has 4; and 10 of validation: the last has 4.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    for ranks in (
        [start_rank(build, tmp_path / "one", devices=1, nodes=1)],
        [start_rank(build, tmp_path / "devices", devices=2, nodes=1)],
        [start_rank(build, tmp_path / "nodes", devices=1, nodes=2, **place, NODE_RANK=str(k)) for k in (0, 1)],
    ):
        assert [rank.wait(timeout=300) for rank in ranks] == [0] * len(ranks)
    monkeypatch.setattr("sffshards.forecasting.runs.network_prediction.build_model", lambda *_, **__: FastNetwork())
    expected = read_losses(tmp_path / "one")
    assert len(expected) == 3 * 7
    scores = {}
    for name in ("one", "devices", "nodes"):
        np.testing.assert_allclose(read_losses(tmp_path / name), expected, rtol=0, atol=1e-5)
        rows = read_metrics(tmp_path / name / "fold0"), read_metrics(tmp_path / "one" / "fold0")
        for row, wanted in zip(*rows, strict=True):
            for metric in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"):
                assert float(row[metric]) == pytest.approx(float(wanted[metric]), rel=1e-6)
        inference = Inference(batch_size=8, num_threads=0, device=torch.device("cpu"))
        evaluated = evaluate_run(tmp_path / name, build, folds=None, inference=inference, force=False, progress=SILENT)
        scores[name] = evaluated.stages
    assert len(scores["one"]) == 3
    assert all(stage.table.num_samples in (40, 10) for stage in scores["one"])
    assert scores["devices"] == scores["one"]
    assert scores["nodes"] == scores["one"]


_EXACT_RANKS = """
import sys
from pathlib import Path
from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Variant, SampleSet
from sffshards.training import fold_training as fit
from tests.training_data import SpreadNetwork, fast_options

if __name__ == "__main__":
    build, out, devices = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    fit.build_model = lambda *_, **__: SpreadNetwork()
    options = fast_options(
        devices=devices, batch_size=24 // devices, variant=Variant.OTV, max_epochs=1, learning_rate=1e-30
    )
    fit.train_fold(build, out, options, fold=0, force=False, progress=SILENT)
"""


@pytest.mark.parametrize(
    "ranks",
    [pytest.param((1, 2), marks=pytest.mark.long), pytest.param((1, 3, 4, 8), marks=pytest.mark.long)],
    ids=["few", "many"],
)
def test_validation_is_the_same_to_the_last_bit_on_any_number_of_ranks(
    build: Path, tmp_path: Path, ranks: tuple[int, ...]
) -> None:
    # 35 samples, which none of these divides. See `SpreadNetwork` for why the order of a sum would show.
    (tmp_path / "train.py").write_text(_EXACT_RANKS)
    figures = {}
    for devices in ranks:
        out = tmp_path / str(devices)
        command = [sys.executable, str(tmp_path / "train.py"), str(build), str(out), str(devices)]
        subprocess.run(
            command, check=True, timeout=300, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        )
        figures[devices] = read_metrics(out)[0]["valid_loss"], read_metrics(out)[0]["valid_accuracy"]
    assert len(set(figures.values())) == 1, figures


_KILLED_RANKS = """
import json, os, signal, sys
from pathlib import Path
from sffshards.base.progress import SILENT
from sffshards.training import fold_training as fit
from sffshards.training.flare_classifier import FlareClassifier
from tests.training_data import FastNetwork, fast_options

build, out, devices, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
step = FlareClassifier.training_step

def noting(self, batch, batch_idx):
    if self.trainer.global_step == kill_at:
        os.killpg(0, signal.SIGKILL)
    with (out / f"rows-{devices}-{self.global_rank}.txt").open("a") as file:
        rows = batch.rows_B[batch.mask_B].tolist()
        file.write(json.dumps([self.current_epoch, batch_idx, rows]) + "\\n")
    return step(self, batch, batch_idx)

if __name__ == "__main__":
    FlareClassifier.training_step = noting
    fit.build_model = lambda *_, **__: FastNetwork()
    options = fast_options(devices=devices, batch_size=12 // devices, max_epochs=3, save_every_steps=1, num_threads=2)
    fit.train_fold(build, out / "fold0", options, fold=0, force=False, progress=SILENT)
"""


@pytest.mark.long
def test_killed_on_four_ranks_and_gone_on_with_on_two_no_sample_is_lost_or_seen_twice(
    build: Path, tmp_path: Path
) -> None:
    # 40 samples in batches of 12: four steps an epoch, the last of 4. Killed in the third step of the second epoch.
    (tmp_path / "train.py").write_text(_KILLED_RANKS)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    for devices, kill_at, code in ((4, 6, -signal.SIGKILL), (2, -1, 0)):
        command = [sys.executable, str(tmp_path / "train.py"), str(build), str(tmp_path), str(devices), str(kill_at)]
        done = subprocess.run(
            command, timeout=300, env=environment, start_new_session=True, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
    steps: dict[int, dict[tuple[int, int], list[int]]] = {}
    for devices in (4, 2):
        steps[devices] = {}
        for path in tmp_path.glob(f"rows-{devices}-*.txt"):
            for line in path.read_text().splitlines():
                epoch, step, rows = json.loads(line)
                steps[devices].setdefault((epoch, step), []).extend(rows)
    assert sorted(steps[4]) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    assert sorted(steps[2]) == [(1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)]
    expected = Counter(row for part in range(4) for row in range(35 * part, 35 * part + 10))
    for epoch in range(3):
        seen = Counter(row for of in steps.values() for (e, _), rows in of.items() if e == epoch for row in rows)
        assert seen == expected


def test_the_attention_is_recorded_and_may_change_when_a_run_goes_on(
    build: Path, tmp_path: Path, network: MakeNetwork
) -> None:
    options = fast_options(attention=Attention.TORCHVISION)
    network(fail_at=9)
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, tmp_path, options)
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["options"]["attention"] == "torchvision"
    network()
    assert fit(build, tmp_path, replace(options, attention=Attention.FUSED)).finished
