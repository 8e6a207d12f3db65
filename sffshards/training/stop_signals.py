"""Stop on a signal of a queue: it is noted at once, and acted on between steps by all ranks together."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl

STOP_EXIT_CODE = 143
"""128 plus the number of SIGTERM, by which queues and shells know a program that SIGTERM ended."""

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class TrainingStopped(SystemExit):
    """Training was asked to stop, has saved a checkpoint, and can be resumed.

    A program that does not catch it ends with `STOP_EXIT_CODE`. Ranks other than the first end with 0, since a launcher
    would kill the first when another rank fails.

    Parameters
    ----------
    is_first
        Whether this is the first rank.
    """

    def __init__(self, *, is_first: bool) -> None:
        super().__init__(STOP_EXIT_CODE if is_first else 0)


class StopRequest:
    """Notes SIGTERM and SIGUSR1 while its block runs, in place of their handlers.

    Outside the main thread, where Python receives no signals, it does nothing.

    Parameters
    ----------
    at_once
        Whether a signal raises `TrainingStopped` at once, where others do the work and save its state.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self._at_once = at_once
        self.name: str | None = None
        """Name of the signal that this process received, if any."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            self._answer(number, handler)

    def listen(self) -> None:
        """Install the handlers, in place of any others.

        Lightning's own handler of SIGTERM saves nothing, and calls a collective operation while the ranks may be in the
        middle of another.
        """
        for number in _SIGNALS:
            self._answer(number, self._note)

    def agreed(self, trainer: pl.Trainer) -> bool:
        """Return on all ranks whether any of them was asked to stop; every rank must call it at the same time."""
        return trainer.strategy.reduce_boolean_decision(self.name is not None, all=False)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        if self._at_once:
            raise TrainingStopped(is_first=True)

    @staticmethod
    def _answer(number: signal.Signals, handler: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)
