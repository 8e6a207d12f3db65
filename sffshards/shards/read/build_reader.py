"""Random access to the samples of a build: positional reads, each payload checked against its checksum.

An npy payload is read from the file directly into the caller's array, without another copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64, xxh3_64_intdigest

from sffshards.base.atomic_files import read_exactly, storage_errors
from sffshards.base.errors import ConflictError, DamageError
from sffshards.base.file_reading import open_file_limit
from sffshards.base.package_faces import accepts_text
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import SampleSet
from sffshards.domain.views import View
from sffshards.shards.format import CLIP_SHAPE, REBUILD, VIEWS, Index, Manifest, SampleMeta, check_index, get_codec
from sffshards.shards.read.check_level import CheckLevel
from sffshards.shards.read.manifest_reading import read_manifest
from sffshards.shards.read.open_shards import ShardFiles
from sffshards.shards.read.places import Place, RemoteFolder
from sffshards.shards.read.shard_sources import ShardSource, open_source

_MAX_OPEN = 512
"""Maximum number of open shards, where the system lets a process open many files."""


class RowShards(NamedTuple):
    """The shards and groups of N rows of an index."""

    shards_N: NDArray[np.int64]
    """Number of each row's shard in the manifest: int64 of shape (N,)."""
    groups_N: NDArray[np.int64]
    """Number of that shard's group in the manifest: int64 of shape (N,)."""


@accepts_text
class Build:
    """An open build, local or remote. Reading is safe from several threads, and a build can be pickled.

    The SHA-256 of a shard is checked before its first sample is read, unless the shard is known to be intact. A remote
    shard is fetched when it is first read, and kept open. A caller that reads many shards announces those it needs with
    ``files.expect`` and ``files.release``.
    """

    def __init__(
        self, folder: Place, manifest: Manifest, index: Index, *, source: ShardSource, check: CheckLevel
    ) -> None:
        self.folder = folder
        self.check = check
        self.manifest = manifest
        self.index = index
        self.source = source
        max_open = max(1, min(_MAX_OPEN, open_file_limit() // 4))
        self.files = ShardFiles(lambda number: source.open_shard(manifest.shards[number]), max_open=max_open)
        self._codec = get_codec(manifest.inputs.codec)
        # Copies of the columns that every read needs: access to a field of a memory-mapped record is slow.
        self._shard, self._offset, self._size, self._checksum = (
            np.ascontiguousarray(index[name]) for name in ("shard", "offset", "size", "checksum")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.check, self.manifest.sha256)

    def __len__(self) -> int:
        return len(self.index)

    def set_rows(self, samples: SampleSet) -> NDArray[np.int64]:
        """Return the index rows of a set: int64 of shape (num_samples,), ascending within each group."""
        return self.group_rows(samples.groups(self.manifest.task))

    def group_rows(self, groups: Iterable[str]) -> NDArray[np.int64]:
        """Return the index rows of groups, int64 of shape (num_samples,), in the order of the groups."""
        starts: dict[str, int] = {}
        start = 0
        for name, group in self.manifest.groups.items():
            starts[name] = start
            start += group.num_samples
        ranges = [np.arange(starts[g], starts[g] + self.manifest.groups[g].num_samples) for g in groups]
        return np.concatenate([np.empty(0, np.int64), *ranges]).astype(np.int64)

    def row_shards(self, rows: NDArray[np.int64]) -> RowShards:
        """Return the shard and the group of each row."""
        numbers = {name: number for number, group in enumerate(self.manifest.groups.values()) for name in group.shards}
        groups_S = np.array([numbers[shard.name] for shard in self.manifest.shards], np.int64)
        shards_N = self._shard[rows].astype(np.int64)
        return RowShards(shards_N=shards_N, groups_N=groups_S[shards_N])

    def split_index(self) -> Iterator[Index]:
        """Yield copies of the index rows of each shard, in the order of the manifest."""
        end = 0
        for shard in self.manifest.shards:
            start, end = end, end + shard.num_samples
            yield np.array(self.index[start:end])

    def plain_rows(self) -> NDArray[np.int64]:
        """Return, for every row, the row of the unchanged view ``nf`` of its sequence: int64 of shape (num_rows,)."""
        sequences = np.char.rpartition(np.asarray(self.index["key"]), b"-")[:, 0]
        plain = np.flatnonzero(self.index["view"] == VIEWS.index(View.NF))
        order = plain[np.argsort(sequences[plain])]
        return order[np.searchsorted(sequences[order], sequences)].astype(np.int64)

    def read_clip(self, row: int) -> NDArray[np.uint8]:
        """Read and decode a sample's frames into a new uint8 array of shape (16, 224, 224); raises as `read_into`."""
        clip = np.empty(CLIP_SHAPE, np.uint8)
        self.read_into(row, clip)
        return clip

    def read_into(self, row: int, clip: NDArray[np.uint8]) -> None:
        """Read and decode a sample's frames into an array.

        Parameters
        ----------
        row
            Row of the index.
        clip
            C-contiguous uint8 array of shape (16, 224, 224). After an error its content is undefined.

        Raises
        ------
        DamageError
            If the payload is not the one that was written; the error names shard, key and offset.
        StorageError
            If the system refuses to read.
        """
        if self._codec.raw_header:
            self._read_raw(row, clip)
        else:
            self._codec.decode_into(self.read_payload(row), clip, where=_Where(self, row))

    def read_payload(self, row: int) -> bytes:
        """Return a sample's payload as stored in the tar; raises as `read_into`."""
        payload = self._read(row, self._offset.item(row), self._size.item(row))
        if self.check is CheckLevel.FULL and xxh3_64_intdigest(payload) != self._checksum.item(row):
            raise self._damage(row, "other bytes")
        return payload

    def read_meta(self, row: int) -> SampleMeta:
        """Read a sample's JSON member; raises as `read_into`."""
        entry = self.index[row]
        data = self._read(row, int(entry["meta_offset"]), int(entry["meta_size"]))
        if xxh3_64_intdigest(data) != int(entry["meta_checksum"]):
            raise self._damage(row, "other bytes in its JSON member")
        return SampleMeta.parse(data, where=_Where(self, row))

    def locate(self, row: int) -> str:
        """Return the place of a sample as text: shard, key and offset."""
        entry = self.index[row]
        shard = self._path(int(entry["shard"]))
        return f"{shard}, sample {entry['key'].decode('ascii')}, offset {int(entry['offset'])}"

    def check_shards(self, rows: NDArray[np.int64], *, progress: Progress) -> None:
        """Check now those shards of rows that are not known to be intact.

        Raises
        ------
        DamageError
            If a shard is not as it was written.
        """
        numbers = np.unique(self._shard[rows]).tolist()
        self.source.check([self.manifest.shards[number] for number in numbers], progress=progress)

    @property
    def is_remote(self) -> bool:
        """Whether shards are fetched before they are read."""
        return isinstance(self.folder, RemoteFolder)

    def close(self) -> None:
        """Close all files."""
        self.files.close()

    def _read_raw(self, row: int, clip: NDArray[np.uint8]) -> None:
        header, pixels = bytearray(len(self._codec.raw_header)), clip.data.cast("B")
        if self._size.item(row) != len(header) + clip.nbytes:
            raise self._damage(row, f"an array of {self._size.item(row)} bytes")
        self._fill(row, [header, pixels], self._offset.item(row))
        if header != self._codec.raw_header:
            raise self._damage(row, "another header")
        if self.check is CheckLevel.FULL:
            checksum = xxh3_64(header)
            checksum.update(pixels)
            if checksum.intdigest() != self._checksum.item(row):
                raise self._damage(row, "other bytes")

    def _read(self, row: int, offset: int, size: int) -> bytes:
        data = bytearray(size)
        self._fill(row, [data], offset)
        return bytes(data)

    def _fill(self, row: int, buffers: list[bytearray | memoryview], offset: int) -> None:
        number, wanted = self._shard.item(row), sum(map(len, buffers))
        try:
            descriptor = self.files.enter(number)
            try:
                found = read_exactly(descriptor, buffers, offset)
            finally:
                self.files.leave(number)
        except OSError:
            with storage_errors(self._path(number), expected="a shard that can be read"):
                raise
        if found != wanted:
            raise self._damage(row, f"{found} of {wanted} bytes: the shard is cut off")

    def _path(self, number: int) -> Place:
        return self.folder / self.manifest.shards[number].name

    def _damage(self, row: int, found: str) -> DamageError:
        return DamageError(self.locate(row), expected="the bytes that were written", found=found, fix=REBUILD)


@accepts_text
def open_build(folder: Place, *, check: CheckLevel = CheckLevel.FULL) -> Build:
    """Open a build and check its manifest and its index.

    Parameters
    ----------
    folder
        Local or remote folder of the build; see `sffshards.shards.read.places.parse_place`.
    check
        What is checked each time that a sample is read.

    Raises
    ------
    InputError
        If the folder holds no finished build.
    FormatError
        If the build is of a version that this program does not know.
    DamageError
        If the manifest or the index is not as it was written.
    StorageError
        If the system or a server refuses to read.
    """
    manifest = read_manifest(folder)
    source = open_source(folder)
    index = source.load_index(manifest)
    check_index(index, manifest, path=folder / manifest.index_file.name)
    return Build(folder, manifest, index, source=source, check=check)


def _reopen(folder: Place, check: CheckLevel, sha256: str) -> Build:
    """Open a build in another process, and check that it is still the same build."""
    build = open_build(folder, check=check)
    if build.manifest.sha256 != sha256:
        raise ConflictError(
            folder,
            expected=f"the build that was opened before ({sha256[:12]})",
            found=f"another one ({build.manifest.sha256[:12]})",
            fix="do not change a build while it is read, and run the command again",
        )
    return build


@dataclass(frozen=True, slots=True)
class _Where:
    """The place of a sample, formatted only if an error needs it: formatting takes longer than reading."""

    build: Build
    row: int

    def __str__(self) -> str:
        return self.build.locate(self.row)
