"""Why a training failed, where torch or Lightning raises an error that does not tell."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from sffshards.base.errors import Field, SffshardsError, TrainingError
from sffshards.training.checkpoint_files import not_resumable

_NOT_RESTORED = (LookupError, TypeError, ValueError, AttributeError, RuntimeError)
"""Errors of torch and Lightning for a checkpoint whose content does not fit."""

_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
"""In the message of a `RuntimeError` of torch when the memory of the processor, or of a library, runs out."""


def explain_failure(error: Exception, *, restored_from: Path | None) -> SffshardsError | None:
    """Return the error to raise in place of one of torch or Lightning; None where the cause is not known.

    Parameters
    ----------
    error
        What was raised.
    restored_from
        The checkpoint that was being restored, if training had not begun yet.
    """
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return _not_compiled(error)
    text = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(text)):
        return TrainingError(
            Field("batch_size"),
            expected="a batch that fits into the memory of the device",
            found=text.partition(". ")[0][:200],
            fix="lower {batch_size}, and raise {accumulate} by the same factor for the same result",
        )
    if restored_from is not None and isinstance(error, _NOT_RESTORED):
        return not_resumable(restored_from, f"one that does not fit ({_first_line(error)})")
    return None


def _not_compiled(error: Exception) -> TrainingError:
    return TrainingError(
        Field("compile_network"),
        expected="a network that torch.compile can make kernels for, and on a CPU a C++ compiler",
        found=f"{type(error).__name__}: {_first_line(error)}",
        fix="leave out {compile_network}",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
