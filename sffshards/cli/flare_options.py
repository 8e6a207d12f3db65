"""Options for a catalogue of flares, and what a command says of what it read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sffshards.base.errors import InputError
from sffshards.domain.task import GoesClass, Task

if TYPE_CHECKING:
    from sffshards.domain.sample_sets import Part
    from sffshards.flares import FlareList, HarpFlares, HarpMap
    from sffshards.labels import ListRows

__all__ = [
    "Catalogue",
    "ClockOption",
    "FlaresOption",
    "HarpMapOption",
    "load_catalogue",
    "thresholds_of",
]

_Choice = TypeVar("_Choice", bound=StrEnum)

FlaresOption = Annotated[
    Path | None,
    typer.Option(help="Flare list: a table or JSON, as of SWPC, HEK or sunpy; with --harp-map.", show_default=False),
]
HarpMapOption = Annotated[
    Path | None,
    typer.Option(help="Lines `<HARP> <NOAA>,<NOAA>`, as JSOC's all_harps_with_noaa_ars.txt.", show_default=False),
]
ClockOption = Annotated[
    str,
    typer.Option(
        "--clock",
        help="as-written: the digits of frame times (TAI) and flare times (UTC) compared, as the published lists have "
        "it. tai: flare times turned into TAI first, 34 to 37 s later.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """A catalogue as a command reads it: what flared, and what is to be said of it."""

    flares: FlareList
    harp_map: HarpMap
    harp_flares: HarpFlares
    """On the clock that was asked for."""
    others: HarpFlares
    """On the other clock, to say what hangs on it."""

    def say(self, thresholds: Iterable[GoesClass], read: Mapping[Task, Mapping[Part, ListRows]]) -> list[str]:
        """Say what was read, a line each: flares, rows set aside, regions not known, HARPs repeated, the clock."""
        read_flares, of = self.flares, self.harp_flares
        strong = [f"{of.count_flares(threshold):,} of {threshold} and above" for threshold in thresholds]
        lines = [f"{read_flares.source}: {', '.join([f'{len(read_flares.flares):,} flares', *strong])}"]
        if read_flares.unused:
            counts = ", ".join(f"{count:,} with {reason}" for reason, count in read_flares.count_unused().items())
            places = _shorten([str(row.line) for row in read_flares.unused])
            lines.append(f"{read_flares.source}: {len(read_flares.unused):,} not used: {counts}; line {places}")
        for threshold in thresholds:
            if count := of.count_without_region(threshold):
                lines.append(f"{read_flares.source}: {count:,} of {threshold} and above have no region, so no HARP")
            if count := of.count_without_peak(threshold):
                lines.append(f"{read_flares.source}: {count:,} of {threshold} and above have no peak time: left out")
        num_regions = sum(len(regions) for regions in self.harp_map.regions.values())
        lines.append(f"{self.harp_map.source}: {len(self.harp_map.regions):,} HARPs with {num_regions:,} regions")
        if self.harp_map.repeated:
            names = _shorten([str(harp) for harp in self.harp_map.repeated])
            lines.append(f"{self.harp_map.source}: on several lines, with the regions of all: HARP {names}")
        return [*lines, *self._say_clock(read)]

    def describe(self, threshold: GoesClass | None, read: Mapping[Task, Mapping[Part, ListRows]]) -> dict[str, Any]:
        """Give the same as JSON holds it, with every row that was not used, and checksums."""
        from sffshards.base.file_hashes import hash_file

        of = self.harp_flares
        return {
            "flares": {"file": self.flares.source, "sha256": hash_file(Path(self.flares.source))},
            "harp_map": {"file": self.harp_map.source, "sha256": hash_file(Path(self.harp_map.source))},
            "threshold": None if threshold is None else str(threshold),
            "time": str(of.flare_time),
            "clock": str(of.clock),
            **({} if threshold is None else _count_flares(of, threshold)),
            "unused": [{"line": row.line, "reason": str(row.reason), "text": row.text} for row in self.flares.unused],
            "repeated_harps": list(self.harp_map.repeated),
            "disagreements_by_clock": {
                str(flares.clock): _count_disagreements(read, flares) for flares in (of, self.others)
            }
            if read
            else {},
        }

    def _say_clock(self, read: Mapping[Task, Mapping[Part, ListRows]]) -> list[str]:
        said = {"as-written": "TAI of frames and UTC of flares compared as written", "tai": "flares turned into TAI"}
        line = f"times: {said[self.harp_flares.clock]}"
        if read:
            other = _count_disagreements(read, self.others)
            counts = "; ".join(f"{h} {of['missed']} missed, {of['extra']} extra" for h, of in other.items())
            line += f"; with --clock {self.others.clock}: {counts}"
        return [line]


def thresholds_of(tasks: Iterable[Task]) -> list[GoesClass]:
    """Return the thresholds of tasks, each once and in ascending order."""
    return sorted({task.threshold for task in tasks})


def load_catalogue(flares: Path | None, harp_map: Path | None, *, flare_time: str, clock: str) -> Catalogue | None:
    """Read a catalogue, or give None where neither file is named.

    Raises
    ------
    InputError
        If only one is named, one cannot be used, or a choice is none.
    """
    from sffshards.flares import FlareTime, FrameClock, assign_flares, read_flare_list, read_harp_map

    which, chosen = _parse(FlareTime, flare_time, "--time"), _parse(FrameClock, clock, "--clock")
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
    read, regions = read_flare_list(flares), read_harp_map(harp_map)
    by_clock = {of: assign_flares(read, regions, flare_time=which, clock=of) for of in FrameClock}
    others = next(of for name, of in by_clock.items() if name is not chosen)
    return Catalogue(flares=read, harp_map=regions, harp_flares=by_clock[chosen], others=others)


def _count_flares(flares: HarpFlares, threshold: GoesClass) -> dict[str, int]:
    return {
        "num_flares": flares.count_flares(threshold),
        "num_without_region": flares.count_without_region(threshold),
        "num_without_peak": flares.count_without_peak(threshold),
    }


def _count_disagreements(read: Mapping[Task, Mapping[Part, ListRows]], flares: HarpFlares) -> dict[str, dict[str, int]]:
    from sffshards.labels import compare_with_flares

    return {
        task.name: {
            "missed": sum(int(of.missed.sum()) for of in parts.values()),
            "extra": sum(int(of.extra.sum()) for of in parts.values()),
        }
        for task, parts in compare_with_flares(read, flares).items()
    }


def _parse(choices: type[_Choice], text: str, option: str) -> _Choice:
    if text not in list(choices):
        raise InputError(option, expected=" or ".join(choices), found=repr(text[:40]), fix="choose one of them")
    return choices(text)


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
