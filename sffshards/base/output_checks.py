"""Check, before long work, that its results can be written: the folder and the room for them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sffshards.base.atomic_files import NOT_SUPPORTED, check_replaceable, storage_errors
from sffshards.base.errors import ConflictError, StorageError
from sffshards.base.package_faces import accepts_text

__all__ = ["check_document", "check_room", "check_writable", "free_bytes"]

_UNKNOWN_BYTES = 1 << 62


@accepts_text
def check_writable(place: Path) -> None:
    """Check that files can be made in a folder, which may have to be made too, before long work on what goes there.

    Nothing is left there.

    Raises
    ------
    StorageError
        If they cannot.
    """
    with storage_errors(place, expected="a folder that can be written"):
        folder = next(one for one in (place, *place.absolute().parents) if os.path.lexists(one))
        try:
            descriptor, name = tempfile.mkstemp(prefix=".sffshards-", suffix=".tmp", dir=folder)
            os.close(descriptor)
            Path(name).unlink()
        except OSError as error:
            error.filename = None  # that of the temporary file
            raise


@accepts_text
def check_document(path: Path, made_from: Mapping[str, object], *, force: bool) -> None:
    """Check, before long work, that a JSON document may be written: that none from other inputs is there.

    Parameters
    ----------
    path
        File of the document.
    made_from
        What it is made from, as plain values: its field ``made_from``. The same gives the same document.
    force
        Whether to replace any document.

    Raises
    ------
    ConflictError
        If there is another document, and ``force`` is false.
    StorageError
        If no file can be written there.
    """
    from sffshards.base.json_records import read_own_json

    check_writable(path.parent)
    check_replaceable({path: b""}, force=True)
    if force or not path.is_file():
        return
    found = read_own_json(path)
    there = found.get("made_from") if isinstance(found, dict) else None
    if there != made_from:
        names = [name for name in made_from if isinstance(there, dict) and there.get(name) != made_from[name]]
        raise ConflictError(
            path,
            expected="no such file, or one made from the same inputs",
            found=f"one of other {' and '.join(names)}" if names else "another document",
            fix="name another folder, or replace it with {force}",
        )


@accepts_text
def free_bytes(folder: Path) -> int:
    """Return the free space of the disk of a folder, which need not exist yet; a great number if it is not known."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with storage_errors(place):
        try:
            usage = shutil.disk_usage(place)
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
            return _UNKNOWN_BYTES
    return usage.free if usage.total else _UNKNOWN_BYTES  # some file systems state zeros


@accepts_text
def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise `StorageError` if the disk of a folder has less free space than needed."""
    free = free_bytes(folder)
    if needed_bytes > free:
        raise StorageError(
            folder,
            expected=f"{needed_bytes / 1e6:,.1f} MB of free space",
            found=f"{free / 1e6:,.1f} MB",
            fix="free some space, or name a folder on another disk",
        )
