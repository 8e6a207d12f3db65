"""Folds trained and predicted side by side, each in a process of its own with a device or a share of the processors.

More devices for one fold make its batch larger, which is another recipe than the published one; folds side by side do
not. On a CPU, too, folds of a small network with one core each leave less idle than one fold with all cores.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from sffshards.base.errors import Field, InputError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Stage
from sffshards.experiments.job_processes import (
    JOB_LOCK_NAME,
    POLL_SECONDS,
    Job,
    RunningJob,
    is_finished,
    job_environment,
    start_job,
    stop_jobs,
)
from sffshards.shards.read import Place

if TYPE_CHECKING:
    from sffshards.forecasting.runs import Inference
    from sffshards.training import TrainingOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldJob:
    """A fold to train, where it is not trained yet, and to predict the sets of."""

    build: Place
    run: Path
    """Folder of the run."""
    fold: int
    options: TrainingOptions
    inference: Inference
    device: str | None = None
    """Device to predict on, by its name where the job runs; None for that of ``inference``."""

    @property
    def name(self) -> str:
        """Name of the job in messages, such as ``48h/oTV, fold 0``."""
        return f"{self.run.parent.name}/{self.run.name}, fold {self.fold}"

    @property
    def folder(self) -> Path:
        """Folder of the fold."""
        from sffshards.training import fold_folder

        return fold_folder(self.run, self.fold)

    def do(self, progress: Progress) -> None:
        """Train and predict; raises as `train_fold` and `evaluate_fold`.

        It waits for a job that does the same, such as one that still saves its state after its parent was killed.
        """
        from sffshards.forecasting.runs import RunFold, choose_device, evaluate_fold
        from sffshards.shards.read import open_build
        from sffshards.training import train_fold

        inference = replace(self.inference, device=choose_device(self.device)) if self.device else self.inference
        with folder_lock(self.folder, progress=progress, wait=True, name=JOB_LOCK_NAME):
            record = train_fold(self.build, self.folder, self.options, fold=self.fold, force=False, progress=progress)
            with open_build(self.build, check=inference.check) as opened:
                fold = RunFold(folder=self.folder, record=record)
                evaluate_fold(fold, opened, inference=inference, force=False, progress=progress)


def check_jobs(options: TrainingOptions, *, num_workers: int, on_cluster: bool = False) -> None:
    """Check that folds trained side by side are each trained on one device.

    Raises
    ------
    InputError
        If there are several devices or nodes, and ``num_workers`` is more than 1 or a cluster trains the folds.
    """
    if options.num_ranks == 1 or (num_workers == 1 and not on_cluster):
        return
    devices = f"{options.num_nodes} x {options.devices} devices"
    if on_cluster:
        raise InputError(
            Field("devices"),
            expected="1 with {cluster}, as each worker trains a fold on its own device",
            found=devices,
            fix="leave out {devices} and {num_nodes}",
        )
    raise InputError(
        Field("num_jobs"),
        expected="1 where a fold is trained on several devices, because each job has one device",
        found=f"{num_workers} with {devices}",
        fix="leave out {devices} and {num_nodes}, or {num_jobs}",
    )


def is_done(run: Path, fold: int, *, max_epochs: int) -> bool:
    """Return whether a fold seems to be trained and predicted, so that it needs no process."""
    from sffshards.forecasting.runs import predictions_path
    from sffshards.training import fold_folder, read_record

    folder = fold_folder(run, fold)
    is_predicted = all(predictions_path(folder, stage).is_file() for stage in Stage)
    return is_predicted and read_record(folder).is_complete(max_epochs)


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
    running: dict[Connection, RunningJob] = {}
    description = f"Train and predict folds, {num_workers} at a time"
    with StopRequest() as stop, progress.task(description, len(jobs)) as advance:
        try:
            while waiting or running:
                while waiting and slots:
                    slot = slots.popleft()
                    environment = job_environment(slot, num_workers, threads=os.environ.get("OMP_NUM_THREADS"))
                    started = start_job(waiting.popleft(), slot, environment)
                    running[started.connection] = started
                ready = wait(list(running), timeout=POLL_SECONDS)
                if stop.name is not None:
                    progress.note(f"{stop.name} received; running folds save their state, and the same command resumes")
                    raise TrainingStopped(is_first=True)
                for connection in list(running):
                    if connection in ready and is_finished(running[connection], progress):
                        slots.append(running.pop(connection).slot)
                        advance(1)
        finally:
            stop_jobs(running.values())
