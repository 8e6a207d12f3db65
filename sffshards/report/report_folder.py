"""The folder of a report: files of an earlier report are replaced or removed, and no others are touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from sffshards.base.atomic_files import storage_errors, write_atomic
from sffshards.base.errors import ConflictError, DamageError, StorageError
from sffshards.base.json_records import JsonFormat, read_content
from sffshards.base.output_checks import check_writable

PAGE_NAME = "index.html"
_JSON_NAME = "report.json"
_EXPECTS = JsonFormat(expected="the record of a report", fix="name another folder for the report")
_FOLDERS = ("figures", "tables")
_OWN = re.compile(
    rf"{re.escape(PAGE_NAME)}|figures/[0-9A-Za-z._]+-[a-z0-9-]+\.(png|svg|pdf)|"
    r"tables/[0-9A-Za-z._]+-[a-z0-9-]+\.(csv|md|tex)"
)


def check_folder(out: Path) -> None:
    """Check that a report may be written into a folder, before any work for it.

    Raises
    ------
    ConflictError
        If other files have the names of a report's files.
    StorageError
        If the system refuses.
    """
    own = _find_own(out)
    with storage_errors(out):
        for name in (_JSON_NAME, PAGE_NAME):
            if (out / name).exists() and name not in own:
                raise _conflict(out / name, "another file")
        for folder in (out, *(out / name for name in _FOLDERS)):
            if folder.exists() and not folder.is_dir():
                raise _conflict(folder, "a file where a folder is needed")
    check_writable(out)


def write_folder(out: Path, contents: Mapping[str, bytes], describe: Callable[[Collection[str]], bytes]) -> None:
    """Write a report's files, the page last, and remove files of an earlier report that this one does not have.

    The same call completes the folder after an interruption at any point: ``report.json`` lists a file before it is
    written, and until it is removed.

    Parameters
    ----------
    out
        The folder; created if it is not there.
    contents
        Files by their names in the folder, ``index.html`` among them.
    describe
        Function that returns ``report.json`` for the names that it lists.

    Raises
    ------
    ConflictError
        As `check_folder`, and if a file that no report wrote has a name of ``contents``; then nothing is changed.
    StorageError
        If the system refuses.
    """
    check_folder(out)
    own = _find_own(out)
    for name in contents:
        if name not in own and (out / name).exists():
            raise _conflict(out / name, "another file")
    gone = own - {_JSON_NAME} - set(contents)
    write_atomic(out / _JSON_NAME, describe(sorted({*contents, *gone})))
    for name in sorted(contents, key=lambda name: name == PAGE_NAME):
        write_atomic(out / name, contents[name])
    if gone:
        with storage_errors(out):
            for name in gone:
                (out / name).unlink(missing_ok=True)
        write_atomic(out / _JSON_NAME, describe(sorted(contents)))


def _find_own(out: Path) -> set[str]:
    """Return the names of the files that a report wrote into a folder, as its ``report.json`` lists them."""
    try:
        names = read_content(out / _JSON_NAME, expects=_EXPECTS).get("files")
    except (DamageError, StorageError):  # no report, or one whose files are not known
        return set()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return set()
    return {_JSON_NAME, *(name for name in names if _OWN.fullmatch(name))}


def _conflict(path: Path, found: str) -> ConflictError:
    return ConflictError(
        path, expected="no file, or one that a report wrote", found=found, fix="name another folder for the report"
    )
