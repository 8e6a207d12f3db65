"""FITS files and movies of active regions to images in the published layout, with a record of how they were made."""

from __future__ import annotations

from sffshards.ingest.folder import INGEST_NAME, Ingested, IngestReport, read_ingested
from sffshards.ingest.magnetograms import MAX_BAD_SHARE, FitsOptions, ingest_fits
from sffshards.ingest.movie import MovieOptions, ingest_movie
from sffshards.ingest.scale import KNEE_GAUSS, scale_field

__all__ = [
    "INGEST_NAME",
    "KNEE_GAUSS",
    "MAX_BAD_SHARE",
    "FitsOptions",
    "IngestReport",
    "Ingested",
    "MovieOptions",
    "ingest_fits",
    "ingest_movie",
    "read_ingested",
    "scale_field",
]
