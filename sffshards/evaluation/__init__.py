"""Evaluation: the table of predictions, the scores, and both for every fold of a run."""

from sffshards.evaluation.contingency import THRESHOLD, ContingencyTable, count_outcomes
from sffshards.evaluation.evaluate import evaluate_run
from sffshards.evaluation.predict import Inference
from sffshards.evaluation.predictions import Predictions, read_predictions, write_predictions
from sffshards.evaluation.records import RunScores, StageScores, Summary, format_summary
from sffshards.evaluation.runs import choose_device, find_runs
from sffshards.evaluation.scores import (
    PUBLISHED_SCORES,
    ScoreName,
    compute_score,
    explain_undefined,
    format_score,
)
from sffshards.evaluation.tables import describe_scores

__all__ = [
    "PUBLISHED_SCORES",
    "THRESHOLD",
    "ContingencyTable",
    "Inference",
    "Predictions",
    "RunScores",
    "ScoreName",
    "StageScores",
    "Summary",
    "choose_device",
    "compute_score",
    "count_outcomes",
    "describe_scores",
    "evaluate_run",
    "explain_undefined",
    "find_runs",
    "format_score",
    "format_summary",
    "read_predictions",
    "write_predictions",
]
