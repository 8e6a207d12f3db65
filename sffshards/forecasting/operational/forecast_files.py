"""Forecasts as CSV, a line a region and a line a time of the full disk, and as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from sffshards.forecasting.operational.full_disk import FullDiskForecast
from sffshards.forecasting.operational.region_forecasts import RegionForecasts, Spread
from sffshards.verification import ThresholdRule

__all__ = ["describe_forecasts", "format_csv", "format_json"]

_FORMAT_VERSION = 1
_COLUMNS = (
    "kind",
    "t_end_tai",
    "harp",
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
    """Give forecasts as CSV; what a line has not is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_region_rows(forecasts))
    for disk in disks:
        start = {"kind": "full disk", "t_end_tai": disk.t_end_tai.isoformat(), "num_regions": len(disk.regions)}
        writer.writerow(start | _cells(disk.spread))
    return text.getvalue()


def format_json(forecasts: RegionForecasts, disks: Sequence[FullDiskForecast], *, tolerance_minutes: int) -> str:
    """Give forecasts as JSON text."""
    content = describe_forecasts(forecasts, disks, tolerance_minutes=tolerance_minutes)
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def describe_forecasts(
    forecasts: RegionForecasts, disks: Sequence[FullDiskForecast], *, tolerance_minutes: int
) -> dict[str, Any]:
    """Give forecasts as JSON holds them: members, thresholds of the mean raw probability, regions, full disk."""
    return {
        "format_version": _FORMAT_VERSION,
        "event": "a flare of class M or above starts within the horizon after t_end_tai",
        "task": forecasts.task.name,
        "members": [
            {
                "name": member.name,
                "checkpoint": member.checkpoint.name,
                "checkpoint_sha256": member.checkpoint_sha256,
                "model": str(member.model),
                "probability": "Platt" if member.is_calibrated else "raw",
                "reason": member.reason,
            }
            for member in forecasts.members
        ],
        "thresholds": {str(rule): threshold for rule, threshold in forecasts.thresholds.items()},
        "regions": [_describe_region(forecasts, number) for number in range(len(forecasts.shown))],
        "full_disk_tolerance_minutes": tolerance_minutes,
        "full_disk": [
            {
                "t_end_tai": disk.t_end_tai.isoformat(),
                "harps": [forecasts.shown[number].harp for number in disk.regions],
                **_describe_spread(disk.spread),
            }
            for disk in disks
        ],
    }


def _describe_region(forecasts: RegionForecasts, number: int) -> dict[str, Any]:
    shown = forecasts.shown[number]
    return {
        "harp": shown.harp,
        "t_end_tai": shown.t_end_tai.isoformat(),
        "sequence": shown.sequence,
        "num_distinct": shown.num_distinct,
        "longest_gap_minutes": shown.longest_gap_minutes,
        **_describe_spread(forecasts.spread(number)),
        "raw_probability": float(forecasts.mean_raw[number]),
        "of_members": forecasts.calibrated_MN[:, number].tolist(),
        "flare": {str(rule): called for rule, called in forecasts.calls(number).items()},
    }


def _describe_spread(spread: Spread) -> dict[str, float | None]:
    return {
        "probability": spread.probability,
        "low": spread.low,
        "high": spread.high,
        "deviation": spread.deviation,
    }


def _region_rows(forecasts: RegionForecasts) -> Iterator[dict[str, object]]:
    mean_raw = forecasts.mean_raw
    for number, shown in enumerate(forecasts.shown):
        yield {
            "kind": "region",
            "t_end_tai": shown.t_end_tai.isoformat(),
            "harp": shown.harp,
            "sequence": shown.sequence,
            "num_distinct": shown.num_distinct,
            "longest_gap_minutes": shown.longest_gap_minutes,
            **_cells(forecasts.spread(number)),
            "raw_probability": repr(float(mean_raw[number])),
            **{f"flare at {rule}": int(called) for rule, called in forecasts.calls(number).items()},
        }


def _cells(spread: Spread) -> dict[str, str]:
    return {name: "" if value is None else repr(value) for name, value in _describe_spread(spread).items()}
