from .codec_names import CodecName
from .codecs import CLIP_SHAPE, NPY_HEADER_BYTES, Codec, FrameCodec, get_codec, npy_header
from .dataset_card import CARD_NAME, format_card
from .jpeg_splice import PLACE_DTYPE, Piece
from .manifest import (
    MANIFEST_NAME,
    SYNTHETIC_IMAGES,
    BuildInputs,
    Group,
    Manifest,
    Shard,
    SourceList,
    all_groups,
    find_builds,
    format_shard_name,
    parse_manifest,
    read_manifest,
)
from .sample_json import SampleMeta
from .shard_index import INDEX_DTYPE, INDEX_NAME, VIEWS, Index, check_index, format_index, read_index, sequence_names

__all__ = [
    "CARD_NAME",
    "CLIP_SHAPE",
    "INDEX_DTYPE",
    "INDEX_NAME",
    "MANIFEST_NAME",
    "NPY_HEADER_BYTES",
    "PLACE_DTYPE",
    "SYNTHETIC_IMAGES",
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
