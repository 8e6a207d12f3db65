"""The time that all measurements share, and limits on each of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_GRACE_S = 15
"""Seconds after the end of the budget at which the process ends, where something could not be interrupted."""


class OutOfTimeError(BaseException):
    """The time of a measurement is up; not an `Exception`, which a compiler on the way might catch."""


class Budget:
    """Counts down the seconds of a run, and interrupts what takes longer than its share.

    Parameters
    ----------
    seconds
        Seconds in all.
    started
        Start of the run, by `time.monotonic`.
    patience
        Factor of the limits of single measurements, which are those of a GPU.
    """

    def __init__(self, seconds: float, *, started: float, patience: float = 1.0) -> None:
        self._end = started + seconds
        self.seconds, self.patience = seconds, patience

    @property
    def left_s(self) -> float:
        """Seconds that are left; negative afterwards."""
        return self._end - time.monotonic()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raise `OutOfTimeError` in the block once it has taken some seconds (times the patience), or none are left.

        In the main thread only. A call into compiled code is interrupted when it returns.
        """

        def interrupt(number: int, frame: FrameType | None) -> NoReturn:
            raise OutOfTimeError

        seconds = min(seconds * self.patience, self.left_s)
        if seconds <= 0:
            raise OutOfTimeError
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def guard_end(self) -> None:
        """End the process if it has not ended shortly after the budget, say in compiled code that hangs."""

        def end() -> None:
            print("benchmarks/gpu.py: a measurement could not be interrupted; earlier ones are saved", file=sys.stderr)
            os._exit(1)

        timer = threading.Timer(max(0, self.left_s) + _GRACE_S, end)
        timer.daemon = True
        timer.start()
