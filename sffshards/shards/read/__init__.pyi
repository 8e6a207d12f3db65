from .build_reader import Build, RowShards, open_build
from .check_level import CheckLevel
from .contact_sheet import find_samples, write_sheet
from .local_shards import CHECKED_NAME, check_shard
from .manifest_reading import find_builds, find_manifest, load_builds, read_manifest
from .places import CacheOptions, Place, RemoteFolder, default_cache_folder, parse_place
from .remote_files import READ_ONLY, RemoteFile, RemoteStore
from .shard_cache import cache_too_small
from .tar_members import check_members

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
    "cache_too_small",
    "check_members",
    "check_shard",
    "default_cache_folder",
    "find_builds",
    "find_manifest",
    "find_samples",
    "load_builds",
    "open_build",
    "parse_place",
    "read_manifest",
    "write_sheet",
]
