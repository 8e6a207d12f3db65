"""A file behind a URL to a place on disk, by pooch: resumed, verified, and under its name only when right."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError
from sffshards.base.file_hashes import hash_file
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.fetch.http_transfer import Source, fetch_into

__all__ = ["Checksum", "Source", "download"]

_WORK_FOLDER = ".fetch"
"""Beside the file: what has come of it so far."""
_NUM_TRIES = 2
"""Times that a file is fetched whole before other bytes than were published count as damage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checksum:
    """What a file must be."""

    algorithm: str
    """``sha256`` or ``md5``."""
    value: str
    """In hexadecimal."""

    def of(self, path: Path) -> str:
        """Give a file's checksum by the same algorithm."""
        with storage_errors(path), path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest()


def download(
    source: Source,
    path: Path,
    *,
    checksum: Checksum | None,
    check: Callable[[Path], None] | None = None,
    progress: Progress,
) -> str:
    """Fetch a file, unless it is there and right.

    Parameters
    ----------
    source
        From where.
    path
        Where to; it appears there only when it is whole and right.
    checksum
        What it must be; None where that is not known.
    check
        Called with the fetched file before it gets its name; raises where it is not what it should be.
    progress
        Told how far it is.

    Returns
    -------
    SHA-256 of the file

    Raises
    ------
    DamageError
        If the file that comes, or is there, is another one.
    StorageError
        If it cannot be had now, or not be written; what has come of it is kept, and the next call goes on.
    """
    if path.is_file():
        return _check_present(path, checksum)
    work = path.parent / _WORK_FOLDER
    with folder_lock(work, progress=progress, wait=True):
        if not path.is_file():
            fetched = _retrieve(source, work, path.name, checksum=checksum, progress=progress)
            if check is not None:
                _checked(check, fetched)
            with storage_errors(path):
                os.replace(fetched, path)
        sha256 = hash_file(path)
        _tidy(work)
    return sha256


def _retrieve(source: Source, work: Path, name: str, *, checksum: Checksum | None, progress: Progress) -> Path:
    """Let pooch fetch and verify a file into the work folder."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    part, found = work / f"{name}.part", ""

    def fetch(_: str, output: str, __: object) -> None:
        nonlocal found
        fetch_into(part, source._replace(verified=checksum is not None), progress=progress)
        found = checksum.of(part) if checksum else ""
        with storage_errors(part):
            os.replace(part, output)
            part.with_name(f"{part.name}.json").unlink(missing_ok=True)

    known = f"{checksum.algorithm}:{checksum.value}" if checksum else None
    (work / name).unlink(missing_ok=True)  # of a run that was stopped between two names
    for attempt in range(_NUM_TRIES):
        try:
            with storage_errors(work):
                return Path(pooch.retrieve(source.url, known, fname=name, path=work, downloader=fetch))
        except ValueError:
            if checksum is None or not found or found == checksum.value:
                raise
            if attempt + 1 == _NUM_TRIES:
                raise _other(
                    source.url,
                    checksum,
                    found,
                    f"try later, or `sffshards fetch` with another --url; or {source.by_hand}",
                ) from None
            progress.note(f"{name}: other bytes than were published; fetching it again from the start")
    raise AssertionError  # pragma: no cover


def _check_present(path: Path, checksum: Checksum | None) -> str:
    """Refuse a file that is another one; give its SHA-256."""
    if checksum is None:
        return hash_file(path)
    if (found := checksum.of(path)) != checksum.value:
        raise _other(path, checksum, found, "remove it, and run the same command again")
    return found if checksum.algorithm == "sha256" else hash_file(path)


def _checked(check: Callable[[Path], None], fetched: Path) -> None:
    """Call a check, and remove what does not stand it, which would not get better by going on."""
    try:
        check(fetched)
    except BaseException:
        fetched.unlink(missing_ok=True)
        raise


def _tidy(work: Path) -> None:
    """Remove what pooch leaves where it is killed."""
    with storage_errors(work):
        for path in work.glob("tmp*"):
            path.unlink(missing_ok=True)


def _other(where: object, checksum: Checksum, found: str, fix: str) -> DamageError:
    name = checksum.algorithm.upper().replace("SHA256", "SHA-256")
    expected = f"a file of {name} {checksum.value[:16]}..."
    return DamageError(where, expected=expected, found=f"one of {name} {found[:16]}...", fix=fix)
