"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sffshards.base.file_reading import reading
from sffshards.base.package_faces import accepts_text

__all__ = ["hash_file"]


@accepts_text
def hash_file(path: Path, *, algorithm: str = "sha256", expected: str = "a file that can be read") -> str:
    """Return the checksum of a file in hexadecimal, its SHA-256 if no other algorithm of `hashlib` is named.

    Raises
    ------
    StorageError
        If the operating system refuses to read it; the error states ``expected``.
    """
    with reading(path, expected=expected) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
