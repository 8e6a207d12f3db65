"""JPEG film strips put together from frames that were encoded once, to the very bytes of the strip encoded whole.

A frame is in up to sixteen sequences, and its blocks are transformed and coded alike in all of them. Only two things
depend on what stands before a frame: the code of its first DC coefficient, which is of the difference from the block
before, and where in a byte its bits begin (ITU-T T.81, F.1.2). So a frame is kept as its first and last DC coefficient
and all bits after the code of the first; joining writes that code anew and shifts the bits. Nothing of it is lossy.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sffshards.records import FRAME_SIDE, NUM_FRAMES

__all__ = ["STRIP_QUALITY", "encode_frames", "encode_strip", "join_frames"]

STRIP_QUALITY = 95
"""Of the JPEGs, as libjpeg counts it."""

_SIDE = 8
"""Of a block, in pixels."""
_NUM_ACROSS = FRAME_SIDE // _SIDE
_GREY = 128
"""Of pixels whose coefficients are all zero."""
_NUM_AT_ONCE = 64
"""Frames encoded as one image; the format's 16 bits of height allow 282."""
_HUFFMAN_TABLES, _START_OF_SCAN = 0xC4, 0xDA
_DC_CLASS, _AC_CLASS = 0x00, 0x10
_END_OF_IMAGE = b"\xff\xd9"
_END_OF_BLOCK = 0x00
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
"""Coded data has a zero after every 0xFF of its own."""
_HEAD = struct.Struct(">hhI")
"""A kept frame's first and last DC coefficient, and the number of its bits; these follow."""


def encode_strip(frames: NDArray[np.uint8]) -> bytes:
    """Encode frames, uint8 of shape (n, 224, 224), as one grey JPEG, 224 wide and n x 224 high."""
    return _encode(frames.reshape(-1, FRAME_SIDE))


def encode_frames(frames: NDArray[np.uint8]) -> list[bytes]:
    """Encode frames, uint8 of shape (n, 224, 224), each to bytes for `join_frames` that depend on no other."""
    kept: list[bytes] = []
    for start in range(0, len(frames), _NUM_AT_ONCE):
        kept += _encode_some(frames[start : start + _NUM_AT_ONCE])
    return kept


def join_frames(frames: Sequence[bytes]) -> bytes:
    """Give the JPEG that `encode_strip` makes of 16 frames that `encode_frames` encoded."""
    if len(frames) != NUM_FRAMES:
        raise ValueError(f"a strip has {NUM_FRAMES} frames, got {len(frames)}")
    coding = _coding()
    data = np.zeros(sum(map(len, frames)), np.uint8)  # each frame's numbers leave room for its first code
    end = before = 0
    for frame in frames:
        first, last, num_bits = _HEAD.unpack_from(frame)
        code, length = coding.code_difference(first - before)
        _put(data, end, np.frombuffer(_align(code, length), np.uint8))
        _put(data, end + length, np.frombuffer(frame, np.uint8, offset=_HEAD.size))
        end, before = end + length + num_bits, last
    num_bytes = -(-end // 8)
    data[num_bytes - 1] |= (1 << (8 * num_bytes - end)) - 1
    return b"".join((coding.header, data[:num_bytes].tobytes().replace(b"\xff", b"\xff\x00"), _END_OF_IMAGE))


def _encode_some(frames: NDArray[np.uint8]) -> list[bytes]:
    """Encode up to 64 frames, parted by restart markers, each with a row of grey blocks at its end.

    The bits of those blocks are known and end in a zero, so that where the frame ends is known too; the ones that fill
    the last byte would else leave that open.
    """
    num = len(frames)
    longer = np.full((num, FRAME_SIDE + _SIDE, FRAME_SIDE), _GREY, np.uint8)
    longer[:, :FRAME_SIDE] = frames
    scans = _encode_parted(longer.reshape(-1, FRAME_SIDE), num=num)
    corners = np.ascontiguousarray(frames[:, -_SIDE:, -_SIDE:]).reshape(-1, _SIDE)
    coding = _coding()
    last = [coding.read_first(scan)[0] for scan in _encode_parted(corners, num=num)]
    return [_keep(scan, dc, coding) for scan, dc in zip(scans, last, strict=True)]


def _keep(scan: bytes, last: int, coding: _Coding) -> bytes:
    first, start = coding.read_first(scan)
    num_grey = coding.code_difference(-last)[1] + (_NUM_ACROSS - 1) * coding.code_difference(0)[1]
    num_fill = _count_trailing_ones(scan[-1])
    end = 8 * len(scan) - num_fill - num_grey - _NUM_ACROSS * coding.num_end_bits
    bits = np.zeros(len(scan) + 1, np.uint8)
    bits[:-1] = np.frombuffer(scan, np.uint8)
    if end % 8:
        bits[end // 8] &= 0xFF << (8 - end % 8) & 0xFF
    bits[-(-end // 8) :] = 0
    skip, shift = divmod(start, 8)
    shifted = bits[skip:-1] << shift | bits[skip + 1 :] >> (8 - shift) if shift else bits[skip:-1]
    return _HEAD.pack(first, last, end - start) + shifted[: -(-(end - start) // 8)].tobytes()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Coding:
    """What the encoder writes in front of every strip, and how it codes."""

    header: bytes
    categories: tuple[tuple[int, int], ...]
    """Code of each category of DC differences, and its length in bits."""
    num_end_bits: int
    """Length of the code that ends a block."""

    def code_difference(self, difference: int) -> tuple[int, int]:
        """Give the bits that stand for a difference of DC coefficients, and their number (T.81, F.1.2.1)."""
        category = abs(difference).bit_length()
        code, length = self.categories[category]
        value = difference if difference >= 0 else difference + (1 << category) - 1
        return code << category | value, length + category

    def read_first(self, scan: bytes) -> tuple[int, int]:
        """Read the DC coefficient that coded data begins with, and give where its code ends."""
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
    """Read Huffman tables (T.81, B.2.4.2 and C.2): by class, the code and its length of each symbol."""
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
    """Encode an image in ``num`` equal parts that know nothing of each other; give the bits of each."""
    jpeg = _encode(pixels, blocks_apart=pixels.size // (num * _SIDE * _SIDE))
    start = jpeg.index(b"\xff\xda")
    (length,) = struct.unpack_from(">H", jpeg, start + 2)
    parts = _RESTART.split(jpeg[start + 2 + length : -len(_END_OF_IMAGE)])
    return [part.replace(b"\xff\x00", b"\xff") for part in parts]


def _align(code: int, length: int) -> bytes:
    """Give bits as bytes, from the first one's highest bit on."""
    num_bytes = -(-length // 8)
    return (code << (8 * num_bytes - length)).to_bytes(num_bytes, "big")


def _put(data: NDArray[np.uint8], position: int, bits: NDArray[np.uint8]) -> None:
    """Put bits, zero beyond their end, at a position in zeros that is counted in bits."""
    start, shift = divmod(position, 8)
    if not shift:
        data[start : start + len(bits)] |= bits
        return
    data[start : start + len(bits)] |= bits >> shift
    data[start + 1 : start + 1 + len(bits)] |= bits << (8 - shift)


def _count_trailing_ones(byte: int) -> int:
    return (~byte & byte + 1).bit_length() - 1
