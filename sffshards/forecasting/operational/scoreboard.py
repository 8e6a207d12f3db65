"""Forecasts in the formats of CCMC's Flare Scoreboard: JSON or text, of the latest time that is forecast.

Times are in UTC. The forecast window opens with the last image, as that of the labels does: (t, t + horizon].

References
----------
https://ccmc.gsfc.nasa.gov/scoreboards/flare
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sffshards.base.errors import Field, InputError
from sffshards.domain.task import Task

if TYPE_CHECKING:
    from sffshards.forecasting.operational.region_forecasts import FullDiskForecast, RegionForecasts, Spread


class ForecastMode(StrEnum):
    """How a forecast was made, in the Scoreboard's words."""

    FORECAST = "forecast"
    """Issued in real time."""
    HISTORICAL = "historical"
    """Issued later, for past data."""
    NOWCAST = "nowcast"
    SIMULATED = "simulated_realtime_forecast"


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """Who submits a forecast, and when it was issued."""

    short_name: str
    """Registered name of the model: letters, digits, ``_`` and ``-``, because file names contain it."""
    spase_id: str | None
    """SPASE id of the registration; None before there is one, which the file then does not state."""
    mode: ForecastMode
    """How the forecast was made."""
    issue_time_utc: datetime | None
    """Time of issue; None for the time of the last image."""

    def __post_init__(self) -> None:
        if not self.short_name or not self.short_name.replace("_", "").replace("-", "").isalnum():
            raise InputError(
                Field("short_name"),
                expected="letters, digits, _ and -",
                found=repr(self.short_name),
                fix="choose another name",
            )
        if self.spase_id is not None and not self.spase_id.strip():
            raise InputError(
                Field("spase_id"),
                expected="a registered id",
                found=repr(self.spase_id),
                fix="omit it before there is one",
            )

    def check_issue(self, t_end_tai: datetime, task: Task) -> None:
        """Check that the forecast whose last image is of a time can have been issued at the time of issue.

        It cannot before that image, nor later than now. In the modes other than historical, which state that the
        outcome was open, it cannot after the end of the prediction window; and once that has passed, a forecast in real
        time needs its time of issue.

        Raises
        ------
        InputError
            If it cannot.
        """
        start, end = _window(t_end_tai, task)
        now = datetime.now(UTC).replace(tzinfo=None)
        if self.issue_time_utc is None:
            if now > end and self.mode in (ForecastMode.FORECAST, ForecastMode.NOWCAST):
                raise InputError(
                    Field("issue_time"),
                    expected=f"the time of issue, as mode {self.mode} states that it was in real time, and the "
                    f"prediction window ended at {_format_time(end)}",
                    found="none",
                    fix="state it, or choose another {mode}",
                )
            return
        last = "the end of the prediction window"
        if now < end or self.mode is ForecastMode.HISTORICAL:
            end, last = now, "now"
        if not start <= self.issue_time_utc <= end:
            raise InputError(
                Field("issue_time"),
                expected=f"a time from that of the last image to {last} in mode {self.mode}, "
                f"{_format_time(start)} to {_format_time(end)}",
                found=_format_time(self.issue_time_utc),
                fix="correct it, or choose another {mode}",
            )


def convert_to_utc(t_tai: datetime) -> datetime:
    """Return the UTC of a TAI time, both naive; raises `InputError` before 1972.

    Examples
    --------
    >>> convert_to_utc(datetime(2011, 2, 15, 0, 0, 0)).isoformat()
    '2011-02-14T23:59:26'
    """
    import numpy as np

    from sffshards.flares import tai_to_utc

    time: datetime = tai_to_utc(np.array([t_tai], "datetime64[s]"))[0].item()
    return time


def format_scoreboard_json(forecasts: RegionForecasts, disk: FullDiskForecast, submission: Submission) -> str:
    """Return a submission as JSON, with the full disk and each of its regions.

    Parameters
    ----------
    forecasts, disk
        The full-disk forecast to submit, and the forecasts of its regions.
    submission
        Who submits it, and when it was issued.
    """
    from sffshards.base.json_records import format_json  # msgspec is not loaded for `ForecastMode` alone

    task = forecasts.task
    submission.check_issue(disk.t_end_tai, task)
    spase_id = {} if submission.spase_id is None else {"spase_id": submission.spase_id}
    content = {
        "model": {"short_name": submission.short_name, **spase_id},
        "issue_time": _format_time(_issue_time(disk, submission)),
        "mode": str(submission.mode),
        "full_disk_forecasts": [_describe(disk.t_end_tai, task, disk.spread)],
        "region_forecasts": [
            {"region_ids": [{"type": "HARP", "number": forecasts.shown[number].harp}]}
            | _describe(forecasts.shown[number].t_end_tai, task, forecasts.spread(number))
            for number in disk.regions
        ],
    }
    return format_json({"forecast_submission": content}).decode()


def format_scoreboard_text(forecasts: RegionForecasts, disk: FullDiskForecast, submission: Submission) -> str:
    """Return a submission as text; parameters as for `format_scoreboard_json`. Uncertainties are deviations."""
    submission.check_issue(disk.t_end_tai, forecasts.task)
    start, end = _window(disk.t_end_tai, forecasts.task)
    letter = forecasts.task.threshold.short
    lines = [
        f"#{scoreboard_text_name(disk, submission)}",
        f"Forecasting method: {submission.short_name}",
        f"Issue Time: {_format_time(_issue_time(disk, submission))}",
        f"Prediction Window Start Time: {_format_time(start)}",
        f"Prediction Window End Time: {_format_time(end)}",
        f"Probability Bins: {forecasts.task.exceedance}",
        f"Input data: SDO/HMI LOS_Magnetogram, {forecasts.harp_numbers} HARP numbers",
        "#Full Disk Forecast",
        f"#{letter}_prob {letter}_uncert",
        _format_spread(disk.spread),
        "#Region Forecast",
        f"#HARP {letter}_prob {letter}_uncert",
        *(f"{forecasts.shown[number].harp} {_format_spread(forecasts.spread(number))}" for number in disk.regions),
    ]
    return "\n".join(lines) + "\n"


def scoreboard_text_name(disk: FullDiskForecast, submission: Submission) -> str:
    """Return the file name that the Scoreboard expects of a text submission."""
    return f"Flare_Forecast_{submission.short_name}_{_issue_time(disk, submission):%Y%m%d_%H%M}.txt"


def _issue_time(disk: FullDiskForecast, submission: Submission) -> datetime:
    return submission.issue_time_utc or convert_to_utc(disk.t_end_tai)


def _describe(t_end_tai: datetime, task: Task, spread: Spread) -> dict[str, Any]:
    start, end = _window(t_end_tai, task)
    window = {"start_time": _format_time(start), "end_time": _format_time(end)}
    probability: dict[str, object] = {"class": task.exceedance, "probability": round(spread.probability, 6)}
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
        raise InputError("time", expected="one before 9999", found=found, fix="use images of SDO/HMI") from None


def _format_spread(spread: Spread) -> str:
    """Return probability and uncertainty to four places, with ``----`` for an unknown one."""
    uncertainty = "----" if spread.deviation is None else f"{spread.deviation:.4f}"
    return f"{spread.probability:.4f} {uncertainty}"


def _format_time(time_utc: datetime) -> str:
    return f"{time_utc:%Y-%m-%dT%H:%M:%S}Z"
