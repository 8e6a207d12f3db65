"""Weights from files of any origin: read without running code, checked, and loaded into a network."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from sffshards import fetch
from sffshards.base.atomic_files import is_refusal
from sffshards.base.errors import InputError
from sffshards.base.file_reading import reading
from sffshards.base.package_faces import accepts_text
from sffshards.base.progress import Progress
from sffshards.models.checkpoint_checks import CUT_OFF, UNREADABLE, MeteredFile, check_checkpoint, unusable
from sffshards.models.model_names import ModelName
from sffshards.tabular import NetworkInputs


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

_COUNTER = "num_batches_tracked"
"""End of the name of a batch normalisation's counter, which older files lack and nothing here depends on."""
_LIGHTNING_PREFIX = "model."


def read_kinetics400(model: nn.Module, *, model_name: ModelName, progress: Progress) -> None:
    """Load torchvision's Kinetics-400 weights into one of its networks, all but the head.

    The file is taken from torch's cache, where torchvision would put it, or downloaded to it.

    Raises
    ------
    DamageError, StorageError
        As `sffshards.fetch.published_files.fetch_weights`.
    """
    path = fetch.fetch_weights(fetch.weights_path(model_name), model=model_name, progress=progress)
    load_weights(model, path, model_name=model_name)


def load_weights(model: nn.Module, path: Path, *, model_name: ModelName) -> None:
    """Load initial weights into a network; a head of another number of classes is dropped.

    Of a network that a factory builds, no layer is known to be the head, and every layer must fit.

    Raises
    ------
    InputError
        If the file is missing, cannot be read without running code, or belongs to another network.
    DamageError
        If its bytes have changed since it was written.
    """
    state, own = read_state_dict(path), model.state_dict()
    head = _find_head(own, model_name)
    if head is not None:
        shape = own[f"{head}weight"].shape
        given = state.get(f"{head}weight")
        head = None if given is not None and given.shape == shape else head
    state |= {name: value for name, value in own.items() if name.endswith(_COUNTER) and name not in state}
    _load(model, state, where=path, model_name=model_name, dropped=head)


@accepts_text
def load_checkpoint(model: nn.Module, path: Path, *, model_name: ModelName) -> None:
    """Load a checkpoint of a trained network, including its head.

    Raises
    ------
    InputError
        As `load_weights`, and if its head has another number of classes.
    DamageError
        As `load_weights`.
    """
    _load(model, read_state_dict(path), where=path, model_name=model_name, dropped=None)


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
        raise unusable(path, "no state dict in it")
    for name, value in state.items():
        if not isinstance(name, str) or not _is_dense(value):
            raise unusable(path, f"an entry that is no named array of real numbers ({str(name)[:80]})")
    return dict(state)


@accepts_text
def read_inputs(path: Path) -> NetworkInputs:
    """Return what the network of a checkpoint takes, as the file states it; images if it states nothing.

    Raises
    ------
    InputError, DamageError
        As `read_checkpoint`.
    """
    stated = read_checkpoint(path).get("hyper_parameters")
    inputs = stated.get("inputs") if isinstance(stated, Mapping) else None
    return NetworkInputs(inputs) if inputs in list(NetworkInputs) else NetworkInputs.IMAGES


@accepts_text
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
        raise unusable(path, "no such file")
    with reading(path) as file:
        check_checkpoint(file, path)
        metered = MeteredFile(file)
        try:
            content = _unpickle(metered, path)
        finally:
            metered.detach()  # the other one closes the file
    if not isinstance(content, dict):
        raise unusable(path, f"a {type(content).__name__}")
    return content


def _unpickle(file: IO[bytes], path: Path) -> object:
    try:
        unread: list[Any] = [(_Unread, name) for name in _UNREAD]
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(unread):
            content: object = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        unsafe = "Unsupported" in str(error) or "GLOBAL" in str(error)
        found = "objects that could run code, which are never loaded" if unsafe else "a file that torch does not read"
        raise unusable(path, found) from None
    except UNREADABLE as error:
        if is_refusal(error):
            raise
        raise unusable(path, CUT_OFF) from None
    return content


def _is_dense(value: Tensor) -> bool:
    """Return whether a tensor is a dense array of real numbers, as the weights of a network are."""
    is_array = not value.is_nested and value.layout is torch.strided and value.device.type == "cpu"
    return is_array and not value.is_complex() and not value.is_quantized


def _find_head(own: Mapping[str, Tensor], model_name: ModelName) -> str | None:
    """Return the start of the names of the last layer's tensors, if known; a network may lie within another."""
    if model_name.is_factory:
        return None
    return next(name for name in own if name.endswith(f"{model_name.known.head}weight")).removesuffix("weight")


def _load(
    model: nn.Module, state: Mapping[str, Tensor], *, where: Path, model_name: ModelName, dropped: str | None
) -> None:
    """Set a network's tensors, all but those whose names start with ``dropped``."""

    def keep(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in values.items() if dropped is None or not name.startswith(dropped)}

    expected, given = keep(model.state_dict()), keep(state)
    different = sorted(set(expected) ^ set(given)) or [n for n in expected if given[n].shape != expected[n].shape]
    if different:
        fix = "choose another file of {weights}, or the network that it belongs to with {model}"
        if model_name.is_factory:
            fix = "restore the factory and its options as they were in that training, or train again"
        raise InputError(
            where,
            expected=f"weights of {model_name}",
            found=f"those of another network: {len(different)} names or shapes differ, {different[0]} first",
            fix=fix,
        )
    model.load_state_dict(given, strict=False)
