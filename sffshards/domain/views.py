"""The six views of a sequence: flips and rotations by multiples of 90 degrees, exact on square frames."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sffshards.base.package_faces import accepts_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["View", "apply_view", "undo_view"]


class View(StrEnum):
    """View of a sequence: unchanged, flipped, or rotated counter-clockwise."""

    NF = "nf"
    HF = "hf"
    VF = "vf"
    R1 = "r1"
    R2 = "r2"
    R3 = "r3"


_TURNS = {View.R1: 1, View.R2: 2, View.R3: 3}


@accepts_text
def apply_view(frames: NDArray[Any], view: View) -> NDArray[Any]:
    """Return frames of shape (..., height, width) flipped or rotated, without copying.

    ``hf`` mirrors left and right, ``vf`` up and down; ``r1``, ``r2``, ``r3`` rotate by 90, 180 and 270 degrees
    counter-clockwise, as torchvision's ``hflip``, ``vflip`` and ``rotate`` do.
    """
    import numpy as np

    if view is View.HF:
        return frames[..., ::-1]
    if view is View.VF:
        return frames[..., ::-1, :]
    return np.rot90(frames, _TURNS.get(view, 0), axes=(-2, -1))


@accepts_text
def undo_view(frames: NDArray[Any], view: View) -> NDArray[Any]:
    """Return the unchanged frames of a view: the inverse of `apply_view`."""
    import numpy as np

    if view in (View.HF, View.VF):
        return apply_view(frames, view)
    return np.rot90(frames, -_TURNS.get(view, 0), axes=(-2, -1))
