from .baseline_forecasts import forecast_baselines, forecast_from_labels
from .baseline_samples import Samples, read_samples
from .baseline_scores import Baseline, BaselineForecasts, BaselineName, describe_baselines, score_baselines
from .issued_baselines import IssuedBaseline, issue_baseline, issue_references
from .sharp_keywords import KeywordTable, read_keyword_table

__all__ = [
    "Baseline",
    "BaselineForecasts",
    "BaselineName",
    "IssuedBaseline",
    "KeywordTable",
    "Samples",
    "describe_baselines",
    "forecast_baselines",
    "forecast_from_labels",
    "issue_baseline",
    "issue_references",
    "read_keyword_table",
    "read_samples",
    "score_baselines",
]
