"""The stages of a pipeline: this rank's share of a plan, and the reader that turns it into batches of clips.

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
from torch import Tensor
from torch.utils.data import get_worker_info

from sffshards.loading.batch_buffers import BatchBuffers
from sffshards.loading.epoch_plan import MIN_BLOCK_SHARDS, PADDING, plan_epoch, shuffle_blocks, shuffle_order
from sffshards.loading.loading_options import Shuffle, ViewSource
from sffshards.loading.shard_prefetch import ShardWindow
from sffshards.shards.read import Build, RowShards

__all__ = ["ClipBatch", "PlanSource", "PlannedBatch", "ReadClips"]

_CLIPS_PER_TASK = 8
"""Clips that a thread reads at a time, at most."""


class PlannedBatch(NamedTuple):
    """What one rank reads for one step."""

    rows_B: NDArray[np.int64]
    """Rows of the build's index, or `PADDING`."""
    num_real: int
    """Samples of the step over all ranks, padding not counted."""


class ClipBatch(NamedTuple):
    """A batch of clips as it goes to the device; a position whose mask is false is padding and counts for nothing."""

    clips_BTHW: Tensor
    """uint8; zeros where padded."""
    labels_B: Tensor
    """int64; 0 where padded."""
    rows_B: Tensor
    """int64: rows of the build's index, `PADDING` where padded."""
    mask_B: Tensor
    """bool."""
    views_B: Tensor
    """uint8: the view that a clip is still to be shown in, as `apply_views` takes it; 0 for none."""
    num_real: int
    """Samples of the step over all ranks, padding not counted."""


@dataclass(kw_only=True, slots=True)
class PlanSource:
    """The first stage: gives this rank's share of each step of an epoch.

    In a worker process of a `webdataset.WebLoader` it gives every n-th step, and the loader, which takes from its
    workers in turn, puts them back in order.
    """

    rows: NDArray[np.int64]
    """Rows of the set, in the order that goes without shuffling."""
    global_batch: int
    num_ranks: int
    rank: int
    seed: int
    shuffle: Shuffle
    shards: RowShards | None = None
    """Where the rows lie; needed only to shuffle blocks."""
    block_shards: int = MIN_BLOCK_SHARDS
    """Shards a block, at least."""
    epoch: int = 0
    """The epoch that the next pass goes through."""
    first_step: int = 0
    """Where in it the next pass begins."""

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return math.ceil(len(self.rows) / self.global_batch)

    def __call__(self) -> Iterator[PlannedBatch]:
        """Go once over the set."""
        plan = plan_epoch(self._draw_order(), global_batch=self.global_batch, num_ranks=self.num_ranks)
        worker = get_worker_info()
        place, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in plan[self.first_step :][place::num_workers]:
            local = step[self.rank]
            rows_B = np.where(local == PADDING, PADDING, self.rows[local])
            yield PlannedBatch(rows_B=rows_B, num_real=int((step != PADDING).sum()))

    def count_samples(self, first_step: int, num_steps: int) -> int:
        """Count the samples of some steps of an epoch, over all ranks, padding not counted."""
        first, end = (min(step * self.global_batch, len(self.rows)) for step in (first_step, first_step + num_steps))
        return end - first

    def describe_shuffle(self) -> str:
        """Give what the order follows from, besides seed and epoch, such as ``blocks of 10 shards``."""
        return f"blocks of {self.block_shards} shards" if self.shuffle is Shuffle.BLOCKS else str(self.shuffle)

    def _draw_order(self) -> NDArray[np.int64]:
        if self.shuffle is Shuffle.NONE:
            return np.arange(len(self.rows))
        if self.shuffle is Shuffle.GLOBAL:
            return shuffle_order(len(self.rows), seed=self.seed, epoch=self.epoch)
        if self.shards is None:
            raise ValueError("to shuffle blocks, a plan must know where its rows lie")
        return shuffle_blocks(*self.shards, block_shards=self.block_shards, seed=self.seed, epoch=self.epoch)


class ReadClips:
    """The second stage: reads and decodes planned batches in order, some of them ahead, with a few threads.

    Parameters
    ----------
    build
        Where the clips are.
    num_threads
        Threads that read; 0: read when asked, in the thread that asks.
    pinned
        Whether batches lie in page-locked memory, for a GPU.
    views
        Whether further views are read, or left to `apply_views`, the plain sample being read in their place.
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
        """Read; an error in a thread is raised here, when its batch is due."""
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
                pool.shutdown(wait=False)  # a consumer that counts does not come back after the last batch
            while waiting:
                yield waiting.popleft().finish(window)
        finally:
            stop.set()  # before shards that are being fetched are given up: nobody is to ask for further ones
            window.close()
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def _begin(
        self, batch: ClipBatch, pool: ThreadPoolExecutor | None, stop: Event
    ) -> tuple[ClipBatch, list[Future[None]]]:
        """Read a batch, or have threads do it."""
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
        """Wait for the batch; raises what a thread raised."""
        for read in self.reads:
            read.result()
        window.end(self.step)
        return self.batch
