"""Options and arguments that several commands share, each declared once."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import Protocol
from sffshards.domain.task import M1, MAX_HORIZON_HOURS, GoesClass, Task
from sffshards.shards.read import CheckLevel

if TYPE_CHECKING:
    from sffshards.shards.format import Manifest
    from sffshards.shards.read import Place

__all__ = [
    "CACHE_SIZE",
    "CacheFolderOption",
    "CacheSizeOption",
    "CheckOption",
    "DataArgument",
    "ForceOption",
    "HorizonOption",
    "HorizonsOption",
    "ImagesOption",
    "JsonOption",
    "LabelsOption",
    "ProtocolOption",
    "SeedOption",
    "ShardsArgument",
    "ShardsOption",
    "TaskChoice",
    "ThresholdOption",
    "ThresholdsOption",
    "WorkersOption",
    "choose_build",
    "count_workers",
    "parse_horizon",
    "parse_task_choice",
    "parse_threshold",
    "place_of",
]

CACHE_SIZE = 20.0
"""Default size of the cache of remote shards, in GB; a build of the published size takes 12."""

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder that contains magnetogram_jpg/, M24/ and M48/, directly or in the published Seq_Magnetogram/.",
        show_default=True,
    ),
]
ImagesOption = Annotated[
    Path | None, typer.Option(help="Folder of the images, if it is not in the data folder.", show_default=False)
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the label lists, if it is not in the data folder.", show_default=False),
]
ShardsArgument = Annotated[
    str, typer.Argument(help="A build, or a folder of builds: a path or a URL (s3://..., https://...).")
]
ShardsOption = Annotated[
    str, typer.Option(help="A build, or a folder of builds: a path or a URL (s3://..., https://...).")
]
CacheFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        help="Cache folder for remote shards, best on a local disk. Several processes may share it.  "
        "[default: ~/.cache/sffshards/shards]",
        show_default=False,
    ),
]
CacheSizeOption = Annotated[
    float,
    typer.Option(
        "--cache-size",
        min=0.001,
        max=1e6,
        help="Size limit of the cache in GB; the least recently used shards are removed first.",
    ),
]
_HORIZON = "Forecast horizon in hours, such as 48h.  [default: {}]"
_THRESHOLD = (
    "Lowest GOES class that counts as an event, such as C1.0.  [default: M1.0 if --horizon is given, otherwise {}]"
)
HorizonOption = Annotated[
    str | None,
    typer.Option(
        metavar="<hours>", help=_HORIZON.format("the only one; required if there are several"), show_default=False
    ),
]
"""Horizon of the one build that a command works on."""
ThresholdOption = Annotated[
    str | None, typer.Option(metavar="<class>", help=_THRESHOLD.format("the only one"), show_default=False)
]
"""Threshold of the one build that a command works on."""
HorizonsOption = Annotated[
    str | None, typer.Option(metavar="<hours>", help=_HORIZON.format("all that are found"), show_default=False)
]
"""Horizon of a command that works on every task by default."""
ThresholdsOption = Annotated[
    str | None, typer.Option(metavar="<class>", help=_THRESHOLD.format("all"), show_default=False)
]
"""Threshold of a command that works on every task by default."""
ProtocolOption = Annotated[
    Protocol,
    typer.Option(
        help="Recipe to follow. paper: train on four parts, with exact class weights. published: as the authors' code "
        "does: only three parts at 24h, and class counts without the first row of each set."
    ),
]
CheckOption = Annotated[
    CheckLevel,
    typer.Option(
        help="Check of each sample as it is read. full: length and checksum. fast: length only. The SHA-256 of a whole "
        "shard is always checked before its first use."
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Number of processes.  [default: one per processor]", show_default=False),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Random seed.")]
ReplaceOption = Annotated[bool, typer.Option("--force", help="Overwrite an existing file whose content differs.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Start from scratch and overwrite existing output.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def count_workers(workers: int | None) -> int:
    """Return the number of processes to use: the given one, or one per processor."""
    from sffshards.base.worker_pool import default_workers

    return default_workers() if workers is None else workers


def place_of(shards: str, *, cache_dir: Path | None = None, cache_size: float = CACHE_SIZE) -> Place:
    """Parse the place of a build: a path, or a URL with a cache."""
    from sffshards.shards.read import CacheOptions, default_cache_folder, parse_place

    folder = default_cache_folder() if cache_dir is None else cache_dir
    return parse_place(shards, cache=CacheOptions(folder=folder, limit_bytes=round(cache_size * 1e9)))


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskChoice:
    """The tasks that ``--horizon`` and ``--threshold`` select."""

    horizon_hours: int | None
    """Horizon in hours; None for any."""
    threshold: GoesClass | None
    """Lowest class of an event; None for any."""

    def matches(self, task: Task) -> bool:
        """Return whether a task is selected."""
        return self.horizon_hours in (None, task.horizon_hours) and self.threshold in (None, task.threshold)

    def choose(self, found: Collection[Task], *, where: object) -> list[Task]:
        """Return the selected ones of the tasks found; raises `InputError` if there are none."""
        if chosen := [task for task in found if self.matches(task)]:
            return chosen
        raise InputError(
            where,
            expected=f"lists of {self}",
            found=f"those of {', '.join(map(str, found))}",
            fix="name another --horizon or --threshold, or add the lists",
        )

    def __str__(self) -> str:
        if self.horizon_hours is None:
            return "any task" if self.threshold is None else f"class {self.threshold} and above"
        if self.threshold is None:
            return f"{self.horizon_hours}h"
        return str(Task(threshold=self.threshold, horizon_hours=self.horizon_hours))


def parse_task_choice(horizon: str | None, threshold: str | None) -> TaskChoice:
    """Parse ``--horizon`` and ``--threshold``; with the former alone, the class is M1.0 as published."""
    hours = None if horizon is None else parse_horizon(horizon)
    if threshold is not None:
        return TaskChoice(horizon_hours=hours, threshold=parse_threshold(threshold))
    return TaskChoice(horizon_hours=hours, threshold=None if horizon is None else M1)


def parse_horizon(text: str) -> int:
    """Parse a horizon such as ``48h`` or ``48``, a whole number of hours."""
    match = re.fullmatch(r"([1-9]\d{0,3})h?", text.strip(), re.ASCII)
    if match is None or int(match[1]) > MAX_HORIZON_HOURS:
        raise InputError(
            "--horizon",
            expected=f"whole hours, from 1h to {MAX_HORIZON_HOURS}h",
            found=repr(text[:40]),
            fix="pass a horizon such as 48h",
        )
    return int(match[1])


def parse_threshold(text: str) -> GoesClass:
    """Parse a class to a tenth, such as ``M1.0``; a letter alone is its lowest class."""
    letter = text.strip().upper()
    threshold = GoesClass.parse(f"{letter}1.0" if letter in tuple("ABCMX") else text, where="--threshold")
    if GoesClass.parse(str(threshold)) != threshold:
        raise InputError("--threshold", expected="a class to a tenth", found=repr(text[:40]), fix="round it, as M5.1")
    return threshold


def choose_build(place: Place, choice: TaskChoice) -> tuple[Place, Manifest]:
    """Return the one build that is selected, with its manifest; raises `InputError` if there are several or none."""
    from sffshards.shards.read import load_builds

    builds = load_builds(place)
    chosen = [(folder, manifest) for folder, manifest in builds.items() if choice.matches(manifest.task)]
    if len(chosen) == 1:
        return chosen[0]
    raise InputError(
        place,
        expected=f"one build of {choice}",
        found=", ".join(f"{folder} ({manifest.task})" for folder, manifest in builds.items()),
        fix="select it by --horizon and --threshold, or pass the build's own folder",
    )
