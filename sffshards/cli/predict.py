"""`sffshards predict`: forecast flares of sequences whose outcome is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sffshards.base.atomic_files import check_replaceable, write_files
from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.base.output_checks import check_writable
from sffshards.base.progress import Progress
from sffshards.cli import flare_options
from sffshards.cli import forecast_inputs as inputs
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress, show
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.sample_sets import Part
from sffshards.forecasting import operational, runs

if TYPE_CHECKING:
    from sffshards.flares import HarpFlares

__all__ = ["predict"]


class OutputFormat(StrEnum):
    """Formats of forecast files."""

    CSV = "csv"
    JSON = "json"
    SCOREBOARD_JSON = "scoreboard-json"
    SCOREBOARD_TEXT = "scoreboard-text"


def predict(
    *,
    run: inputs.RunOption,
    images: Annotated[Path | None, Option("Folder of images to forecast, with the published file names.")] = None,
    sequences: inputs.SequencesOption = None,
    shards: Annotated[
        str | None, Option("A build, or a folder of builds, to forecast instead of images. Labels are ignored.")
    ] = None,
    keywords: Annotated[
        Path | None,
        Option(
            "Table of SHARP keywords, .csv or .csv.gz, or folder of SHARP FITS files with them in their headers, whose "
            "frames to forecast by a run of `sffshards baselines`, instead of images."
        ),
    ] = None,
    flares: flare_options.FlaresOption = None,
    harp_map: flare_options.HarpMapOption = None,
    clock: flare_options.ClockOption = "as-written",
    part: Annotated[
        list[Part] | None,
        Option(
            "Part of the build to forecast: TrainVal0 to TrainVal4, or Test; may be repeated.",
            metavar="<part>",
            default_text="Test",
        ),
    ] = None,
    every: Annotated[bool, Option("Forecast every sequence, not only the latest of each HARP.")] = False,
    max_gap: inputs.MaxGapOption = None,
    min_frames: inputs.MinFramesOption = 1,
    folds: inputs.FoldsOption = "all",
    tolerance: Annotated[
        int, Option("Maximum age in minutes of the last image of a region in a full-disk forecast.", minimum=0)
    ] = 96,
    output: Annotated[OutputFormat, Option("Output format.", flag="--format")] = OutputFormat.CSV,
    out: Annotated[
        Path | None,
        Option(
            "Output file; or a folder, in which the file gets the name that its format prescribes.",
            default_text="standard output",
        ),
    ] = None,
    force: shared.ReplaceOption = False,
    model: inputs.ModelOption = None,
    model_option: inputs.FactoryOption = None,
    horizon: inputs.HorizonOption = None,
    threshold: inputs.ThresholdOption = None,
    short_name: Annotated[str, Option("Scoreboard: registered name of the model.")] = "SFF_MViT",
    spase_id: Annotated[
        str | None, Option("Scoreboard: registered SPASE id of the model.", default_text="not stated")
    ] = None,
    mode: Annotated[
        operational.ForecastMode, Option("Scoreboard: how the forecast was made.")
    ] = operational.ForecastMode.HISTORICAL,
    issue_time: Annotated[
        str | None,
        Option(
            "Scoreboard: time of issue in UTC, such as 2012-03-06T01:30; within the prediction window, except in mode "
            "historical. Needed in the modes forecast and nowcast if the window has ended.",
            default_text="time of the last image",
        ),
    ] = None,
    batch_size: shared.BatchSizeOption = 10,
    threads: shared.ThreadsOption = 2,
    device: shared.DeviceOption = "auto",
    cluster: Annotated[
        str | None,
        Option(
            "Dask cluster whose workers forecast many sequences on their processors: tcp://host:8786, a scheduler "
            "file, pbs, slurm, or local:N.",
            metavar="<cluster>",
        ),
    ] = None,
    jobs: shared.JobsOption = 1,
) -> None:
    """Forecast flares, by region and full disk.

    A network is trained to forecast one event, such as a flare of class M or above within 48 h. A forecast is the
    probability that this event follows the last image of a sequence. No labels are needed.

    Each fold's probabilities are calibrated with the Platt scaling that `evaluate` fitted on the fold's validation set.
    A note names folds without a calibration. The forecast is the mean over the folds. It comes with their minimum,
    maximum and standard deviation, and with a yes or no at each decision threshold that `evaluate` chose.

    The full-disk probability is 1 - prod(1 - p), over the regions present at the same time. With --every or
    --sequences there is one at each time at which a sequence ends, otherwise only one, at the latest time.

    Examples
    --------
    sffshards predict --run runs/48h/oTV --images DIR
        the latest sequence of every HARP in a folder of images
    sffshards predict --run runs/48h/oTV --images DIR --sequences seqs/Seq16_my_list.txt
        the sequences of a list
    sffshards predict --run runs/48h/oTV --shards shards/48h --every
        every sequence of the test part of a build
    sffshards predict --run runs/48h/oTV --images DIR --every --cluster slurm --jobs 20
        every sequence of an archive, divided among the workers of 20 jobs
    sffshards predict --run runs/48h/keywords --keywords new.csv
        the latest frame of every HARP in a table of keywords
    sffshards predict --run runs/48h/course --keywords fits --flares flares.csv --harp-map harps.txt
        the regions of FITS files, with their flare history
    sffshards predict --run runs/48h/both --images DIR --keywords new.csv
        a combination of a network and of a forecaster of keywords
    sffshards predict --run model.ckpt --model mvit_v2_s --horizon 24h --images DIR
        a checkpoint without its run
    sffshards predict --run runs/48h/own --model my_package.networks:build --images DIR
        a run of a network of your own
    sffshards predict --run runs/24h/oTV --images DIR --format scoreboard-json --out f.json
        a file for the Flare Scoreboard
    """
    progress = make_progress()
    shared.check_jobs(cluster, jobs)
    if out is not None:  # before the forecast is computed
        check_writable(out if out.is_dir() else out.parent)
    if out is not None and not out.is_dir():
        check_replaceable({out: b""}, force=True)
        if out.is_file() and not force:
            progress.note(f"{out}: exists; another forecast replaces it only with --force")
    choice = shared.parse_task_choice(horizon, threshold)
    submission = operational.Submission(
        short_name=short_name, spase_id=spase_id, mode=mode, issue_time_utc=_parse_issue_time(issue_time)
    )
    is_complete = every or sequences is not None
    wanted = inputs.Wanted(
        command="predict",
        parts=part or [Part.TEST],
        every=is_complete,
        windows=WindowRule(max_gap_minutes=max_gap, min_frames=min_frames, on_short=OnShort.DROP),
    )
    catalogue = flare_options.load_catalogue(flares, harp_map, data=None, clock=clock)
    request = _Request(
        images=images,
        sequences=sequences,
        shards=shards,
        part=part,
        keywords=keywords,
        flares=None if catalogue is None else catalogue.harp_flares,
        folds=folds,
        choice=choice,
        wanted=wanted,
        submission=submission,
        model=model,
        model_option=model_option,
        batch_size=batch_size,
        threads=threads,
        device=device,
        cluster=cluster,
        jobs=jobs,
        progress=progress,
    )
    forecasts = _forecast(run, request)
    submission.check_issue(max(shown.t_end_tai for shown in forecasts.shown), forecasts.task)
    disks = operational.combine_regions(forecasts, tolerance_minutes=tolerance, every=is_complete)
    if output is OutputFormat.SCOREBOARD_JSON and not spase_id:
        progress.note("no --spase-id: the Scoreboard accepts forecasts of registered models only")
    text, name = _format(output, forecasts, disks, tolerance=tolerance, submission=submission)
    if out is None:
        show(text, end="")
        return
    path = out / name if out.is_dir() else out
    write_files({path: text.encode("utf-8")}, force=force)
    num_sequences = format_count(len(forecasts.shown), "sequence")
    show(f"{path}: {forecasts.task.event}: {num_sequences}, {format_count(len(disks), 'time')} of the full disk")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """The options that forecasts are computed with; each has the name of its option."""

    images: Path | None
    sequences: Path | None
    shards: str | None
    part: list[Part] | None
    keywords: Path | None
    flares: HarpFlares | None
    folds: str
    choice: shared.TaskChoice
    wanted: inputs.Wanted
    submission: operational.Submission
    model: str | None
    model_option: list[str] | None
    batch_size: int
    threads: int
    device: str
    cluster: str | None
    jobs: int
    progress: Progress


_OF_NETWORKS = ("images", "sequences", "shards", "part", "cluster", "model", "model_option")
"""Options that only forecasts by networks take."""


def _forecast(run: Path, of: _Request) -> operational.RegionForecasts:
    """Forecast by a network, a forecaster of keywords, or a combination of runs."""
    folds = inputs.parse_folds(of.folds)
    kind = None
    if not run.is_file():
        found = runs.read_run(run, folds=folds)
        if (kind := found.kind) is runs.RunKind.COMBINATION:
            return _forecast_combined(found, of)
    if of.keywords is not None:
        _refuse(of, _OF_NETWORKS, expected="none with a table of keywords", found="both", fix="leave one of them out")
    if of.keywords is not None or kind is runs.RunKind.KEYWORDS:
        return _forecast_frames(run, folds, of)
    fix = "leave it out, or name a table of keywords"
    _refuse(of, ("flares",), expected="none without keywords", found="a flare list", fix=fix)
    return _forecast_clips(run, folds, of)


def _forecast_combined(combination: runs.Run, of: _Request) -> operational.RegionForecasts:
    """Forecast by each member, in the folds of the combination, and combine the forecasts."""
    combined = inputs.find_combined(combination, choice=of.choice)
    kinds = {one.kind for one in combined}
    expected = f"none, as no run in the combination {combination.folder} takes"
    if runs.RunKind.NETWORK not in kinds:
        _refuse(of, _OF_NETWORKS, expected=f"{expected} images", found="one", fix="leave it out")
    if runs.RunKind.KEYWORDS not in kinds:
        _refuse(of, ("keywords", "flares"), expected=f"{expected} keywords", found="one", fix="leave it out")
    forecasts = []
    for one in combined:
        folds = [fold.number for fold in one.folds]
        make = _forecast_clips if one.kind is runs.RunKind.NETWORK else _forecast_frames
        forecasts.append(make(one.folder, folds, of))
    members = operational.find_combined_members(combination)
    return operational.combine_forecasts(members, forecasts, progress=of.progress)


def _refuse(of: _Request, names: tuple[str, ...], *, expected: str, found: str, fix: str) -> None:
    """Raise `InputError` if one of some options was given, which would have no effect."""
    for name in names:
        if getattr(of, name) is not None:
            raise InputError(Field(name), expected=expected, found=found, fix=fix)


def _forecast_frames(run: Path, folds: list[int] | None, of: _Request) -> operational.RegionForecasts:
    if of.keywords is None:
        fix = "name a table of the same frames"
        raise InputError(Field("keywords"), expected=f"a table of keywords, for {run}", found="none", fix=fix)
    members = inputs.find_tabular_members(run, folds, choice=of.choice)
    return inputs.forecast_keywords(members, of.keywords, flares=of.flares, wanted=of.wanted, progress=of.progress)


def _forecast_clips(run: Path, folds: list[int] | None, of: _Request) -> operational.RegionForecasts:
    network = inputs.parse_network(run, of.model, of.model_option)
    members = inputs.find_members(run, folds, network=network, choice=of.choice)
    if of.cluster is not None and of.device not in ("auto", "cpu"):
        fix = "leave one of them out"
        raise InputError(Field("device"), expected="auto or cpu with --cluster", found=of.device, fix=fix)
    inference = runs.Inference(
        batch_size=of.batch_size,
        num_threads=of.threads,
        device=runs.choose_device("cpu" if of.cluster else of.device),
        factories=(network.model,) if network else (),
    )
    task = members[0].task
    with inputs.open_source(
        of.images, of.sequences, of.shards, wanted=of.wanted, task=task, progress=of.progress
    ) as source:
        of.submission.check_issue(max(shown.t_end_tai for shown in source.shown), task)
        with shared.open_cluster(of.cluster, of.jobs) as workers:
            return operational.forecast_regions(
                members, source, inference=inference, cluster=workers, progress=of.progress
            )


def _parse_issue_time(text: str | None) -> datetime | None:
    try:
        time = None if text is None else datetime.fromisoformat(text)
        return time if time is None or time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # the latter of a zone, at either end of the calendar
        found, fix = str(text)[:40], "give one such as 2012-03-06T01:30"
        raise InputError(Field("issue_time"), expected="a time in ISO format", found=found, fix=fix) from None


def _format(
    output: OutputFormat,
    forecasts: operational.RegionForecasts,
    disks: list[operational.FullDiskForecast],
    *,
    tolerance: int,
    submission: operational.Submission,
) -> tuple[str, str]:
    """Return the content of a file, and its name in a folder."""
    if output is OutputFormat.CSV:
        return operational.format_csv(forecasts, disks), "forecasts.csv"
    if output is OutputFormat.JSON:
        return operational.format_json(forecasts, disks, tolerance_minutes=tolerance), "forecasts.json"
    latest = disks[-1]
    name = operational.scoreboard_text_name(latest, submission)
    if output is OutputFormat.SCOREBOARD_TEXT:
        return operational.format_scoreboard_text(forecasts, latest, submission), name
    return operational.format_scoreboard_json(forecasts, latest, submission), name.replace(".txt", ".json")
