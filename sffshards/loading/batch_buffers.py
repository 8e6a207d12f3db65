"""Memory for batches that is used again, but never while anyone can still see it.

Fresh memory for every batch would cost more than reading it: the system clears each page when it is first touched.
"""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
import torch
from torch import Tensor

from sffshards.shards.format import CLIP_SHAPE

__all__ = ["BatchBuffers"]


class BatchBuffers:
    """Gives uint8 tensors of shape (batch_size, 16, 224, 224) whose memory comes back by itself.

    A tensor's memory is free again when the last tensor or array that shares it is gone, so a batch may be kept, sliced
    or sent to another thread like any other. Pinned memory is torch's own: its allocator waits for copies to a GPU
    that are still under way.

    Parameters
    ----------
    batch_size
        Clips a batch.
    num_kept
        Free batches to keep for later; more are given back to the system.
    pinned
        Whether to take page-locked memory, from which a GPU copies while the processor goes on.
    """

    def __init__(self, *, batch_size: int, num_kept: int, pinned: bool) -> None:
        self._shape = (batch_size, *CLIP_SHAPE)
        self._pinned = pinned
        self._free: deque[np.ndarray] = deque(maxlen=num_kept)

    def take(self) -> Tensor:
        """Give a tensor whose content is not defined."""
        if self._pinned:
            return torch.empty(self._shape, dtype=torch.uint8, pin_memory=True)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._shape, np.uint8)
        lease = memory[:]  # torch keeps this very object until the tensor's storage ends
        weakref.finalize(lease, self._free.append, memory).atexit = False
        return torch.from_numpy(lease)
