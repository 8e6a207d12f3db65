"""Networks of the user's own: import a factory by its name, call it, and try the network before anything depends on it.

Shapes: B batch, C channels, T 16 frames, H and W 224 pixels, K 2 classes.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sffshards.base.errors import Field, InputError
from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE
from sffshards.models.fused_attention import tile_channel
from sffshards.models.model_names import ModelName, NetworkSpec

_NUM_TRIED = 3
"""Number of clips in the batch that is tried: neither that of the classes nor 1, so that no shape passes by chance."""
_NUM_CLASSES = 2
_MAX_CAUSE = 160


def build_by_factory(spec: NetworkSpec) -> nn.Module:
    """Return the network that a factory builds, after trying it on a batch of random clips.

    The factory draws from torch's random numbers. The trial does not change their state, nor the network. A network
    that takes no clips of one channel is given three equal ones from then on.

    Raises
    ------
    InputError
        If the factory cannot be imported or called, or returns anything but a network from clips of shape
        (B, C, 16, 224, 224) to logits of shape (B, 2).
    """
    factory = import_factory(spec.model)
    where = Field("model_options") if spec.options else Field("model")
    shown = ", ".join(f"{name}={value!r}" for name, value in spec.options.items())
    with _explained(where, f"a factory that can be called as {spec.model}({shown})"):
        net = factory(**spec.options)
    if not isinstance(net, nn.Module):
        raise _unusable(spec.model, "a factory that returns an nn.Module", f"a {type(net).__name__}")
    _try(net, spec.model)
    _check_weights(net, spec.model)
    return net


def import_factory(name: ModelName) -> Callable[..., Any]:
    """Import what the name of a factory stands for: as Python does, or else from the current folder.

    Raises
    ------
    InputError
        If there is no such module or name, importing it fails, or it is no callable.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # the last place, and kept: the factory may import more when it is called
    with _explained(Field("model"), f"a module {module_name} that can be imported"):
        importlib.invalidate_caches()  # the file may have been written a moment ago
        module = importlib.import_module(module_name)
    try:
        factory = attrgetter(attribute)(module)
    except AttributeError:
        found = f"no {attribute} in {getattr(module, '__file__', None) or module_name}"
        raise _unusable(name, f"a factory {attribute} in the module {module_name}", found) from None
    if not callable(factory):
        raise _unusable(name, "a callable", f"a {type(factory).__name__}")
    return factory  # type: ignore[no-any-return]  # callable says nothing of what it takes


def _try(net: nn.Module, name: ModelName) -> None:
    """Compute logits of random clips, of one channel or else of three; raise `InputError` where that is impossible."""
    with _left_as_it_is(net):
        generator = torch.Generator().manual_seed(0)
        clips = torch.rand(_NUM_TRIED, 1, NUM_FRAMES, FRAME_SIDE, FRAME_SIDE, generator=generator)
        clips_BCTHW = clips.to(next((value.device for value in net.parameters()), clips.device))
        failures = []
        for num_channels in (1, 3):
            try:
                logits_BK = net(clips_BCTHW.expand(-1, num_channels, -1, -1, -1))
            except Exception as error:  # noqa: BLE001  whatever the network raises
                failures.append(f"{num_channels} channel{'s' * (num_channels > 1)}: {_describe(error)}")
                continue
            break
        else:
            expected = f"a network of clips of shape (B, C, {NUM_FRAMES}, {FRAME_SIDE}, {FRAME_SIDE}), C being 1 or 3"
            raise _unusable(name, expected, f"one that fails ({'; '.join(failures)})")
    _check_logits(logits_BK, name)
    if num_channels == 3:
        net.register_forward_pre_hook(tile_channel)


def _check_logits(logits_BK: object, name: ModelName) -> None:
    expected = f"a network that returns logits of shape (B, {_NUM_CLASSES}), real numbers"
    if not isinstance(logits_BK, Tensor):
        raise _unusable(name, expected, f"one that returns a {type(logits_BK).__name__}")
    if logits_BK.shape != (_NUM_TRIED, _NUM_CLASSES) or not logits_BK.is_floating_point():
        found = f"{str(logits_BK.dtype).removeprefix('torch.')} of shape {tuple(logits_BK.shape)} for B = {_NUM_TRIED}"
        raise _unusable(name, expected, found)


def _check_weights(net: nn.Module, name: ModelName) -> None:
    """Check that there is something to train, and that a checkpoint can hold it and be read without running code."""
    if not any(value.requires_grad for value in net.parameters()):
        raise _unusable(name, "a network with weights that are trained", "one without")
    for key, value in net.state_dict().items():
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_complex():
            expected = "a state dict of dense arrays of real numbers, which a checkpoint holds"
            raise _unusable(name, expected, f"another value in it, {key[:80]}")


@contextmanager
def _left_as_it_is(net: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode without gradients; restore its modes and torch's random numbers at the end."""
    training = [module for module in net.modules() if module.training]
    gpus = {value.device for value in net.parameters() if value.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(gpus)), torch.no_grad():
        net.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True


@contextmanager
def _explained(where: Field, expected: str) -> Iterator[None]:
    """Raise `InputError` in place of what a user's code raises."""
    try:
        yield
    except (Exception, SystemExit) as error:
        fix = "correct it, or name another {model}; the error of your code is shown in full by Python"
        if isinstance(error, ModuleNotFoundError):
            fix = "install it, run the command in its folder, or add that folder to PYTHONPATH"
        raise InputError(where, expected=expected, found=_describe(error), fix=fix) from error


def _describe(error: BaseException) -> str:
    """Return the type, the message and the line of an error of the user's code."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_MAX_CAUSE]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    return f"{text} ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else text  # noqa: PTH119


def _is_library(path: str) -> bool:
    return path == __file__ or "site-packages" in path or path.startswith(("<frozen", sys.prefix, sys.base_prefix))


def _unusable(name: ModelName, expected: str, found: str) -> InputError:
    return InputError(Field("model"), expected=f"{expected}, of {name}", found=found, fix="correct it, or name another")
