"""JPEG film strips spliced from frames that were encoded once; the bytes equal those of the strip encoded as a whole.

A frame is in up to sixteen sequences, and its blocks are transformed and coded alike in all of them. Only two things
depend on the frame before it (ITU-T T.81, F.1.2): the code of its first DC coefficient, which encodes the difference
from the previous block, and the bit at which its data begin in a byte. So frames are stored as the bits of one strip of
all of them, and consecutive frames are a piece of that strip. Joining pieces rewrites the first code of each and shifts
the bits. A sequence is one piece unless it has gaps or repeats frames. No step is lossy.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE

STRIP_QUALITY = 95
"""JPEG quality on libjpeg's scale."""

PLACE_DTYPE = np.dtype([("start", "<u8"), ("rest", "<u8"), ("end", "<u8"), ("first", "<i2"), ("last", "<i2")])
"""Place of an encoded frame, in bits: ``start`` of the code of its first DC coefficient, start of the ``rest``, which
does not depend on the frame before, and ``end``; and its ``first`` and ``last`` DC coefficient."""

_SIDE = 8
"""Side of a block in pixels."""
_NUM_ACROSS = FRAME_SIDE // _SIDE
_GREY = 128
"""Grey level whose coefficients are all zero."""
_NUM_AT_ONCE = 64
"""Frames encoded as one image; the format's 16 bits of height allow 282."""
_CODE_BYTES = 4
"""Upper bound of the size of the code of a DC coefficient."""
_HUFFMAN_TABLES, _START_OF_SCAN = 0xC4, 0xDA
_DC_CLASS, _AC_CLASS = 0x00, 0x10
_END_OF_IMAGE = b"\xff\xd9"
_END_OF_BLOCK = 0x00
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
"""Restart markers; coded data has a zero after each 0xFF of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Consecutive encoded frames."""

    data: bytes | memoryview
    """Bytes that contain the bits of the frames, possibly among others."""
    rest: int
    """Bit after the code of the first frame's first DC coefficient: ``rest`` of `PLACE_DTYPE`."""
    end: int
    """Bit at which the last frame ends."""
    first: int
    """First DC coefficient of the first frame."""
    last: int
    """Last DC coefficient of the last frame."""
    num_frames: int = 1


def encode_strip(frames: NDArray[np.uint8]) -> bytes:
    """Encode frames, uint8 of shape (n, 224, 224), as one grey JPEG, 224 wide and n x 224 high."""
    return _encode(frames.reshape(-1, FRAME_SIDE))


def encode_frames(frames: Iterable[NDArray[np.uint8]]) -> tuple[bytes, NDArray[np.void]]:
    """Encode frames for `join_pieces`.

    Parameters
    ----------
    frames
        n frames, each uint8 of shape (224, 224); consumed a few at a time.

    Returns
    -------
    data, places
        The bits of all frames, concatenated, and the place of each: `PLACE_DTYPE` of shape (n,).
    """
    longer = np.full((_NUM_AT_ONCE, FRAME_SIDE + _SIDE, FRAME_SIDE), _GREY, np.uint8)
    encoded: list[Piece] = []
    remaining = iter(frames)
    while some := list(islice(remaining, _NUM_AT_ONCE)):
        for place, frame in zip(longer, some, strict=False):
            place[:FRAME_SIDE] = frame
        encoded += _encode_some(longer[: len(some)])
    strip = _Bits(encoded)
    places = np.zeros(len(encoded), PLACE_DTYPE)
    for number, piece in enumerate(encoded):
        places[number] = (*strip.add(piece), piece.first, piece.last)
    return strip.to_bytes(), places


def join_pieces(pieces: Sequence[Piece]) -> bytes:
    """Return the JPEG that `encode_strip` makes of the 16 frames of all pieces.

    Raises
    ------
    ValueError
        If the pieces do not have 16 frames: the header of a strip states its height.
    """
    if (num := sum(piece.num_frames for piece in pieces)) != NUM_FRAMES:
        raise ValueError(f"a strip has {NUM_FRAMES} frames, got {num}")
    strip = _Bits(pieces)
    for piece in pieces:
        strip.add(piece)
    data = strip.to_bytes(fill=1).replace(b"\xff", b"\xff\x00")
    return b"".join((_coding().header, data, _END_OF_IMAGE))


class _Bits:
    """Coded data of a growing strip of some pieces; all bits after its end are zero."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        max_bytes = sum((piece.end - piece.rest) // 8 + 1 + _CODE_BYTES for piece in pieces)
        self._data = np.zeros(max_bytes + 2, np.uint8)  # one more byte at each side, which shifts may touch
        self._end = 8
        self._last = 0

    def add(self, piece: Piece) -> tuple[int, int, int]:
        """Append a piece, coded as the successor of the last one; return start, start of the rest, and end."""
        start = self._end - 8
        code, length = _coding().code_difference(piece.first - self._last)
        self._put_code(code, length)
        rest = self._end - 8
        self._put_bits(piece.data, piece.rest, piece.end)
        self._last = piece.last
        return start, rest, self._end - 8

    def to_bytes(self, *, fill: int = 0) -> bytes:
        """Return the bytes; the last one is filled up with bits of value ``fill``."""
        num_bytes = -(-self._end // 8)
        if fill:
            self._data[num_bytes - 1] |= (1 << (8 * num_bytes - self._end)) - 1
        return self._data[1:num_bytes].tobytes()

    def _put_code(self, code: int, length: int) -> None:
        byte, shift = divmod(self._end, 8)
        num_bytes = -(-(shift + length) // 8)
        for value in (code << 8 * num_bytes - shift - length).to_bytes(num_bytes, "big"):
            self._data[byte] |= value
            byte += 1
        self._end += length

    def _put_bits(self, source: bytes | memoryview, start: int, end: int) -> None:
        first = start // 8
        bits = np.frombuffer(source, np.uint8, -(-end // 8) - first, first).copy()
        bits[0] &= 0xFF >> start % 8
        bits[-1] &= 0xFF << -end % 8 & 0xFF
        byte, shift = divmod(self._end - start % 8, 8)
        self._data[byte : byte + len(bits)] |= bits >> shift
        if shift:
            bits *= 1 << (8 - shift)  # numpy's left shift of bytes takes ten times as long
            self._data[byte + 1 : byte + 1 + len(bits)] |= bits
        self._end += end - start


def _encode_some(longer: NDArray[np.uint8]) -> list[Piece]:
    """Encode up to 64 frames, each with a row of grey blocks below it, separated by restart markers.

    The bits of the grey blocks are known and end in a zero, which locates the end of the frame. Without them it could
    not be told from the ones that fill up the last byte.
    """
    num = len(longer)
    scans = _encode_parted(longer.reshape(-1, FRAME_SIDE), num=num)
    corners = np.ascontiguousarray(longer[:, FRAME_SIDE - _SIDE : FRAME_SIDE, -_SIDE:]).reshape(-1, _SIDE)
    coding = _coding()
    last = [coding.read_first(scan)[0] for scan in _encode_parted(corners, num=num)]
    return [_without_grey(scan, dc, coding) for scan, dc in zip(scans, last, strict=True)]


def _without_grey(scan: bytes, last: int, coding: _Coding) -> Piece:
    """Return the piece of a frame, given its coded data followed by grey blocks."""
    first, rest = coding.read_first(scan)
    num_grey = coding.code_difference(-last)[1] + (_NUM_ACROSS - 1) * coding.code_difference(0)[1]
    num_fill = _count_trailing_ones(scan[-1])
    end = 8 * len(scan) - num_fill - num_grey - _NUM_ACROSS * coding.num_end_bits
    return Piece(data=scan, rest=rest, end=end, first=first, last=last)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Coding:
    """Header and code tables that the encoder uses for every strip."""

    header: bytes
    categories: tuple[tuple[int, int], ...]
    """Code of each category of DC differences, and the length of the code in bits."""
    num_end_bits: int
    """Length of the code that ends a block."""

    def code_difference(self, difference: int) -> tuple[int, int]:
        """Return the bits that encode a difference of DC coefficients, and their number (T.81, F.1.2.1)."""
        category = abs(difference).bit_length()
        code, length = self.categories[category]
        value = difference if difference >= 0 else difference + (1 << category) - 1
        return code << category | value, length + category

    def read_first(self, scan: bytes) -> tuple[int, int]:
        """Return the DC coefficient that coded data begins with, and the end of its code."""
        window = int.from_bytes(scan[:4].ljust(4, b"\0"), "big")
        for category, (code, length) in enumerate(self.categories):
            if window >> (32 - length) == code:
                end = length + category
                value = window >> (32 - end) & (1 << category) - 1
                return value if value >> max(category - 1, 0) else value - (1 << category) + 1, end
        raise AssertionError("coded data begins with no code")  # pragma: no cover


@cache
def _coding() -> _Coding:
    jpeg = _encode(np.zeros((NUM_FRAMES * FRAME_SIDE, FRAME_SIDE), np.uint8))
    tables: dict[int, dict[int, tuple[int, int]]] = {}
    position = 2
    while (marker := jpeg[position + 1]) != _START_OF_SCAN:
        (length,) = struct.unpack_from(">H", jpeg, position + 2)
        if marker == _HUFFMAN_TABLES:
            tables |= _read_tables(jpeg[position + 4 : position + 2 + length])
        position += 2 + length
    (length,) = struct.unpack_from(">H", jpeg, position + 2)
    codes = tables[_DC_CLASS]
    return _Coding(
        header=jpeg[: position + 2 + length],
        categories=tuple(codes[category] for category in range(len(codes))),
        num_end_bits=tables[_AC_CLASS][_END_OF_BLOCK][1],
    )


def _read_tables(segment: bytes) -> dict[int, dict[int, tuple[int, int]]]:
    """Return Huffman tables (T.81, B.2.4.2 and C.2): by class, the code of each symbol and its length."""
    tables = {}
    while segment:
        counts, symbols = segment[1:17], iter(segment[17:])
        table, code = {}, 0
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                table[next(symbols)] = code, length
                code += 1
            code <<= 1
        tables[segment[0]] = table
        segment = segment[17 + sum(counts) :]
    return tables


def _encode(pixels: NDArray[np.uint8], *, blocks_apart: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=STRIP_QUALITY, restart_marker_blocks=blocks_apart)
    return buffer.getvalue()


def _encode_parted(pixels: NDArray[np.uint8], *, num: int) -> list[bytes]:
    """Encode an image in ``num`` equal, independent parts; return the bits of each."""
    jpeg = _encode(pixels, blocks_apart=pixels.size // (num * _SIDE * _SIDE))
    start = jpeg.index(b"\xff\xda")
    (length,) = struct.unpack_from(">H", jpeg, start + 2)
    parts = _RESTART.split(jpeg[start + 2 + length : -len(_END_OF_IMAGE)])
    return [part.replace(b"\xff\x00", b"\xff") for part in parts]


def _count_trailing_ones(byte: int) -> int:
    return (~byte & byte + 1).bit_length() - 1
