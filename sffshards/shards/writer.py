"""Write one shard: frames from the store, encoded, into a tar that appears under its name only when whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from xxhash import xxh3_64_intdigest

from sffshards.atomic import replacing, storage_errors, write_atomic
from sffshards.frames import FrameStore, StoreSnapshot
from sffshards.frames.store import open_snapshot
from sffshards.hashing import hash_file
from sffshards.names import format_frame_name
from sffshards.records import CodecName
from sffshards.shards.codec import Codec, FrameCodec, get_codec
from sffshards.shards.encoded import EncodedSnapshot, open_encoded
from sffshards.shards.index import INDEX_DTYPE, VIEWS, Index, format_index, read_index
from sffshards.shards.manifest import Shard
from sffshards.shards.meta import SampleMeta
from sffshards.shards.plan import Sample, ShardPlan
from sffshards.views import apply_view

__all__ = [
    "ShardTask",
    "read_clip",
    "read_shard_record",
    "sample_size_bytes",
    "verify_written",
    "write_shard",
    "write_shard_record",
]

_BLOCK = 512
"""A tar's header, and what every member is padded to."""

_BUFFER_BYTES = 1 << 20
"""How much is written at once; tarfile and Python would make a system call for every few kilobytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """What a worker needs to write a shard."""

    plan: ShardPlan
    codec: CodecName
    store: StoreSnapshot
    """The frames, as they were when the build's inputs were fixed."""
    encoded: EncodedSnapshot | None = None
    """The frames as encoded before, if they are."""
    out: Path
    """Folder of the build."""
    records: Path
    """Folder of the records of shards written so far."""


def write_shard(task: ShardTask) -> Shard:
    """Write a shard and, before it appears, the record that a later run checks it against."""
    path = task.out / task.plan.name
    with replacing(path) as temporary, temporary.open("wb", buffering=_BUFFER_BYTES) as file:
        stream = _HashingStream(file)
        rows = _write_samples(task, stream)
        file.flush()
        shard = Shard(
            name=task.plan.name,
            num_samples=len(rows),
            size_bytes=stream.size_bytes,
            sha256=stream.sha256.hexdigest(),
        )
        write_shard_record(task, shard, rows)
    return shard


def verify_written(task: ShardTask) -> bool:
    """Say whether a shard of an earlier run is there, whole and as recorded."""
    path, record_path = task.out / task.plan.name, _record_path(task)
    if not (path.is_file() and record_path.is_file()):
        return False
    try:
        record = json.loads(record_path.read_bytes())
        shard = Shard(**record["shard"])
        rows = read_index(record_path.with_suffix(".npy"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    with storage_errors(path):
        return (
            path.stat().st_size == shard.size_bytes
            and hashlib.sha256(format_index(rows)).hexdigest() == record["rows_sha256"]
            and hash_file(path) == shard.sha256
        )


def read_shard_record(task: ShardTask) -> tuple[Shard, Index]:
    """Read the record of a shard that was written."""
    record_path = _record_path(task)
    with storage_errors(record_path):
        shard = Shard(**json.loads(record_path.read_bytes())["shard"])
    return shard, read_index(record_path.with_suffix(".npy"))


def read_clip(store: FrameStore, sample: Sample) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Give the clip of a sample, uint8 of shape (16, 224, 224), from the store."""
    frames = store.read([format_frame_name(frame) for frame in sample.sequence.frames])
    return np.ascontiguousarray(apply_view(frames, sample.view))


def sample_size_bytes(payload: bytes, sample: Sample) -> int:
    """Give what a sample takes in a tar: three members, each a header and padded content."""
    members = (payload, _format_label(sample), SampleMeta.of(sample).to_bytes())
    return sum(_BLOCK + _padded(len(member)) for member in members)


class _HashingStream:
    """A binary stream that keeps the SHA-256 and the size of all that was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file: IO[bytes] | None = file
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0

    def discard(self) -> None:
        """Let nothing more through: tarfile ends a tar as if it were whole when it is garbage-collected."""
        self._file = None

    def write(self, data: bytes) -> int:
        """Write to the file."""
        if self._file is None:
            return len(data)
        self.sha256.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)


def _write_samples(task: ShardTask, stream: _HashingStream) -> Index:
    """Write a shard's samples to a stream and give their index rows."""
    from webdataset.writer import TarWriter

    codec = get_codec(task.codec)
    rows = np.zeros(len(task.plan.samples), INDEX_DTYPE)
    tar = TarWriter(stream, encoder=False, user="", group="", mode=0o644, mtime=0)
    tar.tarstream.copybufsize = _BUFFER_BYTES  # tarfile would write 16 kB at a time
    offset = 0
    try:
        for position, sample in enumerate(task.plan.samples):
            payload = _make_payload(task, codec, sample)
            members = {"cls": _format_label(sample), str(task.codec): payload, "json": SampleMeta.of(sample).to_bytes()}
            tar.write({"__key__": sample.key, **members})
            starts, offset = _locate_members(members, offset)
            rows[position] = _index_row(sample, codec, members, starts)
    except BaseException:
        stream.discard()
        raise
    tar.close()
    return rows


def _locate_members(members: dict[str, bytes], offset: int) -> tuple[dict[str, int], int]:
    """Say where the content of a sample's members starts in the tar, in bytes, and where the next sample does."""
    starts = {}
    for extension in sorted(members):  # the order in which TarWriter writes them
        starts[extension] = offset + _BLOCK
        offset += _BLOCK + _padded(len(members[extension]))
    return starts, offset


def _index_row(sample: Sample, codec: Codec, members: dict[str, bytes], starts: dict[str, int]) -> tuple[Any, ...]:
    payload, sequence = members[codec.name], sample.sequence
    return (
        sample.key.encode("ascii"),
        0,  # the shard's number, known when all are written
        starts[codec.name],
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
        sequence.num_distinct,
    )


def write_shard_record(task: ShardTask, shard: Shard, rows: Index) -> None:
    """Write a shard's record, the rows first: one without its JSON, which has their checksum, counts for nothing."""
    path, data = _record_path(task), format_index(rows)
    write_atomic(path.with_suffix(".npy"), data)
    record = {"shard": asdict(shard), "rows_sha256": hashlib.sha256(data).hexdigest()}
    write_atomic(path, json.dumps(record).encode("ascii"))


def _record_path(task: ShardTask) -> Path:
    return (task.records / task.plan.name).with_suffix(".json")


def _make_payload(task: ShardTask, codec: Codec, sample: Sample) -> bytes:
    store = open_snapshot(task.store)
    if task.encoded is None or not isinstance(codec, FrameCodec):
        return codec.encode(read_clip(store, sample))
    encoded = open_encoded(task.encoded)
    rows = [store.record(format_frame_name(frame)).row for frame in sample.sequence.frames]
    return codec.join_frames([encoded.read(row, sample.view) for row in rows])


def _format_label(sample: Sample) -> bytes:
    return str(sample.sequence.label).encode("ascii")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
