"""Open a build and read its samples at random: positional reads, each payload checked against its checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.atomic import storage_errors
from sffshards.errors import DamageError
from sffshards.records import Protocol, Stage, Variant
from sffshards.shards.codec import get_codec
from sffshards.shards.index import INDEX_NAME, Index, read_index
from sffshards.shards.manifest import MANIFEST_NAME, Manifest, read_manifest

__all__ = ["Build", "open_build"]


class Build:
    """A build on disk. Reading is safe from several threads; a build survives being sent to another process."""

    def __init__(self, folder: Path, manifest: Manifest, index: Index) -> None:
        self.folder = folder
        self.manifest = manifest
        self.index = index
        self._codec = get_codec(manifest.inputs.codec)
        self._descriptors: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_build, (self.folder,)

    def __len__(self) -> int:
        return len(self.index)

    def stage_rows(self, variant: Variant, stage: Stage, *, fold: int, protocol: Protocol) -> NDArray[np.int64]:
        """Give the index rows of a set: int64 of shape (num_samples,), ascending within each group."""
        return self.group_rows(self.manifest.stage_groups(variant, stage, fold=fold, protocol=protocol))

    def group_rows(self, groups: Iterable[str]) -> NDArray[np.int64]:
        """Give the index rows of groups, int64 of shape (num_samples,), in the order of the groups."""
        starts: dict[str, int] = {}
        start = 0
        for name, group in self.manifest.groups.items():
            starts[name] = start
            start += group.num_samples
        ranges = [np.arange(starts[g], starts[g] + self.manifest.groups[g].num_samples) for g in groups]
        return np.concatenate([np.empty(0, np.int64), *ranges]).astype(np.int64)

    def read_clip(self, row: int) -> NDArray[np.uint8]:
        """Read and decode a sample's frames.

        Returns
        -------
        uint8 array of shape (16, 224, 224), perhaps read-only

        Raises
        ------
        DamageError
            If the payload is not the one that was written; shard, key and offset are named.
        """
        return self._codec.decode(self.read_payload(row), where=self.locate(row))

    def read_payload(self, row: int) -> bytes:
        """Read a sample's payload as it lies in the tar; raises as `read_clip`."""
        entry = self.index[row]
        payload = self._read(row, int(entry["offset"]), int(entry["size"]))
        if xxh3_64_intdigest(payload) != int(entry["checksum"]):
            raise self._damage(row, "other bytes")
        return payload

    def read_meta(self, row: int) -> dict[str, Any]:
        """Read what a sample's JSON member says."""
        entry = self.index[row]
        data = self._read(row, int(entry["meta_offset"]), int(entry["meta_size"]))
        try:
            meta: dict[str, Any] = json.loads(data)
        except ValueError:
            raise self._damage(row, "a JSON member that does not parse") from None
        return meta

    def locate(self, row: int) -> str:
        """Say where a sample lies: shard, key and offset."""
        entry = self.index[row]
        shard = self.folder / self.manifest.shards[int(entry["shard"])].name
        return f"{shard}, sample {entry['key'].decode('ascii')}, offset {int(entry['offset'])}"

    def close(self) -> None:
        """Let go of all files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _read(self, row: int, offset: int, size: int) -> bytes:
        number = int(self.index[row]["shard"])
        path = self.folder / self.manifest.shards[number].name
        with storage_errors(path, expected="a shard that can be read"):
            descriptor = self._descriptors.get(number)
            if descriptor is None:
                opened = os.open(path, os.O_RDONLY)
                descriptor = self._descriptors.setdefault(number, opened)
                if descriptor != opened:  # another thread was first
                    os.close(opened)
            data = os.pread(descriptor, size, offset)
        if len(data) != size:
            raise self._damage(row, f"{len(data)} of {size} bytes: the shard is cut off")
        return data

    def _damage(self, row: int, found: str) -> DamageError:
        return DamageError(
            self.locate(row),
            expected="the bytes that were written",
            found=found,
            fix="run `sffshards build` again: it writes damaged shards anew",
        )


def open_build(folder: Path) -> Build:
    """Open a build: its manifest and its index, each checked.

    Raises
    ------
    InputError
        If the folder holds no finished build.
    FormatError
        If it is of a version that this program does not know.
    DamageError
        If manifest or index are not as they were written.
    """
    manifest = read_manifest(folder / MANIFEST_NAME)
    path = folder / INDEX_NAME
    index = read_index(path)
    with storage_errors(path), path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    num_samples = sum(group.num_samples for group in manifest.groups.values())
    if found != manifest.index_sha256 or len(index) != num_samples:
        raise DamageError(
            path,
            expected=f"{num_samples} rows with SHA-256 {manifest.index_sha256[:16]}...",
            found=f"{len(index)} rows with SHA-256 {found[:16]}...",
            fix="run `sffshards build` again",
        )
    return Build(folder, manifest, index)
