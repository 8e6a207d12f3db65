"""Open and read files: regular ones only, and none that is larger than what is read this way can be."""

from __future__ import annotations

import gzip
import io
import os
import re
import resource
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from sffshards.base.atomic_files import SPECIAL, storage_errors
from sffshards.base.errors import DamageError, InputError, StorageError
from sffshards.base.package_faces import accepts_text

__all__ = [
    "MAX_TEXT_BYTES",
    "OpenFiles",
    "decode_text",
    "name_other_format",
    "open_file",
    "open_file_limit",
    "open_zip",
    "opened",
    "read_bytes",
    "read_text",
    "reading",
    "split_lines",
    "unpack_gzip",
]

MAX_TEXT_BYTES = 100_000_000
"""Largest size of a text, unpacked; the published lists take 4 MB, and their keywords 15 MB."""

_MAX_READ_BYTES = 1 << 29
"""Largest size of a file that is read whole; records take some megabytes, the largest some hundred."""

_GZIP = b"\x1f\x8b"
_MAX_DIRECTORY_BYTES = 1 << 26
"""Largest size of a zip's directory; that of the published 200,000 members takes half of it."""
_MEMBER = b"PK\x01\x02"
"""Start of each member's entry in a zip's directory."""
_LINE_END = re.compile(r"\r\n?|\n")

_CHECK = "check that this is the right file"
_AS_CSV = "unpack it, or save it as CSV"
_OTHER_FORMATS = {
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
    _GZIP: ("a gzip file", "unpack it"),
    b"\x1f\x9d": ("a file of compress (.Z)", "unpack it"),
    b"PK\x03\x04": ("a zip or an Excel workbook", _AS_CSV),
    b"BZh": ("a bzip2 file", "unpack it"),
    b"\xfd7zXZ": ("an xz file", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard file", "unpack it"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"Rar!": ("a RAR archive", "unpack it"),
    b"\xff\xd8\xff": ("a JPEG image", _CHECK),
    b"\x89PNG": ("a PNG image", _CHECK),
    b"\0\0\0\x0cjP": ("a JPEG 2000 image", _CHECK),
    b"\x89HDF": ("an HDF5 file", _CHECK),
    b"%PDF": ("a PDF", _CHECK),
    b"PAR1": ("a Parquet file", "save it as CSV"),
    b"SQLite format 3": ("an SQLite database", "save its table as CSV"),
    b"SIMPLE  =": ("a FITS file", _CHECK),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
}
"""Formats that are named where another is expected, and what to do, by the first bytes of their files."""
_MARKUP = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml|votable)", re.IGNORECASE)


def name_other_format(data: bytes) -> tuple[str, str] | None:
    """Return the format of a file that is neither plain text nor of an unknown format, and what to do; None for others.

    Examples
    --------
    >>> name_other_format(b"BZh91AY")
    ('a bzip2 file', 'unpack it')
    """
    if _MARKUP.match(data[:1000]):
        return "a web page or XML", "download the file itself, or save it as CSV"
    return next((found for start, found in _OTHER_FORMATS.items() if data.startswith(start)), None)


def open_file_limit() -> int:
    """Return how many files this process may have open at a time, as ``ulimit -n`` states."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit


@accepts_text
@contextmanager
def opened(path: Path | str, flags: int, *, expected: str = "a place that can be read and written") -> Iterator[int]:
    """Open a file descriptor with flags of `os.open`, and close it after the block.

    Raises
    ------
    StorageError
        If the file cannot be opened.
    """
    descriptor = open_file(path, flags, expected=expected)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@accepts_text
def open_file(path: Path | str, flags: int, *, expected: str = "a place that can be read and written") -> int:
    """Return a descriptor of a file or folder, opened with flags of `os.open`; the caller closes it.

    Devices and pipes are refused: opening or reading one may take forever. A new file has the permissions that the
    umask leaves.

    Raises
    ------
    StorageError
        If it cannot be opened.
    """
    with storage_errors(path, expected=expected):
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
        mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(descriptor)
        raise StorageError(path, expected=expected, found=SPECIAL, fix="name a file, or write its content to one")
    return descriptor


class OpenFiles:
    """Files that a process keeps open to read, a quarter of those it may open; the least recently used is closed."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}

    def enter(self, path: Path) -> int:
        """Return a descriptor of a file; raises as `open_file`."""
        descriptor = self._descriptors.pop(path, None)
        if descriptor is None:
            if len(self._descriptors) >= open_file_limit() // 4:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            descriptor = open_file(path, os.O_RDONLY)
        self._descriptors[path] = descriptor
        return descriptor

    def close(self) -> None:
        """Close all."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


@accepts_text
@contextmanager
def reading(path: Path, *, expected: str = "a file that can be read") -> Iterator[BufferedReader]:
    """Open a file to read its bytes; raises as `open_file`."""
    descriptor = open_file(path, os.O_RDONLY, expected=expected)
    with storage_errors(path, expected=expected), os.fdopen(descriptor, "rb") as file:
        yield file


@accepts_text
def read_bytes(path: Path, *, max_bytes: int = _MAX_READ_BYTES) -> bytes:
    """Read a whole file into memory, if it is not larger than any that is read this way.

    Raises
    ------
    StorageError
        If the operating system refuses, or the file is larger.
    """
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise StorageError(path, expected=f"at most {max_bytes:,} bytes", found=f"{size:,}", fix=_CHECK)
        return file.read(size)


@accepts_text
def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises
    ------
    InputError
        If the bytes are not UTF-8 text.
    StorageError
        If the operating system refuses, or the file is larger than `MAX_TEXT_BYTES`.
    """
    return decode_text(read_bytes(path, max_bytes=MAX_TEXT_BYTES), where=path)


def unpack_gzip(data: bytes, *, where: object, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Return the content of a gzip file, or bytes that are none as they are.

    Raises
    ------
    InputError
        If the file is damaged, or its content larger than ``max_bytes``; no more than that is unpacked.
    """
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        fix = "download the file again"
        raise InputError(where, expected="a whole gzip file", found=str(error)[:100], fix=fix) from None
    if len(content) > max_bytes:
        expected = f"at most {max_bytes:,} bytes, unpacked"
        raise InputError(where, expected=expected, found="a gzip file with more", fix=_CHECK)
    return content


@contextmanager
def open_zip(file: BufferedReader, *, where: object, max_members: int) -> Iterator[zipfile.ZipFile]:
    """Open a zip, unless its directory, of which zipfile reads all at once, would fill the memory.

    Raises
    ------
    DamageError
        If it has more than ``max_members`` members, or a larger directory than they need.
    """
    content = _ZipBytes(file, where=where, max_members=max_members)
    try:
        with zipfile.ZipFile(content) as archive:
            content.is_open = True
            yield archive
    finally:
        content.detach()  # the caller closes the file


class _ZipBytes(io.BufferedReader):
    """A file that ends with an error where a larger directory of a zip is read than one may have."""

    def __init__(self, file: BufferedReader, *, where: object, max_members: int) -> None:
        super().__init__(file.raw)
        self._where, self._max_members = where, max_members
        self.is_open = False

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes."""
        if not self.is_open and (size or 0) > _MAX_DIRECTORY_BYTES:
            raise self._refuse(f"a directory of {size:,} bytes (limit {_MAX_DIRECTORY_BYTES:,})")
        data = super().read(size)
        if not self.is_open and data.count(_MEMBER) > self._max_members:
            raise self._refuse("more")
        return data

    def _refuse(self, found: str) -> DamageError:
        expected = f"a zip of at most {self._max_members:,} members"
        return DamageError(self._where, expected=expected, found=found, fix=_CHECK)


def split_lines(text: str) -> Iterator[str]:
    r"""Yield the lines of a text without their ends, which are those of Unix, Windows or old Macs.

    They are not held together: those of a text of many short lines would take a multiple of its size.

    Examples
    --------
    >>> list(split_lines("a\n\r\nb\r"))
    ['a', '', 'b']
    """
    start = 0
    for end in _LINE_END.finditer(text):
        yield text[start : end.start()]
        start = end.end()
    if start < len(text):
        yield text[start:]


def decode_text(data: bytes, *, where: object) -> str:
    r"""Return the text of a file's bytes in UTF-8, without its byte order mark; raises `InputError`.

    Examples
    --------
    >>> decode_text(b"\xef\xbb\xbfHARPNUM", where="table.csv")
    'HARPNUM'
    """
    other = name_other_format(data)
    try:
        text = data.decode("utf-8-sig")
        found = f"byte 0x00 at offset {data.index(0)}" if "\0" in text else None
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x} at offset {error.start}"
    if found is None and other is None:
        return text
    found, fix = other or (str(found), _CHECK)
    raise InputError(where, expected="text in UTF-8", found=found, fix=fix)
