"""Folds trained and predicted side by side, each in a process of its own with a device or a share of the processors.

More devices for one fold make its batch larger, and so another recipe than the published one; folds side by side do
not. On a CPU, too, folds of a small network with a core each leave less idle than one fold with all cores.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from sffshards.base.errors import Field, InputError, SffshardsError, TrainingError
from sffshards.base.progress import Advance, Progress
from sffshards.base.worker_pool import default_workers, end_with_parent
from sffshards.domain.sample_sets import Stage
from sffshards.shards.read import Place

if TYPE_CHECKING:
    from sffshards.forecasting.runs import Inference
    from sffshards.training import TrainingOptions

__all__ = ["FoldJob", "Job", "check_jobs", "is_done", "run_jobs"]

_LOOK_SECONDS = 0.5
"""How often a signal to stop is looked for."""


class Job(Protocol):
    """What a process is given to do; it must be possible to send it there."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def do(self, progress: Progress) -> None:
        """Do it; raises `SffshardsError` where it cannot be done."""


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
        """What messages call it, such as ``48h/oTV, fold 0``."""
        return f"{self.run.parent.name}/{self.run.name}, fold {self.fold}"

    def do(self, progress: Progress) -> None:
        """Train and predict; raises as `train_fold` and `predict_fold`."""
        from sffshards.forecasting.runs import predict_fold
        from sffshards.shards.read import open_build
        from sffshards.training import fold_folder, train_fold

        folder = fold_folder(self.run, self.fold)
        record = train_fold(self.build, folder, self.options, fold=self.fold, force=False, progress=progress)
        with open_build(self.build, check=self.inference.check) as opened:
            predict_fold(folder, record, opened, inference=self.inference, force=False, progress=progress)


def check_jobs(options: TrainingOptions, *, num_workers: int) -> None:
    """Refuse to train folds side by side that are each to be trained on several devices.

    Raises
    ------
    InputError
        If ``num_workers`` is more than 1, and devices or nodes are.
    """
    if num_workers > 1 and options.num_ranks > 1:
        raise InputError(
            Field("num_jobs"),
            expected="1, where a fold is trained on several devices, since each job has one device",
            found=f"{num_workers} with {options.num_nodes} x {options.devices} devices",
            fix="leave out {devices} and {num_nodes}, or {num_jobs}",
        )


def is_done(run: Path, fold: int) -> bool:
    """Say whether a fold seems to be trained and predicted, so that no process need be started to find out."""
    from sffshards.forecasting.runs import predictions_path
    from sffshards.training import fold_folder, read_record

    folder = fold_folder(run, fold)
    return all(predictions_path(folder, stage).is_file() for stage in Stage) and read_record(folder).finished


def run_jobs(jobs: Sequence[Job], *, num_workers: int, progress: Progress) -> None:
    """Do jobs, several at a time.

    Parameters
    ----------
    jobs
        In the order in which they are begun.
    num_workers
        How many at a time. Each has one of the GPUs that this process sees, in turn, and its share of the processors.
    progress
        Told which are done, and what each says.

    Raises
    ------
    SffshardsError
        What a job raises. The others are stopped first, and save where they are.
    TrainingStopped
        If SIGTERM or SIGUSR1 came; all jobs have saved where they are.
    KeyboardInterrupt
        If the user stops it; likewise.
    """
    from sffshards.training import StopRequest, TrainingStopped

    waiting = deque(jobs)
    description = f"Train and predict folds, {num_workers} at a time"
    with StopRequest() as stop, ExitStack() as stack, progress.task(description, len(jobs)) as advance:
        workers = [
            stack.enter_context(_Worker(number, num_workers)) for number in range(min(num_workers, len(waiting)))
        ]
        for worker in workers:
            worker.take(waiting)
        try:
            while busy := {worker.connection: worker for worker in workers if worker.job is not None}:
                ready = wait(list(busy), timeout=_LOOK_SECONDS)
                if stop.name is not None:
                    progress.note(f"{stop.name} came; folds in work save where they are, and the same command goes on")
                    raise TrainingStopped(is_first=True)
                for connection, worker in busy.items():
                    if connection in ready:
                        worker.listen(waiting, progress, advance)
        except BaseException:
            for worker in workers:  # all of them, before one is waited for
                worker.ask_to_stop()
            raise


class _Worker:
    """A process that does one job after the other, seen from the process that hands them out."""

    def __init__(self, number: int, num_workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.job: Job | None = None
        self._process = context.Process(target=_work, args=(theirs, _share(number, num_workers)))
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.job is None:
                with suppress(OSError):
                    self.connection.send(None)
            with suppress(EOFError, OSError):
                while True:  # what it says no longer matters, but it would wait for somebody to listen
                    self.connection.recv()
            self._process.join()
        finally:
            self._process.kill()
            self.connection.close()

    def ask_to_stop(self) -> None:
        """Have a job in work save where it is, and its process end."""
        if self.job is not None:
            self._process.terminate()

    def take(self, waiting: deque[Job]) -> None:
        """Begin the next job, if there is one."""
        self.job = waiting.popleft() if waiting else None
        if self.job is not None:
            with suppress(OSError):  # one that is gone will be noticed
                self.connection.send(self.job)

    def listen(self, waiting: deque[Job], progress: Progress, advance: Advance) -> None:
        """Hear one thing that the process has to say of its job: a note, that it is done, or what went wrong."""
        assert self.job is not None  # noqa: S101  others are not listened to
        try:
            said: str | SffshardsError | None = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            name, self.job = self.job.name, None
            raise TrainingError(
                name,
                expected="a process that ends by itself",
                found=f"one that ended with code {self._process.exitcode}, as happens when memory runs out",
                fix="run the command again, which resumes from here, if necessary with fewer {num_jobs}",
            ) from None
        if isinstance(said, str):
            progress.note(f"{self.job.name}: {said}")
            return
        self.job = None
        if said is not None:
            raise said
        advance(1)
        self.take(waiting)


def _share(number: int, num_workers: int) -> dict[str, str]:
    """Give the environment that leaves a process its device and its share of the processors."""
    import torch

    share = {}
    if "OMP_NUM_THREADS" not in os.environ:
        share["OMP_NUM_THREADS"] = str(max(1, default_workers() // num_workers))
    if torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        devices = visible.split(",")
        share["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return share


class _Relay:
    """Passes on what a job notes; how far each epoch is would be too much of several at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Pass a line on."""
        self._connection.send(text)


def _work(connection: Connection, environment: dict[str, str]) -> None:
    """Do the jobs that come; say None when one is done, and end where one failed or a signal came.

    The environment is changed before torch, which looks at it, is imported.

    Ctrl-C in a terminal comes to all processes: the one that hands out jobs answers it, for all.
    """
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    with suppress(EOFError):
        while (job := connection.recv()) is not None:
            try:
                job.do(_Relay(connection))
            except SffshardsError as error:
                connection.send(error)
                return
            connection.send(None)
