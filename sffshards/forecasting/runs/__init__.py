"""Runs of trained networks: predictions tables, decisions, scores, verification and comparisons."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.forecasting.runs.decision import DECISION_NAME, Decision, ThresholdRule, fit_decision, read_decision
    from sffshards.forecasting.runs.fold_forecasts import Probability, Subset, calibrate, mean_thresholds
    from sffshards.forecasting.runs.network_prediction import (
        Inference,
        predict_clips,
        predict_fold,
        predict_rows,
        require_finite,
    )
    from sffshards.forecasting.runs.predictions_record import check_tables
    from sffshards.forecasting.runs.predictions_table import Predictions, predictions_path, read_predictions
    from sffshards.forecasting.runs.run_comparison import (
        Comparison,
        compare_runs,
        describe_comparisons,
        write_comparisons,
    )
    from sffshards.forecasting.runs.run_evaluation import evaluate_run
    from sffshards.forecasting.runs.run_folders import choose_device, find_runs
    from sffshards.forecasting.runs.run_scores import (
        RunScores,
        StageScores,
        Summary,
        format_summary,
        score_stage,
        summarise_scores,
    )
    from sffshards.forecasting.runs.run_verification import VerifiedForecast, find_continuing
    from sffshards.forecasting.runs.score_tables import describe_scores
    from sffshards.forecasting.runs.verification_tables import describe_verification

__all__ = [
    "DECISION_NAME",
    "Comparison",
    "Decision",
    "Inference",
    "Predictions",
    "Probability",
    "RunScores",
    "StageScores",
    "Subset",
    "Summary",
    "ThresholdRule",
    "VerifiedForecast",
    "calibrate",
    "check_tables",
    "choose_device",
    "compare_runs",
    "describe_comparisons",
    "describe_scores",
    "describe_verification",
    "evaluate_run",
    "find_continuing",
    "find_runs",
    "fit_decision",
    "format_summary",
    "mean_thresholds",
    "predict_clips",
    "predict_fold",
    "predict_rows",
    "predictions_path",
    "read_decision",
    "read_predictions",
    "require_finite",
    "score_stage",
    "summarise_scores",
    "write_comparisons",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "decision": ("DECISION_NAME", "Decision", "ThresholdRule", "fit_decision", "read_decision"),
        "fold_forecasts": ("Probability", "Subset", "calibrate", "mean_thresholds"),
        "network_prediction": ("Inference", "predict_clips", "predict_fold", "predict_rows", "require_finite"),
        "predictions_record": ("check_tables",),
        "predictions_table": ("Predictions", "predictions_path", "read_predictions"),
        "run_comparison": ("Comparison", "compare_runs", "describe_comparisons", "write_comparisons"),
        "run_evaluation": ("evaluate_run",),
        "run_folders": ("choose_device", "find_runs"),
        "run_scores": ("RunScores", "StageScores", "Summary", "format_summary", "score_stage", "summarise_scores"),
        "run_verification": ("VerifiedForecast", "find_continuing"),
        "score_tables": ("describe_scores",),
        "verification_tables": ("describe_verification",),
    },
)
