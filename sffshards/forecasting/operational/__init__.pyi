from .clip_sources import BuildSource, ImageSource, require_task
from .ensemble_members import Member, find_members, take_checkpoint
from .forecast_files import format_csv, format_json
from .region_forecasts import FullDiskForecast, RegionForecasts, combine_regions, forecast_regions
from .scoreboard import ForecastMode, Submission, format_scoreboard_json, format_scoreboard_text, scoreboard_text_name
from .unlabelled_sequences import find_image_folder, find_image_sequences, read_sequence_list

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
    "require_task",
    "scoreboard_text_name",
    "take_checkpoint",
]
