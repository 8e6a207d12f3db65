"""Check that a tar holds the members of the index and nothing else, which stock readers rely on."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from sffshards.base.errors import DamageError
from sffshards.base.file_reading import reading
from sffshards.shards.format import Index, Shard


class _Member(NamedTuple):
    name: str
    size: int
    content: bytes | None
    """Expected content; None for payload and JSON, which have checksums of their own."""
    offset: int | None
    """Expected offset of the content in the tar; None where the index has none."""


def check_members(folder: Path, shard: Shard, rows: Index, *, codec: str) -> None:
    """Compare the headers, labels and padding of a tar with its rows of the index.

    Together with the checksums of payloads and JSON members, this covers every byte of the tar.

    Raises
    ------
    DamageError
        If a member, its place or a label differs, or anything follows the last member.
    StorageError
        If the system refuses to read it.
    """
    path = folder / shard.name
    with reading(path, expected="a shard that can be read") as file:
        for member in _expected_members(rows, codec):
            start = file.tell()
            if not _has_member(file, member):
                raise _damage(f"{path}, member {member.name}, offset {start}", "another header, label or padding")
        start = file.tell()
        end = 2 * tarfile.BLOCKSIZE  # then padding up to a whole record
        end += -(start + end) % tarfile.RECORDSIZE
        if file.read(end + 1) != bytes(end):
            raise _damage(f"{path}, offset {start}", "another end")


def _expected_members(rows: Index, codec: str) -> Iterator[_Member]:
    for row in rows:
        key, label = row["key"].decode("ascii"), str(row["label"]).encode("ascii")
        of_row = [
            _Member(f"{key}.cls", len(label), label, None),
            _Member(f"{key}.{codec}", int(row["size"]), None, int(row["offset"])),
            _Member(f"{key}.json", int(row["meta_size"]), None, int(row["meta_offset"])),
        ]
        yield from sorted(of_row)


def _has_member(file: IO[bytes], member: _Member) -> bool:
    """Return whether a member is at the file's position, and move to its end."""
    info = tarfile.TarInfo(member.name)
    info.size, info.mode = member.size, 0o644
    if file.read(tarfile.BLOCKSIZE) != info.tobuf(tarfile.USTAR_FORMAT) or member.offset not in (None, file.tell()):
        return False
    if member.content is None:
        file.seek(member.size, 1)
    elif file.read(member.size) != member.content:
        return False
    padding = -member.size % tarfile.BLOCKSIZE
    return file.read(padding) == bytes(padding)


def _damage(where: str, found: str) -> DamageError:
    return DamageError(
        where, expected="the tar that the index describes", found=found, fix="build again and pass {force}"
    )
