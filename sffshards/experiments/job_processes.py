"""Jobs in processes of their own, each with the environment variables that give it a device and processors.

A process saves its state and ends when it is stopped, and when its parent ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from sffshards.base.errors import SffshardsError, TrainingError
from sffshards.base.progress import Progress, Silent
from sffshards.executors import default_workers

POLL_SECONDS = 0.5
"""Time between checks for a signal to stop."""

PATIENCE_SECONDS = 120.0
"""Time that jobs have to finish a step and to save their state when they are stopped."""

JOB_LOCK_NAME = ".job.lock"
"""Name of the lock of a job's folder that its process holds from the start to the end of the job."""


class Job(Protocol):
    """A task for a process, which it is sent to by pickle."""

    @property
    def name(self) -> str:
        """Name of the job in messages."""

    @property
    def folder(self) -> Path:
        """Folder in which the job saves its state, and of which it holds the lock `JOB_LOCK_NAME`."""

    def do(self, progress: Progress) -> None:
        """Run the job; raises `SffshardsError` where that is impossible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningJob:
    """A job in a process of its own."""

    job: Job
    slot: int
    """Number from 0 to that of jobs at a time; it decides the device."""
    process: subprocess.Popen[bytes]
    connection: Connection
    """Source of the job's notes, of None when it is done, or of its error."""


def run_alone(job: Job, environment: Mapping[str, str], *, progress: Progress, is_wanted: Callable[[], bool]) -> None:
    """Run a job in a process of its own, with these environment variables, for as long as it is wanted.

    Raises
    ------
    SffshardsError
        The error of the job.
    TrainingStopped
        If it is not wanted any more, or a signal stopped it; it has saved its state.
    """
    from sffshards.training import TrainingStopped

    running = start_job(job, 0, environment)
    try:
        while not (wait([running.connection], timeout=POLL_SECONDS) and is_finished(running, progress)):
            if not is_wanted():
                raise TrainingStopped(is_first=True)
    finally:
        stop_jobs([running])


def start_job(job: Job, slot: int, environment: Mapping[str, str]) -> RunningJob:
    """Start a process, but not by `multiprocessing`: its daemons, such as the workers of Dask, have no children.

    It is started with Ctrl-C held back, which in a terminal reaches all processes: the parent answers it for all.
    """
    ours, theirs = multiprocessing.Pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the process inherits it
    try:
        with theirs:
            code = f"from {__name__} import run_received; run_received({theirs.fileno()})"
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with suppress(OSError):  # a process that has ended is noticed when it is listened to
        ours.send(job)
    return RunningJob(job=job, slot=slot, process=process, connection=ours)


def job_environment(slot: int, num_slots: int, *, threads: str | None) -> dict[str, str]:
    """Return the environment variables of a process, with its device and its processors.

    A launcher's variables, such as those of the srun that started a worker, do not make it one of several ranks.

    Parameters
    ----------
    slot, num_slots
        Number of the process, from 0, and of those that share this machine.
    threads
        Number of threads that the user chose; None for the process's share of the processors.
    """
    import torch

    from sffshards.training import remove_ranks

    variables = remove_ranks(os.environ)
    variables["OMP_NUM_THREADS"] = threads or str(max(1, default_workers() // num_slots))
    if torch.cuda.is_available():
        visible = variables.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        devices = visible.split(",")
        variables["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return variables


def is_finished(running: RunningJob, progress: Progress) -> bool:
    """Receive one message of a job: pass a note on, raise an error, or return whether the job is done."""
    from sffshards.training import STOP_EXIT_CODE, TrainingStopped

    try:
        message: str | SffshardsError | None = running.connection.recv()
    except (EOFError, OSError):
        code = running.process.wait()
        if code in (STOP_EXIT_CODE, -signal.SIGTERM):
            raise TrainingStopped(is_first=True) from None
        raise TrainingError(
            running.job.name,
            expected="a process that ends by itself",
            found=f"one that ended with code {code}, as happens when memory runs out",
            fix="run the command again, which resumes, with fewer {num_jobs} if necessary",
        ) from None
    if isinstance(message, SffshardsError):
        raise message
    if message is not None:
        progress.note(f"{running.job.name}: {message}")
        return False
    running.process.wait()
    running.connection.close()
    return True


def stop_jobs(running: Collection[RunningJob]) -> None:
    """Have jobs save their state and their processes end; wait for all of them, and kill those that take too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for one in running:  # all of them, before one is waited for
        one.process.terminate()
        one.process.send_signal(signal.SIGCONT)  # one that was stopped would wait with the other signal
    try:
        for one in running:
            with suppress(EOFError, OSError):
                # Its messages no longer matter, but it would wait for them to be received.
                while one.connection.poll(max(0.0, deadline - time.monotonic())):
                    one.connection.recv()
            with suppress(subprocess.TimeoutExpired):
                one.process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()
            one.connection.close()


class _Relay(Silent):
    """Progress of a job that passes notes on; the bars of several epochs at a time would be too much."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(self, message: str | SffshardsError) -> None:
        """Pass a line on, if the parent is there."""
        with suppress(OSError):
            self._connection.send(str(message))


def run_received(descriptor: int) -> None:
    """Run the job that comes through an inherited socket, and send None when it is done, or its error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
    connection = Connection(descriptor)
    result: SffshardsError | None = None
    try:
        job = connection.recv()
        threading.Thread(target=_stop_with_parent, args=(connection,), daemon=True).start()
        job.do(_Relay(connection))
    except EOFError:
        return
    except SffshardsError as error:
        result = error
    with suppress(OSError):  # of a parent that has ended
        connection.send(result)


def _stop_with_parent(connection: Connection) -> None:
    """Stop this process, which saves its state, when the parent has ended, for whatever reason."""
    wait([connection])  # until the other end is closed, as nothing more comes
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)
    os._exit(1)
