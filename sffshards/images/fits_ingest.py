"""Convert a folder of FITS files to images in the published layout."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from sffshards.base.errors import Field, ImageError, InputError
from sffshards.base.progress import SILENT, Progress
from sffshards.base.worker_pool import WorkerPool
from sffshards.domain.frames import FrameId
from sffshards.images.fits_files import OpenFits, find_fits, opened_fits, read_field, read_fits_bytes
from sffshards.images.fits_headers import POOR_QUALITY, FrameHeader, parse_header, read_keywords
from sffshards.images.grey_scales import scale_field
from sffshards.images.image_files import MIN_SIDE, write_picture
from sffshards.images.ingest_options import BadQuality, FitsOptions
from sffshards.images.ingest_record import Ingested, IngestReport, claimed_images

Result = TypeVar("Result")

MAX_BAD_SHARE = 0.5
"""Share of the files that may be skipped as bad; with more, the folder is likely to be the wrong one."""

_EPOCH_TAI = datetime(1993, 1, 1)
"""Slots of a grid are counted from here, as JSOC counts its records."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file to read."""

    path: Path
    keywords: Mapping[str, object]
    options: FitsOptions
    image: Path = Path()
    """Path of the image to write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """The content of a file."""

    path: Path
    sha256: str
    header: FrameHeader | None
    """None where the file shows another component."""
    left_out: str
    """Reason for which the file is not wanted; empty if it is."""


def ingest_fits(
    source: Path,
    out: Path,
    *,
    options: FitsOptions,
    skip_bad: bool = False,
    force: bool = False,
    workers: int = 0,
    progress: Progress = SILENT,
) -> IngestReport:
    """Write SHARP magnetograms as images in the published layout, ``out/magnetogram_jpg/``.

    Images have north up, west right, and the size of the patch. Images that exist already from the same file and
    options are kept. ``out/ingest.json`` records the options and the files (SHA-256) that they were made from.

    Parameters
    ----------
    source
        A folder of FITS files of hmi.sharp_720s or hmi.sharp_cea_720s, compressed or not; or one such file.
    out
        The data folder to create or to add to.
    options
        Choice of frames, and their conversion to grey.
    skip_bad
        Whether to name, count and skip files that cannot be used; otherwise they are an error.
    force
        Whether to start from scratch where ``out`` holds other images.
    workers
        Number of processes; 0 does everything in this one. The images do not depend on it.
    progress
        Receives the number of files, and a line for each bad file.

    Raises
    ------
    InputError
        If there is no FITS file, a bad one that is not to be skipped, or too many of them.
    ConflictError
        If ``out`` holds other images.
    StorageError
        If the system refuses.
    """
    paths = find_fits(source, series=options.series)
    keywords = read_keywords(source if source.is_dir() else source.parent).files
    files = {path.name: _File(path=path, keywords=keywords.get(path.name, {}), options=options) for path in paths}
    with WorkerPool(workers if len(files) > 1 else 0) as pool:
        headers = dict(_try_each("FITS files", _check_file, files, pool=pool, progress=progress))
        bad = {name: result for name, result in headers.items() if isinstance(result, ImageError)}
        for error in bad.values():
            progress.note(str(error))
        _refuse_bad(bad, source, len(files), skip_bad=skip_bad)
        chosen, left_out = _choose((found for found in headers.values() if isinstance(found, _Found)), options)
        _check_chosen(chosen, left_out, source)
        with claimed_images(out, options.as_record(), force=force, progress=progress) as folder:
            folder.pass_over(files, left_out=left_out, skipped={name: _reason(error) for name, error in bad.items()})
            missing = {
                name: replace(files[look.path.name], image=folder.path_of(name))
                for name, look in chosen.items()
                if not folder.has(name, source=look.path.name, sha256=look.sha256)
            }
            num_written = 0
            for name, result in _try_each("magnetograms", _write_image, missing, pool=pool, progress=progress):
                if isinstance(result, Ingested):
                    folder.add(name, result)
                    num_written += 1
                elif skip_bad:
                    progress.note(str(result))
                    folder.record.skipped[missing[name].path.name] = _reason(result)
                else:
                    raise result
            num_bad = len(bad) + len(missing) - num_written
            _check_share(num_bad, len(files))
            return IngestReport(
                num_images=len(folder.record.frames),
                num_written=num_written,
                num_kept=len(chosen) - len(missing),
                left_out=Counter(left_out.values()),
                num_bad=num_bad,
            )


def choose_on_grid(frames: Iterable[FrameId], *, cadence: timedelta, tolerance: timedelta) -> set[FrameId]:
    """Return for each region and slot of the grid the frame nearest to it, the earlier of two that are as near.

    Parameters
    ----------
    frames
        Frames of any regions, in any order.
    cadence
        Time between slots.
    tolerance
        Longest time between a frame and its slot.

    Examples
    --------
    >>> times = [datetime(2012, 3, 6, 14, 12), datetime(2012, 3, 6, 14, 36), datetime(2012, 3, 6, 15)]
    >>> frames = [FrameId(harp=377, t_rec_tai=time) for time in times]
    >>> chosen = choose_on_grid(frames, cadence=timedelta(minutes=96), tolerance=timedelta(minutes=12))
    >>> [f"{frame.t_rec_tai:%H:%M}" for frame in chosen]
    ['14:12']
    """
    nearest: dict[tuple[int, int], tuple[timedelta, FrameId]] = {}
    for frame in frames:
        since = frame.t_rec_tai - _EPOCH_TAI
        slot = (since + cadence / 2) // cadence
        ranked = abs(since - slot * cadence), frame  # frames of a region are ordered by time
        place = frame.harp, slot
        if ranked[0] <= tolerance and (place not in nearest or ranked < nearest[place]):
            nearest[place] = ranked
    return {frame for _, frame in nearest.values()}


def _try_each(
    what: str, function: Callable[[_File], Result], files: Mapping[str, _File], *, pool: WorkerPool, progress: Progress
) -> Iterator[tuple[str, Result | ImageError]]:
    """Call a function on every file in the worker processes; yield each name with the result or the error."""
    with progress.task(what, len(files)) as advance:
        for name, result in zip(files, pool.run(partial(_try, function), files.values()), strict=True):
            yield name, result
            advance(1)


def _try(function: Callable[[_File], Result], file: _File) -> Result | ImageError:
    try:
        return function(file)
    except ImageError as error:
        return error


def _check_file(file: _File) -> _Found:
    """Read the header of a file, and its pixels if it is wanted."""
    data = read_fits_bytes(file.path)
    header, left_out = None, ""
    with opened_fits(data, where=file.path, keywords=file.keywords, options=file.options) as opened:
        if opened.segment != file.options.component:
            left_out = f"shows {opened.segment}"
        else:
            needs_quality = file.options.bad_quality is BadQuality.DROP
            header = parse_header(opened.get, where=file.path, needs_quality=needs_quality)
            left_out = _find_fault(file, opened, header)
    return _Found(path=file.path, sha256=hashlib.sha256(data).hexdigest(), header=header, left_out=left_out)


def _find_fault(file: _File, opened: OpenFits, header: FrameHeader) -> str:
    """Return why the frame of a file is of no use, or nothing."""
    if header.quality >= POOR_QUALITY and file.options.bad_quality is BadQuality.DROP:
        return "of poor quality"
    if opened.is_too_small:
        return f"fewer than {MIN_SIDE} pixels a side"
    field = read_field(opened, header, where=file.path)
    max_percent = file.options.max_empty_percent
    if 100 * np.count_nonzero(~np.isfinite(field) | (field == 0)) > max_percent * field.size:
        return f"more than {max_percent:g} % of the pixels zero or without a value"
    return ""


def _refuse_bad(bad: Mapping[str, ImageError], source: Path, num_files: int, *, skip_bad: bool) -> None:
    if bad and not skip_bad:
        raise InputError(
            source,
            expected="FITS files that can all be used",
            found=f"{len(bad)} of {num_files} that cannot: {', '.join(list(bad)[:5])}",
            fix="the lines above say what to do; {skip_bad} goes on without them",
        )
    _check_share(len(bad), num_files)


def _check_share(num_bad: int, num_files: int) -> None:
    if num_bad > MAX_BAD_SHARE * num_files:
        raise InputError(
            Field("skip_bad"),
            expected=f"at most {MAX_BAD_SHARE:.0%} of the files to be bad",
            found=f"{num_bad} of {num_files}",
            fix="check that this is the right folder, or fetch them again",
        )


def _choose(found: Iterable[_Found], options: FitsOptions) -> tuple[dict[str, _Found], dict[str, str]]:
    """Return the wanted files by the names of their frames, and for the others the reason by file name."""
    left_out: dict[str, str] = {}
    good: dict[FrameId, _Found] = {}
    for look in found:
        header = look.header
        if header is None or look.left_out:
            left_out[look.path.name] = look.left_out
        elif header.frame in good:
            raise InputError(
                look.path,
                expected="one file per frame",
                found=f"the same region and time as in {good[header.frame].path.name}",
                fix="remove one of them, or choose a {series}",
            )
        else:
            good[header.frame] = look
    chosen = set(good)
    if options.cadence is not None:
        chosen = choose_on_grid(good, cadence=options.cadence, tolerance=options.tolerance)
    left_out |= {good[frame].path.name: "not nearest to a slot of the grid" for frame in set(good) - chosen}
    return {frame.name: good[frame] for frame in sorted(chosen)}, left_out


def _check_chosen(chosen: Mapping[str, _Found], left_out: Mapping[str, str], source: Path) -> None:
    """Check that there are frames, all of one projection."""
    if not chosen:
        reasons = sorted(Counter(left_out.values()).items())
        raise InputError(
            source,
            expected="a frame to take",
            found=", ".join(f"{count} left out: {reason}" for reason, count in reasons) or "none",
            fix="look at {component}, {bad_quality}, {max_empty_percent}, {cadence} (or take `all`) and {tolerance}",
        )
    kinds = {look.header.is_cea: look.path for look in chosen.values() if look.header is not None}
    if len(kinds) > 1:
        raise InputError(
            source,
            expected="magnetograms of one projection",
            found=f"{kinds[True].name} on a cylinder and {kinds[False].name} as the camera saw it",
            fix="choose hmi.sharp_720s or hmi.sharp_cea_720s as the {series}",
        )


def _write_image(file: _File) -> Ingested:
    """Write the image of a file, whole or not at all."""
    data = read_fits_bytes(file.path)
    with opened_fits(data, where=file.path, keywords=file.keywords, options=file.options) as opened:
        header = parse_header(opened.get, where=file.path, needs_quality=False)
        field = read_field(opened, header, where=file.path)
    grey = scale_field(field, scale=file.options.scale, clip_gauss=file.options.clip_gauss)
    write_picture(grey, file.image, jpeg_quality=file.options.jpeg_quality)
    return Ingested(
        source=file.path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        quality=header.quality,
        num_missing=int(np.count_nonzero(~np.isfinite(field))),
        num_zero=int(np.count_nonzero(field == 0)),
        has_stale_datasum=opened.has_stale_datasum,
    )


def _reason(error: ImageError) -> str:
    return f"expected {error.expected}, found {error.found}"
