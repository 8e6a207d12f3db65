"""Output of the commands: progress on standard error, tables and results on standard output."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sffshards.base.errors import SffshardsError, make_printable
from sffshards.base.progress import Advance, Progress

__all__ = ["format_bytes", "format_table", "make_progress", "open_streams", "print_result", "show", "show_flag"]

_BYTES, _NOTHING = re.compile("([\udca0-\udcff]+)"), re.compile("(?!)")
"""Bytes that Python keeps as surrogates, without those that control a terminal; and what is never found."""

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

_ESCAPED = "sffshards.escaped"
"""Name of our handler of characters that the encoding of a stream lacks."""

_LINE_SECONDS = 30.0
"""Seconds between two lines of progress where there is no terminal."""

_WIDE, _USUAL = 110, 72
"""Columns of a terminal from which a line has a bar and the time so far, and from which it has a rate."""

_NARROWEST, _STANDARD, _WIDEST = 20, 80, 1_000
"""Columns that a terminal may have, and those that are assumed if it states others."""


def open_streams() -> None:
    """Make the standard streams usable, however the program was started.

    A closed stream is opened on the null device: the next file that is opened would get its number, and what libraries
    print. Text that the encoding of a stream lacks is escaped, and bytes of a path that are not text stay as they are.
    Work goes on if nobody can read standard error any more.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number, which is this
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115  until the end
            setattr(sys, name, stream)
    codecs.register_error(_ESCAPED, _escape)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPED)
    if sys.stderr is sys.__stderr__ or sys.__stderr__ is None:
        encoding = sys.stderr.encoding
        sys.stderr = _Notes(io.FileIO(2, "w", closefd=False), encoding=encoding, errors=_ESCAPED, write_through=True)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode a character that an encoding lacks: a byte that Python keeps as a surrogate as itself, others escaped."""
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101  the handler is for streams that are written to
    letter, end = error.object[error.start], error.start + 1
    if "\udc80" <= letter <= "\udcff":
        return letter.encode("ascii", "surrogateescape"), end
    return letter.encode("ascii", "backslashreplace").decode(), end


class _Notes(io.TextIOWrapper):
    """Standard error, whose loss is no reason to stop: its terminal or its reader may be gone, or its disk full."""

    def write(self, text: str) -> int:
        """Write text if possible."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: everything is written at once."""


def make_progress() -> Progress:
    """Return progress bars for a terminal, or progress lines for a log or a terminal that cannot rewrite a line."""
    return _Bars() if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") else _Lines()


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
    show(text)


def show(text: object, *, end: str = "\n") -> None:
    """Print a result; what came from files and servers cannot control the terminal.

    Bytes of file names that are no text, and that control none, are printed as they are where the stream takes them.
    """
    kept = _BYTES if getattr(sys.stdout, "errors", None) == _ESCAPED else _NOTHING
    parts = kept.split(str(text))
    print("".join(part if place % 2 else make_printable(part) for place, part in enumerate(parts)), end=end)


class _Bars:
    """One line per task: its count and the time left and, as far as there is room, its rate and a bar."""

    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        """Show a bar while the block runs."""
        from rich import progress
        from rich.console import Console
        from rich.table import Column

        console = Console(stderr=True)
        if not _NARROWEST <= console.width <= _WIDEST:  # some programs set COLUMNS to 0 or to any large number
            console.width = _STANDARD
        cut = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # the only column that gives way in a narrow terminal
        # Without markup: a description may hold names of files.
        title = progress.TextColumn("{task.description}", markup=False, table_column=cut)
        columns: list[progress.ProgressColumn | str] = [title]
        columns += [progress.BarColumn(bar_width=20)] if console.width >= _WIDE else []
        columns += [progress.MofNCompleteColumn()]
        columns += ["{task.fields[rate]}"] if console.width >= _USUAL else []
        columns += [progress.TimeElapsedColumn()] if console.width >= _WIDE else []
        columns += ["left", progress.TimeRemainingColumn()]
        start, counted = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal counted
            counted += count
            bars.update(bar, advance=count, rate=_format_rate(counted, time.monotonic() - start, unit))

        with progress.Progress(*columns, console=console, expand=True) as bars:
            bar = bars.add_task(make_printable(description), total=total, completed=done, rate="")
            yield advance

    def note(self, message: str | SffshardsError) -> None:
        """Print a line."""
        print(_show_message(message), file=sys.stderr)


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

    def note(self, message: str | SffshardsError) -> None:
        """Print a line."""
        print(_show_message(message), file=sys.stderr, flush=True)


def _show_message(message: str | SffshardsError) -> str:
    return message.render(show_flag) if isinstance(message, SffshardsError) else make_printable(message)


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
