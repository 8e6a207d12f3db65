"""Movie files: which are read, how many pictures they show, and their first video stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ImageError, InputError
from sffshards.base.file_reading import reading

_SUFFIXES = (".mp4", ".m4v", ".mpg", ".mpeg")
_OTHER_KINDS = re.compile(r"\.(3gp|apng|asf|avi|f4v|flv|gif|m2ts|m2v|mkv|mov|mts|ogv|qt|rm|ts|vob|webm|webp|wmv)")
MAX_PIXELS = 1 << 24
"""Largest number of pixels of a picture: those of HMI's full disk."""
_MAX_BYTES = 1 << 33
"""Largest size of a movie; 2,000 pictures of a patch take some 100 MB."""
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,m4v"
"""Formats that FFmpeg may find in a movie: others are playlists, which name further files and addresses."""
_MAX_PICTURES = 1 << 20
"""Largest number of pictures, and of sounds, of a movie."""
_TABLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz")
"""Boxes of an mp4 file, each within the one before, down to the table of sizes, for which FFmpeg allocates memory."""
_FETCH_AGAIN = "fetch the movie again, or make it again if it is yours"


def is_movie(source: Path) -> bool:
    """Return whether the name of a file is that of a movie; raises `InputError` for a kind that is not read.

    Examples
    --------
    >>> is_movie(Path("harp7117.mp4")), is_movie(Path("fits"))
    (True, False)
    """
    suffix = source.suffix.lower()
    if _OTHER_KINDS.fullmatch(suffix) and not source.is_dir():
        raise InputError(
            source,
            expected=f"a movie ({', '.join(_SUFFIXES)}), or FITS files",
            found=f"a movie of a kind that is not read ({suffix})",
            fix=f"convert it, as in: ffmpeg -i {source.name} {source.stem}.mp4",
        )
    return suffix in _SUFFIXES


def check_movie_file(source: Path) -> None:
    """Raise `ImageError` if a file is larger than a movie can be, or states more pictures than one can have."""
    with storage_errors(source, expected="a movie that can be read"):
        size = source.stat().st_size
    if size > _MAX_BYTES:
        expected = f"a movie of at most {_MAX_BYTES:,} bytes"
        raise ImageError(source, expected=expected, found=f"{size:,}", fix="check that it is a movie of one region")
    with reading(source, expected="a movie that can be read") as file:
        stated = max(_list_counts(file, 0, size, _TABLE), default=0)
    if stated > _MAX_PICTURES:
        expected = f"at most {_MAX_PICTURES:,} pictures"
        raise ImageError(source, expected=expected, found=f"{stated:,}", fix="check that it is a movie of one region")


def _list_counts(file: IO[bytes], start: int, end: int, boxes: tuple[bytes, ...]) -> Iterator[int]:
    """Yield how many pictures or sounds each track of an mp4 file states; none for other files."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        size, num_read = (int.from_bytes(head[8:], "big"), 16) if size == 1 else (size or end - start, 8)
        if size < num_read:
            return
        if head[4:8] == boxes[0] and len(boxes) > 1:
            yield from _list_counts(file, start + num_read, min(start + size, end), boxes[1:])
        elif head[4:8] == b"cmov":
            raise bad_movie(file.name, "a movie whose table of pictures is not packed", "a packed one")
        elif head[4:8] == boxes[0]:
            file.seek(start + num_read + 8)  # behind the version, the flags and the size of all
            yield int.from_bytes(file.read(4), "big")
        start += size


def count_pictures(source: Path) -> int:
    """Return the number of pictures that a movie shows: those that are stored, without those that it cuts away."""
    with opened_movie(source, ignore_editlist="1") as (container, stream):
        num_stated = int(stream.frames)
        num_stored = sum(packet.size > 0 for packet in container.demux(stream))
    if num_stated not in (0, num_stored):
        raise bad_movie(
            source, f"{num_stated} pictures, as it states itself", f"{num_stored} that are stored: it is damaged"
        )
    with opened_movie(source) as (container, stream):
        return sum(packet.size > 0 and not packet.is_discard for packet in container.demux(stream))


@contextmanager
def opened_movie(source: Path, **options: str) -> Iterator[tuple[Any, Any]]:
    """Open a movie with PyAV and options of FFmpeg: the container and its first video stream."""
    import av

    try:
        container = av.open(str(source), options={"format_whitelist": _FORMATS, **options})
    except (av.FFmpegError, ValueError) as error:
        raise bad_movie(source, "a movie that FFmpeg reads", f"none ({error})"[:160]) from None
    with container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise bad_movie(source, "a movie", "a file without pictures that can be decoded")
        stream = container.streams.video[0]
        size = stream.codec_context.width, stream.codec_context.height
        if size[0] * size[1] > MAX_PIXELS:
            raise ImageError(
                source,
                expected=f"pictures of at most {MAX_PIXELS} pixels, those of HMI's full disk",
                found=f"{size[0]}x{size[1]}",
                fix="make a smaller movie",
            )
        yield container, stream


def bad_movie(source: object, expected: str, found: str) -> ImageError:
    """Return the error of a movie that is damaged or none."""
    return ImageError(source, expected=expected, found=found, fix=_FETCH_AGAIN)
