"""Write one shard: frames from the store, encoded, into a tar that appears under its name only when whole."""

from __future__ import annotations

import gc
import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_64_intdigest

from sffshards.base.atomic_files import replacing, storage_errors, write_atomic
from sffshards.base.file_hashes import hash_file
from sffshards.domain.frame_sequences import Sample
from sffshards.domain.views import apply_view
from sffshards.images import FrameStore, StoreSnapshot, open_snapshot
from sffshards.shards.build.encoded_frames import EncodedSnapshot, open_encoded
from sffshards.shards.build.hashed_stream import BUFFER_BYTES, HashedStream
from sffshards.shards.build.shard_plan import ShardPlan
from sffshards.shards.format import (
    INDEX_DTYPE,
    VIEWS,
    Codec,
    CodecName,
    FrameCodec,
    Index,
    SampleMeta,
    Shard,
    format_index,
    get_codec,
    read_index,
)

if TYPE_CHECKING:
    from webdataset.writer import TarWriter

__all__ = [
    "ShardTask",
    "prepare_worker",
    "read_clip",
    "read_shard_record",
    "sample_size_bytes",
    "verify_written",
    "write_shard",
    "write_shard_record",
]

_BLOCK = 512
"""A tar's header, and what every member is padded to."""


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


def prepare_worker() -> None:
    """Import webdataset, the slowest of what the writing of shards needs, before there is one to write."""
    import webdataset.writer  # noqa: F401


def write_shard(task: ShardTask) -> Shard:
    """Write a shard and, before it appears, the record that a later run checks it against."""
    path = task.out / task.plan.name
    with _frozen_plans(), replacing(path) as temporary, temporary.open("wb", buffering=BUFFER_BYTES) as file:
        stream = HashedStream(file)
        rows = _write_samples(task, stream)
        file.flush()
        shard = Shard(name=task.plan.name, num_samples=len(rows), size_bytes=stream.size_bytes, sha256=stream.sha256)
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
    frames = store.read([frame.name for frame in sample.sequence.frames])
    return np.ascontiguousarray(apply_view(frames, sample.view))


def sample_size_bytes(payload: bytes, sample: Sample) -> int:
    """Give what a sample takes in a tar: three members, each a header and padded content."""
    members = (payload, _format_label(sample), SampleMeta.of(sample).to_bytes())
    return sum(_BLOCK + _padded(len(member)) for member in members)


def _open_tar(stream: HashedStream) -> TarWriter:
    """Give webdataset's writer, with its tar written to the stream itself.

    In between stands a stream of tarfile's, which copies all that it still holds for every 10 kB that it passes on, in
    as much time as all else that a tar takes; and which, garbage-collected after an error, ends the tar as if it were
    whole.
    """
    from webdataset.writer import TarWriter

    tar = TarWriter(stream, encoder=False, user="", group="", mode=0o644, mtime=0)
    tar.tarstream.fileobj = stream
    tar.tarstream.format = tarfile.USTAR_FORMAT  # the writer's own choice never gets there
    tar.tarstream.copybufsize = BUFFER_BYTES  # it would write 16 kB at a time
    return tar


@contextmanager
def _frozen_plans() -> Iterator[None]:
    """Leave what there is out of garbage collections while the block runs.

    The thousands of records of a plan are no garbage, and to look through them again and again takes time.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _write_samples(task: ShardTask, stream: HashedStream) -> Index:
    """Write a shard's samples to a stream and give their index rows."""
    codec = get_codec(task.codec)
    rows = np.zeros(len(task.plan.samples), INDEX_DTYPE)
    tar = _open_tar(stream)
    offset = 0
    for position, sample in enumerate(task.plan.samples):
        meta = SampleMeta.of(sample)
        payload = _make_payload(task, codec, sample, meta)
        members = {"cls": _format_label(sample), str(task.codec): payload, "json": meta.to_bytes()}
        tar.write({"__key__": sample.key, **members})
        starts, offset = _locate_members(members, offset)
        rows[position] = _index_row(sample, meta, codec, members, starts)
    tar.close()
    return rows


def _locate_members(members: dict[str, bytes], offset: int) -> tuple[dict[str, int], int]:
    """Say where the content of a sample's members starts in the tar, in bytes, and where the next sample does."""
    starts = {}
    for extension in sorted(members):  # the order in which TarWriter writes them
        starts[extension] = offset + _BLOCK
        offset += _BLOCK + _padded(len(members[extension]))
    return starts, offset


def _index_row(
    sample: Sample, meta: SampleMeta, codec: Codec, members: dict[str, bytes], starts: dict[str, int]
) -> tuple[Any, ...]:
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
        meta.num_distinct,
    )


def write_shard_record(task: ShardTask, shard: Shard, rows: Index) -> None:
    """Write a shard's record, the rows first: one without its JSON, which has their checksum, counts for nothing."""
    path, data = _record_path(task), format_index(rows)
    write_atomic(path.with_suffix(".npy"), data)
    record = {"shard": asdict(shard), "rows_sha256": hashlib.sha256(data).hexdigest()}
    write_atomic(path, json.dumps(record).encode("ascii"))


def _record_path(task: ShardTask) -> Path:
    return (task.records / task.plan.name).with_suffix(".json")


def _make_payload(task: ShardTask, codec: Codec, sample: Sample, meta: SampleMeta) -> bytes:
    store = open_snapshot(task.store)
    if task.encoded is None or not isinstance(codec, FrameCodec):
        return codec.encode(read_clip(store, sample))
    rows = [store.record(name).row for name in meta.frames]
    return codec.join_pieces(open_encoded(task.encoded).read(rows, sample.view))


def _format_label(sample: Sample) -> bytes:
    return str(sample.sequence.label).encode("ascii")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
