"""Forecasts as CCMC's Flare Scoreboard takes them: JSON, or text, of the latest time that there is.

Its times are UTC. The window opens with the last image, as that of the labels does: a flare starts in (t, t + horizon].

References
----------
https://ccmc.gsfc.nasa.gov/scoreboards/flare
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sffshards.base.errors import Field, InputError
from sffshards.domain.task import Task

if TYPE_CHECKING:
    from sffshards.forecasting.operational.full_disk import FullDiskForecast
    from sffshards.forecasting.operational.region_forecasts import RegionForecasts, Spread

__all__ = [
    "ForecastMode",
    "Submission",
    "convert_to_utc",
    "format_scoreboard_json",
    "format_scoreboard_text",
    "scoreboard_text_name",
]

_CLASS = "M+"
_LEAP_SECONDS = (
    (datetime(2017, 1, 1), 37),
    (datetime(2015, 7, 1), 36),
    (datetime(2012, 7, 1), 35),
    (datetime(2009, 1, 1), 34),
)
"""TAI less UTC from a date on (IERS Bulletin C); SDO was launched in 2010."""


class ForecastMode(StrEnum):
    """How a forecast came about, in the Scoreboard's words."""

    FORECAST = "forecast"
    """Issued in real time."""
    HISTORICAL = "historical"
    """Made later, of past data."""
    NOWCAST = "nowcast"
    SIMULATED = "simulated_realtime_forecast"


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """Whose forecast it is, and when it was issued."""

    short_name: str
    """The model's, as it is registered; letters, digits, ``_`` and ``-``, as it is in file names."""
    spase_id: str
    """Of its registration; empty before there is one."""
    mode: ForecastMode
    issue_time_utc: datetime | None
    """None for the time of the last image."""

    def __post_init__(self) -> None:
        if not self.short_name or not self.short_name.replace("_", "").replace("-", "").isalnum():
            raise InputError(
                Field("short_name"),
                expected="letters, digits, _ and -",
                found=repr(self.short_name),
                fix="choose another",
            )


def convert_to_utc(t_tai: datetime) -> datetime:
    """Give the UTC of a TAI time, both naive.

    Raises
    ------
    InputError
        If it is before 2009, when there was no SDO.

    Examples
    --------
    >>> convert_to_utc(datetime(2011, 2, 15, 0, 0, 0)).isoformat()
    '2011-02-14T23:59:26'
    """
    for start_utc, seconds in _LEAP_SECONDS:
        if t_tai >= start_utc + timedelta(seconds=seconds):
            return t_tai - timedelta(seconds=seconds)
    raise InputError("time", expected="one from 2009 on", found=t_tai.isoformat(), fix="take images of SDO/HMI")


def format_scoreboard_json(forecasts: RegionForecasts, disk: FullDiskForecast, submission: Submission) -> str:
    """Give the JSON of a submission, of the full disk and of each region in it.

    Parameters
    ----------
    forecasts, disk
        What to submit: a full-disk forecast, and those of regions that it is of.
    submission
        Whose, and when.
    """
    task = forecasts.task
    content = {
        "forecast_submission": {
            "model": {"short_name": submission.short_name, "spase_id": submission.spase_id},
            "issue_time": _format_time(_issue_time(disk, submission)),
            "mode": str(submission.mode),
            "full_disk_forecasts": [_describe(disk.t_end_tai, task, disk.spread)],
            "region_forecasts": [
                {"region_ids": [{"type": "HARP", "number": forecasts.shown[number].harp}]}
                | _describe(forecasts.shown[number].t_end_tai, task, forecasts.spread(number))
                for number in disk.regions
            ],
        }
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def format_scoreboard_text(forecasts: RegionForecasts, disk: FullDiskForecast, submission: Submission) -> str:
    """Give the text of a submission; parameters as of `format_scoreboard_json`. Uncertainties are deviations."""
    start, end = _window(disk.t_end_tai, forecasts.task)
    lines = [
        f"#{scoreboard_text_name(disk, submission)}",
        f"Forecasting method: {submission.short_name}",
        f"Issue Time: {_format_time(_issue_time(disk, submission))}",
        f"Prediction Window Start Time: {_format_time(start)}",
        f"Prediction Window End Time: {_format_time(end)}",
        f"Probability Bins: {_CLASS}",
        "Input data: SDO/HMI LOS_Magnetogram",
        "#Full Disk Forecast",
        "#M_prob M_uncert",
        _format_spread(disk.spread),
        "#Region Forecast",
        "#HARP M_prob M_uncert",
        *(f"{forecasts.shown[number].harp} {_format_spread(forecasts.spread(number))}" for number in disk.regions),
    ]
    return "\n".join(lines) + "\n"


def scoreboard_text_name(disk: FullDiskForecast, submission: Submission) -> str:
    """Give the file name that the Scoreboard wants of a text submission."""
    return f"Flare_Forecast_{submission.short_name}_{_issue_time(disk, submission):%Y%m%d_%H%M}.txt"


def _issue_time(disk: FullDiskForecast, submission: Submission) -> datetime:
    return submission.issue_time_utc or convert_to_utc(disk.t_end_tai)


def _describe(t_end_tai: datetime, task: Task, spread: Spread) -> dict[str, Any]:
    start, end = _window(t_end_tai, task)
    window = {"start_time": _format_time(start), "end_time": _format_time(end)}
    probability: dict[str, object] = {"class": _CLASS, "probability": round(spread.probability, 6)}
    if spread.deviation is not None:
        probability |= {
            "uncertainty": round(spread.deviation, 6),
            "uncertainty_low": round(spread.low, 6),
            "uncertainty_high": round(spread.high, 6),
        }
    return {"prediction_window": window, "flare_probabilities": [probability]}


def _window(t_end_tai: datetime, task: Task) -> tuple[datetime, datetime]:
    start = convert_to_utc(t_end_tai)
    try:
        return start, start + timedelta(hours=task.horizon_hours)
    except OverflowError:
        found = t_end_tai.isoformat()
        raise InputError("time", expected="one before 9999", found=found, fix="take images of SDO/HMI") from None


def _format_spread(spread: Spread) -> str:
    """Give probability and uncertainty in four places; ``----`` stands for one that is not known."""
    uncertainty = "----" if spread.deviation is None else f"{spread.deviation:.4f}"
    return f"{spread.probability:.4f} {uncertainty}"


def _format_time(time_utc: datetime) -> str:
    return f"{time_utc:%Y-%m-%dT%H:%M:%S}Z"
