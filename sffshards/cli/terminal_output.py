"""Output of the commands: progress on standard error, tables and results on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sffshards.base.progress import Advance, Progress

__all__ = ["format_bytes", "format_table", "make_progress", "print_json"]

_LINE_SECONDS = 30.0
"""Seconds between two lines of progress where there is no terminal."""


def make_progress() -> Progress:
    """Return progress bars for a terminal, or progress lines for a log."""
    return _Bars() if sys.stderr.isatty() else _Lines()


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> str:
    """Return a table as text; columns whose positions are in ``left`` are left-aligned, the others right-aligned."""
    table = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = []
    for row in table:
        pairs = enumerate(zip(row, widths, strict=True))
        cells = [cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in pairs]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def format_bytes(count: int) -> str:
    """Return a size in the largest decimal unit in which it is at least 1."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def print_json(value: Any) -> None:
    """Print a value as JSON; undefined numbers must be None already."""
    print(json.dumps(value, indent=1, allow_nan=False))


class _Bars:
    """One progress bar per task, with the rate and the time left."""

    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        """Show a bar while the block runs."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        start, counted = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal counted
            counted += count
            bars.update(bar, advance=count, rate=_format_rate(counted, time.monotonic() - start, unit))

        with RichProgress(*columns, console=Console(stderr=True)) as bars:
            bar = bars.add_task(description, total=total, completed=done, rate="")
            yield advance

    def note(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr)


class _Lines:
    """A line when a task ends, and one every half minute while it runs."""

    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        """Print lines while the block runs, and one when it has ended."""
        start = last = time.monotonic()
        counted = 0

        def advance(count: int) -> None:
            nonlocal counted, last
            counted += count
            now = time.monotonic()
            if now - last >= _LINE_SECONDS:
                last = now
                left = _format_left(counted, total, now - start, done=done)
                rate = f", {_format_rate(counted, now - start, unit)}" if unit else ""
                self.note(f"{description}: {done + counted:,}{left}{rate}")

        yield advance
        seconds = time.monotonic() - start
        rate = f", {_format_rate(counted, seconds, unit)}" if unit else ""
        self.note(f"{description}: {counted:,} in {seconds:.1f} s{rate}")

    def note(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)


def _format_rate(counted: int, seconds: float, unit: str) -> str:
    rate = counted / max(seconds, 1e-9)
    return f"{rate:,.{1 if rate < 10 else 0}f} {unit}/s".replace(" /s", "/s")


def _format_left(counted: int, total: int | None, seconds: float, *, done: int) -> str:
    if not (total and counted):
        return ""
    return f" of {total:,}, {seconds / counted * (total - done - counted):.0f} s left"
