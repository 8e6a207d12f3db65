"""Folds side by side: what processes are given, what becomes of errors and signals, and that the table is the same."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from sffshards.base.errors import InputError, SffshardsError, TrainingError
from sffshards.experiments import cluster_folds
from sffshards.experiments.job_processes import job_environment
from sffshards.experiments.parallel_folds import check_jobs, run_jobs
from sffshards.training.process_ranks import choose_environment
from sffshards.training.stop_signals import TrainingStopped
from tests.commands import run
from tests.errands import Errand
from tests.tiny import make_data
from tests.training_data import Listener, fast_options


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 200
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("sffshards.experiments.job_processes.default_workers", lambda: 6)


def test_every_job_is_done_with_its_share_of_the_processors(tmp_path: Path) -> None:
    names = [f"job {number}" for number in range(5)]
    listener = Listener()
    run_jobs([Errand(out=tmp_path, name=name) for name in names], num_workers=2, progress=listener)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "3")
    assert sorted(listener.notes) == [f"{name}: begun" for name in names]
    assert "OMP_NUM_THREADS" not in os.environ


def test_what_the_user_chose_of_the_processors_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_jobs([Errand(out=tmp_path, name="job")], num_workers=2, progress=Listener())
    assert (tmp_path / "job").read_text() == "1"


def test_a_job_is_not_one_of_the_ranks_that_a_launcher_of_its_parent_started(monkeypatch: pytest.MonkeyPatch) -> None:
    by_srun = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "20", "SLURM_PROCID": "3"}
    by_torchrun = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "20"}
    for name, value in (by_srun | by_torchrun | {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}).items():
        monkeypatch.setenv(name, value)
    environment = job_environment(0, 2, threads=None)
    started = {"SLURM_STEP_ID", "SLURM_NTASKS", "SLURM_PROCID", *by_torchrun, "MASTER_ADDR", "MASTER_PORT"}
    assert not started & set(environment)
    assert environment["SLURM_JOB_ID"] == "7"
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["OMP_NUM_THREADS"] == "3"
    monkeypatch.setattr(os, "environ", environment)
    assert isinstance(choose_environment(devices=1, num_nodes=1), LightningEnvironment)


@pytest.mark.parametrize(
    ("variables", "num_shares", "threads"),
    [
        ({}, 2, "3"),
        ({"SLURM_CPUS_PER_TASK": "4"}, 2, "3"),
        ({}, None, "6"),
        ({"SLURM_CPUS_PER_TASK": "4"}, None, "4"),
        ({"NCPUS": "2"}, None, "2"),
        ({"NCPUS": "64"}, None, "6"),
    ],
)
def test_a_fold_has_the_processors_of_its_job_or_its_share_of_a_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], num_shares: int | None, threads: str
) -> None:
    given: list[Mapping[str, str]] = []
    for name in ("SLURM_CPUS_PER_TASK", "NCPUS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cluster_folds, "default_workers", lambda: 6)
    monkeypatch.setattr(cluster_folds, "send_note", lambda *_: None)
    monkeypatch.setattr(cluster_folds, "run_alone", lambda _, environment, **__: given.append(environment))
    job = Errand(out=tmp_path, name="job")
    cluster_folds._run_on_worker(cluster_folds._Task(job=job, topic="", num_shares=num_shares, threads=None))
    assert given[0]["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("fail", InputError, "^bad: expected luck, found none; try again"),
        ("die", TrainingError, "^bad: expected a process that ends by itself, found one that ended with code -9"),
    ],
)
def test_an_error_stops_the_others_which_save_first(
    tmp_path: Path, what: str, error: type[SffshardsError], message: str
) -> None:
    class Late(Listener):
        def note(self, message: str | SffshardsError) -> None:
            super().note(message)
            if message == "bad: begun":
                wait_for(tmp_path / "long waits")

    jobs = [
        Errand(out=tmp_path, name="long", what="wait"),
        Errand(out=tmp_path, name="bad", what=what),
        Errand(out=tmp_path, name="never"),
    ]
    with pytest.raises(error, match=message):
        run_jobs(jobs, num_workers=2, progress=Late())
    assert {path.name for path in tmp_path.iterdir()} == {"long waits", "long saved"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGTERM, TrainingStopped),
        (signal.SIGUSR1, TrainingStopped),
        (signal.SIGINT, KeyboardInterrupt),
    ],
)
def test_signals_stop_all_jobs_which_save_first(
    tmp_path: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    def interrupt() -> None:
        for name in ("a", "b"):
            wait_for(tmp_path / f"{name} waits")
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(error):
        run_jobs([Errand(out=tmp_path, name=name, what="wait") for name in "abc"], num_workers=2, progress=Listener())
    thread.join()
    assert {path.name for path in tmp_path.iterdir()} == {"a waits", "b waits", "a saved", "b saved"}


@pytest.mark.slow
def test_a_job_that_is_stopped_wakes_up_to_save_and_end(tmp_path: Path) -> None:
    began: list[float] = []

    def stop_and_terminate() -> None:
        wait_for(tmp_path / "a waits")
        os.kill(int((tmp_path / "a waits").read_text()), signal.SIGSTOP)
        began.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop_and_terminate)
    thread.start()
    with pytest.raises(TrainingStopped):
        run_jobs([Errand(out=tmp_path, name="a", what="wait")], num_workers=1, progress=Listener())
    assert time.monotonic() - began[0] < 10
    thread.join()
    assert (tmp_path / "a saved").exists()


def test_a_job_has_one_device() -> None:
    check_jobs(fast_options(devices=2, accelerator="cpu"), num_workers=1)
    with pytest.raises(InputError, match="^`num_jobs`: expected 1 where a fold is trained on several devices"):
        check_jobs(fast_options(devices=2, accelerator="cpu"), num_workers=2)


@pytest.mark.long
def test_an_experiment_side_by_side_has_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_data(tmp_path / "data", frames_per_harp=2)
    run("build", "--horizon", "48h", "--workers", "1", cwd=tmp_path)
    arguments = [
        *("reproduce", "--variants", "base,oT", "--folds", "0,1", "--model", "mvit_tiny", "--epochs", "1"),
        *("--batch-size", "4", "--accelerator", "cpu", "--threads", "0"),
    ]
    run(*arguments, "--out", "one", cwd=tmp_path)
    run(*arguments, "--out", "two", "--jobs", "2", cwd=tmp_path)
    for name in ("results.csv", "results.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    again = run(*arguments, "--out", "two", "--jobs", "2", cwd=tmp_path)
    assert "Train and predict" not in again.stderr
