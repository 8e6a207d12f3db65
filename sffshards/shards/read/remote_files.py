"""Read and write files behind a URL through fsspec: within time limits, and again where a network fails."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sffshards.base import retries
from sffshards.base.atomic_files import write_all
from sffshards.base.errors import DamageError, InputError, StorageError
from sffshards.base.retries import Retries, StoppedError
from sffshards.shards.format import Shard

if TYPE_CHECKING:
    from sffshards.shards.read.places import RemoteFolder

SCHEMES = {
    "http": "aiohttp",
    "https": "aiohttp",
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
}
"""Kinds of URL that are read, and the package that fsspec needs for each. Others, which may run code, are refused."""

READ_ONLY = frozenset({"http", "https"})
"""Kinds of URL that cannot be written to."""

T = TypeVar("T")
Request = Callable[[Any, str, dict[str, float]], T]
"""Asks a file system of fsspec for something at a path, with the options that its requests take."""

CHUNK_BYTES = 8 << 20
"""Bytes per request: a connection that breaks costs no more."""
MAX_ANSWER_BYTES = 1 << 28
"""Largest answer of a server: a chunk, a manifest, or a whole shard where the server knows no ranges."""
MAX_FETCHES = 3
"""Number of times that a file is fetched whole before other bytes than were written count as damage."""
_PIECE_BYTES = 1 << 20
_REWRITE = "write the build there again, or remove its manifest"
_LOOK_S = 0.2
"""Time after which a request that is under way looks whether anybody still waits for it."""


class RemoteFile(NamedTuple):
    """A file behind a URL, as its server describes it."""

    size_bytes: int
    version: str
    """A text that changes when the file is written again, such as S3's ETag."""


class RemoteStore:
    """The files of a remote folder; safe from several threads, and after a fork.

    Requests that fail are made again by the policy of `sffshards.base.retries`, each within its time limit.

    Parameters
    ----------
    folder
        The folder behind a URL.
    """

    def __init__(self, folder: RemoteFolder) -> None:
        self.folder = folder
        self._filesystems: dict[int, Any] = {}
        self._stop = threading.Event()

    def abandon(self) -> None:
        """Make every `fetch` that is under way raise `StorageError` soon; later ones are not affected."""
        event, self._stop = self._stop, threading.Event()
        event.set()

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file, such as a manifest, or None if there is none.

        Raises
        ------
        StorageError
            If it cannot be read.
        """
        is_s3 = self.folder.url.lower().startswith("s3://")
        span = {"start": 0, "end": MAX_ANSWER_BYTES + 1} if is_s3 else {}  # or s3fs allocates what a server states
        try:
            return bytes(self._ask(name, lambda fs, path, options: fs.cat_file(path, **span, **options)))
        except FileNotFoundError:
            return None

    def fetch(self, shard: Shard, descriptor: int) -> None:
        """Copy a shard into a file that is open here, and check that it is the one that was written.

        Parameters
        ----------
        shard
            The shard as it was written.
        descriptor
            Descriptor of a file that is open for writing; its content after an error is not defined.

        Raises
        ------
        DamageError
            If it is not there, or its bytes are others each time.
        StorageError
            If it cannot be read, or the copy not be written.
        """
        found = ""
        for _ in range(MAX_FETCHES):
            found = self._copy(shard, descriptor)
            if found == shard.sha256:
                return
        raise shard.damage(self.folder / shard.name, found, fix=_REWRITE)

    def hash(self, shard: Shard) -> str:
        """Return the SHA-256 of a shard, which is read but not kept; raises as `fetch`."""
        return self._copy(shard, None)

    def write(self, name: str, data: bytes) -> None:
        """Write a small file; raises `StorageError` if that is not possible."""
        self._send(name, lambda fs, path, options: fs.pipe_file(path, data, **options))

    def upload(self, name: str, source: str) -> None:
        """Copy a file of this machine to the folder; raises `StorageError` if that is not possible."""
        self._send(name, lambda fs, path, _: fs.put_file(source, path))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._ask(name, lambda fs, path, _: fs.rm_file(path) if fs.exists(path) else None)

    def look(self, name: str) -> RemoteFile | None:
        """Return size and version of a file, or None if there is none."""

        def ask(fs: Any, path: str, _: dict[str, float]) -> RemoteFile:
            fs.invalidate_cache()
            return RemoteFile(int(fs.info(path)["size"]), str(fs.checksum(path)))

        try:
            return self._ask(name, ask)
        except FileNotFoundError:
            return None

    def _send(self, name: str, request: Request[object]) -> None:
        try:
            self._ask(name, request)
        except FileNotFoundError as error:
            raise StorageError(
                self.folder / name,
                expected="a bucket or folder that can be written to",
                found=str(error).splitlines()[0][:200] or "no such place",
                fix="check the address, or make the bucket first",
            ) from error

    def _copy(self, shard: Shard, descriptor: int | None) -> str:
        """Read a shard range by range, into a descriptor if there is one; return its SHA-256."""
        digest, start, stop, where = hashlib.sha256(), 0, self._stop, self.folder / shard.name

        def read(fs: Any, path: str, options: dict[str, float]) -> bytes:
            return _read_range(fs, path, (start, shard.size_bytes), stop, **options)

        while start < shard.size_bytes:
            try:
                data = self._ask(shard.name, read, stop=stop)
            except FileNotFoundError:
                raise DamageError(where, expected="a file", found="none", fix=_REWRITE) from None
            digest.update(data)
            if descriptor is not None:
                write_all(descriptor, data, start, where=f"the copy of {where}")
            start += len(data)
        return digest.hexdigest()

    def _ask(self, name: str, request: Request[T], *, stop: threading.Event | None = None) -> T:
        """Make a request until it is answered, or there is no hope that it will be."""
        where = self.folder / name

        def refuse(reason: str) -> StorageError:
            return StorageError(
                where,
                expected="a place that can be read and written",
                found=reason,
                fix="check the address, your credentials and the network; the same command resumes",
            )

        def ask() -> T:
            fs, options = self._filesystem()
            return request(fs, where.url, options)

        return Retries(refuse, stop=stop, patient=True).run(ask)

    def _filesystem(self) -> tuple[Any, dict[str, float]]:
        """Return fsspec's file system, which every process makes for itself, and the options that its requests take."""
        from fsspec.asyn import AsyncFileSystem

        # No lock: a fork while another thread holds it would stop the child. If two are made, the first one stays.
        pid = os.getpid()
        fs = self._filesystems.get(pid) or self._filesystems.setdefault(pid, _make_filesystem(self.folder))
        return fs, {"timeout": retries.TIMEOUT_S} if isinstance(fs, AsyncFileSystem) else {}


def _make_filesystem(folder: RemoteFolder) -> Any:
    import fsspec

    scheme = folder.url.partition("://")[0].lower()
    options: dict[str, Any] = {}
    if scheme in READ_ONLY:  # bytes as they are, and through the proxy that the environment names
        client = {"trust_env": True, "auto_decompress": False, "response_class": _limit_answers()}
        options = {"headers": {"Accept-Encoding": "identity"}, "client_kwargs": client}
    try:
        if scheme == "s3":
            options = {"session": _limit_objects()}
        return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError as error:
        raise InputError(
            folder,
            expected=f"the package {SCHEMES[scheme]}, which reads {scheme}://",
            found=f"none that can be imported ({error})",
            fix=f"install it: python -m pip install {SCHEMES[scheme]}",
        ) from None


def _limit_answers() -> type:
    """Return a class of HTTP answers that end with an error where they are too large; fsspec reads them whole."""
    from aiohttp import ClientResponse

    class LimitedAnswer(ClientResponse):
        async def read(self) -> bytes:
            body = bytearray()
            while self._body is None and (data := await self.content.readany()):
                body += data
                if len(body) > MAX_ANSWER_BYTES:
                    self.close()
                    raise _too_large(str(self.url))
            if self._body is None:
                self._body = bytes(body)
            return await super().read()

    return LimitedAnswer


def _limit_objects() -> Any:
    """Return a session of S3 whose objects end with an error where they are too large; s3fs reads them whole."""
    from aiobotocore.session import AioSession

    def limit(parsed: dict[str, Any], **_: object) -> None:
        if "Body" in parsed:
            parsed["Body"] = _LimitedObject(parsed["Body"])

    session = AioSession()
    session.register("after-call.s3.GetObject", limit)
    return session


class _LimitedObject:
    """The content of an object of S3, as s3fs reads it."""

    def __init__(self, body: Any) -> None:
        self._body = body

    async def read(self) -> bytes:
        """Read all of it."""
        content = bytearray()
        while data := await self._body.read(_PIECE_BYTES):
            content += data
            if len(content) > MAX_ANSWER_BYTES:
                raise _too_large("S3")
        return bytes(content)

    def close(self) -> None:
        """Close the connection."""
        self._body.close()


def _too_large(where: str) -> StorageError:
    expected, fix = f"an answer of at most {MAX_ANSWER_BYTES:,} bytes", "check the address"
    return StorageError(where, expected=expected, found="more", fix=fix)


def _read_range(
    fs: Any, path: str, span: tuple[int, int], stop: threading.Event, *, timeout: float | None = None
) -> bytes:
    """Return bytes from ``span[0]`` on, at least one; a connection that breaks leaves fewer than were asked for."""
    start, size = span
    end = min(start + CHUNK_BYTES, size)
    if timeout is None:  # a file system that knows no time limits
        data = bytes(fs.cat_file(path, start=start, end=end))
    else:
        data = _wait_for(fs, fs._cat_file(path, start=start, end=end), stop, timeout)  # noqa: SLF001  its name in fsspec
    if len(data) == size > end - start:  # a server that knows no ranges sends everything
        data = data[start:]
    if not data or len(data) > size - start:
        raise OSError(f"{len(data)} bytes in place of {end - start}")
    return data


def _wait_for(fs: Any, request: Any, stop: threading.Event, timeout: float) -> bytes:
    """Return the answer of an asynchronous request; cancel it, rather than wait, when nobody wants it any more."""
    answer: Future[bytes] = asyncio.run_coroutine_threadsafe(asyncio.wait_for(request, timeout), fs.loop)
    try:
        while not wait_for_futures([answer], timeout=_LOOK_S).done:
            if stop.is_set():
                raise StoppedError
        return answer.result()
    finally:
        answer.cancel()
