"""The rows that measurements fill in: printed as tables, saved as JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.on_gpu.time_budget import Budget, OutOfTimeError
from sffshards.base.atomic_files import replacing
from sffshards.base.errors import StorageError

FORMAT_VERSION = 1
BEGUN, MEASURED = "begun", "measured"

COLUMNS = {
    "teraflops_per_second": ("TFLOP/s", 1, ".3g"),
    "gigabytes_per_second": ("GB/s", 1, ".4g"),
    "flops": ("GFLOP/clip", 1e-9, ".1f"),
    "clips_per_second": ("clips/s", 1, ".4g"),
    "ratio": ("to first", 1, ".2f"),
    "share_of_peak": ("of peak", 100, ".1f %"),
    "peak_bytes": ("peak GB", 1e-9, ".3g"),
    "first_step_s": ("first step s", 1, ".1f"),
    "largest_batch": ("largest batch", 1, ".0f"),
    "wait_ms": ("wait ms", 1, ".3g"),
    "copy_ms": ("copy ms", 1, ".3g"),
    "step_ms": ("step ms", 1, ".4g"),
    "wait_share": ("waits", 100, ".2f %"),
    "ms": ("ms/step", 1, ".4g"),
    "share": ("share", 100, ".1f %"),
    "calls": ("calls/step", 1, ".0f"),
    "seconds": ("s", 1, ".1f"),
    "bytes": ("MB", 1e-6, ".1f"),
}
"""For each figure: the head of its column, the factor to the printed unit, and the format."""
_NAME_WIDTH = 72


@dataclass(kw_only=True, slots=True)
class Row:
    """One line of a table."""

    table: str
    """Title of its table."""
    name: str
    """What was measured."""
    batch: int | None = None
    """Clips per step."""
    figures: dict[str, float] = field(default_factory=dict)
    """Figures by the names in `COLUMNS`."""
    status: str = BEGUN
    """``measured``, or why there are no figures or only some; ``begun`` where a run was killed."""


class Results:
    """Collects rows; saved after each attempt, so that a killed run keeps what it has.

    Parameters
    ----------
    path
        File to write.
    machine
        Description of the machine and of what was asked for.
    budget
        Time that is left.
    """

    def __init__(self, path: Path, machine: dict[str, Any], budget: Budget) -> None:
        self.path, self.machine, self.budget = path, machine, budget
        self.rows: list[Row] = []

    def add(self, row: Row) -> Row:
        self.rows.append(row)
        return row

    def attempt(self, row: Row, measure: Callable[[], None], *, seconds: float | None = None) -> bool:
        """Call a function that fills a row in; if it fails or takes too long, the row says so, and the rest goes on.

        Attempts may be nested only if the outer one has no limit on its seconds.

        Returns
        -------
        Whether it was measured to the end.
        """
        start = time.monotonic()
        try:
            with nullcontext() if seconds is None else self.budget.limit(seconds):
                measure()
            row.status = MEASURED if row.status == BEGUN else row.status
        except OutOfTimeError:
            taken = time.monotonic() - start
            row.status = f"stopped after {taken:.0f} s" if taken >= 1 else "skipped: no time left"
        except Exception as error:  # noqa: BLE001  whatever it is, the row reports it
            row.status = f"failed: {type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        self.save()
        return row.status == MEASURED

    def save(self) -> bool:
        """Save what there is; where that fails, print why and return False, so that measurements go on."""
        record = {
            "format_version": FORMAT_VERSION,
            **self.machine,
            "seconds": round(self.budget.seconds - self.budget.left_s, 1),
            "rows": [asdict(row) for row in self.rows],
        }
        try:
            with replacing(self.path, sync=False) as temporary:
                temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        except StorageError as error:
            print(f"not saved: {error}", file=sys.stderr)
            return False
        return True

    def show(self, tables: Iterable[str]) -> None:
        for title in tables:
            print(format_table(title, [row for row in self.rows if row.table == title]), flush=True)


def format_table(title: str, rows: list[Row]) -> str:
    """Return a table of the figures that any of its rows has; what is not measured is a dash."""
    names = [name for name in COLUMNS if any(name in row.figures for row in rows)]
    lines = [["", "batch", *(COLUMNS[name][0] for name in names), ""]]
    for row in rows:
        cells = [_format_figure(name, row.figures.get(name, math.nan)) for name in names]
        status = "" if row.status == MEASURED else row.status
        lines.append([row.name[:_NAME_WIDTH], str(row.batch or "-"), *cells, status])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    printed = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:-1], widths[1:]), line[-1]]).rstrip()
        for line in lines
    ]
    return "\n".join([f"\n{title}", *(f"  {line}" for line in printed)])


def _format_figure(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    _, factor, form = COLUMNS[name]
    form, _, unit = form.partition(" ")
    return f"{value * factor:{form}}{' ' if unit else ''}{unit}"
