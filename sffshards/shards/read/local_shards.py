"""The shards of a local build: each is hashed before it is first read, then known by size and date."""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, StorageError
from sffshards.base.file_hashes import hash_file
from sffshards.base.json_records import read_own_record, write_record
from sffshards.base.package_faces import accepts_text
from sffshards.base.progress import Progress
from sffshards.shards.format import REBUILD, Index, Manifest, Shard, read_index

CHECKED_NAME = ".checked.json"
"""Name of the file in a build's folder that remembers checked shards."""

_CHECKED_VERSION = 1
_NUM_THREADS = 4

_Seen = tuple[int, int, str]
"""Size in bytes, date in nanoseconds, SHA-256."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _CheckedShards:
    shards: dict[str, _Seen]
    """State of each shard's file when it was found intact, by the shard's name."""


class LocalShards:
    """The shards in a folder, each checked once as long as its file does not change; safe from several threads.

    The results are kept in this process and in the build's folder. If that is read-only, every process checks the
    shards itself.

    Parameters
    ----------
    folder
        Folder of the build.
    """

    limit_bytes: float = math.inf
    """Bytes of shards that can be held at one time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen = self._read_seen()

    def load_index(self, manifest: Manifest) -> Index:
        """Memory-map the index; raises `DamageError` if it is not the one that the manifest states."""
        check_shard(self._folder, manifest.index_file)
        return read_index(self._folder / manifest.index_file.name)

    def open_shard(self, shard: Shard) -> int:
        """Return a descriptor of a shard; raises as `check_shard`."""
        if not self._is_known(shard):
            self._check(shard)
            self._save()
        return os.open(self._folder / shard.name, os.O_RDONLY)

    def check(self, shards: Iterable[Shard], *, progress: Progress) -> None:
        """Check the shards that are not known to be intact; raises as `check_shard`."""
        unknown = [shard for shard in shards if not self._is_known(shard)]
        if not unknown:
            return
        with (
            progress.task("Check shards, once", len(unknown)) as advance,
            ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="check") as pool,
        ):
            try:
                for _ in pool.map(self._check, unknown):
                    advance(1)
            finally:
                self._save()

    def abandon(self) -> None:
        """Do nothing: local shards are not fetched."""

    def _is_known(self, shard: Shard) -> bool:
        """Return whether a shard was found intact, by this process or another, and its file has not changed since."""
        now = (*_stat(self._folder, shard), shard.sha256)
        with self._lock:
            if self._seen.get(shard.name) != now and self._read_seen().get(shard.name) == now:
                self._seen[shard.name] = now  # another rank of the same run has checked it meanwhile
            return self._seen.get(shard.name) == now

    def _check(self, shard: Shard) -> None:
        before = check_shard(self._folder, shard)
        with self._lock:
            self._seen[shard.name] = (*before, shard.sha256)

    def _read_seen(self) -> dict[str, _Seen]:
        with suppress(StorageError):
            record = read_own_record(self._folder / CHECKED_NAME, _CheckedShards, version=_CHECKED_VERSION)
            return record.shards if record else {}
        return {}

    def _save(self) -> None:
        with self._lock, suppress(StorageError):
            write_record(self._folder / CHECKED_NAME, _CheckedShards(shards=self._seen), version=_CHECKED_VERSION)


@accepts_text
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
        raise shard.damage(path, found, size_bytes=before[0])
    return before


def _stat(folder: Path, shard: Shard) -> tuple[int, int]:
    path = folder / shard.name
    try:
        with storage_errors(path, expected="a shard that can be read"):
            status = path.stat()
    except StorageError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise DamageError(path, expected="a file of a build", found="no such file", fix=REBUILD) from None
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for its writer
        fix = "remove it and run `sffshards build` again"
        raise DamageError(path, expected="a file of a build", found="not a regular file", fix=fix)
    return status.st_size, status.st_mtime_ns
