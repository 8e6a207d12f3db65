"""The published zip to a data folder: only what is wanted of it, only to where that belongs, never without end."""

from __future__ import annotations

import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sffshards.base.atomic_files import storage_errors, temporary_path
from sffshards.base.errors import ConflictError, DamageError, SffshardsError
from sffshards.base.progress import Progress
from sffshards.labels import IMAGE_FOLDER

__all__ = ["Extracted", "check_zip", "extract_dataset"]

MAX_MEMBERS = 1_000_000
"""Of an archive; the published one has some 200,000."""
MAX_MEMBER_BYTES = 1 << 26
"""Of an image or list, unpacked."""
MAX_TOTAL_BYTES = 1 << 35
"""Of all of them, unpacked: 34 GB, some twenty times what was published."""
MAX_RATIO = 200
"""Bytes that a byte of a large member may unpack to; images hardly shrink, lists to a tenth."""
_RATIO_FROM_BYTES = 1 << 20

_IMAGE = re.compile(r"hmi\.sharp_720s\.\d+\.\d{8}_\d{6}_TAI\.magnetogram\.fits\.jpg")
_LIST = re.compile(r"flare_Mclass_(24|48)h_(TrainVal[0-4]|Test|orig)\.txt")


class Extracted(NamedTuple):
    """What came out of an archive."""

    num_images: int
    num_lists: int
    num_written: int
    """Of both, those that were not there already."""
    num_others: int
    """Members that a data folder does not need, and that were left in it."""


class _Member(NamedTuple):
    info: zipfile.ZipInfo
    target: Path


def check_zip(path: Path) -> None:
    """Make sure that a file is a zip whose directory can be read; raises `DamageError`."""
    with _opened(path) as archive:
        archive.infolist()


def extract_dataset(path: Path, data: Path, *, force: bool, progress: Progress) -> Extracted:
    """Take images and label lists out of a zip, to ``data/magnetogram_jpg/``, ``data/M24/`` and ``data/M48/``.

    Members are known by their names, wherever they lie in the zip. What is there and equal is kept, so that an
    extraction that was stopped goes on.

    Parameters
    ----------
    path
        The zip.
    data
        The data folder.
    force
        Whether to replace files of the same names that are others.
    progress
        Told of every file.

    Raises
    ------
    DamageError
        If it is no zip, is damaged, or holds what no data set does: paths that lead out of the folder, links, encrypted
        members, more than `MAX_MEMBERS`, or ones that unpack to more than `MAX_MEMBER_BYTES`, `MAX_TOTAL_BYTES` or
        `MAX_RATIO` times their size.
    ConflictError
        If other files of the same names are there, and ``force`` is false.
    StorageError
        If the system refuses.
    """
    num_written = 0
    with _opened(path) as archive:
        infos = archive.infolist()
        members = list(_choose(infos, data, where=path))
        if not members:
            raise _bad(path, "images named hmi.sharp_720s....fits.jpg, or label lists", "none")
        for folder in {member.target.parent for member in members}:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        with progress.task("files of the archive", len(members)) as advance:
            for member in members:
                if force or not _is_there(member):
                    _extract(archive, member, where=path)
                    num_written += 1
                advance(1)
    num_lists = sum(member.target.suffix == ".txt" for member in members)
    num_others = sum(not info.is_dir() for info in infos) - len(members)
    return Extracted(len(members) - num_lists, num_lists, num_written, num_others)


class _opened:  # noqa: N801  used as a function
    """Open a zip, and turn what zipfile raises meanwhile into `DamageError`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> zipfile.ZipFile:
        with storage_errors(self.path, expected="a zip that can be read"):
            try:
                self.archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
                raise _bad(self.path, "a whole zip", f"none ({str(error)[:100]})") from None
        return self.archive

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.archive.close()
        damage = (
            zipfile.BadZipFile,
            NotImplementedError,
            EOFError,
            zlib.error,
            lzma.LZMAError,
            RuntimeError,
            ValueError,
        )
        of_bz2 = isinstance(error, OSError) and error.errno is None  # the system's own errors have a number
        if (of_bz2 or isinstance(error, damage)) and not isinstance(error, SffshardsError):
            raise _bad(self.path, "a whole zip", f"a damaged one ({str(error)[:100]})") from None


def _choose(infos: list[zipfile.ZipInfo], data: Path, *, where: Path) -> Iterator[_Member]:
    """Give the wanted members, after looking at all of them."""
    if len(infos) > MAX_MEMBERS:
        raise _bad(where, f"at most {MAX_MEMBERS:,} members", f"{len(infos):,}")
    total, targets = 0, set()
    for info in infos:
        _check_name(info, where)
        target = _target(PurePosixPath(info.filename), data)
        if info.is_dir() or target is None:
            continue
        total += info.file_size
        _check_size(info, total, where)
        if info.flag_bits & 1:
            raise _bad(f"{where}: {info.filename}", "a member that is not encrypted", "an encrypted one")
        if target in targets:
            raise _bad(f"{where}: {info.filename}", "each file once", "it twice")
        targets.add(target)
        yield _Member(info, target)


def _check_name(info: zipfile.ZipInfo, where: Path) -> None:
    """Refuse names that lead out of the folder, and links; none is extracted, but an archive with one is not ours."""
    name = info.orig_filename
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name):
        raise _bad(f"{where}: {name[:120]!r}", "a path inside the archive", "one that leads out of it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _bad(f"{where}: {name[:120]!r}", "a plain file", "a link")


def _check_size(info: zipfile.ZipInfo, total: int, where: Path) -> None:
    large = info.file_size > _RATIO_FROM_BYTES and info.file_size > MAX_RATIO * max(info.compress_size, 1)
    if info.file_size > MAX_MEMBER_BYTES or total > MAX_TOTAL_BYTES or large:
        raise _bad(
            f"{where}: {info.filename[:120]}",
            f"members of at most {MAX_MEMBER_BYTES:,} bytes, {MAX_TOTAL_BYTES:,} in all, at most {MAX_RATIO} to one",
            f"one of {info.file_size:,}, packed in {info.compress_size:,}",
        )


def _target(name: PurePosixPath, data: Path) -> Path | None:
    if name.parent.name == IMAGE_FOLDER and _IMAGE.fullmatch(name.name):
        return data / IMAGE_FOLDER / name.name
    match = _LIST.fullmatch(name.name)
    if match and name.parent.name == f"M{match[1]}":
        return data / f"M{match[1]}" / name.name
    return None


def _is_there(member: _Member) -> bool:
    """Say whether a file is there; raises `ConflictError` where it is another one."""
    if not member.target.exists():
        return False
    with storage_errors(member.target):
        if member.target.is_file() and zlib.crc32(member.target.read_bytes()) == member.info.CRC:
            return True
    raise ConflictError(
        member.target,
        expected="no file, or the archive's",
        found="another file",
        fix="name another folder, or replace it with --force",
    )


def _extract(archive: zipfile.ZipFile, member: _Member, *, where: Path) -> None:
    with archive.open(member.info) as file:
        content = file.read(member.info.file_size + 1)
    if len(content) != member.info.file_size:
        raise _bad(f"{where}: {member.info.filename}", f"{member.info.file_size} bytes", f"{len(content)}")
    temporary = temporary_path(member.target)
    with storage_errors(member.target):
        try:
            temporary.write_bytes(content)
            os.replace(temporary, member.target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _bad(where: object, expected: str, found: str) -> DamageError:
    return DamageError(where, expected=expected, found=found, fix="fetch it again, and from where it was published")
