from .clip_sources import BuildSource, ImageSource, Shown, TableSource, require_task
from .combined_forecasts import CombinedMember, combine_forecasts, find_combined_members
from .common_sequences import share_sequences
from .ensemble_members import Member, find_members, take_checkpoint
from .forecast_files import format_csv, format_json
from .member_predictions import describe_numbers, load_network
from .region_forecasts import (
    FullDiskForecast,
    RegionForecasts,
    combine_regions,
    explain_scale,
    forecast_from_keywords,
    forecast_regions,
)
from .scoreboard import ForecastMode, Submission, format_scoreboard_json, format_scoreboard_text, scoreboard_text_name
from .tabular_members import TabularMember, find_tabular_members
from .unlabelled_sequences import (
    find_image_folder,
    find_image_sequences,
    find_named_sequences,
    find_table_sequences,
    read_sequence_list,
)

__all__ = [
    "BuildSource",
    "CombinedMember",
    "ForecastMode",
    "FullDiskForecast",
    "ImageSource",
    "Member",
    "RegionForecasts",
    "Shown",
    "Submission",
    "TableSource",
    "TabularMember",
    "combine_forecasts",
    "combine_regions",
    "describe_numbers",
    "explain_scale",
    "find_combined_members",
    "find_image_folder",
    "find_image_sequences",
    "find_members",
    "find_named_sequences",
    "find_table_sequences",
    "find_tabular_members",
    "forecast_from_keywords",
    "forecast_regions",
    "format_csv",
    "format_json",
    "format_scoreboard_json",
    "format_scoreboard_text",
    "load_network",
    "read_sequence_list",
    "require_task",
    "scoreboard_text_name",
    "share_sequences",
    "take_checkpoint",
]
