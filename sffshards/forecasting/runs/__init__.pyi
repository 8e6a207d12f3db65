from .decision import DECISION_NAME, Decision, ThresholdRule, fit_decision, read_decision
from .fold_forecasts import Probability, Subset, calibrate, mean_thresholds
from .network_prediction import Inference, predict_clips, predict_fold, predict_rows, require_finite
from .predictions_record import check_tables
from .predictions_table import Predictions, predictions_path, read_predictions
from .run_comparison import Comparison, compare_runs, describe_comparisons, write_comparisons
from .run_evaluation import evaluate_run
from .run_folders import choose_device, find_runs
from .run_scores import RunScores, StageScores, Summary, format_summary, score_stage, summarise_scores
from .run_verification import VerifiedForecast, find_continuing
from .score_tables import describe_scores
from .verification_tables import describe_verification

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
