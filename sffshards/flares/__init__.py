"""Flare lists, the map from HARPs to NOAA regions, and which region flared when."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.flares.flare_lists import read_flare_list
    from sffshards.flares.flare_records import FlareList, FlareTime, GoesClass, HarpMap
    from sffshards.flares.harp_flares import FrameClock, HarpFlares, assign_flares, has_flare, is_covered
    from sffshards.flares.harp_map import read_harp_map
    from sffshards.flares.leap_seconds import FIRST_YEAR, tai_to_utc

__all__ = [
    "FIRST_YEAR",
    "FlareList",
    "FlareTime",
    "FrameClock",
    "GoesClass",
    "HarpFlares",
    "HarpMap",
    "assign_flares",
    "has_flare",
    "is_covered",
    "read_flare_list",
    "read_harp_map",
    "tai_to_utc",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "flare_lists": ("read_flare_list",),
        "flare_records": ("FlareList", "FlareTime", "GoesClass", "HarpMap"),
        "harp_flares": ("FrameClock", "HarpFlares", "assign_flares", "has_flare", "is_covered"),
        "harp_map": ("read_harp_map",),
        "leap_seconds": ("FIRST_YEAR", "tai_to_utc"),
    },
)
