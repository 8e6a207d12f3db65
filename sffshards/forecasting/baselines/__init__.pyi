from .baseline_forecasts import compute_baselines, describe_baselines
from .baseline_samples import Samples, read_samples
from .baseline_scores import Baseline, BaselineName
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
