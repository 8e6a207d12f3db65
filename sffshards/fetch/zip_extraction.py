"""The published zip to a data folder: only the wanted members, only to their places, within limits."""

from __future__ import annotations

import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sffshards.base.atomic_files import replacing, storage_errors
from sffshards.base.errors import ConflictError, DamageError, SffshardsError
from sffshards.base.progress import Progress
from sffshards.labels import IMAGE_FOLDER

MAX_MEMBERS = 1_000_000
"""Number of members of a zip; the published one has some 200,000."""
MAX_MEMBER_BYTES = 1 << 26
"""Size of an image or list, unpacked."""
MAX_TOTAL_BYTES = 1 << 35
"""Size of all of them, unpacked: 34 GB, some twenty times what was published."""
MAX_RATIO = 200
"""Bytes that one byte of a large member may unpack to; images hardly shrink, lists to a tenth."""
_RATIO_FROM_BYTES = 1 << 20

_IMAGE = re.compile(r"hmi\.sharp_720s\.\d+\.\d{8}_\d{6}_TAI\.magnetogram\.fits\.jpg")
_LIST = re.compile(r"flare_Mclass_(24|48)h_(TrainVal[0-4]|Test|orig)\.txt")
_DAMAGE = (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, ValueError, OSError)
"""What zipfile and its codecs raise for a damaged zip or a method that they do not know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """What was extracted from a zip."""

    num_images: int
    num_lists: int
    num_written: int
    """Number of images and lists that were not there already."""
    num_others: int
    """Number of members that a data folder does not need."""


def check_zip(path: Path) -> None:
    """Raise `DamageError` unless a file is a zip whose directory can be read."""
    with _opened(path):
        pass


def extract_dataset(path: Path, data: Path, *, force: bool, progress: Progress) -> Extracted:
    """Extract images and label lists to ``data/magnetogram_jpg/``, ``data/M24/`` and ``data/M48/``.

    Members are known by their names, wherever they lie in the zip. Equal files that are there are kept, so that an
    extraction that was stopped resumes.

    Parameters
    ----------
    path
        Path of the zip.
    data
        The data folder.
    force
        Whether to replace other files of the same names.
    progress
        Shows the number of files.

    Raises
    ------
    DamageError
        If the file is not a zip, is damaged, or holds what no data set does: paths that lead out of the folder, links,
        encrypted members, more than `MAX_MEMBERS`, or ones that unpack to more than `MAX_MEMBER_BYTES`,
        `MAX_TOTAL_BYTES` or `MAX_RATIO` times their size.
    ConflictError
        If other files of the same names are there, and ``force`` is false.
    StorageError
        If the system refuses.
    """
    num_written = 0
    with _opened(path) as archive:
        members = _choose(archive.infolist(), data, where=path)
        num_others = sum(not info.is_dir() for info in archive.infolist()) - len(members)
        with progress.task("files of the archive", len(members)) as advance:
            for target, info in members.items():
                if force or not _is_there(target, info):
                    _extract(archive, info, target)
                    num_written += 1
                advance(1)
    num_lists = sum(target.suffix == ".txt" for target in members)
    num_images = len(members) - num_lists
    return Extracted(num_images=num_images, num_lists=num_lists, num_written=num_written, num_others=num_others)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what zipfile raises meanwhile becomes `DamageError`."""
    try:
        with storage_errors(path, expected="a zip that can be read"), zipfile.ZipFile(path) as archive:
            yield archive
    except SffshardsError:
        raise
    except _DAMAGE as error:
        raise _bad(path, "a whole zip", f"a damaged one ({str(error)[:100]})") from None


def _choose(infos: list[zipfile.ZipInfo], data: Path, *, where: Path) -> dict[Path, zipfile.ZipInfo]:
    """Return the wanted members by their targets, after checking all of them."""
    if len(infos) > MAX_MEMBERS:
        raise _bad(where, f"at most {MAX_MEMBERS:,} members", f"{len(infos):,}")
    members: dict[Path, zipfile.ZipInfo] = {}
    total = 0
    for info in infos:
        _check_name(info, where)
        target = None if info.is_dir() else _target(PurePosixPath(info.filename), data)
        if target is None:
            continue
        total += info.file_size
        _check_content(info, total, where)
        if target in members:
            raise _bad(f"{where}: {info.filename}", "each file once", "it twice")
        members[target] = info
    if not members:
        raise _bad(where, "images named hmi.sharp_720s....fits.jpg, or label lists", "none")
    return members


def _check_name(info: zipfile.ZipInfo, where: Path) -> None:
    """Refuse paths that lead out of the folder, and links: they would not be extracted, but no data set has any."""
    name = info.orig_filename
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name):
        raise _bad(f"{where}: {name[:120]!r}", "a path inside the archive", "one that leads out of it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _bad(f"{where}: {name[:120]!r}", "a plain file", "a link")


def _check_content(info: zipfile.ZipInfo, total: int, where: Path) -> None:
    """Refuse encrypted members, and those that unpack to too much."""
    if info.flag_bits & 1:
        raise _bad(f"{where}: {info.filename}", "a member that is not encrypted", "an encrypted one")
    is_bomb = info.file_size > _RATIO_FROM_BYTES and info.file_size > MAX_RATIO * max(info.compress_size, 1)
    if info.file_size > MAX_MEMBER_BYTES or total > MAX_TOTAL_BYTES or is_bomb:
        raise _bad(
            f"{where}: {info.filename[:120]}",
            f"members of at most {MAX_MEMBER_BYTES:,} bytes, {MAX_TOTAL_BYTES:,} in all, at most {MAX_RATIO} to one",
            f"one of {info.file_size:,}, packed in {info.compress_size:,}",
        )


def _target(name: PurePosixPath, data: Path) -> Path | None:
    """Return where a member belongs; None if a data folder does not need it."""
    if name.parent.name == IMAGE_FOLDER and _IMAGE.fullmatch(name.name):
        return data / IMAGE_FOLDER / name.name
    match = _LIST.fullmatch(name.name)
    return data / f"M{match[1]}" / name.name if match and name.parent.name == f"M{match[1]}" else None


def _is_there(target: Path, info: zipfile.ZipInfo) -> bool:
    """Return whether a file is there; raises `ConflictError` if it is another one."""
    if not target.exists():
        return False
    with storage_errors(target):
        if target.is_file() and zlib.crc32(target.read_bytes()) == info.CRC:
            return True
    raise ConflictError(
        target,
        expected="no file, or the archive's",
        found="another file",
        fix="name another folder, or replace it with {force}",
    )


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    with archive.open(info) as file:
        content = file.read(info.file_size + 1)  # a size makes zipfile unpack no more than so much at a time
    if len(content) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename}: {len(content)} of {info.file_size} bytes")
    with replacing(target, sync=False) as temporary:
        temporary.write_bytes(content)


def _bad(where: object, expected: str, found: str) -> DamageError:
    return DamageError(where, expected=expected, found=found, fix="fetch it again from where it was published")
