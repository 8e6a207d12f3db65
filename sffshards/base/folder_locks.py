"""Lock a folder for one writer; the operating system releases the lock when its holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sffshards.base.atomic_files import NOT_SUPPORTED, storage_errors
from sffshards.base.errors import ConflictError, StorageError
from sffshards.base.file_reading import open_file
from sffshards.base.package_faces import accepts_text
from sffshards.base.progress import Progress

__all__ = ["LOCK_NAME", "describe_no_locks", "folder_lock", "lock_file", "open_lock", "unlock_file"]

_NO_LOCKS = NOT_SUPPORTED | {errno.ENOLCK, errno.EBADF, errno.EPROTONOSUPPORT}
"""Error numbers of flock on file systems without locks, such as Lustre mounted without ``flock``."""

LOCK_NAME = ".lock"
"""Name of the lock file in a folder. The empty file remains when the lock is released."""


@accepts_text
@contextmanager
def folder_lock(
    folder: Path, *, progress: Progress, wait: bool, name: str = LOCK_NAME, shared: bool = False
) -> Iterator[Callable[[], None]]:
    """Lock a folder for this process while the block runs; create the folder if necessary.

    The block receives a function that raises `ConflictError` if the folder was moved, removed or replaced meanwhile.
    What was decided before the lock was held may be out of date: read the folder again in the block.

    Parameters
    ----------
    folder
        Folder to lock.
    progress
        Receives a note if this process has to wait.
    wait
        Whether to wait for another process that holds the lock.
    name
        Name of the lock file; commands that may write to the folder at the same time have locks of different names.
    shared
        Whether other processes may hold the lock at the same time, if they share it too.

    Raises
    ------
    ConflictError
        If another process holds the lock and ``wait`` is false.
    StorageError
        If the operating system refuses. On a file system without locks, a note reports this, and the block runs
        without a lock.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(folder / name)
    try:
        with storage_errors(folder):
            _lock(descriptor, folder, progress=progress, wait=wait, shared=shared)
        yield partial(_require_place, descriptor, folder / name)
    finally:
        os.close(descriptor)


@accepts_text
def open_lock(path: Path) -> int:
    """Return a descriptor of a lock file, which is made if necessary; the caller closes it.

    A file of another user that this one may only read can be locked as well.

    Raises
    ------
    StorageError
        If it cannot be opened.
    """
    try:
        return open_file(path, os.O_RDWR | os.O_CREAT)
    except StorageError as error:
        if not isinstance(error.__cause__, PermissionError) or not os.access(path, os.R_OK):
            raise
        return open_file(path, os.O_RDONLY)


def lock_file(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file, for as long as it or a descriptor inherited from it is open.

    Parameters
    ----------
    descriptor
        Descriptor of the file.
    shared
        Whether others may hold such a lock at the same time.
    wait
        Whether to wait for those who hold it.

    Returns
    -------
    bool or None
        Whether the lock is held; None on a file system without locks.
    """
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, operation if wait else operation | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on SMB
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def unlock_file(descriptor: int) -> None:
    """Release a lock, for all processes that inherited the descriptor; to close it would release that of the last."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


@accepts_text
def describe_no_locks(folder: Path) -> str:
    """Return the note about a folder whose file system has no locks."""
    return f"{folder}: this file system has no locks; make sure that no other command writes there at the same time"


def _require_place(descriptor: int, path: Path) -> None:
    mine = os.fstat(descriptor)
    try:
        there = path.stat()
    except OSError:
        there = None
    if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
        raise ConflictError(
            path.parent,
            expected="the folder that this command began to write to",
            found="another one, or none, because it was moved or removed",
            fix="put it back where it was, and run the same command again",
        )


def _lock(descriptor: int, folder: Path, *, progress: Progress, wait: bool, shared: bool) -> None:
    held = lock_file(descriptor, shared=shared)
    if held is False and wait:
        progress.note(f"waiting for another process that writes to {folder}")
        held = lock_file(descriptor, shared=shared, wait=True)
    if held is False:
        raise ConflictError(
            folder,
            expected="a folder that no other process writes to",
            found="one that another sffshards command is writing to",
            fix="wait for it, or name another folder",
        )
    if held is None:
        progress.note(describe_no_locks(folder))
