"""Training on more than one device, node or batch at a time; what it logs, and what it remembers of how it was made."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sffshards.base.errors import ConflictError, InputError, TrainingError
from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Variant
from sffshards.loading.loading_options import Engine
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_record import GitState, read_git, read_record
from sffshards.training.fold_training import train_fold
from sffshards.training.process_ranks import choose_environment, is_first_process
from sffshards.training.trainer_setup import build_logger
from sffshards.training.training_config import LoggerName, Strategy
from tests.training_data import FastNetwork, Listener, fast_options, make_build

BUILD_MODEL = "sffshards.training.fold_training.build_model"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("scale"))


class Plain(FastNetwork):
    """Without dropout, whose draws depend on how a batch is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.head[0] = torch.nn.Dropout(0.0)


class Uncounted(Plain):
    """Keeps no count of its calls, for which `torch.compile` would compile again."""

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        x_BN = x_BCTHW[:, 0, :, ::8, ::8].flatten(1)
        logits_BK: torch.Tensor = self.head(torch.stack([x_BN.mean(1), 20 * x_BN.std(1)], dim=1))
        return logits_BK


def fit(build: Path, out: Path, **changes: object):
    return train_fold(build, out, fast_options(**changes), fold=0, force=False, progress=SILENT)


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


# Accumulated batches ------------------------------------------------------------------------------------------------


def note_gradients(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    gradients: list[torch.Tensor] = []

    def note(self: FlareClassifier, optimizer: object) -> None:
        gradients.append(torch.cat([p.grad.flatten().clone() for p in self.parameters() if p.grad is not None]))

    monkeypatch.setattr(FlareClassifier, "on_before_optimizer_step", note, raising=False)
    return gradients


@pytest.mark.parametrize(
    ("batch_size", "accumulate"),
    # 40 samples in steps of 12: the last has 4, in batches of 3 and 1, or one of 4
    [(3, 4), *(pytest.param(*of, marks=pytest.mark.slow) for of in [(6, 2), (1, 12)])],
)
def test_accumulated_batches_give_the_gradients_of_one_large_batch(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, accumulate: int
) -> None:
    monkeypatch.setattr(BUILD_MODEL, lambda *_, **__: Plain())
    gradients = note_gradients(monkeypatch)
    fit(build, tmp_path / "one", batch_size=12)
    expected = gradients.copy()
    assert len(expected) == 8
    gradients.clear()
    fit(build, tmp_path / "many", batch_size=batch_size, accumulate=accumulate)
    assert len(gradients) == 8
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    rows = [read_table(tmp_path / name / "metrics.csv") for name in ("one", "many")]
    for one, many in zip(*rows, strict=True):
        assert float(many["train_loss"]) == pytest.approx(float(one["train_loss"]), rel=1e-5)
        assert float(many["valid_loss"]) == pytest.approx(float(one["valid_loss"]), rel=1e-5)
        assert many["step"] == one["step"]


@pytest.mark.parametrize(  # in the first epoch, of 14 batches in steps of four
    "fail_at", [11, *(pytest.param(batch, marks=pytest.mark.slow) for batch in (6, 8, 13))]
)
def test_a_run_with_accumulated_batches_goes_on_at_a_whole_step(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    options = {"batch_size": 3, "accumulate": 4, "save_every_steps": 1, "learning_rate": 0.5}
    losses: list[float] = []
    step = FlareClassifier.training_step

    def tracing(self, batch, batch_idx):
        losses.append(float((loss := step(self, batch, batch_idx)).detach()))
        return loss

    monkeypatch.setattr(FlareClassifier, "training_step", tracing)
    monkeypatch.setattr(BUILD_MODEL, lambda *_, **__: FastNetwork())
    fit(build, tmp_path / "whole", **options)
    whole = losses.copy()
    losses.clear()

    def failing(*_: object, **__: object) -> FastNetwork:
        network = FastNetwork()
        network.fail_at = fail_at
        return network

    with monkeypatch.context() as patched:
        patched.setattr(BUILD_MODEL, failing)
        with pytest.raises(RuntimeError, match="killed"):
            fit(build, tmp_path / "broken", **options)
    kept = losses[: (fail_at - 1) // 4 * 4]
    losses.clear()
    with pytest.raises(ConflictError, match=r"a training with accumulate 4 \(now 2\)"):
        fit(build, tmp_path / "broken", **(options | {"batch_size": 6, "accumulate": 2}))
    assert fit(build, tmp_path / "broken", **options).finished
    assert kept + losses == whole


def test_only_the_product_of_batch_devices_nodes_and_accumulation_has_a_part_in_the_result() -> None:
    options = fast_options(batch_size=24)
    assert options.global_batch == 24
    other = fast_options(
        batch_size=2,
        devices=2,
        num_nodes=3,
        accumulate=2,
        strategy=Strategy.DDP,
        compile_network=True,
        logger=LoggerName.CSV,
    )
    assert (other.num_ranks, other.global_batch) == (6, 24)
    assert options.differences(other) == {}
    assert options.differences(replace(other, accumulate=1)) == {"global_batch": (24, 12)}
    classic = fast_options(batch_size=24, engine=Engine.CLASSIC)
    assert set(classic.differences(replace(classic, batch_size=12, num_nodes=2))) == {"batch_size", "num_nodes"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accumulate": 0}, "`accumulate`: expected at least 1, found 0"),
        ({"num_nodes": 0}, "`num_nodes`: expected at least 1, found 0"),
        ({"accumulate": 2, "engine": Engine.CLASSIC}, "`engine`: expected plan, where `accumulate` is given"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fast_options(**change)


# Processes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch):
    """Set what Slurm sets, and nothing else of it."""
    known = ("SLURM_", "RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "TORCHELASTIC_")
    for name in [name for name in os.environ if name.startswith(known)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", [__file__])  # a process of pytest-xdist has no script, as a notebook has none

    def use(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return use


def test_under_srun_the_ranks_are_its_tasks_and_no_job_is_queued_again_unasked(slurm) -> None:
    slurm(SLURM_JOB_ID="7", SLURM_STEP_ID="0", SLURM_NTASKS="8", SLURM_NTASKS_PER_NODE="4", SLURM_PROCID="5")
    environment = choose_environment(devices=4, num_nodes=2)
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue
    options = fast_options(devices=4, num_nodes=2)
    assert not is_first_process(options)
    slurm(SLURM_PROCID="0")
    assert is_first_process(options)
    with pytest.raises(InputError, match="expected 4 Slurm tasks, 4 per node: .* found 8 that srun started, 4 per"):
        choose_environment(devices=4, num_nodes=1)


def test_in_a_batch_script_without_srun_one_node_starts_its_own_processes(slurm) -> None:
    # Lightning alone would wait for seven others.
    slurm(SLURM_JOB_ID="7", SLURM_NTASKS="8", SLURM_NTASKS_PER_NODE="4", SLURM_PROCID="0")
    assert isinstance(choose_environment(devices=4, num_nodes=1), LightningEnvironment)
    with pytest.raises(InputError, match="found none that srun started; start `srun sffshards"):
        choose_environment(devices=4, num_nodes=2)


def test_without_slurm_each_node_starts_its_own_processes(slurm) -> None:
    options = fast_options(devices=4, num_nodes=2)
    assert isinstance(choose_environment(devices=4, num_nodes=2), LightningEnvironment)
    assert is_first_process(options)
    slurm(NODE_RANK="1")
    assert not is_first_process(options)


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "WORLD_SIZE"])
def test_variables_that_another_program_left_make_a_single_process_no_other(slurm, name) -> None:
    slurm(**{name: "1"})
    assert is_first_process(fast_options())
    assert isinstance(choose_environment(devices=1, num_nodes=1), LightningEnvironment)


def test_a_rank_without_the_number_of_ranks_is_refused(slurm) -> None:
    slurm(LOCAL_RANK="1")
    with pytest.raises(
        InputError, match=r"LOCAL_RANK: expected a rank below 3, .* found LOCAL_RANK=1, WORLD_SIZE=none"
    ):
        choose_environment(devices=3, num_nodes=1)


@pytest.mark.parametrize(("devices", "started"), [(1, "2"), (2, "1"), (2, "4")])
def test_torchrun_with_another_number_of_processes_than_devices_is_refused(slurm, devices, started) -> None:
    slurm(TORCHELASTIC_RUN_ID="7", WORLD_SIZE=started, RANK="0", LOCAL_RANK="0")
    with pytest.raises(InputError, match=f"expected {devices} processes that torchrun started: .* found {started};"):
        choose_environment(devices=devices, num_nodes=1)


def test_torchrun_with_a_process_for_each_device_trains_on_them(slurm) -> None:
    slurm(TORCHELASTIC_RUN_ID="7", WORLD_SIZE="2", RANK="1", LOCAL_RANK="1")
    assert isinstance(choose_environment(devices=2, num_nodes=1), TorchElasticEnvironment)
    assert not is_first_process(fast_options(devices=2))


def test_two_devices_in_a_notebook_are_refused(slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    with pytest.raises(InputError, match=r"expected 1 in a notebook, .* found 5;"):
        choose_environment(devices=5, num_nodes=1)


# Kernels ------------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants a C++ compiler")
def test_a_compiled_network_trains_to_the_same_weights_under_the_same_names(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (  # in a process of its own, as the compiler warns of much
        "import sys; from pathlib import Path; from sffshards.training import fit\n"
        "from tests.test_scale import SILENT, Uncounted, fast_options\n"
        "fit.build_model = lambda *_, **__: Uncounted()\n"
        "options = fast_options(max_epochs=1, compile_network=True)\n"
        "fit.train_fold(Path(sys.argv[1]), Path(sys.argv[2]), options, fold=0, force=False, progress=SILENT)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", script, str(build), str(tmp_path / "compiled")]
    subprocess.run(command, check=True, env=environment)
    monkeypatch.setattr(BUILD_MODEL, lambda *_, **__: Uncounted())
    fit(build, tmp_path / "plain", max_epochs=1)
    compiled, plain = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("compiled", "plain")
    )
    assert list(compiled) == list(plain) == ["model.head.1.weight", "model.head.1.bias"]
    for name, value in compiled.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-4, atol=1e-6)


def test_a_network_that_cannot_be_compiled_is_said_in_a_line(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = type("InvalidCxxCompiler", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    network = FastNetwork()
    network.failure = error("No working C++ compiler found")
    monkeypatch.setattr(network, "compile", lambda: setattr(network, "fail_at", 1))
    monkeypatch.setattr(BUILD_MODEL, lambda *_, **__: network)
    with pytest.raises(TrainingError, match="^`compile_network`: .* found InvalidCxxCompiler: No working C"):
        fit(build, tmp_path, compile_network=True)


# What is logged and remembered --------------------------------------------------------------------------------------


def test_steps_are_logged_to_a_file_one_for_each_start(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BUILD_MODEL, lambda *_, **__: FastNetwork())
    fit(build, tmp_path, logger=LoggerName.CSV, max_epochs=3)  # of 5 steps; every tenth is logged
    rows = read_table(tmp_path / "csv" / "version_0" / "metrics.csv")
    assert [row["step"] for row in rows if row["train_loss_step"]] == ["9"]
    assert len([row for row in rows if row["valid_loss"]]) == 3
    assert not (tmp_path / "tensorboard").exists()
    assert read_record(tmp_path).options.logger is LoggerName.CSV


@pytest.mark.parametrize("name", [LoggerName.WANDB, LoggerName.MLFLOW])
def test_a_logger_that_is_not_installed_is_one_line_before_any_work(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: LoggerName
) -> None:
    monkeypatch.setattr("sffshards.training.trainer_setup.find_spec", lambda _: None)
    with pytest.raises(
        InputError, match=rf"^`logger`: expected the package {name}, for {name}, .*sffshards\[{name}\]'"
    ):
        fit(build, tmp_path / "fold0", logger=name)
    assert not (tmp_path / "fold0").exists()


def test_services_get_the_name_of_the_fold_and_keep_their_files_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sffshards.training.trainer_setup.find_spec", lambda _: object())
    monkeypatch.setattr("sffshards.training.trainer_setup.WandbLogger", dict)
    monkeypatch.setattr("sffshards.training.trainer_setup.MLFlowLogger", dict)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    wandb: object = build_logger(LoggerName.WANDB, tmp_path, title="48h oTV fold 0")
    assert wandb == {"name": "48h oTV fold 0", "project": "sffshards", "save_dir": tmp_path}
    mlflow: object = build_logger(LoggerName.MLFLOW, tmp_path, title="48h oTV fold 0")
    assert mlflow["tracking_uri"] == f"file://{tmp_path}/mlruns"  # type: ignore[index]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    mlflow = build_logger(LoggerName.MLFLOW, tmp_path, title="x")
    assert mlflow["tracking_uri"] == "https://mlflow.example"  # type: ignore[index]


def test_the_commit_of_the_packages_own_checkout_is_read_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    package = tmp_path / "checkout" / "package"
    installed = package.parent / "venv" / "lib" / "package"
    for folder in (package, installed):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")

    def git(*arguments: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(package.parent), *names, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert read_git(package) is None
    git("init", "-q")
    git("add", "package")
    git("commit", "-qm", "x")
    commit = git("rev-parse", "HEAD")
    assert read_git(package) == GitState(commit=commit, dirty=False)
    assert read_git(installed) is None
    (package / "__init__.py").write_text("changed = 1\n")
    assert read_git(package) == GitState(commit=commit, dirty=True)
    monkeypatch.setenv("PATH", "")
    assert read_git(package) is None


def test_the_record_says_what_made_the_run_and_an_older_one_is_still_read(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BUILD_MODEL, lambda *_, **__: FastNetwork())
    state = GitState(commit="0" * 40, dirty=True)
    monkeypatch.setattr("sffshards.training.fold_record.read_git", lambda: state)
    record = fit(build, tmp_path, max_epochs=1, variant=Variant.OT)
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["git"] == {"commit": "0" * 40, "dirty": True}
    assert {"python", "sffshards", "torch", "pytorch-lightning"} <= set(content["versions"])
    assert content["options"]["seed"] == 123
    assert content["manifest_sha256"] == json.loads((build / "manifest.json").read_text())["sha256"]
    assert read_record(tmp_path) == record
    del content["git"], content["record_sha256"]
    for name in ("num_nodes", "strategy", "accumulate", "compile_network", "logger"):
        del content["options"][name]
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert read_record(tmp_path) == replace(record, git=None)


def test_weights_that_are_not_finite_do_not_replace_a_good_checkpoint(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BUILD_MODEL, lambda *_, **__: FastNetwork())

    step = FlareClassifier.optimizer_step

    def spoiling(self, epoch, batch_idx, *args, **kwargs):
        step(self, epoch, batch_idx, *args, **kwargs)
        if batch_idx == 2:
            torch.nn.init.constant_(self.model.head[1].bias, float("inf"))

    monkeypatch.setattr(FlareClassifier, "optimizer_step", spoiling)
    with pytest.raises(TrainingError, match="^fold 0, epoch 0, step 3: expected finite weights"):
        fit(build, tmp_path, save_every_steps=1)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 2
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())


def test_progress_counts_samples_and_goes_on_where_an_epoch_was_left(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> FastNetwork:
        network = FastNetwork()
        network.fail_at = 4
        return network

    options = fast_options(save_every_steps=2, max_epochs=1)
    monkeypatch.setattr(BUILD_MODEL, failing)
    progress = Listener()
    with pytest.raises(RuntimeError, match="killed"):
        train_fold(build, tmp_path, options, fold=0, force=False, progress=progress)
    name = "Fold 0, epoch 0 (at most 1 epochs)"
    assert progress.tasks[name] == (50, 24)  # 40 of training and 10 of validation; three batches of 8 are done
    monkeypatch.setattr(BUILD_MODEL, lambda *_, **__: FastNetwork())
    progress = Listener()
    train_fold(build, tmp_path, options, fold=0, force=False, progress=progress)
    assert progress.started[name] == 16
    assert progress.tasks[name] == (50, 50)


def test_a_log_says_the_rate_in_its_unit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from sffshards.cli import terminal_output as console

    times = iter([0.0, 40.0, 50.0])
    monkeypatch.setattr("sffshards.cli.terminal_output.time.monotonic", lambda: next(times))
    with console._Lines().task("Fold 0", 1_000, unit="samples", done=200) as advance:
        advance(400)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Fold 0: 600 of 1,000, 40 s left, 10 samples/s", "Fold 0: 400 in 50.0 s, 8.0 samples/s"]


@pytest.mark.parametrize(
    ("width", "columns", "shows"),
    [
        (40, "40", []),
        (80, "80", ["samples/s"]),
        (120, "120", ["samples/s", "━"]),
        *((80, columns, ["samples/s"]) for columns in ("0", "1", "-5", "wide", "9" * 14)),
    ],
)
def test_a_line_of_progress_keeps_its_count_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, width: int, columns: str, shows: list[str]
) -> None:
    from sffshards.cli import terminal_output as console

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    text = "Fold 0, epoch 12 (at most 100 epochs)"
    with monkeypatch.context() as patched:  # pytest itself reads the number of columns after the test
        patched.setattr("sys.stderr", terminal)
        patched.setenv("TERM", "dumb")
        assert not isinstance(console.make_progress(), console._Bars)
        for name, value in {"COLUMNS": columns, "LINES": "24", "TERM": "xterm"}.items():
            patched.setenv(name, value)
        with console.make_progress().task(text, 49_505, unit="samples", done=20_000) as advance:
            advance(1_000)
            time.sleep(0.01)  # without two points in time there is no estimate
            advance(4_000)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    *_, last = [line for line in shown.splitlines() if line.strip()]
    assert "25000/49505" in last
    assert re.search(r"left \d+:\d\d:\d\d", last)
    assert len(last.rstrip()) <= width
    assert all(part in last for part in shows)
