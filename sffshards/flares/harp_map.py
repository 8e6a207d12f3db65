"""The map of HARPs to the NOAA active regions in them, as JSOC publishes it: ``all_harps_with_noaa_ars.txt``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.csv_tables import check_rows, is_missing
from sffshards.base.errors import InputError
from sffshards.base.file_reading import read_text, split_lines
from sffshards.domain.frames import HarpNumbers
from sffshards.flares.flare_rows import complete_region

_CHECK = "check that this is a map of HARPs"
_OTHER = re.compile(r"(\d+|HARPNUM)\s*[,;|:]|[1-9]\d*\s+\d{4,5}[\s;|]+\d", re.IGNORECASE | re.ASCII)
"""Start of a line of a map with other separators."""
_HARP = re.compile(r"([1-9]\d{0,8})(?:\.0)?(?:\s+(.*))?", re.ASCII)
_REGIONS = re.compile(r"(\d+(?:\.0)?)(?:\s*,\s*(\d+(?:\.0)?))*", re.ASCII)


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
    harp_numbers: HarpNumbers = HarpNumbers.DEFINITIVE
    """Which numbers the HARPs have, as a comment of the map states."""


def read_harp_map(path: Path) -> HarpMap:
    """Read a map of HARPs to NOAA regions, as JSOC publishes in ``all_harps_with_noaa_ars.txt``.

    It has lines ``<HARP> <NOAA>[,<NOAA>...]``, and may have a header, blank lines and comments (#). A region of four
    digits lacks its leading 1, as in flare lists. A comment ``# near-real-time`` states that the HARP numbers are those
    of JSOC's near-real-time series, which are not the definitive numbers.

    A HARP that is repeated with other regions has the regions of all its lines, because later maps only add regions to
    a HARP; `HarpMap.repeated` names such HARPs. Region 0 means no region.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If a line is not of that form, no HARP has a region, or there are more than `MAX_ROWS` lines.
    StorageError
        If the file cannot be read.
    """
    regions: dict[int, set[int]] = {}
    repeated = set()
    content = read_text(path)
    for number, line in enumerate(split_lines(content), 1):
        check_rows(number, where=path)
        text = line.strip()
        if not text or text.startswith("#") or (number == 1 and text.split()[0].upper() == "HARPNUM"):
            continue
        harp, found = _parse_line(text, where=f"{path}:{number}", is_first=not regions)
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
        harp_numbers=HarpNumbers.stated_in(split_lines(content)),
    )


def _parse_line(text: str, *, where: str, is_first: bool) -> tuple[int, set[int]]:
    match = _HARP.fullmatch(text)
    of_regions = (match[2] or "").strip() if match else ""
    if match is not None and is_missing(of_regions):
        return int(match[1]), set()
    is_plain = _REGIONS.fullmatch(of_regions) is not None
    numbers = {int(number) for number in re.findall(r"(\d+)(?:\.0)?", of_regions)} - {0}
    if match is None or not is_plain or any(not 1_000 <= number <= 99_999 for number in numbers):
        fix = "write a blank after the HARP, and commas between its regions" if _OTHER.match(text) else _CHECK
        raise InputError(
            where,
            expected="<HARP> <NOAA>[,<NOAA>...] with a blank after the HARP, such as `45 11073,11077`",
            found=repr(text[:80]),
            fix=fix if is_first else "correct the line; regions have four or five digits",
        )
    return int(match[1]), {complete_region(number) for number in numbers}
