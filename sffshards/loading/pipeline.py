"""From a plan to batches: a `webdataset.DataPipeline` of plan, reader and whatever stages a user inserts after them.

Shapes: B batch, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import webdataset as wds
from numpy.typing import NDArray
from torch import Tensor

from sffshards.loading.plan import PADDING, plan_epoch
from sffshards.shards import CLIP_SHAPE, Build

__all__ = ["ClipBatch", "ClipLoader", "PlanSource", "PlannedBatch", "ReadClips"]

_NUM_BATCHES_AHEAD = 3
"""Batches that are read while the model works on one; more would only take memory."""


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
    num_real: int
    """Samples of the step over all ranks, padding not counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanSource:
    """The first stage: gives this rank's share of each step of the epoch that is under way."""

    rows: NDArray[np.int64]
    """Rows of the set, in the order that goes without shuffling."""
    global_batch: int
    num_ranks: int
    rank: int
    seed: int
    shuffle: bool
    epoch: Callable[[], int]
    """Says which epoch it is; asked when a pass over the set begins."""

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return math.ceil(len(self.rows) / self.global_batch)

    def __call__(self) -> Iterator[PlannedBatch]:
        """Go once over the set."""
        plan = plan_epoch(
            len(self.rows),
            global_batch=self.global_batch,
            num_ranks=self.num_ranks,
            seed=self.seed,
            epoch=self.epoch(),
            shuffle=self.shuffle,
        )
        for step in plan:
            local = step[self.rank]
            rows_B = np.where(local == PADDING, PADDING, self.rows[local])
            yield PlannedBatch(rows_B=rows_B, num_real=int((step != PADDING).sum()))


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadClips:
    """The second stage: reads and decodes planned batches in order, some of them ahead, with a few threads."""

    build: Build
    num_threads: int
    """0: read when asked, in the thread that asks."""

    def __call__(self, planned: Iterator[PlannedBatch]) -> Iterator[ClipBatch]:
        """Read; an error in a thread is raised here, when its batch is due."""
        if self.num_threads == 0:
            yield from map(self._read, planned)
            return
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="clips") as pool:
            waiting: deque[tuple[ClipBatch, list[Future[None]]]] = deque()
            try:
                for batch in planned:
                    waiting.append(self._submit(pool, batch))
                    if len(waiting) > _NUM_BATCHES_AHEAD:
                        yield _finish(waiting.popleft())
                pool.shutdown(wait=False)  # a consumer that counts does not come back after the last batch
                while waiting:
                    yield _finish(waiting.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, planned: PlannedBatch) -> ClipBatch:
        batch = self._allocate(planned)
        clips_BTHW = batch.clips_BTHW.numpy()
        for position in np.flatnonzero(planned.rows_B != PADDING):
            clips_BTHW[position] = self.build.read_clip(int(planned.rows_B[position]))
        return batch

    def _submit(self, pool: ThreadPoolExecutor, planned: PlannedBatch) -> tuple[ClipBatch, list[Future[None]]]:
        batch = self._allocate(planned)
        clips_BTHW = batch.clips_BTHW.numpy()

        def read(position: int) -> None:
            clips_BTHW[position] = self.build.read_clip(int(planned.rows_B[position]))

        positions = np.flatnonzero(planned.rows_B != PADDING)
        return batch, [pool.submit(read, int(position)) for position in positions]

    def _allocate(self, planned: PlannedBatch) -> ClipBatch:
        mask_B = planned.rows_B != PADDING
        labels_B = np.where(mask_B, self.build.index["label"][planned.rows_B], 0).astype(np.int64)
        clips_BTHW = torch.empty((len(mask_B), *CLIP_SHAPE), dtype=torch.uint8)
        for position in np.flatnonzero(~mask_B):
            clips_BTHW[position] = 0
        return ClipBatch(
            clips_BTHW=clips_BTHW,
            labels_B=torch.from_numpy(labels_B),
            rows_B=torch.from_numpy(planned.rows_B),
            mask_B=torch.from_numpy(mask_B),
            num_real=planned.num_real,
        )


class ClipLoader:
    """Goes over a set, an epoch an iteration; what Lightning takes for a data loader.

    Parameters
    ----------
    build
        Where the clips are.
    source
        Which clips, in which order.
    num_threads
        Threads that read and decode ahead; 0 for none.

    Attributes
    ----------
    pipeline
        The `webdataset.DataPipeline` that is run; ``pipeline.append`` adds a stage from batches to batches.
    """

    def __init__(self, build: Build, source: PlanSource, *, num_threads: int) -> None:
        self.source = source
        self.pipeline = wds.DataPipeline(source, ReadClips(build=build, num_threads=num_threads))

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.source)

    def __iter__(self) -> Iterator[ClipBatch]:
        """Go once over the set."""
        return iter(self.pipeline)


def _finish(waiting: tuple[ClipBatch, list[Future[None]]]) -> ClipBatch:
    batch, reads = waiting
    for read in reads:
        read.result()
    return batch
