"""Convert records to JSON and back, strictly; any fault of a file becomes one error of this package."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from sffshards.base.atomic_files import is_refusal, write_atomic
from sffshards.base.errors import DamageError, FormatError, SffshardsError, StorageError
from sffshards.base.file_reading import read_bytes
from sffshards.base.package_faces import accepts_text

__all__ = [
    "CHECKSUM",
    "Count",
    "JsonFormat",
    "Sha256",
    "decode_json",
    "decode_record",
    "describe_record",
    "encode_compact",
    "encode_record",
    "format_json",
    "hash_content",
    "read_content",
    "read_own_json",
    "read_own_record",
    "read_record",
    "seal",
    "to_plain",
    "write_record",
]

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""A whole number from 0 to 2**53, beyond which JSON readers round; for fields of records."""

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal; for fields of records."""

CHECKSUM = "record_sha256"
"""Field of a file that holds the SHA-256 of its other fields; it is not a field of the record."""

_MAX_UNFOLDED_BYTES = 1 << 28
"""Largest estimate of the memory that the values of a JSON text take; those of 59,384 images take 40 MB."""
_BYTES_OF = {"{": 200, "[": 72, ",": 56}
"""Memory that Python needs for an object, a list and a value, by the character that each of them takes at least."""

_T = TypeVar("_T")
_MAX_FOUND = 160
"""Maximum number of characters of a fault in an error line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonFormat:
    """Description of a kind of JSON file for error lines, and its format version."""

    expected: str
    """Description of the file, such as ``"the record of a fold"``."""
    fix: str
    """Remedy if it is something else, as an imperative sentence without a full stop."""
    version: int | None = None
    """The ``format_version`` that the file must state; None: it states none."""
    older: tuple[int, ...] = ()
    """Older versions that are read as well; if any, the record keeps the file's in a field ``format_version``."""
    error: type[SffshardsError] = DamageError
    """Class of the error to raise if the content is wrong."""


def decode_json(data: bytes | bytearray | str, *, where: object, expects: JsonFormat) -> Any:
    """Return the plain value that JSON text holds.

    Raises
    ------
    SffshardsError
        Of the class ``expects.error``, if the text is not JSON: truncated, nested too deeply, not UTF-8, or with NaN or
        an infinity; or if its values would fill the memory.
    """
    if (size := _estimate_memory(data)) > _MAX_UNFOLDED_BYTES:
        limit = f"(limit {_MAX_UNFOLDED_BYTES >> 20})"
        raise _complain(where, f"JSON whose values take {size >> 20} MiB of memory {limit}", expects)
    try:
        mark = "\ufeff" if isinstance(data, str) else codecs.BOM_UTF8
        return msgspec.json.decode(data.removeprefix(mark))  # type: ignore[arg-type]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _complain(where, f"no JSON ({error})", expects) from None


def decode_record(
    data: bytes | bytearray | str, kind: type[_T], *, where: object, expects: JsonFormat, derived: Collection[str] = ()
) -> _T:
    """Return the record that JSON text holds.

    Types are not coerced. A number in quotes, a missing field, an unknown field, and a value that the record's own
    ``__post_init__`` rejects are errors. So is content that does not match the checksum that `seal` added, if it did.

    Parameters
    ----------
    data
        The text.
    kind
        A dataclass whose fields are plain values, enumerations, tuples, dictionaries and further dataclasses. A class
        that has a ``name`` and a class method ``parse``, such as `sffshards.domain.task.Task`, is stored as its name.
    where
        The place that an error names, such as the file's path.
    expects
        Description of the file.
    derived
        Fields of the file that are computed from the record, and are not fields of it.

    Raises
    ------
    FormatError
        If the file has another ``format_version``.
    SffshardsError
        Of the class ``expects.error``, if the content is not such a record.
    """
    content = decode_json(data, where=where, expects=expects)
    if not isinstance(content, dict):
        raise _complain(where, f"JSON of type {type(content).__name__}", expects)
    is_whole = _matches_checksum(content)
    content.pop(CHECKSUM, None)
    if expects.version is not None:
        version = content.pop("format_version", None)
        _check_version(version, where, expects)
        if expects.older:
            content["format_version"] = version
    content = {name: value for name, value in content.items() if name not in derived}
    try:
        record = msgspec.convert(content, kind, strict=True, dec_hook=_from_text)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _complain(where, str(error), expects) from None
    if unknown := _find_unknown(content, msgspec.to_builtins(record, enc_hook=_to_text)):
        raise _complain(where, f"an unknown field `{unknown}`", expects)
    if not is_whole:
        raise _complain(where, f"content that does not match its checksum, `{CHECKSUM}`", expects)
    return record


def encode_record(record: Any, *, version: int | None = None) -> bytes:
    """Return a record as indented JSON in ASCII, with ``format_version`` first if given."""
    return format_json(to_plain(record, version=version))


def to_plain(record: Any, *, version: int | None = None) -> dict[str, Any]:
    """Return a record as the plain values that JSON holds, with ``format_version`` first if given."""
    content = msgspec.to_builtins(record, enc_hook=_to_text)
    return content if version is None else {"format_version": version, **content}


def describe_record(record: Any) -> Any:
    """Return a record as the plain values that JSON holds, with None for each number that is NaN or infinite."""
    return msgspec.json.decode(msgspec.json.encode(record, enc_hook=_to_text))


def format_json(content: Any) -> bytes:
    """Return plain values as indented JSON in ASCII; non-finite numbers must already be None."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii")


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """Return plain values with the checksum that `decode_record` compares, so that no changed digit passes for data."""
    return content | {CHECKSUM: hash_content(content)}


def hash_content(content: dict[str, Any]) -> str:
    """Return the SHA-256 of plain values in hexadecimal, which the order of fields and white space do not change."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def encode_compact(record: Any) -> bytes:
    """Return a record as JSON in UTF-8 on one line, without spaces: for many small records."""
    return msgspec.json.encode(record, enc_hook=_to_text)


@accepts_text
def read_record(path: Path, kind: type[_T], *, expects: JsonFormat) -> _T:
    """Read a record from a JSON file; raises the errors of `decode_record` and `read_bytes`."""
    return decode_record(read_bytes(path), kind, where=path, expects=expects)


@accepts_text
def read_own_json(path: Path) -> Any:
    """Return the plain value of an optional JSON file, or None if it is missing or damaged.

    Raises
    ------
    StorageError
        If it is there, but the system refuses to read it.
    """
    try:
        data = read_bytes(path)
        return None if _estimate_memory(data) > _MAX_UNFOLDED_BYTES else msgspec.json.decode(data)
    except (StorageError, ValueError, RecursionError, msgspec.DecodeError) as error:  # the last is new as a ValueError
        if is_refusal(error):
            raise
        return None


@accepts_text
def read_content(path: Path, *, expects: JsonFormat) -> dict[str, Any]:
    """Read a JSON object of any fields, without the checksum that `seal` may have added.

    Raises
    ------
    SffshardsError
        Of the class ``expects.error``, if the file is not such an object, or does not match its checksum.
    StorageError
        If it cannot be read.
    """
    content = decode_json(read_bytes(path), where=path, expects=expects)
    if not isinstance(content, dict):
        raise _complain(path, f"JSON of type {type(content).__name__}", expects)
    if not _matches_checksum(content):
        raise _complain(path, f"content that does not match its checksum, `{CHECKSUM}`", expects)
    return {name: value for name, value in content.items() if name != CHECKSUM}


@accepts_text
def read_own_record(path: Path, kind: type[_T], *, version: int | None = None) -> _T | None:
    """Read a record that this package can do without; None if it is absent, damaged or of another version.

    Raises
    ------
    StorageError
        If it is there, but the system refuses to read it.
    """
    try:
        expects = JsonFormat(expected="a record", fix="remove it", version=version)
        return decode_record(read_bytes(path), kind, where=path, expects=expects)
    except (OSError, FormatError) as error:  # `DamageError` is among the first
        if is_refusal(error):
            raise
        return None


@accepts_text
def write_record(path: Path, record: Any, *, version: int | None = None) -> None:
    """Write a record and its checksum atomically as a JSON file; raises `StorageError` if the system refuses."""
    write_atomic(path, format_json(seal(to_plain(record, version=version))))


def _estimate_memory(data: bytes | bytearray | str) -> int:
    """Return about how many bytes the values of a JSON text take, which may be seventy times its size."""
    if isinstance(data, str):
        return len(data) + sum(data.count(mark) * size for mark, size in _BYTES_OF.items())
    return len(data) + sum(data.count(mark.encode()) * size for mark, size in _BYTES_OF.items())


def _matches_checksum(content: dict[str, Any]) -> bool:
    others = {name: value for name, value in content.items() if name != CHECKSUM}
    try:
        return CHECKSUM not in content or content[CHECKSUM] == hash_content(others)
    except (ValueError, RecursionError):  # numbers and depths that this package does not write
        return False


def _to_text(value: Any) -> str:
    return str(value.name)


def _from_text(kind: type[Any], text: Any) -> Any:
    if not isinstance(text, str):
        raise ValueError(f"expected text, got {type(text).__name__}")
    return kind.parse(text)


def _check_version(found: object, where: object, expects: JsonFormat) -> None:
    if type(found) is not int or expects.version is None:
        raise _complain(where, f"format version {found!r}"[:_MAX_FOUND], expects)
    if found not in (expects.version, *expects.older):
        fix = expects.fix if found < expects.version else f"update sffshards, or {expects.fix}"
        raise FormatError(where, expected=f"format version {expects.version}", found=str(found)[:40], fix=fix)


def _find_unknown(content: object, known: object) -> str | None:
    """Return the first field of the JSON that the record does not have."""
    if isinstance(content, dict) and isinstance(known, dict):
        for name, value in content.items():
            if name not in known:
                return str(name)[:_MAX_FOUND]
            if unknown := _find_unknown(value, known[name]):
                return unknown
    elif isinstance(content, list) and isinstance(known, list | tuple):
        for value, of_record in zip(content, known, strict=False):
            if unknown := _find_unknown(value, of_record):
                return unknown
    return None


def _complain(where: object, found: str, expects: JsonFormat) -> SffshardsError:
    return expects.error(where, expected=expects.expected, found=" ".join(found.split())[:_MAX_FOUND], fix=expects.fix)
