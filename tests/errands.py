"""Jobs for processes of a test, in a module that is quickly imported there."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import write_atomic
from sffshards.base.errors import InputError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.experiments.job_processes import JOB_LOCK_NAME

__all__ = ["Errand"]


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A job that leaves a file with what it saw of its environment."""

    out: Path
    name: str
    what: str = ""

    @property
    def folder(self) -> Path:
        return self.out.with_name(f"{self.out.name}-jobs") / self.name

    def do(self, progress: Progress) -> None:
        progress.note("begun")
        if self.what == "fail":
            raise InputError(self.name, expected="luck", found="none", fix="try again")
        if self.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "stop":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.what == "wait" or (self.what == "resume" and not (self.folder / "saved").exists()):
            with folder_lock(self.folder, progress=progress, wait=True, name=JOB_LOCK_NAME):
                self._wait_to_be_stopped()
        (self.out / self.name).write_text(os.environ["OMP_NUM_THREADS"])

    def _wait_to_be_stopped(self) -> None:
        stopped: list[int] = []  # not an event, whose lock the thread that is interrupted may hold
        signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
        write_atomic(self.out / f"{self.name} waits", str(os.getpid()).encode())
        while not stopped:
            time.sleep(0.05)
        time.sleep(0.5)
        (self.out / f"{self.name} saved").touch()
        (self.folder / "saved").touch()
        raise SystemExit(143)
