"""A folder of FITS files to images in the published layout."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ImageError, InputError
from sffshards.base.progress import SILENT, Progress
from sffshards.base.worker_pool import WorkerPool
from sffshards.domain.frames import FrameId
from sffshards.domain.times import format_duration
from sffshards.images.fits_files import opened_fits, read_field, read_fits_bytes, read_keywords
from sffshards.images.fits_headers import POOR_QUALITY, FrameHeader, component_of, is_fits, parse_header, series_of
from sffshards.images.grey_scales import KNEE_GAUSS, scale_field
from sffshards.images.image_writing import write_picture
from sffshards.images.ingest_options import BadQuality, Component, Scale
from sffshards.images.ingest_record import Ingested, IngestFolder, IngestReport, claimed_images
from sffshards.images.time_grid import choose_on_grid

__all__ = ["MAX_BAD_SHARE", "FitsOptions", "ingest_fits"]

MAX_BAD_SHARE = 0.5
"""Share of the files that may be skipped as bad; with more, the folder is likely to be the wrong one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitsOptions:
    """Which frames are taken, and how they are shown."""

    component: Component
    scale: Scale
    clip_gauss: float
    """Field that is shown white; its negative is black."""
    jpeg_quality: int
    """1 to 95."""
    bad_quality: BadQuality
    cadence: timedelta | None
    """From slot to slot of the grid; None to take every frame."""
    tolerance: timedelta
    """By which a frame may miss its slot; no more than half a cadence."""
    series: str | None
    """Only files of this series, by their names; None for all."""

    def __post_init__(self) -> None:
        if not 0 < self.clip_gauss < 1e6:
            raise InputError("--clip-gauss", expected="a field above 0", found=f"{self.clip_gauss:g}", fix="change it")
        if not 1 <= self.jpeg_quality <= 95:
            raise InputError("--jpeg-quality", expected="1 to 95", found=str(self.jpeg_quality), fix="change it")
        if self.cadence is not None and 2 * self.tolerance > self.cadence:
            raise InputError(
                "--tolerance",
                expected=f"at most half of the cadence {format_duration(self.cadence)}",
                found=format_duration(self.tolerance),
                fix="give a smaller one, or --cadence all to take every frame",
            )

    def as_record(self) -> dict[str, str | float | int | None]:
        """Give the options as the record holds them."""
        return {
            "kind": "fits",
            "component": self.component.value,
            "scale": self.scale.value,
            "clip_gauss": self.clip_gauss,
            "knee_gauss": None if self.scale is Scale.LINEAR else KNEE_GAUSS,
            "jpeg_quality": self.jpeg_quality,
            "bad_quality": self.bad_quality.value,
            "cadence": None if self.cadence is None else format_duration(self.cadence),
            "tolerance": None if self.cadence is None else format_duration(self.tolerance),
            "series": self.series,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """A file to be looked at, or shown."""

    path: Path
    keywords: Mapping[str, object]
    options: FitsOptions
    image: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What a file is."""

    path: Path
    sha256: str = ""
    header: FrameHeader | None = None
    other: str | None = None
    """The component that it shows, where it is not the wanted one."""
    bad: ImageError | None = None


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
    """Show SHARP magnetograms as images in the published layout, ``out/magnetogram_jpg/``.

    Images have north up, west right, and the size of the patch. Frames that are there from the same file and options
    are kept. ``out/ingest.json`` says with which options and from which files (SHA-256) they were made.

    Parameters
    ----------
    source
        A folder of FITS files of hmi.sharp_720s or hmi.sharp_cea_720s, compressed or not; or one such file.
    out
        The data folder to make or to add to.
    options
        Which frames, and how.
    skip_bad
        Whether to name, count and pass over files that cannot be used; otherwise they end it.
    force
        Whether to begin anew where ``out`` holds other images.
    workers
        Number of processes; 0 does all in this one. The images do not depend on it.
    progress
        Told how far it is, and of each bad file in a line.

    Raises
    ------
    InputError
        If there is no FITS file, a bad one that is not to be skipped, or too many of them.
    ConflictError
        If ``out`` holds other images.
    StorageError
        If the system refuses.
    """
    paths = _list_files(source, options)
    keywords = read_keywords(source if source.is_dir() else source.parent)
    tasks = [_Task(path=path, keywords=keywords.get(path.name, {}), options=options) for path in paths]
    with WorkerPool(workers if len(tasks) > 1 else 0) as pool:
        found = []
        with progress.task("headers", len(tasks)) as advance:
            for look in pool.run(_look, tasks):
                found.append(look)
                advance(1)
        bad = _name_bad([look for look in found if look.bad], len(tasks), skip_bad=skip_bad, progress=progress)
        chosen, left_out = _choose(found, options)
        _check_alike(chosen)
        if not chosen:
            raise _none_chosen(source, left_out)
        with claimed_images(out, options.as_record(), force=force, progress=progress) as folder:
            folder.pass_over([path.name for path in paths], left_out=left_out, skipped=bad)
            missing = [name for name, look in chosen.items() if not _is_there(folder, name, look)]
            _show(missing, chosen, folder, keywords, options, pool=pool, skip_bad=skip_bad, progress=progress)
            names = {path.name for path in paths}
            num_bad = len(names & set(folder.skipped))
            if num_bad > MAX_BAD_SHARE * len(tasks):
                raise _too_many(num_bad, len(tasks))
            return IngestReport(
                num_images=len(folder.frames),
                num_written=sum(name in folder.frames for name in missing),
                num_kept=len(chosen) - len(missing),
                left_out=Counter(left_out.values()),
                num_bad=num_bad,
            )


def _list_files(source: Path, options: FitsOptions) -> list[Path]:
    with storage_errors(source, expected="a folder of FITS files"):
        paths = sorted(source.iterdir()) if source.is_dir() else [source] if source.is_file() else []
    files = [path for path in paths if is_fits(path.name) and not path.name.startswith(".")]
    wanted = [path for path in files if options.series in (None, series_of(path.name))]
    if not wanted:
        of_series = f" of {options.series}" if files else ""
        raise InputError(
            source,
            expected=f"FITS files{of_series} (.fits, .fits.gz, .fz)",
            found="none" if source.exists() else "no such folder",
            fix="check the path, or fetch some with `sffshards fetch jsoc`",
        )
    return wanted


def _look(task: _Task) -> _Found:
    """Read a file's header, and its checksum."""
    path, needs_quality = task.path, task.options.bad_quality is BadQuality.DROP
    try:
        data = read_fits_bytes(path)
        with opened_fits(data, where=path, keywords=task.keywords) as (get, _):
            component = component_of(path.name, get, where=path)
            if component != task.options.component:
                return _Found(path=path, other=component)
            header = parse_header(get, where=path, needs_quality=needs_quality)
    except ImageError as error:
        return _Found(path=path, bad=error)
    return _Found(path=path, sha256=hashlib.sha256(data).hexdigest(), header=header)


def _name_bad(bad: Sequence[_Found], num_files: int, *, skip_bad: bool, progress: Progress) -> dict[str, str]:
    """Name bad files in a line each, and raise if they are not to be skipped."""
    for look in bad:
        progress.note(str(look.bad))
    if bad and not skip_bad:
        raise InputError(
            bad[0].path.parent,
            expected="FITS files that can all be used",
            found=f"{len(bad)} of {num_files} that cannot: {', '.join(look.path.name for look in bad[:5])}",
            fix="fetch them again or remove them, or pass over them with --skip-bad",
        )
    if len(bad) > MAX_BAD_SHARE * num_files:
        raise _too_many(len(bad), num_files)
    return {look.path.name: _reason(look.bad) for look in bad if look.bad}


def _choose(found: Iterable[_Found], options: FitsOptions) -> tuple[dict[str, _Found], dict[str, str]]:
    """Choose the wanted frames, by name; and say of the others' files why not."""
    left_out: dict[str, str] = {}
    good: dict[FrameId, tuple[_Found, FrameHeader]] = {}
    for look in found:
        if look.other is not None:
            left_out[look.path.name] = f"shows {look.other}"
        elif look.header is not None:
            header = look.header
            if header.quality >= POOR_QUALITY and options.bad_quality is BadQuality.DROP:
                left_out[look.path.name] = "of poor quality"
            elif header.frame in good:
                raise _twice(good[header.frame][0].path, look.path)
            else:
                good[header.frame] = look, header
    chosen = set(good)
    if options.cadence is not None:
        chosen = choose_on_grid(good, cadence=options.cadence, tolerance=options.tolerance)
    left_out |= {good[frame][0].path.name: "not nearest to a slot of the grid" for frame in set(good) - chosen}
    return {frame.name: good[frame][0] for frame in sorted(chosen)}, left_out


def _check_alike(chosen: Mapping[str, _Found]) -> None:
    """Make sure that all frames are projected alike."""
    kinds = {look.header.is_cea: look.path for look in chosen.values() if look.header is not None}
    if len(kinds) > 1:
        raise InputError(
            kinds[True].parent,
            expected="magnetograms of one projection",
            found=f"{kinds[True].name} on a cylinder and {kinds[False].name} as the camera saw it",
            fix="choose one with --series hmi.sharp_720s or hmi.sharp_cea_720s",
        )


def _is_there(folder: IngestFolder, name: str, look: _Found) -> bool:
    return folder.has(name, source=look.path.name, sha256=look.sha256)


def _show(
    names: Sequence[str],
    chosen: Mapping[str, _Found],
    folder: IngestFolder,
    keywords: Mapping[str, Mapping[str, object]],
    options: FitsOptions,
    *,
    pool: WorkerPool,
    skip_bad: bool,
    progress: Progress,
) -> None:
    """Write the images of frames, and record them."""
    paths = [chosen[name].path for name in names]
    tasks = (
        _Task(path=path, keywords=keywords.get(path.name, {}), options=options, image=folder.path_of(name))
        for name, path in zip(names, paths, strict=True)
    )
    with progress.task("magnetograms", len(names)) as advance:
        for name, path, done in zip(names, paths, pool.run(_write_image, tasks), strict=True):
            if isinstance(done, Ingested):
                folder.add(name, done)
            elif skip_bad:
                progress.note(str(done))
                folder.skipped[path.name] = _reason(done)
            else:
                raise done
            advance(1)


def _write_image(task: _Task) -> Ingested | ImageError:
    """Write a file's image, whole or not at all."""
    assert task.image is not None  # noqa: S101  as `_show` makes it
    try:
        data = read_fits_bytes(task.path)
        with opened_fits(data, where=task.path, keywords=task.keywords) as (get, image):
            header = parse_header(get, where=task.path, needs_quality=False)
            field = read_field(image, header, where=task.path)
    except ImageError as error:
        return error
    grey = scale_field(field, scale=task.options.scale, clip_gauss=task.options.clip_gauss)
    write_picture(grey, task.image, jpeg_quality=task.options.jpeg_quality)
    return Ingested(
        source=task.path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        quality=header.quality,
        num_missing=int(np.count_nonzero(~np.isfinite(field))),
    )


def _reason(error: ImageError) -> str:
    return f"expected {error.expected}, found {error.found}"


def _none_chosen(source: Path, left_out: Mapping[str, str]) -> InputError:
    reasons = Counter(left_out.values())
    return InputError(
        source,
        expected="a frame to take",
        found=", ".join(f"{count} left out: {reason}" for reason, count in sorted(reasons.items())) or "none",
        fix="look at --component, --bad-quality, --cadence (`all` takes every time) and --tolerance",
    )


def _twice(first: Path, second: Path) -> InputError:
    return InputError(
        second,
        expected="one file a frame",
        found=f"the same region and time as in {first.name}",
        fix="remove one of them, or choose a series with --series",
    )


def _too_many(num_bad: int, num_files: int) -> InputError:
    return InputError(
        "--skip-bad",
        expected=f"at most {MAX_BAD_SHARE:.0%} of the files to be bad",
        found=f"{num_bad} of {num_files}",
        fix="check that this is the right folder, or fetch them again",
    )
