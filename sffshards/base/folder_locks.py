"""One writer a folder: a lock that the system lets go when its holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import ConflictError
from sffshards.base.progress import Progress

__all__ = ["LOCK_NAME", "folder_lock"]

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""What flock answers on file systems without locks, such as Lustre mounted without ``flock``."""

LOCK_NAME = ".lock"
"""The file in a folder that its lock is held on; it stays, empty, when the lock is let go."""


@contextmanager
def folder_lock(folder: Path, *, progress: Progress, wait: bool) -> Iterator[None]:
    """Hold a folder for this process while the block runs; the folder is made if absent.

    Parameters
    ----------
    folder
        What to lock.
    progress
        Told when there is something to wait for.
    wait
        Whether to wait for another process that holds it.

    Raises
    ------
    ConflictError
        If another process holds it and ``wait`` is false.
    StorageError
        If the system refuses. Where its file system knows no locks, that is said, and the block runs without one.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with storage_errors(folder):
            _lock(descriptor, folder, progress=progress, wait=wait)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, *, progress: Progress, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise ConflictError(
                folder,
                expected="a folder that no other process writes",
                found="one that another sffshards command is writing",
                fix="wait for it, or name another folder",
            ) from None
        progress.note(f"waiting for another process that writes {folder}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        progress.note(f"{folder}: this file system has no locks; let no other command write there meanwhile")
