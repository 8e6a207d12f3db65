"""Parse the header of a SHARP magnetogram: region, time, quality, orientation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from sffshards.base.errors import ImageError
from sffshards.domain.frames import FrameId
from sffshards.images.ingest_options import Component

__all__ = ["POOR_QUALITY", "FrameHeader", "GetKeyword", "component_of", "is_fits", "parse_header", "series_of"]

GetKeyword = Callable[[str], object]
"""Function that returns the value of a keyword, or None where the header lacks it."""

POOR_QUALITY = 0x10000
"""Lowest bit of QUALITY that marks a frame as poor: eclipse, transit, recovery, missing filtergrams."""

_MAX_TILT_DEGREES = 5.0
"""Largest difference of CROTA2 from 0 or 180; smaller angles are not corrected."""
_FITS_NAME = re.compile(r".+\.(fits|fit|fts)(\.(gz|fz))?|.+\.fz", re.IGNORECASE)
_SHARP_NAME = re.compile(
    r"(?P<series>\w+\.sharp\w*)\.(?P<harp>\d+)\.(?P<time>\d{8}_\d{6})_TAI\.(?P<segment>\w+)\.fits(\.(gz|fz))?"
)
_TIME = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)_(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?_TAI")
_FIX = "fetch it again, or pass {skip_bad}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameHeader:
    """The values that are used of a header."""

    frame: FrameId
    quality: int
    """QUALITY, as bits; 0 where the header has none."""
    half_turn: bool
    """Whether south is up, as in the camera: CROTA2 is about 180."""
    mirrored: tuple[bool, bool]
    """Whether rows run downwards, and columns eastwards: CDELT2 and CDELT1 are negative."""
    is_cea: bool
    """Whether the image is projected to a cylinder, as in hmi.sharp_cea_720s."""


def is_fits(name: str) -> bool:
    """Return whether a file name is that of a FITS file, compressed or not."""
    return _FITS_NAME.fullmatch(name) is not None


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
    return FrameHeader(
        frame=frame,
        quality=_parse_quality(get("QUALITY"), where),
        half_turn=_is_half_turn(get("CROTA2"), where),
        mirrored=(_number(get, "CDELT2", 1.0, where) < 0, _number(get, "CDELT1", 1.0, where) < 0),
        is_cea=is_cea,
    )


def _parse_harp(get: GetKeyword, where: object) -> int:
    harp = _number(get, "HARPNUM", 0.0, where)
    if harp != int(harp) or not 1 <= harp <= 999_999_999:
        raise _bad(where, "HARPNUM, a number of at least 1", str(get("HARPNUM")))
    return int(harp)


def _parse_time(text: str, where: object) -> datetime:
    match = _TIME.fullmatch(text.strip())
    try:
        if match:
            return datetime(*(int(field or 0) for field in match.groups()))  # type: ignore[arg-type]
    except ValueError:
        pass
    raise _bad(where, "T_REC in TAI, as in 2012.03.06_14:24:00_TAI", repr(text[:60]))


def _parse_quality(value: object, where: object) -> int:
    try:
        return int(value, 0) if isinstance(value, str) else int(value or 0)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise _bad(where, "QUALITY, a number", repr(value)[:60]) from None


def _is_half_turn(value: object, where: object) -> bool:
    try:
        angle = float(str(value or 0)) % 360.0
    except ValueError:
        raise _bad(where, "CROTA2, an angle", repr(value)[:60]) from None
    for turn, half in ((0.0, False), (180.0, True), (360.0, False)):
        if abs(angle - turn) <= _MAX_TILT_DEGREES:
            return half
    raise _bad(where, f"CROTA2 within {_MAX_TILT_DEGREES:g} degrees of 0 or 180", f"{value}")


def _number(get: GetKeyword, keyword: str, default: float, where: object) -> float:
    value = get(keyword)
    try:
        number = default if value is None else float(str(value))
    except ValueError:
        number = float("nan")
    if number != number or abs(number) == float("inf"):  # noqa: PLR0124  only NaN differs from itself
        raise _bad(where, f"{keyword}, a number", repr(value)[:60])
    return number


def _check_name(frame: FrameId, where: PurePath) -> None:
    match = _SHARP_NAME.fullmatch(where.name)
    said = f"HARP {frame.harp} at {frame.t_rec_tai:%Y%m%d_%H%M%S}_TAI"
    if match and (int(match["harp"]), match["time"]) != (frame.harp, f"{frame.t_rec_tai:%Y%m%d_%H%M%S}"):
        raise _bad(where, "a header that agrees with the file name", f"one of {said}")


def _bad(where: object, expected: str, found: str) -> ImageError:
    return ImageError(where, expected=expected, found=found, fix=_FIX)
