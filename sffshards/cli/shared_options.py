"""Options and arguments that several commands share, each declared once, and what they select."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from sffshards import loading
from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option, list_options
from sffshards.domain.sample_sets import Protocol
from sffshards.domain.task import M1, MAX_HORIZON_HOURS, GoesClass, Task
from sffshards.shards import format as shard_format
from sffshards.shards import read

if TYPE_CHECKING:
    from sffshards import tabular
    from sffshards.executors import DaskExecutor, Executor
    from sffshards.forecasting import runs
    from sffshards.models import ModelName

_LOADING = {field.name: field.option for field in list_options(loading.LoadingOptions)}
_SHARDS = "A build, or a folder of builds: a path or a URL (s3://..., https://...)."
_HORIZON = "Forecast horizon in hours, such as 48h."
_THRESHOLD = "Lowest GOES class that counts as an event, such as C1.0."
_ELSE = "M1.0 if --horizon is given, otherwise {}"

CACHE_SIZE = 20.0
"""Default size of the cache of remote shards, in GB; a build of the published size takes 12."""

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder that contains magnetogram_jpg/, M24/ and M48/, directly or in the published Seq_Magnetogram/."
    ),
]
ImagesOption = Annotated[Path | None, Option("Folder of the images, if it is not in the data folder.")]
LabelsOption = Annotated[Path | None, Option("Folder of the label lists, if it is not in the data folder.")]
ShardsArgument = Annotated[str, typer.Argument(help=_SHARDS)]
ShardsOption = Annotated[str, Option(_SHARDS)]
CacheFolderOption = Annotated[
    Path | None,
    Option(
        "Cache folder for remote shards, best on a local disk. Several processes may share it.",
        default_text="~/.cache/sffshards/shards",
    ),
]
CacheSizeOption = Annotated[
    float,
    Option(
        "Size limit of the cache in GB; the least recently used shards are removed first.", minimum=0.001, maximum=1e6
    ),
]
HorizonOption = Annotated[
    str | None,
    Option(_HORIZON, metavar="<hours>", default_text="the only one; required if there are several"),
]
"""Horizon of the one build that a command works on."""
ThresholdOption = Annotated[
    str | None, Option(_THRESHOLD, metavar="<class>", default_text=_ELSE.format("the only one"))
]
"""Threshold of the one build that a command works on."""
HorizonsOption = Annotated[str | None, Option(_HORIZON, metavar="<hours>", default_text="all that are found")]
"""Horizon of a command that works on every task by default."""
ThresholdsOption = Annotated[str | None, Option(_THRESHOLD, metavar="<class>", default_text=_ELSE.format("all"))]
"""Threshold of a command that works on every task by default."""
ProtocolOption = Annotated[Protocol, _LOADING["protocol"]]
CheckOption = Annotated[read.CheckLevel, _LOADING["check"]]
WorkersOption = Annotated[
    int | None, Option("Number of processes.", minimum=1, maximum=1024, default_text="one per processor")
]
SeedOption = Annotated[int, Option("Random seed.", minimum=0)]
NoSkillSeedOption = Annotated[int, Option("Seed of the random forecast without skill.", minimum=0)]
ReplaceOption = Annotated[bool, Option("Overwrite an existing file whose content differs.")]
ForceOption = Annotated[bool, Option("Start from scratch and overwrite existing output.")]
JsonOption = Annotated[bool, Option("Print JSON.", flag="--json")]

RecipeOption = Annotated[
    str,
    Option(
        "Recipe: published, or a TOML file that sets some of the options of a recipe, named as in run.json.",
        metavar="<published|file>",
    ),
]

ClusterOption = Annotated[
    str | None,
    Option(
        "Compute on a Dask cluster instead of local processes: tcp://host:8786, a scheduler file (.json), pbs or slurm "
        "(jobs as in the section jobqueue of your Dask configuration), or local:N.",
        metavar="<cluster>",
    ),
]
JobsOption = Annotated[
    int, Option("Number of jobs to keep queued or running, with --cluster pbs or slurm.", minimum=1, maximum=100_000)
]

_T = TypeVar("_T")


def open_executor(workers: int | None, *, cluster: str | None = None, jobs: int = 1) -> Executor:
    """Return where to compute: on a cluster, or in processes of this machine, by default one per processor."""
    from sffshards.executors import LocalExecutor, default_workers

    check_jobs(cluster, jobs)
    if cluster is None:
        return LocalExecutor(workers or default_workers())
    if workers is not None:
        raise InputError("--workers", expected="none with --cluster", found=str(workers), fix="leave one of them out")
    from sffshards.executors import open_cluster

    return open_cluster(cluster, num_jobs=jobs)


def check_jobs(cluster: str | None, jobs: int) -> None:
    """Raise `InputError` for a number of jobs without a batch system."""
    if jobs != 1 and cluster not in ("pbs", "slurm"):
        found = cluster or "no --cluster"
        raise InputError(
            "--jobs", expected="--cluster pbs or slurm beside it", found=found, fix="leave one of them out"
        )


def open_cluster(cluster: str | None, jobs: int) -> AbstractContextManager[DaskExecutor | None]:
    """Return a cluster that is closed at the end of a block, or None where none is named."""
    if cluster is None:
        return nullcontext()
    from sffshards import executors

    return executors.open_cluster(cluster, num_jobs=jobs)


def open_fold_workers(cluster: str, jobs: int, num_folds: int) -> DaskExecutor:
    """Return the workers that train folds: one per job of a batch system, and no more jobs than folds."""
    from sffshards.executors import open_cluster

    return open_cluster(cluster, num_jobs=min(jobs, num_folds), one_worker_per_job=True)


def place_of(shards: str, *, cache_dir: Path | None = None, cache_size: float = CACHE_SIZE) -> read.Place:
    """Parse the place of a build: a path, or a URL with a cache."""
    folder = cache_dir or read.default_cache_folder()
    return read.parse_place(shards, cache=read.CacheOptions(folder=folder, limit_bytes=round(cache_size * 1e9)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Computing:
    """How networks are applied."""

    batch_size: Annotated[int, Option("Number of sequences per batch.", minimum=1)] = 10
    threads: Annotated[int, Option("Number of threads that read and decode samples ahead.", minimum=0)] = 2
    device: Annotated[str, Option("Device to compute on: auto, cpu, cuda, cuda:1, mps, ...")] = "auto"

    def infer(
        self,
        *,
        factories: tuple[ModelName, ...],
        sources: tabular.NumberSources,
        check: read.CheckLevel = read.CheckLevel.FULL,
    ) -> runs.Inference:
        """Return how networks are applied in the library; raises `InputError` if this machine has no such device."""
        from sffshards.forecasting import runs

        return runs.Inference(
            batch_size=self.batch_size,
            num_threads=self.threads,
            device=runs.choose_device(self.device),
            check=check,
            factories=factories,
            sources=sources,
        )


def refuse_ignored(given: Mapping[str, object], *, because: str) -> None:
    """Raise `InputError` for the first option that was given, with a value other than None, but has no effect.

    Parameters
    ----------
    given
        Values of options, by name.
    because
        Why it has none, such as "without --out".
    """
    for name, value in given.items():
        if value is not None:
            shown = value[0] if isinstance(value, list) else value
            raise InputError(Field(name), expected=f"none {because}", found=str(shown)[:80], fix="leave it out")


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


def choose_builds(
    place: read.Place, choice: TaskChoice, *, one: bool = False
) -> dict[read.Place, shard_format.Manifest]:
    """Return the selected builds and manifests; raises `InputError` if there are none, or several but only ``one``."""
    builds = read.load_builds(place)
    chosen = {folder: manifest for folder, manifest in builds.items() if choice.matches(manifest.task)}
    if len(chosen) == 1 or (chosen and not one):
        return chosen
    raise InputError(
        place,
        expected=f"{'one' if one else 'a'} build of {choice}",
        found=", ".join(f"{folder} ({manifest.task})" for folder, manifest in builds.items()),
        fix="select one by --horizon and --threshold, pass a build's own folder, or build it with `sffshards build`",
    )


def choose_build(place: read.Place, choice: TaskChoice) -> tuple[read.Place, shard_format.Manifest]:
    """Return the one build that is selected, with its manifest; raises `InputError` if there are several or none."""
    return next(iter(choose_builds(place, choice, one=True).items()))


def parse_choices(option: str, text: str, choices: Iterable[_T]) -> list[_T]:
    """Parse ``all`` or a comma-separated list of choices; return each once, in the order of ``choices``."""
    known = {str(choice): choice for choice in choices}
    asked = list(known) if text.strip() == "all" else [name.strip() for name in text.split(",")]
    unknown = [name for name in asked if name not in known]
    if unknown:
        expected = f"all, or some of {', '.join(known)}"
        raise InputError(option, expected=expected, found=repr(unknown[0]), fix="separate them by commas")
    return [choice for name, choice in known.items() if name in asked]
