"""Output of the commands: progress on standard error, tables and results on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sffshards.base.progress import Advance, Progress

__all__ = ["format_bytes", "format_table", "make_progress", "print_result", "show_flag"]

_FLAGS = {
    "end_tai": "--end",
    "frames_per_harp": "--frames",
    "limit_bytes": "--cache-size",
    "num_frames": "--frames",
    "num_harps": "--harps",
    "num_jobs": "--jobs",
    "num_workers": "--workers",
    "max_gap_minutes": "--max-gap",
    "max_empty_percent": "--max-empty",
    "max_skipped_percent": "--max-skipped",
    "shard_size_bytes": "--shard-size",
    "skip_bad_images": "--on-bad-image skip",
}
"""Flags of options outside configuration records that are not the option's name with dashes."""

_LINE_SECONDS = 30.0
"""Seconds between two lines of progress where there is no terminal."""


def make_progress() -> Progress:
    """Return progress bars for a terminal, or progress lines for a log."""
    return _Bars() if sys.stderr.isatty() else _Lines()


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,), indent: int = 2
) -> str:
    """Return a table as text; columns whose positions are in ``left`` are left-aligned, the others right-aligned."""
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    aligned = ([f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)] for row in table)
    return "\n".join(" " * indent + "  ".join(cells).rstrip() for cells in aligned)


def format_bytes(count: int) -> str:
    """Return a size in the largest decimal unit in which it is at least 1."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def print_result(text: str, described: Any, *, as_json: bool) -> None:
    """Print a result as text, or its description as JSON, whose undefined numbers must be None already."""
    if as_json:
        from sffshards.base.json_records import format_json

        text = format_json(described).decode().removesuffix("\n")
    print(text)


class _Bars:
    """One progress bar per task, with the rate and the time left."""

    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        """Show a bar while the block runs."""
        from rich import progress
        from rich.console import Console

        columns = (progress.BarColumn(), progress.MofNCompleteColumn(), "{task.fields[rate]}")
        times = (progress.TimeElapsedColumn(), "left", progress.TimeRemainingColumn())
        start, counted = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal counted
            counted += count
            bars.update(bar, advance=count, rate=_format_rate(counted, time.monotonic() - start, unit))

        with progress.Progress("{task.description}", *columns, *times, console=Console(stderr=True)) as bars:
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


def show_flag(field: str) -> str:
    """Return the flag of an option that the library names."""
    from sffshards.base.option_fields import list_options
    from sffshards.training import TrainingOptions

    flags = _FLAGS | {option.name: option.flag for option in list_options(TrainingOptions)}
    return flags.get(field, f"--{field.replace('_', '-')}")
