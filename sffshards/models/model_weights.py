"""Weights from files of any origin: read without running code, checked, and loaded into a network."""

from __future__ import annotations

import lzma
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, InputError
from sffshards.base.progress import Progress
from sffshards.fetch import fetch_weights, weights_path


class _Unread:
    """Stands for an object of another library in a checkpoint, of which nothing is kept."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_UNREAD = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype", "_codecs.encode"),
    *(f"pathlib.{name}" for name in ("PosixPath", "WindowsPath", "_local.PosixPath", "_local.WindowsPath")),
)
"""Names in a pickle of what hyperparameters often are: numbers of numpy, and paths. They are skipped rather than made,
so that no function of these libraries is called with the content of a file."""

_ARCHIVE_START = b"PK\x03\x04"
"""Start of an archive, by which torch, too, tells it from the files that it wrote before 1.6."""

_IS_FOLDER = 0x10
"""Attribute of an archive's member for which torch leaves the tensor uninitialised."""

_CUT_OFF = "a file that is cut off or not of torch"
_UNREADABLE = (
    *(RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError),
    *(AssertionError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""Errors of torch and zipfile for a file that is cut off or of another kind; which one depends on where they fail."""

_HEAD = "head.1."
_LIGHTNING_PREFIX = "model."


def read_kinetics400(model: nn.Module, *, progress: Progress) -> None:
    """Load torchvision's Kinetics-400 weights into MViTv2-S, all but the head.

    The file is taken from torch's cache, where torchvision would put it, or downloaded to it.

    Raises
    ------
    DamageError, StorageError
        As `sffshards.fetch.published_files.fetch_weights`.
    """
    load_weights(model, fetch_weights(weights_path(), progress=progress), model_name="mvit_v2_s")


def load_weights(model: nn.Module, path: Path, *, model_name: str) -> None:
    """Load initial weights into a network; a head of another number of classes is dropped.

    Raises
    ------
    InputError
        If the file is missing, cannot be read without running code, or belongs to another network.
    DamageError
        If its bytes have changed since it was written.
    """
    state = read_state_dict(path)
    name = f"{_head_of(model)}weight"
    head = state.get(name)
    fits = head is not None and head.shape == model.get_parameter(name).shape
    _load(model, state, where=path, model_name=model_name, drop_head=not fits)


def load_checkpoint(model: nn.Module, path: Path, *, model_name: str) -> None:
    """Load a checkpoint of a trained network, including its head.

    Raises
    ------
    InputError
        As `load_weights`, and if its head has another number of classes.
    DamageError
        As `load_weights`.
    """
    _load(model, read_state_dict(path), where=path, model_name=model_name, drop_head=False)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a network's tensors by their names, from a plain state dict or a Lightning checkpoint.

    Of a checkpoint, the entries ``model.*`` are read, without that prefix. Others, such as the class weights that the
    published programs store as ``criterion.weight``, do not belong to the network.

    Raises
    ------
    InputError
        If the file is missing, cut off, not a file of torch, or holds objects other than plain data and tensors, or
        tensors other than dense arrays of real numbers.
    DamageError
        If its bytes have changed since it was written.
    """
    content = read_checkpoint(path)
    state = content.get("state_dict", content)
    if isinstance(state, Mapping):
        of_network = {str(name): value for name, value in state.items() if str(name).startswith(_LIGHTNING_PREFIX)}
        state = {name.removeprefix(_LIGHTNING_PREFIX): value for name, value in of_network.items()} or state
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise _unusable(path, "no state dict in it")
    for name, value in state.items():
        if not isinstance(name, str) or not _is_dense(value):
            raise _unusable(path, f"an entry that is no named array of real numbers ({str(name)[:80]})")
    return dict(state)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of `torch.save` that holds a dictionary, on the CPU and with ``weights_only``: no code in it runs.

    Numbers of numpy and paths, as published checkpoints may hold among their hyperparameters, are skipped.

    Raises
    ------
    InputError
        If the file is missing, cut off, not a file of torch, or holds objects other than plain data and tensors.
    DamageError
        If its bytes have changed since it was written.
    """
    if not path.is_file():
        raise _unusable(path, "no such file")
    with storage_errors(path, expected="a file that can be read"):
        file = path.open("rb")
    with file:
        _check_crc(file, path)
        content = _unpickle(file, path)
    if not isinstance(content, dict):
        raise _unusable(path, f"a {type(content).__name__}")
    return content


def _check_crc(file: IO[bytes], path: Path) -> None:
    """Compare an archive's members with their CRC-32, which `torch.load` does not check; rewind the file."""
    is_archive = file.read(len(_ARCHIVE_START)) == _ARCHIVE_START
    file.seek(0)
    if not is_archive:
        return
    try:
        with zipfile.ZipFile(file) as archive:
            folders = [member.filename for member in archive.infolist() if member.external_attr & _IS_FOLDER]
            damaged = folders[0] if folders else archive.testzip()
    except _UNREADABLE:
        raise _unusable(path, _CUT_OFF) from None
    file.seek(0)
    if damaged is not None:
        raise DamageError(
            path,
            expected="the bytes that torch.save wrote",
            found=f"others in its member {damaged[:80]}",
            fix="copy or download it again, or train again with `sffshards train --force`",
        )


def _unpickle(file: IO[bytes], path: Path) -> object:
    try:
        unread: list[Any] = [(_Unread, name) for name in _UNREAD]
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(unread):
            content: object = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        unsafe = "Unsupported" in str(error) or "GLOBAL" in str(error)
        found = "objects that could run code, which are never loaded" if unsafe else "a file that torch does not read"
        raise _unusable(path, found) from None
    except _UNREADABLE:
        raise _unusable(path, _CUT_OFF) from None
    return content


def _is_dense(value: Tensor) -> bool:
    """Return whether a tensor is a dense array of real numbers, as the weights of a network are."""
    is_array = not value.is_nested and value.layout is torch.strided and value.device.type == "cpu"
    return is_array and not value.is_complex() and not value.is_quantized


def _head_of(model: nn.Module) -> str:
    """Return the start of the names of the last layer's tensors; a network may lie within another."""
    return next(name for name in model.state_dict() if name.endswith(f"{_HEAD}weight")).removesuffix("weight")


def _load(model: nn.Module, state: dict[str, Tensor], *, where: Path, model_name: str, drop_head: bool) -> None:
    head = _head_of(model)
    expected = {n: v for n, v in model.state_dict().items() if not (drop_head and n.startswith(head))}
    given = {n: v for n, v in state.items() if not (drop_head and n.startswith(head))}
    different = sorted(set(expected) ^ set(given)) or [n for n in expected if given[n].shape != expected[n].shape]
    if different:
        raise InputError(
            where,
            expected=f"weights of {model_name}",
            found=f"those of another network: {len(different)} names or shapes differ, {different[0]} first",
            fix="choose another file of {weights}, or the network that it belongs to with {model}",
        )
    model.load_state_dict(given, strict=False)


def _unusable(path: Path, found: str) -> InputError:
    return InputError(
        path,
        expected="a state dict or a Lightning checkpoint that torch.save wrote",
        found=found,
        fix="check the path, or choose another file",
    )
