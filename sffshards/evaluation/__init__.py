"""Evaluation: the table of predictions, the scores, and both for every fold of a run."""

from sffshards.evaluation.evaluate import evaluate_run
from sffshards.evaluation.predict import Inference
from sffshards.evaluation.predictions import Predictions, read_predictions, write_predictions
from sffshards.evaluation.records import RunScores, StageScores, Summary, format_summary
from sffshards.evaluation.runs import choose_device, find_runs
from sffshards.evaluation.scores import (
    THRESHOLD,
    ContingencyTable,
    ScoreName,
    compute_score,
    count_outcomes,
    explain_undefined,
    format_score,
)
from sffshards.evaluation.tables import describe_scores

__all__ = [
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
