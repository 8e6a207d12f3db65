"""Folds trained and predicted on the workers of a Dask cluster, one at a time on each.

A task on a worker runs a fold's job in a process of its own, as `parallel_folds` does on this machine. What a fold has
saved is in its folder, which all machines see: if its worker ends, another one resumes it. This process computes none
of the folds, and writes nothing into their folders.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from stat import S_ISREG

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import SffshardsError, TrainingError, format_count
from sffshards.base.folder_locks import lock_file, open_lock
from sffshards.base.progress import Advance, Progress, Silent
from sffshards.executors import (
    NETWORK_PACKAGES,
    DaskExecutor,
    WorkersEndedError,
    default_workers,
    is_wanted,
    send_note,
)
from sffshards.experiments.job_processes import JOB_LOCK_NAME, PATIENCE_SECONDS, Job, job_environment, run_alone
from sffshards.experiments.parallel_folds import FoldJob

_POLL_SECONDS = 0.2
_MAX_LISTED = 5
"""Failed folds named in an error; all are named in notes."""

_Saved = list[tuple[str, int, int]]
"""Name, inode and size of each file in a folder."""


class _End(Enum):
    """Ends of a job without an error."""

    DONE = "done"
    STOPPED = "stopped"
    """By a signal, after it saved its state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """A job for a worker."""

    job: Job
    topic: str
    """Topic of its notes."""
    num_shares: int | None
    """Number of workers that share a machine; None where each has a job of a batch system to itself."""
    threads: str | None
    """Number of threads that the user chose."""

    def __str__(self) -> str:
        return self.job.name


class _Notes(Silent):
    """Progress of a task that sends notes to the process that listens to a topic."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def note(self, message: str | SffshardsError) -> None:
        """Send a line."""
        send_note(self._topic, str(message))


def run_folds_on_cluster(jobs: Sequence[FoldJob], executor: DaskExecutor, *, progress: Progress) -> None:
    """Train and predict folds on workers that see the builds and the runs; raises as `run_jobs_on_cluster`.

    Raises
    ------
    InputError
        If a worker lacks a place, or has other versions of the packages.
    """
    reads = {job.build for job in jobs if isinstance(job.build, Path)}
    reads |= {weights for job in jobs if (weights := Path(job.options.weights)).is_file()}
    executor.check_places(reads=sorted(reads), writes=sorted({job.run for job in jobs}), packages=NETWORK_PACKAGES)
    run_jobs_on_cluster(jobs, executor, progress=progress)


def run_jobs_on_cluster(jobs: Sequence[Job], executor: DaskExecutor, *, progress: Progress) -> None:
    """Run jobs on the workers of a cluster.

    A job whose workers ended, or that a signal to its worker stopped, is resumed if it has saved more since it started.

    Parameters
    ----------
    jobs
        Jobs in the order in which they are started.
    executor
        The cluster.
    progress
        Receives the number of finished jobs, and the notes of each.

    Raises
    ------
    TrainingError
        If jobs failed; the others are finished.
    TrainingStopped
        If SIGTERM or SIGUSR1 came; jobs have saved their state.
    KeyboardInterrupt
        If the user stops it; likewise.
    """
    from sffshards.training import StopRequest, TrainingStopped

    failed: dict[str, SffshardsError] = {}
    waiting = list(jobs)
    with (
        StopRequest(at_once=True),
        executor.listen(progress.note) as topic,
        progress.task("Train and predict folds on the cluster", len(jobs)) as advance,
    ):
        try:
            while waiting:
                before = {job.name: _list_saved(job.folder) for job in waiting}
                ends = _attempt(waiting, executor, topic=topic, advance=advance)
                again = [job for job in waiting if _resumes(job, ends.get(job.name), before[job.name])]
                failed |= {
                    job.name: _explain(job, ends[job.name])
                    for job in waiting
                    if job not in again and ends[job.name] is not _End.DONE
                }
                waiting = again
        except (KeyboardInterrupt, TrainingStopped):
            progress.note("stopped; running folds save their state, and the same command resumes")
            _wait_for_locks(jobs)
            raise
    if failed:
        raise _describe(failed, len(jobs))


def _attempt(
    jobs: Sequence[Job], executor: DaskExecutor, *, topic: str, advance: Advance
) -> dict[str, SffshardsError | _End]:
    """Run jobs once, and return how they ended, by name; without those that are unknown because workers ended."""
    shares = None if executor.one_worker_per_job else executor.workers_per_machine
    threads = os.environ.get("OMP_NUM_THREADS")
    tasks = [_Task(job=job, topic=topic, num_shares=shares, threads=threads) for job in jobs]
    ends: dict[str, SffshardsError | _End] = {}
    try:
        with closing(executor.run(_run_on_worker, tasks)) as results:
            for job, end in zip(jobs, results, strict=True):
                ends[job.name] = end
                advance(end is not _End.STOPPED)
    except WorkersEndedError as error:
        ends |= {str(task): error for task in error.tasks}
    return ends


def _run_on_worker(task: _Task) -> SffshardsError | _End:
    """Run a job from a worker; return its error, which ends no other job."""
    from sffshards.training import TrainingStopped

    notes = _Notes(task.topic)
    notes.note(f"{task}: on {platform.node()}")
    threads = task.threads or (None if task.num_shares else _count_processors_of_job())
    environment = job_environment(0, task.num_shares or 1, threads=threads)
    try:
        run_alone(task.job, environment, progress=notes, is_wanted=is_wanted)
    except TrainingStopped:
        return _End.STOPPED
    except SffshardsError as error:
        notes.note(f"{task}: {error}")
        return error
    return _End.DONE


def _count_processors_of_job() -> str:
    """Return the number of processors of this job: a batch system may tell it, but not enforce it."""
    told = [os.environ.get(name, "") for name in ("SLURM_CPUS_PER_TASK", "NCPUS")]
    return str(min([default_workers(), *(int(text) for text in told if text.isdecimal() and int(text))]))


def _resumes(job: Job, end: SffshardsError | _End | None, before: _Saved) -> bool:
    """Return whether a job is run again: it did not end by itself, and has saved more, or was no cause of that."""
    is_interrupted = end is _End.STOPPED or isinstance(end, WorkersEndedError)
    return end is None or (is_interrupted and _list_saved(job.folder) != before)


def _list_saved(folder: Path) -> _Saved:
    """Return what tells the files in a folder, which are replaced as wholes, from those of another time."""
    with storage_errors(folder):
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
    saved = []
    for name in names:
        with suppress(OSError):  # replaced meanwhile
            status = (folder / name).stat()
            if not name.startswith(".") and S_ISREG(status.st_mode):  # locks and temporary files are hidden
                saved.append((name, status.st_ino, status.st_size))
    return saved


def _explain(job: Job, end: SffshardsError | _End) -> SffshardsError:
    if isinstance(end, SffshardsError):
        return end
    return TrainingError(
        job.name,
        expected="a process that ends by itself",
        found="one that a signal stopped before it saved anything",
        fix="look at the workers' logs, then run the same command again",
    )


def _wait_for_locks(jobs: Sequence[Job]) -> None:
    """Wait for jobs that were stopped to save their state, which ends with the release of their locks."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for job in jobs:
        if (job.folder / JOB_LOCK_NAME).exists():
            descriptor = open_lock(job.folder / JOB_LOCK_NAME)
            try:
                while lock_file(descriptor) is False and time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
            finally:
                os.close(descriptor)


def _describe(failed: Mapping[str, SffshardsError], num_jobs: int) -> TrainingError:
    named = "; ".join(f"{name} ({error})" for name, error in list(failed.items())[:_MAX_LISTED])
    more = f"; and {len(failed) - _MAX_LISTED} more" if len(failed) > _MAX_LISTED else ""
    return TrainingError(
        "the cluster",
        expected=f"{format_count(num_jobs, 'fold')} that are trained and predicted",
        found=f"{len(failed)} that failed: {named}{more}",
        fix="correct the causes, and run the same command again, which keeps the other folds",
    )
