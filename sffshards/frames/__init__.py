"""Images to frames: each decoded and resized once, kept in one array that every build reads."""

from sffshards.frames.fill import FillReport, fill_store, find_images
from sffshards.frames.image import decode_image, read_frame, resize_frame
from sffshards.frames.store import FrameRecord, FrameStore

__all__ = [
    "FillReport",
    "FrameRecord",
    "FrameStore",
    "decode_image",
    "fill_store",
    "find_images",
    "read_frame",
    "resize_frame",
]
