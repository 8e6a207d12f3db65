"""Folds on the workers of a cluster: what becomes of errors, signals and workers that end, and the same results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sffshards.base.errors import TrainingError
from sffshards.executors import DaskExecutor, open_cluster
from sffshards.experiments.cluster_folds import run_jobs_on_cluster
from sffshards.training.stop_signals import TrainingStopped
from tests.commands import error_of, run
from tests.errands import Errand
from tests.tiny import make_data
from tests.training_data import Listener

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[DaskExecutor]:
    """Two workers on this machine."""
    with open_cluster("local:2") as executor:
        yield executor


def wait_until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def kill_worker_of(note: Path) -> None:
    """Kill the worker whose child wrote its number into a file."""
    wait_until(note.exists)
    os.kill(parent_of(int(note.read_text())), signal.SIGKILL)


def find_workers() -> list[int]:
    """Return the processes of the cluster that run a fold's process now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"run_received" in path.read_bytes():
                found.append(parent_of(int(path.parent.name)))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.long
def test_a_job_that_fails_is_named_at_the_end_and_the_others_are_done(
    cluster: DaskExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    kinds = {"a": "", "bad": "fail", "b": "", "ends": "die", "c": ""}
    listener = Listener()
    jobs = [Errand(out=tmp_path, name=name, what=what) for name, what in kinds.items()]
    with pytest.raises(
        TrainingError,
        match=r"^the cluster: expected 5 folds that are trained and predicted, found 2 that failed: "
        r"bad \(bad: expected luck, found none; try again\); "
        r"ends \(ends: expected a process that ends by itself, found one that ended with code -9",
    ):
        run_jobs_on_cluster(jobs, cluster, progress=listener)
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))  # though Dask gives its workers one thread
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys("abc", share)
    assert listener.tasks["Train and predict folds on the cluster"] == (5, 5)
    assert {f"{name}: begun" for name in kinds} <= set(listener.notes)


def test_a_job_whose_worker_is_killed_saves_its_state_and_is_resumed(cluster: DaskExecutor, tmp_path: Path) -> None:
    thread = threading.Thread(target=kill_worker_of, args=(tmp_path / "a waits",))
    thread.start()
    run_jobs_on_cluster([Errand(out=tmp_path, name="a", what="resume")], cluster, progress=Listener())
    thread.join()
    assert {path.name for path in tmp_path.iterdir()} == {"a waits", "a saved", "a"}


@pytest.mark.long
def test_a_job_that_a_signal_stopped_is_resumed_if_it_saved_anything(cluster: DaskExecutor, tmp_path: Path) -> None:
    def stop() -> None:
        wait_until((tmp_path / "a waits").exists)
        os.kill(int((tmp_path / "a waits").read_text()), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    jobs = [Errand(out=tmp_path, name="a", what="resume"), Errand(out=tmp_path, name="b", what="stop")]
    with pytest.raises(TrainingError, match=r"1 that failed: b \(b: .* one that a signal stopped before it saved"):
        run_jobs_on_cluster(jobs, cluster, progress=Listener())
    thread.join()
    assert {path.name for path in tmp_path.iterdir()} == {"a waits", "a saved", "a"}


@pytest.mark.parametrize(
    ("number", "error"),
    [
        pytest.param(signal.SIGINT, KeyboardInterrupt, marks=pytest.mark.long),
        (signal.SIGTERM, TrainingStopped),
    ],
)
def test_signals_stop_the_jobs_on_the_workers_which_save_first(
    cluster: DaskExecutor, tmp_path: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    def interrupt() -> None:
        wait_until(lambda: all((tmp_path / f"{name} waits").exists() for name in "ab"))
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(error):
        run_jobs_on_cluster(
            [Errand(out=tmp_path, name=name, what="wait") for name in "abc"], cluster, progress=Listener()
        )
    assert {path.name for path in tmp_path.iterdir()} == {"a waits", "b waits", "a saved", "b saved"}
    thread.join()


def test_several_devices_and_jobs_without_a_queue_are_refused(tmp_path: Path) -> None:
    make_data(tmp_path / "data", frames_per_harp=2)
    run("build", "--horizon", "48h", "--workers", "1", cwd=tmp_path)
    command = ["reproduce", "--model", "mvit_tiny", "--accelerator", "cpu", "--cluster", "local:1"]
    assert "--jobs: expected --cluster pbs or slurm beside it" in error_of(*command, "--jobs", "2", cwd=tmp_path)
    assert "--devices: expected 1 with --cluster" in error_of(*command, "--devices", "2", cwd=tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_an_experiment_whose_workers_and_coordinator_are_killed_has_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_data(tmp_path / "data", frames_per_harp=2)
    run("build", "--horizon", "48h", "--workers", "1", cwd=tmp_path)
    arguments = [
        *("reproduce", "--variants", "base", "--folds", "0,1", "--model", "mvit_tiny", "--epochs", "2"),
        *("--batch-size", "4", "--accelerator", "cpu", "--threads", "0", "--save-steps", "1"),
    ]
    run(*arguments, "--out", "one", cwd=tmp_path)
    two = [*arguments, "--out", "two", "--cluster", "local:2"]
    command = [sys.executable, "-m", "sffshards", *two]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    folds = [tmp_path / "two" / "48h" / "base" / f"fold{fold}" for fold in (0, 1)]
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        wait_until((folds[0] / "last.ckpt").exists)
        os.kill(find_workers()[0], signal.SIGKILL)
        wait_until((folds[1] / "metrics.csv").exists)
        process.kill()
        process.wait()
    assert not (tmp_path / "two" / "results.csv").exists()
    run(*two, cwd=tmp_path)
    names = ["results.csv", "results.json"]
    names += [
        f"48h/base/fold{fold}/{name}"
        for fold in (0, 1)
        for name in ("metrics.csv", "predictions-train.csv", "predictions-val.csv", "predictions-test.csv")
    ]
    for name in names:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    again = run(*two, cwd=tmp_path)
    assert "Train and predict" not in again.stderr
