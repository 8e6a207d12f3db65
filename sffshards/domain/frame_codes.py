"""Frames encoded as 64-bit integers, for lists of millions: a code takes 8 bytes, a `FrameId` 150.

A code is ``HARP << 33 | seconds since 1970, TAI``, so that codes sort by HARP, then by time. Shapes: n frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.frames import SERIES, FrameId, split_name
from sffshards.domain.times import parse_stamp

__all__ = [
    "code_of",
    "codes_of",
    "find_codes",
    "first_places",
    "frame_of",
    "harps_of",
    "iterate_names",
    "name_of",
    "pack_codes",
    "parse_code",
    "sort_by_name",
    "stamp_of",
    "times_of",
]

_TIME_BITS, _HARP_BITS = 33, 30
_SECONDS = (1 << _TIME_BITS) - 1
_EPOCH = datetime(1970, 1, 1)
_LAST = datetime(2241, 12, 31, 23, 59, 59)
_CHUNK = 1 << 16
"""Codes that are converted to text at a time."""


def code_of(frame: FrameId) -> int:
    """Return the code of a frame.

    Raises
    ------
    ValueError
        If the frame is not of the years 1970 to 2241, or its HARP number has ten digits.
    """
    seconds = (frame.t_rec_tai - _EPOCH) // timedelta(seconds=1)
    if not 0 <= seconds <= _SECONDS or frame.harp >> _HARP_BITS:
        raise ValueError(f"t_rec_tai must be of the years 1970 to 2241, and harp below 2**30, got {frame}")
    return frame.harp << _TIME_BITS | seconds


def codes_of(frames: Iterable[FrameId]) -> NDArray[np.int64]:
    """Return the codes of frames, int64 of shape (n,); raises as `code_of`."""
    return np.fromiter(map(code_of, frames), np.int64)


def pack_codes(harps: NDArray[np.int64], t_tai: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return the codes of frames from their HARP numbers and record times, int64 of shape (n,).

    Examples
    --------
    >>> codes = pack_codes(np.array([377]), np.array(["2011-02-13T00:00:00"], "datetime64[s]"))
    >>> name_of(codes.item(0))
    'hmi.sharp_720s.377.20110213_000000_TAI.magnetogram'
    """
    return harps << _TIME_BITS | t_tai.astype("datetime64[s]").astype(np.int64)


def parse_code(name: str, *, latest: datetime = _LAST) -> int | None:
    """Return the code of a frame by its published name, or None if the text is no such name, or of a later time.

    Examples
    --------
    >>> frame_of(parse_code("hmi.sharp_720s.377.20110213_000000_TAI.magnetogram")).t_rec_tai
    datetime.datetime(2011, 2, 13, 0, 0)
    """
    fields = split_name(name)
    if fields is None:
        return None
    harp, stamp = fields
    day = _parse_day(stamp[:8])
    seconds = int(stamp[9:11]) * 3600 + int(stamp[11:13]) * 60 + int(stamp[13:])
    if day is None or stamp[9:11] > "23" or stamp[11:13] > "59" or stamp[13:] > "59":
        return None
    return harp << _TIME_BITS | (day + seconds) if day + seconds <= _to_seconds(latest) else None


def frame_of(code: int) -> FrameId:
    """Return the frame of a code."""
    return FrameId(harp=code >> _TIME_BITS, t_rec_tai=_EPOCH + timedelta(seconds=code & _SECONDS))


def name_of(code: int) -> str:
    """Return the published name of the frame of a code."""
    return f"{SERIES}.{code >> _TIME_BITS}.{stamp_of(code)}_TAI.magnetogram"


def stamp_of(code: int, separator: str = "_") -> str:
    """Return the record time of a frame as published names hold it, or with another character in the middle."""
    day, seconds = divmod(code & _SECONDS, 86400)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{_format_day(day)}{separator}{hour:02d}{minute:02d}{second:02d}"


def iterate_names(codes: NDArray[np.int64]) -> Iterator[str]:
    """Yield the published names of frames."""
    for start in range(0, len(codes), _CHUNK):
        yield from map(name_of, codes[start : start + _CHUNK].tolist())


def harps_of(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the HARP numbers of frames, int64 of shape (n,)."""
    return codes >> _TIME_BITS


def times_of(codes: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """Return the record times of frames in TAI, datetime64[s] of shape (n,)."""
    return (codes & _SECONDS).astype("datetime64[s]")


def find_codes(known: NDArray[np.generic], wanted: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the position of each wanted code among known ones, which are sorted; -1 where it is not known.

    It finds whatever numpy compares, such as keys of samples.
    """
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    places = np.minimum(known.searchsorted(wanted), len(known) - 1)
    return np.where(known[places] == wanted, places, -1)


def first_places(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each code the position at which it comes first, int64 of shape (n,).

    Examples
    --------
    >>> first_places(np.array([7, 5, 7])).tolist()
    [0, 1, 0]
    """
    order = np.argsort(codes, kind="stable")
    is_first = np.ones(len(codes), np.bool_)
    is_first[1:] = codes[order[1:]] != codes[order[:-1]]
    places = np.empty(len(codes), np.int64)
    places[order] = order[is_first][np.cumsum(is_first) - 1]
    return places


def sort_by_name(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return codes in the order of their published names.

    Examples
    --------
    >>> names = [f"hmi.sharp_720s.{harp}.20110213_000000_TAI.magnetogram" for harp in (377, 1000)]
    >>> harps_of(sort_by_name(np.array([parse_code(name) for name in names]))).tolist()
    [1000, 377]
    """
    ordered = np.sort(codes)
    harps, starts = np.unique(harps_of(ordered), return_index=True)
    pieces = np.split(ordered, starts[1:])
    by_text = sorted(range(len(harps)), key=lambda number: f"{harps[number]}.")
    return np.concatenate([pieces[number] for number in by_text]) if len(codes) else ordered


@lru_cache(maxsize=8)
def _to_seconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(seconds=1)


@lru_cache(maxsize=1 << 14)  # forty years
def _parse_day(text: str) -> int | None:
    """Return the seconds from 1970 to the start of a day ``yyyymmdd``; None if there is no such day."""
    day = parse_stamp(f"{text}_000000")
    return None if day is None or not 1970 <= day.year <= 2241 else _to_seconds(day)


@lru_cache(maxsize=1 << 14)
def _format_day(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).strftime("%Y%m%d")
