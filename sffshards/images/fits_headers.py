"""The header of a SHARP magnetogram: region, time, quality, orientation and unit; also keywords beside the file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath

from sffshards.base.errors import ImageError, InputError
from sffshards.base.json_records import JsonFormat, read_record
from sffshards.domain.frames import FrameId, HarpNumbers
from sffshards.domain.times import format_stamp, latest_time, parse_tai
from sffshards.images.ingest_options import Component

GetKeyword = Callable[[str], object]
"""Function that returns the value of a keyword, or None where the header lacks it."""

KEYWORDS_NAME = "keywords.json"
"""File name of the keywords that the headers of JSOC's stored files lack, beside these files."""

KEYWORDS_VERSION = 1
"""Format version of that file."""

_NO_IMAGE = 0x80000000
"""Bit of QUALITY of a record without an image, as JSOC's Quality_Bits/QUALITY.txt says: QUALITY is then negative."""

POOR_QUALITY = 0x10000
"""Lowest bit of QUALITY that marks a frame as poor: eclipse, transit, recovery, missing filtergrams."""

_MAX_TILT_DEGREES = 5.0
"""Largest angle between an axis of the image and north or west; smaller angles are not corrected."""
_QUALITY = re.compile(r"[+-]?(0+|[1-9]\d*)(\.0*)?|[+-]?0x[0-9a-f]+", re.IGNORECASE | re.ASCII)
_SEGMENT = re.compile(
    r"magnetogram|bitmap|b[prt](_err)?|dopplergram|continuum|inclination\w*|azimuth\w*|field\w*|vlos\w*|alpha\w*|chisq|"
    r"dop_width|eta_0|damping|src_\w+|conv_flag|info_map|confid_map|inclin_\w+|(conf_)?disambig",
    re.IGNORECASE,
)
"""Segments of hmi.sharp_720s and hmi.sharp_cea_720s. An EXTNAME may be one of them, or say something else."""
_PC = ("PC1_1", "PC1_2", "PC2_1", "PC2_2")
_OLD_PC = ("PC001001", "PC001002", "PC002001", "PC002002")
"""Names of the same before the standard of 2002."""
_CD = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
_SHARP_NAME = re.compile(
    r"(?P<series>\w+\.sharp\w*)\.(?P<harp>\d+)\.(?P<time>\d{8}_\d{6})_TAI\.(?P<segment>\w+)\.fits(\.(gz|fz))?"
)
_FIX = "correct the header or fetch the file again, or pass {skip_bad}"
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
    """QUALITY, as 32 bits without a sign; 0 where the header has none."""
    flips: tuple[bool, bool]
    """Whether rows and columns, in the order of FITS, are reversed in an image with north up and west right."""
    is_cea: bool
    """Whether the image is projected to a cylinder, as in hmi.sharp_cea_720s."""
    gauss_per_unit: float
    """Factor from the unit of the pixels, BUNIT, to gauss."""
    harp_numbers: HarpNumbers
    """Which number the HARP has, by the file's name, SERIES and SOURCE."""


def read_keywords(folder: Path) -> KeywordsFile:
    """Read the keywords beside the FITS files of a folder, none where there are none; raises `InputError`."""
    path = folder / KEYWORDS_NAME
    return read_record(path, KeywordsFile, expects=_EXPECTS) if path.is_file() else KeywordsFile()


def series_of(name: str) -> str | None:
    """Return the series that a file name begins with, or None if it is not a name that JSOC gives."""
    match = _SHARP_NAME.fullmatch(name)
    return match["series"] if match else None


def segment_of_name(name: str) -> str | None:
    """Return the segment that a file name states, as in ``sharp_1449.Br.fits``, or None."""
    match = _SHARP_NAME.fullmatch(name)
    if match:
        return _canonical(match["segment"])
    stem = name.lower()
    return next((component.value for component in Component if f".{component.lower()}.fit" in stem), None)


def segment_of_header(get: GetKeyword, *, where: object) -> str | None:
    """Return the segment that an image's header states by SEGMENT or EXTNAME, or None.

    Raises
    ------
    ImageError
        If the two state different segments.
    """
    segment, extension = (_canonical(str(get(keyword) or "").strip()) for keyword in ("SEGMENT", "EXTNAME"))
    if not _SEGMENT.fullmatch(extension):
        extension = ""
    if segment and extension and segment != extension:
        raise _bad(where, "one segment in SEGMENT and EXTNAME", f"{segment} and {extension}")
    return segment or extension or None


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
    axis = str(get("CTYPE1") or "")
    is_cea = "CEA" in axis
    if not is_cea and not _has_any(get, ("CROTA2", "CROTA1", *_PC, *_OLD_PC, *_CD)):
        missing.append("CROTA2 or PCi_j")
    if missing:
        raise _bad(where, "a header with the keywords of a SHARP", f"no {', '.join(missing)}")
    frame = FrameId(harp=_parse_harp(get, where), t_rec_tai=_parse_time(str(get("T_REC")), where))
    _check_name(frame, where)
    if frame.t_rec_tai > latest_time():
        raise _bad(where, "T_REC, a time in the past", frame.t_rec_tai.isoformat())
    if axis[2:4] == "LT":
        raise _bad(where, "CTYPE1, a longitude", axis[:60])
    return FrameHeader(
        frame=frame,
        quality=parse_quality(get("QUALITY"), where=where),
        flips=_find_flips(get, where),
        is_cea=is_cea,
        gauss_per_unit=_parse_unit(get("BUNIT"), where),
        harp_numbers=_find_numbers(get, where),
    )


def parse_quality(value: object, *, where: object) -> int:
    """Parse QUALITY, a word of 32 bits: a signed integer in FITS, often hexadecimal text in keywords from JSOC.

    Returns
    -------
    The bits as a number without a sign; 0 where there is no value.

    Raises
    ------
    ImageError
        If the value is no such word, or a number with leading zeros, which may be decimal or hexadecimal.

    Examples
    --------
    >>> hex(parse_quality(-2147483648, where="a.fits")), parse_quality("0x00000400", where="a.fits")
    ('0x80000000', 1024)
    """
    text = str(value if value is not None else "").strip()
    if not text:
        return 0
    if _QUALITY.fullmatch(text):
        word = int(text, 16) if "x" in text.lower() else int(text.partition(".")[0])
        if -(1 << 31) <= word < 1 << 32:
            return word & 0xFFFFFFFF
    raise _bad(where, "QUALITY, a word of 32 bits, such as 1024, -2147483648 or 0x00000400", repr(value)[:60])


def has_no_image(quality: object, *, where: object) -> bool:
    """Return whether QUALITY marks a record that has no image; raises as `parse_quality`."""
    return bool(parse_quality(quality, where=where) & _NO_IMAGE)


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


def _parse_unit(value: object, where: object) -> float:
    """Return the factor from the unit of the pixels to gauss; a header without BUNIT means gauss."""
    from astropy import units

    text = str(value if value is not None else "").strip()
    if not text:
        return 1.0
    for spelling in (text, text.lower()):
        with suppress(ValueError, TypeError):
            factor = float(units.Unit(spelling).to(units.Unit("G")))
            return 1.0 if math.isclose(factor, 1.0) else factor
    raise _bad(where, "BUNIT, a unit of magnetic field, such as Gauss, Mx/cm^2 or T", repr(text[:60]))


def _find_flips(get: GetKeyword, where: object) -> tuple[bool, bool]:
    """Return whether rows and columns are reversed in an image with north up and west right.

    The matrix from pixels to the sky follows from CDi_j, from CDELTi and PCi_j, or from CDELTi and CROTA2. FITS forbids
    more than one of these; where there are more, they must agree.
    """
    step1, step2 = (_number(get, keyword, 1.0, where) for keyword in ("CDELT1", "CDELT2"))
    if not step1 or not step2:
        raise _bad(where, "CDELT1 and CDELT2, the size of a pixel", "0")
    stated = {}
    if _has_any(get, _OLD_PC):
        pc11, pc12, pc21, pc22 = (_number(get, k, float(k in "PC001001 PC002002"), where) for k in _OLD_PC)
        stated["PC00i00j"] = step1 * pc11, step1 * pc12, step2 * pc21, step2 * pc22
    if _has_any(get, _PC):
        pc11, pc12, pc21, pc22 = (_number(get, keyword, float(keyword in "PC1_1 PC2_2"), where) for keyword in _PC)
        stated["PCi_j"] = step1 * pc11, step1 * pc12, step2 * pc21, step2 * pc22
    if _has_any(get, _CD):
        cd11, cd12, cd21, cd22 = (_number(get, keyword, 0.0, where) for keyword in _CD)
        stated["CDi_j"] = cd11, cd12, cd21, cd22
    angles = [keyword for keyword in ("CROTA2", "CROTA1") if _has_any(get, (keyword,))]
    for keyword in angles or ([] if stated else ["CROTA2"]):
        angle = math.radians(_number(get, keyword, 0.0, where))
        cosine, sine = math.cos(angle), math.sin(angle)
        stated[keyword] = step1 * cosine, -step2 * sine, step1 * sine, step2 * cosine
    signs = {name: _signs_of_axes(matrix, name, where) for name, matrix in stated.items()}
    if len(set(signs.values())) > 1:
        raise _bad(where, f"{' and '.join(signs)} that agree", "two different orientations")
    is_westward, is_northward = next(iter(signs.values()))
    return is_northward, not is_westward  # the first row of FITS is the lowest


def _signs_of_axes(matrix: tuple[float, float, float, float], name: str, where: object) -> tuple[bool, bool]:
    """Return whether columns run to the west and rows to the north."""
    west1, west2, north1, north2 = matrix
    tilt = math.degrees(max(math.atan2(abs(north1), abs(west1)), math.atan2(abs(west2), abs(north2))))
    if not west1 or not north2 or tilt > _MAX_TILT_DEGREES:
        found = f"an axis that is {tilt:.3g} degrees off"
        raise _bad(where, f"{name} within {_MAX_TILT_DEGREES:g} degrees of 0 or 180", found)
    return west1 > 0, north2 > 0


def _has_any(get: GetKeyword, keywords: tuple[str, ...]) -> bool:
    return any(get(keyword) not in (None, "") for keyword in keywords)


def _canonical(segment: str) -> str:
    """Return the name of a segment as `Component` has it, or in lower case."""
    return next((component.value for component in Component if component.lower() == segment.lower()), segment.lower())


def _number(get: GetKeyword, keyword: str, default: float, where: object) -> float:
    value = get(keyword)
    try:
        number = default if value in (None, "") else float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _bad(where, f"{keyword}, a number", repr(value)[:60])
    return number


def _find_numbers(get: GetKeyword, where: PurePath) -> HarpNumbers:
    stated = (where.name, *(str(get(keyword) or "") for keyword in ("SERIES", "SOURCE")))
    is_near_real_time = any(re.search(r"harp\w*_nrt\b", text.lower()) for text in stated)
    return HarpNumbers.NEAR_REAL_TIME if is_near_real_time else HarpNumbers.DEFINITIVE


def _check_name(frame: FrameId, where: PurePath) -> None:
    match = _SHARP_NAME.fullmatch(where.name)
    stamp = format_stamp(frame.t_rec_tai)
    if match and (int(match["harp"]), match["time"]) != (frame.harp, stamp):
        raise _bad(where, "a header that agrees with the file name", f"one of HARP {frame.harp} at {stamp}_TAI")


def _bad(where: object, expected: str, found: str) -> ImageError:
    return ImageError(where, expected=expected, found=found, fix=_FIX)
