"""Options for a catalogue of flares and for SHARP keywords, and the report of what was read from a catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from sffshards import flares as flare_lists
from sffshards import images, labels, tabular
from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import LabelSet
from sffshards.domain.task import M1, GoesClass, Task

__all__ = [
    "Catalogue",
    "ClockOption",
    "FlareListsOption",
    "FlaresOption",
    "FlaresUntilOption",
    "HarpMapOption",
    "KeywordsOption",
    "LabelSetOption",
    "describe_lacking",
    "format_catalogues",
    "load_catalogue",
    "load_catalogues",
    "read_flare_lists",
    "read_keywords",
    "read_sources",
]

_MAX_LACKING = 5

FlaresOption = Annotated[
    Path | None, Option("Flare list from SWPC, HEK or sunpy, as a table or JSON. Needs --harp-map.")
]
HarpMapOption = Annotated[
    Path | None,
    Option(
        "File of the NOAA regions of each HARP, in lines `<HARP> <NOAA>,<NOAA>`, such as "
        "JSOC's all_harps_with_noaa_ars.txt."
    ),
]
FlareListsOption = Annotated[
    list[Path] | None,
    Option(
        "Flare list from SWPC, HEK or sunpy, as a table or JSON. Needs --harp-map. If repeated, scores by the "
        "labels of each list are compared; all else follows from the first."
    ),
]
LabelSetOption = Annotated[
    LabelSet,
    Option(
        "Labels that forecasts are scored against. published: those of the lists. rebuilt: labels of the same samples "
        "from the flare list; thresholds and calibration are fitted again, to the rebuilt labels of validation."
    ),
]
KeywordsOption = Annotated[
    Path | None,
    Option("Table of SHARP keywords, .csv or .csv.gz, of the frames of a network that takes keywords."),
]
FlaresUntilOption = Annotated[
    str | None,
    Option(
        "Time in UTC up to which the list is complete, such as 2012-03-08T06:00. A table may state it itself in a "
        "first line such as `# covers 2010-05-01 to 2012-03-08`.",
        metavar="<time>",
        default_text="as the list states, or the time of its last flare",
    ),
]
ClockOption = Annotated[
    str,
    Option(
        "as-written: compare frame times (TAI) and flare times (UTC) as if on one clock, as the published lists "
        "do. tai: first convert flare times to TAI, which adds 34 to 37 s."
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """A flare catalogue on both clocks."""

    harp_flares: flare_lists.HarpFlares
    """Flares by HARP on the chosen clock."""
    others: flare_lists.HarpFlares
    """Flares by HARP on the other clock, to report what depends on it."""

    def format_lines(self, tasks: Iterable[Task], read: labels.Lists) -> list[str]:
        """Return what was read, one line each: flares, unused rows, unknown regions, repeated HARPs, the clock."""
        of = self.harp_flares
        flares, harp_map, thresholds = of.flares, of.harp_map, sorted({task.threshold for task in tasks})
        strong = [f"{of.count_flares(threshold):,} of {threshold} and above" for threshold in thresholds]
        lines = [", ".join([f"{flares.source}: {format_count(len(flares.flares), 'flare')}", *strong])]
        if flares.unused:
            unused = format_count(len(flares.unused), "row")
            counts = ", ".join(f"{count:,} with {reason}" for reason, count in flares.count_unused().items())
            places = _shorten(row.line for row in flares.unused)
            lines.append(f"{flares.source}: {unused} not used: {counts}; line {places}")
        if flares.next_day_peaks:
            peaks = format_count(len(flares.next_day_peaks), "peak")
            lines.append(
                f"{flares.source}: {peaks} past midnight, taken as of the day after: line "
                f"{_shorten(flares.next_day_peaks)}"
            )
        for threshold in thresholds:
            for count, what in (
                (of.count_without_region(threshold), "a region, not attributed"),
                (of.count_without_peak(threshold), "a peak time, left out"),
            ):
                lines += [f"{flares.source}: {count:,} of {threshold} and above without {what}"] if count else []
        regions = format_count(sum(len(regions) for regions in harp_map.regions.values()), "region")
        lines.append(f"{harp_map.source}: {format_count(len(harp_map.regions), 'HARP')} with {regions}")
        if not of.is_matched:
            lines.append(f"{harp_map.source}: no region of it is that of any flare in {flares.source}")
        if harp_map.repeated:
            harps = _shorten(harp_map.repeated)
            lines.append(f"{harp_map.source}: repeated, with the regions of all lines: HARP {harps}")
        return [*lines, self._format_clock(read)]

    def describe(self, thresholds: Iterable[GoesClass], read: labels.Lists) -> dict[str, Any]:
        """Return the same as plain values for JSON, with every unused row and checksums."""
        from sffshards.base.file_hashes import hash_file
        from sffshards.base.json_records import to_plain

        of = self.harp_flares
        counts = {
            str(threshold): {
                "num_flares": of.count_flares(threshold),
                "num_without_region": of.count_without_region(threshold),
                "num_without_peak": of.count_without_peak(threshold),
            }
            for threshold in thresholds
        }
        clocks = {str(flares.clock): _count_disagreements(read, flares) for flares in (of, self.others)}
        return {
            "flares": {"file": of.flares.source, "sha256": hash_file(Path(of.flares.source))},
            "harp_map": {"file": of.harp_map.source, "sha256": hash_file(Path(of.harp_map.source))},
            **of.describe(),
            "thresholds": counts,
            "next_day_peaks": list(of.flares.next_day_peaks),
            "unused": [to_plain(row) for row in of.flares.unused],
            "harp_numbers": str(of.harp_map.harp_numbers),
            "is_matched": of.is_matched,
            "repeated_harps": list(of.harp_map.repeated),
            "disagreements_by_clock": clocks if read else {},
        }

    def _format_clock(self, read: labels.Lists) -> str:
        words = {"as-written": "TAI of frames and UTC of flares compared as written", "tai": "flares converted to TAI"}
        other = _count_disagreements(read, self.others)
        counts = "; ".join(f"{name} {of['missed']} missed, {of['extra']} extra" for name, of in other.items())
        more = f"; with --clock {self.others.clock}: {counts}" if read else ""
        return f"times: {words[self.harp_flares.clock]}{more}"


def load_catalogue(
    flares: Path | None,
    harp_map: Path | None,
    *,
    data: Path | None = None,
    flare_time: str = "start",
    clock: str = "as-written",
    until: str | None = None,
) -> Catalogue | None:
    """Read a catalogue, or return None where neither file is named.

    ``data`` is the folder that it is for, whose HARP numbers must be of the same kind as the map's; ``until`` is the
    time to which the list is complete.

    The default time and clock are those of the published labels: see docs/labels.md.

    Raises
    ------
    InputError
        If only one is named, one cannot be used, or a choice is unknown.
    """
    times, clocks = list(flare_lists.FlareTime), list(flare_lists.FrameClock)
    for option, text, choices in (("--time", flare_time, times), ("--clock", clock, clocks)):
        if text not in choices:
            raise InputError(option, expected=" or ".join(choices), found=repr(text[:40]), fix="choose one of them")
    end = None if until is None else flare_lists.parse_coverage_time(until, where=Field("flares_until"))
    if flares is None and harp_map is None:
        if end is not None:
            fix = "add {flares}, or leave it out"
            raise InputError(Field("flares_until"), expected="none without a flare list", found=str(end), fix=fix)
        return None
    if flares is None or harp_map is None:
        missing = "--flares" if flares is None else "--harp-map"
        raise InputError(
            missing,
            expected="both --flares and --harp-map",
            found=f"no {missing}",
            fix="flares are attributed to HARPs through NOAA regions, so give both files or neither",
        )
    read, regions = flare_lists.read_flare_list(flares, until_utc=end), flare_lists.read_harp_map(harp_map)
    if data is not None:
        images.require_harp_numbers(regions, images.find_harp_numbers(data), where=data)
    chosen, others = (
        flare_lists.assign_flares(read, regions, flare_time=flare_lists.FlareTime(flare_time), clock=of)
        for of in sorted(clocks, key=lambda of: of != clock)
    )
    return Catalogue(harp_flares=chosen, others=others)


def load_catalogues(
    flares: Sequence[Path], harp_map: Path | None, *, data: Path | None = None, clock: str, until: str | None = None
) -> list[Catalogue]:
    """Read a catalogue per flare list, of one map; raises the errors of `load_catalogue`, and if a list is repeated."""
    for number, path in enumerate(flares):
        if path in flares[:number]:
            raise InputError("--flares", expected="every list once", found=f"{path} again", fix="leave one of them out")
    paths = flares or (None,)
    found = [load_catalogue(path, harp_map, data=data, clock=clock, until=until) for path in paths]
    return [catalogue for catalogue in found if catalogue is not None]


def format_catalogues(catalogues: Sequence[Catalogue], tasks: Iterable[Task], read: labels.Lists) -> list[str]:
    """Return what was read from several flare lists, and the first flares that one has and another lacks."""
    tasks = list(tasks)
    lines = list(dict.fromkeys(line for catalogue in catalogues for line in catalogue.format_lines(tasks, read)))
    lacking: dict[tuple[str, str], list[flare_lists.LackingFlare]] = {}
    for one in _find_lacking(catalogues, tasks):
        lacking.setdefault((one.source, one.lacking), []).append(one)
    for (source, other), found in lacking.items():
        lines.append(f"{source}: {format_count(len(found), 'flare')} that {other} lacks")
        lines += [f"  {_describe_lacking(one)}" for one in found[:_MAX_LACKING]]
    return lines


def describe_lacking(catalogues: Sequence[Catalogue], tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """Return the flares that one list has and another lacks, as plain values for JSON."""
    return [
        {
            "source": one.source,
            "line": one.flare.line,
            "flare": _describe_flare(one.flare),
            "lacking": one.lacking,
            "instead": None if one.instead is None else _describe_flare(one.instead),
        }
        for one in _find_lacking(catalogues, tasks)
    ]


def _find_lacking(catalogues: Sequence[Catalogue], tasks: Iterable[Task]) -> list[flare_lists.LackingFlare]:
    least = min((task.threshold for task in tasks), default=M1)
    return flare_lists.find_lacking_flares([catalogue.harp_flares.flares for catalogue in catalogues], least)


def _describe_lacking(one: flare_lists.LackingFlare) -> str:
    instead = "" if one.instead is None else f"; there: {_describe_flare(one.instead)}"
    return f"line {one.flare.line}: {_describe_flare(one.flare)}{instead}"


def _describe_flare(flare: flare_lists.Flare) -> str:
    region = "no region" if flare.noaa_region is None else f"AR {flare.noaa_region}"
    return f"{flare.goes_class} of {flare.start_utc:%Y-%m-%d %H:%M}, {region}"


def read_sources(
    flares: Path | None,
    harp_map: Path | None,
    keywords: Path | None,
    *,
    tasks: Iterable[Task],
    clock: str,
    progress: Progress,
    data: Path | None = None,
    until: str | None = None,
) -> tuple[flare_lists.HarpFlares | None, tabular.KeywordTable | None]:
    """Read what baselines follow from besides label lists: a catalogue, which is reported in notes, and keywords."""
    catalogue = load_catalogue(flares, harp_map, data=data, clock=clock, until=until)
    for line in catalogue.format_lines(tasks, {}) if catalogue else []:
        progress.note(line)
    return None if catalogue is None else catalogue.harp_flares, read_keywords(keywords, data=data)


def read_keywords(keywords: Path | None, *, data: Path | None = None) -> tabular.KeywordTable | None:
    """Read a table of keywords, whose HARP numbers must be those of the data; None where none is named."""
    table = None if keywords is None else tabular.read_keyword_table(keywords)
    if table is not None and data is not None:
        images.require_harp_numbers(table, images.find_harp_numbers(data), where=data)
    return table


def read_flare_lists(
    flares: Sequence[Path] | None,
    harp_map: Path | None,
    *,
    tasks: Iterable[Task],
    clock: str,
    progress: Progress,
    data: Path | None = None,
    until: str | None = None,
) -> list[flare_lists.HarpFlares]:
    """Read flare lists for runs, each of which is reported in notes; an empty list where none is named."""
    tasks = list(tasks)
    found = load_catalogues(flares or [], harp_map, data=data, clock=clock, until=until)
    for line in format_catalogues(found, tasks, {}) if found else []:
        progress.note(line)
    return [catalogue.harp_flares for catalogue in found]


def _count_disagreements(read: labels.Lists, flares: flare_lists.HarpFlares) -> dict[str, dict[str, int]]:
    return {
        task.name: {
            "missed": sum(len(of.missed) for of in parts.values()),
            "extra": sum(len(of.extra) for of in parts.values()),
        }
        for task, parts in labels.compare_with_flares(read, flares).items()
    }


def _shorten(numbers: Iterable[int]) -> str:
    names = [str(number) for number in numbers]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
