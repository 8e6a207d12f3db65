"""Builds that lie elsewhere: URLs, the files behind them, and a cache of shards on a disk of one's own."""

from sffshards.remote.place import CacheOptions, Place, RemoteFolder, default_cache_folder, parse_place

__all__ = ["CacheOptions", "Place", "RemoteFolder", "default_cache_folder", "parse_place"]
