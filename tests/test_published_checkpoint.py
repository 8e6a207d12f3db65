"""Checkpoints as the published programs wrote them, with Lightning 1.9: read without running what is in them."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path, PosixPath

import numpy as np
import pytest
import torch

from sffshards.base.errors import DamageError, InputError
from sffshards.forecasting.runs.network_prediction import Inference, predict_rows
from sffshards.models import NO_WEIGHTS, load_checkpoint
from sffshards.models.model_names import ModelName
from sffshards.models.networks import build_model
from sffshards.shards.read.build_reader import open_build
from tests.training_data import make_build


def write_checkpoint(path: Path, model: torch.nn.Module, **extra: object) -> Path:
    """Write what Lightning 1.9's trainer does: the state under `model.`, class weights, and all that it trains with."""
    parameters = list(model.parameters())[:3]
    optimizer = torch.optim.Adam(parameters, lr=1e-7)
    torch.stack([p.square().sum() for p in parameters]).sum().backward()
    optimizer.step()
    state = OrderedDict((f"model.{name}", value.clone()) for name, value in model.state_dict().items())
    state["criterion.weight"] = torch.tensor([0.0328, 0.9672])
    state["criterion_val.weight"] = torch.tensor([0.0158, 0.9842])
    monitor = "ModelCheckpoint{'monitor': 'valid_loss', 'mode': 'min', 'every_n_train_steps': 0, 'every_n_epochs': 1}"
    content = {
        "epoch": 7,
        "global_step": 24_000,
        "pytorch-lightning_version": "1.9.5",
        "state_dict": state,
        "loops": {
            "fit_loop": {
                "state_dict": {},
                "epoch_loop.batch_progress": {"total": {"ready": 24_000}, "is_last_batch": True},
                "epoch_progress": {"total": {"ready": 8}},
            }
        },
        "callbacks": {
            monitor: {
                "monitor": "valid_loss",
                "best_model_score": torch.tensor(0.0166),
                "best_model_path": "/home/x/sample-FLARE_MViT_S_10-7-epoch=07-valid_loss=0.02-Wloss_k=3.ckpt",
                "best_k_models": {"a.ckpt": torch.tensor(0.0166)},
            },
            "EarlyStopping{'monitor': 'valid_loss', 'mode': 'min'}": {"wait_count": 0, "best_score": torch.tensor(0.1)},
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{"factor": 0.1, "best": torch.tensor(0.0166), "num_bad_epochs": 0, "_last_lr": [1e-7]}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"num_classes": 2, "learning_rate": 1e-7, "batch_size": 10, "model_name": "mvit"},
    }
    torch.save(content | extra, path)
    return path


def make_model(name: ModelName = ModelName.MVIT_TINY, *, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(name, weights=NO_WEIGHTS)


def assert_equal_state(a: torch.nn.Module, b: torch.nn.Module) -> None:
    assert list(a.state_dict()) == list(b.state_dict())
    assert all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_its_network_is_loaded_head_and_all_and_predicts_the_same(tmp_path: Path) -> None:
    published, loaded = make_model(seed=1), make_model(seed=2)
    path = write_checkpoint(tmp_path / "a.ckpt", published)
    load_checkpoint(loaded, path, model_name=ModelName.MVIT_TINY)
    assert_equal_state(loaded, published)
    inference = Inference(batch_size=2, num_threads=0, device=torch.device("cpu"))
    with open_build(make_build(tmp_path)) as build:
        rows = np.arange(2)
        expected, found = (
            predict_rows(model, build, rows, inference=inference, advance=lambda _: None)
            for model in (published, loaded)
        )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_the_published_network_is_loaded(tmp_path: Path) -> None:
    published, loaded = (make_model(ModelName.MVIT_V2_S, seed=seed) for seed in (1, 2))
    load_checkpoint(loaded, write_checkpoint(tmp_path / "a.ckpt", published), model_name=ModelName.MVIT_V2_S)
    assert_equal_state(loaded, published)


def test_numbers_of_numpy_and_paths_among_the_hyperparameters_are_no_hindrance(tmp_path: Path) -> None:
    published, loaded = make_model(seed=1), make_model(seed=2)
    parameters = {
        "weight": np.float64(0.97),
        "classes": np.int64(2),
        "rate": np.float32(1e-7),
        "weights": np.array([0.03, 0.97]),
        "folder": PosixPath("/home/x"),
    }
    path = write_checkpoint(tmp_path / "a.ckpt", published, hyper_parameters=parameters)
    load_checkpoint(loaded, path, model_name=ModelName.MVIT_TINY)
    assert_equal_state(loaded, published)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["hyper_parameters", "callbacks", "state_dict"])
def test_code_anywhere_in_it_is_refused_and_not_run(tmp_path: Path, place: str) -> None:
    evil = {place: {"a": Evil(f"touch {tmp_path / 'ran'}")}}
    path = write_checkpoint(tmp_path / "a.ckpt", make_model(seed=1), **evil)
    with pytest.raises(InputError, match="found objects that could run code, which are never loaded"):
        load_checkpoint(make_model(seed=2), path, model_name=ModelName.MVIT_TINY)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["a tensor", "the attributes of a member"])
def test_a_changed_byte_in_it_is_noticed(tmp_path: Path, part: str) -> None:
    model = make_model(seed=1)
    path = write_checkpoint(tmp_path / "a.ckpt", model)
    data = bytearray(path.read_bytes())
    if part == "a tensor":
        data[data.index(model.get_parameter("net.head.1.weight").detach().numpy().tobytes()) + 2] ^= 1
    else:
        data[data.rindex(b"a/data/0") - 8] ^= 0x10  # said to be a folder: torch would leave the memory as it is
    path.write_bytes(data)
    with pytest.raises(
        DamageError, match=r"a\.ckpt: expected the bytes that torch\.save wrote, found others in its member a/data/\d+;"
    ):
        load_checkpoint(make_model(seed=2), path, model_name=ModelName.MVIT_TINY)


def test_one_in_torchs_old_format_which_has_no_checksums_is_loaded(tmp_path: Path) -> None:
    published, loaded = make_model(seed=1), make_model(seed=2)
    torch.save(published.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    load_checkpoint(loaded, tmp_path / "a.pth", model_name=ModelName.MVIT_TINY)
    assert_equal_state(loaded, published)


def test_one_of_another_network_is_said_to_be(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.ckpt", torch.nn.Sequential(torch.nn.Linear(2, 2)))
    with pytest.raises(InputError, match="expected weights of mvit_tiny, found those of another network"):
        load_checkpoint(make_model(seed=2), path, model_name=ModelName.MVIT_TINY)
