"""Which shards are known to be intact: each is hashed before it is first read, then remembered by size and date."""

from __future__ import annotations

import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, SffshardsError, StorageError
from sffshards.base.file_hashes import hash_file
from sffshards.base.json_records import JsonFormat, read_record, write_record
from sffshards.shards.format import Shard

__all__ = ["CHECKED_NAME", "ShardChecks", "check_shard", "other_bytes"]

CHECKED_NAME = ".checked.json"
"""Name of the file in a build's folder that remembers checked shards."""

_EXPECTS = JsonFormat(expected="the record of checked shards", fix="remove the file", version=1)
_Seen = tuple[int, int, str]
"""Size in bytes, date in nanoseconds, SHA-256."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _CheckedShards:
    shards: dict[str, _Seen]
    """State of each shard's file when it was found intact, by the shard's name."""


class ShardChecks:
    """Checks the shards of a build, each once as long as its file does not change.

    The results are kept in this process, and in the build's folder by `save`.

    Parameters
    ----------
    folder
        Folder of the build.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen = self._read()

    def is_known(self, shard: Shard) -> bool:
        """Return whether a shard was found intact, by this process or another, and its file has not changed since."""
        now = (*_stat(self._folder, shard), shard.sha256)
        with self._lock:
            if self._seen.get(shard.name) != now and self._read().get(shard.name) == now:
                self._seen[shard.name] = now  # another rank of the same run has checked it meanwhile
            return self._seen.get(shard.name) == now

    def require(self, shard: Shard) -> None:
        """Check a shard unless it is known to be intact; safe from several threads.

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
        """Write what was found to the build's folder; if it is read-only, every process checks the shards itself."""
        with self._lock, suppress(StorageError):
            write_record(self._folder / CHECKED_NAME, _CheckedShards(shards=self._seen), version=_EXPECTS.version)

    def _read(self) -> dict[str, _Seen]:
        path = self._folder / CHECKED_NAME
        try:  # to read a pipe would wait for its writer
            return read_record(path, _CheckedShards, expects=_EXPECTS).shards if path.is_file() else {}
        except (SffshardsError, OSError):
            return {}


def check_shard(folder: Path, shard: Shard) -> tuple[int, int]:
    """Read a whole shard and compare its size and SHA-256 with the manifest.

    Returns
    -------
    size in bytes and date in nanoseconds of the file, taken before it was read

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
    """Return the error for a shard with other bytes, with the SHA-256 and the size that were found, if known."""
    size = shard.size_bytes if size_bytes is None else size_bytes
    return DamageError(
        where,
        expected=f"{shard.size_bytes} bytes with SHA-256 {shard.sha256[:16]}...",
        found=f"{size} bytes" + (f" with SHA-256 {found[:16]}..." if found else ""),
        fix="run `sffshards build` again: it replaces damaged shards",
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
            path, expected="a shard", found="no such file", fix="run `sffshards build` again: it writes missing shards"
        ) from None
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for its writer
        raise DamageError(
            path, expected="a shard", found="not a regular file", fix="remove it and run `sffshards build` again"
        )
    return status.st_size, status.st_mtime_ns
