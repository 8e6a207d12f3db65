"""Text of scores by several sets of labels: a line per run and set, and the spread over flare lists."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sffshards import verification
from sffshards.cli.terminal_output import format_table
from sffshards.forecasting import label_sets, runs

__all__ = ["format_label_sets"]


def format_label_sets(scores: Sequence[Sequence[label_sets.LabelledScores]]) -> str:
    """Return a table of the test scores of runs by each set of labels, in the scores of most interest."""
    columns = [one for one in runs.COMPARED_SCORES if one.is_main]
    rows: list[list[str]] = []
    notes: dict[str, None] = {}
    for of_run in scores:
        for place, one in enumerate(of_run):
            head = "" if place else str(one.run.folder)
            counts = [one.source.title, f"{one.num_positive:,}", f"{one.num_changed:,}"]
            rows.append([head, *counts, *(_format(one.scores[column]) for column in columns)])
            notes |= dict.fromkeys([one.note] if one.note else [])
        spread = label_sets.find_spread(of_run)
        if spread:
            cells = (verification.format_score(spread[column]) for column in columns)
            rows.append(["", label_sets.SPREAD, "", "", *cells])
    title = "test scores by set of labels, each sequence once; thresholds from validation by the same labels"
    header = ["runs", "labels", "positive", "changed", *(column.heading for column in columns)]
    return "\n".join([title, format_table(header, rows, left=(0, 1)), *(f"  {note}" for note in notes)])


def _format(interval: verification.Interval | None) -> str:
    if interval is None:
        return "-"
    if math.isnan(interval.estimate):
        return "undefined"
    return f"{interval.estimate:.3f} [{interval.low:.2f}, {interval.high:.2f}]".replace("[nan, nan]", "[no interval]")
