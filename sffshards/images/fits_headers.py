"""What the header of a SHARP magnetogram tells of it: region, time, quality, and which way is up."""

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
"""Gives the value of a header's keyword, None where it has none."""

POOR_QUALITY = 0x10000
"""From here on, the bits of QUALITY say that a frame is poor: eclipse, transit, recovery, missing filtergrams."""

_MAX_TILT_DEGREES = 5.0
"""By which CROTA2 may differ from 0 or 180; a region is not turned by less."""
_FITS_NAME = re.compile(r".+\.(fits|fit|fts)(\.(gz|fz))?|.+\.fz", re.IGNORECASE)
_SHARP_NAME = re.compile(
    r"(?P<series>\w+\.sharp\w*)\.(?P<harp>\d+)\.(?P<time>\d{8}_\d{6})_TAI\.(?P<segment>\w+)\.fits(\.(gz|fz))?"
)
_TIME = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)_(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?_TAI")
_FIX = "fetch it again, or give --skip-bad"


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameHeader:
    """What is needed of a header."""

    frame: FrameId
    quality: int
    """QUALITY, as bits; 0 where the header does not say."""
    half_turn: bool
    """Whether south is up in it, as in the camera: CROTA2 is about 180."""
    mirrored: tuple[bool, bool]
    """Whether its rows run downwards, and its columns eastwards: CDELT2 and CDELT1 are negative."""
    is_cea: bool
    """Whether it is projected to a cylinder, as hmi.sharp_cea_720s is."""


def is_fits(name: str) -> bool:
    """Say whether a file's name is that of a FITS file, compressed or not."""
    return _FITS_NAME.fullmatch(name) is not None


def series_of(name: str) -> str | None:
    """Give the series that a file's name begins with; None if it is not named as JSOC does."""
    match = _SHARP_NAME.fullmatch(name)
    return match["series"] if match else None


def component_of(name: str, get: GetKeyword, *, where: object) -> str:
    """Give the segment that a file holds, by its name, else by its header's SEGMENT or EXTNAME.

    Raises
    ------
    ImageError
        If neither tells.
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
        fix="name the file so, or give --skip-bad",
    )


def parse_header(get: GetKeyword, *, where: PurePath, needs_quality: bool) -> FrameHeader:
    """Take what is needed from a header.

    Parameters
    ----------
    get
        Its keywords.
    where
        The file, whose name must not say something else.
    needs_quality
        Whether QUALITY must be there.

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
        raise _bad(where, "HARPNUM, a number from 1 on", str(get("HARPNUM")))
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
        raise _bad(where, "a header of what the file's name says", f"one of {said}")


def _bad(where: object, expected: str, found: str) -> ImageError:
    return ImageError(where, expected=expected, found=found, fix=_FIX)
