"""Find FITS files, and read their headers and their fields with north up and west right."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ImageError, SffshardsError
from sffshards.base.file_reading import name_other_format, read_bytes
from sffshards.images.fits_headers import FrameHeader, GetKeyword, segment_of_header, segment_of_name
from sffshards.images.image_files import MIN_SIDE

_MAX_BYTES = 1 << 28
"""Largest size of a file, unpacked; a segment of a SHARP takes a few megabytes, and all of them seldom 100."""
_MAX_PIXELS = 1 << 24
"""Largest number of pixels of a patch: those of HMI's full disk."""
_MAX_UNITS = 100
"""Largest number of images and tables in a file; a SHARP has about thirty segments."""
_MAX_TILES = 1 << 16
"""Largest number of tiles of a compressed image; JSOC makes a tile of each row."""
_MAX_HEADER_BYTES = 1 << 23
"""Largest size of all headers of a file; those of a SHARP with all segments take less than a megabyte."""
_BLOCK_BYTES = 2880
"""Size of the blocks that FITS files consist of."""
_GZIP = b"\x1f\x8b"
_FIX = "fetch it again, or pass {skip_bad}"
_FIX_LARGE = "check that it is a SHARP; remove it, or pass {skip_bad}"


def read_fits_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises
    ------
    ImageError
        If it is empty, or larger than a SHARP can be.
    StorageError
        If the system refuses.
    """
    with storage_errors(path, expected="a FITS file that can be read"):
        size = path.stat().st_size
        if not 0 < size <= _MAX_BYTES:
            raise _bad(path, "an empty file") if not size else _too_large(path, f"{size} bytes", _MAX_BYTES)
        return read_bytes(path)


class OpenFits(NamedTuple):
    """An open FITS file, and the image in it that was chosen."""

    get: GetKeyword
    """Function that returns the value of a keyword of the image."""
    image: Any
    """Astropy's image, whose pixels are not read yet."""
    segment: str
    """Segment that the image shows; several names if the file holds images of other segments only."""
    has_stale_datasum: bool = False
    """Whether the pixels disagree with the header's DATASUM."""

    @property
    def is_too_small(self) -> bool:
        """Whether the image has a side of fewer than `MIN_SIDE` pixels."""
        return bool(min(self.image.shape) < MIN_SIDE)


class _FitsBytes(io.BytesIO):
    """A file in memory whose headers, which astropy reads block by block, may not be larger than those of a SHARP."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.header_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes."""
        if size == _BLOCK_BYTES:
            self.header_bytes += _BLOCK_BYTES
            if self.header_bytes > _MAX_HEADER_BYTES:
                raise OSError("too long headers")  # astropy raises another error in its place
        return super().read(size)


@contextmanager
def opened_fits(
    data: bytes, *, where: Path, keywords: Mapping[str, object], component: str, ignore_datasum: bool
) -> Iterator[OpenFits]:
    """Open a FITS file from memory, and find the image of a component in it.

    Parameters
    ----------
    data
        The file, compressed by gzip or not; its image may be tile-compressed.
    where
        The place that an error names.
    keywords
        Keywords from beside the file, used where its own header lacks them.
    component
        Segment to choose if there are several images and the file's name states none.
    ignore_datasum
        Whether to take a file whose pixels disagree with its DATASUM.

    Raises
    ------
    ImageError
        If there is no such image, the file is incomplete, its name and header contradict each other, or it would unpack
        to more than a SHARP can have; also where astropy raises an error in the block.
    """
    from astropy.io import fits

    plain = _unpack(data, where)
    file = _FitsBytes(plain)
    try:
        # JSOC writes cards such as `GWILL = nan`, of which astropy warns; a short file is an error below.
        with (
            warnings.catch_warnings(action="ignore"),
            fits.open(file, memmap=False) as units,
        ):
            images = _list_images(units, keywords, where)
            chosen = _check_image(_choose_image(images, component, where), plain, where)
            if chosen.has_stale_datasum and not ignore_datasum:
                raise _stale(where)
            yield chosen
    except SffshardsError:
        raise
    except Exception as error:  # noqa: BLE001  astropy raises many classes, some of them defined in C
        if file.header_bytes > _MAX_HEADER_BYTES:
            raise _too_large(where, "headers of more bytes", _MAX_HEADER_BYTES) from None
        other = name_other_format(plain)
        if other is not None and not plain.startswith(b"SIMPLE"):
            fix = f"{other[1]}, or pass {{skip_bad}}"
            raise ImageError(where, expected="a FITS file", found=other[0], fix=fix) from None
        blank = not plain[:_BLOCK_BYTES].strip(b"\0")
        found = "zero bytes where its header should be" if blank else f"one that cannot be read ({_first_line(error)})"
        raise _bad(where, found) from None


def read_field(opened: OpenFits, header: FrameHeader, *, where: Path) -> NDArray[np.float32]:
    """Read the pixels of an image, with north up and west right.

    Returns
    -------
    float32 array of shape (height, width), in gauss, its first row the northernmost; NaN where nothing was observed

    Raises
    ------
    ImageError
        If no pixel has a value, or all have the same.
    """
    pixels = np.asarray(opened.image.data, np.float32)
    finite = pixels[np.isfinite(pixels)]
    if finite.size == 0:
        raise _bad(where, "no pixel that is a number")
    if finite.min() == finite.max():
        raise _bad(where, f"the same value {finite[0]:g} in every pixel")
    if header.gauss_per_unit != 1:
        pixels = pixels * np.float32(header.gauss_per_unit)
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
        raise _too_large(where, "a gzip file that unpacks to more bytes", _MAX_BYTES)
    return plain


def _list_images(units: Any, keywords: Mapping[str, object], where: Path) -> list[OpenFits]:
    """Return the images of two axes; segment is empty where an image's header states none."""
    images = []
    for number, unit in enumerate(units):
        if number == _MAX_UNITS:
            raise _too_large(where, "more images and tables", _MAX_UNITS)
        if unit.header.get("NAXIS") == 2 and unit.is_image:
            get = _keyword_getter(unit.header, keywords)
            images.append(OpenFits(get, unit, segment_of_header(get, where=where) or ""))
    return images


def _choose_image(images: list[OpenFits], component: str, where: Path) -> OpenFits:
    """Return the image of the segment that the file's name states, or else of the component."""
    named = segment_of_name(where.name)
    stated = [image.segment or "one of unknown segment" for image in images]
    matching = [image for image in images if image.segment == (named or component)]
    if len(images) == 1:
        image = images[0]
        if named and image.segment not in ("", named):
            raise ImageError(
                where,
                expected=f"an image of {named}, as the file is named",
                found=f"a header that says {image.segment}",
                fix="rename the file or correct the header, or pass {skip_bad}",
            )
        if not named and not image.segment:
            raise ImageError(
                where,
                expected="a name such as hmi.sharp_720s.<HARP>.<time>_TAI.magnetogram.fits, or the keyword SEGMENT",
                found="neither",
                fix="rename the file, or pass {skip_bad}",
            )
        return image._replace(segment=image.segment or str(named))
    if len(matching) == 1:
        return matching[0]
    if not images:
        raise _bad(where, "a FITS file without an image of two axes")
    if named or matching or not all(image.segment for image in images):
        raise ImageError(
            where,
            expected=f"one image whose EXTNAME or SEGMENT is {named or component}",
            found=f"{len(images)} images: {', '.join(stated[:5])}",
            fix="write EXTNAME to their headers or one image to a file, or pass {skip_bad}",
        )
    return images[0]._replace(segment=", ".join(stated[:5]))


def _check_image(opened: OpenFits, plain: bytes, where: Path) -> OpenFits:
    """Check that an image is complete, and not larger than a SHARP can be; compare it with its DATASUM."""
    from astropy.io import fits

    height, width = opened.image.shape
    if width * height > _MAX_PIXELS:
        raise _too_large(where, f"an image of {width}x{height} pixels", _MAX_PIXELS)
    place = opened.image.fileinfo()
    end = place["datLoc"] + place["datSpan"]
    if end > len(plain):
        raise _bad(where, f"{len(plain)} bytes of {end}: it is truncated")
    with fits.open(io.BytesIO(plain), memmap=False, disable_image_compression=True) as units:
        stored = next(unit for unit in units if unit.fileinfo()["datLoc"] == place["datLoc"])
        if isinstance(opened.image, fits.CompImageHDU):
            _check_tiles(stored, width * height * 8, where)
        return opened._replace(has_stale_datasum=stored.verify_datasum() == 0)


def _check_tiles(table: Any, max_bytes: int, where: Path) -> None:
    """Check that no tile compressed by gzip, which states no size, unpacks to more than the image."""
    if len(table.data) > _MAX_TILES:
        raise _too_large(where, f"an image of {len(table.data)} tiles", _MAX_TILES)
    is_gzip = str(table.header.get("ZCMPTYPE")).startswith("GZIP")
    for column in ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA")[not is_gzip :]:
        for tile in table.data[column] if column in table.columns.names else ():
            if len(zlib.decompressobj(wbits=31).decompress(bytes(tile), max_bytes + 1)) > max_bytes:
                raise _too_large(where, "a tile that unpacks to more bytes than the image", max_bytes)


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


def _stale(where: object) -> ImageError:
    return ImageError(
        where,
        expected="pixels that agree with the header's DATASUM",
        found="others: a program changed them and kept the old DATASUM, or the file is damaged",
        fix="pass {ignore_datasum} if you trust the file; else fetch it again, or pass {skip_bad}",
    )


def _too_large(where: object, found: str, limit: int) -> ImageError:
    return ImageError(where, expected="a file of the size of a SHARP", found=f"{found} (limit {limit})", fix=_FIX_LARGE)


def _bad(where: object, found: str) -> ImageError:
    return ImageError(where, expected="a complete FITS file with an image of field", found=found, fix=_FIX)
