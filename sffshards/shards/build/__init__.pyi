from .build_inputs import BuildOptions, read_sequences
from .build_preparation import estimate_build
from .publishing import publish_build
from .shard_build import BuildReport, build_shards, check_build

__all__ = [
    "BuildOptions",
    "BuildReport",
    "build_shards",
    "check_build",
    "estimate_build",
    "publish_build",
    "read_sequences",
]
