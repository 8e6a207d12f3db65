"""Where tasks are computed: in this process, in processes of this machine, or on a cluster.

A task is a function at the top level of a module that takes one small argument. It writes at most one file, which
appears under its name only when whole, and may be computed twice, even at the same time. Finished work is recognised
from files, never from what an executor remembers.
"""

from __future__ import annotations

import ctypes
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

__all__ = ["Closable", "Executor", "KeptOpen", "chunked", "default_workers", "keep_freed_memory"]

_KEPT_BYTES = {-1: 64 << 20, -3: 32 << 20}
"""Limits of glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, to which it raises them itself where nobody sets them."""

T = TypeVar("T")
R = TypeVar("R")
Key = TypeVar("Key")
Opened = TypeVar("Opened", bound="Closable")

_TASKS_PER_WORKER = 8
"""Minimum number of tasks per worker where the size of tasks can be chosen, so that workers end together."""


class Executor(ABC):
    """Runs tasks; used in a ``with`` block, at whose end its workers are released."""

    @property
    @abstractmethod
    def num_workers(self) -> int:
        """Number of tasks computed at a time; 0 if they are computed in this process, one after another."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object = None, *_: object) -> None:  # noqa: B027
        """Release the workers."""

    def start(self, prepare: Callable[[], None]) -> None:  # noqa: B027
        """Start the workers now, not at the first task, and have each call a function, such as one that imports.

        Parameters
        ----------
        prepare
            A function at the top level of a module.
        """

    def check_places(self, *, reads: Iterable[Path], writes: Iterable[Path]) -> None:  # noqa: B027
        """Check that every worker sees the files that it will read, and can write where it will write.

        Parameters
        ----------
        reads
            Files and folders that exist.
        writes
            Folders, which are created if absent.

        Raises
        ------
        InputError
            If a worker does not.
        """

    @abstractmethod
    def run(self, function: Callable[[T], R], tasks: Iterable[T], *, group: int = 1) -> Iterator[R]:
        """Call a function on every task, and yield the results in the order of the tasks.

        Parameters
        ----------
        function
            A function at the top level of a module; it runs in another process.
        tasks
            Its arguments. They are consumed as workers become free, so that few are in flight.
        group
            Number of tasks that are sent together where sending takes long, so that a worker is busy for about a
            second.

        Yields
        ------
        The results. When the caller stops, or a task raises, no more tasks are submitted.

        Raises
        ------
        StorageError
            If a worker ended, and the task cannot be computed by another one.
        Exception
            Whatever a task raises.
        """

    def split(self, items: Sequence[T], *, least: int, most: int) -> Iterator[Sequence[T]]:
        """Yield consecutive pieces of items for tasks: as large as possible with several tasks per worker.

        Parameters
        ----------
        items
            The items.
        least, most
            Limits of the size of a piece; the last one may be shorter.
        """
        even = -(-len(items) // (_TASKS_PER_WORKER * max(1, self.num_workers)))
        return chunked(items, min(most, max(least, even)))


class Closable(Protocol):
    """Something that holds files open."""

    def close(self) -> None:
        """Close them."""


class KeptOpen(Generic[Key, Opened]):
    """What a process last opened, kept for its next task, which as a rule needs the same.

    Parameters
    ----------
    opens
        Function that opens something, given a value that can be compared.
    """

    def __init__(self, opens: Callable[[Key], Opened]) -> None:
        self._opens = opens
        self._kept: tuple[Key, Opened] | None = None

    def __call__(self, key: Key) -> Opened:
        """Return what is open for this value, or open it and close the last one."""
        if self._kept is None or self._kept[0] != key:
            self.close()
            self._kept = key, self._opens(key)
        return self._kept[1]

    def close(self) -> None:
        """Close what is open."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees for its next image.

    Where it is returned to the system, the memory of every image is new, and touching new memory takes time: a fifth of
    the processor time of a build on workers of Dask, which return whatever exceeds 64 kB.
    """
    with suppress(OSError, AttributeError):  # another C library
        for parameter, size in _KEPT_BYTES.items():
            ctypes.CDLL(None).mallopt(parameter, size)


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield consecutive pieces of ``size`` items; the last one may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
