"""Runs commands as a user does, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["COMMANDS", "error_of", "run"]

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
    "reproduce",
    "report",
    "predict",
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


def error_of(*args, cwd=None):
    """Run a command that must fail with one line on standard error, and give that line."""
    done = run(*args, cwd=cwd, code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]
