from .by_harp import HarpStatistic, brier_skill_by_harp, score_by_harp
from .calibration import IsotonicCalibration, PlattCalibration, fit_isotonic, fit_platt
from .cluster_bootstrap import MIN_FLARING_HARPS, Interval, Resampling, bootstrap_interval, explain_inestimable
from .contingency_tables import THRESHOLD, ContingencyTable, count_outcomes, part_outcomes
from .forecast_scores import (
    AnyScore,
    Forecast,
    ForecastScores,
    ProbabilityScore,
    compare_forecasts,
    describe_forecast_scores,
    explain_interval,
    explain_score,
    prepare_statistic,
    score_forecast,
    score_thresholds,
)
from .probability_scores import trace_reliability
from .reference_forecasts import forecast_climatology, forecast_ever_flared, forecast_no_skill, forecast_persistence
from .score_names import PUBLISHED_SCORES, ScoreName, compute_score, explain_undefined, format_score
from .threshold_curves import (
    ThresholdRule,
    average_precision,
    choose_threshold,
    choose_thresholds,
    roc_auc,
    trace_thresholds,
)

__all__ = [
    "MIN_FLARING_HARPS",
    "PUBLISHED_SCORES",
    "THRESHOLD",
    "AnyScore",
    "ContingencyTable",
    "Forecast",
    "ForecastScores",
    "HarpStatistic",
    "Interval",
    "IsotonicCalibration",
    "PlattCalibration",
    "ProbabilityScore",
    "Resampling",
    "ScoreName",
    "ThresholdRule",
    "average_precision",
    "bootstrap_interval",
    "brier_skill_by_harp",
    "choose_threshold",
    "choose_thresholds",
    "compare_forecasts",
    "compute_score",
    "count_outcomes",
    "describe_forecast_scores",
    "explain_inestimable",
    "explain_interval",
    "explain_score",
    "explain_undefined",
    "fit_isotonic",
    "fit_platt",
    "forecast_climatology",
    "forecast_ever_flared",
    "forecast_no_skill",
    "forecast_persistence",
    "format_score",
    "part_outcomes",
    "prepare_statistic",
    "roc_auc",
    "score_by_harp",
    "score_forecast",
    "score_thresholds",
    "trace_reliability",
    "trace_thresholds",
]
