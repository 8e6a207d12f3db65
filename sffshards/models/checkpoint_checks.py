"""Check a file of `torch.save` before torch reads it: that it is whole, and does not unfold to more than it is."""

from __future__ import annotations

import io
import lzma
import mmap
import os
import pickle
import pickletools
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

from sffshards.base.atomic_files import NO_MAPPING, is_refusal
from sffshards.base.errors import DamageError, InputError
from sffshards.base.file_reading import open_zip

_ARCHIVE_START = b"PK\x03\x04"
"""Start of an archive, by which torch, too, tells it from the files that it wrote before 1.6."""

_IS_FOLDER = 0x10
"""Attribute of an archive's member for which torch leaves the tensor uninitialised."""

_MAX_PICKLE_BYTES = 1 << 21
"""Largest size of an archive's description of its tensors; that of MViTv2-S with its optimiser takes 200 kB."""
_MAX_MEMBERS = 100_000
"""Largest number of an archive's members, one for each tensor; MViTv2-S with its optimiser has some 1,500."""
_MAX_READS = 1 << 20
"""Maximum number of reads from a file that is no archive: torch makes one for each instruction of the description."""
_MAX_NESTING = 16
"""Largest depth of tuples in tuples; torch.save writes a few. If each holds the next one twice, the time that hashing
takes doubles with each level."""
_NUM_DESCRIPTIONS = 5
"""Number of pickles in a file that torch wrote before 1.6."""
_MARK = -1

CUT_OFF = "a file that is cut off or not of torch"
UNREADABLE = (
    *(RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError),
    *(AssertionError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError, pickle.UnpicklingError),
)
"""Errors of torch and zipfile for a file that is cut off or of another kind; which one depends on where they fail."""


class MeteredFile(io.BufferedReader):
    """A file that ends with an error after so many reads as no description of tensors takes."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file.raw)
        self.seek(0)
        self._num_reads = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes."""
        self._num_reads += 1
        if self._num_reads > _MAX_READS:
            raise ValueError("too many instructions")
        return super().read(size)


def check_checkpoint(file: BufferedReader, path: Path) -> None:
    """Check that torch can read a file in little time and memory, and that an archive is whole; rewind the file.

    Raises
    ------
    InputError
        If it cannot.
    DamageError
        If the bytes of an archive's member have changed.
    """
    is_archive = file.read(len(_ARCHIVE_START)) == _ARCHIVE_START
    file.seek(0)
    try:
        if is_archive:
            _check_archive(file, path)
        else:
            _check_descriptions(file, path)
    except (InputError, DamageError):
        raise
    except UNREADABLE as error:
        if is_refusal(error):
            raise
        raise unusable(path, CUT_OFF) from None
    _check_allocations(file, path)
    file.seek(0)


def _check_archive(file: BufferedReader, path: Path) -> None:
    """Compare the members with their CRC-32, which `torch.load` does not check, and check the description of tensors.

    Archives are refused that unpack to more than they are: torch.save packs nothing.
    """
    with open_zip(file, where=path, max_members=_MAX_MEMBERS) as archive:
        members = archive.infolist()
        if any(member.compress_type for member in members) or sum(m.file_size for m in members) > _size(file):
            raise unusable(path, "an archive that unpacks to more than it is, which torch.save does not write")
        descriptions = [member for member in members if member.filename.endswith(".pkl")]
        largest = max((member.file_size for member in descriptions), default=0)
        if largest > _MAX_PICKLE_BYTES:
            raise unusable(path, f"a description of {largest:,} bytes (limit {_MAX_PICKLE_BYTES:,})")
        folders = [member.filename for member in members if member.external_attr & _IS_FOLDER]
        damaged = folders[0] if folders else archive.testzip()
        if damaged is not None:
            raise DamageError(
                path,
                expected="the bytes that torch.save wrote",
                found=f"others in its member {damaged[:80]}",
                fix="copy or download it again, or train again with `sffshards train --force`",
            )
        for member in descriptions:
            _check_nesting(archive.read(member), path)


def _check_descriptions(file: BufferedReader, path: Path) -> None:
    """Check the pickles with which a file begins that is no archive."""
    try:
        tarfile.open(fileobj=file, mode="r:").close()
    except tarfile.TarError:
        pass
    else:
        raise unusable(path, "a tar archive, as torch wrote in 2016")
    metered = MeteredFile(file)
    try:
        for _ in range(_NUM_DESCRIPTIONS):
            _check_nesting(metered, path)
    finally:
        metered.detach()


def _check_nesting(description: bytes | IO[bytes], path: Path) -> None:
    """Refuse deeply nested tuples; raises one of `UNREADABLE` if the bytes are no pickle."""
    stack: list[int] = []  # the depth of each value
    memo: dict[int, int] = {}
    for code, argument, _ in pickletools.genops(description):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else int(argument)] = stack[-1]
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif code.name == "DUP":
            stack.append(stack[-1])
        elif code.name == "MARK":
            stack.append(_MARK)
        else:
            taken = _pop(stack, code)
            depth = max(taken, default=0) + 1 if "TUPLE" in code.name else 0
            if depth > _MAX_NESTING:
                raise unusable(path, f"tuples in tuples to a depth of more than {_MAX_NESTING}, which no network has")
            stack += [max(depth, 0)] * len(code.stack_after)


def _pop(stack: list[int], code: pickletools.OpcodeInfo) -> list[int]:
    """Take from the stack what an instruction takes."""
    start = len(stack) - len(code.stack_before)
    if pickletools.markobject in code.stack_before:
        start = len(stack) - 1 - stack[::-1].index(_MARK) - code.stack_before.index(pickletools.markobject)
    if start < 0:
        raise ValueError("too few values")
    taken = stack[start:]
    del stack[start:]
    return taken


def _check_allocations(file: IO[bytes], path: Path) -> None:
    """Refuse a file that names the one type that `torch.load` would make of any size, and fill."""
    if not _size(file):
        return
    with _mapped(file) as content:
        if content.find(b"builtins\nbytearray") >= 0 or content.find(b"__builtin__\nbytearray") >= 0:
            raise unusable(path, "an array of bytes, which no network has")


@contextmanager
def _mapped(file: IO[bytes]) -> Iterator[mmap.mmap | bytes]:
    """Yield a file's content, mapped into memory, or read where the file system cannot map files."""
    try:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        if error.errno not in NO_MAPPING:
            raise
        file.seek(0)
        yield file.read()
    else:
        with content:
            yield content


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def unusable(path: Path, found: str) -> InputError:
    """Return the error of a file that cannot be used."""
    return InputError(
        path,
        expected="a state dict or a Lightning checkpoint that torch.save wrote",
        found=found,
        fix="check the path, or choose another file",
    )
