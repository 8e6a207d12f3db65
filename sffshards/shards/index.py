"""The index: a row a sample, in the order of the shards, as one numpy structured array.

``index.npy`` needs no reader but numpy and can be memory-mapped; a million rows are 111 MB.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.atomic import storage_errors
from sffshards.errors import DamageError
from sffshards.names import key_to_sequence_name
from sffshards.records import View

__all__ = ["INDEX_DTYPE", "INDEX_NAME", "VIEWS", "Index", "format_index", "read_index", "sequence_names"]

INDEX_NAME = "index.npy"
"""The index's file name in a build."""

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

``key``: the sample's key in the tar; ``shard``: number of its tar in the manifest's list; ``offset``, ``size``: where
the payload lies in the tar, in bytes; ``meta_offset``, ``meta_size``: likewise its JSON; ``checksum``,
``meta_checksum``: XXH3-64 of either; ``t_end_tai``: time of the last frame; ``harp``: HARP number; ``row``: row of the
last frame in its label list; ``label``: 0 or 1; ``view``: position in `View`; ``num_distinct``: number of distinct
frames.
"""

Index = NDArray[np.void]
"""A structured array of `INDEX_DTYPE`."""

VIEWS = tuple(View)
"""What the numbers in the column ``view`` stand for."""


def format_index(rows: Index) -> bytes:
    """Give the bytes of an index file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, rows, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def read_index(path: Path) -> Index:
    """Memory-map an index.

    Raises
    ------
    DamageError
        If the file is no array of `INDEX_DTYPE`.
    StorageError
        If the system refuses to read it.
    """
    if not path.is_file():
        raise _damage(path, "no such file")
    with storage_errors(path):
        try:
            rows: Index = np.load(path, mmap_mode="r", allow_pickle=False)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  what numpy raises on a damaged header is not documented
            raise _damage(path, f"a file that numpy does not read ({error})") from None
    if not isinstance(rows, np.ndarray):
        raise _damage(path, "an archive")
    if rows.dtype != INDEX_DTYPE or rows.ndim != 1:
        raise _damage(path, f"an array of {rows.ndim} dimensions and {rows.dtype}")
    return rows


def sequence_names(rows: Index) -> list[str]:
    """Give the published sequence name of every row."""
    return [key_to_sequence_name(key.decode("ascii")) for key in rows["key"]]


def _damage(path: Path, found: str) -> DamageError:
    return DamageError(path, expected="the index of a build", found=found[:200], fix="run `sffshards build` again")
