"""What the commands that apply networks to new sequences share: their options, the members, and the sequences."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from sffshards import flares as flare_lists
from sffshards import images, tabular
from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option, parse_pairs
from sffshards.base.progress import Progress
from sffshards.cli import shared_options as shared
from sffshards.domain.frame_sequences import Sequence, SequenceId, WindowRule
from sffshards.domain.sample_sets import NUM_FOLDS, Part
from sffshards.domain.task import M1, Task
from sffshards.forecasting import combinations, operational, runs
from sffshards.models import ModelName, NetworkSpec
from sffshards.shards import read

RunOption = Annotated[
    Path, Option("Folder of a run, such as runs/48h/oTV; or a checkpoint file, which needs --model and --horizon.")
]
SequencesOption = Annotated[
    Path | None, Option("Sequence list, with or without labels; Seqs16/ must be in the same folder. Needs --images.")
]
MaxGapOption = Annotated[
    int | None,
    Option(
        "Maximum gap in minutes between two frames. Of --images, frames before a longer one are not used; listed "
        "sequences and those of --shards are left out.",
        minimum=1,
        default_text="no limit",
    ),
]
MinFramesOption = Annotated[
    int, Option("Minimum number of distinct frames; sequences of fewer are left out.", minimum=1, maximum=16)
]
FoldsOption = Annotated[
    str, Option("Folds of the run to average: all, or numbers such as 0,2.", metavar="<all|0..4,...>")
]
ModelOption = Annotated[
    str | None,
    Option(
        "Network of a checkpoint file. A run records its own; that of a factory, package.module:factory, is used only "
        "if you name it here too, because its code is run.",
        metavar="<network>",
        default_text="mvit_v2_s, or as the run records",
    ),
]
FactoryOption = Annotated[
    list[str] | None,
    Option(
        "Argument of the factory of a checkpoint file, such as depth=3; a run records its own. May be repeated.",
        metavar="<name=value>",
        default_text="none",
    ),
]
HorizonOption = Annotated[
    str | None, Option("Horizon of a checkpoint file, such as 48h; a run records its own.", metavar="<hours>")
]
ThresholdOption = Annotated[
    str | None,
    Option(
        "Lowest GOES class that a checkpoint file forecasts; a run records its own.",
        metavar="<class>",
        default_text="M1.0",
    ),
]


def parse_network(run: Path, model: str | None, pairs: list[str] | None) -> NetworkSpec | None:
    """Return the network that the user named; by default that of a checkpoint file, and none for a run."""
    if pairs and not run.is_file():
        found, fix = pairs[0][:80], "leave it out"
        raise InputError(Field("model_options"), expected="none with a run, which records them", found=found, fix=fix)
    if model is None and not run.is_file():
        return None
    name = ModelName.MVIT_V2_S if model is None else ModelName.parse(model)
    return NetworkSpec(model=name, options=parse_pairs(pairs or [], where=Field("model_options")))


def find_members(
    run: Path, folds: Collection[int] | None, *, network: NetworkSpec | None, choice: shared.TaskChoice
) -> list[operational.Member]:
    """Find the members of a run's folds, or take a checkpoint file; raises `InputError` where neither is possible.

    A run is refused if the user named another network than its own.
    """
    if run.is_file() and network is not None:
        if choice.horizon_hours is None:
            raise InputError(
                Field("horizon"),
                expected="a horizon, with a checkpoint file",
                found="none",
                fix="give the horizon that it forecasts",
            )
        task = Task(threshold=choice.threshold or M1, horizon_hours=choice.horizon_hours)
        return [operational.take_checkpoint(run, network=network, task=task)]
    members = operational.find_members(run, folds=folds)
    if network is not None and network.model != members[0].network.model:
        found, fix = f"a run of {members[0].network.model}", "name that network, or omit --model"
        raise InputError(run, expected=f"a run of {network.model}", found=found, fix=fix)
    _require_task(run, members[0].task, choice)
    return members


def find_tabular_members(
    run: Path, folds: Collection[int] | None, *, choice: shared.TaskChoice
) -> list[operational.TabularMember]:
    """Find the fitted forecasters of a run's folds; raises `InputError` if there are none, or of another task."""
    members = operational.find_tabular_members(run, folds=folds)
    _require_task(run, members[0].task, choice)
    return members


def find_combined(combination: runs.Run, *, choice: shared.TaskChoice) -> list[runs.Run]:
    """Return the runs that a combination combines, with its folds.

    Raises `InputError` if one cannot forecast new sequences, or the combination is of another task.
    """
    _require_task(combination.folder, combination.task, choice)
    found = combinations.find_combined(combination)
    for run in found:
        if run.kind not in (runs.RunKind.NETWORK, runs.RunKind.KEYWORDS):
            raise InputError(
                run.folder,
                expected="a run that can forecast new sequences",
                found=f"{run.name} ({run.kind})",
                fix="combine runs of networks and keywords",
            )
    return found


def parse_folds(folds: str) -> list[int] | None:
    """Return the numbers of the folds that the user named; None for all."""
    return None if folds.strip() == "all" else shared.parse_choices("--folds", folds, range(NUM_FOLDS))


def _require_task(run: Path, task: Task, choice: shared.TaskChoice) -> None:
    if not choice.matches(task):
        found = f"a run of {task}"
        raise InputError(run, expected=f"a run of {choice}", found=found, fix="name another run, or omit --horizon")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The sequences that a command works on."""

    command: str
    """Name of the command, for errors."""
    parts: list[Part]
    every: bool
    windows: WindowRule
    named: tuple[SequenceId, ...] = ()
    """Only these sequences; empty for all that the other fields select."""


def forecast_keywords(
    members: list[operational.TabularMember],
    keywords: Path,
    *,
    flares: flare_lists.HarpFlares | None,
    wanted: Wanted,
    progress: Progress,
) -> operational.RegionForecasts:
    """Forecast the frames of a table of keywords, or of a folder of FITS files, by fitted forecasters."""
    if keywords.is_dir():
        table = tabular.take_header_keywords(keywords, progress=progress)
    else:
        table = tabular.read_keyword_table(keywords)
    if flares is not None:
        images.require_harp_numbers(flares.harp_map, table.harp_numbers, where=keywords)
    sequences = operational.find_table_sequences(table, every=wanted.every, windows=wanted.windows, progress=progress)
    return operational.forecast_from_keywords(members, sequences, keywords=table, flares=flares, progress=progress)


@contextmanager
def open_source(
    images: Path | None,
    sequences: Path | None,
    shards: str | None,
    *,
    wanted: Wanted,
    task: Task,
    progress: Progress,
) -> Iterator[operational.ImageSource | operational.BuildSource]:
    """Open the sequences to forecast."""
    sources = {"--images": images, "--sequences": sequences, "--shards": shards}
    given = [flag for flag, value in sources.items() if value is not None]
    if given not in (["--images"], ["--images", "--sequences"], ["--shards"]):
        raise InputError(
            wanted.command,
            expected="--images, alone or with --sequences, or --shards",
            found=" and ".join(given) or "none of them",
            fix="name the images or the build to forecast",
        )
    if images is not None:
        folder = operational.find_image_folder(images)
        yield operational.ImageSource(folder, _find_sequences(folder, sequences, wanted=wanted, progress=progress))
        return
    builds = read.load_builds(shared.place_of(str(shards)))
    place = next((place for place, manifest in builds.items() if manifest.task == task), next(iter(builds)))
    with read.open_build(place, check=read.CheckLevel.FULL) as build:
        operational.require_task(build, task)
        source = operational.BuildSource(
            build, parts=wanted.parts, every=wanted.every, windows=wanted.windows, progress=progress
        )
        yield source.named(wanted.named) if wanted.named else source


def _find_sequences(folder: Path, listed: Path | None, *, wanted: Wanted, progress: Progress) -> list[Sequence]:
    """Return the sequences of a folder of images, or of a list."""
    if listed is None and wanted.named:
        return operational.find_named_sequences(folder, wanted.named, progress=progress)
    if listed is None:
        return operational.find_image_sequences(folder, every=wanted.every, windows=wanted.windows, progress=progress)
    found = {one.id: one for one in operational.read_sequence_list(listed, windows=wanted.windows, progress=progress)}
    if not wanted.named and not wanted.every:
        return list({one.harp: one for one in found.values()}.values())
    for name in wanted.named:
        if name not in found:
            fix = "name a sequence of the list"
            raise InputError(listed, expected=f"sequence {name.name}", found="none of that name", fix=fix)
    return [found[name] for name in wanted.named or found]
