"""Find the FITS files of a folder, and why others there are not taken; and keywords of their headers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ImageError, InputError, format_count
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frames import FrameId, HarpNumbers
from sffshards.images.fits_files import opened_fits, read_fits_bytes
from sffshards.images.fits_headers import parse_header, read_keywords, series_of
from sffshards.images.harp_numbers import choose_harp_numbers
from sffshards.images.ingest_options import Component
from sffshards.labels import is_system_file

_FITS_NAME = re.compile(r"[^.].*\.(fits|fit|fts)(\.(gz|fz))?|[^.].*\.fz", re.IGNORECASE)
_OTHER_PACKING = re.compile(r".*\.(fits|fit|fts)\.[A-Za-z0-9]+", re.IGNORECASE)
_ARCHIVE = re.compile(r".*\.(tar|tar\.\w+|tgz|tbz2?|zip|7z|rar)", re.IGNORECASE)
_NOTES = frozenset({"keywords.json", "jsoc.json"})
"""Files that `sffshards fetch jsoc` writes beside FITS files."""
_PICTURES = (".jpg", ".jpeg", ".png", ".jp2", ".gif", ".tif", ".tiff")
_PICTURE = "a picture"
_SUBFOLDER = "in a subfolder"
_RENAME = "unpack or rename them to .fits"
_REMEDIES = {
    _SUBFOLDER: "name the subfolder",
    "an archive": "unpack it, and name the folder of its files",
    _PICTURE: "fetch the FITS files, which alone have the field in gauss, as with `sffshards fetch jsoc`",
    "a link to nothing": "restore what the links name",
}


def find_fits(source: Path, *, series: str | None) -> tuple[list[Path], dict[str, str]]:
    """Return the FITS files of a folder, or a single one; of one JSOC series, if it is named.

    Returns
    -------
    paths, others
        The files; and by name or path in the folder, the reasons for which others are not taken, with FITS files of
        subfolders among them.

    Raises
    ------
    InputError
        If there is none.
    """
    with storage_errors(source, expected="a folder of FITS files"):
        paths = sorted(source.iterdir()) if source.is_dir() else [source] if source.is_file() else []
        deeper = [path for path in paths if path.is_dir() and not is_system_file(path.name)]
        inner = {found: _SUBFOLDER for folder in deeper for found in sorted(folder.rglob("*")) if _is_fits(found)}
    wanted, others = [], {}
    for path in paths:
        reason = _why_not(path, series)
        if reason is None:
            wanted.append(path)
        elif not (path.is_dir() or is_system_file(path.name) or path.name in _NOTES):
            others[path.name] = reason
    others |= {str(path.relative_to(source)): reason for path, reason in inner.items()}
    if not wanted:
        raise _no_fits(source, series, others)
    return wanted, others


def _is_fits(path: Path) -> bool:
    return _FITS_NAME.fullmatch(path.name) is not None and path.is_file()


def _why_not(path: Path, series: str | None) -> str | None:
    """Return the reason for which a file is not taken, or None if it is."""
    if not path.is_file():
        return "a link to nothing" if path.is_symlink() else "no regular file"
    if _is_fits(path):
        return None if series in (None, series_of(path.name)) else f"not of {series}"
    if path.suffix.lower() in _PICTURES:
        return _PICTURE
    if _ARCHIVE.fullmatch(path.name):
        return "an archive"
    if _OTHER_PACKING.fullmatch(path.name):
        return f"a FITS file with the suffix {path.suffix}"
    return "no FITS file by name"


def _no_fits(source: Path, series: str | None, others: Mapping[str, str]) -> InputError:
    """Return the error of a folder without FITS files, with what is there and the remedy for it."""
    found, fix = "none", "check the path, or fetch some with `sffshards fetch jsoc`"
    if not source.exists():
        found = "no such file or folder"
    elif source.is_file():
        reason = others.get(source.name, "no FITS file by name")
        found, fix = reason, _REMEDIES.get(reason, _RENAME if reason.startswith("a FITS") else "check the path")
    elif others:
        name, reason = min(others.items(), key=lambda item: item[1] == "no FITS file by name")
        found = f"none, but {format_count(len(others), 'other file')}, such as {name[:120]}, {reason}"
        fix = _REMEDIES.get(reason, _RENAME if reason.startswith("a FITS") else fix)
    of_series = f" of {series}" if series is not None else ""
    return InputError(source, expected=f"FITS files{of_series} (.fits, .fits.gz, .fz)", found=found, fix=fix)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeaderKeywords:
    """Numbers in the headers of FITS files."""

    values: dict[FrameId, tuple[float, ...]]
    """Value of each keyword, by frame; nan where the header lacks it or has no number."""
    harp_numbers: HarpNumbers
    """Which numbers the HARPs have."""


def read_header_keywords(source: Path, names: Sequence[str], *, progress: Progress = SILENT) -> HeaderKeywords:
    """Read keywords of the SHARP files in a folder, or of a single one.

    Files that cannot be read are noted and left out. Of several segments of a frame, the first file by name counts.

    Parameters
    ----------
    source
        A folder of FITS files of hmi.sharp_720s or hmi.sharp_cea_720s; or one such file.
    names
        Names of the keywords.
    progress
        Receives a note for each file that is left out.

    Raises
    ------
    InputError
        If there is no FITS file, none can be read, or their HARP numbers are of two series.
    StorageError
        If the system refuses.
    """
    paths, _ = find_fits(source, series=None)
    beside = read_keywords(source if source.is_dir() else source.parent).files
    values: dict[FrameId, tuple[float, ...]] = {}
    numbers: dict[str, HarpNumbers] = {}
    for path in paths:
        try:
            with opened_fits(
                read_fits_bytes(path),
                where=path,
                keywords=beside.get(path.name, {}),
                component=Component.MAGNETOGRAM,
                ignore_datasum=True,
            ) as opened:
                header = parse_header(opened.get, where=path, needs_quality=False)
                found = tuple(_read_number(opened.get(name)) for name in names)
        except ImageError as error:
            progress.note(f"{error.where}: left out, {error.found}")
            continue
        values.setdefault(header.frame, found)
        numbers[path.name] = header.harp_numbers
    if not values:
        files = format_count(len(paths), "file")
        raise InputError(source, expected="FITS files of SHARPs", found=f"none in {files}", fix="fetch them again")
    return HeaderKeywords(values=values, harp_numbers=choose_harp_numbers(numbers))


def _read_number(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
