"""`sffshards predict`: forecast flares of sequences whose outcome is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.base.errors import Field, InputError, format_count
from sffshards.cli.shared_options import ReplaceOption, TaskChoice, parse_task_choice, place_of
from sffshards.domain.sample_sets import NUM_FOLDS, Part
from sffshards.domain.task import M1, Task
from sffshards.forecasting.operational import (
    ForecastMode,
    Submission,
    format_scoreboard_json,
    format_scoreboard_text,
    scoreboard_text_name,
)
from sffshards.models import ModelName
from sffshards.shards.read import CheckLevel

if TYPE_CHECKING:
    from sffshards.base.progress import Progress
    from sffshards.forecasting.operational import BuildSource, FullDiskForecast, ImageSource, Member, RegionForecasts

__all__ = ["EXAMPLES", "predict"]

EXAMPLES = (
    ("sffshards predict --run runs/48h/oTV --images DIR", "the latest sequence of every HARP in a folder of images"),
    ("sffshards predict --run runs/48h/oTV --images DIR --sequences seqs/Seq16_my_list.txt", "the sequences of a list"),
    ("sffshards predict --run runs/48h/oTV --shards shards/48h --every", "every sequence of the test part of a build"),
    ("sffshards predict --run model.ckpt --model mvit_v2_s --horizon 24h --images DIR", "a checkpoint without its run"),
    (
        "sffshards predict --run runs/24h/oTV --images DIR --format scoreboard-json --out f.json",
        "a file for the Flare Scoreboard",
    ),
)

_TOLERANCE_MINUTES = 96


class OutputFormat(StrEnum):
    """Formats of forecast files."""

    CSV = "csv"
    JSON = "json"
    SCOREBOARD_JSON = "scoreboard-json"
    SCOREBOARD_TEXT = "scoreboard-text"


def predict(
    run: Annotated[
        Path,
        typer.Option(
            help="Folder of a run, such as runs/48h/oTV; or a checkpoint file, which needs --model and --horizon."
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images to forecast, with the published file names.", show_default=False),
    ] = None,
    sequences: Annotated[
        Path | None,
        typer.Option(
            help="Sequence list, with or without labels; Seqs16/ must be in the same folder. Needs --images.",
            show_default=False,
        ),
    ] = None,
    shards: Annotated[
        str | None,
        typer.Option(
            help="A build, or a folder of builds, to forecast instead of images. Labels are ignored.",
            show_default=False,
        ),
    ] = None,
    part: Annotated[
        list[Part] | None,
        typer.Option(
            help="Part of the build to forecast: TrainVal0 to TrainVal4, or Test; may be repeated.  [default: Test]",
            metavar="<part>",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every", help="Forecast every sequence, not only the latest of each HARP.")
    ] = False,
    folds: Annotated[
        str, typer.Option(help="Folds of the run to average: all, or numbers such as 0,2.", metavar="<all|0..4,...>")
    ] = "all",
    tolerance: Annotated[
        int,
        typer.Option(min=0, help="Maximum age in minutes of the last image of a region in a full-disk forecast."),
    ] = _TOLERANCE_MINUTES,
    output: Annotated[OutputFormat, typer.Option("--format", help="Output format.")] = OutputFormat.CSV,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output file, or a folder, where the format defines the file's name.  [default: standard output]",
            show_default=False,
        ),
    ] = None,
    force: ReplaceOption = False,
    model: Annotated[
        ModelName, typer.Option(help="Network of a checkpoint file; a run records its own.")
    ] = ModelName.MVIT_V2_S,
    horizon: Annotated[
        str | None,
        typer.Option(
            metavar="<hours>",
            help="Horizon of a checkpoint file, such as 48h; a run records its own.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="<class>",
            help="Lowest GOES class that a checkpoint file forecasts; a run records its own.  [default: M1.0]",
            show_default=False,
        ),
    ] = None,
    short_name: Annotated[str, typer.Option(help="Scoreboard: registered name of the model.")] = "SFF_MViT",
    spase_id: Annotated[
        str, typer.Option(help="Scoreboard: registered SPASE id of the model.", show_default=False)
    ] = "",
    mode: Annotated[
        ForecastMode, typer.Option(help="Scoreboard: how the forecast was made.")
    ] = ForecastMode.HISTORICAL,
    issue_time: Annotated[
        str | None,
        typer.Option(
            help="Scoreboard: time of issue in UTC, such as 2012-03-06T01:30.  [default: time of the last image]",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Number of sequences per batch.")] = 10,
    threads: Annotated[int, typer.Option(min=0, help="Number of threads that read and decode shards.")] = 2,
    device: Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
) -> None:
    """Forecast flares, by region and full disk.

    A forecast is the probability that the event of the run, such as a flare of class M or above within 48 h, follows
    the last image of a sequence. No labels are needed.

    Each fold's probability is calibrated as `evaluate` fitted it on validation; a note names folds without a
    calibration. The forecast is the mean over the folds. It comes with their minimum, maximum and standard deviation,
    and with a yes or no at each threshold.

    The full-disk probability is 1 - prod(1 - p), over the regions present at the same time.
    """
    from sffshards.base.atomic_files import check_replaceable, write_files
    from sffshards.cli.terminal_output import make_progress
    from sffshards.forecasting.operational import combine_regions, forecast_regions
    from sffshards.forecasting.runs import Inference, choose_device

    if out is not None and not out.is_dir():  # before the forecast is computed
        check_replaceable({out: b""}, force=force)
    progress = make_progress()
    members = _find_members(run, folds, model=model, choice=parse_task_choice(horizon, threshold))
    inference = Inference(batch_size=batch_size, num_threads=threads, device=choose_device(device))
    submission = Submission(
        short_name=short_name, spase_id=spase_id, mode=mode, issue_time_utc=_parse_issue_time(issue_time)
    )
    with _open_source(
        images, sequences, shards, parts=part or [Part.TEST], every=every, task=members[0].task, progress=progress
    ) as source:
        forecasts = forecast_regions(members, source, inference=inference, progress=progress)
    disks = combine_regions(forecasts, tolerance_minutes=tolerance)
    if output is OutputFormat.SCOREBOARD_JSON and not spase_id:
        progress.note("no --spase-id: the Scoreboard accepts forecasts of registered models only")
    text, name = _format(output, forecasts, disks, tolerance=tolerance, submission=submission)
    if out is None:
        print(text, end="")
        return
    path = out / name if out.is_dir() else out
    write_files({path: text.encode("utf-8")}, force=force)
    num_sequences = format_count(len(forecasts.shown), "sequence")
    print(f"{path}: {num_sequences}, {format_count(len(disks), 'time')} of the full disk")


def _find_members(run: Path, folds: str, *, model: ModelName, choice: TaskChoice) -> list[Member]:
    from sffshards.forecasting.operational import find_members, take_checkpoint

    if run.is_file():
        if choice.horizon_hours is None:
            raise InputError(
                Field("horizon"),
                expected="a horizon, with a checkpoint file",
                found="none",
                fix="give the horizon that it forecasts",
            )
        task = Task(threshold=choice.threshold or M1, horizon_hours=choice.horizon_hours)
        return [take_checkpoint(run, model=model, task=task)]
    members = find_members(run, folds=_parse_folds(folds))
    if not choice.matches(members[0].task):
        found = f"a run of {members[0].task}"
        raise InputError(run, expected=f"a run of {choice}", found=found, fix="name another run, or omit --horizon")
    return members


def _parse_folds(text: str) -> list[int] | None:
    numbers = {str(fold): fold for fold in range(NUM_FOLDS)}
    fields = [field.strip() for field in text.split(",")]
    if fields == ["all"]:
        return None
    if not all(field in numbers for field in fields):
        raise InputError(
            Field("folds"), expected="all, or numbers from 0 to 4 such as 0,2", found=text, fix="correct it"
        )
    return [numbers[field] for field in fields]


def _parse_issue_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # the latter of a zone, at either end of the calendar
        raise InputError(
            Field("issue_time"),
            expected="a time in ISO format",
            found=text[:40],
            fix="give one such as 2012-03-06T01:30",
        ) from None


@contextmanager
def _open_source(
    images: Path | None,
    sequences: Path | None,
    shards: str | None,
    *,
    parts: list[Part],
    every: bool,
    task: Task,
    progress: Progress,
) -> Iterator[ImageSource | BuildSource]:
    """Open the sequences to forecast."""
    from sffshards.forecasting.operational import (
        BuildSource,
        ImageSource,
        find_image_folder,
        find_image_sequences,
        read_sequence_list,
        require_task,
    )
    from sffshards.shards.read import load_builds, open_build

    if (images is None) == (shards is None) or (shards is not None and sequences is not None):
        given = [
            name for name, value in (("--images", images), ("--sequences", sequences), ("--shards", shards)) if value
        ]
        raise InputError(
            "predict",
            expected="--images, alone or with --sequences, or --shards",
            found=" and ".join(given) or "none of them",
            fix="name the images or the build to forecast",
        )
    if images is not None:
        folder = find_image_folder(images)
        if sequences is None:
            found = find_image_sequences(folder, every=every, progress=progress)
        else:
            found = read_sequence_list(sequences)
        yield ImageSource(folder, found)
        return
    builds = load_builds(place_of(str(shards)))
    place = next((place for place, manifest in builds.items() if manifest.task == task), next(iter(builds)))
    with open_build(place, check=CheckLevel.FULL) as build:
        require_task(build, task)
        yield BuildSource(build, parts=parts, every=every)


def _format(
    output: OutputFormat,
    forecasts: RegionForecasts,
    disks: list[FullDiskForecast],
    *,
    tolerance: int,
    submission: Submission,
) -> tuple[str, str]:
    """Return the content of a file, and its name in a folder."""
    from sffshards.forecasting.operational import format_csv, format_json

    if output is OutputFormat.CSV:
        return format_csv(forecasts, disks), "forecasts.csv"
    if output is OutputFormat.JSON:
        return format_json(forecasts, disks, tolerance_minutes=tolerance), "forecasts.json"
    latest = disks[-1]
    name = scoreboard_text_name(latest, submission)
    if output is OutputFormat.SCOREBOARD_TEXT:
        return format_scoreboard_text(forecasts, latest, submission), name
    return format_scoreboard_json(forecasts, latest, submission), name.replace(".txt", ".json")
