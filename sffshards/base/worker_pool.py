"""Run many tasks in worker processes: results in order, little in flight, no worker that outlives its parent."""

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
from types import TracebackType
from typing import Self, TypeVar

from sffshards.base.errors import StorageError

__all__ = ["WorkerPool", "chunked", "default_workers", "end_with_parent", "run_tasks"]

T = TypeVar("T")
R = TypeVar("R")

_IN_FLIGHT_PER_WORKER = 3
"""Tasks handed out ahead, so that no worker waits and no result waits long to be taken."""


def default_workers() -> int:
    """Give the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover


class WorkerPool:
    """Worker processes, started when asked to or when the first task comes, and kept until the pool is closed.

    Parameters
    ----------
    workers
        Number of processes; 0 runs everything in this one.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def start(self, prepare: Callable[[], None]) -> None:
        """Start the workers now, rather than when the first task comes.

        They take half a second to start and import what they need, while this process has other things to do.

        Parameters
        ----------
        prepare
            A function at the top level of a module, handed out as often as there are workers; as a rule, each calls it.

        Raises
        ------
        StorageError
            As `run`.
        """
        with _broken_pools():
            for _ in range(self.workers):
                self._submit(prepare)

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Call ``function`` on every task and give the results in the order of the tasks.

        Parameters
        ----------
        function
            A function at the top level of a module; it runs in another process.
        tasks
            Its arguments, each small enough to be sent to a process. They are taken as workers get free.

        Yields
        ------
        The results. When the caller stops, or a task raises, no more tasks are handed out.

        Raises
        ------
        StorageError
            If a worker was killed, as the system does when memory runs out.
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
        """Hand out a task, and start the workers if there are none, Ctrl-C held back meanwhile.

        A worker that it reached before `_start_worker` leaves it to the parent would end with a traceback.
        """
        resource_tracker.ensure_running()  # where it has to be started, it lets Ctrl-C through afterwards
        with _ctrl_c_later():
            return self._start().submit(function, *task)

    def _start(self) -> ProcessPoolExecutor:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker)
        return self._executor


def run_tasks(function: Callable[[T], R], tasks: Iterable[T], *, workers: int) -> Iterator[R]:
    """Run tasks as `WorkerPool.run` does, in a pool of their own."""
    with WorkerPool(workers) as pool:
        yield from pool.run(function, tasks)


@contextmanager
def _broken_pools() -> Iterator[None]:
    """Say what it means that a worker is gone."""
    try:
        yield
    except BrokenProcessPool:
        raise StorageError(
            "a worker process",
            expected="that it ends by itself",
            found="that it was killed, as happens when memory runs out",
            fix="run the command again with fewer --workers and without --force: it goes on from here",
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
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if came:
            before(came[0], None)


def _start_worker() -> None:
    """Prepare a worker: it ends with its parent, leaves Ctrl-C to it, and never loads torch.

    webdataset imports torch where it finds it, for the sake of loaders that a worker does not use: seconds and 300 MB.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    end_with_parent()


def end_with_parent() -> None:
    """Have this process end at once when the one that started it has ended, however that was."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()


def _exit_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into runs of ``size`` items, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
