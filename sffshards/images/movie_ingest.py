"""Convert a movie of one region to images in the published layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import Field, ImageError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frames import FrameId
from sffshards.domain.times import format_duration
from sffshards.images.grey_scales import invert_colours
from sffshards.images.image_files import MIN_SIDE, write_picture
from sffshards.images.ingest_options import Colours
from sffshards.images.ingest_record import Ingested, IngestReport, claimed_images

_SUFFIXES = (".mp4", ".m4v", ".mpg", ".mpeg")
_OTHER_KINDS = re.compile(r"\.(3gp|apng|asf|avi|f4v|flv|gif|m2ts|m2v|mkv|mov|mts|ogv|qt|rm|ts|vob|webm|webp|wmv)")
_MAX_PIXELS = 1 << 24
"""Largest number of pixels of a picture: those of HMI's full disk."""
_CROP = re.compile(",".join([r"\s*(\d{1,5})\s*"] * 4), re.ASCII)
_FETCH_AGAIN = "fetch the movie again, or make it again if it is yours"


@dataclass(frozen=True, kw_only=True, slots=True)
class MovieOptions:
    """Region and times of a movie, and the place of the magnetogram in its pictures."""

    harp: int
    start_tai: datetime
    """Time of the first picture."""
    cadence: timedelta
    """Time between pictures."""
    crop: tuple[int, int, int, int] | None
    """Left, top, width and height of the magnetogram in pixels; None for the whole picture."""
    colours: Colours
    jpeg_quality: int
    """JPEG quality of the images, 1 to 95."""
    num_frames: int | None
    """Number of pictures that the movie must have; None for as many as it has."""

    def __post_init__(self) -> None:
        if self.crop is not None and min(self.crop[2:]) < MIN_SIDE:
            raise InputError(
                Field("crop"),
                expected=f"sides of at least {MIN_SIDE} pixels",
                found=f"{self.crop[2]}x{self.crop[3]}",
                fix="write left,top,width,height in pixels",
            )

    def as_record(self) -> dict[str, str | float | int | None]:
        """Return the options as ``ingest.json`` holds them, without those that differ from movie to movie."""
        return {
            "kind": "movie",
            "cadence": format_duration(self.cadence),
            "crop": None if self.crop is None else ",".join(str(number) for number in self.crop),
            "colours": self.colours.value,
            "jpeg_quality": self.jpeg_quality,
        }


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


def parse_crop(text: str) -> tuple[int, int, int, int]:
    """Parse ``left,top,width,height``; raises `InputError` if the text is not of that form.

    Examples
    --------
    >>> parse_crop("62,468,365,157")
    (62, 468, 365, 157)
    """
    match = _CROP.fullmatch(text)
    if match is None:
        raise InputError(
            Field("crop"),
            expected="left,top,width,height in pixels, such as 62,468,365,157",
            found=repr(text[:40]),
            fix="write four whole numbers",
        )
    left, top, width, height = (int(number) for number in match.groups())
    return left, top, width, height


def ingest_movie(
    source: Path, out: Path, *, options: MovieOptions, force: bool = False, progress: Progress = SILENT
) -> IngestReport:
    """Write the pictures of a movie as images in the published layout, ``out/magnetogram_jpg/``.

    Parameters
    ----------
    source
        An mp4 or mpg file.
    out
        The data folder to create or to add to.
    options
        Region and times of the movie, and the place of the magnetogram in its pictures.
    force
        Whether to start from scratch where ``out`` holds other images.
    progress
        Receives the number of pictures.

    Raises
    ------
    ImageError
        If the movie cannot be read, is damaged, has another number of pictures than it states or than ``options``
        state, or pictures that are larger than HMI's full disk or smaller than the crop.
    ConflictError
        If ``out`` holds other images.
    StorageError
        If the system refuses.
    """
    sha256 = hash_file(source, expected="a movie that can be read")
    num_pictures = _count_pictures(source)
    if options.num_frames not in (None, num_pictures):
        raise ImageError(
            source,
            expected=f"{options.num_frames} pictures",
            found=f"{num_pictures}",
            fix="check that it is the right movie, or set {num_frames} to as many as it has",
        )
    names = _name_frames(num_pictures, options)
    for _ in _read_pictures(source, num_pictures, options):
        pass  # all are decoded once before the first is written, and a second time instead of being held in memory
    ingested = Ingested(source=source.name, sha256=sha256)
    num_written = 0
    with (
        claimed_images(out, options.as_record(), force=force, progress=progress) as folder,
        progress.task("pictures", num_pictures) as advance,
    ):
        pictures = _read_pictures(source, num_pictures, options)
        for name, picture in zip(names, pictures, strict=True):
            if not folder.has(name, source=source.name, sha256=sha256):
                grey = invert_colours(picture(), colours=options.colours)
                write_picture(grey, folder.path_of(name), jpeg_quality=options.jpeg_quality)
                folder.add(name, ingested)
                num_written += 1
            advance(1)
        return IngestReport(
            num_images=len(folder.record.frames),
            num_written=num_written,
            num_kept=num_pictures - num_written,
            left_out={},
            num_bad=0,
        )


def _name_frames(num_pictures: int, options: MovieOptions) -> list[str]:
    try:
        times = [options.start_tai + number * options.cadence for number in range(num_pictures)]
    except OverflowError:
        raise InputError(
            Field("start"),
            expected="times of pictures before the year 10000",
            found=f"{num_pictures}, one each {format_duration(options.cadence)} from {options.start_tai} on",
            fix="check it, and {cadence}",
        ) from None
    return [FrameId(harp=options.harp, t_rec_tai=time).name for time in times]


def _count_pictures(source: Path) -> int:
    """Return the number of pictures that a movie shows: those that are stored, without those that it cuts away."""
    with _opened(source, ignore_editlist="1") as (container, stream):
        num_stated = int(stream.frames)
        num_stored = sum(packet.size > 0 for packet in container.demux(stream))
    if num_stated not in (0, num_stored):
        raise _bad(
            source, f"{num_stated} pictures, as it states itself", f"{num_stored} that are stored: it is damaged"
        )
    with _opened(source) as (container, stream):
        return sum(packet.size > 0 and not packet.is_discard for packet in container.demux(stream))


def _read_pictures(source: Path, num_pictures: int, options: MovieOptions) -> Iterator[Callable[[], NDArray[np.uint8]]]:
    """Decode every picture, in order; yield functions that return its crop as RGB, of shape (height, width, 3)."""
    import av

    with _opened(source) as (container, stream):
        # Otherwise FFmpeg conceals damage, and shows something else.
        stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(_MAX_PIXELS)}
        num_decoded = 0
        with suppress(av.FFmpegError):
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    break
                _check_size(frame, source, options)
                yield partial(_crop, frame, options)
                num_decoded += 1
        if num_decoded != num_pictures:
            raise _bad(
                source, f"{num_pictures} pictures, as it states itself", f"{num_decoded} that decode: it is damaged"
            )


def _check_size(frame: Any, source: Path, options: MovieOptions) -> None:
    width, height = frame.width, frame.height
    left, top, crop_width, crop_height = options.crop or (0, 0, width, height)
    if left + crop_width > width or top + crop_height > height:
        raise ImageError(
            source,
            expected=f"pictures that hold {crop_width}x{crop_height} pixels from {left},{top} on",
            found=f"some of {width}x{height}",
            fix="choose another {crop}",
        )


def _crop(frame: Any, options: MovieOptions) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    left, top, width, height = options.crop or (0, 0, frame.width, frame.height)
    return picture[top : top + height, left : left + width]


@contextmanager
def _opened(source: Path, **options: str) -> Iterator[tuple[Any, Any]]:
    """Open a movie with PyAV and options of FFmpeg: the container and its first video stream."""
    import av

    try:
        container = av.open(str(source), options=options)
    except (av.FFmpegError, ValueError) as error:
        raise _bad(source, "a movie that FFmpeg reads", f"none ({error})"[:160]) from None
    with container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise _bad(source, "a movie", "a file without pictures that can be decoded")
        stream = container.streams.video[0]
        size = stream.codec_context.width, stream.codec_context.height
        if size[0] * size[1] > _MAX_PIXELS:
            raise ImageError(
                source,
                expected=f"pictures of at most {_MAX_PIXELS} pixels, those of HMI's full disk",
                found=f"{size[0]}x{size[1]}",
                fix="make a smaller movie",
            )
        yield container, stream


def _bad(source: Path, expected: str, found: str) -> ImageError:
    return ImageError(source, expected=expected, found=found, fix=_FETCH_AGAIN)
