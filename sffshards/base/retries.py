"""The one policy for requests over a network: which failures pass, how long to pause, and when to give up."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from sffshards.base.errors import SffshardsError

__all__ = ["TIMEOUT_S", "Retries", "StoppedError"]

T = TypeVar("T")

NUM_TRIES = 8
"""Number of tries in a row that may bring nothing, with half a minute of pauses in all."""
UNREACHABLE_TRIES = 3
"""The same where no server can be reached, for requests of which a user awaits the answer."""
FIRST_PAUSE_S = 0.25
"""Pause before the second try; doubled before each further one, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S = 15.0
TIMEOUT_S = 60.0
"""Time after which a connection that brings nothing counts as broken."""

_TEMPORARY_STATUS = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP statuses after which another try may succeed."""
_LASTING_NAMES = frozenset({"NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound"})
"""Names of lasting errors of botocore, which may not be installed."""
_LASTING = (PermissionError, NotADirectoryError, IsADirectoryError, ValueError, TypeError)


class StoppedError(PermissionError):
    """A request that was stopped from another thread."""

    def __init__(self) -> None:
        super().__init__("nobody waits for it any more")


class Retries:
    """Makes a request again while there is hope; counts the failures in a row.

    Parameters
    ----------
    refuse
        Makes the error to raise when a request is given up, from the reason in words.
    stop
        Event that ends all pauses and tries.
    patient
        Whether a server that cannot be reached is tried `NUM_TRIES` times, too, as in a long run.
    """

    def __init__(
        self, refuse: Callable[[str], SffshardsError], *, stop: threading.Event | None = None, patient: bool = False
    ) -> None:
        self._refuse = refuse
        self._stop = stop or threading.Event()
        self._patient = patient
        self._num_failures = self._farthest = 0

    def reach(self, offset: int) -> None:
        """Note how far a transfer got; farther than ever before, and the failures are counted from 0 again."""
        if offset > self._farthest:
            self._num_failures, self._farthest = 0, offset

    def run(self, request: Callable[[], T]) -> T:
        """Return what a request returns.

        Raises
        ------
        SffshardsError, FileNotFoundError
            As the request, at its first try; and the error of ``refuse`` for any other failure that lasts.
        """
        while True:
            try:
                if self._stop.is_set():
                    raise StoppedError
                return request()
            except (SffshardsError, FileNotFoundError):
                raise
            except Exception as error:
                self._num_failures += 1
                if self._num_failures >= self._limit(error):
                    tries = "at the first try" if self._num_failures == 1 else f"in each of {self._num_failures} tries"
                    raise self._refuse(f"{_describe(error)} ({tries})") from error
            pause = min(FIRST_PAUSE_S * 2 ** (self._num_failures - 1), LONGEST_PAUSE_S)
            self._stop.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311  so that not all ask again at one moment

    def _limit(self, error: Exception) -> int:
        """Return the number of tries after which a failure is final."""
        status = getattr(error, "status", None)
        if isinstance(status, int):
            return NUM_TRIES if status in _TEMPORARY_STATUS else 1
        cause = _cause(error)
        if type(error).__name__ in _LASTING_NAMES or isinstance(cause, _LASTING):
            return 1
        is_unreachable = isinstance(cause, socket.gaierror | ConnectionRefusedError)
        return UNREACHABLE_TRIES if is_unreachable and not self._patient else NUM_TRIES


def _cause(error: Exception) -> Exception:
    """Return the system's error beneath one of urllib or aiohttp."""
    causes = (getattr(error, name, None) for name in ("reason", "os_error"))
    return next((cause for cause in causes if isinstance(cause, Exception)), error)


def _describe(error: Exception) -> str:
    """Return the reason of a failure in words."""
    cause, status = _cause(error), getattr(error, "status", None)
    if isinstance(status, int):
        return f"HTTP status {status} ({getattr(error, 'reason', '') or getattr(error, 'message', '')})"
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(cause, socket.gaierror):
        return f"no network, or no such server ({cause.strerror or cause})"
    return " ".join(str(cause).split())[:200] or type(cause).__name__
