"""Predicting: forecasts of sequences whose outcome is not known, of regions and of the full disk, and their files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sffshards.predicting.forecasts import RegionForecasts, forecast_regions
    from sffshards.predicting.full_disk import FullDiskForecast, combine_regions
    from sffshards.predicting.members import Member, find_members, take_checkpoint
    from sffshards.predicting.sources import BuildSource, ImageSource
    from sffshards.predicting.unlabelled import find_image_sequences, read_sequence_list

__all__ = [
    "BuildSource",
    "FullDiskForecast",
    "ImageSource",
    "Member",
    "RegionForecasts",
    "combine_regions",
    "find_image_sequences",
    "find_members",
    "forecast_regions",
    "read_sequence_list",
    "take_checkpoint",
]

_MODULES = {
    "forecasts": ("RegionForecasts", "forecast_regions"),
    "full_disk": ("FullDiskForecast", "combine_regions"),
    "members": ("Member", "find_members", "take_checkpoint"),
    "sources": ("BuildSource", "ImageSource"),
    "unlabelled": ("find_image_sequences", "read_sequence_list"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: the options of `sffshards predict` need no torch."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
