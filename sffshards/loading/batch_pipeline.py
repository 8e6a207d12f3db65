"""The stages of the loading pipeline: this rank's share of a plan, and the reader of its batches of clips.

Shapes: B batch, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import chain, pairwise
from threading import Event
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from sffshards.base.package_faces import accepts_text
from sffshards.loading.clip_batches import NO_LABEL, BatchBuffers, ClipBatch, draw_changes
from sffshards.loading.epoch_plan import PADDING, balance_order, plan_epoch, shuffle_blocks, shuffle_order
from sffshards.loading.loading_options import MIN_BLOCK_SHARDS, LoadingOptions, Shuffle, ViewSource
from sffshards.loading.shard_prefetch import ShardWindow
from sffshards.shards.read import Build, RowShards

_CLIPS_PER_TASK = 8
"""Largest number of clips that a thread reads at a time."""


class EpochCount:
    """Counts the passes through a set, those of several loaders and of their worker processes together.

    The number of the next epoch and the key of the last pass share one 64-bit word. So the workers of one pass, which
    know the same key, agree on its epoch without a lock.
    """

    _KEY_BITS = 32

    def __init__(self) -> None:
        with torch.inference_mode(mode=False):  # a tensor of that mode could not be changed outside it
            self._word = torch.zeros(1, dtype=torch.int64, device="cpu")
        self._num_begun = 0  # by this process

    @property
    def next_epoch(self) -> int:
        """Number of the epoch that the next pass is."""
        return int(self._word) >> self._KEY_BITS

    @next_epoch.setter
    def next_epoch(self, epoch: int) -> None:
        self._word.fill_(epoch << self._KEY_BITS)

    def share(self) -> None:
        """Move the count to memory that worker processes share, those started already excepted."""
        self._word.share_memory_()  # type: ignore[no-untyped-call]  # of torch

    def begin(self, *, at_least: int) -> int:
        """Return the epoch of a pass that begins in this process, and in the other workers of its data loader."""
        worker, key = get_worker_info(), 0
        if worker is not None:  # the seed differs from pass to pass, except in workers that are kept
            key = crc32(f"{worker.seed - worker.id} {self._num_begun}".encode()) or 1
            self._num_begun += 1
        word = int(self._word)
        if key and word & ((1 << self._KEY_BITS) - 1) == key:  # another worker was first
            return (word >> self._KEY_BITS) - 1
        epoch = max(word >> self._KEY_BITS, at_least)
        self._word.fill_(epoch + 1 << self._KEY_BITS | key)
        return epoch


class PlannedBatch(NamedTuple):
    """The samples that one rank reads for one step."""

    rows_B: NDArray[np.int64]
    """Rows of the build's index, or `PADDING`."""
    num_real: int
    """Number of samples of the step over all ranks, without padding."""
    epoch: int = 0
    """Number of the epoch."""
    first: int = 0
    """Place of the first of these samples in the order of the epoch; the others follow it."""


@accepts_text
@dataclass(kw_only=True, slots=True)
class PlanSource:
    """The first stage: yields this rank's share of each step of an epoch.

    Every pass is another epoch. In a worker process of a `webdataset.WebLoader` it yields every n-th step. The loader
    takes from its workers in turn, which restores the order.
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
    labels: NDArray[np.int64] | None = None
    """Labels of the rows, where batches are balanced; else None."""
    epoch: int = 0
    """Least epoch of the next pass; later passes are later epochs."""
    first_step: int = 0
    """Step at which the pass of that epoch begins."""
    count: EpochCount = field(default_factory=EpochCount)
    """Count of the passes."""
    ask_place: Callable[[], tuple[int, int]] | None = None
    """Function that returns the number of ranks and this rank, asked before each pass; None if they stay."""

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        self.settle()
        return math.ceil(len(self.rows) / self.global_batch)

    def __reduce__(self) -> tuple[Any, ...]:
        self.settle()  # a worker process is in no process group
        kept = {of.name: getattr(self, of.name) for of in fields(self) if of.name != "ask_place"}
        return partial(type(self), **kept), ()

    def __call__(self) -> Iterator[PlannedBatch]:
        """Yield the batches of an epoch."""
        self.settle()
        epoch = self.count.begin(at_least=self.epoch)
        rows_N = self.rows[self._draw_order(epoch)]
        plan = plan_epoch(np.arange(len(rows_N)), global_batch=self.global_batch, num_ranks=self.num_ranks)
        first_step = self.first_step if epoch == self.epoch else 0
        worker = get_worker_info()
        place, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in plan[first_step:][place::num_workers]:
            local = step[self.rank]
            rows_B = np.where(local == PADDING, PADDING, rows_N[local])
            num_real = int((step != PADDING).sum())
            yield PlannedBatch(rows_B=rows_B, num_real=num_real, epoch=epoch, first=max(int(local[0]), 0))

    def begin_at(self, epoch: int, step: int) -> None:
        """Make the next pass that of an epoch, from one of its steps on."""
        self.epoch, self.first_step, self.count.next_epoch = epoch, step, epoch

    def settle(self) -> None:
        """Take on the number of ranks that there are now; each keeps its batch size."""
        if self.ask_place is not None:
            num_ranks, rank = self.ask_place()
            self.global_batch = self.global_batch // self.num_ranks * num_ranks
            self.num_ranks, self.rank = num_ranks, rank

    def count_samples(self, first_step: int, num_steps: int) -> int:
        """Return the number of samples of some steps of an epoch, over all ranks, without padding."""
        first, end = (min(step * self.global_batch, len(self.rows)) for step in (first_step, first_step + num_steps))
        return end - first

    def describe_shuffle(self) -> str:
        """Return how the set is ordered in words, such as ``blocks of 10 shards``."""
        if self.labels is not None:
            return "balanced"
        return f"blocks of {self.block_shards} shards" if self.shuffle is Shuffle.BLOCKS else str(self.shuffle)

    def _draw_order(self, epoch: int) -> NDArray[np.int64]:
        if self.labels is not None:
            return balance_order(self.labels, seed=self.seed, epoch=epoch)
        if self.shuffle is Shuffle.NONE:
            return np.arange(len(self.rows))
        if self.shuffle is Shuffle.GLOBAL:
            return shuffle_order(len(self.rows), seed=self.seed, epoch=epoch)
        if self.shards is None:
            raise ValueError("to shuffle blocks, a plan needs the shards of its rows")
        return shuffle_blocks(*self.shards, block_shards=self.block_shards, seed=self.seed, epoch=epoch)


@accepts_text
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
        Whether augmented views are read, or their plain samples, to which `render_clips` then applies the views.
    augmented_by
        Options by which clips are changed at random; None if they are not.
    """

    def __init__(
        self,
        build: Build,
        *,
        num_threads: int,
        pinned: bool,
        views: ViewSource,
        augmented_by: LoadingOptions | None = None,
    ) -> None:
        self.build = build
        self.num_threads = num_threads
        self.pinned = pinned
        self.augmented_by = augmented_by
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
        mask_B, changes = planned.rows_B != PADDING, None
        if self.augmented_by is not None:
            changes = draw_changes(mask_B, self.augmented_by, epoch=planned.epoch, first=planned.first)
        return ClipBatch(
            clips_BTHW=buffers.take(),
            labels_B=torch.from_numpy(np.where(mask_B, self._labels[planned.rows_B], NO_LABEL)),
            rows_B=torch.from_numpy(planned.rows_B),
            mask_B=torch.from_numpy(mask_B),
            views_B=torch.from_numpy(np.where(mask_B, self._views[planned.rows_B], np.uint8(0))),
            num_real=planned.num_real,
            changes=changes,
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
