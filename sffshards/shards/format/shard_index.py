"""The index: one row per sample, in the order of the shards, as one numpy structured array.

``index.npy`` needs only numpy and can be memory-mapped; a million rows take 111 MB.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import NO_MAPPING, storage_errors
from sffshards.base.errors import DamageError
from sffshards.domain.frame_sequences import NUM_FRAMES, parse_key
from sffshards.domain.frames import FRAME_SIDE
from sffshards.domain.views import View
from sffshards.shards.format.manifest import REBUILD, Manifest

INDEX_DTYPE = np.dtype(
    [
        ("key", "S48"),
        ("shard", "<u4"),
        ("offset", "<u8"),
        ("size", "<u4"),
        ("meta_offset", "<u8"),
        ("meta_size", "<u4"),
        ("checksum", "<u8"),
        ("meta_checksum", "<u8"),
        ("t_end_tai", "<M8[s]"),
        ("harp", "<u4"),
        ("row", "<u4"),
        ("label", "u1"),
        ("view", "u1"),
        ("num_distinct", "u1"),
    ]
)
"""Columns of the index.

- ``key``: key of the sample in the tar; ``shard``: number of the tar in the manifest's list
- ``offset``, ``size``: place of the payload in the tar, in bytes; ``meta_offset``, ``meta_size``: place of the JSON
- ``checksum``, ``meta_checksum``: XXH3-64 of payload and JSON
- ``t_end_tai``: time of the last frame; ``harp``: HARP number; ``row``: row of the last frame in its label list
- ``label``: 0 or 1; ``view``: position in `View`; ``num_distinct``: number of distinct frames
"""

_MAX_HEADER_BYTES = 4096
"""Upper bound of the size of an index's header, as a damaged one may claim gigabytes."""

_MAX_PAYLOAD_BYTES = 4 * NUM_FRAMES * FRAME_SIDE**2
"""Upper bound of the size of a payload, so that no reader allocates memory for an impossible size."""

_MAX_META_BYTES = 1 << 16
"""Upper bound of the size of a sample's JSON, which takes two kilobytes."""

_KEY_BYTES = b"\0-0123456789Tabcdefghijklmnopqrstuvwxyz"
"""Characters of keys and of their padding."""

_CHECKED_AT_ONCE = 1 << 18

Index = NDArray[np.void]
"""A structured array of `INDEX_DTYPE`."""

VIEWS = tuple(View)
"""Views by their number in the column ``view``."""


def format_index(rows: Index) -> bytes:
    """Return the bytes of an index file."""
    return format_index_header(len(rows)) + rows.tobytes()


def format_index_header(num_rows: int) -> bytes:
    """Return the bytes of an index file that come before those of its rows."""
    buffer = io.BytesIO()
    fields = np.lib.format.header_data_from_array_1_0(np.empty(0, INDEX_DTYPE))
    np.lib.format.write_array_header_1_0(buffer, {**fields, "shape": (num_rows,)})
    return buffer.getvalue()


def read_index(path: Path) -> Index:
    """Memory-map an index.

    Raises
    ------
    DamageError
        If the file is not an array of `INDEX_DTYPE`.
    StorageError
        If the system refuses to read it.
    """
    with storage_errors(path):
        if not path.is_file():
            raise _damage(path, "no such file")
        with path.open("rb") as file:
            head = io.BytesIO(file.read(_MAX_HEADER_BYTES))
        try:
            version = np.lib.format.read_magic(head)
            if version != (1, 0):
                raise ValueError(f"version {version}")
            shape, _, dtype = np.lib.format.read_array_header_1_0(head)
            if dtype != INDEX_DTYPE or len(shape) != 1:
                raise ValueError(f"{len(shape)} dimensions of {dtype}")
            rows = _map_rows(path, head.tell(), shape)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  what numpy raises on a damaged header is not documented
            raise _damage(path, f"a file that numpy cannot read ({error})") from None
    return rows


def _map_rows(path: Path, offset: int, shape: tuple[int, ...]) -> Index:
    """Memory-map the rows; read them where the file system cannot map files."""
    try:
        return np.memmap(path, INDEX_DTYPE, "r", offset=offset, shape=shape)
    except OSError as error:
        if error.errno not in NO_MAPPING:
            raise
        return np.fromfile(path, INDEX_DTYPE, shape[0], offset=offset)


def check_index(rows: Index, manifest: Manifest, *, path: object) -> None:
    """Check an index against the manifest, so that every read stays within its shard and takes little memory.

    Raises
    ------
    DamageError
        If a row is impossible; the first such row is named.
    """
    if len(rows) != (num_samples := manifest.index_file.num_samples):
        raise DamageError(path, expected=f"{num_samples} rows", found=f"{len(rows)}", fix=REBUILD)
    sizes_S = np.array([shard.size_bytes for shard in manifest.shards], np.uint64)
    shards_N = np.repeat(np.arange(len(sizes_S)), [shard.num_samples for shard in manifest.shards])
    ends_N = sizes_S[shards_N]
    right = {"shard": rows["shard"] == shards_N}
    for offset, size, most in (("offset", "size", _MAX_PAYLOAD_BYTES), ("meta_offset", "meta_size", _MAX_META_BYTES)):
        right[size] = (rows[size] <= most) & (rows[size] <= ends_N)
        right[offset] = rows[offset] <= ends_N - np.minimum(rows[size], ends_N)
    right["label"] = rows["label"] <= 1
    right["view"] = rows["view"] < len(VIEWS)
    right["num_distinct"] = (rows["num_distinct"] >= 1) & (rows["num_distinct"] <= NUM_FRAMES)
    right["t_end_tai"] = ~np.isnat(rows["t_end_tai"])
    for name, is_right in right.items():
        if not is_right.all():
            raise _damage(path, f"an impossible {name} in row {int(np.argmin(is_right))}")
    for start in range(0, len(rows), _CHECKED_AT_ONCE):
        if others := rows["key"][start : start + _CHECKED_AT_ONCE].tobytes().translate(None, _KEY_BYTES):
            raise _damage(path, f"a key with byte 0x{others[0]:02x}")
    groups = manifest.groups
    groups_N = np.repeat(np.arange(len(groups)), [group.num_samples for group in groups.values()])
    for (name, group), found in zip(groups.items(), np.bincount(groups_N, rows["label"], len(groups)), strict=True):
        if found != group.num_positive:
            raise _damage(path, f"{int(found)} positives in {name}, of {group.num_positive}")


def sequence_names(rows: Index) -> list[str]:
    """Return the published sequence name of every row."""
    return [parse_key(key.decode("ascii"))[0].name for key in rows["key"]]


def _damage(path: object, found: str) -> DamageError:
    return DamageError(path, expected="the index of a build", found=found[:200], fix=REBUILD)
