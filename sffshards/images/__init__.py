"""Images to frames: decoding, the frame store, and the ingestion of FITS files and movies."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.images.fits_ingest import FitsOptions, ingest_fits
    from sffshards.images.frame_decoding import read_frame
    from sffshards.images.frame_store import FRAME_BYTES, FrameStore, StoreSnapshot, open_snapshot
    from sffshards.images.ingest_options import BadQuality, Colours, Component, Scale
    from sffshards.images.ingest_record import IngestReport, read_ingested
    from sffshards.images.movie_ingest import MOVIE_SUFFIXES, MovieOptions, ingest_movie, parse_crop
    from sffshards.images.store_filling import fill_store, find_images, is_stored

__all__ = [
    "FRAME_BYTES",
    "MOVIE_SUFFIXES",
    "BadQuality",
    "Colours",
    "Component",
    "FitsOptions",
    "FrameStore",
    "IngestReport",
    "MovieOptions",
    "Scale",
    "StoreSnapshot",
    "fill_store",
    "find_images",
    "ingest_fits",
    "ingest_movie",
    "is_stored",
    "open_snapshot",
    "parse_crop",
    "read_frame",
    "read_ingested",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "fits_ingest": ("FitsOptions", "ingest_fits"),
        "frame_decoding": ("read_frame",),
        "frame_store": ("FRAME_BYTES", "FrameStore", "StoreSnapshot", "open_snapshot"),
        "ingest_options": ("BadQuality", "Colours", "Component", "Scale"),
        "ingest_record": ("IngestReport", "read_ingested"),
        "movie_ingest": ("MOVIE_SUFFIXES", "MovieOptions", "ingest_movie", "parse_crop"),
        "store_filling": ("fill_store", "find_images", "is_stored"),
    },
)
