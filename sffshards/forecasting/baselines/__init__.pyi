from .baseline_forecasts import compute_baselines, describe_baselines
from .baseline_records import Baseline, BaselineName, Samples
from .baseline_samples import read_samples
from .sharp_keywords import KeywordTable, read_keyword_table

__all__ = [
    "Baseline",
    "BaselineName",
    "KeywordTable",
    "Samples",
    "compute_baselines",
    "describe_baselines",
    "read_keyword_table",
    "read_samples",
]
