"""A file behind a URL to a place on disk: it gets its name only when it is whole and right."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError
from sffshards.base.file_hashes import hash_file
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.fetch.http_transfer import Source, discard_part, fetch_into

_WORK_FOLDER = ".fetch"
"""Folder, beside the file, of what has arrived of it."""
_NUM_FETCHES = 2
"""Number of times that a file is fetched whole before other bytes than were published count as damage."""


def download(
    source: Source,
    path: Path,
    *,
    check: Callable[[Path], None] = lambda _: None,
    replace: bool = False,
    progress: Progress,
) -> str:
    """Fetch a file, unless it is there and right.

    Parameters
    ----------
    source
        Where the file comes from, and its checksum.
    path
        Where it goes; it appears there only when it is whole and right.
    check
        Function that raises if the file that arrived is not what it should be.
    replace
        Whether another file that is there is replaced, which it is only when the right one has arrived. Where the
        checksum is not known, every file is another one.
    progress
        Shows the kilobytes that arrived.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    DamageError
        If the file that arrives, or is there, is another one.
    StorageError
        If the server fails for long, or the disk; what arrived is kept, and the next call resumes.
    """

    def is_there() -> bool:
        return path.is_file() and not (replace and _is_other(path, source.checksum))

    if is_there():
        require_checksum(path, source.checksum, where=path, fix="remove it, and run the same command again")
        return hash_file(path)
    work = path.parent / _WORK_FOLDER
    with folder_lock(work, progress=progress, wait=True):
        if not is_there():  # another process may have fetched it meanwhile
            part = work / f"{path.name}.part"
            _fetch_right(source, part, progress=progress)
            try:
                check(part)
            except BaseException:
                discard_part(part)  # resuming would not make it right
                raise
            with storage_errors(path):
                os.replace(part, path)
            discard_part(part)
    return hash_file(path)


def _fetch_right(source: Source, part: Path, *, progress: Progress) -> None:
    """Fetch a file whole, again from the start if its checksum is another one."""
    for num_left in reversed(range(_NUM_FETCHES)):
        fetch_into(part, source, progress=progress)
        try:
            require_checksum(part, source.checksum, where=source.url, fix=source.fix)
            return
        except DamageError:
            discard_part(part)
            if not num_left:
                raise
            progress.note(f"{part.stem}: other bytes than were published; fetching it again from the start")


def _is_other(path: Path, checksum: str | None) -> bool:
    if checksum is None:
        return True
    try:
        require_checksum(path, checksum, where=path, fix="")
    except DamageError:
        return True
    return False


def require_checksum(path: Path, checksum: str | None, *, where: object, fix: str) -> None:
    """Raise `DamageError` if a file's checksum is known, or its first digits are, and it is another one."""
    if checksum is None:
        return
    algorithm, _, value = checksum.partition(":")
    found = hash_file(path, algorithm=algorithm)
    if not found.startswith(value):
        name = algorithm.upper().replace("SHA256", "SHA-256")
        expected = f"a file of {name} {value[:16]}..."
        raise DamageError(where, expected=expected, found=f"one of {name} {found[:16]}...", fix=fix)
