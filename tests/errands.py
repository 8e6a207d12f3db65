"""Jobs for processes of a test, in a module that is quickly imported there."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.base.progress import Progress

__all__ = ["Errand"]


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A job that leaves a file with what it saw of its environment."""

    out: Path
    name: str
    what: str = ""

    def do(self, progress: Progress) -> None:
        progress.note("begun")
        if self.what == "fail":
            raise InputError(self.name, expected="luck", found="none", fix="try again")
        if self.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "wait":
            self._wait_to_be_stopped()
        (self.out / self.name).write_text(os.environ["OMP_NUM_THREADS"])

    def _wait_to_be_stopped(self) -> None:
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        (self.out / f"{self.name} waits").touch()
        while not stopped.wait(0.05):
            pass
        (self.out / f"{self.name} saved").touch()
        raise SystemExit(143)
