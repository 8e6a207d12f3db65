"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["SILENT", "Advance", "Progress"]

Advance = Callable[[int], None]
"""Called with the number of steps done since the last call."""


class Progress(Protocol):
    """Shows tasks and how far they are; the command line draws bars."""

    def task(
        self, description: str, total: int | None, *, unit: str = "", done: int = 0
    ) -> AbstractContextManager[Advance]:
        """Show a task of ``total`` steps (None: unknown) while the block runs.

        ``unit`` names the steps in their rate; ``done`` of them were done before.
        """
        ...  # pragma: no cover

    def note(self, text: str) -> None:
        """Say something that the user should know while the work goes on."""
        ...  # pragma: no cover


class _Silent:
    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Say nothing."""


SILENT: Progress = _Silent()
"""Shows nothing: the default of the library's functions."""
