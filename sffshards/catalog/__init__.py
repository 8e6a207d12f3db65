"""Catalogues of flares: lists read from files, put down to HARPs, and asked what happened around a frame's time.

Flare lists are in UTC, frames in TAI; `clock` has the difference. `flares` reads lists, `regions` the map from HARPs to
NOAA regions, `by_harp` joins the two.
"""

from sffshards.catalog.by_harp import FrameClock, HarpFlares, assign_flares, has_flare
from sffshards.catalog.clock import tai_to_utc, utc_to_tai
from sffshards.catalog.flares import read_flare_list
from sffshards.catalog.records import FlareList, FlareTime, GoesClass, HarpMap
from sffshards.catalog.regions import read_harp_map

__all__ = [
    "FlareList",
    "FlareTime",
    "FrameClock",
    "GoesClass",
    "HarpFlares",
    "HarpMap",
    "assign_flares",
    "has_flare",
    "read_flare_list",
    "read_harp_map",
    "tai_to_utc",
    "utc_to_tai",
]
