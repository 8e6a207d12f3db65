"""Find FITS files, and read their headers and their fields with north up and west right."""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ImageError, InputError, SffshardsError
from sffshards.images.fits_headers import FrameHeader, GetKeyword, series_of
from sffshards.images.image_files import is_usable_size

_MAX_BYTES = 1 << 30
"""Largest size of a file, unpacked; a segment of a SHARP takes a few megabytes."""
_BLOCK_BYTES = 2880
"""Size of the blocks that FITS files consist of."""
_FITS_NAME = re.compile(r"[^.].*\.(fits|fit|fts)(\.(gz|fz))?|[^.].*\.fz", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_FIX = "fetch it again, or pass {skip_bad}"


def find_fits(source: Path, *, series: str | None) -> list[Path]:
    """Return the FITS files of a folder, or a single one; of one JSOC series, if it is named.

    Raises
    ------
    InputError
        If there is none.
    """
    with storage_errors(source, expected="a folder of FITS files"):
        paths = sorted(source.iterdir()) if source.is_dir() else [source] if source.is_file() else []
    files = [path for path in paths if _FITS_NAME.fullmatch(path.name)]
    wanted = [path for path in files if series in (None, series_of(path.name))]
    if not wanted:
        of_series = f" of {series}" if files else ""
        raise InputError(
            source,
            expected=f"FITS files{of_series} (.fits, .fits.gz, .fz)",
            found="none" if source.exists() else "no such folder",
            fix="check the path, or fetch some with `sffshards fetch jsoc`",
        )
    return wanted


def read_fits_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises
    ------
    ImageError
        If it is empty, or too large for a SHARP.
    StorageError
        If the system refuses.
    """
    with storage_errors(path, expected="a FITS file that can be read"):
        size = path.stat().st_size
        if not 0 < size <= _MAX_BYTES:
            raise _bad(path, "an empty file" if not size else f"{size} bytes")
        return path.read_bytes()


@contextmanager
def opened_fits(data: bytes, *, where: Path, keywords: Mapping[str, object]) -> Iterator[tuple[GetKeyword, Any]]:
    """Open a FITS file from memory, and find its image.

    Parameters
    ----------
    data
        The file, compressed by gzip or not; its image may be tile-compressed.
    where
        The place that an error names.
    keywords
        Keywords from beside the file, used where its own header lacks them.

    Yields
    ------
    A function that returns the value of a keyword, and astropy's image, whose pixels are not read yet.

    Raises
    ------
    ImageError
        If there is no such image or the file is incomplete; also where astropy raises an error in the block.
    """
    from astropy.io import fits

    plain = _unpack(data, where)
    try:
        # JSOC writes cards such as `GWILL = nan`, of which astropy warns; a short file is an error below.
        with (
            warnings.catch_warnings(record=True, action="always") as said,
            fits.open(io.BytesIO(plain), memmap=False, checksum=True) as units,
        ):
            image = _find_image(units, len(plain), where)
            if any(str(warning.message).startswith("Datasum verification failed") for warning in said):
                raise _bad(where, "pixels that do not agree with the header's DATASUM")
            yield _keyword_getter(image.header, keywords), image
    except SffshardsError:
        raise
    except (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, fits.VerifyError,
            RuntimeError, MemoryError, zlib.error) as error:  # fmt: skip
        blank = not plain[:_BLOCK_BYTES].strip(b"\0")
        found = "zero bytes where its header should be" if blank else f"one that cannot be read ({_first_line(error)})"
        raise _bad(where, found) from None


def read_field(image: Any, header: FrameHeader, *, where: Path) -> NDArray[np.float32]:
    """Read the pixels of an image, with north up and west right.

    Returns
    -------
    float32 array of shape (height, width), in gauss, its first row the northernmost; NaN where nothing was observed

    Raises
    ------
    ImageError
        If no pixel has a value, or all have the same.
    """
    pixels = np.asarray(image.data, np.float32)
    finite = pixels[np.isfinite(pixels)]
    if finite.size == 0:
        raise _bad(where, "no pixel that is a number")
    if finite.min() == finite.max():
        raise _bad(where, f"the same value {finite[0]:g} in every pixel")
    return np.flip(pixels, tuple(axis for axis, is_flipped in enumerate(header.flips) if is_flipped))


def _unpack(data: bytes, where: Path) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(where, f"a gzip file that is damaged ({_first_line(error)})") from None
    if len(plain) > _MAX_BYTES:
        raise _bad(where, f"a gzip file that unpacks to more than {_MAX_BYTES} bytes")
    return plain


def _find_image(units: Any, num_bytes: int, where: Path) -> Any:
    """Return the first unit with an image of two axes, after checking that it is complete."""
    for unit in units:
        if unit.header.get("NAXIS") != 2 or not unit.is_image:
            continue
        width, height = int(unit.header["NAXIS1"]), int(unit.header["NAXIS2"])
        if not is_usable_size(width, height):
            raise _bad(where, f"an image of {width}x{height} pixels")
        place = unit.fileinfo()
        end = place["datLoc"] + place["datSpan"]
        if end > num_bytes:
            raise _bad(where, f"{num_bytes} bytes of {end}: it is truncated")
        return unit
    raise _bad(where, "a FITS file without an image of two axes")


def _keyword_getter(header: Any, keywords: Mapping[str, object]) -> GetKeyword:
    from astropy.io.fits import VerifyError
    from astropy.io.fits.card import Undefined

    def get(name: str) -> object:
        with suppress(VerifyError):  # a card that is not valid FITS, such as an unquoted nan
            value: object = header.get(name)
            if value is not None and not isinstance(value, Undefined):
                return value
        return keywords.get(name)

    return get


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def _bad(where: object, found: str) -> ImageError:
    return ImageError(where, expected="a complete FITS file with an image of field", found=found, fix=_FIX)
