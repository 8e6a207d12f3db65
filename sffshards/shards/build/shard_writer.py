"""Write one shard: frames from the store, encoded, into a tar that appears under its name only when whole."""

from __future__ import annotations

import gc
import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.atomic_files import replacing, write_atomic
from sffshards.base.errors import DamageError, SffshardsError
from sffshards.base.json_records import JsonFormat, Sha256, read_record, write_record
from sffshards.domain.frame_sequences import Sample
from sffshards.domain.frames import IMAGE_SUFFIX
from sffshards.domain.views import apply_view
from sffshards.images import StoreSnapshot, open_snapshot, read_frame
from sffshards.shards.build.build_folder import records_folder
from sffshards.shards.build.encoded_frames import EncodedSnapshot, open_encoded
from sffshards.shards.build.shard_plan import ShardPlan
from sffshards.shards.format import (
    INDEX_DTYPE,
    VIEWS,
    CodecName,
    Index,
    SampleMeta,
    Shard,
    format_index,
    get_codec,
    join_pieces,
    read_index,
)
from sffshards.shards.read import check_shard

if TYPE_CHECKING:
    from webdataset.writer import TarWriter

_BLOCK = 512
"""Size in bytes of a tar's header, and of the blocks that every member is padded to."""

_BUFFER_BYTES = 1 << 20
"""Bytes written at once; tarfile and Python would make a system call for every few kilobytes."""

_EXPECTS = JsonFormat(expected="the record of a shard", fix="run `sffshards build` again")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """What a worker process needs to write one shard."""

    plan: ShardPlan
    codec: CodecName
    store: StoreSnapshot
    """Frame store, as it was when the inputs of the build were fixed."""
    encoded: EncodedSnapshot | None = None
    """Frames that were encoded once for all shards; None where the codec cannot."""
    out: Path
    """Folder of the build."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _ShardRecord:
    """What a later run checks a shard against."""

    shard: Shard
    rows_sha256: Sha256
    """SHA-256 of the shard's index rows."""


class HashedStream:
    """A binary stream that computes the SHA-256 and the size of what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of the written bytes, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Write to the file."""
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        """Do nothing: tarfile closes its stream, but the file belongs to the caller."""


def prepare_worker() -> None:
    """Import webdataset, the slowest import of shard writing, before there is a shard to write."""
    import webdataset.writer  # noqa: F401


def write_shard(task: ShardTask) -> Shard:
    """Write a shard and, before it appears under its name, the record that a later run checks it against."""
    path = task.out / task.plan.name
    with _frozen_plans(), replacing(path) as temporary, temporary.open("wb", buffering=_BUFFER_BYTES) as file:
        stream = HashedStream(file)
        rows = _write_samples(task, stream)
        file.flush()
        shard = Shard(name=task.plan.name, num_samples=len(rows), size_bytes=stream.size_bytes, sha256=stream.sha256)
        write_shard_record(task, shard, rows)
    return shard


def verify_written(task: ShardTask) -> bool:
    """Return whether the shard of an earlier run is there, intact and as recorded."""
    try:
        shard, _ = read_shard_record(task)
    except SffshardsError:
        return False
    try:
        check_shard(task.out, shard)
    except DamageError:
        return False
    return True


def read_shard_record(task: ShardTask) -> tuple[Shard, Index]:
    """Return the record of a shard that was written, and its index rows; raises `SffshardsError` if it has none."""
    path = _record_path(task)
    record, rows = read_record(path, _ShardRecord, expects=_EXPECTS), read_index(path.with_suffix(".npy"))
    if hashlib.sha256(format_index(rows)).hexdigest() != record.rows_sha256:
        raise DamageError(path, expected=_EXPECTS.expected, found="that of other index rows", fix=_EXPECTS.fix)
    return record.shard, rows


def read_clip(sample: Sample, read_frames: Callable[[list[str]], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the clip of a sample, uint8 of shape (16, 224, 224), from a function that reads frames by their names."""
    frames = read_frames([frame.name for frame in sample.sequence.frames])
    return np.ascontiguousarray(apply_view(frames, sample.view))


def read_images(folder: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """Read frames from their images, each once, as `FrameStore.read` does from the store; raises as `read_frame`."""
    frames = {name: read_frame(folder / f"{name}{IMAGE_SUFFIX}") for name in set(names)}
    return np.stack([frames[name] for name in names])


def sample_size_bytes(payload: bytes, sample: Sample) -> int:
    """Return the size in bytes of a sample in a tar: three members, each a header and padded content."""
    members = (payload, _format_label(sample), SampleMeta.of(sample).to_bytes())
    return sum(_BLOCK + _padded(len(member)) for member in members)


def _open_tar(stream: HashedStream) -> TarWriter:
    """Return webdataset's writer, with its tar written directly to the stream.

    By default a buffer of tarfile lies between. It copies all that it holds for every 10 kB that it passes on, which
    takes as long as the rest of the tar. When it is garbage-collected after an error, it ends the tar as if the tar
    were complete.
    """
    from webdataset.writer import TarWriter

    tar = TarWriter(stream, encoder=False, user="", group="", mode=0o644, mtime=0)
    tar.tarstream.fileobj = stream
    tar.tarstream.format = tarfile.USTAR_FORMAT  # webdataset does not pass its own choice on
    tar.tarstream.copybufsize = _BUFFER_BYTES  # the default is 16 kB
    return tar


@contextmanager
def _frozen_plans() -> Iterator[None]:
    """Exclude existing objects from garbage collection while the block runs: a plan has thousands of records."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _write_samples(task: ShardTask, stream: HashedStream) -> Index:
    """Write the samples of a shard to a stream and return their index rows."""
    rows = np.zeros(len(task.plan.samples), INDEX_DTYPE)
    tar = _open_tar(stream)
    offset = 0
    for position, sample in enumerate(task.plan.samples):
        meta = SampleMeta.of(sample)
        payload = _make_payload(task, sample, meta)
        members = {"cls": _format_label(sample), str(task.codec): payload, "json": meta.to_bytes()}
        tar.write({"__key__": sample.key, **members})
        starts, offset = _locate_members(members, offset)
        rows[position] = _index_row(sample, meta, task.codec, members, starts)
    tar.close()
    return rows


def _locate_members(members: dict[str, bytes], offset: int) -> tuple[dict[str, int], int]:
    """Return the offsets of the contents of a sample's members in the tar, and that of the next sample."""
    starts = {}
    for extension in sorted(members):  # the order in which TarWriter writes them
        starts[extension] = offset + _BLOCK
        offset += _BLOCK + _padded(len(members[extension]))
    return starts, offset


def _index_row(
    sample: Sample, meta: SampleMeta, codec: CodecName, members: dict[str, bytes], starts: dict[str, int]
) -> tuple[Any, ...]:
    payload, sequence = members[codec], sample.sequence
    return (
        sample.key.encode("ascii"),
        0,  # number of the shard, known when all are written
        starts[codec],
        len(payload),
        starts["json"],
        len(members["json"]),
        xxh3_64_intdigest(payload),
        xxh3_64_intdigest(members["json"]),
        np.datetime64(sequence.t_end_tai, "s"),
        sequence.harp,
        sequence.row,
        sequence.label,
        VIEWS.index(sample.view),
        meta.num_distinct,
    )


def write_shard_record(task: ShardTask, shard: Shard, rows: Index) -> None:
    """Write the record of a shard: the index rows first, then the JSON with their checksum, which makes it valid."""
    path, data = _record_path(task), format_index(rows)
    write_atomic(path.with_suffix(".npy"), data)
    write_record(path, _ShardRecord(shard=shard, rows_sha256=hashlib.sha256(data).hexdigest()))


def _record_path(task: ShardTask) -> Path:
    return (records_folder(task.out) / task.plan.name).with_suffix(".json")


def _make_payload(task: ShardTask, sample: Sample, meta: SampleMeta) -> bytes:
    store = open_snapshot(task.store)
    if task.encoded is None:
        return get_codec(task.codec).encode(read_clip(sample, store.read))
    rows = [store.record(name).row for name in meta.frames]
    return join_pieces(open_encoded(task.encoded).read(rows, sample.view))


def _format_label(sample: Sample) -> bytes:
    return str(sample.sequence.label).encode("ascii")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
