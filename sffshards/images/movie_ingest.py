"""A movie of one region to images in the published layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import ImageError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frames import FrameId
from sffshards.domain.times import format_duration
from sffshards.images.frame_decoding import MAX_PIXELS, MIN_SIDE
from sffshards.images.grey_scales import invert_colours
from sffshards.images.image_writing import write_picture
from sffshards.images.ingest_options import Colours
from sffshards.images.ingest_record import Ingested, IngestReport, claimed_images

__all__ = ["MOVIE_SUFFIXES", "MovieOptions", "ingest_movie", "parse_crop"]

MOVIE_SUFFIXES = frozenset({".mp4", ".mpg", ".mpeg", ".m4v"})
_FIX = "fetch the movie again, or say --frames as many as it has"


@dataclass(frozen=True, kw_only=True, slots=True)
class MovieOptions:
    """What a movie shows, and where in its pictures."""

    harp: int
    start_tai: datetime
    """Time of the first picture."""
    cadence: timedelta
    """From picture to picture."""
    crop: tuple[int, int, int, int] | None
    """Left, top, width and height of the magnetogram in pixels; None for the whole picture."""
    colours: Colours
    jpeg_quality: int
    """1 to 95."""
    num_frames: int | None
    """As many pictures as there must be; None for as many as the movie says."""

    def __post_init__(self) -> None:
        if self.crop is not None and min(self.crop[2:]) < MIN_SIDE:
            raise InputError(
                "--crop",
                expected=f"at least {MIN_SIDE} pixels a side",
                found=f"{self.crop[2]}x{self.crop[3]}",
                fix="give left,top,width,height in pixels",
            )

    def as_record(self) -> dict[str, str | float | int | None]:
        """Give the options as the record holds them; those of one movie are not another's, and are not in it."""
        return {
            "kind": "movie",
            "cadence": format_duration(self.cadence),
            "crop": None if self.crop is None else ",".join(str(number) for number in self.crop),
            "colours": self.colours.value,
            "jpeg_quality": self.jpeg_quality,
        }


def parse_crop(text: str) -> tuple[int, int, int, int]:
    """Parse ``left,top,width,height``; raises `InputError` if it is not of that form.

    Examples
    --------
    >>> parse_crop("62,468,365,157")
    (62, 468, 365, 157)
    """
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 4 or not all(number.isascii() and number.isdigit() and len(number) < 6 for number in numbers):
        raise InputError(
            "--crop",
            expected="left,top,width,height in pixels, such as 62,468,365,157",
            found=repr(text[:40]),
            fix="write four whole numbers",
        )
    left, top, width, height = (int(number) for number in numbers)
    return left, top, width, height


def ingest_movie(
    source: Path,
    out: Path,
    *,
    options: MovieOptions,
    force: bool = False,
    progress: Progress = SILENT,
) -> IngestReport:
    """Show the pictures of a movie as images in the published layout, ``out/magnetogram_jpg/``.

    Parameters
    ----------
    source
        An mp4 or mpg file that decord reads.
    out
        The data folder to make or to add to.
    options
        What it shows.
    force
        Whether to begin anew where ``out`` holds other images.
    progress
        Told how far it is.

    Raises
    ------
    ImageError
        If it cannot be read, has fewer pictures than it says or than ``options`` say, or a smaller one than the crop.
    ConflictError
        If ``out`` holds other images.
    StorageError
        If the system refuses.
    """
    sha256 = hash_file(source, expected="a movie that can be read")
    reader = _open(source, options.num_frames)
    num_pictures = len(reader)
    times = _list_times(num_pictures, options)
    ingested = Ingested(source=source.name, sha256=sha256)
    num_written = 0
    with (
        claimed_images(out, options.as_record(), force=force, progress=progress) as folder,
        progress.task("pictures", num_pictures) as advance,
    ):
        pictures = list(_pictures(reader, num_pictures, source, options))  # all, before the first is written
        for time, grey in zip(times, pictures, strict=True):
            name = FrameId(harp=options.harp, t_rec_tai=time).name
            if not folder.has(name, source=source.name, sha256=sha256):
                write_picture(grey, folder.path_of(name), jpeg_quality=options.jpeg_quality)
                folder.add(name, ingested)
                num_written += 1
            advance(1)
        return IngestReport(
            num_images=len(folder.frames),
            num_written=num_written,
            num_kept=num_pictures - num_written,
            left_out={},
            num_bad=0,
        )


def _list_times(num_pictures: int, options: MovieOptions) -> list[datetime]:
    try:
        return [options.start_tai + number * options.cadence for number in range(num_pictures)]
    except OverflowError:
        raise InputError(
            "--start",
            expected="pictures of times before the year 10000",
            found=f"{num_pictures}, one each {format_duration(options.cadence)} from {options.start_tai} on",
            fix="check it, and --cadence",
        ) from None


def _open(source: Path, num_frames: int | None) -> Any:
    decord = _import_decord()
    decord.logging.set_level(decord.logging.QUIET)
    try:
        # A picture that does not decode is an error: decord would show another in its place.
        reader = decord.VideoReader(str(source), ctx=decord.cpu(0), num_threads=1, fault_tol=1)
    except (decord.DECORDError, RuntimeError, OSError) as error:
        raise _bad(source, "a movie that decord reads", f"none ({_last_line(error)})") from None
    if num_frames is not None and len(reader) != num_frames:
        raise _bad(source, f"{num_frames} pictures", f"{len(reader)}")
    return reader


def _pictures(reader: Any, num_pictures: int, source: Path, options: MovieOptions) -> Iterator[NDArray[np.uint8]]:
    """Give every picture as grey, in order."""
    decord = _import_decord()
    for number in range(num_pictures):
        try:
            picture = reader.next().asnumpy()
        except (decord.DECORDError, RuntimeError, IndexError, StopIteration):
            raise _bad(source, f"{num_pictures} pictures, as it says itself", f"{number} that decode") from None
        yield invert_colours(_cut(picture, source, options), colours=options.colours)


def _cut(picture: NDArray[np.uint8], source: Path, options: MovieOptions) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    left, top, cut_width, cut_height = options.crop or (0, 0, width, height)
    if left + cut_width > width or top + cut_height > height or width * height > MAX_PIXELS:
        raise ImageError(
            source,
            expected=f"pictures that hold {cut_width}x{cut_height} pixels from {left},{top} on",
            found=f"some of {width}x{height}",
            fix="give another --crop",
        )
    return picture[top : top + cut_height, left : left + cut_width]


def _import_decord() -> Any:
    try:
        return import_module("decord")
    except ImportError as error:
        raise InputError(
            "movies",
            expected="decord, which decodes them, and is published for Linux on x86-64 and for Windows",
            found=str(error),
            fix="ingest the movie on another machine",
        ) from None


def _last_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[-1][:100]


def _bad(source: Path, expected: str, found: str) -> ImageError:
    return ImageError(source, expected=expected, found=found, fix=_FIX)
