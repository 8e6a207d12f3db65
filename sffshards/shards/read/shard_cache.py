"""A cache of shards on a local disk, shared by any number of processes, that never exceeds its size.

A file is named by its SHA-256, so shards of all builds lie side by side and a stale one is never taken for a new one.
Two kinds of lock of the system hold it together; both end with their holder, however it ends:

- on ``.lock``, for as long as room is made, a file taken into use, or renamed: never while anything is fetched;
- on each file: shared, by everyone who reads it, so that it is not removed; exclusive, by the one who fetches it.

A file that is being fetched ends in ``.part``, has its full size from the start, and counts.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import InputError, StorageError
from sffshards.base.file_hashes import hash_file
from sffshards.shards.read.places import CacheOptions

__all__ = ["LetGo", "ShardCache", "cache_too_small"]

_LOCK_NAME = ".lock"
_NAME = re.compile(r"[0-9a-f]{64}(\.part)?")
_PAUSE_S = 0.05
"""Between two looks at what another process does."""
PATIENCE_S = 600.0
"""How long to wait for room that other processes hold before it is called an error."""

NEED_S = 3.0
"""How long to wait for room before what this process expects to need again is let go, too."""

Fetch = Callable[[int], None]
"""Fills the file of a descriptor with the bytes that its name stands for, or raises."""


class LetGo(Protocol):
    """Closes files of the cache that this process holds open and can do without; says whether there were any."""

    def __call__(self, *, in_need: bool) -> bool:
        """Close; ``in_need``: also those that it will want again."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file of the cache."""

    path: Path
    size_bytes: int
    used_ns: int


class ShardCache:
    """Files by their SHA-256, the least recently used removed when room is needed, but none that is in use.

    Parameters
    ----------
    options
        Which folder, and how many bytes it may hold.
    """

    def __init__(self, options: CacheOptions) -> None:
        self._folder = options.folder
        self._limit_bytes = options.limit_bytes

    def open(self, sha256: str, size_bytes: int, *, fetch: Fetch, let_go: LetGo) -> int:
        """Open a file for reading; fetch it first if it is not here.

        It is not removed from the cache while the descriptor, or one inherited from it, is open.

        Parameters
        ----------
        sha256, size_bytes
            Of its content.
        fetch
            Called, by one process at a time, if it is not here; must make sure that the bytes are the right ones.
        let_go
            Called when there is no room, and again, ``in_need``, when there is none for long. So processes that hold
            what the others wait for end up fetching more often, but never wait for ever.

        Returns
        -------
        int
            A descriptor; the caller closes it.

        Raises
        ------
        InputError
            If the cache is smaller than the file.
        StorageError
            If there is no room because others hold all of it, or the system refuses.
        """
        if size_bytes > self._limit_bytes:
            raise cache_too_small(size_bytes, self._limit_bytes)
        begun = time.monotonic()
        while True:
            with self._locked():
                held = self._take(sha256, size_bytes)
                if held is not None:
                    return held
                part, is_full = self._reserve(sha256, size_bytes)
            if part is not None:
                return self._fill(part, sha256, fetch)
            waited = time.monotonic() - begun
            if is_full and let_go(in_need=waited > NEED_S):
                continue
            if waited > PATIENCE_S:
                raise StorageError(
                    self._folder,
                    expected=f"room for {size_bytes / 1e6:,.1f} MB in a cache of {self._limit_bytes / 1e6:,.1f} MB",
                    found="other processes that hold all of it" if is_full else "another process that fetches too long",
                    fix="give --cache-size more, or give the processes a --cache-dir of their own",
                )
            time.sleep(_PAUSE_S)

    def path(self, sha256: str) -> Path:
        """Give the path of a file that is here; it stays while it is open."""
        return self._folder / sha256

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with storage_errors(self._folder, expected="a folder for the cache, on a disk that knows locks"):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                try:
                    yield
                finally:  # closing does not suffice: a process forked by another thread meanwhile has it open too
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)

    def _take(self, sha256: str, size_bytes: int) -> int | None:
        """Open a file that is here, and hold it."""
        path = self.path(sha256)
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if not self._is_known(descriptor, path, sha256, size_bytes):
                path.unlink()
                os.close(descriptor)
                return None
            _mark_used(descriptor, sha256)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _is_known(self, descriptor: int, path: Path, sha256: str, size_bytes: int) -> bool:
        """Say whether a file is as it was when it was fetched: by size and date, or else by its bytes."""
        stat = os.fstat(descriptor)
        if stat.st_size != size_bytes:
            return False
        return stat.st_mtime_ns == _date_ns(sha256) or hash_file(path) == sha256

    def _reserve(self, sha256: str, size_bytes: int) -> tuple[int | None, bool]:
        """Make a file of the full size to fetch into, and hold it; or say whether there is no room for it."""
        path = self._folder / f"{sha256}.part"
        if path.exists() and not _remove_idle(path):
            return None, False  # another process fetches it
        if not self._make_room(size_bytes):
            return None, True
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size_bytes)
            os.truncate(descriptor, size_bytes)
        except BaseException:
            path.unlink()
            os.close(descriptor)
            raise
        return descriptor, False

    def _fill(self, descriptor: int, sha256: str, fetch: Fetch) -> int:
        """Fetch, and put the file under its name; it stays held."""
        part = self._folder / f"{sha256}.part"
        try:
            fetch(descriptor)
            with storage_errors(part):
                os.fsync(descriptor)
            with self._locked():
                _mark_used(descriptor, sha256)
                os.replace(part, part.with_suffix(""))
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return descriptor

    def _make_room(self, size_bytes: int) -> bool:
        """Remove what was not used for longest until there is room; removes nothing that is in use."""
        kept = list(self._list())
        used = sum(file.size_bytes for file in kept)
        for file in sorted(kept, key=lambda file: file.used_ns):
            if used + size_bytes <= self._limit_bytes:
                return True
            if _remove_idle(file.path):
                used -= file.size_bytes
        return used + size_bytes <= self._limit_bytes

    def _list(self) -> Iterator[_Kept]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name):
                    stat = entry.stat(follow_symlinks=False)
                    yield _Kept(Path(entry.path), stat.st_size, stat.st_atime_ns)


def cache_too_small(needed_bytes: float, limit_bytes: float) -> InputError:
    """Say that a cache cannot hold what is needed at one time."""
    return InputError(
        "--cache-size",
        expected=f"at least {needed_bytes / 1e9:,.3f} GB, for the shards that are needed at one time",
        found=f"{limit_bytes / 1e9:,.3f} GB",
        fix="give it more, or take --shuffle blocks with fewer --block-shards",
    )


def _remove_idle(path: Path) -> bool:
    """Remove a file that nobody holds; say whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _mark_used(descriptor: int, sha256: str) -> None:
    """Set a file's date of use to now, and that of its last change to the one that says that it was checked."""
    os.utime(descriptor, ns=(time.time_ns(), _date_ns(sha256)))


def _date_ns(sha256: str) -> int:
    """Give the date that marks a file as checked: whoever writes to it changes that. It follows from its name."""
    return int(sha256[:7], 16) * 1_000_000_000
