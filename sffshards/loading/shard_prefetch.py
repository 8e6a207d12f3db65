"""Fetch the shards of a remote build ahead of the steps of an epoch that need them, and release them afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sffshards.shards.read import Build, cache_too_small

_NUM_THREADS = 4
_MARGIN = 16
"""Number of steps that another process, which reads the same epoch from the same cache, may be ahead or behind."""


class _Use(NamedTuple):
    """The steps that need a shard."""

    first: int
    """The first step that reads from it."""
    last: int
    """The last one."""
    shard: int
    size_bytes: int


class ShardWindow:
    """The remote shards that an epoch needs at a time.

    A shard is fetched before the first step that reads from it, as early as the cache has room, and may leave the cache
    after the last one.

    Parameters
    ----------
    build
        The remote build.
    rows
        Rows of the index that each step reads, in the order of the steps.

    Raises
    ------
    InputError
        If the cache is smaller than the shards that are needed at one time.
    """

    def __init__(self, build: Build, rows: Sequence[NDArray[np.int64]]) -> None:
        uses, self._limit_bytes = _find_uses(build, rows), build.source.limit_bytes
        if (most := _most_at_once(uses)) > self._limit_bytes:
            raise cache_too_small(most, self._limit_bytes)
        self._build = build
        self._coming = deque(sorted(uses, key=lambda use: (use.first, use.shard)))
        self._held: dict[int, _Use] = {}
        self._pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="fetch")

    def begin(self, step: int) -> None:
        """Start to fetch the shards of a step, and further ones as far as the cache has room."""
        while self._coming and (self._coming[0].first <= step or self._has_room(self._coming[0])):
            use = self._coming.popleft()
            self._held[use.shard] = use
            self._build.files.expect(use.shard)
            self._pool.submit(self._build.files.open, use.shard)  # if it fails, so does the read, which says why
        if not self._coming:
            self._pool.shutdown(wait=False)

    def end(self, step: int) -> None:
        """Release the shards that no step after this one reads from."""
        for use in [use for use in self._held.values() if use.last <= step]:
            del self._held[use.shard]
            self._build.files.release(use.shard)

    def close(self) -> None:
        """Stop fetching, and release all shards."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._held:
            self._build.source.abandon()
            self.end(max(use.last for use in self._held.values()))

    def _has_room(self, use: _Use) -> bool:
        return use.size_bytes + sum(held.size_bytes for held in self._held.values()) <= self._limit_bytes


def _find_uses(build: Build, rows: Sequence[NDArray[np.int64]]) -> list[_Use]:
    """Return the first and the last step of every shard that is read from."""
    sizes = [len(of_step) for of_step in rows]
    steps_N = np.repeat(np.arange(len(sizes)), sizes)
    shards_N = build.row_shards(np.concatenate([np.empty(0, np.int64), *rows])).shards_N
    shards, firsts = np.unique(shards_N, return_index=True)
    _, lasts = np.unique(shards_N[::-1], return_index=True)
    return [
        _Use(int(steps_N[first]), int(steps_N[len(steps_N) - 1 - last]), int(shard), size)
        for shard, first, last in zip(shards, firsts, lasts, strict=True)
        for size in [build.manifest.shards[shard].size_bytes]
    ]


def _most_at_once(uses: Iterable[_Use]) -> int:
    """Return the most bytes of shards that are needed at one time."""
    changes = [(use.first - _MARGIN, use.size_bytes) for use in uses]
    changes += [(use.last + 1 + _MARGIN, -use.size_bytes) for use in uses]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
