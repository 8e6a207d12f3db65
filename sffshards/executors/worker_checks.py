"""Check that a worker has the same package versions, sees the input files, and can write to the output folders."""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import InputError, StorageError

__all__ = [
    "MARK_PREFIX",
    "NETWORK_PACKAGES",
    "WorkerNeeds",
    "check_worker",
    "list_versions",
    "mark_folder",
]

_PACKAGES = ("sffshards", "numpy", "pillow", "simplejpeg", "webdataset", "scipy", "astropy", "av")
"""Packages on which the bytes of images and shards depend."""
NETWORK_PACKAGES = ("torch", "torchvision", "pytorch-lightning")
"""Packages on which the results of networks depend, besides."""
MARK_PREFIX = ".sffshards-workers-"
"""Start of the name of a file by which workers know a folder."""
_STALE_S = 86_400
"""Age in seconds from which a mark is taken for one that a killed command left."""


def list_versions(packages: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """Return the installed ones of the packages that always matter, and of others, with their versions."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in (*_PACKAGES, *packages):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return tuple(found.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerNeeds:
    """What every worker must have for a command."""

    versions: tuple[tuple[str, str], ...] = field(default_factory=list_versions)
    """Packages and their versions."""
    directory: Path = field(default_factory=Path.cwd)
    """The directory in which tasks are computed, from which relative paths start."""
    reads: tuple[Path, ...] = ()
    """Files and folders that exist."""
    writes: tuple[tuple[Path, str], ...] = ()
    """Folders, each with the name of a file that the coordinator wrote there; see `mark_folder`."""


def mark_folder(folder: Path) -> tuple[Path, str]:
    """Create a folder and an empty file in it, by which workers know that they see the same folder.

    Returns
    -------
    The folder as an absolute path, and the name of the file, which the caller removes
    """
    name = f"{MARK_PREFIX}{secrets.token_hex(8)}"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{MARK_PREFIX}*"):  # by commands that were killed
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _STALE_S:
                    left.unlink()
        (folder / name).touch()
    return folder.absolute(), name


@lru_cache(maxsize=8)
def check_worker(needs: WorkerNeeds) -> None:
    """Check that this process has what it needs; each process does so once per command.

    Raises
    ------
    InputError
        If it has not.
    """
    where = f"the worker on {platform.node()}"
    here = dict(list_versions(package for package, _ in needs.versions))
    for package, wanted in needs.versions:
        if here.get(package) != wanted:
            raise InputError(
                where,
                expected=f"{package} {wanted}, as in the process that sends the tasks",
                found=here.get(package, "none"),
                fix="start the workers in the same environment",
            )
    for path in (needs.directory, *needs.reads):
        if not path.exists():
            fix = "mount it at the same path on the machines of the workers, or name a place that they all see"
            raise InputError(where, expected=f"{path}", found="nothing there", fix=fix)
    for folder, name in needs.writes:
        _check_folder(folder, name, where=where)


def _check_folder(folder: Path, name: str, *, where: str) -> None:
    """Check that a folder is the one that the coordinator marked, and can be written."""
    fix = "mount it at the same path on the machines of the workers, or name another {out} that they all see"
    try:
        os.listdir(folder)  # so that a network file system looks again
        is_same = (folder / name).exists()
    except OSError:
        is_same = False
    if not is_same:
        found = "another folder" if folder.is_dir() else "none"
        raise InputError(
            where, expected=f"the folder {folder} of the process that sends the tasks", found=found, fix=fix
        )
    probe = folder / f"{name}-{secrets.token_hex(4)}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        found = os.strerror(error.errno or 0).lower()
        raise StorageError(where, expected=f"a folder {folder} that it can write", found=found, fix=fix) from error
