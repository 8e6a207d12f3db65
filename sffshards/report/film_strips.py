"""Film strips: the sixteen frames of a sequence as one small picture, read from the shards."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sffshards.domain.frame_sequences import SequenceId
from sffshards.shards.read import Build, find_samples

__all__ = ["draw_strip"]

_COLUMNS = 8
_SIDE = 64
_GAP = 2
_LEVELS = 64
"""Of grey: the eye sees no more in so small a picture, and it takes half the bytes."""


def draw_strip(build: Build, sequence: str) -> bytes:
    """Draw a sequence of a build as PNG: two rows of eight frames.

    Raises
    ------
    InputError
        If the build has no such sequence.
    DamageError
        If its sample is not as it was written.
    """
    clip_THW = build.read_clip(find_samples(build, SequenceId.parse(sequence))[0])
    step = _SIDE + _GAP
    rows = len(clip_THW) // _COLUMNS
    strip = Image.new("L", (_COLUMNS * step - _GAP, rows * step - _GAP), 128)
    for slot, frame in enumerate(clip_THW):
        strip.paste(_shrink(frame), ((slot % _COLUMNS) * step, (slot // _COLUMNS) * step))
    buffer = io.BytesIO()
    strip.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _shrink(frame: NDArray[np.uint8]) -> Image.Image:
    small = Image.fromarray(frame).resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=None)
    step = 256 // _LEVELS
    return small.point([min(255, (value // step) * step + step // 2) for value in range(256)])
