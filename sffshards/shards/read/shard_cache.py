"""Keep shards on a local disk, in a cache that any number of processes share and that never exceeds its size.

A file is named by its SHA-256, so shards of all builds lie side by side and a stale one is never taken for a new one.
The processes coordinate by two kinds of file locks, which the system releases when their holder ends, however it ends:

- the lock on ``.lock`` is held while room is made, a file opened, or renamed, but never while anything is fetched;
- the lock on each file is held shared by its readers, so that it is not removed, and exclusively while it is fetched.

A file that is being fetched ends in ``.part`` and has its full size from the start, so that it counts as well.

On a file system without locks, processes may fetch the same file, each into a part of its own, and remove files that
others have open. What they read is right all the same, since a file gets its name when it is whole.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sffshards.base.atomic_files import NOT_SUPPORTED, reserve, storage_errors, sync_file
from sffshards.base.errors import Field, InputError, StorageError
from sffshards.base.file_hashes import hash_file
from sffshards.base.folder_locks import describe_no_locks, lock_file, open_lock, unlock_file
from sffshards.base.progress import Progress
from sffshards.shards.read.places import CacheOptions

_LOCK_NAME = ".lock"
_NAME = re.compile(r"[0-9a-f]{64}((\.[0-9a-f]{8})?\.part)?")
_PAUSE_S = 0.05
"""Pause between two looks at what another process does."""
PATIENCE_S = 600.0
"""Time to wait for room that other processes hold, before it is an error."""
NEED_S = 3.0
"""Time to wait for room, before this process also closes the files that it expects to need again."""

Fetch = Callable[[int], None]
"""Fills the file of a descriptor with the bytes that its SHA-256 stands for, or raises."""


CloseIdle = Callable[..., bool]
"""Closes files of the cache that this process does not need at the moment, and returns whether there were any; with
``in_need=True`` also files that it expects to need again."""


class _Part(NamedTuple):
    """A file that is being fetched."""

    path: Path
    descriptor: int


_OPENED: dict[int, int] = {}
"""Descriptors that were opened in this process, and the inode of each, which shows whether it was closed since."""
_EXPLAINED: set[Path] = set()


class ShardCache:
    """Files by their SHA-256; when room is needed, the least recently used one that nobody reads is removed.

    Parameters
    ----------
    options
        Folder and maximum size of the cache.
    """

    def __init__(self, options: CacheOptions) -> None:
        self._folder = options.folder
        self._limit_bytes = options.limit_bytes
        self._has_locks = True

    def open(self, sha256: str, size_bytes: int, *, fetch: Fetch, close_idle: CloseIdle) -> int:
        """Open a file for reading; fetch it first if it is not in the cache.

        It is not removed from the cache while the descriptor, or one inherited from it, is open.

        Parameters
        ----------
        sha256, size_bytes
            SHA-256 and size of its content.
        fetch
            Called, by one process at a time, if the file is not in the cache; must check that the bytes are right.
        close_idle
            Called when there is no room, and again with ``in_need`` when there is none for `NEED_S`. So processes that
            hold what others wait for may fetch more often, but none waits for ever.

        Returns
        -------
        int
            Descriptor of the file; the caller closes it.

        Raises
        ------
        InputError
            If the cache is smaller than the file.
        StorageError
            If there is no room because other processes hold all of it, or the system refuses.
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
            if is_full and close_idle(in_need=waited > NEED_S):
                continue
            if waited > PATIENCE_S:
                raise StorageError(
                    self._folder,
                    expected=f"room for {size_bytes / 1e6:,.1f} MB in a cache of {self._limit_bytes / 1e6:,.1f} MB",
                    found="other processes that hold all of it" if is_full else "another process that fetches too long",
                    fix="allow more with {limit_bytes}, or use another {cache_dir} for some of the processes",
                )
            time.sleep(_PAUSE_S)

    def path(self, sha256: str) -> Path:
        """Return the path of a file in the cache; it stays while it is open."""
        return self._folder / sha256

    def check(self, sha256: str) -> None:
        """Read a file that is in the cache, whatever its date, and remove it if its bytes have changed."""
        path = self.path(sha256)
        with self._locked(), suppress(FileNotFoundError):
            if path.is_file() and hash_file(path) != sha256:
                path.unlink()

    def explain(self, progress: Progress) -> None:
        """Note once per process and folder, after a file was opened, if processes cannot share the cache safely."""
        if not self._has_locks and self._folder not in _EXPLAINED:
            _EXPLAINED.add(self._folder)
            progress.note(describe_no_locks(self._folder))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with storage_errors(self._folder, expected="a folder for the cache, that can be read and written"):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = open_lock(self._folder / _LOCK_NAME)
            try:
                self._has_locks = lock_file(descriptor, wait=True) is not None
                try:
                    yield
                finally:  # closing does not suffice: a process forked by another thread meanwhile has it open too
                    unlock_file(descriptor)
            finally:
                os.close(descriptor)

    def _take(self, sha256: str, size_bytes: int) -> int | None:
        """Open a file that is in the cache, and hold its lock."""
        path = self.path(sha256)
        try:
            descriptor = _open(path)
        except FileNotFoundError:
            return None
        try:
            lock_file(descriptor, shared=True)
            stat = os.fstat(descriptor)
            if stat.st_size == size_bytes and (stat.st_mtime_ns == _date_ns(sha256) or hash_file(path) == sha256):
                _mark_used(descriptor, sha256)
                return _remember(descriptor)
            path.unlink()  # it has changed since it was fetched
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _reserve(self, sha256: str, size_bytes: int) -> tuple[_Part | None, bool]:
        """Open and lock a new file of the full size to fetch into; else return None and whether the cache is full."""
        own = "" if self._has_locks else f".{secrets.token_hex(4)}"
        path = self._folder / f"{sha256}{own}.part"
        if path.exists() and not _remove_idle(path):
            return None, False  # another process fetches it
        if not self._make_room(size_bytes):
            return None, True
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            lock_file(descriptor)
            reserve(descriptor, size_bytes)
        except BaseException:
            path.unlink()
            os.close(descriptor)
            raise
        return _Part(path, _remember(descriptor)), False

    def _fill(self, of: _Part, sha256: str, fetch: Fetch) -> int:
        """Fetch a file and put it under its name; its lock stays held."""
        part, descriptor = of
        try:
            fetch(descriptor)
            with storage_errors(part):
                sync_file(descriptor)
            with self._locked():
                _mark_used(descriptor, sha256)
                os.replace(part, self.path(sha256))
                lock_file(descriptor, shared=True)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return descriptor

    def _make_room(self, size_bytes: int) -> bool:
        """Remove the least recently used files that nobody holds, until there is room; return whether there is."""
        paths = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        files = [(stat.st_atime_ns, stat.st_size, path) for path in paths for stat in [path.lstat()]]
        excess = size_bytes + sum(size for _, size, _ in files) - self._limit_bytes
        for _, size, path in sorted(files):
            if excess > 0 and _remove_idle(path):
                excess -= size
        return excess <= 0


def cache_too_small(needed_bytes: float, limit_bytes: float) -> InputError:
    """Return the error of a cache that cannot hold the shards that are needed at one time."""
    return InputError(
        Field("limit_bytes"),
        expected=f"at least {needed_bytes / 1e9:,.3f} GB, for the shards that are needed at one time",
        found=f"{limit_bytes / 1e9:,.3f} GB",
        fix="allow more, or pass {shuffle} blocks with a smaller {block_shards}",
    )


def _open(path: Path) -> int:
    """Open a file of the cache, to lock and to read it; for network file systems, if possible, for writing as well."""
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError:  # another user's
        return os.open(path, os.O_RDONLY)


def _remove_idle(path: Path) -> bool:
    """Remove a file that nobody holds; return whether it is gone."""
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        return True
    except PermissionError:
        return False
    try:
        held = lock_file(descriptor)
        if held is None:
            held = _seems_idle(path, os.fstat(descriptor))
        if held:
            path.unlink()
        return held
    except PermissionError:  # another user's, in a folder where only owners remove files
        return False
    finally:
        os.close(descriptor)


def _seems_idle(path: Path, stat: os.stat_result) -> bool:
    """Return whether a file is not open in this process, nor lately written by another; locks would tell more."""
    for descriptor, inode in list(_OPENED.items()):
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), stat) and inode == stat.st_ino:
                return False
    return path.suffix != ".part" or time.time() - stat.st_mtime > PATIENCE_S


def _remember(descriptor: int) -> int:
    _OPENED[descriptor] = os.fstat(descriptor).st_ino
    return descriptor


def _mark_used(descriptor: int, sha256: str) -> None:
    """Set a file's access time to now, and its modification time to the one that marks it as checked.

    Only its owner can; for others it stays as it was, and is hashed again if it is not marked.
    """
    try:
        os.utime(descriptor, ns=(time.time_ns(), _date_ns(sha256)))
    except OSError as error:
        if error.errno not in NOT_SUPPORTED and not isinstance(error, PermissionError):
            raise


def _date_ns(sha256: str) -> int:
    """Return the modification time, made from the name, that marks a file as checked; a write changes it."""
    return int(sha256[:7], 16) * 1_000_000_000
