"""Tables of SHARP keywords: parameters that JSOC computes from every magnetogram.

Shapes: n samples, K keywords.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from sffshards.base.csv_tables import is_missing, split_csv
from sffshards.base.errors import InputError
from sffshards.base.file_reading import MAX_TEXT_BYTES, decode_text, read_bytes, split_lines, unpack_gzip
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_codes import harps_of, times_of
from sffshards.domain.frames import FrameId, HarpNumbers
from sffshards.domain.times import latest_time, parse_tai
from sffshards.images import read_header_keywords

EXTENSIVE = ("USFLUX", "TOTUSJZ", "TOTUSJH", "ABSNJZH", "SAVNCPP", "TOTPOT", "AREA_ACR")
"""Keywords that grow with a region's size, over several powers of ten."""

KEYWORDS = (
    "USFLUX",
    "MEANGAM",
    "MEANGBT",
    "MEANGBZ",
    "MEANGBH",
    "MEANJZD",
    "TOTUSJZ",
    "MEANJZH",
    "TOTUSJH",
    "ABSNJZH",
    "SAVNCPP",
    "MEANPOT",
    "TOTPOT",
    "MEANSHR",
    "SHRGT45",
    "R_VALUE",
    "AREA_ACR",
)
"""Keywords of the regression: Bobra et al., Solar Physics 289 (2014), 3549, table 3, without MEANALP."""

MAX_MAGNITUDE = 1e36
"""Largest value that a keyword may have. TOTPOT in erg/cm and USFLUX in Mx reach some 1e24; the margin is for other
units. Models square and sum keywords, and larger values would overflow."""

_FRAME_COLUMN = "FRAME"
_T_REC = re.compile(r"(\d{4}[.-]\d\d[.-]\d\d[_T ]\d\d:\d\d(:\d\d)?)(\.0+)?(_TAI)?", re.ASCII)
_HARPNUM = re.compile(r"([1-9]\d{0,8})(\.0*)?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeywordTable:
    """SHARP keywords of frames."""

    source: str
    """Path of the table."""
    rows: Mapping[tuple[int, int], int]
    """Row of each frame, by HARP and time in seconds since 1970."""
    values: NDArray[np.float64]
    """Keywords in the order of `KEYWORDS`, nan where missing, shape (rows, K)."""
    harp_numbers: HarpNumbers = HarpNumbers.DEFINITIVE
    """Which numbers the HARPs have, as a comment of the table states."""

    def of_frames(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the keywords of frames by their codes of any shape, with an axis K; nan for frames that it lacks."""
        frames, places = np.unique(codes, return_inverse=True)
        found: NDArray[np.float64] = self._take(harps_of(frames), times_of(frames))[places.reshape(codes.shape)]
        return found

    def _take(self, harps: NDArray[np.int64], times: NDArray[np.datetime64]) -> NDArray[np.float64]:
        keys = zip(harps.tolist(), times.astype(np.int64).tolist(), strict=True)
        row = np.array([self.rows.get(key, -1) for key in keys], np.int64)
        found = self.values[row]
        found[row < 0] = np.nan
        return found

    def count_lacking(self, codes: NDArray[np.int64]) -> int:
        """Return the number of frames, by their codes, that the table does not have."""
        return int(np.isnan(self.of_frames(codes)).all(axis=-1).sum())

    def count_incomplete(self, codes: NDArray[np.int64]) -> int:
        """Return the number of frames, by their codes, of which the table has some keywords but not all."""
        lacking = np.isnan(self.of_frames(codes))
        return int((lacking.any(axis=-1) & ~lacking.all(axis=-1)).sum())


def read_keyword_table(path: Path) -> KeywordTable:
    """Read a table of keywords.

    Parameters
    ----------
    path
        Table of comma-separated values with a line of column names in capitals or not, plain or compressed (gzip). A
        column ``frame`` has published names, or ``HARPNUM`` and ``T_REC`` identify the frame as in JSOC or as pandas
        writes them (``377.0``, ``2012-03-07 00:24:00``), in TAI. Each keyword has a column of its name; other columns
        are ignored. Blank, nan, MISSING and the like mean that a keyword is missing. A comment ``# near-real-time``
        before the column names states that the HARP numbers are those of JSOC's near-real-time series.

    Raises
    ------
    InputError
        If a column is missing, a field is not a number or too large, or a frame is repeated; the error names the line.
    StorageError
        If the table cannot be read.
    """
    text = decode_text(unpack_gzip(read_bytes(path, max_bytes=MAX_TEXT_BYTES), where=path), where=path)
    lines = split_csv(text, {name.lower() for name in (_FRAME_COLUMN, *KEYWORDS)}, where=path)
    columns = [name.strip().upper() for name in next(lines, (0, []))[1]]
    by_name = _FRAME_COLUMN in columns
    frame_columns, keyword_columns = _find_columns(columns, by_name=by_name, path=path)
    latest = _to_seconds(latest_time())
    rows: dict[tuple[int, int], int] = {}
    values = array("d")
    for line, row in lines:
        where = f"{path}:{line}"
        if len(row) != len(columns):
            _refuse(where, f"{len(columns)} fields", str(len(row)))
        key = _parse_key([row[i] for i in frame_columns], by_name=by_name, where=where)
        if key[1] > latest:
            _refuse(where, "a time in the past", str(np.datetime64(key[1], "s")))
        if key in rows:
            _refuse(where, "every frame once", f"HARP {key[0]} at {np.datetime64(key[1], 's')} again")
        rows[key] = len(rows)
        values.extend(_parse_number(row[i], columns[i], where) for i in keyword_columns)
    if not values:
        _refuse(path, "rows of keywords", "none")
    return KeywordTable(
        source=str(path),
        rows=rows,
        values=np.frombuffer(values).reshape(len(rows), -1),
        harp_numbers=HarpNumbers.stated_in(split_lines(text)),
    )


def take_header_keywords(source: Path, *, progress: Progress = SILENT) -> KeywordTable:
    """Return the keywords in the headers of SHARP files as a table; raises as `read_header_keywords`.

    Parameters
    ----------
    source
        A folder of FITS files, or one file.
    progress
        Receives a note for each file that cannot be read, which is left out.
    """
    found = read_header_keywords(source, KEYWORDS, progress=progress)
    values = np.array(list(found.values.values()), np.float64)
    values[np.abs(values) > MAX_MAGNITUDE] = np.nan
    return KeywordTable(
        source=str(source),
        rows={(frame.harp, _to_seconds(frame.t_rec_tai)): row for row, frame in enumerate(found.values)},
        values=values,
        harp_numbers=found.harp_numbers,
    )


def _find_columns(columns: Sequence[str], *, by_name: bool, path: Path) -> tuple[list[int], list[int]]:
    frame = (_FRAME_COLUMN,) if by_name else ("HARPNUM", "T_REC")
    repeated = sorted({name for name in (*frame, *KEYWORDS) if columns.count(name) > 1})
    if repeated:
        _refuse(path, "every column once", f"{', '.join(repeated)} again")
    lacking = [name for name in (*frame, *KEYWORDS) if name not in columns]
    if lacking:
        if not any(name in columns for name in KEYWORDS):
            found = f"none of them, but {', '.join(columns)[:100] or 'nothing'}"
            fix = "check that this is a table of SHARP keywords"
            raise InputError(path, expected=f"columns of {len(KEYWORDS)} SHARP keywords", found=found, fix=fix)
        if set(frame) <= set(lacking):
            lacking = ["frame (or HARPNUM and T_REC)", *(name for name in lacking if name not in frame)]
        _refuse(path, f"columns of a frame and of {len(KEYWORDS)} SHARP keywords", f"no {', '.join(lacking)}")
    return [columns.index(name) for name in frame], [columns.index(name) for name in KEYWORDS]


def _parse_key(fields: list[str], *, by_name: bool, where: str) -> tuple[int, int]:
    if by_name:
        frame = FrameId.parse(fields[0].strip(), where=where)
        return frame.harp, _to_seconds(frame.t_rec_tai)
    harp, time = (field.strip() for field in fields)
    number = _HARPNUM.fullmatch(harp)
    if number is None:
        _refuse(where, "HARPNUM such as 377", repr(harp[:40]))
    match = _T_REC.fullmatch(time)
    if match is None:
        _refuse(where, "T_REC in TAI, such as 2012.03.07_00:24:00_TAI or 2012-03-07 00:24:00", repr(time[:40]))
    return int(number[1]), _to_seconds(parse_tai(match[1].replace("_", "T").replace(".", "-"), where=where))


def _to_seconds(t_tai: datetime) -> int:
    return int(np.datetime64(t_tai, "s").astype(np.int64))


def _parse_number(text: str, column: str, where: str) -> float:
    text = text.strip()
    if is_missing(text):
        return np.nan
    try:
        value = float(text) if text.isascii() and "_" not in text else np.inf
    except ValueError:
        value = np.inf
    if np.isinf(value):
        _refuse(where, f"a number in column {column}", repr(text[:40]))
    if abs(value) > MAX_MAGNITUDE:
        _refuse(where, f"a number of at most {MAX_MAGNITUDE:g} in size in column {column}", repr(text[:40]))
    return value


def _refuse(where: object, expected: str, found: str) -> NoReturn:
    raise InputError(where, expected=expected, found=found, fix="correct the table, or omit {keywords}")
