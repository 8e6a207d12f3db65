"""Reads and writes files behind a URL through fsspec: with time limits, and again where a network fails."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from typing import Any, NamedTuple, TypeVar

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, InputError, StorageError
from sffshards.shards.read.places import READ_ONLY, SCHEMES, RemoteFolder

__all__ = ["RemoteFile", "RemoteStore"]

T = TypeVar("T")
Request = Callable[[Any, str, dict[str, float]], T]
"""Asks a file system of fsspec for something at a path, with the options that its requests take."""

CHUNK_BYTES = 8 << 20
"""Bytes asked for at a time: a connection that breaks costs no more."""
NUM_TRIES = 8
"""Times that a request is made before it is given up, with half a minute of pauses in all."""
FIRST_PAUSE_S = 0.25
"""Before the second try; doubled before each further one, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S = 15.0
TIMEOUT_S = 60.0
"""Within which a request must be answered in full."""
_LOOK_S = 0.2
"""How often a request under way looks whether anybody still waits for it."""
MAX_FETCHES = 3
"""Times that a file is fetched whole before other bytes than were written count as damage."""

_TEMPORARY_STATUS = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP statuses after which it is worth asking again."""

_LASTING = frozenset({"NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound"})
"""Names of botocore's errors, which may not be installed, that stay the same when it is asked again."""


class RemoteFile(NamedTuple):
    """A file behind a URL, as its server describes it."""

    size_bytes: int
    version: str
    """Changes when the file is written anew, such as S3's ETag does."""


class RemoteStore:
    """The files of a folder behind a URL; safe from several threads, and after a fork.

    Parameters
    ----------
    folder
        Which.
    """

    def __init__(self, folder: RemoteFolder) -> None:
        self.folder = folder
        self._made: dict[int, Any] = {}
        self._abandoned = threading.Event()

    def abandon(self) -> None:
        """Make every `fetch` that is under way raise `StorageError` soon; later ones are as ever."""
        event, self._abandoned = self._abandoned, threading.Event()
        event.set()

    def read(self, name: str) -> bytes | None:
        """Read a whole small file, such as a manifest; None if there is none.

        Raises
        ------
        StorageError
            If it cannot be read.
        """
        try:
            content: bytes = self._retry(name, lambda fs, path, options: fs.cat_file(path, **options))
        except FileNotFoundError:
            return None
        return content

    def fetch(self, name: str, descriptor: int, *, size_bytes: int, sha256: str) -> None:
        """Copy a file into one that is open here, and make sure that it is the one that was written.

        Parameters
        ----------
        name
            In the folder.
        descriptor
            Of a file open for writing; what it holds after an error is not defined.
        size_bytes, sha256
            Of the file as it was written.

        Raises
        ------
        DamageError
            If it is not there, or its bytes are others each time.
        StorageError
            If it cannot be read, or the copy not be written.
        """
        where = self.folder / name
        found = ""
        for _ in range(MAX_FETCHES):
            try:
                found = self._fetch_once(name, descriptor, size_bytes=size_bytes)
            except FileNotFoundError:
                raise self._damage(where, "a file", "none") from None
            if found == sha256:
                return
        raise self._damage(where, f"{size_bytes} bytes with SHA-256 {sha256[:16]}...", f"SHA-256 {found[:16]}...")

    def hash(self, name: str, *, size_bytes: int) -> str:
        """Give the SHA-256 of a file's first bytes, read without being kept; raises as `fetch`."""
        try:
            return self._fetch_once(name, None, size_bytes=size_bytes)
        except FileNotFoundError:
            raise self._damage(self.folder / name, "a file", "none") from None

    def write(self, name: str, data: bytes) -> None:
        """Write a whole small file; raises `StorageError` if that cannot be."""
        self._send(name, lambda fs, path, options: fs.pipe_file(path, data, **options))

    def upload(self, name: str, source: str) -> None:
        """Copy a file of this machine there; raises `StorageError` if that cannot be."""

        def put(fs: Any, path: str, _: dict[str, float]) -> None:
            fs.put_file(source, path)

        self._send(name, put)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

        def remove(fs: Any, path: str, _: dict[str, float]) -> None:
            if fs.exists(path):
                fs.rm_file(path)

        self._retry(name, remove)

    def look(self, name: str) -> RemoteFile | None:
        """Say of a file how large it is and what tells it from others; None if there is none."""

        def ask(fs: Any, path: str, _: dict[str, float]) -> RemoteFile:
            fs.invalidate_cache()
            return RemoteFile(int(fs.info(path)["size"]), str(fs.checksum(path)))

        try:
            return self._retry(name, ask)
        except FileNotFoundError:
            return None

    def _send(self, name: str, request: Request[object]) -> None:
        try:
            self._retry(name, request)
        except FileNotFoundError as error:
            raise StorageError(
                self.folder / name,
                expected="a bucket or folder that can be written to",
                found=str(error).splitlines()[0][:200] or "no such place",
                fix="check the address, or make the bucket first",
            ) from error

    def _fetch_once(self, name: str, descriptor: int | None, *, size_bytes: int) -> str:
        digest, start, abandoned = hashlib.sha256(), 0, self._abandoned
        while start < size_bytes:
            end = min(start + CHUNK_BYTES, size_bytes)
            data = self._read_range(name, start, end, size_bytes=size_bytes, abandoned=abandoned)
            digest.update(data)
            if descriptor is not None:
                _write_at(descriptor, data, start, where=self.folder / name)
            start += len(data)
        return digest.hexdigest()

    def _read_range(self, name: str, start: int, end: int, *, size_bytes: int, abandoned: threading.Event) -> bytes:
        """Give bytes from ``start`` on, one at least: a connection that breaks leaves fewer than were asked for."""

        def read(fs: Any, path: str, options: dict[str, float]) -> bytes:
            data = _cat_range(fs, path, start, end, abandoned=abandoned, **options)
            if len(data) == size_bytes > end - start:  # a server that knows no ranges gives all
                data = data[start:]
            if not data or len(data) > size_bytes - start:
                raise OSError(f"{len(data)} bytes in place of {end - start}")
            return data

        return self._retry(name, read, abandoned=abandoned)

    def _retry(self, name: str, request: Request[T], *, abandoned: threading.Event | None = None) -> T:
        """Make a request until it is answered, or there is no hope that it will be."""
        where = self.folder / name
        wait = threading.Event() if abandoned is None else abandoned
        pause, attempt = FIRST_PAUSE_S, 1
        while True:
            try:
                if wait.is_set():
                    raise _AbandonedError
                fs, options = self._filesystem()
                return request(fs, where.url, options)
            except (FileNotFoundError, InputError):
                raise
            except Exception as error:
                if attempt == NUM_TRIES or not _is_temporary(error):
                    raise _refusal(where, error, attempt) from error
            wait.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311  so that not all ask again at the same moment
            pause, attempt = min(2 * pause, LONGEST_PAUSE_S), attempt + 1

    def _filesystem(self) -> tuple[Any, dict[str, float]]:
        """Give fsspec's file system, made anew in every process, and the options that its requests take."""
        from fsspec.asyn import AsyncFileSystem

        # No lock: a fork while another thread holds it would stop the child. Made twice, the first one stays.
        fs = self._made.get(os.getpid()) or self._made.setdefault(os.getpid(), _make_filesystem(self.folder))
        return fs, {"timeout": TIMEOUT_S} if isinstance(fs, AsyncFileSystem) else {}

    def _damage(self, where: object, expected: str, found: str) -> DamageError:
        fix = "write the build there again, or remove its manifest"
        return DamageError(where, expected=expected, found=found, fix=fix)


def _make_filesystem(folder: RemoteFolder) -> Any:
    import fsspec

    scheme = folder.url.partition("://")[0].lower()
    options: dict[str, Any] = {}
    if scheme in READ_ONLY:  # bytes as they are, and through the proxy that the environment names
        options = {"headers": {"Accept-Encoding": "identity"}, "client_kwargs": {"trust_env": True}}
    try:
        return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError as error:
        raise InputError(
            folder,
            expected=f"the package {SCHEMES[scheme]}, which reads {scheme}://",
            found=f"none that can be imported ({error})",
            fix=f"install it: python -m pip install {SCHEMES[scheme]}",
        ) from None


class _AbandonedError(PermissionError):
    """A fetch that was stopped."""

    def __init__(self) -> None:
        super().__init__("nobody waits for it any more")


def _cat_range(
    fs: Any, path: str, start: int, end: int, *, abandoned: threading.Event, timeout: float | None = None
) -> bytes:
    """Give a range of a file as ``fs.cat_file`` does; but a request that is abandoned is cancelled, not waited for."""
    if timeout is None:  # a file system that knows no time limits
        return bytes(fs.cat_file(path, start=start, end=end))
    request = asyncio.wait_for(fs._cat_file(path, start=start, end=end), timeout)  # noqa: SLF001  its name in fsspec
    answer: Future[bytes] = asyncio.run_coroutine_threadsafe(request, fs.loop)
    try:
        while not wait_for_futures([answer], timeout=_LOOK_S).done:
            if abandoned.is_set():
                raise _AbandonedError
        return answer.result()
    finally:
        answer.cancel()


def _is_temporary(error: Exception) -> bool:
    """Say whether a request may do better when it is made again."""
    status = getattr(error, "status", None)  # aiohttp's
    if isinstance(status, int):
        return status in _TEMPORARY_STATUS
    if type(error).__name__ in _LASTING:
        return False
    return not isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError | ValueError | TypeError)


def _refusal(where: RemoteFolder, error: Exception, num_tries: int) -> StorageError:
    said = str(error) or type(error).__name__
    return StorageError(
        where,
        expected="a place that can be read and written",
        found=f"{said[:200]} ({'at the first try' if num_tries == 1 else f'in each of {num_tries} tries'})",
        fix="check the address, your credentials and the network; the same command goes on from here",
    )


def _write_at(descriptor: int, data: bytes, offset: int, *, where: object) -> None:
    view = memoryview(data)
    with storage_errors(f"the copy of {where}", expected="a cache that can be written"):
        while view:
            done = os.pwrite(descriptor, view, offset)
            view, offset = view[done:], offset + done
