"""Images to frames: each decoded and resized once, kept in one array that every build reads."""

from sffshards.frames.fill import FillReport, fill_store, find_images, is_stored
from sffshards.frames.image import decode_image, read_frame, resize_frame
from sffshards.frames.store import FrameRecord, FrameStore, StoreSnapshot

__all__ = [
    "FillReport",
    "FrameRecord",
    "FrameStore",
    "StoreSnapshot",
    "decode_image",
    "fill_store",
    "find_images",
    "is_stored",
    "read_frame",
    "resize_frame",
]
