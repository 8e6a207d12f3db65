from .flare_lists import Flare, FlareList, FlareTime, UnusedReason, read_flare_list
from .harp_flares import FrameClock, HarpFlares, assign_flares, has_flare, has_known_flare
from .harp_map import HarpMap, read_harp_map
from .leap_seconds import FIRST_YEAR, tai_to_utc, utc_to_tai

__all__ = [
    "FIRST_YEAR",
    "Flare",
    "FlareList",
    "FlareTime",
    "FrameClock",
    "HarpFlares",
    "HarpMap",
    "UnusedReason",
    "assign_flares",
    "has_flare",
    "has_known_flare",
    "read_flare_list",
    "read_harp_map",
    "tai_to_utc",
    "utc_to_tai",
]
