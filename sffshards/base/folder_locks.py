"""Lock a folder for one writer; the operating system releases the lock when its holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sffshards.base.atomic_files import opened, storage_errors
from sffshards.base.errors import ConflictError
from sffshards.base.progress import Progress

__all__ = ["LOCK_NAME", "folder_lock"]

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""Error numbers of flock on file systems without locks, such as Lustre mounted without ``flock``."""

LOCK_NAME = ".lock"
"""Name of the lock file in a folder. The empty file remains when the lock is released."""


@contextmanager
def folder_lock(folder: Path, *, progress: Progress, wait: bool) -> Iterator[None]:
    """Lock a folder for this process while the block runs; create the folder if necessary.

    Parameters
    ----------
    folder
        Folder to lock.
    progress
        Receives a note if this process has to wait.
    wait
        Whether to wait for another process that holds the lock.

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
    with opened(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT) as descriptor:
        with storage_errors(folder):
            _lock(descriptor, folder, progress=progress, wait=wait)
        yield


def _lock(descriptor: int, folder: Path, *, progress: Progress, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise ConflictError(
                folder,
                expected="a folder that no other process writes to",
                found="one that another sffshards command is writing to",
                fix="wait for it, or name another folder",
            ) from None
        progress.note(f"waiting for another process that writes to {folder}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        progress.note(f"{folder}: this file system has no locks; make sure that no other command writes there")
