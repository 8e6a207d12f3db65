"""Lightning's chatter, and torch's settings, for as long as a fold is trained."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["quiet_lightning", "repeatable_on_cpu"]

_LOGGERS = ("pytorch_lightning", "lightning_fabric", "torch.distributed")

_HARMLESS = (
    ".*isinstance.treespec, LeafSpec.*",  # Lightning 2.6 asks torch 2.11 and later in an old way
    ".*smaller than the logging interval.*",  # a small set
    ".*sync_dist=True.*",  # what is logged was summed over the ranks already
    ".*GPU available but not used.*",  # the user chose
    ".*functional.all_gather is deprecated.*",  # Lightning 2.6 gathers in a way that torch 2.15 would have changed
    "Grad strides do not match bucket view strides.*",  # of the one-channel stem, whose gradient is a few kB
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's advertisements and what does not concern our users."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    with warnings.catch_warnings():
        for message in _HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        try:
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@contextmanager
def repeatable_on_cpu(*, on_cpu: bool) -> Iterator[None]:
    """Let torch use deterministic algorithms on a CPU, so that a seed gives the same weights again.

    Not on a GPU: some of MViT's operations have none there.
    """
    before = torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    fill = settings.fill_uninitialized_memory
    try:
        if on_cpu:
            torch.use_deterministic_algorithms(mode=True)
            settings.fill_uninitialized_memory = False  # nothing here reads what it did not write
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before)
        settings.fill_uninitialized_memory = fill
