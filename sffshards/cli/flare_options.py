"""Options for a catalogue of flares, and the report of what was read from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sffshards.base.errors import InputError, format_count
from sffshards.domain.task import GoesClass, Task

if TYPE_CHECKING:
    from sffshards.flares import HarpFlares
    from sffshards.labels import Lists

__all__ = [
    "Catalogue",
    "ClockOption",
    "FlaresOption",
    "HarpMapOption",
    "load_catalogue",
    "thresholds_of",
]

FlaresOption = Annotated[
    Path | None,
    typer.Option(help="Flare list from SWPC, HEK or sunpy, as a table or JSON. Needs --harp-map.", show_default=False),
]
HarpMapOption = Annotated[
    Path | None,
    typer.Option(
        help="NOAA regions of each HARP, in lines `<HARP> <NOAA>,<NOAA>`: JSOC's all_harps_with_noaa_ars.txt.",
        show_default=False,
    ),
]
ClockOption = Annotated[
    str,
    typer.Option(
        "--clock",
        help="as-written: compare frame times (TAI) and flare times (UTC) as if on one clock, as the published lists "
        "do. tai: first convert flare times to TAI, which adds 34 to 37 s.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """A flare catalogue on both clocks."""

    harp_flares: HarpFlares
    """Flares by HARP on the chosen clock."""
    others: HarpFlares
    """Flares by HARP on the other clock, to report what depends on it."""

    def format_lines(self, thresholds: Iterable[GoesClass], read: Lists) -> list[str]:
        """Return what was read, one line each: flares, unused rows, unknown regions, repeated HARPs, the clock."""
        of = self.harp_flares
        flares, harp_map, strengths = of.flares, of.harp_map, list(thresholds)
        strong = [f"{of.count_flares(threshold):,} of {threshold} and above" for threshold in strengths]
        lines = [", ".join([f"{flares.source}: {format_count(len(flares.flares), 'flare')}", *strong])]
        if flares.unused:
            counts = ", ".join(f"{count:,} with {reason}" for reason, count in flares.count_unused().items())
            places = _shorten([row.line for row in flares.unused])
            lines.append(
                f"{flares.source}: {format_count(len(flares.unused), 'row')} not used: {counts}; line {places}"
            )
        for threshold in strengths:
            if count := of.count_without_region(threshold):
                lines.append(f"{flares.source}: {count:,} of {threshold} and above without a region, not attributed")
            if count := of.count_without_peak(threshold):
                lines.append(f"{flares.source}: {count:,} of {threshold} and above without a peak time, left out")
        num_regions = sum(len(regions) for regions in harp_map.regions.values())
        harps = format_count(len(harp_map.regions), "HARP")
        lines.append(f"{harp_map.source}: {harps} with {format_count(num_regions, 'region')}")
        if harp_map.repeated:
            lines.append(
                f"{harp_map.source}: repeated, with the regions of all lines: HARP {_shorten(harp_map.repeated)}"
            )
        return [*lines, self._format_clock(read)]

    def describe(self, threshold: GoesClass | None, read: Lists) -> dict[str, Any]:
        """Return the same as plain values for JSON, with every unused row and checksums."""
        from sffshards.base.file_hashes import hash_file
        from sffshards.base.json_records import to_plain

        of = self.harp_flares
        counts = {}
        if threshold is not None:
            counts = {
                "num_flares": of.count_flares(threshold),
                "num_without_region": of.count_without_region(threshold),
                "num_without_peak": of.count_without_peak(threshold),
            }
        clocks = {str(flares.clock): _count_disagreements(read, flares) for flares in (of, self.others)}
        return {
            "flares": {"file": of.flares.source, "sha256": hash_file(Path(of.flares.source))},
            "harp_map": {"file": of.harp_map.source, "sha256": hash_file(Path(of.harp_map.source))},
            "threshold": None if threshold is None else str(threshold),
            "time": str(of.flare_time),
            "clock": str(of.clock),
            **counts,
            "unused": [to_plain(row) for row in of.flares.unused],
            "repeated_harps": list(of.harp_map.repeated),
            "disagreements_by_clock": clocks if read else {},
        }

    def _format_clock(self, read: Lists) -> str:
        words = {"as-written": "TAI of frames and UTC of flares compared as written", "tai": "flares converted to TAI"}
        other = _count_disagreements(read, self.others)
        counts = "; ".join(f"{name} {of['missed']} missed, {of['extra']} extra" for name, of in other.items())
        more = f"; with --clock {self.others.clock}: {counts}" if read else ""
        return f"times: {words[self.harp_flares.clock]}{more}"


def thresholds_of(tasks: Iterable[Task]) -> list[GoesClass]:
    """Return the thresholds of tasks, each once and in ascending order."""
    return sorted({task.threshold for task in tasks})


def load_catalogue(flares: Path | None, harp_map: Path | None, *, flare_time: str, clock: str) -> Catalogue | None:
    """Read a catalogue, or return None where neither file is named.

    Raises
    ------
    InputError
        If only one is named, one cannot be used, or a choice is unknown.
    """
    from sffshards.flares import FlareTime, FrameClock, assign_flares, read_flare_list, read_harp_map

    for option, text, choices in (("--time", flare_time, list(FlareTime)), ("--clock", clock, list(FrameClock))):
        if text not in choices:
            raise InputError(option, expected=" or ".join(choices), found=repr(text[:40]), fix="choose one of them")
    if flares is None and harp_map is None:
        return None
    if flares is None or harp_map is None:
        missing = "--flares" if flares is None else "--harp-map"
        raise InputError(
            missing,
            expected="both --flares and --harp-map",
            found=f"no {missing}",
            fix="flares are attributed to HARPs through NOAA regions, so give both files or neither",
        )
    read, regions = read_flare_list(flares), read_harp_map(harp_map)
    chosen, other = sorted(FrameClock, key=lambda of: of != clock)
    on_clock = [assign_flares(read, regions, flare_time=FlareTime(flare_time), clock=of) for of in (chosen, other)]
    return Catalogue(harp_flares=on_clock[0], others=on_clock[1])


def _count_disagreements(read: Lists, flares: HarpFlares) -> dict[str, dict[str, int]]:
    from sffshards.labels import compare_with_flares

    return {
        task.name: {
            "missed": sum(int(of.missed.sum()) for of in parts.values()),
            "extra": sum(int(of.extra.sum()) for of in parts.values()),
        }
        for task, parts in compare_with_flares(read, flares).items()
    }


def _shorten(numbers: Iterable[int]) -> str:
    names = [str(number) for number in numbers]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
