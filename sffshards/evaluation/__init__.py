"""Evaluation: the table of predictions, the scores of a run, and the verification of any forecasts."""

from sffshards.evaluation.by_harp import (
    HarpStatistic,
    auc_by_harp,
    average_precision_by_harp,
    brier_by_harp,
    brier_skill_by_harp,
    score_by_harp,
)
from sffshards.evaluation.calibration import (
    IsotonicCalibration,
    PlattCalibration,
    fit_isotonic,
    fit_platt,
    format_calibration,
    parse_calibration,
)
from sffshards.evaluation.contingency import THRESHOLD, ContingencyTable, Counts, count_outcomes
from sffshards.evaluation.curves import (
    BestThreshold,
    ThresholdCurve,
    average_precision,
    choose_threshold,
    roc_auc,
    trace_thresholds,
)
from sffshards.evaluation.evaluate import evaluate_run
from sffshards.evaluation.predict import Inference
from sffshards.evaluation.predictions import Predictions, read_predictions, write_predictions
from sffshards.evaluation.probability import (
    BrierParts,
    ReliabilityCurve,
    brier_score,
    brier_skill_score,
    decompose_brier,
    trace_reliability,
)
from sffshards.evaluation.records import RunScores, StageScores, Summary, format_summary
from sffshards.evaluation.references import forecast_climatology, forecast_ever_flared, forecast_persistence
from sffshards.evaluation.resampling import Interval, IntervalMethod, bootstrap_difference, bootstrap_interval
from sffshards.evaluation.runs import choose_device, find_runs
from sffshards.evaluation.scores import (
    PUBLISHED_SCORES,
    ScoreName,
    compute_score,
    compute_scores,
    explain_undefined,
    format_score,
)
from sffshards.evaluation.tables import describe_scores

__all__ = [
    "PUBLISHED_SCORES",
    "THRESHOLD",
    "BestThreshold",
    "BrierParts",
    "ContingencyTable",
    "Counts",
    "HarpStatistic",
    "Inference",
    "Interval",
    "IntervalMethod",
    "IsotonicCalibration",
    "PlattCalibration",
    "Predictions",
    "ReliabilityCurve",
    "RunScores",
    "ScoreName",
    "StageScores",
    "Summary",
    "ThresholdCurve",
    "auc_by_harp",
    "average_precision",
    "average_precision_by_harp",
    "bootstrap_difference",
    "bootstrap_interval",
    "brier_by_harp",
    "brier_score",
    "brier_skill_by_harp",
    "brier_skill_score",
    "choose_device",
    "choose_threshold",
    "compute_score",
    "compute_scores",
    "count_outcomes",
    "decompose_brier",
    "describe_scores",
    "evaluate_run",
    "explain_undefined",
    "find_runs",
    "fit_isotonic",
    "fit_platt",
    "forecast_climatology",
    "forecast_ever_flared",
    "forecast_persistence",
    "format_calibration",
    "format_score",
    "format_summary",
    "parse_calibration",
    "read_predictions",
    "roc_auc",
    "score_by_harp",
    "trace_reliability",
    "trace_thresholds",
    "write_predictions",
]
