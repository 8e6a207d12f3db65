"""The further views of positives, made where the network runs rather than read.

Shapes: B batch, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sffshards.domain.views import View
from sffshards.shards.format import VIEWS

__all__ = ["apply_views"]

_TURNS: dict[View, Callable[[Tensor], Tensor]] = {
    View.HF: lambda x: x.flip(-1),
    View.VF: lambda x: x.flip(-2),
    View.R1: lambda x: x.rot90(1, (-2, -1)),
    View.R2: lambda x: x.rot90(2, (-2, -1)),
    View.R3: lambda x: x.rot90(3, (-2, -1)),
}


def apply_views(clips_BTHW: Tensor, views_B: Tensor) -> Tensor:
    """Show each clip in its view, as `sffshards.domain.views.apply_view` does on the processor.

    Parameters
    ----------
    clips_BTHW
        Any dtype and device, shape (B, 16, 224, 224).
    views_B
        uint8, on the same device: the view's position in `View`, 0 for a clip that stays as it is.

    Returns
    -------
    a tensor like ``clips_BTHW``, or itself where nothing is to be done
    """
    present = set(views_B.tolist()) - {VIEWS.index(View.NF)}
    if not present:
        return clips_BTHW
    shown_BTHW = clips_BTHW.clone()
    for number in sorted(present):
        where = torch.nonzero(views_B == number)[:, 0]
        shown_BTHW[where] = _TURNS[VIEWS[number]](clips_BTHW[where])
    return shown_BTHW
