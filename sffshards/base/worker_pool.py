"""Run many tasks in worker processes, which end with their parent; results come in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import connection, resource_tracker
from typing import Self, TypeVar

from sffshards.base.errors import StorageError

__all__ = ["WorkerPool", "chunked", "default_workers", "end_with_parent", "run_tasks"]

T = TypeVar("T")
R = TypeVar("R")

_IN_FLIGHT_PER_WORKER = 3
"""Tasks in flight per worker, so that neither workers nor results wait long."""


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover


class WorkerPool:
    """Worker processes, started on request or for the first task, and kept until the pool is closed.

    Parameters
    ----------
    workers
        Number of processes; 0 runs everything in this process.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def start(self, prepare: Callable[[], None]) -> None:
        """Start the workers now, not at the first task.

        They take half a second to start and import what they need, in which this process can do other work.

        Parameters
        ----------
        prepare
            A function at the top level of a module, submitted once per worker; as a rule, each worker calls it.

        Raises
        ------
        StorageError
            If a worker was killed.
        """
        with _broken_pools():
            for _ in range(self.workers):
                self._submit(prepare)

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Call ``function`` on every task, and yield the results in the order of the tasks.

        Parameters
        ----------
        function
            A function at the top level of a module; it runs in another process.
        tasks
            Its arguments, each small enough to be sent to a process. They are consumed as workers become free.

        Yields
        ------
        The results. When the caller stops, or a task raises, no more tasks are submitted.

        Raises
        ------
        StorageError
            If a worker was killed, as the operating system does when memory runs out.
        Exception
            Whatever a task raises.
        """
        if self.workers == 0:
            yield from map(function, tasks)
            return
        remaining = iter(tasks)
        pending: deque[Future[R]] = deque()
        try:
            with _broken_pools():
                for task in islice(remaining, self.workers * _IN_FLIGHT_PER_WORKER):
                    pending.append(self._submit(function, task))
                while pending:
                    yield pending.popleft().result()
                    for task in islice(remaining, 1):
                        pending.append(self._submit(function, task))
        finally:
            for future in pending:
                future.cancel()

    def _submit(self, function: Callable[..., R], *task: T) -> Future[R]:
        """Submit a task, and start the workers if there are none, while Ctrl-C is held back.

        Ctrl-C before `_start_worker` has run would end a worker with a traceback.
        """
        resource_tracker.ensure_running()  # if it starts later, it unblocks Ctrl-C
        with _ctrl_c_later():
            if self._executor is None:
                context = multiprocessing.get_context("spawn")
                self._executor = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker)
            return self._executor.submit(function, *task)


def run_tasks(function: Callable[[T], R], tasks: Iterable[T], *, workers: int) -> Iterator[R]:
    """Run tasks as `WorkerPool.run` does, in a pool of their own."""
    with WorkerPool(workers) as pool:
        yield from pool.run(function, tasks)


@contextmanager
def _broken_pools() -> Iterator[None]:
    """Turn the loss of a worker into a `StorageError`."""
    try:
        yield
    except BrokenProcessPool:
        raise StorageError(
            "a worker process",
            expected="a normal exit",
            found="a kill, as happens when memory runs out",
            fix="run the command again with fewer {workers} and without {force} to resume",
        ) from None


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back while the block runs, in this process and from those that it starts."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # new processes inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if came:
            before(came[0], None)


def _start_worker() -> None:
    """Prepare a worker: it ends with its parent, leaves Ctrl-C to the parent, and never loads torch.

    webdataset imports torch if it is installed, for loaders that a worker does not use: several seconds and 300 MB.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    end_with_parent()


def end_with_parent() -> None:
    """Make this process end as soon as its parent process has ended, for whatever reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()


def _exit_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield consecutive pieces of ``size`` items; the last one may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
