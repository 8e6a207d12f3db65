"""Convert a movie of one region to images in the published layout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from sffshards.images.image_files import MAX_PIXELS, MIN_SIDE, write_picture
from sffshards.images.ingest_options import Colours
from sffshards.images.ingest_record import Ingested, IngestReport, claimed_images

MOVIE_SUFFIXES = frozenset({".mp4", ".mpg", ".mpeg", ".m4v"})
_CROP = re.compile(",".join([r"\s*(\d{1,5})\s*"] * 4), re.ASCII)
_FIX = "fetch the movie again, or set {num_frames} to as many as it has"


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
        If the movie cannot be read, has fewer pictures than it states or than ``options`` state, or a smaller one
        than the crop.
    ConflictError
        If ``out`` holds other images.
    StorageError
        If the system refuses.
    """
    sha256 = hash_file(source, expected="a movie that can be read")
    num_pictures = _count_pictures(source, options.num_frames)
    names = _name_frames(num_pictures, options)
    ingested = Ingested(source=source.name, sha256=sha256)
    num_written = 0
    with (
        claimed_images(out, options.as_record(), force=force, progress=progress) as folder,
        progress.task("pictures", num_pictures) as advance,
    ):
        pictures = list(_read_pictures(source, num_pictures, options))  # all, before the first is written
        for name, grey in zip(names, pictures, strict=True):
            if not folder.has(name, source=source.name, sha256=sha256):
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


def _count_pictures(source: Path, num_expected: int | None) -> int:
    """Return the number of pictures that a movie states, or of those that are stored where it states none."""
    with _opened(source) as (container, stream):
        num_pictures = int(stream.frames) or sum(packet.size > 0 for packet in container.demux(stream))
    if num_expected is not None and num_pictures != num_expected:
        raise _bad(source, f"{num_expected} pictures", f"{num_pictures}")
    return num_pictures


def _read_pictures(source: Path, num_pictures: int, options: MovieOptions) -> Iterator[NDArray[np.uint8]]:
    """Decode every picture as grey, in order."""
    import av

    with _opened(source) as (container, stream):
        stream.codec_context.options = {"err_detect": "explode"}  # or FFmpeg conceals damage, and shows something else
        num_decoded = 0
        with suppress(av.FFmpegError):
            for frame in container.decode(stream):
                yield invert_colours(_crop(frame.to_ndarray(format="rgb24"), source, options), colours=options.colours)
                num_decoded += 1
        if num_decoded != num_pictures:
            raise _bad(source, f"{num_pictures} pictures, as it states itself", f"{num_decoded} that decode")


def _crop(picture: NDArray[np.uint8], source: Path, options: MovieOptions) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    left, top, crop_width, crop_height = options.crop or (0, 0, width, height)
    if left + crop_width > width or top + crop_height > height or width * height > MAX_PIXELS:
        raise ImageError(
            source,
            expected=f"pictures that hold {crop_width}x{crop_height} pixels from {left},{top} on",
            found=f"some of {width}x{height}",
            fix="choose another {crop}",
        )
    return picture[top : top + crop_height, left : left + crop_width]


@contextmanager
def _opened(source: Path) -> Iterator[tuple[Any, Any]]:
    """Open a movie with PyAV: the container and its first video stream."""
    import av

    try:
        container = av.open(str(source))
    except (av.FFmpegError, ValueError) as error:
        raise _bad(source, "a movie that FFmpeg reads", f"none ({error})"[:160]) from None
    with container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise _bad(source, "a movie", "a file without pictures that can be decoded")
        yield container, container.streams.video[0]


def _bad(source: Path, expected: str, found: str) -> ImageError:
    return ImageError(source, expected=expected, found=found, fix=_FIX)
