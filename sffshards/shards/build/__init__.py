"""Building shards: plan, write what is missing, then index, card and manifest."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.shards.build.build_inputs import BuildOptions, read_sequences
    from sffshards.shards.build.build_preparation import estimate_build
    from sffshards.shards.build.publishing import publish_build
    from sffshards.shards.build.shard_build import BuildReport, build_shards, check_build
    from sffshards.shards.build.shard_plan import Sample

__all__ = [
    "BuildOptions",
    "BuildReport",
    "Sample",
    "build_shards",
    "check_build",
    "estimate_build",
    "publish_build",
    "read_sequences",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "build_inputs": ("BuildOptions", "read_sequences"),
        "build_preparation": ("estimate_build",),
        "publishing": ("publish_build",),
        "shard_build": ("BuildReport", "build_shards", "check_build"),
        "shard_plan": ("Sample",),
    },
)
