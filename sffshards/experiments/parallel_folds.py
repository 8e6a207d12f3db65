"""Folds trained and predicted side by side, each in a process of its own with a device or a share of the processors.

More devices for one fold make its batch larger, which is another recipe than the published one; folds side by side do
not. On a CPU, too, folds of a small network with one core each leave less idle than one fold with all cores.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sffshards.base.errors import Field, InputError, SffshardsError, TrainingError
from sffshards.base.progress import Progress, Silent
from sffshards.base.worker_pool import default_workers, end_with_parent
from sffshards.domain.sample_sets import Stage
from sffshards.shards.read import Place

if TYPE_CHECKING:
    from sffshards.forecasting.runs import Inference
    from sffshards.training import TrainingOptions

_POLL_SECONDS = 0.5
"""Time between checks for a signal to stop."""


class Job(Protocol):
    """A task for a process, which it is sent to by pickle."""

    @property
    def name(self) -> str:
        """Name of the job in messages."""

    def do(self, progress: Progress) -> None:
        """Run the job; raises `SffshardsError` where that is impossible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldJob:
    """A fold to train, where it is not trained yet, and to predict the sets of."""

    build: Place
    run: Path
    """Folder of the run."""
    fold: int
    options: TrainingOptions
    inference: Inference

    @property
    def name(self) -> str:
        """Name of the job in messages, such as ``48h/oTV, fold 0``."""
        return f"{self.run.parent.name}/{self.run.name}, fold {self.fold}"

    def do(self, progress: Progress) -> None:
        """Train and predict; raises as `train_fold` and `predict_fold`."""
        from sffshards.forecasting.runs import RunFold, predict_fold
        from sffshards.shards.read import open_build
        from sffshards.training import fold_folder, train_fold

        folder = fold_folder(self.run, self.fold)
        record = train_fold(self.build, folder, self.options, fold=self.fold, force=False, progress=progress)
        with open_build(self.build, check=self.inference.check) as opened:
            fold = RunFold(folder=folder, record=record)
            predict_fold(fold, opened, inference=self.inference, force=False, progress=progress)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Running:
    """A job in a process of its own."""

    job: Job
    slot: int
    """Number from 0 to that of jobs at a time; it decides the device."""
    process: SpawnProcess
    connection: Connection
    """Source of the job's notes, of None when it is done, or of its error."""


def check_jobs(options: TrainingOptions, *, num_workers: int) -> None:
    """Check that folds trained side by side are each trained on one device.

    Raises
    ------
    InputError
        If ``num_workers`` is more than 1, and devices or nodes are.
    """
    if num_workers > 1 and options.num_ranks > 1:
        raise InputError(
            Field("num_jobs"),
            expected="1 where a fold is trained on several devices, because each job has one device",
            found=f"{num_workers} with {options.num_nodes} x {options.devices} devices",
            fix="leave out {devices} and {num_nodes}, or {num_jobs}",
        )


def is_done(run: Path, fold: int) -> bool:
    """Return whether a fold seems to be trained and predicted, so that it needs no process."""
    from sffshards.forecasting.runs import predictions_path
    from sffshards.training import fold_folder, read_record

    folder = fold_folder(run, fold)
    return all(predictions_path(folder, stage).is_file() for stage in Stage) and read_record(folder).finished


def run_jobs(jobs: Sequence[Job], *, num_workers: int, progress: Progress) -> None:
    """Run jobs, several at a time, each in a process of its own.

    Parameters
    ----------
    jobs
        Jobs in the order in which they are started.
    num_workers
        Number of jobs at a time. Each has one of the visible GPUs, in turn, and its share of the processors.
    progress
        Receives the number of finished jobs, and the notes of each.

    Raises
    ------
    SffshardsError
        The error of a job. The others are stopped first, and save their state.
    TrainingStopped
        If SIGTERM or SIGUSR1 came; all jobs have saved their state.
    KeyboardInterrupt
        If the user stops it; likewise.
    """
    from sffshards.training import StopRequest, TrainingStopped

    waiting, slots = deque(jobs), deque(range(num_workers))
    running: dict[Connection, _Running] = {}
    description = f"Train and predict folds, {num_workers} at a time"
    with StopRequest() as stop, progress.task(description, len(jobs)) as advance:
        try:
            while waiting or running:
                while waiting and slots:
                    started = _start(waiting.popleft(), slots.popleft(), num_workers)
                    running[started.connection] = started
                ready = wait(list(running), timeout=_POLL_SECONDS)
                if stop.name is not None:
                    progress.note(f"{stop.name} received; running folds save their state, and the same command resumes")
                    raise TrainingStopped(is_first=True)
                for connection in list(running):
                    if connection in ready and _is_finished(running[connection], progress):
                        slots.append(running.pop(connection).slot)
                        advance(1)
        finally:
            _stop(running.values())


def _start(job: Job, slot: int, num_workers: int) -> _Running:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run_job, args=(theirs, _environment(slot, num_workers)))
    process.start()
    theirs.close()
    with suppress(OSError):  # a process that has ended is noticed when it is listened to
        ours.send(job)  # not an argument: it would be unpickled, and torch imported, before the environment is set
    return _Running(job=job, slot=slot, process=process, connection=ours)


def _environment(slot: int, num_workers: int) -> dict[str, str]:
    """Return the variables that give a process its device and its share of the processors."""
    import torch

    variables = {}
    if "OMP_NUM_THREADS" not in os.environ:
        variables["OMP_NUM_THREADS"] = str(max(1, default_workers() // num_workers))
    if torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        devices = visible.split(",")
        variables["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return variables


def _is_finished(running: _Running, progress: Progress) -> bool:
    """Receive one message of a job: pass a note on, raise an error, or return whether the job is done."""
    try:
        message: str | SffshardsError | None = running.connection.recv()
    except (EOFError, OSError):
        running.process.join()
        raise TrainingError(
            running.job.name,
            expected="a process that ends by itself",
            found=f"one that ended with code {running.process.exitcode}, as happens when memory runs out",
            fix="run the command again, which resumes, with fewer {num_jobs} if necessary",
        ) from None
    if isinstance(message, SffshardsError):
        raise message
    if message is not None:
        progress.note(f"{running.job.name}: {message}")
        return False
    running.process.join()
    running.connection.close()
    return True


def _stop(running: Collection[_Running]) -> None:
    """Have jobs save their state and their processes end; wait for all of them."""
    for one in running:  # all of them, before one is waited for
        one.process.terminate()
    try:
        for one in running:
            with suppress(EOFError, OSError):
                while True:  # its messages no longer matter, but it would wait for them to be received
                    one.connection.recv()
            one.process.join()
    finally:
        for one in running:
            one.process.kill()
            one.connection.close()


class _Relay(Silent):
    """Progress of a job that passes notes on; the bars of several epochs at a time would be too much."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(self, text: str) -> None:
        """Pass a line on."""
        self._connection.send(text)


def _run_job(connection: Connection, environment: dict[str, str]) -> None:
    """Run the job that comes, and send None when it is done, or its error.

    The environment is set before torch, which reads it, is imported. Ctrl-C in a terminal reaches all processes: the
    parent answers it for all.
    """
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    result: SffshardsError | None = None
    try:
        connection.recv().do(_Relay(connection))
    except EOFError:
        return
    except SffshardsError as error:
        result = error
    connection.send(result)
