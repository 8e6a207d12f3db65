"""Forecasts of new sequences by a run of any kind: its forecasters, the inputs that they take, and their forecasts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sffshards import tabular
from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option
from sffshards.base.progress import Progress
from sffshards.cli import flare_options
from sffshards.cli import forecast_inputs as inputs
from sffshards.cli import shared_options as shared
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.sample_sets import Part
from sffshards.forecasting import operational

if TYPE_CHECKING:
    _Clips = operational.ImageSource | operational.BuildSource

__all__ = ["ForecastOptions", "forecast"]

_OF_NETWORKS = (
    *("images", "sequences", "shards", "part", "model", "model_option"),
    *("batch_size", "threads", "device", "cluster", "jobs"),
)
_OF_HISTORY = ("flares", "harp_map", "flares_until", "clock")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastOptions(shared.Computing):
    """What is forecast, and how."""

    images: Annotated[Path | None, Option("Folder of images to forecast, with the published file names.")] = None
    sequences: inputs.SequencesOption = None
    shards: Annotated[
        str | None, Option("A build, or a folder of builds, to forecast instead of images. Labels are ignored.")
    ] = None
    part: Annotated[
        list[Part] | None,
        Option(
            "Part of the build to forecast: TrainVal0 to TrainVal4, or Test; may be repeated.",
            metavar="<part>",
            default_text="Test",
        ),
    ] = None
    keywords: Annotated[
        Path | None,
        Option(
            "Table of SHARP keywords, .csv or .csv.gz, or folder of SHARP FITS files with them in their headers. A run "
            "of `sffshards baselines` forecasts its frames, without images; a network may take them beside images."
        ),
    ] = None
    flares: flare_options.FlaresOption = None
    harp_map: flare_options.HarpMapOption = None
    flares_until: flare_options.FlaresUntilOption = None
    clock: flare_options.ClockOption = "as-written"
    max_gap: inputs.MaxGapOption = None
    min_frames: inputs.MinFramesOption = 1
    folds: inputs.FoldsOption = "all"
    tolerance: Annotated[
        int,
        Option(
            "Maximum age in minutes of the last image of a region in a full-disk forecast; and, with a combination, of "
            "the latest time at which a region has both images and keywords.",
            minimum=0,
        ),
    ] = 96
    model: inputs.ModelOption = None
    model_option: inputs.FactoryOption = None
    horizon: inputs.HorizonOption = None
    threshold: inputs.ThresholdOption = None
    cluster: Annotated[
        str | None,
        Option(
            "Dask cluster whose workers forecast many sequences on their processors: tcp://host:8786, a scheduler "
            "file, pbs, slurm, or local:N.",
            metavar="<cluster>",
        ),
    ] = None
    jobs: shared.JobsOption = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """A run, the options of its forecast, and which of them were given."""

    found: inputs.Forecasters
    options: ForecastOptions
    given: Collection[str]
    every: bool
    progress: Progress


def forecast(
    run: Path, choices: dict[str, Any], *, every: bool, submission: operational.Submission, progress: Progress
) -> operational.RegionForecasts:
    """Forecast new sequences by a run: a network, a forecaster of keywords, or a combination of such runs.

    Parameters
    ----------
    run
        The run, or a checkpoint file.
    choices
        The options of `ForecastOptions` that were given.
    every
        Whether to forecast every sequence, or only the latest of each HARP.
    submission
        Submission, whose time of issue must be possible.
    progress
        Receiver of progress and notes.

    Raises
    ------
    InputError
        If an option would have no effect, the run cannot forecast, or an input is missing; and the errors of the
        library.
    """
    options = ForecastOptions(**choices)
    shared.check_jobs(options.cluster, options.jobs)
    choice = shared.parse_task_choice(options.horizon, options.threshold)
    found = inputs.find_forecasters(run, options.folds, options.model, options.model_option, choice=choice)
    of = _Request(found=found, options=options, given=choices.keys(), every=every, progress=progress)
    _refuse_ignored(of)
    forecasts: dict[int, operational.RegionForecasts] = {}
    sources = _read_sources(of)
    with _open_sources(of, sources) as (clips, table):
        for source in (clips, table):
            if source is not None:
                submission.check_issue(max(time for _, time in source.ends), found.task)
        if clips is not None:
            forecasts |= _apply_networks(of, clips, sources)
        if table is not None:
            for place, fitted in found.fitted.items():
                forecasts[place] = operational.forecast_from_keywords(fitted, table, progress=progress)
    if not found.combined:
        return forecasts[0]
    return operational.combine_forecasts(
        found.combined, [forecasts[place] for place in sorted(forecasts)], progress=progress
    )


def _refuse_ignored(of: _Request) -> None:
    """Refuse options of inputs that no forecaster takes, and of networks where there is none."""
    found = of.found
    for names, what, is_taken in (
        (_OF_NETWORKS, "images", bool(found.networks)),
        (("keywords",), "keywords", found.needs_keywords),
        (_OF_HISTORY, "flare history", found.needs_flares),
    ):
        if not is_taken:
            given = {name: getattr(of.options, name) for name in names if name in of.given}
            shared.refuse_ignored(given, because=f"with {found.place}, which takes no {what}")


def _apply_networks(
    of: _Request, clips: _Clips, sources: tabular.NumberSources
) -> dict[int, operational.RegionForecasts]:
    """Return the forecasts by each network, by its position in the combination."""
    options = of.options
    if options.cluster is not None and options.device not in ("auto", "cpu"):
        fix = "leave one of them out"
        raise InputError(Field("device"), expected="auto or cpu with --cluster", found=options.device, fix=fix)
    computing = replace(options, device="cpu") if options.cluster else options
    inference = computing.infer(factories=of.found.factories, sources=sources)
    with shared.open_cluster(options.cluster, options.jobs) as workers:
        return {
            place: operational.forecast_regions(
                members, clips, inference=inference, cluster=workers, progress=of.progress
            )
            for place, members in of.found.networks.items()
        }


@contextmanager
def _open_sources(
    of: _Request, sources: tabular.NumberSources
) -> Iterator[tuple[_Clips | None, operational.TableSource | None]]:
    """Open the images or the build, and the sequences of the table; of both, take the sequences that they share."""
    options, found = of.options, of.found
    wanted = inputs.Wanted(
        command="predict",
        parts=options.part or [Part.TEST],
        every=of.every or bool(found.networks and found.fitted),
        windows=WindowRule(max_gap_minutes=options.max_gap, min_frames=options.min_frames, on_short=OnShort.DROP),
    )
    table = None
    if found.fitted and sources.keywords is not None:
        sequences = operational.find_table_sequences(
            sources.keywords, every=wanted.every, windows=wanted.windows, progress=of.progress
        )
        table = operational.TableSource(sequences=sequences, keywords=sources.keywords, flares=sources.flares)
    if not found.networks:
        yield None, table
        return
    with inputs.open_source(
        options.images, options.sequences, options.shards, wanted=wanted, task=found.task, progress=of.progress
    ) as clips:
        if table is None:
            yield clips, None
            return
        yield operational.share_sequences(
            clips, table, every=of.every, tolerance_minutes=options.tolerance, progress=of.progress
        )


def _read_sources(of: _Request) -> tabular.NumberSources:
    """Read what forecasters take besides images; raises `InputError` where it is not named."""
    options = of.options
    if of.found.needs_keywords and options.keywords is None:
        expected, fix = f"a table of keywords, for {of.found.place}", "name a table of the frames to forecast"
        raise InputError(Field("keywords"), expected=expected, found="none", fix=fix)
    sources = inputs.read_sources(
        options.keywords,
        options.flares,
        options.harp_map,
        clock=options.clock,
        until=options.flares_until,
        progress=of.progress,
    )
    of.found.require(sources)
    return sources
