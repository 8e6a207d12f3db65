"""Batches of clips: their parts, the memory that they lie in, and their augmented views on the device.

Shapes: B batch, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sffshards.domain.views import View
from sffshards.shards.format import CLIP_SHAPE, VIEWS

_TURNS: dict[View, Callable[[Tensor], Tensor]] = {
    View.HF: lambda x: x.flip(-1),
    View.VF: lambda x: x.flip(-2),
    View.R1: lambda x: x.rot90(1, (-2, -1)),
    View.R2: lambda x: x.rot90(2, (-2, -1)),
    View.R3: lambda x: x.rot90(3, (-2, -1)),
}


class ClipBatch(NamedTuple):
    """A batch of clips as it goes to the device; a position whose mask is false is padding and counts for nothing."""

    clips_BTHW: Tensor
    """Pixels, uint8; zeros where padded."""
    labels_B: Tensor
    """Labels, int64; 0 where padded."""
    rows_B: Tensor
    """Rows of the build's index, int64; `PADDING` where padded."""
    mask_B: Tensor
    """Mask, bool; false where padded."""
    views_B: Tensor
    """Views that `apply_views` has still to apply, uint8; 0 for none."""
    num_real: int
    """Number of samples of the step over all ranks, without padding."""


class BatchBuffers:
    """Allocates uint8 tensors of shape (batch_size, 16, 224, 224) whose memory is reused.

    Fresh memory for every batch would cost more than reading it: the system clears each page when it is first touched.
    A tensor's memory is free again when the last tensor or array that shares it is gone, so a batch may be kept, sliced
    or sent to another thread like any other. Pinned memory is torch's own: its allocator waits for copies to a GPU
    that have not finished.

    Parameters
    ----------
    batch_size
        Clips per batch.
    num_kept
        Number of free batches to keep; others are returned to the system.
    pinned
        Whether to allocate page-locked memory, from which a GPU copies while the processor works.
    """

    def __init__(self, *, batch_size: int, num_kept: int, pinned: bool) -> None:
        self._shape = (batch_size, *CLIP_SHAPE)
        self._pinned = pinned
        self._free: deque[np.ndarray] = deque(maxlen=num_kept)

    def take(self) -> Tensor:
        """Return a tensor whose content is undefined."""
        if self._pinned:
            return torch.empty(self._shape, dtype=torch.uint8, pin_memory=True)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._shape, np.uint8)
        lease = memory[:]  # torch keeps this very object until the tensor's storage ends
        weakref.finalize(lease, self._free.append, memory).atexit = False
        return torch.from_numpy(lease)


def apply_views(clips_BTHW: Tensor, views_B: Tensor) -> Tensor:
    """Return each clip in its view, as `sffshards.domain.views.apply_view` does on the processor.

    Parameters
    ----------
    clips_BTHW
        Clips of shape (B, 16, 224, 224), any dtype and device.
    views_B
        Position of each clip's view in `View`, uint8, on the same device; 0 for a clip that stays as it is.

    Returns
    -------
    a tensor like ``clips_BTHW``, or ``clips_BTHW`` itself where all views are 0
    """
    present = set(views_B.tolist()) - {VIEWS.index(View.NF)}
    if not present:
        return clips_BTHW
    shown_BTHW = clips_BTHW.clone()
    for number in sorted(present):
        where = torch.nonzero(views_B == number)[:, 0]
        shown_BTHW[where] = _TURNS[VIEWS[number]](clips_BTHW[where])
    return shown_BTHW
