"""Open files of shards: each is opened on first use, and the least recently used is closed when there are too many."""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from weakref import WeakSet

from sffshards.base.errors import StorageError


class ShardFiles:
    """File descriptors of shards, shared by threads.

    Parameters
    ----------
    open_shard
        Function that opens a shard, given its number, and returns a file descriptor. It may fetch and check the shard.
        It is called by one thread at a time for a shard, but for several shards at once. If it fails, all threads that
        wait for the shard get the same error.
    max_open
        Maximum number of shards to keep open, expected ones as well; builds that have some open share it. More are open
        only while more are read at the same time.
    """

    def __init__(self, open_shard: Callable[[int], int], *, max_open: int) -> None:
        self._open_shard = open_shard
        self._max_open = self._share = max_open
        self._lock = threading.Lock()
        self._opening: dict[int, Future[None]] = {}
        self._descriptors: OrderedDict[int, int] = OrderedDict()
        self._num_readers: defaultdict[int, int] = defaultdict(int)
        self._expected: set[int] = set()
        _ALL_FILES.add(self)

    @property
    def has_open(self) -> bool:
        """Whether any shard is open."""
        return bool(self._descriptors)

    def expect(self, number: int) -> None:
        """Keep a shard open, from when it is opened until `release`."""
        with self._lock:
            self._expected.add(number)

    def open(self, number: int) -> None:
        """Open an expected shard before its first read; close it again if it was released meanwhile."""
        self.enter(number)
        self.leave(number)
        with self._lock:
            is_expected = number in self._expected
        if not is_expected:
            self.release(number)

    def release(self, number: int) -> None:
        """Close a shard that is no longer needed, unless it is being read."""
        with self._lock:
            self._expected.discard(number)
            if number in self._descriptors and not self._num_readers[number]:
                os.close(self._descriptors.pop(number))

    def close_idle(self, *, in_need: bool) -> bool:
        """Close all shards that are neither expected nor being read; with ``in_need``, expected ones too.

        Returns
        -------
        bool
            Whether any was closed.
        """
        with self._lock:
            kept = set() if in_need else self._expected
            idle = [n for n in self._descriptors if not self._num_readers[n] and n not in kept]
            for number in idle:
                os.close(self._descriptors.pop(number))
        return bool(idle)

    def close(self) -> None:
        """Close everything; a later read opens again."""
        with self._lock:
            descriptors, self._descriptors = self._descriptors, OrderedDict()
            self._expected.clear()
        for descriptor in descriptors.values():
            os.close(descriptor)

    def leave(self, number: int) -> None:
        """Record that a reader has finished with a shard."""
        with self._lock:
            self._num_readers[number] -= 1

    def enter(self, number: int) -> int:
        """Return the descriptor of a shard, which stays open until `leave`."""
        while True:
            with self._lock:
                if number in self._descriptors:
                    self._descriptors.move_to_end(number)
                    self._num_readers[number] += 1
                    return self._descriptors[number]
                opening = self._opening.get(number)
                if opening is None:
                    mine = self._opening[number] = Future()
                    break
            opening.result()  # opened by another thread; raises its error
        try:
            self._share_out()
            descriptor = self._open_in_need(number)
        except BaseException as error:
            with self._lock:
                del self._opening[number]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._opening[number]
            self._descriptors[number] = descriptor
            self._num_readers[number] += 1
            self._close_oldest()
        mine.set_result(None)
        return descriptor

    def forget_threads(self) -> None:
        """Reset the state of other threads, which do not exist in a forked process."""
        self._lock = threading.Lock()
        self._opening.clear()
        self._num_readers.clear()

    def _open_in_need(self, number: int) -> int:
        """Open a shard; where this process has too many files open, close idle shards first."""
        while True:
            try:
                return self._open_shard(number)
            except OSError as error:
                cause = error.__cause__ if isinstance(error, StorageError) else error
                if not isinstance(cause, OSError) or cause.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                if not close_idle_shards(in_need=True):
                    raise

    def trim(self, share: int) -> None:
        """Set the maximum number of open shards until the next call, and close idle ones that exceed it."""
        with self._lock:
            self._share = share
            self._close_oldest()

    def _share_out(self) -> None:
        """Let the builds that have shards open share what this process may have open; no lock may be held."""
        sharing = [files for files in list(_ALL_FILES) if files is self or files.has_open]
        for files in sharing:
            files.trim(max(1, self._max_open // len(sharing)))

    def _close_oldest(self) -> None:
        excess = len(self._descriptors) - self._share
        idle = [n for n in self._descriptors if not self._num_readers[n]]
        for number in sorted(idle, key=lambda n: n in self._expected)[: max(0, excess)]:
            os.close(self._descriptors.pop(number))


_ALL_FILES: WeakSet[ShardFiles] = WeakSet()


def close_idle_shards(*, in_need: bool) -> bool:
    """Close the idle shards of one build of this process that has any: builds may share a cache."""
    return any(files.close_idle(in_need=in_need) for files in list(_ALL_FILES))


def _after_fork() -> None:
    for files in list(_ALL_FILES):
        files.forget_threads()


os.register_at_fork(after_in_child=_after_fork)
