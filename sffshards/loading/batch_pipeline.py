"""The stages of the loading pipeline: this rank's share of a plan, and the reader of its batches of clips.

Shapes: B batch, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, pairwise
from threading import Event
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from sffshards.loading.clip_batches import BatchBuffers, ClipBatch
from sffshards.loading.epoch_plan import PADDING, plan_epoch, shuffle_blocks, shuffle_order
from sffshards.loading.loading_options import MIN_BLOCK_SHARDS, Shuffle, ViewSource
from sffshards.loading.shard_prefetch import ShardWindow
from sffshards.shards.read import Build, RowShards

_CLIPS_PER_TASK = 8
"""Largest number of clips that a thread reads at a time."""


class PlannedBatch(NamedTuple):
    """The samples that one rank reads for one step."""

    rows_B: NDArray[np.int64]
    """Rows of the build's index, or `PADDING`."""
    num_real: int
    """Number of samples of the step over all ranks, without padding."""


@dataclass(kw_only=True, slots=True)
class PlanSource:
    """The first stage: yields this rank's share of each step of an epoch.

    In a worker process of a `webdataset.WebLoader` it yields every n-th step. The loader takes from its workers in
    turn, which restores the order.
    """

    rows: NDArray[np.int64]
    """Rows of the set, in their order without shuffling."""
    global_batch: int
    """Number of samples per step, over all ranks."""
    num_ranks: int
    """Number of processes that train together."""
    rank: int
    """Number of this process among them."""
    seed: int
    """Seed of the order, together with the epoch."""
    shuffle: Shuffle
    """How the set is ordered."""
    shards: RowShards | None = None
    """Shards of the rows; needed only to shuffle blocks."""
    block_shards: int = MIN_BLOCK_SHARDS
    """Least number of shards per block."""
    epoch: int = 0
    """Epoch of the next pass."""
    first_step: int = 0
    """Step of the epoch at which the next pass begins."""

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return math.ceil(len(self.rows) / self.global_batch)

    def __call__(self) -> Iterator[PlannedBatch]:
        """Yield the batches of an epoch."""
        plan = plan_epoch(self._draw_order(), global_batch=self.global_batch, num_ranks=self.num_ranks)
        worker = get_worker_info()
        place, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in plan[self.first_step :][place::num_workers]:
            local = step[self.rank]
            rows_B = np.where(local == PADDING, PADDING, self.rows[local])
            yield PlannedBatch(rows_B=rows_B, num_real=int((step != PADDING).sum()))

    def count_samples(self, first_step: int, num_steps: int) -> int:
        """Return the number of samples of some steps of an epoch, over all ranks, without padding."""
        first, end = (min(step * self.global_batch, len(self.rows)) for step in (first_step, first_step + num_steps))
        return end - first

    def describe_shuffle(self) -> str:
        """Return how the set is ordered in words, such as ``blocks of 10 shards``."""
        return f"blocks of {self.block_shards} shards" if self.shuffle is Shuffle.BLOCKS else str(self.shuffle)

    def _draw_order(self) -> NDArray[np.int64]:
        if self.shuffle is Shuffle.NONE:
            return np.arange(len(self.rows))
        if self.shuffle is Shuffle.GLOBAL:
            return shuffle_order(len(self.rows), seed=self.seed, epoch=self.epoch)
        if self.shards is None:
            raise ValueError("to shuffle blocks, a plan needs the shards of its rows")
        return shuffle_blocks(*self.shards, block_shards=self.block_shards, seed=self.seed, epoch=self.epoch)


class ReadClips:
    """The second stage: reads and decodes planned batches in order, some of them ahead, in a few threads.

    Parameters
    ----------
    build
        Build that holds the clips.
    num_threads
        Number of threads that read; 0 to read on demand, in the calling thread.
    pinned
        Whether batches lie in page-locked memory, for a GPU.
    views
        Whether augmented views are read, or their plain samples, to which `apply_views` then applies the views.
    """

    def __init__(self, build: Build, *, num_threads: int, pinned: bool, views: ViewSource) -> None:
        self.build = build
        self.num_threads = num_threads
        self.pinned = pinned
        self._num_ahead = num_threads + 1 if num_threads else 0
        self._labels = np.asarray(build.index["label"]).astype(np.int64)
        stored = views is ViewSource.STORED
        self._read_rows = np.arange(len(build)) if stored else build.plain_rows()
        self._views = np.zeros(len(build), np.uint8) if stored else np.asarray(build.index["view"])

    def __call__(self, planned: Iterator[PlannedBatch]) -> Iterator[ClipBatch]:
        """Yield the batches; an error in a thread is raised here, when its batch is due."""
        first = next(planned, None)
        if first is None:
            return
        buffers = BatchBuffers(batch_size=len(first.rows_B), num_kept=self._num_ahead + 2, pinned=self.pinned)
        steps: Iterable[PlannedBatch] = chain([first], planned)
        needed: list[NDArray[np.int64]] = []
        if self.build.is_remote:
            steps = list(steps)
            needed = [self._read_rows[step.rows_B[step.rows_B != PADDING]] for step in steps]
        window = ShardWindow(self.build, needed)
        pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="clips") if self.num_threads else None
        waiting: deque[_Waiting] = deque()
        stop = Event()
        try:
            for number, step in enumerate(steps):
                window.begin(number)
                waiting.append(_Waiting(number, *self._begin(self._allocate(step, buffers), pool, stop)))
                if len(waiting) > self._num_ahead:
                    yield waiting.popleft().finish(window)
            if pool is not None:
                pool.shutdown(wait=False)  # a consumer that counts batches does not ask again after the last
            while waiting:
                yield waiting.popleft().finish(window)
        finally:
            stop.set()  # before fetches of shards are cancelled, so that no thread asks for another
            window.close()
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def _begin(
        self, batch: ClipBatch, pool: ThreadPoolExecutor | None, stop: Event
    ) -> tuple[ClipBatch, list[Future[None]]]:
        """Read a batch, or start threads that do."""
        num_clips = len(batch.mask_B)
        if pool is None:
            self._fill(batch, range(num_clips), stop)
            return batch, []
        num_tasks = math.ceil(num_clips / _CLIPS_PER_TASK)
        cuts = [num_clips * task // num_tasks for task in range(num_tasks + 1)]
        return batch, [pool.submit(self._fill, batch, range(*cut), stop) for cut in pairwise(cuts)]

    def _fill(self, batch: ClipBatch, positions: range, stop: Event) -> None:
        clips_BTHW = batch.clips_BTHW.numpy()
        rows = batch.rows_B[positions.start : positions.stop].tolist()
        for position, row in zip(positions, rows, strict=True):
            if stop.is_set():
                return
            if row == PADDING:
                clips_BTHW[position] = 0
            else:
                self.build.read_into(int(self._read_rows[row]), clips_BTHW[position])

    def _allocate(self, planned: PlannedBatch, buffers: BatchBuffers) -> ClipBatch:
        mask_B = planned.rows_B != PADDING
        return ClipBatch(
            clips_BTHW=buffers.take(),
            labels_B=torch.from_numpy(np.where(mask_B, self._labels[planned.rows_B], 0)),
            rows_B=torch.from_numpy(planned.rows_B),
            mask_B=torch.from_numpy(mask_B),
            views_B=torch.from_numpy(np.where(mask_B, self._views[planned.rows_B], np.uint8(0))),
            num_real=planned.num_real,
        )


class _Waiting(NamedTuple):
    """A batch that threads are filling, or have filled."""

    step: int
    batch: ClipBatch
    reads: list[Future[None]]

    def finish(self, window: ShardWindow) -> ClipBatch:
        """Wait for the batch and return it; raises what a thread raised."""
        for read in self.reads:
            read.result()
        window.end(self.step)
        return self.batch
