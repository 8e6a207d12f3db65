"""Run tasks on a Dask cluster, which distributes them, and repeats those of workers that die.

Finished work is recognised from files, not from what Dask remembers: if the coordinator is killed, the same command
resumes.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

from sffshards.base.errors import InputError, StorageError
from sffshards.executors.dask_tasks import Call
from sffshards.executors.executor import Executor
from sffshards.executors.worker_checks import WorkerNeeds, check_worker, list_versions, mark_folder

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["DaskExecutor", "WorkersEndedError"]

T = TypeVar("T")
R = TypeVar("R")

_PENDING_PER_WORKER = 4
"""Tasks per worker that are computed, or done and waiting for one before them."""
_COUNT_SECONDS = 2.0
"""Time between two looks at the number of workers."""
_MAX_LISTED = 5
"""Tasks named in an error; the others are counted."""


class WorkersEndedError(StorageError):
    """Workers ended, one after another, on the same tasks."""

    tasks: tuple[object, ...] = ()
    """The tasks."""


class DaskExecutor(Executor):
    """The workers of a Dask cluster.

    Parameters
    ----------
    client
        A client of the cluster. At the end of the block it is closed, and the cluster if the client started it.
    timeout_s
        Time in seconds to wait for the first worker; None to wait for as long as a batch system takes.
    one_worker_per_job
        Whether each worker has a job of a batch system to itself.

    Raises
    ------
    InputError
        If there is no worker, or one has other versions of the packages that matter.
    StorageError
        If the scheduler is gone.
    """

    def __init__(self, client: Client, *, timeout_s: float | None = None, one_worker_per_job: bool = False) -> None:
        self._client, self.one_worker_per_job = client, one_worker_per_job
        self._needs = WorkerNeeds()
        self._count = 1
        self._counted = float("-inf")
        self._prepared: list[Any] = []  # futures, which Dask forgets as soon as nobody holds them
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is an error of the command
        try:
            with _lost_scheduler():
                self._wait_for_worker(timeout_s)
            self._check_workers()
        except BaseException:
            self.__exit__()
            raise

    @property
    def num_workers(self) -> int:
        """Number of worker processes, as of the last two seconds."""
        if time.monotonic() - self._counted > _COUNT_SECONDS:
            self._count, self._counted = len(self._client.nthreads()), time.monotonic()
        return max(1, self._count)

    @property
    def workers_per_machine(self) -> int:
        """Largest number of workers that run on the same machine now."""
        machines = Counter(urlsplit(address).hostname for address in self._client.nthreads())
        return max(machines.values(), default=1)

    @contextmanager
    def listen(self, hear: Callable[[str], None]) -> Iterator[str]:
        """Pass on the notes of tasks while the block runs; yield the topic that they give to `send_note`."""
        topic = f"sffshards-{secrets.token_hex(8)}"
        self._client.subscribe_topic(topic, lambda event: hear(event[1]))
        try:
            yield topic
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self._client.unsubscribe_topic(topic)

    def __exit__(self, error: object = None, *_: object) -> None:
        """Close the client, and the cluster if the client started it."""
        self._remove_marks()
        cluster = self._client.cluster
        with suppress(Exception):  # whatever remains ends with this process
            self._client.close()
            if cluster is not None:
                cluster.close()

    def start(self, prepare: Callable[[], None]) -> None:
        """Have each worker call the function, without waiting for it."""
        with _lost_scheduler():
            self._prepared = [
                self._client.submit(prepare, workers=[address], pure=False) for address in self._client.nthreads()
            ]

    def check_places(self, *, reads: Iterable[Path], writes: Iterable[Path], packages: Sequence[str] = ()) -> None:
        """Check the places on every worker, and on each that comes later before its first task.

        ``packages`` are further packages of which each must have the same version as this process.
        """
        self._remove_marks()
        marks = tuple(mark_folder(folder) for folder in writes)
        paths = tuple(path.absolute() for path in reads)
        self._needs = WorkerNeeds(versions=list_versions(packages), reads=paths, writes=marks)
        self._check_workers()

    def run(self, function: Callable[[T], R], tasks: Iterable[T], *, group: int = 1) -> Generator[R, None, None]:
        """Call a function on every task, as `Executor.run`.

        Raises
        ------
        StorageError
            If the scheduler is gone.
        WorkersEndedError
            If a task ended three workers, one after another (the number is the scheduler's; where it suspects several
            tasks, each is tried again alone). The other tasks are computed first.
        """
        remaining = iter(tasks)
        groups = iter(lambda: list(islice(remaining, group)), [])
        call = Call(function, replace(self._needs, directory=Path.cwd()))
        pending: deque[_Sent[T]] = deque()
        held: list[_Sent[T]] = []
        try:
            with _lost_scheduler():
                while self._fill(pending, groups, call):
                    sent = pending.popleft()
                    if not (sent.wait() and not held):
                        held.append(sent)
                        continue
                    yield from sent.results
                self._find_deadly(call, held)
                for sent in held:
                    yield from sent.results
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self._client.cancel([sent.future for sent in pending])

    def _fill(self, pending: deque[_Sent[T]], groups: Iterator[list[T]], call: Call[T, R]) -> bool:
        """Submit tasks until every worker has one, and return whether any are pending.

        No more than one: when a worker dies, Dask suspects all tasks that were sent to it.
        """
        while True:
            unfinished = [sent for sent in pending if not sent.future.done()]
            num_free = self.num_workers - len(unfinished)
            is_full = len(pending) >= self.num_workers * _PENDING_PER_WORKER
            some = next(groups, None) if num_free > 0 and not is_full else None
            if some is not None:
                pending.append(_Sent(tasks=some, future=self._submit(call, some)))
            elif not pending or pending[0].future.done() or is_full:
                return bool(pending)
            else:
                _wait_for_any([sent.future for sent in unfinished])
                if num_free > 0:  # there are no more tasks
                    return True

    def _find_deadly(self, call: Call[T, R], held: list[_Sent[T]]) -> None:
        """Compute each task that Dask suspects alone, and raise an error that names those that end workers.

        A single suspect needs no proof.
        """
        suspects = [sent for sent in held if sent.is_suspect]
        if len(suspects) > 1:
            for sent in suspects:
                sent.future = self._submit(call, sent.tasks)
                sent.wait()
        if deadly := [task for sent in suspects if sent.is_suspect for task in sent.tasks]:
            raise _describe_deadly(call.function, deadly)

    def _submit(self, call: Call[T, R], tasks: list[T]) -> Any:
        return self._client.submit(call, tasks, key=f"{_name(call.function)}-{secrets.token_hex(8)}", pure=False)

    def _wait_for_worker(self, timeout_s: float | None) -> None:
        try:
            self._client.wait_for_workers(1, timeout=timeout_s)
        except TimeoutError:
            expected, fix = f"a worker within {timeout_s:g} s", "look at the scheduler's log, and start workers"
            raise InputError("the cluster", expected=expected, found="none", fix=fix) from None

    def _remove_marks(self) -> None:
        for folder, name in self._needs.writes:
            with suppress(OSError):
                (folder / name).unlink()

    def _check_workers(self) -> None:
        with _lost_scheduler(), _missing_package():
            self._client.run(check_worker, self._needs)


@dataclass(kw_only=True, slots=True)
class _Sent(Generic[T]):
    """Tasks that were sent together."""

    tasks: list[T]
    future: Any
    results: list[Any] = field(default_factory=list)
    is_suspect: bool = False
    """Whether workers ended, one after another, that had these tasks."""

    def wait(self) -> bool:
        """Wait for the results, and return whether there are any; raises what a task raised."""
        from distributed import KilledWorker

        try:
            self.results, self.is_suspect = self.future.result(), False
        except KilledWorker:
            self.is_suspect = True
        self.future = None  # so that the scheduler forgets them
        return not self.is_suspect


def _wait_for_any(futures: list[Any]) -> None:
    from distributed import wait

    with suppress(TimeoutError):
        wait(futures, return_when="FIRST_COMPLETED", timeout=_COUNT_SECONDS)


def _name(function: Callable[..., object]) -> str:
    """Return the name of a task's function, or of the one inside partial functions."""
    while hasattr(function, "func"):
        function = function.func
    return getattr(function, "__name__", type(function).__name__).strip("_")


def _describe_deadly(function: Callable[..., object], tasks: list[T]) -> WorkersEndedError:
    texts = [str(task) for task in tasks[:_MAX_LISTED]]
    named = "; ".join(text if len(text) <= 200 else f"{text[:200]}..." for text in texts)
    more = f"; and {len(tasks) - _MAX_LISTED} more" if len(tasks) > _MAX_LISTED else ""
    error = WorkersEndedError(
        _name(function),
        expected="tasks that workers survive",
        found=f"workers that ended, one after another, on {named}{more}",
        fix="look at the workers' logs, such as for lack of memory; then run the same command again to resume",
    )
    error.tasks = tuple(tasks)
    return error


@contextmanager
def _lost_scheduler() -> Iterator[None]:
    """Turn the loss of the scheduler into an error that says how to go on."""
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CommClosedError, CancelledError) as error:
        raise StorageError(
            "the cluster",
            expected="its scheduler",
            found=" ".join(str(error).split())[:200] or "no answer",
            fix="start it again, and run the same command again to resume",
        ) from error


@contextmanager
def _missing_package() -> Iterator[None]:
    """Turn a worker's failure to import this package into an error that says so."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            "a worker",
            expected="an environment with sffshards",
            found=f"no module {error.name}",
            fix="install sffshards where the workers run, or start them in this environment",
        ) from error
