"""The folder of a report: what an earlier report wrote there is replaced or removed, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from sffshards.base.atomic_files import storage_errors, write_atomic
from sffshards.base.errors import ConflictError

__all__ = ["JSON_NAME", "PAGE_NAME", "check_folder", "write_folder"]

PAGE_NAME = "index.html"
JSON_NAME = "report.json"
_FOLDERS = ("figures", "tables")
_OWN = re.compile(rf"{re.escape(PAGE_NAME)}|({'|'.join(_FOLDERS)})/[0-9A-Za-z._]+-[a-z0-9-]+\.(png|csv)")


def check_folder(out: Path) -> None:
    """Refuse a folder whose page is not a report's, before any work for one.

    Raises
    ------
    ConflictError
        If something else stands where a report's files go.
    StorageError
        If the system refuses.
    """
    own = _find_own(out)
    with storage_errors(out):
        for name in (JSON_NAME, PAGE_NAME):
            if (out / name).exists() and name not in own:
                raise _conflict(out / name, "another file")
        for folder in (out, *(out / name for name in _FOLDERS)):
            if folder.exists() and not folder.is_dir():
                raise _conflict(folder, "a file where a folder is needed")


def write_folder(out: Path, contents: Mapping[str, bytes], describe: Callable[[Collection[str]], bytes]) -> None:
    """Write a report's files, the page last, and remove those of an earlier report that this one has not.

    After an interruption at any point, the same call goes on: a file is listed in ``report.json`` before it is written,
    and until it is removed.

    Parameters
    ----------
    out
        The folder; made if it is not there.
    contents
        Files by their names in it, ``index.html`` among them.
    describe
        Gives ``report.json`` from the names that it lists.

    Raises
    ------
    ConflictError
        As `check_folder`, and if a file is there under a name of ``contents`` that no report wrote; nothing is changed.
    StorageError
        If the system refuses.
    """
    check_folder(out)
    own = _find_own(out)
    for name in contents:
        if name not in own and (out / name).exists():
            raise _conflict(out / name, "another file")
    gone = own - {JSON_NAME} - set(contents)
    write_atomic(out / JSON_NAME, describe(sorted({*contents, *gone})))
    for name in sorted(contents, key=lambda name: name == PAGE_NAME):
        write_atomic(out / name, contents[name])
    if gone:
        with storage_errors(out):
            for name in gone:
                (out / name).unlink(missing_ok=True)
        write_atomic(out / JSON_NAME, describe(sorted(contents)))


def _find_own(out: Path) -> set[str]:
    """Give the names of what a report wrote there, as its ``report.json`` lists them."""
    with storage_errors(out):
        try:
            content = json.loads((out / JSON_NAME).read_bytes())
            names = {name for name in content["files"] if _OWN.fullmatch(name)}
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, RecursionError):
            return set()
    return {JSON_NAME, *names}


def _conflict(path: Path, found: str) -> ConflictError:
    return ConflictError(
        path, expected="nothing, or what a report wrote", found=found, fix="name another folder for the report"
    )
