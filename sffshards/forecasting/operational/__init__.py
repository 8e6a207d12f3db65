"""Forecasts of sequences whose outcome is not known, for regions and the full disk, and their files."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.forecasting.operational.clip_sources import BuildSource, ImageSource, require_horizon
    from sffshards.forecasting.operational.ensemble_members import Member, find_members, take_checkpoint
    from sffshards.forecasting.operational.forecast_files import format_csv, format_json
    from sffshards.forecasting.operational.full_disk import FullDiskForecast, combine_regions
    from sffshards.forecasting.operational.region_forecasts import RegionForecasts, forecast_regions
    from sffshards.forecasting.operational.scoreboard import (
        ForecastMode,
        Submission,
        format_scoreboard_json,
        format_scoreboard_text,
        scoreboard_text_name,
    )
    from sffshards.forecasting.operational.unlabelled_sequences import (
        find_image_folder,
        find_image_sequences,
        read_sequence_list,
    )

__all__ = [
    "BuildSource",
    "ForecastMode",
    "FullDiskForecast",
    "ImageSource",
    "Member",
    "RegionForecasts",
    "Submission",
    "combine_regions",
    "find_image_folder",
    "find_image_sequences",
    "find_members",
    "forecast_regions",
    "format_csv",
    "format_json",
    "format_scoreboard_json",
    "format_scoreboard_text",
    "read_sequence_list",
    "require_horizon",
    "scoreboard_text_name",
    "take_checkpoint",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "clip_sources": ("BuildSource", "ImageSource", "require_horizon"),
        "ensemble_members": ("Member", "find_members", "take_checkpoint"),
        "forecast_files": ("format_csv", "format_json"),
        "full_disk": ("FullDiskForecast", "combine_regions"),
        "region_forecasts": ("RegionForecasts", "forecast_regions"),
        "scoreboard": (
            "ForecastMode",
            "Submission",
            "format_scoreboard_json",
            "format_scoreboard_text",
            "scoreboard_text_name",
        ),
        "unlabelled_sequences": ("find_image_folder", "find_image_sequences", "read_sequence_list"),
    },
)
