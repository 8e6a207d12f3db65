"""Checksums of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from sffshards.base.file_reading import reading
from sffshards.base.package_faces import accepts_text

__all__ = ["describe_files", "hash_file"]


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


@accepts_text
def describe_files(paths: Iterable[Path]) -> list[dict[str, str]]:
    """Return the name and SHA-256 of each file, as plain values for JSON, wherever their folder is."""
    return [
        {"file": path.name.encode("utf-8", "backslashreplace").decode(), "sha256": hash_file(path)} for path in paths
    ]
