"""Image files: decode, check, resize to a frame, write."""

from __future__ import annotations

import errno
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from xxhash import xxh3_64_hexdigest

from sffshards.base.atomic_files import read_exactly, replacing, storage_errors
from sffshards.base.errors import ImageError, StorageError
from sffshards.base.file_reading import opened
from sffshards.domain.frames import FRAME_SIDE

MIN_SIDE = 16
"""Smallest side of an image in pixels; the smallest SHARP patches are several times that."""

MAX_PIXELS = 1 << 26
"""Largest number of pixels of an image: four times that of HMI's full disk."""

_MAX_BYTES = 1 << 26
"""Largest size of an image file; the published ones take 30 kB."""

_READABLE = "an image that can be read"
_EXPECTED = "an 8-bit grey JPEG"
_FIX = "replace the image, or build with {skip_bad_images}"
_FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "BMP")
"""Formats that are recognised, so that an error can name them; only JPEG is accepted."""

_HEAD_BYTES = 4096
"""Bytes that hold the whole header of a plain grey JPEG."""

_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM}
"""Errors of the system that concern one file rather than the disk."""

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"

_SEAL_OFFSET = 20
"""Where the checksum is in images that this package writes: in a comment behind the JFIF header."""
_SEAL_START = b"\xff\xfe\x00\x21sffshards xxh3 "
_SEAL_BYTES = len(_SEAL_START) + 16


def read_frame(path: Path) -> NDArray[np.uint8]:
    """Read an image file and resize it to a frame.

    Returns
    -------
    uint8 array of shape (224, 224)

    Raises
    ------
    ImageError
        If the file is missing, or not an 8-bit grey JPEG that decodes whole.
    """
    return resize_frame(decode_image(read_bytes(path), where=path))


def read_bytes(path: Path | str) -> bytes:
    """Read an image's bytes, or raise `ImageError` where there is no such file."""
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > _MAX_BYTES:
            raise _bad(path, f"{size} bytes", expected=f"an image file of at most {_MAX_BYTES} bytes")
        data = bytearray(size)
        return bytes(data[: read_exactly(descriptor, [data], 0)])


def decode_image(data: bytes, *, where: object) -> NDArray[np.uint8]:
    """Decode an 8-bit grey JPEG whole.

    Parameters
    ----------
    data
        The file's bytes.
    where
        The place that an error names.

    Returns
    -------
    uint8 array of shape (height, width)

    Raises
    ------
    ImageError
        If the bytes are empty, truncated, of another format or mode, of an unusable size, or do not match the checksum
        that `write_picture` added.
    """
    _check_seal(data, where)
    if not _is_plain(data):
        _explain(data, where)  # Pillow takes longer, and knows more of what is wrong
    try:
        # Unlike Pillow's decoder, this one takes libjpeg's warnings of damaged data for errors.
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="GRAY")
    except ValueError as error:
        raise _bad(where, str(error).lower(), expected="a JPEG that decodes whole") from None
    return pixels[..., 0]


def check_image(path: Path | str) -> None:
    """Check the format, mode, size and end marker of an image by its first and last bytes.

    The whole file is read only where these do not suffice: its header may be long, or bytes may follow the marker.

    Raises
    ------
    ImageError
        As `read_frame`.
    """
    with _opened(path) as descriptor:
        head = os.pread(descriptor, _HEAD_BYTES, 0)
        tail = os.pread(descriptor, len(_JPEG_END), max(0, os.fstat(descriptor).st_size - len(_JPEG_END)))
    if _is_plain(head) and tail == _JPEG_END:
        return
    data = read_bytes(path)
    _explain(data, path)
    if tail != _JPEG_END:
        decode_image(data, where=path)


def resize_frame(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize a grey image to a frame by antialiased bilinear interpolation.

    The filter is that of ``torchvision.transforms.v2.functional.resize(..., antialias=True)`` on floats, rounded once
    at the end. Pillow's own 8-bit path rounds between the two directions and is off by up to one level.

    Parameters
    ----------
    image
        uint8 array of shape (height, width).

    Returns
    -------
    uint8 array of shape (224, 224), within 0.51 of torchvision's float result.
    """
    source = Image.fromarray(image).convert("F")
    resized = source.resize((FRAME_SIDE, FRAME_SIDE), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(resized)).astype(np.uint8)


def write_picture(grey: NDArray[np.uint8], path: Path, *, jpeg_quality: int) -> None:
    """Write an 8-bit grey JPEG with a checksum in it; it appears under its name only when it is complete.

    Parameters
    ----------
    grey
        uint8 array of shape (height, width).
    path
        The file.
    jpeg_quality
        1 to 95.

    Raises
    ------
    StorageError
        If the system refuses.
    """
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, format="JPEG", quality=jpeg_quality)
    with replacing(path, sync=False) as temporary:
        temporary.write_bytes(_seal(buffer.getvalue()))


def _seal(data: bytes) -> bytes:
    """Return a JPEG with the XXH3-64 of its other bytes in a comment: most damage of a JPEG decodes to other pixels."""
    checksum = xxh3_64_hexdigest(data).encode("ascii")
    return data[:_SEAL_OFFSET] + _SEAL_START + checksum + data[_SEAL_OFFSET:]


def _check_seal(data: bytes, where: object) -> None:
    """Raise `ImageError` if an image that this package wrote has changed; others have no checksum."""
    if not data.startswith(_SEAL_START, _SEAL_OFFSET):
        return
    end = _SEAL_OFFSET + _SEAL_BYTES
    if data[end - 16 : end] != xxh3_64_hexdigest(data[:_SEAL_OFFSET] + data[end:]).encode("ascii"):
        raise _bad(where, "other bytes than were written", expected="the image that its checksum describes")


@contextmanager
def _opened(path: Path | str) -> Iterator[int]:
    """Open a descriptor of an image file, without the layers above it, which take longer than a small file."""
    try:
        with storage_errors(path, expected=_READABLE), opened(path, os.O_RDONLY, expected=_READABLE) as descriptor:
            yield descriptor
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _NO_FILE:
            raise _bad(path, "no such file" if cause.errno == errno.ENOENT else error.found) from None
        raise


def _is_plain(data: bytes) -> bool:
    """Return whether the header is that of a grey JPEG of a usable size."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return False
    return bool(colorspace == "Gray") and is_usable_size(width, height)


def is_usable_size(width: int, height: int) -> bool:
    """Return whether an image is neither too small nor too large."""
    return min(width, height) >= MIN_SIDE and width * height <= MAX_PIXELS


def _explain(data: bytes, where: object) -> None:
    """Raise `ImageError` unless the header is that of a grey JPEG of a usable size."""
    if not data:
        raise _bad(where, "an empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        found = "a JPEG whose header is truncated" if data.startswith(_JPEG_START) else "bytes that are no image"
        raise _bad(where, found) from None
    if image.format != "JPEG" or image.mode != "L":
        raise _bad(where, f"a {image.format} of mode {image.mode}", expected=f"{_EXPECTED} (mode L)")
    width, height = image.size
    if not is_usable_size(width, height):
        expected = f"at least {MIN_SIDE} pixels a side and at most {MAX_PIXELS} in all"
        raise _bad(where, f"{width}x{height}", expected=expected)


def _bad(where: object, found: str, *, expected: str = _EXPECTED) -> ImageError:
    return ImageError(where, expected=expected, found=found, fix=_FIX)
