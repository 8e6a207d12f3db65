"""A training that a queue stops: what it saves, how it ends, and that the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_record import read_record
from sffshards.training.fold_training import train_fold
from sffshards.training.stop_signals import TrainingStopped
from tests.training_data import FastNetwork, Listener, fast_options, make_build

_TRAIN = """
import json, os, signal, sys
from pathlib import Path
from sffshards.base.progress import SILENT
from sffshards.training import fold_training as fit
from sffshards.training.flare_classifier import FlareClassifier
from tests.training_data import FastNetwork, fast_options

build, out, devices, when = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def trace(name):
    step = getattr(FlareClassifier, name)

    def tracing(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        place = [name, self.current_epoch, batch_idx]
        if place[0] == "training_step":
            with (out / f"trace-{self.global_rank}.txt").open("a") as file:
                file.write(json.dumps([*place[1:], float(loss.detach())]) + "\\n")
        wanted = when.split(":")
        if [name, str(self.current_epoch), str(batch_idx), str(self.global_rank)] == wanted[1:]:
            os.kill(os.getpid(), getattr(signal, wanted[0]))
        return loss

    setattr(FlareClassifier, name, tracing)

if __name__ == "__main__":
    trace("training_step")
    trace("validation_step")
    fit.build_model = lambda *_, **__: FastNetwork()
    options = fast_options(devices=devices, batch_size=8 // devices, max_epochs=3, learning_rate=0.5)
    fit.train_fold(build, out / "fold0", options, fold=0, force=False, progress=SILENT)
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("stopping"))


def train(folder: Path, build: Path, out: Path, *, devices: int = 1, when: str = "never") -> int:
    out.mkdir(exist_ok=True)
    (folder / "train.py").write_text(_TRAIN)
    command = [sys.executable, str(folder / "train.py"), str(build), str(out), str(devices), when]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, timeout=300, env=environment).returncode


def read_trace(out: Path, *, rank: int = 0) -> list[list[float]]:
    return [json.loads(line) for line in (out / f"trace-{rank}.txt").read_text().splitlines()]


@pytest.mark.parametrize(
    "name", [pytest.param("SIGTERM", marks=pytest.mark.slow), pytest.param("SIGUSR1", marks=pytest.mark.long)]
)
def test_a_signal_saves_after_the_step_ends_with_143_and_the_same_command_goes_on(
    build: Path, tmp_path: Path, name: str
) -> None:
    # An epoch is five steps; the signal comes within the third of the second.
    assert train(tmp_path, build, tmp_path / "whole") == 0
    assert train(tmp_path, build, tmp_path / "stopped", when=f"{name}:training_step:1:2:0") == 143
    assert not read_record(tmp_path / "stopped" / "fold0").finished
    assert train(tmp_path, build, tmp_path / "stopped") == 0
    assert read_record(tmp_path / "stopped" / "fold0").finished
    whole, stopped = read_trace(tmp_path / "whole"), read_trace(tmp_path / "stopped")
    assert len(whole) == 15
    assert stopped == whole  # no step twice, none left out, and the very same losses
    weights = [
        torch.load(tmp_path / run / "fold0" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "stopped")
    ]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


@pytest.mark.long
def test_a_signal_to_one_rank_stops_all_of_them_at_the_same_step(build: Path, tmp_path: Path) -> None:
    assert train(tmp_path, build, tmp_path / "whole", devices=2) == 0
    assert train(tmp_path, build, tmp_path / "stopped", devices=2, when="SIGTERM:training_step:1:1:1") == 143
    assert [read_trace(tmp_path / "stopped", rank=rank)[-1][:2] for rank in (0, 1)] == [[1, 1], [1, 1]]
    assert train(tmp_path, build, tmp_path / "stopped", devices=2) == 0
    for rank in (0, 1):
        assert read_trace(tmp_path / "stopped", rank=rank) == read_trace(tmp_path / "whole", rank=rank)


def stop_at(monkeypatch: pytest.MonkeyPatch, step: str, epoch: int, batch_idx: int) -> list[tuple[int, int, float]]:
    """Send SIGTERM within a step; give the trace of the training steps, which grows."""
    monkeypatch.setattr("sffshards.training.fold_training.build_model", lambda *_, **__: FastNetwork())
    trace: list[tuple[int, int, float]] = []
    steps = {name: getattr(FlareClassifier, name) for name in ("training_step", "validation_step")}

    def tracing(name: str):
        def run(self: FlareClassifier, batch: object, at: int) -> object:
            loss = steps[name](self, batch, at)
            if name == "training_step":
                trace.append((self.current_epoch, at, float(loss.detach())))
            if (name, self.current_epoch, at) == (step, epoch, batch_idx):
                os.kill(os.getpid(), signal.SIGTERM)
            return loss

        return run

    for name in steps:
        monkeypatch.setattr(FlareClassifier, name, tracing(name))
    return trace


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "epoch", "batch_idx", "again"),
    [
        ("training_step", 1, 2, []),
        ("training_step", 1, 4, [(1, 4)]),  # the last step of an epoch is heard of in validation
        ("validation_step", 1, 0, [(1, 4)]),  # of which nothing is kept: the last step comes again
        ("training_step", 0, 0, []),
    ],
)
def test_a_stop_anywhere_in_an_epoch_loses_one_step_at_most_and_the_losses_stay_the_same(
    build: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    epoch: int,
    batch_idx: int,
    again: list[tuple[int, int]],
) -> None:
    options = fast_options(max_epochs=3, learning_rate=0.5)
    with monkeypatch.context() as patched:
        whole = stop_at(patched, "never", 0, 0)
        train_fold(build, tmp_path / "whole", options, fold=0, force=False, progress=Listener())
    before = signal.getsignal(signal.SIGTERM)
    progress = Listener()
    with monkeypatch.context() as patched:
        first = stop_at(patched, step, epoch, batch_idx)
        with pytest.raises(TrainingStopped) as stopped:
            train_fold(build, tmp_path / "fold0", options, fold=0, force=False, progress=progress)
    assert stopped.value.code == 143
    assert "stopped by SIGTERM; " in progress.notes[-1]
    assert "the same command without --force resumes" in progress.notes[-1]
    assert signal.getsignal(signal.SIGTERM) is before
    with monkeypatch.context() as patched:
        second = stop_at(patched, "never", 0, 0)
        assert train_fold(build, tmp_path / "fold0", options, fold=0, force=False, progress=progress).finished
    kept = [entry for entry in first if entry[:2] not in again]
    assert kept + second == whole
    assert (tmp_path / "fold0" / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()
