"""The published zip to a data folder: only the wanted members, only to their places, within limits."""

from __future__ import annotations

import bz2
import lzma
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sffshards.base.atomic_files import is_refusal, remove_temporary, replacing, storage_errors
from sffshards.base.errors import ConflictError, DamageError, SffshardsError
from sffshards.base.file_reading import open_zip, reading
from sffshards.base.output_checks import check_room
from sffshards.base.progress import Progress
from sffshards.labels import IMAGE_FOLDER, is_system_file

MAX_MEMBERS = 500_000
"""Number of members of a zip; the published one has some 200,000."""
MAX_MEMBER_BYTES = 1 << 26
"""Size of an image or list, unpacked."""
MAX_TOTAL_BYTES = 1 << 35
"""Size of all of them, unpacked: 34 GB, some twenty times what was published."""
MAX_RATIO = 200
"""Bytes that one byte of a large member may unpack to; images hardly shrink, lists to a tenth."""
_RATIO_FROM_BYTES = 1 << 20
_PIECE_BYTES = 1 << 12
"""Bytes of a member that are read at once: zipfile unpacks all of them, of LZMA to at most 30 MB."""

_IMAGE = re.compile(r"hmi\.sharp_720s\.\d+\.\d{8}_\d{6}_TAI\.magnetogram\.fits\.jpg")
_LIST = re.compile(r"flare_Mclass_(24|48)h_(TrainVal[0-4]|Test|orig)\.txt")
_ARCHIVE = re.compile(r".*\.((zip|7z|rar)(\.\d+)?|tar(\.\w+)?|tgz|tbz2?|txz|z\d\d)")
_WRITTEN = re.compile(f"{_IMAGE.pattern}|{_LIST.pattern}")
_DAMAGE = (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, ValueError, OSError)
"""What zipfile and its codecs raise for a damaged zip or a method that they do not know."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_OTHER_METHODS = {6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}
_OTHER_ARCHIVES = {
    b"\x1f\x8b": "a gzip file, perhaps a tar archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
}
"""Formats that are named, by the first bytes of their files."""
_CHECK = "check that this is the archive that was published"
_FETCH_AGAIN = "fetch it again from where it was published"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """An image or list in a zip."""

    target: Path
    info: zipfile.ZipInfo
    is_image: bool
    is_placed: bool
    """Whether its folder has the published name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """What was extracted from a zip."""

    num_images: int
    num_lists: int
    num_written: int
    """Number of images and lists that were not there already."""
    others: Mapping[str, int]
    """Number of members that were not extracted, by reason."""


def check_zip(path: Path) -> None:
    """Raise `DamageError` unless a file is a zip whose directory can be read."""
    with _opened(path):
        pass


def extract_dataset(path: Path, data: Path, *, force: bool, progress: Progress) -> Extracted:
    """Extract images and label lists to ``data/magnetogram_jpg/``, ``data/M24/`` and ``data/M48/``.

    Members are known by their names. Those in folders of the published names are taken. If the zip has no image, or no
    list, in such folders, because they were renamed or flattened, those in other folders are. Backslashes in names
    separate folders, as some programs for Windows write them. Equal files that are there are kept, so that an
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
        encrypted members or ones packed by a method that Python lacks, more than `MAX_MEMBERS`, or ones that unpack to
        more than `MAX_MEMBER_BYTES`, `MAX_TOTAL_BYTES` or `MAX_RATIO` times their size.
    ConflictError
        If other files of the same names are there, and ``force`` is false.
    StorageError
        If the system refuses.
    """
    with _opened(path) as archive:
        members, others = _choose(archive.infolist(), data, where=path)
        missing = {target: info for target, info in members.items() if force or not _is_there(target, info)}
        check_room(data, sum(info.file_size for info in missing.values()))
        for folder in {target.parent for target in members}:
            remove_temporary(folder, _WRITTEN)
        with progress.task("files of the archive", len(members)) as advance:
            advance(len(members) - len(missing))
            for target, info in missing.items():
                _extract(archive, info, target)
                advance(1)
    num_lists = sum(target.suffix == ".txt" for target in members)
    num_images = len(members) - num_lists
    return Extracted(num_images=num_images, num_lists=num_lists, num_written=len(missing), others=others)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what zipfile raises meanwhile becomes `DamageError`."""
    try:
        with (
            reading(path, expected="a zip that can be read") as file,
            open_zip(file, where=path, max_members=MAX_MEMBERS) as archive,
        ):
            yield archive
    except SffshardsError:
        raise
    except _DAMAGE as error:
        with storage_errors(path):
            if is_refusal(error):
                raise
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> DamageError:
    """Return the error of a file that is no whole zip; another format is named by its first bytes."""
    start = b""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(512)
    other = next((name for mark, name in _OTHER_ARCHIVES.items() if start.startswith(mark)), None)
    if other is None and start[257:262] == b"ustar":
        other = "a tar archive"
    if other is not None:
        return _bad(path, "a whole zip", other, fix="unpack it, and pack the files as a zip")
    return _bad(path, "a whole zip", f"a damaged one ({str(error)[:100]})", fix=_FETCH_AGAIN)


def _choose(
    infos: list[zipfile.ZipInfo], data: Path, *, where: Path
) -> tuple[dict[Path, zipfile.ZipInfo], Mapping[str, int]]:
    """Return the wanted members by their targets, after checking all of them; and the others, counted by reason."""
    if len(infos) > MAX_MEMBERS:
        raise _bad(where, f"at most {MAX_MEMBERS:,} members", f"{len(infos):,}")
    found: list[_Member] = []
    others: Counter[str] = Counter()
    for info in infos:
        _check_name(info, where)
        name = PurePosixPath(_plain_name(info))
        if _plain_name(info).endswith("/") or any(map(is_system_file, name.parts)):
            continue
        member = _recognise(name, info, data)
        if member is None:
            others[_why_not(name)] += 1
        else:
            found.append(member)
    if not found:
        raise _nothing(others, infos, where)
    placed = {member.is_image for member in found if member.is_placed}
    chosen = [member for member in found if member.is_placed or member.is_image not in placed]
    others["in another folder"] = len(found) - len(chosen)
    return _check_members(chosen, where), {reason: count for reason, count in others.items() if count}


def _check_members(chosen: Iterable[_Member], where: Path) -> dict[Path, zipfile.ZipInfo]:
    """Return members by target; refuse what is there twice, encrypted, or too large."""
    members: dict[Path, zipfile.ZipInfo] = {}
    total = 0
    for member in chosen:
        total += member.info.file_size
        _check_content(member.info, total, where)
        if member.target in members:
            twice = f"it twice, also as {members[member.target].filename[:120]}"
            raise _bad(f"{where}: {member.info.filename}", "each file once", twice, fix="remove one of them")
        members[member.target] = member.info
    return members


def _nothing(others: Mapping[str, int], infos: list[zipfile.ZipInfo], where: Path) -> DamageError:
    """Return the error of a zip without images and lists, with what is there instead."""
    inner = next((info.filename for info in infos if _is_archive(PurePosixPath(_plain_name(info)))), None)
    image = next((info.filename for info in infos if _is_image(PurePosixPath(_plain_name(info)))), None)
    found, fix = "none", "check that this is the archive of the data set"
    if inner is not None:
        found, fix = f"an archive within the archive, {inner[:120]}", "unpack it, and name the inner zip"
    elif image is not None:
        is_fits = not image.lower().endswith((".jpg", ".jpeg", ".png"))
        found = f"images of other names, such as {image[:120]}"
        fix = "unpack it, and convert the files with `sffshards ingest`" if is_fits else "rename them"
        if "_nrt." in image:
            fix = "use images of the definitive series; near-real-time HARP numbers are other numbers"
    elif others:
        found = f"none among {sum(others.values()):,} files"
    return _bad(where, "images named hmi.sharp_720s....fits.jpg, or label lists", found, fix=fix)


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
        fix = "make a zip of them without a password"
        raise _bad(f"{where}: {info.filename}", "a member that is not encrypted", "an encrypted one", fix=fix)
    if info.compress_type not in _METHODS:
        method = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise _bad(
            f"{where}: {info.filename}",
            "a member that is stored, deflated, or packed by bzip2 or LZMA",
            f"one packed by {method}",
            fix="unpack it with another program, such as 7-Zip, and pack it again as an ordinary zip",
        )
    is_bomb = info.file_size > _RATIO_FROM_BYTES and info.file_size > MAX_RATIO * max(info.compress_size, 1)
    if info.file_size > MAX_MEMBER_BYTES or total > MAX_TOTAL_BYTES or is_bomb:
        raise _bad(
            f"{where}: {info.filename[:120]}",
            f"members of at most {MAX_MEMBER_BYTES:,} bytes, {MAX_TOTAL_BYTES:,} in all, at most {MAX_RATIO} to one",
            f"one of {info.file_size:,}, packed in {info.compress_size:,}",
        )


def _recognise(name: PurePosixPath, info: zipfile.ZipInfo, data: Path) -> _Member | None:
    """Return an image or a list of the data set by its name; None for any other member."""
    if _IMAGE.fullmatch(name.name):
        folder, is_image = IMAGE_FOLDER, True
    elif match := _LIST.fullmatch(name.name):
        folder, is_image = f"M{match[1]}", False
    else:
        return None
    is_placed = name.parent.name == folder
    return _Member(target=data / folder / name.name, info=info, is_image=is_image, is_placed=is_placed)


def _plain_name(info: zipfile.ZipInfo) -> str:
    return info.filename.replace("\\", "/")


def _why_not(name: PurePosixPath) -> str:
    """Return the reason for which a member is not extracted."""
    if _is_archive(name):
        return "an archive in the archive"
    return "an image of another name" if _is_image(name) else "of another name"


def _is_image(name: PurePosixPath) -> bool:
    return name.name.lower().endswith((".jpg", ".jpeg", ".png", ".fits", ".fits.gz"))


def _is_archive(name: PurePosixPath) -> bool:
    return _ARCHIVE.fullmatch(name.name.lower()) is not None


def _is_there(target: Path, info: zipfile.ZipInfo) -> bool:
    """Return whether a file is there; raises `ConflictError` if it is another one."""
    if not target.exists():
        return False
    with storage_errors(target):
        is_alike = target.is_file() and target.stat().st_size == info.file_size
        if is_alike and zlib.crc32(target.read_bytes()) == info.CRC:
            return True
    raise ConflictError(
        target,
        expected="no file, or the archive's",
        found="another file",
        fix="name another folder, or replace it with {force}",
    )


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    if info.compress_type == zipfile.ZIP_BZIP2:
        content = _unpack_bzip2(archive, info)
    else:
        with archive.open(info) as file:
            content = b"".join(iter(lambda: file.read(_PIECE_BYTES), b""))
    if len(content) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename}: {len(content)} of {info.file_size} bytes")
    with replacing(target, sync=False) as temporary:
        temporary.write_bytes(content)


def _unpack_bzip2(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a member; zipfile unpacks all that it reads, even if the member states less."""
    stored = copy(info)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
    del stored.CRC  # that of the content
    content = bz2.BZ2Decompressor().decompress(archive.read(stored), info.file_size + 1)
    if zlib.crc32(content) != info.CRC:
        raise zipfile.BadZipFile(f"{info.filename}: another CRC-32 than it states")
    return content


def _bad(where: object, expected: str, found: str, *, fix: str = _CHECK) -> DamageError:
    return DamageError(where, expected=expected, found=found, fix=fix)
