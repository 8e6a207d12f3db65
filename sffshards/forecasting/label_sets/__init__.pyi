from .label_sources import LabelChoice, LabelSource
from .labelled_scores import (
    SPREAD,
    LabelledScores,
    describe_labelled,
    find_spread,
    format_labelled,
    measure_spread,
    score_by_labels,
    write_labelled,
)

__all__ = [
    "SPREAD",
    "LabelChoice",
    "LabelSource",
    "LabelledScores",
    "describe_labelled",
    "find_spread",
    "format_labelled",
    "measure_spread",
    "score_by_labels",
    "write_labelled",
]
