"""Files that look harmless and would fill the memory of a program that reads or unpacks them whole."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.fits_files import make_fits

__all__ = ["HOSTILE_FITS", "bomb_of_zeros", "list_of_many_lines", "zip_of_many_members", "zip_that_lies"]

TIME = "20120306_142400"


def bomb_of_zeros(head: bytes, body: bytes, size: int) -> bytes:
    """Pack a head and a repeated body of so many bytes by gzip, in little memory."""
    packer = zlib.compressobj(9, wbits=31)
    piece = body * (max(1, (1 << 20) // len(body)))
    parts = [packer.compress(head)]
    parts += [packer.compress(piece) for _ in range(size // len(piece))]
    return b"".join([*parts, packer.flush()])


def list_of_many_lines(path: Path, line: bytes, size: int, head: bytes = b"") -> Path:
    """Write a text of one line over and over."""
    piece = line * max(1, (1 << 20) // len(line))
    with path.open("wb") as file:
        file.write(head)
        for _ in range(size // len(piece)):
            file.write(piece)
    return path


def zip_of_many_members(path: Path, num_members: int) -> Path:
    """Write a zip with a directory of many empty members, each of a few bytes."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    size = len(entry) * num_members
    with path.open("wb") as file:
        for _ in range(num_members // 10_000):
            file.write(entry * 10_000)
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, num_members, num_members, size, 0))
        file.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, size, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    return path


def zip_that_lies(path: Path, name: str, method: int, unpacked: int, stated: int) -> Path:
    """Write a zip whose member states a size, and unpacks to more."""
    with zipfile.ZipFile(path, "w", method) as archive, archive.open(name, "w", force_zip64=False) as member:
        for _ in range(unpacked >> 20):
            member.write(bytes(1 << 20))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<L", unpacked), struct.pack("<L", stated)))
    return path


def _tiled(field: np.ndarray, **options: object) -> bytes:
    header = fits.open(io.BytesIO(make_fits(1449, TIME)))[1].header
    image = fits.CompImageHDU(field, header, **options)
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(buffer)
    return buffer.getvalue()


def _large(dtype: type, bits: int) -> bytes:
    """Return an uncompressed image of the largest size that is read, noisy in one row only."""
    field: np.ndarray = np.zeros((4096, 4096), dtype)
    field[0] = np.random.default_rng(0).integers(-500, 500, 4096)
    header = fits.open(io.BytesIO(make_fits(1449, TIME)))[1].header
    for keyword in ("XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"):
        header.remove(keyword, ignore_missing=True)
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(field, header)]).writeto(buffer, checksum=True)
    return buffer.getvalue()


def _restated(data: bytes, **keywords: int) -> bytes:
    """Change whole numbers in headers, without regard to the data."""
    for keyword, value in keywords.items():
        start = data.index(f"{keyword:8}= ".encode())
        data = data[: start + 10] + str(value).rjust(20).encode() + data[start + 30 :]
    return data


HOSTILE_FITS = {
    "tiles-of-zeros": lambda: _tiled(np.zeros((4096, 4096), np.int32), compression_type="RICE_1"),
    "tiles-gzip": lambda: _tiled(np.zeros((4096, 4096), np.int32), compression_type="GZIP_1", tile_shape=(4096, 4096)),
    "tiles-doubles": lambda: _tiled(np.ones((4096, 4096)), compression_type="GZIP_2", quantize_level=0.0),
    "tile-larger-than-image": lambda: _restated(make_fits(1449, TIME), ZTILE1=60_000, ZTILE2=60_000),
    "tiled-200-gigapixels": lambda: _restated(make_fits(1449, TIME), ZNAXIS1=500_000, ZNAXIS2=500_000),
    "tiles-many": lambda: _tiled(np.zeros((4096, 4096), np.int32), compression_type="RICE_1", tile_shape=(1, 16)),
    "doubles": lambda: _large(np.float64, -64),
    "longs": lambda: gzip.compress(_large(np.int64, 64), 1),
    "heap": lambda: _restated(make_fits(1449, TIME), PCOUNT=1 << 40),
    "table-rows": lambda: _restated(make_fits(1449, TIME), NAXIS2=1 << 30),
    "gzip-300-megabytes": lambda: bomb_of_zeros(make_fits(1449, TIME), bytes(1), 300 << 20),
}
