"""Recipes: each part does what torch's own does, none changes the published one, and all resume to the last bit."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss
from typer.testing import CliRunner

from sffshards.base.errors import ConflictError, InputError
from sffshards.base.progress import SILENT
from sffshards.cli.command_options import to_typer
from sffshards.cli.terminal_output import show_flag
from sffshards.cli.train import train
from sffshards.domain.views import View, apply_view
from sffshards.images.grey_scales import scale_field
from sffshards.images.ingest_options import Scale
from sffshards.loading.clip_batches import ClipBatch, ClipChanges, draw_changes, render_clips
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.datamodule import ShardDataModule
from sffshards.loading.epoch_plan import balance_order, draw_words, shuffle_order
from sffshards.loading.loading_options import LoadingOptions
from sffshards.models.model_names import ModelName
from sffshards.models.networks import build_model
from sffshards.shards.read import open_build
from sffshards.training.class_counts import StageWeights
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_record import FoldRecord, read_record
from sffshards.training.fold_training import train_fold
from sffshards.training.optimisation import (
    build_optimizer,
    cosine_rate,
    freeze_parts,
    sample_losses,
    weigh_losses,
)
from sffshards.training.recipe import ClassWeights, read_recipe
from sffshards.training.training_config import TrainingOptions
from tests.tiny import digest_tree
from tests.training_data import FastNetwork, fast_options, make_build, rewrite_record

TRAIN_ROWS = [35 * part + row for part in range(4) for row in range(10)]
"""Rows of the training set of `make_build`, fold 0, variant base; the validation set has 140 to 149."""

MakeNetwork = Callable[[], nn.Module]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("recipes"))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[MakeNetwork]:
    """Train the network that the last item of this list makes."""
    makers: list[MakeNetwork] = [FastNetwork]
    monkeypatch.setattr("sffshards.training.fold_training.build_model", lambda *_, **__: makers[-1]())
    return makers


class Step:
    """A step of a training: its losses, its learning rate, and the weights before it."""

    def __init__(self, module: FlareClassifier, loss: float) -> None:
        self.loss = loss
        self.rate = float(module.trainer.optimizers[0].param_groups[0]["lr"])
        self.weights = [value.detach().clone() for value in module.model.parameters()]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Steps of trainings, in order."""
    noted: list[Step] = []
    step = FlareClassifier.training_step

    def note(self: FlareClassifier, batch: ClipBatch, batch_idx: int) -> torch.Tensor:
        loss = step(self, batch, batch_idx)
        noted.append(Step(self, float(loss.detach())))
        return loss

    monkeypatch.setattr(FlareClassifier, "training_step", note)
    return noted


def fit(build: Path, out: Path, options: TrainingOptions) -> FoldRecord:
    return train_fold(build, out, options, fold=0, force=False, progress=SILENT)


def read_column(folder: Path, name: str) -> list[str]:
    with (folder / "metrics.csv").open() as file:
        return [row[name] for row in csv.DictReader(file)]


def saved_weights(folder: Path) -> list[torch.Tensor]:
    return list(torch.load(folder / "last.ckpt", weights_only=True)["state_dict"].values())


# The published recipe -------------------------------------------------------------------------------------------------


def train_plainly(
    build: Path, make: MakeNetwork, *, rate: float, batch_size: int, num_epochs: int
) -> tuple[list[float], list[float]]:
    """Train by the published recipe, in a loop that shares no code with the package but the order of the samples."""
    opened = open_build(build)
    labels = torch.tensor([int(label) for label in opened.index["label"]])
    weights = torch.tensor([1 - 20 / 40, 1 - 20 / 40])
    pl.seed_everything(123, workers=True, verbose=False)
    network = make()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2, min_lr=1e-10)
    losses, valid_losses = [], []

    def loss_of(rows: list[int]) -> torch.Tensor:
        clips = torch.from_numpy(np.stack([opened.read_clip(row) for row in rows]))
        logits = network((clips.float() / 255)[:, None])
        return weights[labels[rows]] * functional.cross_entropy(logits, labels[rows], reduction="none")

    for epoch in range(num_epochs):
        order = [TRAIN_ROWS[place] for place in shuffle_order(40, seed=123, epoch=epoch)]
        network.train()
        for step in range(math.ceil(40 / batch_size)):
            rows = order[step * batch_size : (step + 1) * batch_size]
            seed = np.random.SeedSequence([123, epoch, step, 0]).generate_state(1, np.uint64)[0]
            torch.manual_seed(int(seed))
            loss = loss_of(rows).sum() * (1 / len(rows))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        network.eval()
        with torch.no_grad():
            batches = [list(range(140, 150))[at : at + batch_size] for at in range(0, 10, batch_size)]
            valid = math.fsum(torch.cat([loss_of(rows) for rows in batches]).tolist()) / 10
        schedule.step(valid)
        valid_losses.append(valid)
    opened.close()
    return losses, valid_losses


@pytest.mark.parametrize(
    ("make", "rate", "batch_size", "num_epochs"),
    [
        pytest.param(FastNetwork, 20.0, 40, 5, id="fast"),
        pytest.param(
            lambda: build_model(ModelName.MVIT_TINY, weights="none"),
            *(3e-4, 20, 2),
            marks=pytest.mark.long,
            id="mvit_tiny",
        ),
    ],
)
def test_published_trains_to_the_last_bit_as_a_plain_loop_does(
    build: Path,
    tmp_path: Path,
    network: list[MakeNetwork],
    steps: list[Step],
    make: MakeNetwork,
    rate: float,
    batch_size: int,
    num_epochs: int,
) -> None:
    network.append(make)
    fit(build, tmp_path, fast_options(batch_size=batch_size, max_epochs=num_epochs, learning_rate=rate))
    losses, valid_losses = train_plainly(
        build, make, rate=rate, batch_size=batch_size, num_epochs=len(read_column(tmp_path, "epoch"))
    )
    assert [step.loss.hex() for step in steps] == [loss.hex() for loss in losses]
    assert [float(loss).hex() for loss in read_column(tmp_path, "valid_loss")] == [loss.hex() for loss in valid_losses]
    if make is FastNetwork:
        assert len({step.rate for step in steps}) > 1  # the schedule cut it


def test_a_record_from_before_recipes_is_of_the_published_one(
    build: Path, tmp_path: Path, network: list[MakeNetwork]
) -> None:
    options = fit(build, tmp_path, fast_options(max_epochs=1)).options
    content = json.loads((tmp_path / "run.json").read_text())["options"]
    assert content["optimizer"] == "adam"
    assert content["missing_frames"] == 0.0
    new = (
        "optimizer",
        "schedule",
        "loss",
        "class_weights",
        "ema_decay",
        "frozen",
        "sampler",
        "flips",
        "missing_frames",
    )
    rewrite_record(tmp_path / "run.json", options={name: value for name, value in content.items() if name not in new})
    assert read_record(tmp_path).options == options


# Losses ---------------------------------------------------------------------------------------------------------------


def some_logits() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn((50, 2), generator=generator), torch.randint(0, 2, (50,), generator=generator)


def losses_of(*, smooth: bool = True, shares: tuple[float, float] = (0.9, 0.1), **recipe: object) -> torch.Tensor:
    logits, labels = some_logits()
    return sample_losses(logits, labels, fast_options(**recipe), log_shares_K=torch.tensor(shares).log(), smooth=smooth)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_the_focal_loss_is_torchvisions(gamma: float) -> None:
    logits, labels = some_logits()
    expected = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], labels.float(), alpha=-1, gamma=gamma)
    torch.testing.assert_close(losses_of(loss="focal", focal_gamma=gamma), expected, rtol=1e-4, atol=1e-7)


def test_the_focal_loss_of_a_certain_forecast_has_a_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    recipe = fast_options(loss="focal", focal_gamma=0.5)
    sample_losses(logits, torch.tensor([0]), recipe, log_shares_K=torch.zeros(2), smooth=True).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_logit_adjusted_loss_is_of_probabilities_times_the_frequencies() -> None:
    logits, labels = some_logits()
    joint = logits.softmax(1) * torch.tensor([0.9, 0.1])
    expected = -torch.log(joint / joint.sum(1, keepdim=True))[torch.arange(50), labels]
    torch.testing.assert_close(losses_of(loss="logit-adjusted", class_weights="none"), expected, rtol=1e-4, atol=1e-6)


def test_labels_are_smoothed_as_torch_does_in_training_only() -> None:
    logits, labels = some_logits()
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.2, reduction="none")
    assert torch.equal(losses_of(label_smoothing=0.2), expected)
    plain = functional.cross_entropy(logits, labels, reduction="none")
    assert torch.equal(losses_of(label_smoothing=0.2, smooth=False), plain)


def test_class_weights_are_those_of_their_name() -> None:
    counts = StageWeights(num_negative=30, num_positive=10)
    labels = np.repeat([0, 1], [30, 10])
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    assert counts.weigh(ClassWeights.BALANCED) == pytest.approx(tuple(expected))
    assert counts.weigh(ClassWeights.NONE) == (1, 1)
    assert counts.weigh(ClassWeights.PUBLISHED) == (0.25, 0.75)
    assert StageWeights(num_negative=5, num_positive=0).weigh(ClassWeights.BALANCED) == (0.5, 0.0)


@pytest.mark.slow
def test_the_loss_of_a_training_is_that_of_its_recipe(
    build: Path, tmp_path: Path, network: list[MakeNetwork], steps: list[Step]
) -> None:
    # All 40 samples in one batch, oversampled to 140: 20 negatives and 120 positives.
    options = {"variant": "oT", "batch_size": 200, "max_epochs": 1}
    for name, recipe in {
        "published": {},
        "none": {"class_weights": "none"},
        "balanced": {"class_weights": "balanced"},
        "focal": {"class_weights": "none", "loss": "focal"},
        "adjusted": {"class_weights": "none", "loss": "logit-adjusted"},
    }.items():
        fit(build, tmp_path / name, fast_options(**options, **recipe))
    opened, rows = open_build(build), [35 * part + row for part in range(4) for row in range(35)]
    order = [rows[place] for place in shuffle_order(140, seed=123, epoch=0)]
    labels = torch.tensor([int(opened.index[row]["label"]) for row in order])
    clips = torch.from_numpy(np.stack([opened.read_clip(row) for row in order]))
    opened.close()
    pl.seed_everything(123, workers=True, verbose=False)
    network_, seed = FastNetwork(), np.random.SeedSequence([123, 0, 0, 0]).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(seed))
    logits = network_((clips.float() / 255)[:, None]).detach()
    plain = functional.cross_entropy(logits, labels, reduction="none")
    focal = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], labels.float(), alpha=-1, gamma=2)
    shares = torch.tensor([20 / 140, 120 / 140])
    expected = {
        "published": (1 - shares)[labels] * plain,
        "none": plain,
        "balanced": (1 / (2 * shares))[labels] * plain,
        "focal": focal,
        "adjusted": functional.cross_entropy(logits + shares.log(), labels, reduction="none"),
    }
    found = [step.loss for step in steps]
    assert found == pytest.approx([float(losses.mean()) for losses in expected.values()], rel=1e-5)
    assert len(set(found)) == 5


# Optimisers, schedules, clipping, averages, frozen parts --------------------------------------------------------------


def step_thrice(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> list[float]:
    for factor in (1.0, -2.0, 3.0):
        optimizer.zero_grad()
        (factor * parameter**2).sum().backward()
        optimizer.step()
    return list(parameter.tolist())


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, lambda p: torch.optim.Adam(p, lr=0.1)),
        ({"weight_decay": 0.3}, lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.3)),
        ({"optimizer": "adamw", "weight_decay": 0.3}, lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.3)),
        ({"optimizer": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.1)),
        ({"optimizer": "sgd", "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        ({"optimizer": "sgd", "weight_decay": 0.3}, lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.3)),
    ],
)
def test_an_optimiser_steps_as_torchs_own(recipe: dict[str, object], expected: Any) -> None:
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0, 0.5])) for _ in range(2))
    optimizer = build_optimizer([ours], fast_options(learning_rate=0.1, **recipe))
    reference = expected([theirs])
    assert type(optimizer) is type(reference)
    assert step_thrice(optimizer, ours) == step_thrice(reference, theirs)


@pytest.mark.parametrize(("warmup", "least"), [(0.0, 1e-10), (1.5, 1e-3), (2, 0.0)])
def test_the_cosine_is_torchs_linear_warm_up_and_cosine(warmup: float, least: float) -> None:
    recipe = fast_options(
        schedule="cosine", warmup_epochs=warmup, max_epochs=5, learning_rate=0.1, min_learning_rate=least
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    num_warmup = round(7 * warmup)
    of_torch = torch.optim.lr_scheduler
    schedule: torch.optim.lr_scheduler.LRScheduler = of_torch.CosineAnnealingLR(
        optimizer, T_max=35 - num_warmup, eta_min=least
    )
    if num_warmup:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        linear = of_torch.LinearLR(optimizer, start_factor=1 / (num_warmup + 1), total_iters=num_warmup)
        cosine = of_torch.CosineAnnealingLR(optimizer, T_max=35 - num_warmup, eta_min=least)
        schedule = of_torch.SequentialLR(optimizer, [linear, cosine], milestones=[num_warmup])
    expected = []
    for _ in range(36):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    found = [cosine_rate(step, recipe, steps_per_epoch=7) for step in range(36)]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_each_step_of_a_training_has_the_rate_of_the_cosine(
    build: Path, tmp_path: Path, network: list[MakeNetwork], steps: list[Step], accumulate: int
) -> None:
    recipe = fast_options(
        schedule="cosine", warmup_epochs=1, max_epochs=3, batch_size=16 // accumulate, accumulate=accumulate
    )
    fit(build, tmp_path, recipe)  # three steps of 16, 16 and 8 samples an epoch
    expected = [0.1 / 4, 0.2 / 4, 0.3 / 4, *(0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(6))]
    found = [step.rate for step in steps]
    assert list(dict.fromkeys(found)) == pytest.approx(expected, rel=1e-6)
    rates = [float(rate) for rate in read_column(tmp_path, "next_learning_rate")]
    assert rates == pytest.approx([0.1, 0.05, 1e-10], rel=1e-6)


@pytest.mark.slow
def test_a_constant_rate_stays_where_a_plateau_would_cut_it(
    build: Path, tmp_path: Path, network: list[MakeNetwork], steps: list[Step]
) -> None:
    fit(build, tmp_path, fast_options(schedule="constant", max_epochs=6, learning_rate=1e-30, batch_size=40))
    assert {step.rate for step in steps} == {1e-30}
    assert set(read_column(tmp_path, "next_learning_rate")) == {"1e-30"}


def test_training_stops_after_as_many_epochs_without_a_lower_loss_as_the_recipe_says(
    build: Path, tmp_path: Path, network: list[MakeNetwork]
) -> None:
    fit(build, tmp_path, fast_options(stop_patience=2, max_epochs=9, learning_rate=1e-30, batch_size=40))
    assert len(read_column(tmp_path, "epoch")) == 3


def test_long_gradients_are_shortened_as_torch_does(
    build: Path, tmp_path: Path, network: list[MakeNetwork], steps: list[Step]
) -> None:
    sgd = {"optimizer": "sgd", "learning_rate": 1.0, "max_epochs": 1, "batch_size": 40}
    moved = {}
    for clip in (0.0, 1e-3):
        fit(build, tmp_path / str(clip), fast_options(gradient_clip=clip, **sgd))
        after = saved_weights(tmp_path / str(clip))
        moved[clip] = [new - old for new, old in zip(after, steps[-1].weights, strict=True)]
    free = nn.ParameterList(torch.zeros_like(move) for move in moved[0.0])
    for parameter, move in zip(free, moved[0.0], strict=True):
        parameter.grad = -move
    nn.utils.clip_grad_norm_(free.parameters(), 1e-3)
    for parameter, move in zip(free, moved[1e-3], strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(move, -parameter.grad, rtol=1e-3, atol=1e-7)


def test_checkpoints_and_validation_use_the_average_of_the_weights(
    build: Path, tmp_path: Path, network: list[MakeNetwork], steps: list[Step]
) -> None:
    fit(build, tmp_path / "a", fast_options(ema_decay=0.75, batch_size=16, max_epochs=1))
    current = torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)["current_model_state"].values()
    after = [*(step.weights for step in steps[1:]), list(current)]
    expected = after[0]
    for weights in after[1:]:
        expected = [0.75 * mean + 0.25 * new for mean, new in zip(expected, weights, strict=True)]
    for found, wanted in zip(saved_weights(tmp_path / "a"), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
    # The losses of the steps are those without an average, but the validation loss is another.
    fit(build, tmp_path / "b", fast_options(batch_size=16, max_epochs=1))
    assert [step.loss for step in steps[:3]] == [step.loss for step in steps[3:]]
    assert read_column(tmp_path / "a", "valid_loss") != read_column(tmp_path / "b", "valid_loss")


class TwoParts(nn.Module):
    """A body with statistics of batches and dropout, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 2))
        self.head = nn.Linear(2, 2)

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        x_BN = x_BCTHW[:, 0, :, ::8, ::8].flatten(1)
        logits: torch.Tensor = self.head(self.body(torch.stack([x_BN.mean(1), 20 * x_BN.std(1)], dim=1)))
        return logits


def test_frozen_parts_keep_their_weights_and_statistics(
    build: Path, tmp_path: Path, network: list[MakeNetwork], steps: list[Step]
) -> None:
    network.append(TwoParts)
    pl.seed_everything(123, workers=True, verbose=False)
    before = {f"model.{name}": value for name, value in TwoParts().state_dict().items()}
    for frozen in ("body", "body.2, head.bias", ""):
        fit(build, tmp_path / frozen, fast_options(frozen=frozen, batch_size=16, max_epochs=1))
        after = torch.load(tmp_path / frozen / "last.ckpt", weights_only=True)["state_dict"]
        kept = {name for name, value in before.items() if torch.equal(value, after[name])}
        names = [f"model.{part.strip()}" for part in frozen.split(",") if part]
        assert kept == {name for name in before if name.startswith(tuple(names))}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("conv", "expected parts of the network with weights, such as body, head, body.0, body.2, found 'conv'"),
        ("bod", "found 'bod'"),
        ("body,head", "expected some parts of the network, found all of its weights"),
    ],
)
def test_frozen_parts_that_the_network_lacks_are_refused(names: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        freeze_parts(TwoParts(), names.split(","))


# Balanced batches -----------------------------------------------------------------------------------------------------


@given(negatives=st.integers(1, 30), positives=st.integers(1, 30), seed=st.integers(0, 99), epoch=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_a_balanced_order_alternates_and_sees_the_samples_of_a_class_equally_often(
    negatives: int, positives: int, seed: int, epoch: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1], [negatives, positives]))
    orders = [balance_order(labels, seed=seed, epoch=number) for number in range(epoch + 1)]
    assert all((labels[order] == np.arange(len(labels)) % 2).all() for order in orders)
    seen = Counter(place for order in orders for place in order.tolist())
    for label in (0, 1):
        counts = [seen[place] for place in np.flatnonzero(labels == label).tolist()]
        assert max(counts) - min(counts) <= 1
    assert (balance_order(labels, seed=seed, epoch=epoch) == orders[-1]).all()


def test_balanced_orders_differ_between_epochs_and_seeds() -> None:
    labels = np.arange(40) % 4 // 3
    orders = [balance_order(labels, seed=seed, epoch=epoch).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    with pytest.raises(ValueError, match="none has the label 1"):
        balance_order(np.zeros(4, int), seed=0, epoch=0)


def make_loader(build: Path, **options: object) -> ClipLoader:
    loading = LoadingOptions(**{"variant": "oT", "protocol": "paper", "batch_size": 12} | options)  # type: ignore[arg-type]
    loader = ShardDataModule(build, loading, fold=0).train_dataloader()
    assert isinstance(loader, ClipLoader)
    return loader


def test_batches_are_balanced_and_resume_within_an_epoch(build: Path) -> None:
    loader = make_loader(build, sampler="balanced")  # 20 negatives, 120 positives
    epochs = [list(loader) for _ in range(2)]
    assert [len(epoch) for epoch in epochs] == [12, 12]
    for batch in epochs[0] + epochs[1]:
        labels = batch.labels_B[batch.mask_B].tolist()
        assert labels.count(1) == labels.count(0)
    assert {row for batch in epochs[0] for row in batch.rows_B.tolist()} != set(TRAIN_ROWS)
    begun = make_loader(build, sampler="balanced")
    begun.set_epoch(1)
    passes = iter(begun)
    for _ in range(5):
        next(passes)
    resumed = make_loader(build, sampler="balanced")
    resumed.load_state_dict(begun.state_dict())
    rest = [batch.rows_B.tolist() for batch in resumed]
    assert rest == [batch.rows_B.tolist() for batch in epochs[1][5:]]
    with pytest.raises(ConflictError, match=r"shuffle balanced \(here global\)"):
        make_loader(build).load_state_dict(begun.state_dict())


def test_validation_and_prediction_are_neither_balanced_nor_augmented(build: Path) -> None:
    options = LoadingOptions(variant="oTV", protocol="paper", sampler="balanced", noise=9.0)  # type: ignore[arg-type]
    data = ShardDataModule(build, options, fold=0)
    for loader in (data.val_dataloader(), data.test_dataloader(), *data.predict_dataloader()):
        rows = []
        for batch in loader:
            assert batch.changes is None
            rows += batch.rows_B[batch.mask_B].tolist()
        assert len(rows) == len(set(rows)) == loader.num_samples


def test_weights_of_classes_follow_the_batches_where_these_are_balanced(
    build: Path, tmp_path: Path, network: list[MakeNetwork]
) -> None:
    options = fast_options(variant="oT", sampler="balanced", max_epochs=1, class_weights="balanced", batch_size=70)
    record = fit(build, tmp_path, options)
    assert record.class_counts["train"] == StageWeights(num_negative=20, num_positive=120)  # type: ignore[index]
    weights = json.loads((tmp_path / "run.json").read_text())["class_weights"]
    assert weights["train"] == weights["val"] == [1, 1]


def test_balanced_batches_of_a_set_of_one_class_are_refused_before_work(
    build: Path, tmp_path: Path, network: list[MakeNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_build(build)
    negatives = np.flatnonzero(opened.index["label"] == 0)
    opened.close()
    monkeypatch.setattr(ShardDataModule, "_stage_rows", lambda *_: negatives)
    with pytest.raises(InputError, match="expected both classes, for balanced batches, found one class"):
        fit(build, tmp_path / "fold0", fast_options(sampler="balanced", allow_one_class=True))
    assert not (tmp_path / "fold0").exists()


# Augmentation ---------------------------------------------------------------------------------------------------------

ALL_CHANGES: dict[str, Any] = {
    "flips": True,
    "quarter_turns": True,
    "polarity": True,
    "time_reversal": True,
    "noise": 3.0,
    "missing_frames": 0.3,
}


def draw(num: int, *, epoch: int = 0, first: int = 0, **options: Any) -> ClipChanges:
    return draw_changes(np.ones(num, bool), fast_options(**options), epoch=epoch, first=first)


def make_batch(clips: torch.Tensor, changes: ClipChanges | None) -> ClipBatch:
    num = len(clips)
    nothing = torch.zeros(num, dtype=torch.uint8)
    return ClipBatch(clips, nothing, nothing, nothing.bool(), nothing, num, changes)


def some_clips(num: int) -> torch.Tensor:
    return torch.randint(0, 256, (num, 16, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(num))


def test_changes_follow_from_seed_epoch_and_place_alone() -> None:
    whole = draw(20, epoch=3, **ALL_CHANGES)
    for cuts in ([0, 20], [0, 7, 11, 20]):
        parts = [draw(end - start, epoch=3, first=start, **ALL_CHANGES) for start, end in pairwise(cuts)]
        for name, value in whole._asdict().items():
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), value)
    assert not torch.equal(draw(20, epoch=4, **ALL_CHANGES).seeds_B, whole.seeds_B)
    assert not torch.equal(draw(20, epoch=3, seed=5, **ALL_CHANGES).seeds_B, whole.seeds_B)
    assert (
        draw_words(2, 3, seed=0, epoch=1, first=4).tolist() == draw_words(6, 3, seed=0, epoch=1, first=0)[4:].tolist()
    )


def test_changes_are_as_frequent_as_documented() -> None:
    changes = draw(4000, **ALL_CHANGES)
    for share in (*changes.flipped_B2.float().mean(0), changes.reversed_B.float().mean()):
        assert float(share) == pytest.approx(0.5, abs=0.04)
    assert torch.bincount(changes.turns_B.long(), minlength=4).tolist() == pytest.approx([1000] * 4, abs=120)
    descends = (changes.frames_BT[:, 0] > changes.frames_BT[:, -1]).float().mean()
    assert float(descends) == pytest.approx(0.5, abs=0.04)
    missing = draw(4000, missing_frames=0.3)
    repeated = (missing.frames_BT[:, 1:] == missing.frames_BT[:, :-1]).float().mean()
    assert float(repeated) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("only", [*ALL_CHANGES, None])
def test_each_change_is_made_only_where_it_is_asked_for(only: str | None) -> None:
    options = {} if only is None else {only: ALL_CHANGES[only]}
    assert fast_options(**options).augments is (only is not None)
    changes = draw(50, **options)
    found = {
        "flips": bool(changes.flipped_B2.any()),
        "quarter_turns": bool(changes.turns_B.any()),
        "polarity": bool(changes.reversed_B.any()),
        "time_reversal": bool((changes.frames_BT.diff() < 0).any()),
        "noise": bool(changes.noise_B.any()),
        "missing_frames": bool((changes.frames_BT.diff() == 0).any()),
    }
    assert [name for name, there in found.items() if there] == ([] if only is None else [only])


@pytest.mark.parametrize("variety", ["flips", "quarter_turns", "polarity", "time_reversal"])
def test_a_clip_is_shown_as_numpy_would(variety: str) -> None:
    clips = some_clips(12)
    changes = draw(12, **{variety: True})
    shown = render_clips(make_batch(clips, changes)).numpy()
    for position, clip in enumerate(clips.numpy()):
        expected = clip[::-1] if variety == "time_reversal" and changes.frames_BT[position, 0] else clip
        expected = 255 - expected if changes.reversed_B[position] else expected
        for view, is_flipped in zip((View.VF, View.HF), changes.flipped_B2[position], strict=True):
            expected = apply_view(expected, view) if is_flipped else expected
        turns = [View.NF, View.R1, View.R2, View.R3]
        expected = apply_view(expected, turns[int(changes.turns_B[position])])
        assert (shown[position] == expected).all()
    assert (shown != clips.numpy()).any(axis=(1, 2, 3)).sum() in range(1, 12)  # some, but not all


def test_a_missing_frame_shows_the_one_before_it_and_some_frame_is_there() -> None:
    frames = draw(200, missing_frames=0.9).frames_BT
    for row in frames.tolist():
        there = sorted(set(row))
        assert row == [max([frame for frame in there if frame <= place], default=there[0]) for place in range(16)]
    clips = some_clips(200)
    shown = render_clips(make_batch(clips, draw(200, missing_frames=0.9)))
    assert torch.equal(shown, torch.stack([clip[row] for clip, row in zip(clips, frames, strict=True)]))


def test_noise_has_its_standard_deviation_and_is_the_same_whatever_the_batch() -> None:
    grey = torch.full((4, 16, 64, 64), 100, dtype=torch.uint8)
    shown = render_clips(make_batch(grey, draw(4, noise=5.0)))
    assert float(shown.float().mean()) == pytest.approx(100, abs=0.1)
    assert float(shown.float().std()) == pytest.approx(5, abs=0.1)
    second = render_clips(make_batch(grey[1:], draw(3, noise=5.0, first=1)))
    assert torch.equal(second, shown[1:])
    before = torch.random.get_rng_state()
    render_clips(make_batch(grey, draw(4, noise=5.0)))
    assert torch.equal(torch.random.get_rng_state(), before)
    extreme = torch.tensor([0, 255], dtype=torch.uint8).repeat(16, 8, 4)[None]
    assert set(render_clips(make_batch(extreme, draw(1, noise=1.0))).unique().tolist()) <= {*range(7), *range(249, 256)}


@pytest.mark.parametrize("scale", list(Scale))
def test_grey_255_minus_x_is_the_grey_of_the_reversed_field(scale: Scale) -> None:
    field = np.random.default_rng(0).normal(0, 300, 10_000)
    grey, reversed_ = (scale_field(sign * field, scale=scale, clip_gauss=800.0) for sign in (1, -1))
    assert (reversed_ == 255 - grey).all()
    none = scale_field(np.zeros(1), scale=scale, clip_gauss=800.0)
    assert none.tolist() == [128]  # and so 127, where the field is zero to the last bit


def test_padding_is_not_changed() -> None:
    mask = np.array([True, False])
    changes = draw_changes(mask, fast_options(**ALL_CHANGES), epoch=0, first=0)
    clips = torch.zeros((2, 16, 8, 8), dtype=torch.uint8)
    assert not render_clips(make_batch(clips, changes))[1].any()


def test_ranks_together_draw_what_one_does(build: Path) -> None:
    def read(num_ranks: int) -> dict[int, Any]:
        seen: dict[int, Any] = {}
        for rank in range(num_ranks):
            data = ShardDataModule(
                build,
                LoadingOptions(
                    variant="base",  # type: ignore[arg-type]
                    protocol="paper",  # type: ignore[arg-type]
                    batch_size=12 // num_ranks,
                    sampler="balanced",  # type: ignore[arg-type]
                    **ALL_CHANGES | {"noise": 0.0},
                ),
                fold=0,
            )
            data._place = lambda rank=rank: (num_ranks, rank)  # type: ignore[method-assign, misc]
            for step, batch in enumerate(data.train_dataloader()):
                clips = render_clips(batch)
                for position in np.flatnonzero(batch.mask_B.numpy()).tolist():
                    seen.setdefault(step, []).append(
                        (int(batch.rows_B[position]), int(clips[position, :, ::4, ::4].sum()))
                    )
        return seen

    assert read(3) == read(1)


@pytest.mark.slow
def test_the_network_is_shown_changed_clips_in_training_only(
    build: Path, tmp_path: Path, network: list[MakeNetwork]
) -> None:
    seen: dict[bool, set[int]] = {True: set(), False: set()}

    class Looking(FastNetwork):
        def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
            seen[self.training] |= {int((255 * clip).sum().round()) for clip in x_BCTHW}
            return super().forward(x_BCTHW)

    network.append(Looking)
    fit(build, tmp_path, fast_options(polarity=True, max_epochs=1))
    opened = open_build(build)
    sums = {row: int(opened.read_clip(row).sum(dtype=np.int64)) for row in range(150)}
    opened.close()
    whole = 255 * 16 * 224 * 224
    plain, turned = {sums[row] for row in TRAIN_ROWS}, {whole - sums[row] for row in TRAIN_ROWS}

    def close_to(found: set[int], known: set[int]) -> set[int]:  # sums in float32
        return {one for one in found if any(abs(one - other) < 2000 for other in known)}

    assert close_to(seen[True], plain | turned) == seen[True]
    assert close_to(seen[True], turned)
    assert close_to(seen[True], plain)
    assert close_to(seen[False], {sums[row] for row in range(140, 150)}) == seen[False] - {0}  # without padding


# Resuming -------------------------------------------------------------------------------------------------------------

COMBINED: dict[str, dict[str, object]] = {
    "everything": ALL_CHANGES
    | {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine", "warmup_epochs": 1.0, "ema_decay": 0.9}
    | {"gradient_clip": 0.5, "label_smoothing": 0.1, "sampler": "balanced", "class_weights": "none"},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "loss": "focal", "ema_decay": 0.5, "decay_patience": 0, "noise": 2.0},
    "frozen": {"schedule": "constant", "loss": "logit-adjusted", "class_weights": "none", "frozen": "head.bias"}
    | {"missing_frames": 0.5, "ema_decay": 0.9, "accumulate": 2, "batch_size": 4},
}


class Failing(TwoParts):
    """Fails in a call, once."""

    fail_at = 0

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        Failing.fail_at -= self.training
        if Failing.fail_at == 0 and self.training:
            raise RuntimeError("killed")
        return super().forward(x_BCTHW)


@pytest.mark.slow
@pytest.mark.parametrize("fail_at", [4, 8])  # in the first epoch and in the second, of 5 steps or 10 batches
@pytest.mark.parametrize("name", COMBINED)
def test_any_recipe_resumes_to_the_last_bit(
    build: Path, tmp_path: Path, network: list[MakeNetwork], steps: list[Step], name: str, fail_at: int
) -> None:
    options = fast_options(max_epochs=3, save_every_steps=1, **COMBINED[name])
    fail_at *= options.accumulate
    network.append(Failing)
    Failing.fail_at = -1
    fit(build, tmp_path / "whole", options)
    whole = [step.loss for step in steps]
    steps.clear()
    Failing.fail_at = fail_at
    with pytest.raises(RuntimeError, match="killed"):
        fit(build, tmp_path / "broken", options)
    kept = steps[: (fail_at - 1) // options.accumulate * options.accumulate].copy()
    steps.clear()
    assert fit(build, tmp_path / "broken", options).finished
    assert [step.loss for step in kept + steps] == whole
    files = [digest_tree(tmp_path / folder) for folder in ("whole", "broken")]
    assert files[0]["last.ckpt"] == files[1]["last.ckpt"]
    assert files[0]["metrics.csv"] == files[1]["metrics.csv"]


def test_a_checkpoint_of_another_recipe_is_not_resumed(build: Path, tmp_path: Path, network: list[MakeNetwork]) -> None:
    fit(build, tmp_path, fast_options(max_epochs=1))
    for change, said in (
        ({"optimizer": "adamw"}, r"optimizer adam \(now adamw\)"),
        ({"flips": True}, r"flips False \(now True\)"),
        ({"ema_decay": 0.9}, r"ema_decay 0.0 \(now 0.9\)"),
    ):
        with pytest.raises(ConflictError, match=said):
            fit(build, tmp_path, fast_options(**change))


def test_a_cosine_cannot_be_given_more_epochs_later(build: Path, tmp_path: Path, network: list[MakeNetwork]) -> None:
    fit(build, tmp_path, fast_options(schedule="cosine", max_epochs=1))
    with pytest.raises(ConflictError, match=r"max_epochs 1 \(now 2\)"):
        fit(build, tmp_path, fast_options(schedule="cosine", max_epochs=2))


# Files and refusals ---------------------------------------------------------------------------------------------------


def choose(recipe: str | Path, **choices: object) -> TrainingOptions:
    return TrainingOptions.from_choices({"model": "mvit_tiny", **choices}, is_remote=False, recipe=recipe)


def test_options_of_the_command_line_win_over_the_file_and_the_file_over_published(tmp_path: Path) -> None:
    path = tmp_path / "gentle.toml"
    path.write_text(
        'optimizer = "adamw"\nweight_decay = 0.05\nlearning_rate = 1e-5\nflips = true\nmax_epochs = 30\nema_decay = 0\n'
    )
    assert choose(path) == choose(
        "published", optimizer="adamw", weight_decay=0.05, learning_rate=1e-5, flips=True, max_epochs=30
    )
    changed = choose(str(path), learning_rate=1e-3, flips=False)
    assert (changed.learning_rate, changed.flips, changed.optimizer) == (1e-3, False, "adamw")
    published = choose("published")
    assert (published.learning_rate, published.optimizer, published.max_epochs) == (3e-4, "adam", 100)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rte = 1", "expected names such as learning_rate in a recipe, found an unknown field `learning_rte`"),
        ("lr = 1", "found an unknown field `lr`"),
        ("variant = 'oT'", r"found an unknown field `variant` \(an option of the command line only\)"),
        ("[loss]\nname = 'focal'", r"recipe.toml, loss: expected a value of its option, found Expected `str`"),
        ("loss = 'hinge'", "recipe.toml, loss: expected a value of its option, found Invalid enum value 'hinge'"),
        ("flips = 1", "recipe.toml, flips: expected a value of its option, found Expected `bool`, got `int`"),
        ("batch_size = 2.5", "recipe.toml, batch_size: expected a value of its option, found Expected `int`"),
        ("ema_decay = nan", "recipe.toml, ema_decay: expected a finite number, found nan"),
        ("ema_decay = 1.5", "recipe.toml, ema_decay: expected at most 0.999999, found 1.5"),
        (
            "momentum = 0.9",
            "recipe.toml, momentum: expected `optimizer` sgd beside it, found momentum 0.9 with optimizer",
        ),
        ("loss = ", r"recipe.toml: expected a recipe in TOML, found no TOML \("),
        ("\udcff", r"recipe.toml: expected a recipe in TOML, found no TOML \("),
    ],
)
def test_a_recipe_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=said) as caught:
        choose(path)
    assert "\n" not in str(caught.value)


def test_what_differs_from_the_published_recipe_is_known_by_name() -> None:
    published = {"max_epochs": 100, "batch_size": 10}
    assert fast_options(**published).changes() == {}
    assert fast_options(**published, loss="focal", flips=True).changes() == {"loss": "focal", "flips": True}


def test_a_recipe_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="gentle.toml"):
        read_recipe(tmp_path / "gentle.toml")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"momentum": 0.9}, "`momentum`: expected `optimizer` sgd beside it"),
        ({"warmup_epochs": 1.0}, "`warmup_epochs`: expected `schedule` cosine beside it"),
        ({"schedule": "cosine", "warmup_epochs": 2.0}, "`warmup_epochs`: expected less than the 2 of `max_epochs`"),
        ({"schedule": "cosine", "decay_factor": 0.5}, "`decay_factor`: expected `schedule` plateau beside it"),
        ({"schedule": "constant", "min_learning_rate": 0.0}, "expected `schedule` cosine or plateau beside it"),
        ({"focal_gamma": 1.0}, "`focal_gamma`: expected `loss` focal beside it"),
        (
            {"loss": "focal", "label_smoothing": 0.1},
            "`label_smoothing`: expected `loss` cross-entropy or logit-adjusted beside it",
        ),
        ({"loss": "logit-adjusted"}, "`class_weights`: expected none beside `loss` logit-adjusted"),
        (
            {"loss": "logit-adjusted", "class_weights": "none", "sampler": "balanced"},
            "`sampler`: expected published beside `loss` logit-adjusted",
        ),
        ({"sampler": "balanced", "engine": "classic"}, "`sampler`: expected published beside another order or reader"),
        ({"sampler": "balanced", "shuffle": "blocks"}, "found balanced, with shuffle blocks and engine plan"),
        ({"noise": 1.0, "engine": "classic"}, "`engine`: expected plan, where clips are changed at random"),
        ({"weight_decay": math.inf}, "`weight_decay`: expected a finite number, found inf"),
    ],
)
def test_what_cannot_be_combined_is_refused(recipe: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fast_options(**recipe)


def test_sgd_asks_for_a_learning_rate() -> None:
    with pytest.raises(InputError, match="`learning_rate`: expected a number beside `optimizer` sgd"):
        choose("published", optimizer="sgd")
    assert choose("published", optimizer="sgd", learning_rate=0.01).learning_rate == 0.01


def test_the_command_line_takes_a_recipe_and_names_its_flags(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gentle.toml").write_text('optimizer = "sgd"\nflips = true\nlearning_rate = 0.1\n')
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(to_typer(train))

    def error_of(*arguments: str) -> str:
        start = ["--shards", str(build), "--model", "mvit_tiny", "--recipe", "gentle.toml"]
        error = CliRunner().invoke(app, [*start, *arguments]).exception
        assert isinstance(error, InputError)
        return error.render(show_flag)

    line = error_of("--optimizer", "adam", "--momentum", "0.5")
    assert line.startswith("--momentum: expected --optimizer sgd beside it, found momentum 0.5 with optimizer adam; ")
    assert "where clips are changed at random" in error_of("--engine", "classic")
    assert error_of("--engine", "classic", "--no-flips", "--accelerator", "nowhere").startswith("--accelerator: ")
    assert not (tmp_path / "runs").exists()


def test_weights_count_each_sample_by_its_class_where_labels_are_smoothed() -> None:
    # Not as torch's `weight`, by which a smoothed negative would count more as a positive than as a negative.
    logits, labels = some_logits()
    weights = torch.tensor([0.03, 0.97])
    losses = weigh_losses(losses_of(label_smoothing=0.1), labels, torch.ones(50, dtype=torch.bool), weights_K=weights)
    expected = weights[labels] * functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(losses, expected)
