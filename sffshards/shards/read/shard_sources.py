"""Open the shards of a build, each checked: those of a local folder, or remote ones by way of the cache."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sffshards.base.errors import DamageError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.progress import Progress
from sffshards.domain.task import PUBLISHED_TASKS
from sffshards.shards.format import MANIFEST_NAME, Manifest, Shard, find_builds, parse_manifest, read_manifest
from sffshards.shards.read.open_shards import close_idle_shards
from sffshards.shards.read.places import Place, RemoteFolder
from sffshards.shards.read.shard_checks import ShardChecks

if TYPE_CHECKING:
    from sffshards.shards.format import Index

__all__ = ["LocalShards", "RemoteShards", "ShardSource", "find_manifest", "load_builds", "load_manifest", "open_source"]

_CHECKING_THREADS = 4


class LocalShards:
    """Shards in a folder. Each is hashed before it is first read, unless an earlier check holds; see `ShardChecks`."""

    is_remote = False
    limit_bytes: float = math.inf
    """Bytes of shards that can be held at one time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checks = ShardChecks(folder)

    def load_index(self, manifest: Manifest) -> Index:
        """Memory-map the index; raises `DamageError` if it is not the one that the manifest states."""
        from sffshards.shards.format import INDEX_NAME, read_index

        path = self._folder / INDEX_NAME
        index = read_index(path)
        found = hash_file(path) if path.stat().st_size == manifest.index_size_bytes else "of another size"
        num_samples = sum(group.num_samples for group in manifest.groups.values())
        if found != manifest.index_sha256 or len(index) != num_samples:
            raise DamageError(
                path,
                expected=f"{num_samples} rows with SHA-256 {manifest.index_sha256[:16]}...",
                found=f"{len(index)} rows with SHA-256 {found[:16]}...",
                fix="run `sffshards build` again",
            )
        return index

    def open_shard(self, shard: Shard) -> int:
        """Return a descriptor of a shard; raises `DamageError` if it is not the one that was written."""
        if not self._checks.is_known(shard):
            self._checks.require(shard)
            self._checks.save()
        return os.open(self._folder / shard.name, os.O_RDONLY)

    def check(self, shards: Iterable[Shard], *, progress: Progress) -> None:
        """Check the shards that no earlier check holds for; raises `DamageError` if one is not as it was written."""
        unknown = [shard for shard in shards if not self._checks.is_known(shard)]
        if not unknown:
            return
        with (
            progress.task("Check shards, once", len(unknown)) as advance,
            ThreadPoolExecutor(_CHECKING_THREADS, thread_name_prefix="check") as pool,
        ):
            try:
                for _ in pool.map(self._checks.require, unknown):
                    advance(1)
            finally:
                self._checks.save()

    def abandon(self) -> None:
        """Do nothing: local shards are not fetched."""


class RemoteShards:
    """Shards of a remote folder, fetched into a cache and hashed on the way; safe from several threads."""

    is_remote = True

    def __init__(self, folder: RemoteFolder) -> None:
        from sffshards.shards.read.remote_files import RemoteStore
        from sffshards.shards.read.shard_cache import ShardCache

        self._store = RemoteStore(folder)
        self._cache = ShardCache(folder.cache)
        self.limit_bytes: float = folder.cache.limit_bytes

    def open_shard(self, shard: Shard) -> int:
        """Return a descriptor of a shard in the cache; raises as `ShardCache.open` and `RemoteStore.fetch`."""
        return self._open(shard.name, shard.size_bytes, shard.sha256)

    def load_index(self, manifest: Manifest) -> Index:
        """Memory-map the index; raises as `open_shard`."""
        from sffshards.shards.format import INDEX_NAME, read_index

        sha256 = manifest.index_sha256
        descriptor = self._open(INDEX_NAME, manifest.index_size_bytes, sha256)
        try:
            return read_index(self._cache.path(sha256))  # once mapped, it may be removed from the cache
        finally:
            os.close(descriptor)

    def check(self, shards: Iterable[Shard], *, progress: Progress) -> None:
        """Do nothing: remote shards are hashed when they are fetched."""

    def abandon(self) -> None:
        """Stop what is being fetched at this moment; who waits for it gets a `StorageError`."""
        self._store.abandon()

    def _open(self, name: str, size_bytes: int, sha256: str) -> int:
        fetch = partial(self._store.fetch, name, size_bytes=size_bytes, sha256=sha256)
        return self._cache.open(sha256, size_bytes, fetch=fetch, close_idle=close_idle_shards)


ShardSource = LocalShards | RemoteShards


def open_source(place: Place) -> ShardSource:
    """Return the source of the shards of a build."""
    return RemoteShards(place) if isinstance(place, RemoteFolder) else LocalShards(place)


def load_manifest(place: Place) -> Manifest:
    """Read the manifest of a build, local or remote; raises as `read_manifest`, and `StorageError`."""
    if not isinstance(place, RemoteFolder):
        return read_manifest(place / MANIFEST_NAME)
    manifest = find_manifest(place)
    if manifest is None:
        raise InputError(
            place,
            expected=f"a build, with a {MANIFEST_NAME}",
            found="no such file; an unfinished build has none",
            fix="write one there with `sffshards build` and {out}, or name the folder of a build",
        )
    return manifest


def load_builds(place: Place) -> dict[Place, Manifest]:
    """Return the manifests of a build, or of all builds directly in a folder; in a remote one, of the published tasks.

    Raises
    ------
    InputError
        If there is none.
    """
    if not isinstance(place, RemoteFolder):
        return {folder: read_manifest(folder / MANIFEST_NAME) for folder in find_builds(place)}
    if manifest := find_manifest(place):
        return {place: manifest}
    folders = [place / task.folder for task in PUBLISHED_TASKS]
    found: dict[Place, Manifest] = {folder: manifest for folder in folders if (manifest := find_manifest(folder))}
    if not found:
        raise InputError(
            place,
            expected=f"a build, or a folder with builds in {' or '.join(task.folder for task in PUBLISHED_TASKS)}",
            found=f"no {MANIFEST_NAME} in any of them",
            fix="check the address, or write a build there with `sffshards build` and {out}",
        )
    return found


def find_manifest(folder: RemoteFolder) -> Manifest | None:
    """Read the manifest of a remote build; None if there is none."""
    from sffshards.shards.read.remote_files import RemoteStore

    data = RemoteStore(folder).read(MANIFEST_NAME)
    return None if data is None else parse_manifest(data, where=folder / MANIFEST_NAME)
