"""Options for a catalogue of flares, and what a command says of what it read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.errors import InputError

if TYPE_CHECKING:
    from sffshards.catalog import FlareList, FrameClock, GoesClass, HarpMap

__all__ = [
    "ClockOption",
    "FlaresOption",
    "HarpMapOption",
    "ThresholdOption",
    "describe_catalogue",
    "parse_clock",
    "require_both",
]

FlaresOption = Annotated[
    Path | None,
    typer.Option(help="Flare list: a table or JSON, as of SWPC, HEK or sunpy; with --harp-map.", show_default=False),
]
HarpMapOption = Annotated[
    Path | None,
    typer.Option(help="Lines `<HARP> <NOAA>,<NOAA>`, as JSOC's all_harps_with_noaa_ars.txt.", show_default=False),
]
ThresholdOption = Annotated[str, typer.Option(help="The least class of flare that counts.")]
ClockOption = Annotated[
    str,
    typer.Option(
        "--clock",
        help="as-written: the digits of frame times (TAI) and flare times (UTC) compared, as the published lists have "
        "it. tai: flare times turned into TAI first, 34 to 37 s later.",
    ),
]


def require_both(flares: Path | None, harp_map: Path | None) -> tuple[Path, Path] | None:
    """Give the two files, or None where neither is named; raises `InputError` where one is missing."""
    if flares is None and harp_map is None:
        return None
    if flares is None or harp_map is None:
        missing = "--flares" if flares is None else "--harp-map"
        raise InputError(
            missing,
            expected="both --flares and --harp-map",
            found=f"no {missing}",
            fix="flares are put down to HARPs through NOAA regions, so give both files or neither",
        )
    return flares, harp_map


def parse_clock(text: str) -> FrameClock:
    """Give the clock of that name."""
    from sffshards.catalog import FrameClock

    if text not in list(FrameClock):
        raise InputError("--clock", expected=" or ".join(FrameClock), found=repr(text[:40]), fix="choose one of them")
    return FrameClock(text)


def describe_catalogue(flares: FlareList, harp_map: HarpMap, threshold: GoesClass) -> list[str]:
    """Say what was read of a catalogue, a line each: flares, rows set aside, regions not known, HARPs repeated."""
    num_strong = sum(flare.goes_class >= threshold for flare in flares.flares)
    lines = [f"{flares.source}: {len(flares.flares):,} flares, {num_strong:,} of class {threshold} and above"]
    if flares.unused:
        counts = ", ".join(f"{count:,} with {reason}" for reason, count in flares.count_unused().items())
        first = ", ".join(str(row.line) for row in flares.unused[:5])
        more = ", ..." if len(flares.unused) > 5 else ""
        lines.append(f"{flares.source}: {len(flares.unused):,} rows not used: {counts}; lines {first}{more}")
    if num_lost := flares.count_without_region(threshold):
        lines.append(f"{flares.source}: {num_lost:,} of these flares are of no known region, and count for no HARP")
    num_regions = sum(len(regions) for regions in harp_map.regions.values())
    lines.append(f"{harp_map.source}: {len(harp_map.regions):,} HARPs with {num_regions:,} regions")
    if harp_map.repeated:
        names = ", ".join(str(harp) for harp in harp_map.repeated[:5]) + (", ..." if len(harp_map.repeated) > 5 else "")
        lines.append(f"{harp_map.source}: HARPs on several lines, with the regions of all of them: {names}")
    return lines
