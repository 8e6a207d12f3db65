"""Baselines: forecasts that need neither images nor a network, scored on Test, to stand beside every one that does.

`compute_baselines` gives them all, from label lists alone or with a flare list and a table of SHARP keywords.
"""

from sffshards.baselines.compute import compute_baselines, describe_baselines
from sffshards.baselines.keywords import KEYWORDS, KeywordTable, read_keyword_table
from sffshards.baselines.records import Baseline, BaselineName, Samples, ThresholdRule
from sffshards.baselines.samples import read_samples

__all__ = [
    "KEYWORDS",
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
