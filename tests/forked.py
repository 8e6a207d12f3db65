"""Runs commands in forked copies of a process that has imported everything, which takes no time, and kills them."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from sffshards.executors.local_executor import LocalExecutor

__all__ = [
    "KILLED",
    "Ran",
    "describe_fault",
    "kill_at",
    "log_accesses",
    "run_forked",
    "use_fast_network",
    "use_fast_network_in_time",
]

KILLED = -signal.SIGKILL

_PATIENCE_S = 200
_EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
"""Events of the interpreter for accesses to files; `os.replace` raises that of a renaming."""


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def run_forked(*arguments: object, cwd: Path, before: Callable[[], None] = lambda: None) -> Ran:
    """Run a command in a copy of this process, in a folder.

    Parameters
    ----------
    arguments
        The command line.
    cwd
        Folder to run in.
    before
        Called in the copy, before the command.
    """
    paths = [cwd.parent / f"{cwd.name}.{name}" for name in ("stdout", "stderr")]
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # other threads here hold no locks
        child = os.fork()
    if not child:
        _be_command([str(argument) for argument in arguments], cwd, paths, before)
    _, status = os.waitpid(child, 0)
    return Ran(os.waitstatus_to_exitcode(status), *(path.read_text(errors="replace") for path in paths))


def _be_command(arguments: list[str], cwd: Path, paths: list[Path], before: Callable[[], None]) -> NoReturn:
    code = 70
    try:
        for number, path in enumerate(paths, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        os.chdir(cwd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["sffshards", *arguments]
        os.environ["COLUMNS"] = "300"
        LocalExecutor.__init__ = _without_processes  # type: ignore[method-assign, assignment]  # those that it starts would import all
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        before()
        from sffshards.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  the copy must not go on as the test
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _without_processes(executor: LocalExecutor, num_workers: int) -> None:
    executor._num_workers, executor._executor, executor._processes = 0, None, ()


def describe_fault(done: Ran) -> str | None:
    """Describe how a command ended if that is neither a result nor one line of an error."""
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    if done.code == -signal.SIGALRM:
        return "hangs"
    if done.code not in (0, 1, 2) or "Traceback" in done.err or (done.code == 2 and not lines):
        return f"ends with {done.code}: {done.err[-500:]}"
    return None


def use_fast_network_in_time() -> None:
    """Do as `use_fast_network`, and end the process if it takes too long."""
    use_fast_network()
    signal.alarm(_PATIENCE_S)


def use_fast_network() -> None:
    """Let commands train and apply the network of tests that learns in seconds."""
    from sffshards.forecasting.runs import network_prediction
    from sffshards.training import fold_training
    from tests.training_data import FastNetwork

    for module in (fold_training, network_prediction):
        vars(module)["build_model"] = lambda *_, **__: FastNetwork()


def kill_at(place: Path, number: int) -> None:
    """Have this process killed before it does what `log_accesses` logs in a line, counted from 0."""
    _listen(place, lambda seen, _: os.kill(os.getpid(), signal.SIGKILL) if seen == number else None)


def log_accesses(place: Path, log: Path) -> None:
    """Log what this process does with files under a folder, one line each, before it does it."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    _listen(place, lambda _, what: os.write(descriptor, f"{what}\n".encode(errors="replace")))


def _listen(place: Path, act: Callable[[int, str], object]) -> None:
    """Call a function before each opening, renaming and removal of files under a folder."""
    seen, inside = 0, f"{place}/"

    def hear(event: str, details: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in _EVENTS or not isinstance(details[0], str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(details[0]))
        if path.startswith(inside) and not (event == "os.mkdir" and os.path.isdir(path)):
            what = "read" if event == "open" and not _writes(*details[1:]) else event
            act(seen, f"{what} {path.removeprefix(inside)}")
            seen += 1

    sys.addaudithook(hear)


def _writes(mode: object, flags: object) -> bool:
    is_low = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    return is_low or (isinstance(mode, str) and any(letter in mode for letter in "wax+"))
