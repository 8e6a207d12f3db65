"""Frames: the SHARP magnetogram of one region at one time, its published name, and its label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sffshards.base.errors import InputError
from sffshards.domain.times import format_stamp, parse_stamp

__all__ = ["FRAME_SIDE", "HARP_NUMBERS", "IMAGE_SUFFIX", "SERIES", "FrameId", "HarpNumbers", "split_name"]

FRAME_SIDE = 224
"""Height and width of a frame in pixels, the input size of MViTv2-S."""

IMAGE_SUFFIX = ".fits.jpg"
"""Suffix that an image's file name adds to the name of its frame."""

SERIES = "hmi.sharp_720s"
"""JSOC series of the magnetograms, with which every published name begins."""

HARP_NUMBERS = "harp_numbers"
"""Name under which records state which numbers HARPs have, as `HarpNumbers`."""

_FIRST_YEAR = 1970
"""Year before which no frame is accepted; SDO has observed since 2010."""

_NAME = re.compile(r"hmi\.sharp_720s\.([1-9]\d{0,8})\.(\d{8}_\d{6})_TAI\.magnetogram", re.ASCII)
_NEAR_REAL_TIME = re.compile(r"\s*#\s*near-real-time\b", re.IGNORECASE)


class HarpNumbers(StrEnum):
    """Which numbers HARPs have: the same number is another region in JSOC's near-real-time series."""

    DEFINITIVE = "definitive"
    NEAR_REAL_TIME = "near-real-time"

    @classmethod
    def stated_in(cls, lines: Iterable[str]) -> HarpNumbers:
        """Return which numbers the lines of a table state in a comment; definitive where they state none.

        Examples
        --------
        >>> str(HarpNumbers.stated_in(["# near-real-time", "45 11073"]))
        'near-real-time'
        """
        return cls.NEAR_REAL_TIME if any(map(_NEAR_REAL_TIME.match, lines)) else cls.DEFINITIVE

    @classmethod
    def recorded_in(cls, image_options: Mapping[str, object]) -> HarpNumbers:
        """Return which numbers the recorded options of images have; definitive where they record none."""
        return cls.NEAR_REAL_TIME if image_options.get(HARP_NUMBERS) == cls.NEAR_REAL_TIME else cls.DEFINITIVE


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FrameId:
    """One SHARP magnetogram: an active region patch at one time."""

    harp: int
    """HARP number, at least 1."""
    t_rec_tai: datetime
    """Record time in TAI, as a naive datetime in whole seconds."""

    def __post_init__(self) -> None:
        if self.harp < 1:
            raise ValueError(f"harp must be at least 1, got {self.harp}")
        if self.t_rec_tai.tzinfo is not None or self.t_rec_tai.microsecond:
            raise ValueError(f"t_rec_tai must be naive and in whole seconds, got {self.t_rec_tai!r}")

    @classmethod
    def parse(cls, text: str, *, where: object = "frame name", fix: str = "correct or remove the line") -> FrameId:
        """Parse ``hmi.sharp_720s.<HARP>.<yyyymmdd_hhmmss>_TAI.magnetogram``.

        Parameters
        ----------
        text
            The published name, without a file's suffix.
        where
            The place that an error names, such as a file and line.
        fix
            The remedy that an error names, where none fits the text better.

        Raises
        ------
        InputError
            If the name is not of that form, or its date does not exist or is before 1970.

        Examples
        --------
        >>> FrameId.parse("hmi.sharp_720s.377.20110213_000000_TAI.magnetogram").harp
        377
        """
        fields = split_name(text)
        time = parse_stamp(fields[1]) if fields else None
        if fields is None or time is None:
            raise InputError(
                where,
                expected="a name of the form hmi.sharp_720s.<HARP>.<yyyymmdd_hhmmss>_TAI.magnetogram",
                found=repr(text[:120]),
                fix=_remedy(text) or fix,
            )
        if time.year < _FIRST_YEAR:
            raise InputError(where, expected=f"a year from {_FIRST_YEAR} on", found=repr(text), fix=fix)
        return cls(harp=fields[0], t_rec_tai=time)

    @property
    def name(self) -> str:
        """Published name of the frame, without a file's suffix."""
        return f"{SERIES}.{self.harp}.{format_stamp(self.t_rec_tai)}_TAI.magnetogram"

    @property
    def image_name(self) -> str:
        """File name of the frame's published image."""
        return self.name + IMAGE_SUFFIX


def split_name(name: str) -> tuple[int, str] | None:
    """Return the HARP number and the time ``yyyymmdd_hhmmss`` in a frame's name, or None if the text is none.

    The time has the form of one, but may not exist.
    """
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[1]), match[2])


def _remedy(text: str) -> str | None:
    """Return the remedy for a text that is nearly a frame's name."""
    match = _NAME.search(text)
    if match is not None and parse_stamp(match[2]) is not None:
        surplus = text[: match.start()] or text[match.end() :]
        return f"leave out {surplus[:40]!r}"
    if "_nrt." in text:
        return "use frames of the definitive series; near-real-time HARP numbers are other numbers"
    if re.match(r"hmi\.sharp_cea_720s\.", text):
        return "write hmi.sharp_720s, as in the published names and those that `sffshards ingest` writes"
    return None
