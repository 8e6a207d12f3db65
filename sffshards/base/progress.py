"""Interface through which long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sffshards.base.errors import SffshardsError

__all__ = ["SILENT", "Advance", "Progress", "Silent"]

Advance = Callable[[int], None]
"""Function to call with the number of steps done since the last call."""


class Progress(Protocol):
    """Display of tasks and their progress; the command line draws bars."""

    def task(
        self, description: str, total: int | None, *, unit: str = "", done: int = 0
    ) -> AbstractContextManager[Advance]:
        """Show a task of ``total`` steps (None: unknown) while the block runs.

        ``unit`` names the steps when their rate is shown. ``done`` steps were done before.
        """
        ...  # pragma: no cover

    def note(self, message: str | SffshardsError) -> None:
        """Show a message, or an error that does not end the work, to the user while the work continues."""
        ...  # pragma: no cover


class Silent:
    """Progress that shows nothing."""

    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda _: None

    def note(self, message: str | SffshardsError) -> None:
        """Show no message."""


SILENT: Progress = Silent()
"""Progress that shows nothing."""
