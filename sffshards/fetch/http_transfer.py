"""One file over HTTP into a file that grows: it goes on where it broke, however often, and never past a limit."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sffshards import __version__
from sffshards.base.atomic_files import read_text, storage_errors, write_atomic
from sffshards.base.errors import DamageError, InputError, SffshardsError, StorageError
from sffshards.base.progress import Progress

__all__ = ["Source", "fetch_into", "read_json"]

NUM_TRIES = 6
"""Times in a row that a request may bring nothing before it is given up."""
UNREACHABLE_TRIES = 3
"""The same, where there is no network or no server at all."""
FIRST_PAUSE_S = 0.5
"""Before the second try; doubled before each further one."""
STALL_S = 60.0
"""Without a byte for so long, a connection counts as broken."""
_CHUNK_BYTES = 1 << 18
_TEMPORARY_STATUS = frozenset({408, 425, 429, *range(500, 600)})
_MAX_JSON_BYTES = 1 << 24
_PLAIN = re.compile(r"[!-~]+")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Source(NamedTuple):
    """Where a file comes from, and what to do where it does not."""

    url: str
    what: str
    """In words, for errors: `the Kinetics-400 weights`."""
    by_hand: str
    """What to fetch and where to put it, where there is no network."""
    max_bytes: int
    """More than it can be."""
    verified: bool = False
    """Whether its checksum is known, so that going on with a part of an unknown version can do no harm."""


class _Answer(NamedTuple):
    start: int
    """Offset of its first byte in the file."""
    total: int | None
    """Size of the file."""
    version: str | None
    """Changes when the file does."""


def fetch_into(part: Path, source: Source, *, progress: Progress) -> None:
    """Fetch a file, going on with what ``part`` holds of it.

    Parameters
    ----------
    part
        What has been fetched; beside it, in ``<part>.json``, lies from where and of which version. Both stay after an
        error, so that the next call goes on.
    source
        From where.
    progress
        Told how far it is, in kilobytes.

    Raises
    ------
    StorageError
        If it cannot be had now, or not be written.
    DamageError
        If the server answers something else.
    InputError
        If the URL is not of HTTP.
    """
    _check_url(source)
    failures, most = 0, 0
    with progress.task(f"{Path(part.stem).name or 'file'} (kB)", None) as advance:
        while True:
            try:
                if _fetch_once(part, source, advance):
                    return
                reason, limit = "the connection was closed early", NUM_TRIES
            except SffshardsError:
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason, limit = _reason(error), UNREACHABLE_TRIES if _is_unreachable(error) else NUM_TRIES
                if not _is_temporary(error):
                    raise _cannot(source, reason) from None
            size = part.stat().st_size if part.exists() else 0
            failures, most = (0 if size > most else failures + 1), max(size, most)
            if failures >= limit:
                raise _cannot(source, f"{reason} (in each of {failures} tries)")
            time.sleep(min(FIRST_PAUSE_S * 2 ** max(failures - 1, 0), 15.0))


def read_json(source: Source) -> Any:
    """Fetch a small JSON file, such as a record; raises as `fetch_into`."""
    _check_url(source)
    for attempt in range(NUM_TRIES):
        try:
            with _opened(source.url, {}) as answer:
                return json.loads(answer.read(_MAX_JSON_BYTES).decode())
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            if attempt + 1 == NUM_TRIES or not _is_temporary(error):
                raise _cannot(source, _reason(error)) from None
            time.sleep(FIRST_PAUSE_S * 2**attempt)
    raise AssertionError  # pragma: no cover


def _fetch_once(part: Path, source: Source, advance: Any) -> bool:
    """Make one request for what is missing; say whether all of it is there."""
    note = part.with_name(f"{part.name}.json")
    version = _version_of(note, source)
    have = part.stat().st_size if version is not None and part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    if headers and version:
        headers["If-Range"] = version
    try:
        opened = _opened(source.url, headers)
        with opened as answer:
            found = _read_answer(answer)
            _refuse_pages(answer, source)
            if found.start not in (0, have) or (found.total or 0) > source.max_bytes:
                raise _other(
                    source, f"at most {source.max_bytes:,} bytes", f"{found.total} bytes from {found.start} on"
                )
            with storage_errors(part):
                write_atomic(note, json.dumps({"url": source.url, "version": found.version}).encode())
            end = _append(part, answer, found, source, advance)
    except urllib.error.HTTPError as error:
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if error.code == 416 and total and int(total[1]) == have:
            return True
        if error.code == 416:  # it is another file now
            part.unlink(missing_ok=True)
            raise ConnectionError("the file became another one") from None
        raise
    return end == found.total if found.total is not None else end > 0


def _append(part: Path, answer: Any, found: _Answer, source: Source, advance: Any) -> int:
    """Write what an answer brings behind what is there; give the size of the file."""
    with storage_errors(part):
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        with storage_errors(part):
            os.ftruncate(descriptor, found.start)
            os.lseek(descriptor, found.start, os.SEEK_SET)
        end, told = found.start, found.start // 1000
        while data := answer.read1(_CHUNK_BYTES):
            end += len(data)
            if end > source.max_bytes or (found.total is not None and end > found.total):
                raise _other(source, f"{found.total or source.max_bytes} bytes", "more")
            with storage_errors(part):
                _write(descriptor, data)
            advance(end // 1000 - told)
            told = end // 1000
        with storage_errors(part):
            os.fsync(descriptor)
        return end
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _opened(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    given = {"User-Agent": f"sffshards/{__version__}", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=given)  # noqa: S310  `_check_url` has seen it
    try:
        answer = urllib.request.urlopen(request, timeout=STALL_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise
    with answer:
        yield answer


def _read_answer(answer: Any) -> _Answer:
    """Read from an answer's headers which bytes it brings."""
    length = answer.headers.get("Content-Length", "")
    size = int(length) if length.isdigit() else None
    # Only a strong mark may be asked with: an answer to a weak one could be of another file.
    tag = answer.headers.get("ETag", "")
    version = tag if tag.startswith('"') else answer.headers.get("Last-Modified")
    place = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status != 206 or place is None:
        return _Answer(0, size, version)
    return _Answer(int(place[1]), None if place[2] == "*" else int(place[2]), version)


def _refuse_pages(answer: Any, source: Source) -> None:
    """Raise where a server sends a web page, as portals and maintenance do, in place of a file."""
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise _other(source, source.what, "a web page (HTML)")


def _version_of(note: Path, source: Source) -> str | None:
    """Give the version of a part; None if it cannot be gone on with, empty if its server told none."""
    if not note.is_file():
        return None
    try:
        content = json.loads(read_text(note))
        same, version = content["url"] == source.url, content["version"] or ""
    except (ValueError, LookupError, TypeError):
        return None
    return str(version) if same and (version or source.verified) else None


def _check_url(source: Source) -> None:
    if not _is_http(source.url):
        raise InputError(
            source.url[:200] or "the URL",
            expected="a URL of http:// or https://, in which spaces and letters beyond ASCII are written as %XX",
            found="another",
            fix=f"give one with --url, or {source.by_hand}",
        )


def _is_http(url: str) -> bool:
    """Say whether a request can be made of a URL; one that cannot would be tried again in vain."""
    try:
        parts = urllib.parse.urlsplit(url)
        return bool(_PLAIN.fullmatch(url) and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:  # a port that is none, or half an IPv6 address
        return False


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _TEMPORARY_STATUS
    return True


def _is_unreachable(error: Exception) -> bool:
    return isinstance(getattr(error, "reason", error), socket.gaierror | ConnectionRefusedError)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code} ({error.reason})"
    cause = getattr(error, "reason", error)
    if isinstance(cause, socket.gaierror):
        return f"no network, or no such server ({cause.strerror or cause})"
    if isinstance(cause, TimeoutError):
        return f"no byte in {STALL_S:g} s"
    return str(cause)[:150] or type(cause).__name__


def _cannot(source: Source, reason: str) -> StorageError:
    return StorageError(
        source.url,
        expected=f"{source.what}, over the network",
        found=reason,
        fix=f"run the same command again, which goes on from here; or {source.by_hand}",
    )


def _other(source: Source, expected: str, found: str) -> DamageError:
    fix = f"try later, or `sffshards fetch` with another --url; or {source.by_hand}"
    return DamageError(source.url, expected=expected, found=found, fix=fix)
