"""Batches of clips: their parts, the memory that they lie in, and their views and random changes on the device.

Shapes: B batch, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.views import View
from sffshards.loading.epoch_plan import draw_words
from sffshards.loading.loading_options import LoadingOptions
from sffshards.shards.format import CLIP_SHAPE, VIEWS

_TURNS: dict[View, Callable[[Tensor], Tensor]] = {
    View.HF: lambda x: x.flip(-1),
    View.VF: lambda x: x.flip(-2),
    View.R1: lambda x: x.rot90(1, (-2, -1)),
    View.R2: lambda x: x.rot90(2, (-2, -1)),
    View.R3: lambda x: x.rot90(3, (-2, -1)),
}


NO_LABEL = -100
"""Label of padding: torch's losses ignore it (``ignore_index``), and metrics refuse it, since no class has it."""


class ClipChanges(NamedTuple):
    """Random changes of the clips of a batch, drawn when it is planned; padding stays as it is."""

    flipped_B2: Tensor
    """Whether a clip is flipped up-down and left-right, bool."""
    turns_B: Tensor
    """Number of quarter turns counter-clockwise, after the flips, uint8."""
    reversed_B: Tensor
    """Whether the polarity is reversed, bool."""
    frames_BT: Tensor
    """Frame of the clip that each frame shows, int64."""
    noise_B: Tensor
    """Standard deviation of the noise in grey levels, float32."""
    seeds_B: Tensor
    """Seed of the noise, int64."""


class ClipBatch(NamedTuple):
    """A batch of clips as it goes to the device; a position whose mask is false is padding and counts for nothing."""

    clips_BTHW: Tensor
    """Pixels, uint8; zeros where padded."""
    labels_B: Tensor
    """Labels, int64; `NO_LABEL` where padded."""
    rows_B: Tensor
    """Rows of the build's index, int64; `PADDING` where padded."""
    mask_B: Tensor
    """Mask, bool; false where padded."""
    views_B: Tensor
    """Views that `apply_views` has still to apply, uint8; 0 for none."""
    num_real: int
    """Number of samples of the step over all ranks, without padding."""
    changes: ClipChanges | None = None
    """Random changes that `render_clips` has still to make; None in a set that is not augmented."""


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


def draw_changes(mask_B: NDArray[np.bool_], options: LoadingOptions, *, epoch: int, first: int) -> ClipChanges:
    """Return random changes of the clips of a batch, which follow from the seed, the epoch and each clip's place in it.

    Parameters
    ----------
    mask_B
        Mask of the batch, false for padding, which comes last and is not changed.
    options
        The changes, and the seed.
    epoch
        Number of the epoch.
    first
        Place of the first clip in the order of the epoch.
    """
    words_BW = draw_words(len(mask_B), 2 + NUM_FRAMES, seed=options.seed, epoch=epoch, first=first)
    bits_B, seeds_B, chances_BT = words_BW[:, 0], words_BW[:, 1] >> 1, (words_BW[:, 2:] >> 11) * 2.0**-53
    bits_B = np.where(mask_B, bits_B, 0).astype(np.uint64)

    def draw(place: int, *, used: bool) -> NDArray[np.bool_]:
        return (bits_B >> place & 1 if used else 0 * bits_B).astype(bool)

    frames_BT = _drop_frames(chances_BT, np.where(mask_B, options.missing_frames, 0.0))
    frames_BT = np.where(draw(5, used=options.time_reversal)[:, None], frames_BT[:, ::-1], frames_BT)
    return ClipChanges(
        flipped_B2=torch.from_numpy(np.stack([draw(place, used=options.flips) for place in (0, 1)], axis=1)),
        turns_B=torch.from_numpy((bits_B >> 2 & 3 if options.quarter_turns else 0 * bits_B).astype(np.uint8)),
        reversed_B=torch.from_numpy(draw(4, used=options.polarity)),
        frames_BT=torch.from_numpy(np.ascontiguousarray(frames_BT)),
        noise_B=torch.from_numpy(np.where(mask_B, options.noise, 0).astype(np.float32)),
        seeds_B=torch.from_numpy(seeds_B.astype(np.int64)),
    )


def _drop_frames(chances_BT: NDArray[np.floating[Any]], missing_B: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return which frame each frame of a clip shows: a missing one the last before it, or else the first that is there.

    One frame at least is there, that of greatest chance.
    """
    there_BT = (chances_BT >= missing_B[:, None]) | (chances_BT == chances_BT.max(axis=1, keepdims=True))
    last_BT = np.maximum.accumulate(np.where(there_BT, np.arange(NUM_FRAMES), -1), axis=1)
    return np.where(last_BT < 0, there_BT.argmax(axis=1)[:, None], last_BT)


def render_clips(batch: ClipBatch) -> Tensor:
    """Return the clips of a batch in their views and with their random changes, on the device of the batch.

    Of the changes, the order of frames comes first, then flips, turns, polarity and noise, which is rounded to whole
    grey levels. Reversed polarity is grey 255 - x: the scale is symmetric about 127.5. Pixels without field, 128, so
    become 127.

    Parameters
    ----------
    batch
        The batch; only its clips, views and changes matter.

    Returns
    -------
    uint8 of shape (B, 16, 224, 224)
    """
    clips_BTHW = apply_views(batch.clips_BTHW, batch.views_B)
    return clips_BTHW if batch.changes is None else _change(clips_BTHW, batch.changes)


def _change(clips_BTHW: Tensor, changes: ClipChanges) -> Tensor:
    changed = []
    turns, seeds, noise = changes.turns_B.tolist(), changes.seeds_B.tolist(), changes.noise_B.tolist()
    flipped, is_reversed = changes.flipped_B2.tolist(), changes.reversed_B.tolist()
    for position, clip_THW in enumerate(clips_BTHW):
        axes = [axis for axis, flips in zip((-2, -1), flipped[position], strict=True) if flips]
        shown_THW = clip_THW[changes.frames_BT[position]].flip(axes).rot90(turns[position], (-2, -1))
        shown_THW = 255 - shown_THW if is_reversed[position] else shown_THW
        if noise[position]:
            generator = torch.Generator(clip_THW.device).manual_seed(seeds[position])
            noise_THW = torch.randn(shown_THW.shape, generator=generator, device=clip_THW.device)
            shown_THW = (shown_THW + noise[position] * noise_THW).round().clamp(0, 255).to(torch.uint8)
        changed.append(shown_THW)
    return torch.stack(changed)
