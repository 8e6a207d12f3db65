"""Which shards were found whole: each is hashed before it is first read, and then remembered by size and date."""

from __future__ import annotations

import json
import stat
import threading
from contextlib import suppress
from pathlib import Path

from sffshards.base.atomic_files import storage_errors, write_atomic
from sffshards.base.errors import DamageError, StorageError
from sffshards.base.file_hashes import hash_file
from sffshards.shards.format import Shard

__all__ = ["CHECKED_NAME", "ShardChecks", "check_shard", "other_bytes"]

CHECKED_NAME = ".checked.json"
"""The file, in a build's folder, that remembers."""

_FORMAT_VERSION = 1
_Seen = tuple[int, int, str]
"""Size in bytes, date in nanoseconds, SHA-256."""


class ShardChecks:
    """Checks the shards of a build, each once for as long as its file stays as it is.

    What was found is remembered for this process, and in the build's folder when it is saved there.

    Parameters
    ----------
    folder
        Of the build.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen = self._read()

    def is_known(self, shard: Shard) -> bool:
        """Say whether a shard was found whole, by this process or another, and its file has not changed since."""
        now = (*_stat(self._folder, shard), shard.sha256)
        with self._lock:
            if self._seen.get(shard.name) != now and self._read().get(shard.name) == now:
                self._seen[shard.name] = now  # another rank of the same run has checked it meanwhile
            return self._seen.get(shard.name) == now

    def require(self, shard: Shard) -> None:
        """Make sure that a shard is whole; safe from several threads.

        Raises
        ------
        DamageError
            If it is not there, or its bytes are not those that were written.
        """
        if self.is_known(shard):
            return
        before = check_shard(self._folder, shard)
        with self._lock:
            self._seen[shard.name] = (*before, shard.sha256)

    def save(self) -> None:
        """Remember in the build's folder; one that cannot be written is checked anew by every process."""
        with self._lock, suppress(StorageError):
            content = {"format_version": _FORMAT_VERSION, "shards": self._seen}
            write_atomic(self._folder / CHECKED_NAME, json.dumps(content).encode("ascii"))

    def _read(self) -> dict[str, _Seen]:
        path = self._folder / CHECKED_NAME
        try:
            content = json.loads(path.read_bytes()) if path.is_file() else {}
            if content["format_version"] != _FORMAT_VERSION:
                return {}
            return {
                str(name): (int(size), int(date), str(sha)) for name, (size, date, sha) in content["shards"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}  # whoever wrote it: every shard is checked anew


def check_shard(folder: Path, shard: Shard) -> tuple[int, int]:
    """Read a whole shard and compare it with what the manifest says of it.

    Returns
    -------
    size in bytes and date in nanoseconds of the file, from before it was read

    Raises
    ------
    DamageError
        If it is not there, or its bytes are not those that were written.
    StorageError
        If the system refuses to read it.
    """
    path = folder / shard.name
    before = _stat(folder, shard)
    found = hash_file(path) if before[0] == shard.size_bytes else None
    if found != shard.sha256:
        raise other_bytes(path, shard, found, size_bytes=before[0])
    return before


def other_bytes(where: object, shard: Shard, found: str | None, *, size_bytes: int | None = None) -> DamageError:
    """Say that a shard is not the one that was written: by its SHA-256, if it was read, and its size, if known."""
    size = shard.size_bytes if size_bytes is None else size_bytes
    return DamageError(
        where,
        expected=f"{shard.size_bytes} bytes with SHA-256 {shard.sha256[:16]}...",
        found=f"{size} bytes" + (f" with SHA-256 {found[:16]}..." if found else ""),
        fix="run `sffshards build` again: it writes damaged shards anew",
    )


def _stat(folder: Path, shard: Shard) -> tuple[int, int]:
    path = folder / shard.name
    try:
        with storage_errors(path, expected="a shard that can be read"):
            status = path.stat()
    except StorageError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise DamageError(
            path, expected="a shard", found="no such file", fix="run `sffshards build` again: it writes it anew"
        ) from None
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for its writer
        raise DamageError(
            path, expected="a shard", found="no plain file", fix="remove it and run `sffshards build` again"
        )
    return status.st_size, status.st_mtime_ns
