"""Runs commands as a user does, in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import typer
from typer.testing import CliRunner

from sffshards.cli import command_list

__all__ = ["COMMANDS", "call", "error_of", "run", "run_here"]

COMMANDS = [
    "demo",
    "synth",
    "fetch",
    "ingest",
    "labels",
    "sequences",
    "build",
    "info",
    "verify",
    "show",
    "baselines",
    "train",
    "evaluate",
    "score",
    "import",
    "combine",
    "reproduce",
    "report",
    "predict",
    "explain",
]
"""In the order in which the help lists them."""


def run(*args, cwd=None, code=0):
    """Run a command that must end with an exit code; give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "sffshards", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def run_here(*args):
    """Run a command in this process, which has loaded torch already; give its result."""
    app = typer.Typer()
    command_list.register(app)
    done = CliRunner().invoke(app, list(map(str, args)))
    assert done.exit_code == 0, done.exception
    return done


def error_of(*args, cwd=None):
    """Run a command that must fail with one line on standard error, and give that line."""
    done = run(*args, cwd=cwd, code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def run_measured(*args, cwd=None, env=None, timeout=300):
    """Run a command in a process of its own; give what it printed, and the peak of its memory in megabytes."""
    code = (
        "import resource, sys; from pathlib import Path; from sffshards.cli import main\n"
        "try: main()\n"
        "finally:\n"
        "    own = int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
        "    of_workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "    print(f'\\npeak {max(own, of_workers)} kB', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {}), "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done, int(done.stderr.rpartition("peak ")[2].split()[0]) / 1000


def call(function, *args):
    """Return what a function at the top level of a module returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()
