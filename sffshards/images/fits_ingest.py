"""Convert a folder of FITS files to images in the published layout."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from sffshards.base.errors import Field, ImageError, InputError
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frames import HARP_NUMBERS, FrameId, HarpNumbers
from sffshards.executors import IN_PROCESS, Executor
from sffshards.images.fits_files import OpenFits, opened_fits, read_field, read_fits_bytes
from sffshards.images.fits_finding import find_fits
from sffshards.images.fits_headers import POOR_QUALITY, FrameHeader, parse_header, read_keywords
from sffshards.images.grey_scales import scale_field
from sffshards.images.harp_numbers import choose_harp_numbers
from sffshards.images.image_files import MIN_SIDE, write_picture
from sffshards.images.ingest_options import BadQuality, FitsOptions, choose_on_grid
from sffshards.images.ingest_record import Ingested, IngestReport, claimed_images

Result = TypeVar("Result")

MAX_BAD_SHARE = 0.5
"""Share of the files that may be skipped as bad; with more, the folder is likely to be the wrong one."""
_GROUP = 32
"""Files read or converted together where sending takes long."""


_MAX_GAUSS = 8000
"""Largest field that a pixel can have; HMI measures up to some 5,000 G in sunspots."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file to read."""

    path: Path
    keywords: Mapping[str, object]
    options: FitsOptions
    image: Path = Path()
    """Path of the image to write."""

    def opened(self, data: bytes) -> AbstractContextManager[OpenFits]:
        """Open the content of the file, as `opened_fits` does."""
        return opened_fits(
            data,
            where=self.path,
            keywords=self.keywords,
            component=self.options.component,
            ignore_datasum=self.options.ignore_datasum,
        )


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
    executor: Executor = IN_PROCESS,
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
    executor
        Where files are read and images written. The images do not depend on it.
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
    paths, others = find_fits(source, series=options.series)
    keywords = read_keywords(source if source.is_dir() else source.parent).files
    files = {path.name: _File(path=path, keywords=keywords.get(path.name, {}), options=options) for path in paths}
    executor.check_places(reads=[source], writes=[])
    headers = dict(_try_each("FITS files", _check_file, files, executor=executor, progress=progress))
    bad = {name: result for name, result in headers.items() if isinstance(result, ImageError)}
    for error in bad.values():
        progress.note(error)
    _refuse_bad(bad, source, len(files), skip_bad=skip_bad)
    chosen, left_out = _choose((found for found in headers.values() if isinstance(found, _Found)), options)
    left_out |= others
    record = options.as_record() | {HARP_NUMBERS: str(_check_chosen(chosen, left_out, source))}
    skipped = {name: _reason(error) for name, error in bad.items()}
    with claimed_images(out, record, force=force, progress=progress) as folder:
        executor.check_places(reads=[source], writes=[out])
        folder.pass_over((*files, *others), left_out=left_out, skipped=skipped)
        missing = {
            name: replace(files[look.path.name], image=folder.path_of(name))
            for name, look in chosen.items()
            if not folder.has(name, source=look.path.name, sha256=look.sha256)
        }
        num_written = 0
        for name, result in _try_each("magnetograms", _write_image, missing, executor=executor, progress=progress):
            if isinstance(result, Ingested):
                folder.add(name, result)
                num_written += 1
            elif skip_bad:
                progress.note(result)
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


def _try_each(
    what: str,
    function: Callable[[_File], Result],
    files: Mapping[str, _File],
    *,
    executor: Executor,
    progress: Progress,
) -> Iterator[tuple[str, Result | ImageError]]:
    """Call a function on every file ; yield each name with the result or the error."""
    with progress.task(what, len(files)) as advance:
        for name, result in zip(
            files, executor.run(partial(_try, function), files.values(), group=_GROUP), strict=True
        ):
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
    header = None
    with file.opened(data) as opened:
        if opened.segment != file.options.component:
            left_out = f"shows {opened.segment}"
        else:
            header = parse_header(
                opened.get, where=file.path, needs_quality=file.options.bad_quality is BadQuality.DROP
            )
            left_out = _find_fault(file, opened, header)
    return _Found(path=file.path, sha256=hashlib.sha256(data).hexdigest(), header=header, left_out=left_out)


def _find_fault(file: _File, opened: OpenFits, header: FrameHeader) -> str:
    """Return why the frame of a file is of no use, or nothing."""
    if header.quality >= POOR_QUALITY and file.options.bad_quality is BadQuality.DROP:
        return "of poor quality"
    if opened.is_too_small:
        return f"fewer than {MIN_SIDE} pixels a side"
    field = read_field(opened, header, where=file.path)
    share = f"more than {file.options.max_empty_percent:g} % of the pixels"
    is_empty = ~np.isfinite(field) | (field == 0)
    if 100 * np.count_nonzero(is_empty) > file.options.max_empty_percent * field.size:
        return f"{share} zero or without a value"
    if 100 * np.count_nonzero(is_empty | (np.abs(field) > _MAX_GAUSS)) > file.options.max_empty_percent * field.size:
        return f"{share} without a value or beyond {_MAX_GAUSS} G, as where -32768 means none"
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


def _check_chosen(chosen: Mapping[str, _Found], left_out: Mapping[str, str], source: Path) -> HarpNumbers:
    """Check that there are frames, all of one projection and numbering; return which HARP numbers they have."""
    if not chosen:
        reasons = sorted(Counter(left_out.values()).items())
        raise InputError(
            source,
            expected="a frame to take",
            found=", ".join(f"{count} left out: {reason}" for reason, count in reasons) or "none",
            fix="look at {component}, {bad_quality}, {max_empty_percent}, {cadence} (or take `all`) and {tolerance}",
        )
    headers = {look.path.name: look.header for look in chosen.values() if look.header is not None}
    kinds = {header.is_cea: name for name, header in headers.items()}
    if len(kinds) > 1:
        raise InputError(
            source,
            expected="magnetograms of one projection",
            found=f"{kinds[True]} on a cylinder and {kinds[False]} as the camera saw it",
            fix="choose hmi.sharp_720s or hmi.sharp_cea_720s as the {series}",
        )
    return choose_harp_numbers({name: header.harp_numbers for name, header in headers.items()})


def _write_image(file: _File) -> Ingested:
    """Write the image of a file, whole or not at all."""
    data = read_fits_bytes(file.path)
    with file.opened(data) as opened:
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
