from .fits_finding import HeaderKeywords, read_header_keywords
from .fits_headers import KEYWORDS_NAME, KEYWORDS_VERSION, KeywordsFile, has_no_image
from .fits_ingest import ingest_fits
from .frame_store import FrameStore
from .harp_numbers import choose_harp_numbers, find_harp_numbers, require_harp_numbers
from .image_files import read_frame, write_picture
from .ingest_options import BadQuality, Colours, Component, FitsOptions, Scale
from .ingest_record import IngestRecord, IngestReport, read_ingested
from .movie_files import is_movie
from .movie_ingest import MovieOptions, ingest_movie, parse_crop
from .store_filling import fill_store, is_stored
from .stored_frames import FRAME_BYTES, StoredFrames, close_segments

__all__ = [
    "FRAME_BYTES",
    "KEYWORDS_NAME",
    "KEYWORDS_VERSION",
    "BadQuality",
    "Colours",
    "Component",
    "FitsOptions",
    "FrameStore",
    "HeaderKeywords",
    "IngestRecord",
    "IngestReport",
    "KeywordsFile",
    "MovieOptions",
    "Scale",
    "StoredFrames",
    "choose_harp_numbers",
    "close_segments",
    "fill_store",
    "find_harp_numbers",
    "has_no_image",
    "ingest_fits",
    "ingest_movie",
    "is_movie",
    "is_stored",
    "parse_crop",
    "read_frame",
    "read_header_keywords",
    "read_ingested",
    "require_harp_numbers",
    "write_picture",
]
