from .by_harp import Forecast, HarpStatistic, prepare_statistic
from .calibration import IsotonicCalibration, PlattCalibration, fit_isotonic, fit_platt
from .cluster_bootstrap import MIN_FLARING_HARPS, Interval, Resampling, bootstrap_interval, explain_inestimable
from .contingency_tables import THRESHOLD, ContingencyTable, count_outcomes, part_outcomes
from .forecast_scores import (
    ForecastScores,
    compare_forecasts,
    describe_forecast_scores,
    explain_interval,
    explain_score,
    score_forecast,
    score_thresholds,
)
from .probability_scores import trace_reliability
from .reference_forecasts import forecast_ever_flared, forecast_no_skill, forecast_persistence
from .score_names import (
    ALL_SCORES,
    PUBLISHED_SCORES,
    AnyScore,
    ProbabilityScore,
    ScoreName,
    compute_published_scores,
    compute_score,
    explain_undefined,
    format_score,
)
from .threshold_curves import (
    ThresholdRule,
    average_precision,
    choose_threshold,
    choose_thresholds,
    roc_auc,
    trace_thresholds,
)

__all__ = [
    "ALL_SCORES",
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
    "choose_threshold",
    "choose_thresholds",
    "compare_forecasts",
    "compute_published_scores",
    "compute_score",
    "count_outcomes",
    "describe_forecast_scores",
    "explain_inestimable",
    "explain_interval",
    "explain_score",
    "explain_undefined",
    "fit_isotonic",
    "fit_platt",
    "forecast_ever_flared",
    "forecast_no_skill",
    "forecast_persistence",
    "format_score",
    "part_outcomes",
    "prepare_statistic",
    "roc_auc",
    "score_forecast",
    "score_thresholds",
    "trace_reliability",
    "trace_thresholds",
]
