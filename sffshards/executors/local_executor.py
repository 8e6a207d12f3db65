"""Run tasks in this process, or in worker processes of this machine, which exit when their parent does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import chain, islice
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import TypeVar

from sffshards.base.errors import InputError, StorageError
from sffshards.base.file_reading import open_file_limit
from sffshards.executors.executor import Executor, keep_freed_memory

__all__ = ["IN_PROCESS", "LocalExecutor"]

_NO_GUARD = 97
"""Exit code of a worker that runs the user's program again, which would start workers of its own."""

_PATIENCE_S = 10.0
"""Time in seconds that workers have to end after an error or Ctrl-C; a task takes a second or two."""

T = TypeVar("T")
R = TypeVar("R")

_FILES_PER_WORKER = 4
"""Open files per worker, with room for those of the work itself."""

_IN_FLIGHT_PER_WORKER = 3
"""Tasks in flight per worker, so that neither workers nor results wait long."""


class LocalExecutor(Executor):
    """Processes of this machine, started on request or for the first two tasks, and kept until the block ends.

    Parameters
    ----------
    num_workers
        Number of processes; 0 runs everything in this process. There are fewer where the system lets this process open
        few files, as each takes some.
    """

    def __init__(self, num_workers: int) -> None:
        self._num_workers = min(num_workers, max(1, open_file_limit() // _FILES_PER_WORKER))
        self._executor: ProcessPoolExecutor | None = None
        self._processes: tuple[BaseProcess, ...] = ()

    @property
    def num_workers(self) -> int:
        """Number of processes."""
        return self._num_workers

    def __exit__(self, error: object = None, *_: object) -> None:
        """Wait for the processes to end; after an error, no longer than their present tasks should take."""
        if error is not None:
            self._wake()
        if self._executor is not None:
            self._executor.shutdown(wait=error is None, cancel_futures=True)
        if error is not None:
            self._end()
        self._executor = None  # last: it waits for the processes of a pool that is ending (CPython 3.12.1)

    def start(self, prepare: Callable[[], None]) -> None:
        """Start the processes now; as a rule, each calls the function.

        They take half a second to start and import what they need, in which this process can do other work.

        Raises
        ------
        StorageError
            If a process was killed.
        """
        with self._broken_pools():
            for _ in range(self.num_workers):
                self._submit(prepare)

    def run(self, function: Callable[[T], R], tasks: Iterable[T], *, group: int = 1) -> Iterator[R]:
        """Call a function on every task, as `Executor.run`; a single task is computed in this process.

        Raises
        ------
        StorageError
            If a process was killed, as the operating system does when memory runs out.
        """
        remaining = iter(tasks)
        first = list(islice(remaining, 2))
        if self.num_workers == 0 or (len(first) == 1 and self._executor is None):
            yield from map(function, chain(first, remaining))
            return
        remaining = chain(first, remaining)
        pending: deque[Future[R]] = deque()
        try:
            with self._broken_pools():
                for task in islice(remaining, self.num_workers * _IN_FLIGHT_PER_WORKER):
                    pending.append(self._submit(function, task))
                while pending:
                    yield pending.popleft().result()
                    for task in islice(remaining, 1):
                        pending.append(self._submit(function, task))
        finally:
            for future in pending:
                future.cancel()

    def _wake(self) -> None:
        """Wake up workers that were stopped, as a debugger or ``kill -STOP`` does, so that they can end."""
        for process in self._processes:
            if process.pid is not None and process.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)

    def _end(self) -> None:
        """Wait for the workers to end after their present tasks, and kill those that do not in time.

        What they write is atomic.
        """
        deadline = time.monotonic() + _PATIENCE_S
        try:
            for process in self._processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for process in self._processes:
                process.kill()

    def _submit(self, function: Callable[..., R], *task: T) -> Future[R]:
        """Submit a task, and start the workers if there are none, while Ctrl-C is held back.

        Ctrl-C before `_start_worker` has run would end a worker with a traceback.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            sys.exit(_NO_GUARD)
        resource_tracker.ensure_running()  # if it starts later, it unblocks Ctrl-C
        with _ctrl_c_later():
            if self._executor is None:
                context = multiprocessing.get_context("spawn")
                self._executor = ProcessPoolExecutor(self.num_workers, mp_context=context, initializer=_start_worker)
            future = self._executor.submit(function, *task)
            self._processes = tuple((self._executor._processes or {}).values()) or self._processes  # noqa: SLF001
            return future

    @contextmanager
    def _broken_pools(self) -> Iterator[None]:
        """Turn the loss of a worker into an error that names the cause."""
        try:
            yield
        except BrokenProcessPool:
            for process in self._processes:
                process.join()
            if any(process.exitcode == _NO_GUARD for process in self._processes):
                raise InputError(
                    sys.argv[0] or "the program",
                    expected='calls under `if __name__ == "__main__":`, as worker processes import the program',
                    found="calls outside it",
                    fix="move them there, or pass {workers} 0",
                ) from None
            raise StorageError(
                "a worker process",
                expected="a normal exit",
                found="a kill, as happens when memory runs out",
                fix="run the command again with fewer {workers} and without {force} to resume",
            ) from None


IN_PROCESS = LocalExecutor(0)
"""Computes every task in this process."""


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
    """Prepare a worker: it ends with its parent, leaves Ctrl-C to the parent, and keeps the memory that it frees."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _end_with_parent()
    keep_freed_memory()


def _end_with_parent() -> None:
    """Make this process end as soon as its parent process has ended, for whatever reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()


def _exit_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
