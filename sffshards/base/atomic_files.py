"""Write files atomically, and turn operating-system errors into errors that state a remedy."""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sffshards.base.errors import ConflictError, StorageError
from sffshards.base.package_faces import accepts_text

__all__ = [
    "NOT_SUPPORTED",
    "NO_MAPPING",
    "SPECIAL",
    "check_replaceable",
    "is_refusal",
    "read_exactly",
    "remove_temporary",
    "replacing",
    "reserve",
    "storage_errors",
    "sync_file",
    "user_cache",
    "write_all",
    "write_atomic",
    "write_files",
]

_TEMPORARY = re.compile(r"\.(.+)\.[0-9]+(?:-[0-9a-f]+)?\.tmp")

_STALE_S = 3600
"""Age in seconds from which a temporary file is taken for one that a killed process left."""

NOT_SUPPORTED = frozenset(
    {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENODEV, errno.ENOTTY, 524}
)
"""Error numbers of a system call that a file system does not have; 524 is Linux's own, which some let through."""

NO_MAPPING = NOT_SUPPORTED | {errno.EACCES, errno.EPERM}
"""Error numbers of a memory map on file systems without them; reading tells whether the file may be read."""

_NO_FOLDER_SYNC = frozenset({errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR})
"""Further error numbers where a folder cannot be opened or synced, though files can be written to it."""

_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})

SPECIAL = "a device or a pipe"
"""What is found where something else than a file or a folder is; opening or reading it may take forever."""

_USABLE = "a place that can be read and written"
_RESUME = "then run the same command again without {force} to resume"
_FIXES = {
    errno.ENOSPC: f"free some space, or name a folder on another disk; {_RESUME}",
    errno.EDQUOT: f"free some of your quota, or name a folder on another disk; {_RESUME}",
    errno.EACCES: "get permission for it, or choose another place",
    errno.EPERM: "get permission for it, or choose another place",
    errno.EROFS: "choose a place on a writable disk",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a file is where a folder is needed",
    errno.EISDIR: "check the path: a folder is where a file is needed",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "run fewer programs at a time: this machine has too many open files",
    errno.ENOMEM: "free some memory, and run the command again",
    errno.ESTALE: "run the command again: the file was moved or replaced on its server meanwhile",
}


@contextmanager
def storage_errors(where: object, *, expected: str = _USABLE) -> Iterator[None]:
    """Turn an `OSError` raised in the block into a `StorageError` that names the place and a remedy."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        named = isinstance(error.filename, str | bytes) and error.filename
        place = os.fsdecode(error.filename) if named else where
        fix = _FIXES.get(error.errno, "check the disk and run the command again")
        raise StorageError(place, expected=expected, found=os.strerror(error.errno).lower(), fix=fix) from error


def user_cache() -> Path:
    """Return the user's cache folder, as the XDG base directory specification places it.

    For a user without a home folder, it is in the folder for temporary files.
    """
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"sffshards-{os.getuid()}"


def is_refusal(error: BaseException | None) -> bool:
    """Return whether an error is one of the system, such as no permission or a failed read, for a file that is there.

    Libraries raise errors of the same class for damaged content, with no number or that of an impossible position.
    """
    if isinstance(error, StorageError):
        return is_refusal(error.__cause__)
    return isinstance(error, OSError) and error.errno not in {None, errno.EINVAL, *_NO_FILE}


@accepts_text
def remove_temporary(folder: Path, names: re.Pattern[str]) -> None:
    """Remove temporary files that killed processes left for files of matching names.

    The caller must be the only process that writes such files.

    Raises
    ------
    StorageError
        If the operating system refuses.
    """
    with storage_errors(folder):
        for path in folder.glob(".*.tmp"):
            match = _TEMPORARY.fullmatch(path.name)
            if match and names.fullmatch(match[1]):
                path.unlink()


@accepts_text
@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder; sync it to disk and move it to ``path`` when the block succeeds.

    After an error or a kill, ``path`` is as it was before. Devices and pipes are refused. Without ``sync``, which
    is slow for many small files, a power failure may leave the last files empty, and what killed processes left stays
    until `remove_temporary` is called.
    """
    # Processes of two machines may have the same number.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with storage_errors(path):
        _is_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if sync:
            _remove_stale(path)
        try:
            yield temporary
            if sync:
                _sync_path(temporary)
            os.replace(temporary, path)
            if sync:
                _sync_path(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@accepts_text
def write_atomic(path: Path, data: bytes) -> None:
    """Write a file completely or not at all.

    Raises
    ------
    StorageError
        If the operating system refuses.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sync_file(descriptor: int) -> None:
    """Sync an open file to the disk, where its file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def reserve(descriptor: int, size_bytes: int) -> None:
    """Set the size of an open file and reserve its space on the disk, where the system can, to fail now if at all."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
    os.truncate(descriptor, size_bytes)


def write_all(descriptor: int, data: bytes | memoryview, offset: int, *, where: object) -> None:
    """Write all bytes at an offset of an open file; raises `StorageError` if the operating system refuses."""
    view = memoryview(data)
    with storage_errors(where):
        while view:
            done = os.pwrite(descriptor, view, offset)
            view, offset = view[done:], offset + done


def read_exactly(descriptor: int, buffers: Sequence[bytearray | memoryview], offset: int) -> int:
    """Fill buffers from an open file at an offset; return the number of bytes read, too few only at its end."""
    wanted, done = sum(map(len, buffers)), os.preadv(descriptor, buffers, offset)
    more = done
    while more and done < wanted:  # a read may be short, for example on network file systems
        rest, skip = [], done
        for buffer in buffers:
            rest.append(memoryview(buffer)[skip:])
            skip = max(0, skip - len(buffer))
        more = os.preadv(descriptor, rest, offset + done)
        done += more
    return done


@accepts_text
def check_replaceable(contents: Mapping[Path, bytes], *, force: bool) -> dict[Path, bytes]:
    """Refuse to replace files of other content, and return the files that are still to be written.

    Raises
    ------
    ConflictError
        If a file of other content exists and ``force`` is false.
    StorageError
        If the operating system refuses.
    """
    missing = {}
    for path, data in contents.items():
        with storage_errors(path):
            is_there = _is_file(path)
            if is_there and path.stat().st_size == len(data) and path.read_bytes() == data:
                continue
        if is_there and not force:
            raise ConflictError(
                path,
                expected="no such file, or the same",
                found="one of other content",
                fix="name another folder, or replace it with {force}",
            )
        missing[path] = data
    return missing


@accepts_text
def write_files(contents: Mapping[Path, bytes], *, force: bool) -> None:
    """Write several files atomically, but none if one of them would replace a file of other content.

    A file of the same content is not touched. For a symbolic link, its target is written. Raises the errors of
    `check_replaceable`.
    """
    for path, data in check_replaceable(contents, force=force).items():
        write_atomic(Path(os.path.realpath(path)), data)


def _is_file(path: Path) -> bool:
    """Return whether a regular file exists; raise if something else does, which replacing would lose."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise StorageError(
            path,
            expected="a file, or none yet",
            found="a folder" if stat.S_ISDIR(mode) else SPECIAL,
            fix="name another file",
        )
    return True


def _remove_stale(path: Path) -> None:
    """Remove what killed processes left when they wrote a file; other processes may write it now."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - temporary.stat().st_mtime > _STALE_S:
                temporary.unlink()


def _sync_path(path: Path) -> None:
    """Sync a file, or the names in a folder, to the disk; folders only where the file system and its owner allow it."""
    refusals = _NO_FOLDER_SYNC if path.is_dir() else frozenset()
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            sync_file(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in refusals:
            raise
