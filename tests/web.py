"""A server of files that stalls, drops and lies as it is told."""

from __future__ import annotations

import hashlib
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = ["FaultyServer", "serve_files"]


class FaultyServer:
    """Serves files from memory, with ranges and an ETag.

    Attributes
    ----------
    files
        Content by path.
    faults
        What happens to the next requests for files, one each; None: nothing. ``("cut", n)``: the connection is closed
        after n bytes of the answer. ``("short", n)``: the file is said to have n bytes. ``("stall", s)``: nothing comes
        for s seconds in the middle. ``("page", None)``: a web page, said to be one. ``("lie", b)``: other bytes.
        ``(503, None)``: a status. ``("endless", False)``: zero bytes without end. ``("endless", True)``: packed
        ones, with the header that has a client unpack them.
    with_ranges, with_tags
        Whether it knows ranges, and tells versions.
    requests
        Path and Range of every request.
    num_sent
        Bytes of files that were sent.
    slow_s
        Pause after every 64 kB.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: deque[tuple[Any, Any] | None] = deque()
        self.with_ranges = self.with_tags = True
        self.requests: list[tuple[str, str | None]] = []
        self.num_sent = 0
        self.slow_s = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer_other(self, path: str, query: str) -> bytes | None:
        """Answer what is no file, for servers that build on this one; None for a 404."""
        return None

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(_Handler):
            server_of_files = owner

        return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_files: FaultyServer

    def do_GET(self) -> None:
        owner = self.server_of_files
        place = urlsplit(self.path)
        owner.requests.append((place.path, self.headers.get("Range")))
        fault, value = (owner.faults.popleft() if owner.faults else None) or (None, None)
        data = owner.files.get(place.path)
        if data is None and fault is None:
            data = owner.answer_other(place.path, place.query)
        self.close_connection = True
        try:
            if isinstance(fault, int) or data is None:
                self.send_error(fault if isinstance(fault, int) else 404)
            else:
                self._answer(data, fault, value)
        except OSError:  # whoever asked has gone
            return

    def _answer(self, data: bytes, fault: Any, value: Any) -> None:
        if fault == "endless":
            self._send_endless(is_gzipped=value)
            return
        if fault == "lie":
            data = value
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        if fault == "short":
            data = data[:value]
        if fault == "page":
            data = b"<!DOCTYPE html><html><body>Log in to the network</body></html>"
        start = self._start(tag)
        if start and start >= len(data):
            self._send_head(416, [("Content-Range", f"bytes */{len(data)}")], 0)
            return
        headers = [("Content-Type", "text/html" if fault == "page" else "application/octet-stream")]
        if start:
            headers.append(("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}"))
        if self.server_of_files.with_tags:
            headers.append(("ETag", tag))
        self._send_head(206 if start else 200, headers, len(data) - start)
        body = data[start:]
        self._send(body[:value] if fault == "cut" else body, value if fault == "stall" else 0)

    def _send_endless(self, *, is_gzipped: bool) -> None:
        self.send_response(200)
        if is_gzipped:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        packer = zlib.compressobj(wbits=31)
        for _ in range(1000):
            data = bytes(1 << 20)
            self.wfile.write(packer.compress(data) if is_gzipped else data)

    def _start(self, tag: str) -> int:
        """Give the offset from which the file is asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", tag) == tag
        return int(asked[1]) if asked and self.server_of_files.with_ranges and same else 0

    def _send_head(self, status: int, headers: list[tuple[str, str]], length: int) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, body: bytes, stall_s: float) -> None:
        owner, half = self.server_of_files, len(body) // 2
        for part, pause in ((body[:half], stall_s), (body[half:], 0)):
            for at in range(0, len(part), 1 << 16):
                self.wfile.write(part[at : at + (1 << 16)])
                owner.num_sent += len(part[at : at + (1 << 16)])
                time.sleep(owner.slow_s)
            self.wfile.flush()
            time.sleep(pause)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serve_files() -> Iterator[FaultyServer]:
    """Serve files while the block runs."""
    server = FaultyServer()
    try:
        yield server
    finally:
        server.close()
