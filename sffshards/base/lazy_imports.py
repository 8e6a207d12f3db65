"""Packages whose names are imported when they are asked for, so that a command loads only what it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["import_on_demand"]


def import_on_demand(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Give the ``__getattr__`` of a package (PEP 562) whose modules hold these public names.

    Parameters
    ----------
    package
        Its ``__name__``.
    names
        By the module that they are in.
    """
    homes = {name: f"{package}.{module}" for module, of_module in names.items() for name in of_module}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return get
