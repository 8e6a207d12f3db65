"""The shard format: codecs, index, manifest; building, reading and verifying shards. Usable without torch."""

from typing import TYPE_CHECKING

from sffshards.lazy import import_on_demand

if TYPE_CHECKING:
    from sffshards.shards.build import BuildReport, build_shards, check_build
    from sffshards.shards.codec import CLIP_SHAPE
    from sffshards.shards.inputs import BuildOptions
    from sffshards.shards.manifest import MANIFEST_NAME, Manifest, find_builds, read_manifest
    from sffshards.shards.prepare import Estimate, estimate_build
    from sffshards.shards.publish import check_target, publish_build
    from sffshards.shards.reader import Build, RowShards, open_build
    from sffshards.shards.sources import load_builds, load_manifest
    from sffshards.shards.verify import verify_build, verify_build_deep

__all__ = [
    "CLIP_SHAPE",
    "MANIFEST_NAME",
    "Build",
    "BuildOptions",
    "BuildReport",
    "Estimate",
    "Manifest",
    "RowShards",
    "build_shards",
    "check_build",
    "check_target",
    "estimate_build",
    "find_builds",
    "load_builds",
    "load_manifest",
    "open_build",
    "publish_build",
    "read_manifest",
    "verify_build",
    "verify_build_deep",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "build": ("BuildReport", "build_shards", "check_build"),
        "codec": ("CLIP_SHAPE",),
        "manifest": ("MANIFEST_NAME", "Manifest", "find_builds", "read_manifest"),
        "inputs": ("BuildOptions",),
        "prepare": ("Estimate", "estimate_build"),
        "publish": ("check_target", "publish_build"),
        "reader": ("Build", "RowShards", "open_build"),
        "sources": ("load_builds", "load_manifest"),
        "verify": ("verify_build", "verify_build_deep"),
    },
)
