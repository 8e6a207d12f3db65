"""Names of the codecs."""

from __future__ import annotations

from enum import StrEnum


class CodecName(StrEnum):
    """The encoding of a sequence's pixels in a shard; also the extension of the payload in the tar."""

    JPG = "jpg"
    NPY = "npy"
    MP4 = "mp4"
