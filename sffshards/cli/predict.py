"""`sffshards predict`: forecast flares of sequences whose outcome is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from sffshards.base.atomic_files import check_replaceable, write_files
from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.base.progress import Progress
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.sample_sets import NUM_FOLDS, Part
from sffshards.domain.task import M1, Task
from sffshards.forecasting import operational, runs
from sffshards.models import ModelName
from sffshards.shards import read

__all__ = ["predict"]


class OutputFormat(StrEnum):
    """Formats of forecast files."""

    CSV = "csv"
    JSON = "json"
    SCOREBOARD_JSON = "scoreboard-json"
    SCOREBOARD_TEXT = "scoreboard-text"


def predict(
    *,
    run: Annotated[
        Path, Option("Folder of a run, such as runs/48h/oTV; or a checkpoint file, which needs --model and --horizon.")
    ],
    images: Annotated[Path | None, Option("Folder of images to forecast, with the published file names.")] = None,
    sequences: Annotated[
        Path | None,
        Option("Sequence list, with or without labels; Seqs16/ must be in the same folder. Needs --images."),
    ] = None,
    shards: Annotated[
        str | None, Option("A build, or a folder of builds, to forecast instead of images. Labels are ignored.")
    ] = None,
    part: Annotated[
        list[Part] | None,
        Option(
            "Part of the build to forecast: TrainVal0 to TrainVal4, or Test; may be repeated.",
            metavar="<part>",
            default_text="Test",
        ),
    ] = None,
    every: Annotated[bool, Option("Forecast every sequence, not only the latest of each HARP.")] = False,
    max_gap: Annotated[
        int | None,
        Option(
            "Maximum gap in minutes between two frames. Of --images, frames before a longer one are not used; listed "
            "sequences and those of --shards are left out.",
            minimum=1,
            default_text="no limit",
        ),
    ] = None,
    min_frames: Annotated[
        int, Option("Minimum number of distinct frames; sequences of fewer are left out.", minimum=1, maximum=16)
    ] = 1,
    folds: Annotated[
        str, Option("Folds of the run to average: all, or numbers such as 0,2.", metavar="<all|0..4,...>")
    ] = "all",
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
    model: Annotated[ModelName, Option("Network of a checkpoint file; a run records its own.")] = ModelName.MVIT_V2_S,
    horizon: Annotated[
        str | None,
        Option("Horizon of a checkpoint file, such as 48h; a run records its own.", metavar="<hours>"),
    ] = None,
    threshold: Annotated[
        str | None,
        Option(
            "Lowest GOES class that a checkpoint file forecasts; a run records its own.",
            metavar="<class>",
            default_text="M1.0",
        ),
    ] = None,
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
            "historical.",
            default_text="time of the last image",
        ),
    ] = None,
    batch_size: shared.BatchSizeOption = 10,
    threads: shared.ThreadsOption = 2,
    device: shared.DeviceOption = "auto",
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
    sffshards predict --run model.ckpt --model mvit_v2_s --horizon 24h --images DIR
        a checkpoint without its run
    sffshards predict --run runs/24h/oTV --images DIR --format scoreboard-json --out f.json
        a file for the Flare Scoreboard
    """
    progress = make_progress()
    if out is not None and not out.is_dir():  # before the forecast is computed
        check_replaceable({out: b""}, force=True)
        if out.is_file() and not force:
            progress.note(f"{out}: exists; another forecast replaces it only with --force")
    members = _find_members(run, folds, model=model, choice=shared.parse_task_choice(horizon, threshold))
    inference = runs.Inference(batch_size=batch_size, num_threads=threads, device=runs.choose_device(device))
    submission = operational.Submission(
        short_name=short_name, spase_id=spase_id, mode=mode, issue_time_utc=_parse_issue_time(issue_time)
    )
    task = members[0].task
    wanted = _Wanted(
        parts=part or [Part.TEST],
        every=every,
        windows=WindowRule(max_gap_minutes=max_gap, min_frames=min_frames, on_short=OnShort.DROP),
    )
    with _open_source(images, sequences, shards, wanted=wanted, task=task, progress=progress) as source:
        submission.check_issue(max(shown.t_end_tai for shown in source.shown), task)
        forecasts = operational.forecast_regions(members, source, inference=inference, progress=progress)
    is_complete = every or sequences is not None
    disks = operational.combine_regions(forecasts, tolerance_minutes=tolerance, every=is_complete)
    if output is OutputFormat.SCOREBOARD_JSON and not spase_id:
        progress.note("no --spase-id: the Scoreboard accepts forecasts of registered models only")
    text, name = _format(output, forecasts, disks, tolerance=tolerance, submission=submission)
    if out is None:
        print(text, end="")
        return
    path = out / name if out.is_dir() else out
    write_files({path: text.encode("utf-8")}, force=force)
    num_sequences = format_count(len(forecasts.shown), "sequence")
    print(f"{path}: {task.event}: {num_sequences}, {format_count(len(disks), 'time')} of the full disk")


def _find_members(run: Path, folds: str, *, model: ModelName, choice: shared.TaskChoice) -> list[operational.Member]:
    if run.is_file():
        if choice.horizon_hours is None:
            raise InputError(
                Field("horizon"),
                expected="a horizon, with a checkpoint file",
                found="none",
                fix="give the horizon that it forecasts",
            )
        task = Task(threshold=choice.threshold or M1, horizon_hours=choice.horizon_hours)
        return [operational.take_checkpoint(run, model=model, task=task)]
    numbers = None if folds.strip() == "all" else shared.parse_choices("--folds", folds, range(NUM_FOLDS))
    members = operational.find_members(run, folds=numbers)
    if not choice.matches(members[0].task):
        found = f"a run of {members[0].task}"
        raise InputError(run, expected=f"a run of {choice}", found=found, fix="name another run, or omit --horizon")
    return members


def _parse_issue_time(text: str | None) -> datetime | None:
    try:
        time = None if text is None else datetime.fromisoformat(text)
        return time if time is None or time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # the latter of a zone, at either end of the calendar
        found, fix = str(text)[:40], "give one such as 2012-03-06T01:30"
        raise InputError(Field("issue_time"), expected="a time in ISO format", found=found, fix=fix) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """Which sequences to forecast."""

    parts: list[Part]
    every: bool
    windows: WindowRule


@contextmanager
def _open_source(
    images: Path | None,
    sequences: Path | None,
    shards: str | None,
    *,
    wanted: _Wanted,
    task: Task,
    progress: Progress,
) -> Iterator[operational.ImageSource | operational.BuildSource]:
    """Open the sequences to forecast."""
    sources = {"--images": images, "--sequences": sequences, "--shards": shards}
    given = [flag for flag, value in sources.items() if value is not None]
    if given not in (["--images"], ["--images", "--sequences"], ["--shards"]):
        raise InputError(
            "predict",
            expected="--images, alone or with --sequences, or --shards",
            found=" and ".join(given) or "none of them",
            fix="name the images or the build to forecast",
        )
    if images is not None:
        folder = operational.find_image_folder(images)
        if sequences is None:
            found = operational.find_image_sequences(
                folder, every=wanted.every, windows=wanted.windows, progress=progress
            )
        else:
            found = operational.read_sequence_list(sequences, windows=wanted.windows, progress=progress)
        yield operational.ImageSource(folder, found)
        return
    builds = read.load_builds(shared.place_of(str(shards)))
    place = next((place for place, manifest in builds.items() if manifest.task == task), next(iter(builds)))
    with read.open_build(place, check=read.CheckLevel.FULL) as build:
        operational.require_task(build, task)
        yield operational.BuildSource(
            build, parts=wanted.parts, every=wanted.every, windows=wanted.windows, progress=progress
        )


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
