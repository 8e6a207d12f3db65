"""The catalogue of a made Sun: its flares and the NOAA regions of its HARPs, in files such as real ones come in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import numpy as np

from sffshards.flares import tai_to_utc
from sffshards.synth.flare_process import Flare

__all__ = ["FLARES_NAME", "HARP_MAP_NAME", "format_flare_list", "format_harp_map"]

FLARES_NAME = "flares.csv"
"""Where the made flares are listed."""

HARP_MAP_NAME = "harps.txt"
"""Where the made regions' numbers are."""

_FIRST_REGION = 10_000
"""A made HARP is one NOAA region, whose number is so much higher; those of the 2010s have five digits too."""


def format_flare_list(flares: Iterable[Flare]) -> str:
    """Give flares in order of time as CSV, ``start_time,goes_class,noaa_ar``, in UTC, as flare lists are."""
    ordered = sorted(flares, key=lambda flare: (flare.t_start_tai, flare.harp))
    starts_utc = tai_to_utc(np.array([flare.t_start_tai for flare in ordered], "datetime64[s]"))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["start_time", "goes_class", "noaa_ar"])
    for flare, start in zip(ordered, starts_utc.tolist(), strict=True):
        writer.writerow([start.isoformat(sep=" "), flare.goes_class, _FIRST_REGION + flare.harp])
    return buffer.getvalue()


def format_harp_map(harps: Iterable[int]) -> str:
    """Give the NOAA region of each HARP, as JSOC's ``all_harps_with_noaa_ars.txt`` has them."""
    lines = ["HARPNUM NOAA_ARS", *(f"{harp} {_FIRST_REGION + harp}" for harp in sorted(harps))]
    return "\n".join(lines) + "\n"
