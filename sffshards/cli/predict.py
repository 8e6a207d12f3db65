"""`sffshards predict`: forecast flares of sequences whose outcome is unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from sffshards.base.atomic_files import check_replaceable, write_files
from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.base.output_checks import check_writable
from sffshards.base.progress import Progress
from sffshards.cli import forecast_inputs as inputs
from sffshards.cli import new_forecasts
from sffshards.cli import shared_options as shared
from sffshards.cli.command_options import OptionsOf
from sffshards.cli.terminal_output import make_progress, show
from sffshards.forecasting import operational

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
    choices: Annotated[dict[str, Any], OptionsOf(new_forecasts.ForecastOptions)],
    every: Annotated[bool, Option("Forecast every sequence, not only the latest of each HARP.")] = False,
    output: Annotated[OutputFormat, Option("Output format.", flag="--format")] = OutputFormat.CSV,
    out: Annotated[
        Path | None,
        Option(
            "Output file; or a folder, in which the file gets the name that its format prescribes.",
            default_text="standard output",
        ),
    ] = None,
    force: shared.ReplaceOption = False,
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
    if out is None:
        shared.refuse_ignored({"force": force or None}, because="without --out")
    else:
        _check_output(out, force=force, progress=progress)
    submission = operational.Submission(
        short_name=short_name, spase_id=spase_id, mode=mode, issue_time_utc=_parse_issue_time(issue_time)
    )
    is_complete = every or "sequences" in choices
    forecasts = new_forecasts.forecast(run, choices, every=is_complete, submission=submission, progress=progress)
    tolerance = new_forecasts.ForecastOptions(**choices).tolerance
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


def _check_output(out: Path, *, force: bool, progress: Progress) -> None:
    """Check that a forecast can be written, before it is computed."""
    check_writable(out if out.is_dir() else out.parent)
    if not out.is_dir():
        check_replaceable({out: b""}, force=True)
        if out.is_file() and not force:
            progress.note(f"{out}: exists; another forecast replaces it only with --force")


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
