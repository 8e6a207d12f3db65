"""The folder of images: those of frames, found by name, and what else lies there."""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import overload

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import format_count
from sffshards.domain.frame_codes import find_codes, iterate_names, name_of, parse_code
from sffshards.domain.frames import IMAGE_SUFFIX
from sffshards.labels.data_layout import is_system_file

_SUFFIXES = (IMAGE_SUFFIX, ".jpg", ".jpeg", ".png", ".fits")
"""Suffixes of files in a folder of images; only those of the first are taken."""

_OTHERS = {
    "images of other names": "image of another name",
    "images of no list": "image of no list",
    "FITS files": "FITS file",
    "subfolders": "subfolder",
    "other files": "other file",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFile:
    """An image file in a folder."""

    name: str
    """Published name of the frame."""
    path: Path
    size_bytes: int
    mtime_ns: int


class ImageFiles(Sequence[ImageFile]):
    """Image files of a folder: a sequence of `ImageFile`, kept as columns of 24 bytes each.

    Parameters
    ----------
    folder
        The folder.
    codes
        Codes of the frames, int64 of shape (n,); see `sffshards.domain.frame_codes`.
    size_bytes, mtime_ns
        Sizes and dates of the files, int64 of shape (n,).
    """

    def __init__(
        self, folder: Path, codes: NDArray[np.int64], *, size_bytes: NDArray[np.int64], mtime_ns: NDArray[np.int64]
    ) -> None:
        self.folder = folder
        self.codes = codes
        self.size_bytes = size_bytes
        self.mtime_ns = mtime_ns

    def take(self, chosen: NDArray[np.bool_] | slice) -> ImageFiles:
        """Return some of the images, by a mask or a slice."""
        sizes, dates = self.size_bytes[chosen], self.mtime_ns[chosen]
        return ImageFiles(self.folder, self.codes[chosen], size_bytes=sizes, mtime_ns=dates)

    def list_paths(self) -> list[str]:
        """Return the paths of the images."""
        return [f"{self.folder}{os.sep}{name}{IMAGE_SUFFIX}" for name in iterate_names(self.codes)]

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, number: int) -> ImageFile: ...
    @overload
    def __getitem__(self, number: slice) -> ImageFiles: ...
    def __getitem__(self, number: int | slice) -> ImageFile | ImageFiles:
        if isinstance(number, slice):
            return self.take(number)
        name = name_of(self.codes.item(number))
        return ImageFile(
            name=name,
            path=self.folder / f"{name}{IMAGE_SUFFIX}",
            size_bytes=self.size_bytes.item(number),
            mtime_ns=self.mtime_ns.item(number),
        )


def find_images(folder: Path, codes: NDArray[np.int64]) -> tuple[ImageFiles, dict[str, str]]:
    """Find the images of frames in a folder, which is listed once.

    Parameters
    ----------
    folder
        The folder.
    codes
        Codes of the frames, int64 of shape (n,); see `sffshards.domain.frame_codes`.

    Returns
    -------
    images, missing
        The images found, in the order of ``codes``; and the names of the frames that have none, with what was found
        instead.

    Raises
    ------
    StorageError
        If the folder cannot be listed.
    """
    listed, others = _list_folder(folder)
    is_found = find_codes(listed, codes) >= 0
    sizes, dates = array("q"), array("q")
    missing: dict[str, str] = {}
    for number, (code, name) in enumerate(zip(codes.tolist(), iterate_names(codes), strict=True)):
        if not is_found[number]:
            missing[name] = _describe_missing(name, others.get(code))
        elif isinstance(found := _stat(f"{folder}{os.sep}{name}{IMAGE_SUFFIX}"), str):
            is_found[number] = False
            missing[name] = found
        else:
            sizes.append(found.st_size)
            dates.append(_wrap(found.st_mtime_ns))
    size_bytes, mtime_ns = np.array(sizes, np.int64), np.array(dates, np.int64)
    return ImageFiles(folder, codes[is_found], size_bytes=size_bytes, mtime_ns=mtime_ns), missing


def _list_folder(folder: Path) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Return the codes of the frames that entries are named as images of, sorted; and suffixes of others, by code."""
    codes = array("q")
    others: dict[int, str] = {}
    with storage_errors(folder, expected="a folder of images"), os.scandir(folder) as entries:
        for entry in entries:
            suffix = next((suffix for suffix in _SUFFIXES if entry.name.endswith(suffix)), None)
            code = None if suffix is None else parse_code(entry.name.removesuffix(suffix))
            if suffix is None or code is None:
                continue
            if suffix == IMAGE_SUFFIX:
                codes.append(code)
            else:
                others[code] = min(suffix, others.get(code, suffix), key=_SUFFIXES.index)
    return np.sort(np.array(codes, np.int64)), others


def _stat(path: str) -> os.stat_result | str:
    """Return the status of a file, or what it is instead."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:  # though its name is in the folder
        return "a link to nothing"
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    return found if S_ISREG(found.st_mode) else "not a regular file"


def _describe_missing(name: str, suffix: str | None) -> str:
    return "no such file" if suffix is None else f"no such file, but {name}{suffix}"


def _wrap(number: int) -> int:
    """Return a date, which is only compared, in 64 bits: file systems can store dates after 2262."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def list_images(folder: Path) -> tuple[list[str], dict[str, int]]:
    """List the images of a folder.

    Returns
    -------
    names, others
        Names of the files that end as images do, sorted; and the number of the other entries by what they are. Files of
        the operating system are in neither.

    Raises
    ------
    StorageError
        If the folder cannot be listed.
    """
    with storage_errors(folder, expected="a folder of images"), os.scandir(folder) as found:
        entries = [entry for entry in found if not is_system_file(entry.name)]
        others = Counter(kind for entry in entries if (kind := _describe_other(entry)))
    return sorted(entry.name for entry in entries if not _describe_other(entry)), dict(sorted(others.items()))


def count_images(folder: Path) -> tuple[int, dict[str, int]]:
    """Count the images of a folder, and its other entries by what they are, as `list_images` does, holding no names."""
    with storage_errors(folder, expected="a folder of images"), os.scandir(folder) as found:
        counts = Counter(_describe_other(entry) or "" for entry in found if not is_system_file(entry.name))
    return counts.pop("", 0), dict(sorted(counts.items()))


def format_others(others: Mapping[str, int]) -> str:
    """Return counts of entries that are not images in words.

    Examples
    --------
    >>> format_others({"other files": 2, "subfolders": 1})
    '1 subfolder, 2 other files'
    """
    kinds = sorted(others, key=list(_OTHERS).index)
    return ", ".join(format_count(others[kind], _OTHERS[kind], kind) for kind in kinds)


def _describe_other(entry: os.DirEntry[str]) -> str | None:
    """Return the kind of an entry in a folder of images, plural; None for an image."""
    if entry.name.endswith(IMAGE_SUFFIX):
        return None
    if entry.is_dir():
        return "subfolders"
    name = entry.name.lower()
    if re.search(r"\.(fits|fit|fts)(\.\w+)?$|\.fz$", name) and not name.endswith((".jpg", ".jpeg", ".png")):
        return "FITS files"
    return "images of other names" if name.endswith((".jpg", ".jpeg", ".png")) else "other files"
