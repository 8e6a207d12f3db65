from .build_inputs import BuildOptions, describe_images
from .build_parts import BuildPart, PartReport, build_part
from .build_preparation import estimate_build
from .build_verification import verify_build, verify_build_deep
from .publishing import publish_build
from .shard_build import BuildReport, build_shards, check_build

__all__ = [
    "BuildOptions",
    "BuildPart",
    "BuildReport",
    "PartReport",
    "build_part",
    "build_shards",
    "check_build",
    "describe_images",
    "estimate_build",
    "publish_build",
    "verify_build",
    "verify_build_deep",
]
