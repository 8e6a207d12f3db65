"""Reading shards, local or remote, and verifying them."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.shards.read.build_reader import Build, RowShards, open_build
    from sffshards.shards.read.build_verification import verify_build, verify_build_deep
    from sffshards.shards.read.check_level import CheckLevel
    from sffshards.shards.read.contact_sheet import find_samples, write_sheet
    from sffshards.shards.read.places import (
        READ_ONLY,
        CacheOptions,
        Place,
        RemoteFolder,
        default_cache_folder,
        parse_place,
    )
    from sffshards.shards.read.remote_files import RemoteFile, RemoteStore
    from sffshards.shards.read.shard_checks import CHECKED_NAME, check_shard
    from sffshards.shards.read.shard_sources import find_manifest, load_builds

__all__ = [
    "CHECKED_NAME",
    "READ_ONLY",
    "Build",
    "CacheOptions",
    "CheckLevel",
    "Place",
    "RemoteFile",
    "RemoteFolder",
    "RemoteStore",
    "RowShards",
    "check_shard",
    "default_cache_folder",
    "find_manifest",
    "find_samples",
    "load_builds",
    "open_build",
    "parse_place",
    "verify_build",
    "verify_build_deep",
    "write_sheet",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "build_reader": ("Build", "RowShards", "open_build"),
        "build_verification": ("verify_build", "verify_build_deep"),
        "check_level": ("CheckLevel",),
        "contact_sheet": ("find_samples", "write_sheet"),
        "places": ("CacheOptions", "Place", "READ_ONLY", "RemoteFolder", "default_cache_folder", "parse_place"),
        "remote_files": ("RemoteFile", "RemoteStore"),
        "shard_checks": ("CHECKED_NAME", "check_shard"),
        "shard_sources": ("find_manifest", "load_builds"),
    },
)
