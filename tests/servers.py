"""Servers that a build is read from: one that serves a folder and can be told to misbehave, and one that speaks S3."""

from __future__ import annotations

import random
import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["FolderServer", "serve_folder", "serve_s3"]


class FolderServer:
    """Serves a folder over HTTP, with ranges; counts what it sends.

    Attributes
    ----------
    faults
        Share of the requests for tars that fail, by the kind of fault: ``503``, ``drop`` (the connection is closed in
        the middle), ``short`` (fewer bytes than were asked for, said to be all), ``stall`` (nothing comes for a while),
        ``flip`` (a wrong byte).
    with_ranges
        Whether it knows ranges; if not, it sends whole files.
    sent
        Bytes sent, by path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, float] = {}
        self.with_ranges = True
        self.stall_s = 1.5
        self.delay_s = 0.0
        self.sent: Counter[str] = Counter()
        self.num_faults: Counter[str] = Counter()
        self._random = random.Random(5)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the folder."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _draw_fault(self) -> str | None:
        with self._lock:
            place = self._random.random()
            for fault, share in self.faults.items():
                place -= share
                if place < 0:
                    self.num_faults[fault] += 1
                    return fault
        return None

    def _answer(self, path: Path, asked: re.Match[str] | None) -> tuple[int, bytes, str | None]:
        """Give the status, the bytes and the fault of an answer."""
        if not path.is_file():
            return 404, b"", None
        time.sleep(self.delay_s)
        data, status = path.read_bytes(), 200
        if asked and self.with_ranges:
            data, status = data[int(asked[1]) : int(asked[2]) + 1], 206
        fault = self._draw_fault() if path.suffix == ".tar" else None
        if fault == "503":
            return 503, b"", fault
        if fault == "stall":
            time.sleep(self.stall_s)
        if fault == "short":
            data = data[: len(data) // 3]
        if fault == "flip":
            data = data[:-1] + bytes([data[-1] ^ 1])
        return status, data, fault

    def _count(self, name: str, num_bytes: int) -> None:
        with self._lock:
            self.sent[name] += num_bytes

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                status, data, fault = owner._answer(owner.folder / name, asked)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                body = data[: len(data) // 2] if fault == "drop" else data
                self.close_connection = fault == "drop"
                try:
                    self.wfile.write(body)
                except OSError:  # whoever asked has given up
                    self.close_connection = True
                owner._count(name, len(body))

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def serve_folder(folder: Path) -> Iterator[FolderServer]:
    """Serve a folder while the block runs."""
    server = FolderServer(folder)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def serve_s3(monkeypatch: Any) -> Iterator[str]:
    """Run moto's S3 server, with an empty bucket ``flares``, and point s3fs at it; gives the bucket's URL."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "made",
            "AWS_SECRET_ACCESS_KEY": "up",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        boto3.client("s3").create_bucket(Bucket="flares")
        yield "s3://flares"
    finally:
        server.stop()
