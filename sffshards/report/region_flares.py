"""The flares of a list that came from a region, as they are drawn over its forecasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sffshards.domain.task import GoesClass
from sffshards.flares import HarpFlares

__all__ = ["RegionFlare", "find_region_flares"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionFlare:
    """A flare of a region."""

    start: np.datetime64
    """In UTC as the list has it, set beside frame times in TAI as the labels are: 34 to 37 s early."""
    goes_class: GoesClass


def find_region_flares(
    flares: HarpFlares, harp: int, *, threshold: GoesClass, first: np.datetime64, last: np.datetime64
) -> tuple[RegionFlare, ...]:
    """Give the flares of a HARP of at least a class, in the order of time.

    Parameters
    ----------
    flares
        From `sffshards.flares.assign_flares`.
    harp
        HARP number; one that the map does not know has none.
    threshold
        The lowest class that counts.
    first, last
        Between which times, both in it.
    """
    regions = flares.harp_map.regions.get(harp, ())
    found = [
        RegionFlare(start=np.datetime64(flare.start_utc, "s"), goes_class=flare.goes_class)
        for flare in flares.flares.flares
        if flare.noaa_region in regions and flare.goes_class >= threshold
    ]
    return tuple(sorted((one for one in found if first <= one.start <= last), key=lambda one: one.start))
