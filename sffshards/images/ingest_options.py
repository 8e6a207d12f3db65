"""The choices of field component, grey scale, quality handling and colour map of ingested images."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BadQuality", "Colours", "Component", "Scale"]


class Component(StrEnum):
    """Which component of the field an image shows: along the line of sight, or of the vector on the sphere.

    The values are JSOC's names of the segments: Br radial, Bp westward, Bt southward.
    """

    MAGNETOGRAM = "magnetogram"
    BR = "Br"
    BP = "Bp"
    BT = "Bt"


class Scale(StrEnum):
    """How field becomes grey; each is odd about zero and reaches black and white at the field where it is clipped."""

    LINEAR = "linear"
    ARCTAN = "arctan"
    SYMLOG = "symlog"


class BadQuality(StrEnum):
    """What is done with frames whose QUALITY says that they are poor: 0x10000 or a higher bit is set."""

    DROP = "drop"
    KEEP = "keep"


class Colours(StrEnum):
    """Which colours a movie shows field in; the names are matplotlib's, both from blue over white to red."""

    GREY = "grey"
    BWR = "bwr"
    SEISMIC = "seismic"
