"""Convert a movie of one region to images in the published layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from sffshards.domain.times import check_past, format_duration
from sffshards.images.grey_scales import invert_colours
from sffshards.images.image_files import MIN_SIDE, write_picture
from sffshards.images.ingest_options import Colours
from sffshards.images.ingest_record import Ingested, IngestReport, claimed_images
from sffshards.images.movie_files import MAX_PIXELS, bad_movie, check_movie_file, count_pictures, opened_movie

_CROP = re.compile(",".join([r"\s*(\d{1,5})\s*"] * 4), re.ASCII)


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
        If the movie cannot be read, is damaged, has another number of pictures than it states or than ``options``
        state, or pictures that are larger than HMI's full disk or smaller than the crop.
    ConflictError
        If ``out`` holds other images.
    StorageError
        If the system refuses.
    """
    check_movie_file(source)
    sha256 = hash_file(source, expected="a movie that can be read")
    num_pictures = count_pictures(source)
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
        check_past(times[-1], where=Field("start"), fix="check it, and {cadence}")
    except OverflowError:
        raise InputError(
            Field("start"),
            expected="times of pictures before the year 10000",
            found=f"{num_pictures}, one each {format_duration(options.cadence)} from {options.start_tai} on",
            fix="check it, and {cadence}",
        ) from None
    return [FrameId(harp=options.harp, t_rec_tai=time).name for time in times]


def _read_pictures(source: Path, num_pictures: int, options: MovieOptions) -> Iterator[Callable[[], NDArray[np.uint8]]]:
    """Decode every picture, in order; yield functions that return its crop as RGB, of shape (height, width, 3)."""
    import av

    with opened_movie(source) as (container, stream):
        # Otherwise FFmpeg conceals damage, and shows something else.
        stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
        num_decoded = 0
        with suppress(av.FFmpegError):
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    break
                _check_size(frame, source, options)
                yield partial(_crop, frame, options)
                num_decoded += 1
        if num_decoded != num_pictures:
            raise bad_movie(
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
