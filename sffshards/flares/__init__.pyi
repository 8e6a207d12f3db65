from .flare_lists import FlareList, read_flare_list
from .flare_rows import Flare, FlareTime, UnusedReason, complete_region, parse_coverage_time
from .harp_flares import (
    FlaresOfFrames,
    FrameClock,
    HarpFlares,
    assign_flares,
    has_flare,
    has_known_flare,
    pair_with_flares,
)
from .harp_map import HarpMap, read_harp_map
from .leap_seconds import FIRST_YEAR, tai_to_utc, utc_to_tai
from .list_differences import LackingFlare, find_lacking_flares

__all__ = [
    "FIRST_YEAR",
    "Flare",
    "FlareList",
    "FlareTime",
    "FlaresOfFrames",
    "FrameClock",
    "HarpFlares",
    "HarpMap",
    "LackingFlare",
    "UnusedReason",
    "assign_flares",
    "complete_region",
    "find_lacking_flares",
    "has_flare",
    "has_known_flare",
    "pair_with_flares",
    "parse_coverage_time",
    "read_flare_list",
    "read_harp_map",
    "tai_to_utc",
    "utc_to_tai",
]
