"""The map of HARPs to the NOAA active regions in them, as JSOC publishes it: ``all_harps_with_noaa_ars.txt``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import InputError

_LINE = re.compile(r"([1-9]\d{0,8})(?:\s+(\d{1,6}(?:\s*,\s*\d{1,6})*|--|MISSING))?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class HarpMap:
    """Which NOAA active regions lie in which HARP."""

    source: str
    """Path of the map."""
    regions: dict[int, tuple[int, ...]]
    """NOAA numbers of each HARP in ascending order, at least one."""
    repeated: tuple[int, ...]
    """HARPs listed on several lines with different regions; they have the regions of all these lines."""
    without_region: tuple[int, ...]
    """HARPs listed without a region, or with region 0."""


def read_harp_map(path: Path) -> HarpMap:
    """Read a map of HARPs to NOAA regions, as JSOC publishes in ``all_harps_with_noaa_ars.txt``.

    It has lines ``<HARP> <NOAA>[,<NOAA>...]``, and may have a header, blank lines and comments (#).

    A HARP that is repeated with other regions has the regions of all its lines, because later maps only add regions to
    a HARP; `HarpMap.repeated` names such HARPs. Region 0 means no region.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If a line is not of that form, or no HARP has a region.
    StorageError
        If the file cannot be read.
    """
    regions: dict[int, set[int]] = {}
    repeated = set()
    lines = read_text(path).removeprefix("\ufeff").splitlines()
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#") or (number == 1 and text.split()[0].upper() == "HARPNUM"):
            continue
        harp, found = _parse_line(text, where=f"{path}:{number}")
        before = regions.setdefault(harp, set(found))
        if before != found:
            repeated.add(harp)
            before |= found
    with_regions = {harp: tuple(sorted(found)) for harp, found in sorted(regions.items()) if found}
    if not with_regions:
        raise InputError(path, expected="a HARP with its NOAA regions", found="none", fix="check the path")
    return HarpMap(
        source=str(path),
        regions=with_regions,
        repeated=tuple(sorted(repeated)),
        without_region=tuple(sorted(set(regions) - set(with_regions))),
    )


def _parse_line(text: str, *, where: str) -> tuple[int, set[int]]:
    match = _LINE.fullmatch(text)
    if match is None:
        raise InputError(
            where,
            expected="<HARP> <NOAA>[,<NOAA>...], such as `45 11073,11077`",
            found=repr(text[:80]),
            fix="correct or remove the line",
        )
    return int(match[1]), {int(region) for region in re.findall(r"\d+", match[2] or "")} - {0}
