"""Tables of SHARP keywords: parameters that JSOC computes from every magnetogram.

Shapes: n samples, K keywords.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import read_text, storage_errors
from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.sample_sets import Part
from sffshards.forecasting.baselines.baseline_samples import Samples

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
units. The regression squares and sums keywords, and larger values would overflow."""

_MISSING = frozenset({"", "nan", "missing", "--", "invalid keylink"})
_T_REC = re.compile(r"\d{4}\.\d\d\.\d\d_\d\d:\d\d:\d\d_TAI", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeywordTable:
    """SHARP keywords of frames."""

    source: str
    """Path of the table."""
    rows: Mapping[tuple[int, int], int]
    """Row of each frame, by HARP and time in seconds since 1970."""
    values: NDArray[np.float64]
    """Keywords in the order of `KEYWORDS`, nan where missing, shape (rows, K)."""

    def find(self, samples: Samples) -> NDArray[np.float64]:
        """Return the keywords of samples, shape (n, K); nan for frames that the table does not have."""
        keys = zip(samples.harp.tolist(), samples.t_end_tai.astype(np.int64).tolist(), strict=True)
        row = np.array([self.rows.get(key, -1) for key in keys], np.int64)
        found = self.values[row]
        found[row < 0] = np.nan
        return found

    def count_lacking(self, samples: Mapping[Part, Samples]) -> dict[Part, int]:
        """Return the number of samples of each part that the table does not have."""
        return {part: int(np.isnan(self.find(of)).all(axis=1).sum()) for part, of in samples.items()}


def read_keyword_table(path: Path) -> KeywordTable:
    """Read a table of keywords.

    Parameters
    ----------
    path
        Table of comma-separated values with a line of column names, plain or compressed (``.gz``). A column ``frame``
        has published names, or ``HARPNUM`` and ``T_REC`` identify the frame as in JSOC. Each keyword has a column of
        its name; other columns are ignored. Blank, nan and MISSING mean that a keyword is missing.

    Raises
    ------
    InputError
        If a column is missing, a field is not a number or too large, or a frame is repeated; the error names the line.
    StorageError
        If the table cannot be read.
    """
    lines = _split(_read(path), path)
    columns = [name.strip() for name in next(lines, (0, []))[1]]
    by_name = "frame" in columns
    frame_columns, keyword_columns = _find_columns(columns, by_name=by_name, path=path)
    rows: dict[tuple[int, int], int] = {}
    values: list[list[float]] = []
    for line, row in lines:
        where = f"{path}:{line}"
        if len(row) != len(columns):
            _refuse(where, f"{len(columns)} fields", str(len(row)))
        key = _parse_key([row[i] for i in frame_columns], by_name=by_name, where=where)
        if rows.setdefault(key, len(values)) != len(values):
            _refuse(where, "every frame once", f"HARP {key[0]} at {np.datetime64(key[1], 's')} again")
        values.append([_parse_number(row[i], columns[i], where) for i in keyword_columns])
    if not values:
        _refuse(path, "rows of keywords", "none")
    return KeywordTable(source=str(path), rows=rows, values=np.array(values, np.float64))


def _read(path: Path) -> str:
    if path.suffix != ".gz":
        return read_text(path).removeprefix("\ufeff")
    with storage_errors(path, expected="a file that can be read"):
        data = path.read_bytes()
    try:
        return gzip.decompress(data).decode("utf-8").removeprefix("\ufeff")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(path, expected="text, gzipped", found=str(error), fix="download the file again") from None


def _split(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each row that is not blank."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        _refuse(f"{path}:{reader.line_num}", "comma-separated values", str(error))


def _find_columns(columns: Sequence[str], *, by_name: bool, path: Path) -> tuple[list[int], list[int]]:
    frame = ("frame",) if by_name else ("HARPNUM", "T_REC")
    lacking = [name for name in (*frame, *KEYWORDS) if name not in columns]
    if lacking:
        if set(frame) <= set(lacking):
            lacking = ["frame (or HARPNUM and T_REC)", *(name for name in lacking if name not in frame)]
        _refuse(path, f"columns of a frame and of {len(KEYWORDS)} SHARP keywords", f"no {', '.join(lacking)}")
    return [columns.index(name) for name in frame], [columns.index(name) for name in KEYWORDS]


def _parse_key(fields: list[str], *, by_name: bool, where: str) -> tuple[int, int]:
    if by_name:
        name = fields[0].strip()
    else:
        harp, time = (field.strip() for field in fields)
        if _T_REC.fullmatch(time) is None:
            _refuse(where, "T_REC such as 2012.03.07_00:24:00_TAI", repr(fields[1][:40]))
        name = f"hmi.sharp_720s.{harp}.{re.sub('[.:]', '', time)}.magnetogram"
    frame = FrameId.parse(name, where=where)
    return frame.harp, int(np.datetime64(frame.t_rec_tai, "s").astype(np.int64))


def _parse_number(text: str, column: str, where: str) -> float:
    text = text.strip()
    if text.lower() in _MISSING:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        value = np.inf
    if np.isinf(value):
        _refuse(where, f"a number in column {column}", repr(text[:40]))
    if abs(value) > MAX_MAGNITUDE:
        _refuse(where, f"a number of at most {MAX_MAGNITUDE:g} in size in column {column}", repr(text[:40]))
    return value


def _refuse(where: object, expected: str, found: str) -> NoReturn:
    raise InputError(where, expected=expected, found=found, fix="correct the table, or omit {keywords}")
