"""Options for a table of forecasts by another system, and the report of what was joined to labels."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from sffshards import flares, images
from sffshards.base.errors import InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.domain.task import Task
from sffshards.domain.times import TimeScale
from sffshards.forecasting import imported

__all__ = [
    "ClimatologyOption",
    "ForecastsArgument",
    "LabelFolderOption",
    "NameOption",
    "TaskOption",
    "TimeScaleOption",
    "ToleranceOption",
    "check_name",
    "choose_task",
    "format_joined",
    "read_table",
]

_MAX_LISTED = 5

ForecastsArgument = Annotated[Path, typer.Argument(help="Table of forecasts, .csv or .csv.gz.")]
LabelFolderOption = Annotated[Path, Option("Data folder with the label lists, such as M24/ and M48/.")]
TaskOption = Annotated[
    str | None,
    Option(
        "Task that is forecast, such as M24: --threshold and --horizon in one word.",
        metavar="<task>",
        default_text="the only one that has lists",
    ),
]
TimeScaleOption = Annotated[
    TimeScale | None,
    Option("Time scale of times that do not state it by Z or _TAI.", default_text="each must state it"),
]
ToleranceOption = Annotated[
    int, Option("Accept forecasts up to this many minutes before a label's time.", minimum=0, maximum=100_000)
]

ClimatologyOption = Annotated[
    float | None,
    Option(
        "Climatological flare rate, the reference of the Brier skill score.",
        minimum=0,
        maximum=1,
        default_text="that of the training parts",
    ),
]

NameOption = Annotated[str, Option("Name of the run and of its folder.")]


def check_name(name: str) -> None:
    """Raise `InputError` if a name cannot be that of a run's folder."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", name) is None or re.fullmatch(r"fold\d", name):
        expected = (
            "up to 80 letters without accents, digits, dots, hyphens and underscores, the first a letter or digit, and "
            "not fold0 or the like"
        )
        raise InputError("--name", expected=expected, found=repr(name[:80]), fix="choose another name")


def choose_task(
    found: Collection[Task], task: str | None, horizon: str | None, threshold: str | None, *, where: object
) -> Task:
    """Return the one task that ``--task``, or ``--horizon`` and ``--threshold``, select; raises `InputError`."""
    if task is not None and (horizon is not None or threshold is not None):
        other = "--horizon" if horizon is not None else "--threshold"
        raise InputError("--task", expected=f"no {other} beside it", found=task, fix="leave one of them out")
    if task is not None:
        of = Task.parse(task, where="--task")
        choice = shared.TaskChoice(horizon_hours=of.horizon_hours, threshold=of.threshold)
    else:
        choice = shared.parse_task_choice(horizon, threshold)
    first, *others = choice.choose(found, where=where)
    if others:
        found_names = ", ".join(one.name for one in (first, *others))
        raise InputError(where, expected="one task", found=found_names, fix="select one with --task, such as M24")
    return first


def read_table(
    path: Path, task: Task, *, time_scale: TimeScale | None, harp_map: Path | None, labels: Path
) -> imported.ForecastTable:
    """Read a table of forecasts, whose HARP numbers must be those of the labels."""
    regions = None if harp_map is None else flares.read_harp_map(harp_map)
    table = imported.read_forecast_table(path, task=task, time_scale=time_scale, harp_map=regions)
    images.require_harp_numbers(table, images.find_harp_numbers(labels), where=labels)
    return table


def format_joined(joined: imported.JoinedForecasts) -> list[str]:
    """Return what was read and joined, one line each, with the first rows that were not used."""
    table = joined.table
    lines = [f"{table.source}: {format_count(table.num_rows, 'row')}"]
    if table.ignored_columns:
        lines.append(f"columns not read: {', '.join(table.ignored_columns)}")
    if table.num_of_other_tasks:
        lines.append(f"{format_count(table.num_of_other_tasks, 'row')} of other tasks")
    for part, number in joined.num_labels.items():
        if with_one := joined.count_joined(part):
            lines.append(f"{part}: {with_one:,} of {number:,} labels have a forecast")
    for reason, number in joined.count_unused().items():
        lines.append(f"not used: {format_count(number, 'row')}, {reason}")
        of_reason = [row for row in joined.unused if row.reason is reason]
        lines += [f"  {table.source}:{row.line}: {row.text}" for row in of_reason[:_MAX_LISTED]]
        lines += ["  ...; --json lists all"] if number > _MAX_LISTED else []
    return lines
