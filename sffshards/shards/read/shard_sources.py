"""Open the shards of a build, each checked: those of a local folder, or remote ones by way of the cache."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

from sffshards.base.progress import Progress
from sffshards.shards.format import Index, Manifest, Shard, read_index
from sffshards.shards.read.local_shards import LocalShards
from sffshards.shards.read.open_shards import close_idle_shards
from sffshards.shards.read.places import Place, RemoteFolder


class RemoteShards:
    """Shards of a remote folder, fetched into a cache and hashed on the way; safe from several threads."""

    def __init__(self, folder: RemoteFolder) -> None:
        from sffshards.shards.read.remote_files import RemoteStore
        from sffshards.shards.read.shard_cache import ShardCache

        self._store = RemoteStore(folder)
        self._cache = ShardCache(folder.cache)
        self.limit_bytes: float = folder.cache.limit_bytes

    def open_shard(self, shard: Shard) -> int:
        """Return a descriptor of a shard in the cache; raises as `ShardCache.open` and `RemoteStore.fetch`."""
        fetch = partial(self._store.fetch, shard)
        return self._cache.open(shard.sha256, shard.size_bytes, fetch=fetch, close_idle=close_idle_shards)

    def load_index(self, manifest: Manifest) -> Index:
        """Memory-map the index; raises as `open_shard`."""
        self._cache.check(manifest.index_sha256)  # all samples are found and checked by it
        descriptor = self.open_shard(manifest.index_file)
        try:
            return read_index(self._cache.path(manifest.index_sha256))  # once mapped, it may be removed from the cache
        finally:
            os.close(descriptor)

    def check(self, shards: Iterable[Shard], *, progress: Progress) -> None:
        """Only note what the cache lacks: remote shards are hashed when they are fetched."""
        self._cache.explain(progress)

    def abandon(self) -> None:
        """Stop what is being fetched at this moment; who waits for it gets a `StorageError`."""
        self._store.abandon()


ShardSource = LocalShards | RemoteShards


def open_source(place: Place) -> ShardSource:
    """Return the source of the shards of a build."""
    return RemoteShards(place) if isinstance(place, RemoteFolder) else LocalShards(place)
