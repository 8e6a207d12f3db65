"""Run tasks on a Dask worker, and let a task send notes or find out that it was cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from typing import Generic, TypeVar

from sffshards.executors.executor import keep_freed_memory
from sffshards.executors.worker_checks import WorkerNeeds, check_worker

__all__ = ["Call", "is_wanted", "send_note"]

T = TypeVar("T")
R = TypeVar("R")

_one_task = threading.Lock()
"""Held by the task of this process: a worker of several threads computes one at a time, as tasks share open files."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T, R]):
    """A function to call on each task of a group, on a worker that has what it needs."""

    function: Callable[[T], R]
    needs: WorkerNeeds

    def __call__(self, tasks: list[T]) -> list[R]:
        """Return the results."""
        with _one_task:
            check_worker(self.needs)
            keep_freed_memory()
            with chdir(self.needs.directory):
                return [self.function(task) for task in tasks]


def is_wanted() -> bool:
    """Return whether the task that calls this is still wanted: its worker stays, and the result is waited for."""
    from distributed import Status, get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return worker.status in (Status.running, Status.paused) and task is not None and task.state == "executing"


def send_note(topic: str, message: str) -> None:
    """Send a note from a task to the executor that listens to a topic."""
    from distributed import get_worker

    get_worker().log_event(topic, message)
