"""The shard format: codecs, index, manifest, and the JSON of a sample."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.shards.format.codecs import (
        CLIP_SHAPE,
        NPY_HEADER_BYTES,
        Codec,
        CodecName,
        FrameCodec,
        get_codec,
        npy_header,
    )
    from sffshards.shards.format.dataset_card import CARD_NAME, format_card
    from sffshards.shards.format.jpeg_splice import PLACE_DTYPE, Piece
    from sffshards.shards.format.manifest import (
        MANIFEST_NAME,
        BuildInputs,
        Group,
        Manifest,
        Shard,
        SourceList,
        all_groups,
        find_builds,
        parse_manifest,
        read_manifest,
    )
    from sffshards.shards.format.manifest_checks import format_shard_name
    from sffshards.shards.format.sample_json import SampleMeta
    from sffshards.shards.format.shard_index import (
        INDEX_DTYPE,
        INDEX_NAME,
        VIEWS,
        Index,
        check_index,
        format_index,
        read_index,
        sequence_names,
    )

__all__ = [
    "CARD_NAME",
    "CLIP_SHAPE",
    "INDEX_DTYPE",
    "INDEX_NAME",
    "MANIFEST_NAME",
    "NPY_HEADER_BYTES",
    "PLACE_DTYPE",
    "VIEWS",
    "BuildInputs",
    "Codec",
    "CodecName",
    "FrameCodec",
    "Group",
    "Index",
    "Manifest",
    "Piece",
    "SampleMeta",
    "Shard",
    "SourceList",
    "all_groups",
    "check_index",
    "find_builds",
    "format_card",
    "format_index",
    "format_shard_name",
    "get_codec",
    "npy_header",
    "parse_manifest",
    "read_index",
    "read_manifest",
    "sequence_names",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "codecs": ("CLIP_SHAPE", "Codec", "CodecName", "FrameCodec", "NPY_HEADER_BYTES", "get_codec", "npy_header"),
        "dataset_card": ("CARD_NAME", "format_card"),
        "jpeg_splice": ("PLACE_DTYPE", "Piece"),
        "manifest": (
            "BuildInputs",
            "Group",
            "MANIFEST_NAME",
            "Manifest",
            "Shard",
            "SourceList",
            "all_groups",
            "find_builds",
            "parse_manifest",
            "read_manifest",
        ),
        "manifest_checks": ("format_shard_name",),
        "sample_json": ("SampleMeta",),
        "shard_index": (
            "INDEX_DTYPE",
            "INDEX_NAME",
            "Index",
            "VIEWS",
            "check_index",
            "format_index",
            "read_index",
            "sequence_names",
        ),
    },
)
