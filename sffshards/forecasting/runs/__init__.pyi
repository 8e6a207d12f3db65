from .decision import DECISION_NAME, Decision, fit_decision, read_decision
from .fold_ensemble import (
    IssuedForecast,
    Probability,
    average_run,
    calibrate,
    combine_folds,
    issue_forecast,
    mean_thresholds,
)
from .network_prediction import Inference, choose_device, predict_clips, predict_fold, predict_rows, require_finite
from .predictions_table import Predictions, predictions_path, read_predictions
from .published_results import PUBLISHED_DOI, PUBLISHED_RESULTS, PublishedResult
from .run_comparison import (
    COMPARED_SCORES,
    ComparedScore,
    Comparison,
    compare_issued,
    compare_runs,
    describe_comparisons,
    write_comparisons,
)
from .run_evaluation import evaluate_run
from .run_folders import Run, RunFold, find_runs, gather_runs, read_run
from .run_scores import (
    FOLD_COLUMNS,
    FoldMean,
    FoldScores,
    RunScores,
    StageScores,
    Summary,
    describe_scores,
    format_summary,
    score_folds,
)
from .run_verification import Subset, VerifiedForecast, find_subsets
from .set_counts import SetCounts, SharedHarps, count_sets, find_shared_harps
from .verification_tables import describe_verification

__all__ = [
    "COMPARED_SCORES",
    "DECISION_NAME",
    "FOLD_COLUMNS",
    "PUBLISHED_DOI",
    "PUBLISHED_RESULTS",
    "ComparedScore",
    "Comparison",
    "Decision",
    "FoldMean",
    "FoldScores",
    "Inference",
    "IssuedForecast",
    "Predictions",
    "Probability",
    "PublishedResult",
    "Run",
    "RunFold",
    "RunScores",
    "SetCounts",
    "SharedHarps",
    "StageScores",
    "Subset",
    "Summary",
    "VerifiedForecast",
    "average_run",
    "calibrate",
    "choose_device",
    "combine_folds",
    "compare_issued",
    "compare_runs",
    "count_sets",
    "describe_comparisons",
    "describe_scores",
    "describe_verification",
    "evaluate_run",
    "find_runs",
    "find_shared_harps",
    "find_subsets",
    "fit_decision",
    "format_summary",
    "gather_runs",
    "issue_forecast",
    "mean_thresholds",
    "predict_clips",
    "predict_fold",
    "predict_rows",
    "predictions_path",
    "read_decision",
    "read_predictions",
    "read_run",
    "require_finite",
    "score_folds",
    "write_comparisons",
]
