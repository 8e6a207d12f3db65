"""Film strips: the sixteen frames of a sequence as one picture, read from the shards."""

from __future__ import annotations

import io

from PIL import Image

from sffshards.domain.frame_sequences import SequenceId
from sffshards.shards.read import Build, find_samples

__all__ = ["SIDE", "draw_strip"]

_COLUMNS = 4
_FRAME_SIDE = 112
_GAP = 2
_GAP_GREY = 70
SIDE = _COLUMNS * (_FRAME_SIDE + _GAP) - _GAP
"""Width and height of a film strip in pixels: four rows of four frames."""

_LEVELS = 64
"""Number of grey levels: more are not visible in a picture of this size, and they double its bytes."""


def draw_strip(build: Build, sequence: str) -> bytes:
    """Draw the sixteen frames of a sequence of a build as PNG, in four rows of four.

    Raises
    ------
    InputError
        If the build has no such sequence.
    DamageError
        If its sample is not as it was written.
    """
    strip = Image.new("L", (SIDE, SIDE), _GAP_GREY)
    step = 256 // _LEVELS
    levels = [min(255, (value // step) * step + step // 2) for value in range(256)]
    for slot, frame in enumerate(build.read_clip(find_samples(build, SequenceId.parse(sequence))[0])):
        small = Image.fromarray(frame).resize((_FRAME_SIDE, _FRAME_SIDE), Image.Resampling.BOX).point(levels)
        row, column = divmod(slot, _COLUMNS)
        strip.paste(small, (column * (_FRAME_SIDE + _GAP), row * (_FRAME_SIDE + _GAP)))
    buffer = io.BytesIO()
    strip.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
