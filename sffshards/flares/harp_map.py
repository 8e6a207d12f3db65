"""The map from HARPs to the NOAA active regions in them, as JSOC gives it: ``all_harps_with_noaa_ars.txt``."""

from __future__ import annotations

import re
from pathlib import Path

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import InputError
from sffshards.flares.flare_records import HarpMap

__all__ = ["read_harp_map"]

_LINE = re.compile(r"([1-9]\d{0,8})(?:\s+(\d{1,6}(?:\s*,\s*\d{1,6})*|--|MISSING))?", re.ASCII)


def read_harp_map(path: Path) -> HarpMap:
    """Read lines ``<HARP> <NOAA>[,<NOAA>...]``; a first line of column names, blank lines and remarks (#) may be there.

    A HARP that comes again with other regions has the regions of all its lines, since later maps only add regions to
    a HARP; `HarpMap.repeated` names such HARPs. Region 0 is none.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If a line is not of that form, or no HARP has a region.
    StorageError
        If it cannot be read.
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
