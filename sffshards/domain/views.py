"""The six views of a sequence: flips and quarter turns, exact on square frames."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["View", "apply_view", "undo_view"]


class View(StrEnum):
    """How a sequence is shown: as it is, flipped, or turned counter-clockwise."""

    NF = "nf"
    HF = "hf"
    VF = "vf"
    R1 = "r1"
    R2 = "r2"
    R3 = "r3"


_TURNS = {View.R1: 1, View.R2: 2, View.R3: 3}


def apply_view(frames: NDArray[Any], view: View) -> NDArray[Any]:
    """Show frames of shape (..., height, width) flipped or turned; a view of the same memory where it can be.

    ``hf`` mirrors left and right, ``vf`` up and down; ``r1``, ``r2``, ``r3`` turn by 90, 180 and 270 degrees
    counter-clockwise, as torchvision's ``hflip``, ``vflip`` and ``rotate`` do.
    """
    import numpy as np

    if view is View.HF:
        return frames[..., ::-1]
    if view is View.VF:
        return frames[..., ::-1, :]
    return np.rot90(frames, _TURNS.get(view, 0), axes=(-2, -1))


def undo_view(frames: NDArray[Any], view: View) -> NDArray[Any]:
    """Turn a view back into the plain frames."""
    import numpy as np

    if view in (View.HF, View.VF):
        return apply_view(frames, view)
    return np.rot90(frames, -_TURNS.get(view, 0), axes=(-2, -1))
