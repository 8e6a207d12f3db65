"""Write files atomically, and turn operating-system errors into errors that state a remedy."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sffshards.base.errors import ConflictError, InputError, StorageError

__all__ = [
    "check_replaceable",
    "opened",
    "read_bytes",
    "read_text",
    "remove_temporary",
    "replacing",
    "storage_errors",
    "write_all",
    "write_atomic",
    "write_files",
]

_TEMPORARY = re.compile(r"\.(.+)\.[0-9]+\.tmp")

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
        place = error.filename or where
        fix = _FIXES.get(error.errno, "check the disk and run the command again")
        raise StorageError(place, expected=expected, found=os.strerror(error.errno).lower(), fix=fix) from error


@contextmanager
def opened(path: Path | str, flags: int, *, expected: str = _USABLE) -> Iterator[int]:
    """Open a file descriptor with flags of `os.open`, and close it after the block.

    Raises
    ------
    StorageError
        If the file cannot be opened.
    """
    with storage_errors(path, expected=expected):
        descriptor = os.open(path, flags, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


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


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder; sync it to disk and move it to ``path`` when the block succeeds.

    After an error or a kill, ``path`` is as it was before. Devices and pipes are refused. Without ``sync``, which
    is slow for many small files, a power failure may leave the last files empty.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        _is_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if sync:
                _sync(temporary)
            os.replace(temporary, path)
            if sync:
                _sync(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file completely or not at all.

    Raises
    ------
    StorageError
        If the operating system refuses.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_all(descriptor: int, data: bytes | memoryview, offset: int, *, where: object) -> None:
    """Write all bytes at an offset of an open file; raises `StorageError` if the operating system refuses."""
    view = memoryview(data)
    with storage_errors(where):
        while view:
            done = os.pwrite(descriptor, view, offset)
            view, offset = view[done:], offset + done


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
            if is_there and path.read_bytes() == data:
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


def write_files(contents: Mapping[Path, bytes], *, force: bool) -> None:
    """Write several files atomically, but none if one of them would replace a file of other content.

    A file of the same content is not touched. For a symbolic link, its target is written. Raises the errors of
    `check_replaceable`.
    """
    for path, data in check_replaceable(contents, force=force).items():
        write_atomic(Path(os.path.realpath(path)), data)


def read_bytes(path: Path) -> bytes:
    """Read a whole file; raises `StorageError` if the operating system refuses."""
    with storage_errors(path, expected="a file that can be read"):
        return path.read_bytes()


def read_text(path: Path) -> str:
    """Read a text file in UTF-8.

    Raises
    ------
    InputError
        If the bytes are not UTF-8 text.
    StorageError
        If the operating system refuses.
    """
    data = read_bytes(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            path,
            expected="text in UTF-8",
            found=f"byte 0x{data[error.start]:02x} at offset {error.start}",
            fix="check that this is the right file",
        ) from None


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
            found="a folder" if stat.S_ISDIR(mode) else "a device or a pipe",
            fix="name another file",
        )
    return True


def _sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to the disk."""
    with opened(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
