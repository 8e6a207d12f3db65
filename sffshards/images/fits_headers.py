"""The header of a SHARP magnetogram: region, time, quality, orientation; also keywords that lie beside the file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath

from sffshards.base.errors import ImageError, InputError
from sffshards.base.json_records import JsonFormat, read_record
from sffshards.domain.frames import FrameId
from sffshards.domain.times import format_stamp, parse_tai
from sffshards.images.ingest_options import Component

GetKeyword = Callable[[str], object]
"""Function that returns the value of a keyword, or None where the header lacks it."""

KEYWORDS_NAME = "keywords.json"
"""File name of the keywords that the headers of JSOC's stored files lack, beside these files."""

KEYWORDS_VERSION = 1
"""Format version of that file."""

POOR_QUALITY = 0x10000
"""Lowest bit of QUALITY that marks a frame as poor: eclipse, transit, recovery, missing filtergrams."""

_MAX_TILT_DEGREES = 5.0
"""Largest difference of CROTA2 from 0 or 180; smaller angles are not corrected."""
_SHARP_NAME = re.compile(
    r"(?P<series>\w+\.sharp\w*)\.(?P<harp>\d+)\.(?P<time>\d{8}_\d{6})_TAI\.(?P<segment>\w+)\.fits(\.(gz|fz))?"
)
_FIX = "fetch it again, or pass {skip_bad}"
_EXPECTS = JsonFormat(
    expected=f"keywords of files in JSON, format version {KEYWORDS_VERSION}",
    fix="remove it and run `sffshards fetch jsoc` again",
    version=KEYWORDS_VERSION,
    error=InputError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeywordsFile:
    """The content of ``keywords.json``."""

    files: dict[str, Mapping[str, str | float | None]] = field(default_factory=dict)
    """Values of the keywords of each file, by the names of the file and of the keyword."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameHeader:
    """The values that are used of a header."""

    frame: FrameId
    quality: int
    """QUALITY, as bits; 0 where the header has none."""
    flips: tuple[bool, bool]
    """Whether rows and columns, in the order of FITS, are reversed in an image with north up and west right."""
    is_cea: bool
    """Whether the image is projected to a cylinder, as in hmi.sharp_cea_720s."""


def read_keywords(folder: Path) -> KeywordsFile:
    """Read the keywords beside the FITS files of a folder, none where there are none; raises `InputError`."""
    path = folder / KEYWORDS_NAME
    return read_record(path, KeywordsFile, expects=_EXPECTS) if path.is_file() else KeywordsFile()


def series_of(name: str) -> str | None:
    """Return the series that a file name begins with, or None if it is not a name that JSOC gives."""
    match = _SHARP_NAME.fullmatch(name)
    return match["series"] if match else None


def component_of(name: str, get: GetKeyword, *, where: object) -> str:
    """Return the segment that a file holds, by its name, or else by SEGMENT or EXTNAME in its header.

    Raises
    ------
    ImageError
        If neither states it.
    """
    match = _SHARP_NAME.fullmatch(name)
    if match:
        return match["segment"]
    stem = name.lower()
    for component in Component:
        if f".{component.lower()}.fit" in stem or component.value in (get("SEGMENT"), get("EXTNAME")):
            return component.value
    raise ImageError(
        where,
        expected="a name such as hmi.sharp_720s.<HARP>.<time>_TAI.magnetogram.fits, or the keyword SEGMENT",
        found="neither",
        fix="rename the file, or pass {skip_bad}",
    )


def parse_header(get: GetKeyword, *, where: PurePath, needs_quality: bool) -> FrameHeader:
    """Parse a header.

    Parameters
    ----------
    get
        Function that returns the values of keywords.
    where
        The file, whose name must agree with the header.
    needs_quality
        Whether QUALITY is required.

    Raises
    ------
    ImageError
        If a keyword is missing or cannot be used.
    """
    missing = [k for k in ("T_REC", "HARPNUM", *(["QUALITY"] if needs_quality else [])) if get(k) in (None, "")]
    is_cea = "CEA" in str(get("CTYPE1") or "")
    if get("CROTA2") is None and not is_cea:
        missing.append("CROTA2")
    if missing:
        raise _bad(where, "a header with the keywords of a SHARP", f"no {', '.join(missing)}")
    frame = FrameId(harp=_parse_harp(get, where), t_rec_tai=_parse_time(str(get("T_REC")), where))
    _check_name(frame, where)
    half_turn = _is_half_turn(_number(get, "CROTA2", 0.0, where), where)
    # The first row of FITS is the lowest; negative CDELT2 and CDELT1 are rows downwards and columns eastwards.
    downwards, eastwards = (_number(get, keyword, 1.0, where) < 0 for keyword in ("CDELT2", "CDELT1"))
    return FrameHeader(
        frame=frame,
        quality=_parse_quality(get("QUALITY"), where),
        flips=(downwards == half_turn, eastwards != half_turn),
        is_cea=is_cea,
    )


def _parse_harp(get: GetKeyword, where: object) -> int:
    harp = _number(get, "HARPNUM", 0.0, where)
    if harp != int(harp) or not 1 <= harp <= 999_999_999:
        raise _bad(where, "HARPNUM, a number of at least 1", str(get("HARPNUM")))
    return int(harp)


def _parse_time(text: str, where: object) -> datetime:
    try:
        return parse_tai(text if text.strip().endswith("_TAI") else "", where=where)
    except InputError:
        raise _bad(where, "T_REC in TAI, as in 2012.03.06_14:24:00_TAI", repr(text[:60])) from None


def _parse_quality(value: object, where: object) -> int:
    try:
        return int(value, 0) if isinstance(value, str) else int(value or 0)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise _bad(where, "QUALITY, a number", repr(value)[:60]) from None


def _is_half_turn(angle: float, where: object) -> bool:
    """Return whether south is up, as in the camera: CROTA2 is about 180 degrees."""
    num_turns = round(angle / 180)
    if abs(angle - 180 * num_turns) > _MAX_TILT_DEGREES:
        raise _bad(where, f"CROTA2 within {_MAX_TILT_DEGREES:g} degrees of 0 or 180", f"{angle:g}")
    return num_turns % 2 == 1


def _number(get: GetKeyword, keyword: str, default: float, where: object) -> float:
    value = get(keyword)
    try:
        number = default if value in (None, "") else float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _bad(where, f"{keyword}, a number", repr(value)[:60])
    return number


def _check_name(frame: FrameId, where: PurePath) -> None:
    match = _SHARP_NAME.fullmatch(where.name)
    stamp = format_stamp(frame.t_rec_tai)
    if match and (int(match["harp"]), match["time"]) != (frame.harp, stamp):
        raise _bad(where, "a header that agrees with the file name", f"one of HARP {frame.harp} at {stamp}_TAI")


def _bad(where: object, expected: str, found: str) -> ImageError:
    return ImageError(where, expected=expected, found=found, fix=_FIX)
