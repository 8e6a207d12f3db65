"""Baselines: forecasts that need no network, scored on the test set."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.forecasting.baselines.baseline_forecasts import compute_baselines, describe_baselines
    from sffshards.forecasting.baselines.baseline_records import Baseline, BaselineName, Samples, ThresholdRule
    from sffshards.forecasting.baselines.baseline_samples import read_samples
    from sffshards.forecasting.baselines.sharp_keywords import KeywordTable, read_keyword_table

__all__ = [
    "Baseline",
    "BaselineName",
    "KeywordTable",
    "Samples",
    "ThresholdRule",
    "compute_baselines",
    "describe_baselines",
    "read_keyword_table",
    "read_samples",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "baseline_forecasts": ("compute_baselines", "describe_baselines"),
        "baseline_records": ("Baseline", "BaselineName", "Samples", "ThresholdRule"),
        "baseline_samples": ("read_samples",),
        "sharp_keywords": ("KeywordTable", "read_keyword_table"),
    },
)
