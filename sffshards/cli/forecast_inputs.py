"""What the commands that apply networks to new sequences share: their options, the members, and the sequences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from sffshards import images, models, tabular
from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option, parse_pairs
from sffshards.base.progress import Progress
from sffshards.cli import flare_options
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
    list[str] | None,
    Option(
        "Network of a checkpoint file. A run records its own; that of a factory, package.module:factory, is used only "
        "if you name it here too, because its code is run. May be repeated for a combination of several.",
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecasters:
    """What forecasts new sequences: a run, a checkpoint file, or the runs that a combination combines."""

    place: Path
    """The run or file."""
    networks: dict[int, list[operational.Member]]
    """Folds of each network, by its position in the combination."""
    fitted: dict[int, list[operational.TabularMember]]
    """Folds of each forecaster of keywords, by its position in the combination."""
    combined: tuple[operational.CombinedMember, ...] = ()
    """Folds of the combination; empty for a single run."""
    factories: tuple[ModelName, ...] = ()
    """Networks that the user named."""

    @property
    def task(self) -> Task:
        """The task that is forecast."""
        members = [members[0] for of in (self.networks, self.fitted) for members in of.values()]
        return members[0].task

    @property
    def needs_keywords(self) -> bool:
        """Whether a forecaster takes a table of keywords."""
        return bool(self.fitted) or any(members[0].network.inputs.needs_keywords for members in self.networks.values())

    @property
    def needs_flares(self) -> bool:
        """Whether a forecaster takes flare history."""
        fitted = any(member.needs_flares for members in self.fitted.values() for member in members)
        return fitted or any(members[0].network.inputs.needs_flares for members in self.networks.values())

    def require(self, sources: tabular.NumberSources) -> None:
        """Check that the tables that networks take numbers from are given; raises `InputError` otherwise."""
        for members in self.networks.values():
            sources.require(members[0].network.inputs, where=self.place)


def find_forecasters(
    run: Path, folds: str, named: list[str] | None, pairs: list[str] | None, *, choice: shared.TaskChoice
) -> Forecasters:
    """Find what forecasts new sequences.

    Parameters
    ----------
    run
        A run, or a checkpoint file.
    folds
        Folds of a run, as the user wrote them.
    named, pairs
        Networks that the user named, and arguments of the factory of a checkpoint file.
    choice
        Task of a checkpoint file; a run must be of it.

    Raises
    ------
    InputError
        If the run, or a run of a combination, cannot forecast new sequences or is of another task, or the user named a
        network that is none of its own.
    """
    if run.is_file():
        member = _take_checkpoint(run, named, pairs, choice)
        return Forecasters(place=run, networks={0: [member]}, fitted={}, factories=(member.network.model,))
    chosen = parse_folds(folds)
    found = runs.read_run(run, folds=chosen)
    if not choice.matches(found.task):
        fix = "name another run, or omit --horizon"
        raise InputError(run, expected=f"a run of {choice}", found=f"a run of {found.task}", fix=fix)
    is_combination = found.kind is runs.RunKind.COMBINATION
    every = combinations.find_combined(found) if is_combination else [found]
    for one in every:
        if one.kind not in (runs.RunKind.NETWORK, runs.RunKind.KEYWORDS):
            raise InputError(
                one.folder,
                expected="a run that can forecast new sequences",
                found=f"{one.name} ({one.kind})",
                fix="combine runs of networks and keywords" if is_combination else "name a run of networks or keywords",
            )
    numbers = [fold.number for fold in found.folds]
    networks = {
        place: operational.find_members(one.folder, folds=numbers)
        for place, one in enumerate(every)
        if one.kind is runs.RunKind.NETWORK
    }
    fitted = {
        place: operational.find_tabular_members(one.folder, folds=numbers)
        for place, one in enumerate(every)
        if one.kind is runs.RunKind.KEYWORDS
    }
    return Forecasters(
        place=run,
        networks=networks,
        fitted=fitted,
        combined=tuple(operational.find_combined_members(found)) if is_combination else (),
        factories=_parse_named(run, named, pairs, [members[0].network for members in networks.values()]),
    )


def _take_checkpoint(
    path: Path, named: list[str] | None, pairs: list[str] | None, choice: shared.TaskChoice
) -> operational.Member:
    """Return a checkpoint file as a member; raises `InputError` where its task or one network is not known."""
    if named and len(named) > 1:
        found, fix = " and ".join(named), "name only its own network"
        raise InputError(Field("model"), expected="one network, with a checkpoint file", found=found, fix=fix)
    name = ModelName.parse(named[0]) if named else ModelName.MVIT_V2_S
    network = NetworkSpec(model=name, options=parse_pairs(pairs or [], where=Field("model_options")))
    if choice.horizon_hours is None:
        fix = "give the horizon that it forecasts"
        raise InputError(Field("horizon"), expected="a horizon, with a checkpoint file", found="none", fix=fix)
    task = Task(threshold=choice.threshold or M1, horizon_hours=choice.horizon_hours)
    network = replace(network, inputs=models.read_inputs(path))
    return operational.take_checkpoint(path, network=network, task=task)


def _parse_named(
    run: Path, named: list[str] | None, pairs: list[str] | None, networks: list[NetworkSpec]
) -> tuple[ModelName, ...]:
    """Return the networks that the user named; raises `InputError` for one that no member of a run is."""
    if pairs:
        found, fix = pairs[0][:80], "leave it out"
        raise InputError(Field("model_options"), expected="none with a run, which records them", found=found, fix=fix)
    names = tuple(ModelName.parse(name) for name in named or ())
    own = dict.fromkeys(network.model for network in networks)
    for name in names if own else ():
        if name not in own:
            found, fix = f"a run of {' and '.join(own)}", "name that network, or omit --model"
            raise InputError(run, expected=f"a run of {name}", found=found, fix=fix)
    return names


def parse_folds(folds: str) -> list[int] | None:
    """Return the numbers of the folds that the user named; None for all."""
    return None if folds.strip() == "all" else shared.parse_choices("--folds", folds, range(NUM_FOLDS))


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


def read_sources(
    keywords: Path | None,
    flares: Path | None,
    harp_map: Path | None,
    *,
    clock: str,
    until: str | None = None,
    progress: Progress,
) -> tabular.NumberSources:
    """Read a table of keywords or a folder of FITS files, and a flare list, as far as they are named."""
    catalogue = flare_options.load_catalogue(flares, harp_map, clock=clock, until=until)
    table = None
    if keywords is not None and keywords.is_dir():
        table = tabular.take_header_keywords(keywords, progress=progress)
    elif keywords is not None:
        table = tabular.read_keyword_table(keywords)
    if catalogue is not None and table is not None:
        images.require_harp_numbers(catalogue.harp_flares.harp_map, table.harp_numbers, where=keywords)
    return tabular.NumberSources(keywords=table, flares=None if catalogue is None else catalogue.harp_flares)


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
