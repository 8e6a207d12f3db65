from .flare_lists import read_flare_list
from .flare_records import FlareList, FlareTime, HarpMap
from .harp_flares import FrameClock, HarpFlares, assign_flares, compute_labels, has_flare, is_covered
from .harp_map import read_harp_map
from .leap_seconds import FIRST_YEAR, tai_to_utc

__all__ = [
    "FIRST_YEAR",
    "FlareList",
    "FlareTime",
    "FrameClock",
    "HarpFlares",
    "HarpMap",
    "assign_flares",
    "compute_labels",
    "has_flare",
    "is_covered",
    "read_flare_list",
    "read_harp_map",
    "tai_to_utc",
]
