"""Write one shard: frames from the store, encoded, into a tar that appears under its name only when whole."""

from __future__ import annotations

import hashlib
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from sffshards.base.atomic_files import replacing, write_atomic
from sffshards.base.errors import DamageError, SffshardsError
from sffshards.base.json_records import JsonFormat, Sha256, read_record, write_record
from sffshards.domain.frame_codes import codes_of, name_of
from sffshards.domain.frame_sequences import Sample
from sffshards.domain.frames import IMAGE_SUFFIX
from sffshards.domain.sequence_table import SampleTable
from sffshards.domain.views import View, apply_view
from sffshards.images import StoredFrames, read_frame
from sffshards.shards.build.build_folder import records_folder
from sffshards.shards.build.encoded_frames import EncodedFrames
from sffshards.shards.build.shard_plan import shuffle_samples
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
    """What a worker needs to write one shard."""

    out: Path
    """Folder of the build."""
    name: str
    """Path of the shard in the build."""
    codec: CodecName
    seed: int
    """Seed of the order of the samples."""
    samples: SampleTable
    frames: StoredFrames | EncodedFrames
    """The frames that the samples show: pixels, or encoded once for all shards where the codec can use such."""


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
    """Import webdataset's writer, the slowest import of shard writing, before there is a shard to write."""
    _import_writer()


@cache
def _import_writer() -> type[TarWriter]:
    """Return webdataset's writer, imported without torch.

    webdataset imports torch where it finds it, for loaders that a writer does not use: several seconds and 300 MB. So
    torch is hidden from this import, which is then forgotten: a loader in the same process imports webdataset again.
    """
    if "webdataset" in sys.modules or "torch" in sys.modules:
        import webdataset.writer

        return cast("type[TarWriter]", webdataset.writer.TarWriter)
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import webdataset.writer

        return cast("type[TarWriter]", webdataset.writer.TarWriter)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in ("torch", "webdataset")]:
            del sys.modules[name]


def write_shard(task: ShardTask) -> Shard:
    """Write a shard and, before it appears under its name, the record that a later run checks it against."""
    path = task.out / task.name
    with replacing(path) as temporary, temporary.open("wb", buffering=_BUFFER_BYTES) as file:
        stream = HashedStream(file)
        rows = _write_samples(task, stream)
        file.flush()
        shard = Shard(name=task.name, num_samples=len(rows), size_bytes=stream.size_bytes, sha256=stream.sha256)
        write_shard_record(task.out, shard, rows)
    return shard


def verify_written(place: tuple[Path, str]) -> bool:
    """Return whether the shard of an earlier run, a path in a folder, is there, intact and as recorded."""
    out, name = place
    try:
        shard = read_shard_record(out, name)
        read_shard_rows(out, shard)
    except SffshardsError:
        return False
    try:
        check_shard(out, shard)
    except DamageError:
        return False
    return True


def read_shard_record(out: Path, name: str) -> Shard:
    """Return the record of a shard that was written; raises `SffshardsError` if it has none."""
    return _read_record(out, name).shard


def read_shard_rows(out: Path, shard: Shard) -> Index:
    """Return the index rows of a shard that was written; raises `SffshardsError` if they are not as recorded."""
    path = _record_path(out, shard.name)
    rows = np.array(read_index(path.with_suffix(".npy")))  # a copy: each map would keep its file open
    if hashlib.sha256(format_index(rows)).hexdigest() != _read_record(out, shard.name).rows_sha256:
        raise DamageError(path, expected=_EXPECTS.expected, found="that of other index rows", fix=_EXPECTS.fix)
    return rows


def read_clip(
    codes: NDArray[np.int64], view: View, read_frames: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return a clip, uint8 of shape (16, 224, 224), from a function that reads frames by their codes."""
    return np.ascontiguousarray(apply_view(read_frames(codes), view))


def read_images(folder: Path, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Read frames from their images, each once, as `StoredFrames.read` does from a store; raises as `read_frame`."""
    frames = {code: read_frame(folder / f"{name_of(code)}{IMAGE_SUFFIX}") for code in set(codes.tolist())}
    return np.stack([frames[code] for code in codes.tolist()])


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
    tar = _import_writer()(stream, encoder=False, user="", group="", mode=0o644, mtime=0)
    tar.tarstream.fileobj = stream
    tar.tarstream.format = tarfile.USTAR_FORMAT  # webdataset does not pass its own choice on
    tar.tarstream.copybufsize = _BUFFER_BYTES  # the default is 16 kB
    return tar


def _write_samples(task: ShardTask, stream: HashedStream) -> Index:
    """Write the samples of a shard to a stream and return their index rows."""
    rows = np.zeros(len(task.samples), INDEX_DTYPE)
    tar = _open_tar(stream)
    offset = 0
    for position, sample in enumerate(shuffle_samples(task.samples, seed=task.seed)):
        meta = SampleMeta.of(sample)
        members = {"cls": _format_label(sample), str(task.codec): _make_payload(task, sample), "json": meta.to_bytes()}
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


def write_shard_record(out: Path, shard: Shard, rows: Index) -> None:
    """Write the record of a shard: the index rows first, then the JSON with their checksum, which makes it valid."""
    path, data = _record_path(out, shard.name), format_index(rows)
    write_atomic(path.with_suffix(".npy"), data)
    write_record(path, _ShardRecord(shard=shard, rows_sha256=hashlib.sha256(data).hexdigest()))


def _read_record(out: Path, name: str) -> _ShardRecord:
    return read_record(_record_path(out, name), _ShardRecord, expects=_EXPECTS)


def _record_path(out: Path, name: str) -> Path:
    return (records_folder(out) / name).with_suffix(".json")


def _make_payload(task: ShardTask, sample: Sample) -> bytes:
    codes = codes_of(sample.sequence.frames)
    if isinstance(task.frames, EncodedFrames):
        return join_pieces(task.frames.read(codes, sample.view))
    return get_codec(task.codec).encode(read_clip(codes, sample.view, task.frames.read))


def _format_label(sample: Sample) -> bytes:
    return str(sample.sequence.label).encode("ascii")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
