"""Evaluation: the table of predictions of a run's folds, and its scores."""

from typing import TYPE_CHECKING

from sffshards.lazy import import_on_demand

if TYPE_CHECKING:
    from sffshards.evaluation.evaluate import evaluate_run
    from sffshards.evaluation.predict import Inference
    from sffshards.evaluation.predictions import Predictions, read_predictions, write_predictions
    from sffshards.evaluation.records import RunScores, StageScores, Summary, format_summary
    from sffshards.evaluation.runs import choose_device, find_runs
    from sffshards.evaluation.tables import describe_scores

__all__ = [
    "Inference",
    "Predictions",
    "RunScores",
    "StageScores",
    "Summary",
    "choose_device",
    "describe_scores",
    "evaluate_run",
    "find_runs",
    "format_summary",
    "read_predictions",
    "write_predictions",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "evaluate": ("evaluate_run",),
        "predict": ("Inference",),
        "predictions": (
            "Predictions",
            "read_predictions",
            "write_predictions",
        ),
        "records": (
            "RunScores",
            "StageScores",
            "Summary",
            "format_summary",
        ),
        "runs": (
            "choose_device",
            "find_runs",
        ),
        "tables": ("describe_scores",),
    },
)
