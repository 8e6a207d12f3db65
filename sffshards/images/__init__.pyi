from .fits_headers import KEYWORDS_NAME, KEYWORDS_VERSION, KeywordsFile, has_no_image
from .fits_ingest import ingest_fits
from .frame_store import FRAME_BYTES, FrameStore, StoreSnapshot, open_snapshot
from .image_files import ImageFile, find_images, read_frame, write_picture
from .ingest_options import BadQuality, Colours, Component, FitsOptions, Scale
from .ingest_record import IngestRecord, IngestReport, read_ingested
from .movie_ingest import MovieOptions, ingest_movie, is_movie, parse_crop
from .store_filling import fill_store, is_stored

__all__ = [
    "FRAME_BYTES",
    "KEYWORDS_NAME",
    "KEYWORDS_VERSION",
    "BadQuality",
    "Colours",
    "Component",
    "FitsOptions",
    "FrameStore",
    "ImageFile",
    "IngestRecord",
    "IngestReport",
    "KeywordsFile",
    "MovieOptions",
    "Scale",
    "StoreSnapshot",
    "fill_store",
    "find_images",
    "has_no_image",
    "ingest_fits",
    "ingest_movie",
    "is_movie",
    "is_stored",
    "open_snapshot",
    "parse_crop",
    "read_frame",
    "read_ingested",
    "write_picture",
]
