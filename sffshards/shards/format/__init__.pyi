from .codec_names import CodecName
from .codecs import CLIP_SHAPE, Codec, get_codec
from .dataset_card import CARD_NAME, format_card
from .jpeg_splice import PLACE_DTYPE, Piece, encode_frames, join_pieces
from .manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    REBUILD,
    SYNTHETIC_IMAGES,
    BuildInputs,
    Group,
    Manifest,
    Shard,
    SourceList,
    all_groups,
    format_shard_name,
    parse_manifest,
)
from .sample_json import SampleMeta
from .shard_index import (
    INDEX_DTYPE,
    VIEWS,
    Index,
    check_index,
    format_index,
    format_index_header,
    read_index,
    sequence_names,
)

__all__ = [
    "CARD_NAME",
    "CLIP_SHAPE",
    "INDEX_DTYPE",
    "INDEX_NAME",
    "MANIFEST_NAME",
    "PLACE_DTYPE",
    "REBUILD",
    "SYNTHETIC_IMAGES",
    "VIEWS",
    "BuildInputs",
    "Codec",
    "CodecName",
    "Group",
    "Index",
    "Manifest",
    "Piece",
    "SampleMeta",
    "Shard",
    "SourceList",
    "all_groups",
    "check_index",
    "encode_frames",
    "format_card",
    "format_index",
    "format_index_header",
    "format_shard_name",
    "get_codec",
    "join_pieces",
    "parse_manifest",
    "read_index",
    "sequence_names",
]
