"""One file over HTTP into a file that grows: a transfer resumes where it broke, and never exceeds its limit.

Published files are streamed, one request for the rest of a file, through urllib, which shows the headers that tell one
version of a file from another. Remote shards are read through fsspec, which also speaks S3. Both follow the policy of
`sffshards.base.retries`.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from xxhash import xxh3_64

from sffshards import __version__
from sffshards.base import retries
from sffshards.base.atomic_files import storage_errors, sync_file, write_all
from sffshards.base.errors import DamageError, Field, InputError, StorageError
from sffshards.base.file_reading import opened, reading
from sffshards.base.json_records import JsonFormat, decode_json, read_own_record, write_record
from sffshards.base.output_checks import check_room
from sffshards.base.progress import Progress
from sffshards.base.retries import Retries

_CHUNK_BYTES = 1 << 18
_NOTE_BYTES = 1 << 21
"""Number of bytes after which the note of a part without a known checksum states what has arrived."""
_LOOK_BYTES = 1 << 26
"""Bytes between two looks at the free space, where a server does not state a file's size."""
_RESERVE_BYTES = 1 << 30
"""Free space that such a file leaves."""
_PLAIN = re.compile(r"[!-~]+")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_CLOSED = "the connection was closed early"


class Source(NamedTuple):
    """Where a file comes from, what it must be, and what a user can do if it does not arrive."""

    url: str
    what: str
    """The file in words, for errors: `the Kinetics-400 weights`."""
    by_hand: str
    """What to download and where to put it, where there is no network."""
    max_bytes: int
    """A limit that the file's size cannot exceed."""
    checksum: str | None = None
    """The checksum as ``sha256:<hexadecimal>`` or ``md5:...``, or its first digits, if known; then a part of any
    version can be resumed."""

    @property
    def fix(self) -> str:
        """The remedy where other bytes arrive than were published."""
        return f"try later, or `sffshards fetch` with another {{url}}; or {self.by_hand}"


class _Content(NamedTuple):
    """What a response brings."""

    start: int
    """Offset of its first byte in the file."""
    total: int | None
    """Size of the file."""
    version: str | None
    """ETag or date of the file; None if its server states none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    """What is known of a part: where it is from, and how its first bytes hash if nothing else will check them."""

    url: str
    version: str | None
    size_bytes: int = 0
    xxh3: str = ""


def fetch_into(part: Path, source: Source, *, progress: Progress) -> None:
    """Fetch a file, and resume from what ``part`` holds of it.

    Parameters
    ----------
    part
        The file that grows. Its note, ``<part>.json``, names the URL and the version, and the checksum of what arrived
        where that of the file is not known. Both stay after an error, so that the next call resumes.
    source
        Where the file comes from.
    progress
        Shows the kilobytes that arrived.

    Raises
    ------
    StorageError
        If the server fails for long, or the disk.
    DamageError
        If the server sends something else.
    InputError
        If the URL is not an HTTP URL.
    """
    _check_url(source)
    tries = Retries(lambda reason: _failure(source, reason))
    with progress.task(f"{part.stem or 'file'} (kB)", None, unit="kB") as advance:

        def arrived(start: int, end: int) -> None:
            advance(end // 1000 - start // 1000)
            tries.reach(end)

        tries.run(lambda: _fetch_rest(part, source, arrived))


def discard_part(part: Path) -> None:
    """Remove a part and its note."""
    with storage_errors(part):
        part.unlink(missing_ok=True)
        _note_path(part).unlink(missing_ok=True)


def read_json(source: Source) -> Any:
    """Return the value of a small JSON file; raises as `fetch_into`."""
    _check_url(source)

    def read() -> bytes:
        with _opened(source.url, {}) as response:
            data: bytes = response.read(source.max_bytes)
            if response.length:
                raise ConnectionError(_CLOSED)
            return data

    expects = JsonFormat(expected=source.what, fix=source.by_hand)
    return decode_json(Retries(lambda reason: _failure(source, reason)).run(read), where=source.url, expects=expects)


def _fetch_rest(part: Path, source: Source, arrived: Callable[[int, int], None]) -> None:
    """Make one request for what is missing; raises `ConnectionError` if some of it still is."""
    version, have = _find_resumable(part, source)
    headers = {"Range": f"bytes={have}-"} if have else {}
    if headers and version:
        headers["If-Range"] = version
    try:
        with _opened(source.url, headers) as response:
            content = _read_headers(response, have, source)
            check_room(part.parent, (content.total or 0) - content.start)
            end = _append(part, response, content, source, arrived)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return
        discard_part(part)
        raise ConnectionError("the file became another one") from None
    if end != content.total and (content.total is not None or not end):
        raise ConnectionError(_CLOSED)


def _append(part: Path, response: Any, content: _Content, source: Source, arrived: Callable[[int, int], None]) -> int:
    """Write what a response brings behind what is there; return the size of the file."""
    end, limit, room_for = content.start, content.total or source.max_bytes, 0
    with opened(part, os.O_WRONLY | os.O_CREAT) as descriptor:
        with storage_errors(part):
            os.ftruncate(descriptor, end)
        note = _NoteWriter(part, content, source)
        while data := response.read1(_CHUNK_BYTES):
            if end + len(data) > limit:
                raise _other(source, f"at most {limit:,} bytes", "more")
            write_all(descriptor, data, end, where=part)
            arrived(end, end + len(data))
            end += len(data)
            note.add(data)
            if content.total is None and end - room_for > 0:
                room_for = end + _LOOK_BYTES
                check_room(part.parent, _LOOK_BYTES + _RESERVE_BYTES)
        with storage_errors(part):
            sync_file(descriptor)
        note.write()
        return end


class _NoteWriter:
    """Writes the note of a part, now and while it grows."""

    def __init__(self, part: Path, content: _Content, source: Source) -> None:
        self._part, self._version, self._source = part, content.version, source
        self._size_bytes = self._num_noted = content.start
        self._hash = _hash_start(part, content.start)
        self.write()

    def add(self, data: bytes) -> None:
        """Add bytes that were written."""
        self._hash.update(data)
        self._size_bytes += len(data)
        if self._source.checksum is None and self._size_bytes - self._num_noted >= _NOTE_BYTES:
            self.write()

    def write(self) -> None:
        """Write the note; raises `StorageError` if the system refuses."""
        note = _Note(url=self._source.url, version=self._version)
        if self._source.checksum is None:
            note = replace(note, size_bytes=self._size_bytes, xxh3=self._hash.hexdigest())
        write_record(_note_path(self._part), note)
        self._num_noted = self._size_bytes


def _hash_start(part: Path, size_bytes: int) -> xxh3_64:
    """Return the hash of the first bytes of a part, or of fewer where it has fewer."""
    found = xxh3_64()
    if size_bytes:
        with reading(part) as file:
            while size_bytes > 0 and (data := file.read(min(size_bytes, 1 << 22))):
                found.update(data)
                size_bytes -= len(data)
    return found


@contextmanager
def _opened(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    given = {"User-Agent": f"sffshards/{__version__}", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=given)  # noqa: S310  `_check_url` has seen it
    try:
        response = urllib.request.urlopen(request, timeout=retries.TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise
    with response:
        yield response


def _read_headers(response: Any, have: int, source: Source) -> _Content:
    """Return which bytes a response brings; refuse other bytes than those asked for, and web pages.

    Portals, and servers under maintenance, send a web page in place of a file.
    """
    headers = response.headers
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise _other(source, source.what, "a web page (HTML)")
    place = _RANGE.fullmatch(headers.get("Content-Range", "")) if response.status == 206 else None
    start, size = (int(place[1]), place[2]) if place else (0, headers.get("Content-Length", ""))
    total = int(size) if size.isdigit() else None
    if start not in (0, have) or (total or 0) > source.max_bytes:
        raise _other(source, f"at most {source.max_bytes:,} bytes", f"{total} bytes from {start} on")
    # Only a strong ETag serves If-Range: an answer to a weak one could be of another file.
    tag = headers.get("ETag", "")
    return _Content(start, total, tag if tag.startswith('"') else headers.get("Last-Modified"))


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _find_resumable(part: Path, source: Source) -> tuple[str, int]:
    """Return the version of a part, empty if its server states none, and the number of its bytes that are kept.

    Without a known checksum, only bytes are kept of which the note states version and hash: nothing would check them.
    """
    note = read_own_record(_note_path(part), _Note)
    if note is None or note.url != source.url or not part.exists():
        return "", 0
    version = note.version or ""
    if source.checksum:
        return version, part.stat().st_size
    is_sure = version and _hash_start(part, note.size_bytes).hexdigest() == note.xxh3
    return version, note.size_bytes if is_sure else 0


def _check_url(source: Source) -> None:
    """Raise `InputError` for a URL of which no request can be made: it would be tried again in vain."""
    try:
        parts = urllib.parse.urlsplit(source.url)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is not a number, or half an IPv6 address
        is_usable = False
    if not is_usable or not _PLAIN.fullmatch(source.url):
        raise InputError(
            source.url[:200] or Field("url"),
            expected="a URL of http:// or https://, in which spaces and letters beyond ASCII are written as %XX",
            found="another",
            fix=f"pass one with {{url}}, or {source.by_hand}",
        )


def _failure(source: Source, reason: str) -> StorageError:
    return StorageError(
        source.url,
        expected=f"{source.what}, over the network",
        found=reason,
        fix=f"run the same command again, which resumes; or {source.by_hand}",
    )


def _other(source: Source, expected: str, found: str) -> DamageError:
    return DamageError(source.url, expected=expected, found=found, fix=source.fix)
