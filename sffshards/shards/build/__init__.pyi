from .build_inputs import BuildOptions, read_sequences
from .build_preparation import estimate_build
from .publishing import publish_build
from .shard_build import BuildReport, build_shards, check_build
from .shard_plan import list_samples
from .shard_writer import read_clip, read_images

__all__ = [
    "BuildOptions",
    "BuildReport",
    "build_shards",
    "check_build",
    "estimate_build",
    "list_samples",
    "publish_build",
    "read_clip",
    "read_images",
    "read_sequences",
]
