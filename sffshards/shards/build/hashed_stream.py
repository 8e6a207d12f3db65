"""What a tar is written to: a file whose bytes are hashed on the way."""

from __future__ import annotations

import hashlib
from typing import IO

__all__ = ["BUFFER_BYTES", "HashedStream"]

BUFFER_BYTES = 1 << 20
"""How much is written at once; tarfile and Python would make a system call for every few kilobytes."""


class HashedStream:
    """A binary stream that keeps the SHA-256 and the size of all that was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Write to the file."""
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        """Leave the file to who opened it; tarfile closes what it wrote to."""
