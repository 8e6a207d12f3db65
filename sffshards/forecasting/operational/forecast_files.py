"""Forecasts as CSV, one line per region and per time of the full disk, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sffshards.base import csv_tables, json_records
from sffshards.base.json_records import to_plain
from sffshards.forecasting.operational.region_forecasts import FullDiskForecast, RegionForecasts
from sffshards.verification import ThresholdRule

_FORMAT_VERSION = 2
_COLUMNS = (
    "kind",
    "task",
    "goes_threshold",
    "horizon_hours",
    "t_end_tai",
    "harp",
    "harp_numbers",
    "sequence",
    "num_distinct",
    "longest_gap_minutes",
    "num_regions",
    "probability",
    "low",
    "high",
    "deviation",
    "raw_probability",
    *(f"flare at {rule}" for rule in ThresholdRule),
)


def format_csv(forecasts: RegionForecasts, disks: Sequence[FullDiskForecast]) -> str:
    """Return forecasts as CSV; cells that do not apply are empty."""
    rows = ([row.get(column) for column in _COLUMNS] for row in _list_rows(forecasts, disks))
    return csv_tables.format_csv(_COLUMNS, rows)


def format_json(forecasts: RegionForecasts, disks: Sequence[FullDiskForecast], *, tolerance_minutes: int) -> str:
    """Return forecasts as JSON text; parameters as for `describe_forecasts`."""
    content = describe_forecasts(forecasts, disks, tolerance_minutes=tolerance_minutes)
    return json_records.format_json(content).decode()


def describe_forecasts(
    forecasts: RegionForecasts, disks: Sequence[FullDiskForecast], *, tolerance_minutes: int
) -> dict[str, Any]:
    """Return forecasts as plain values for JSON: members, thresholds of the mean raw probability, regions, full disk.

    Parameters
    ----------
    forecasts
        Forecasts of regions.
    disks
        Forecasts of the full disk, from `combine_regions`.
    tolerance_minutes
        The tolerance that the full disk was combined with.
    """
    return {
        "format_version": _FORMAT_VERSION,
        "event": f"{forecasts.task.event} of t_end_tai",
        **_describe_task(forecasts),
        "members": [
            {
                "name": member.name,
                "checkpoint": member.checkpoint.name,
                "checkpoint_sha256": member.checkpoint_sha256,
                "model": member.model_name,
                "probability": "Platt" if member.is_calibrated else "raw",
                "reason": member.reason,
            }
            for member in forecasts.members
        ],
        "harp_numbers": str(forecasts.harp_numbers),
        "thresholds": {str(rule): threshold for rule, threshold in forecasts.thresholds.items()},
        "regions": [
            _describe_region(forecasts, number)
            | {
                "of_members": forecasts.calibrated_MN[:, number].tolist(),
                "flare": {str(rule): called for rule, called in forecasts.calls(number).items()},
            }
            for number in range(len(forecasts.shown))
        ],
        "full_disk_tolerance_minutes": tolerance_minutes,
        "full_disk": [
            {
                "t_end_tai": disk.t_end_tai.isoformat(),
                "harps": [forecasts.shown[number].harp for number in disk.regions],
                **to_plain(disk.spread),
            }
            for disk in disks
        ],
    }


def _describe_task(forecasts: RegionForecasts) -> dict[str, Any]:
    task = forecasts.task
    return {"task": task.name, "goes_threshold": str(task.threshold), "horizon_hours": task.horizon_hours}


def _describe_region(forecasts: RegionForecasts, number: int) -> dict[str, Any]:
    spread, raw = forecasts.spread(number), float(forecasts.mean_raw[number])
    return {**to_plain(forecasts.shown[number]), **to_plain(spread), "raw_probability": raw}


def _list_rows(forecasts: RegionForecasts, disks: Sequence[FullDiskForecast]) -> Iterator[dict[str, object]]:
    task = _describe_task(forecasts)
    for number in range(len(forecasts.shown)):
        calls = {f"flare at {rule}": int(called) for rule, called in forecasts.calls(number).items()}
        numbers = {"harp_numbers": str(forecasts.harp_numbers)}
        yield {"kind": "region"} | task | numbers | _describe_region(forecasts, number) | calls
    for disk in disks:
        where = {"t_end_tai": disk.t_end_tai.isoformat(), "num_regions": len(disk.regions)}
        yield {"kind": "full disk"} | task | where | to_plain(disk.spread)
