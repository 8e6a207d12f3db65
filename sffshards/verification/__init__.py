"""Verification: scores of forecasts of any origin, their intervals, calibration and comparisons, from arrays alone."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.verification.by_harp import HarpStatistic, brier_skill_by_harp, score_by_harp
    from sffshards.verification.calibration import (
        IsotonicCalibration,
        PlattCalibration,
        fit_isotonic,
        fit_platt,
        format_calibration,
        parse_calibration,
    )
    from sffshards.verification.cluster_bootstrap import Interval, Resampling, bootstrap_interval
    from sffshards.verification.contingency import THRESHOLD, ContingencyTable, count_outcomes, part_outcomes
    from sffshards.verification.forecast_scores import (
        Forecast,
        ForecastScores,
        ProbabilityScore,
        compare_forecasts,
        describe_forecast_scores,
        describe_interval,
        prepare_statistic,
        score_forecast,
        score_thresholds,
    )
    from sffshards.verification.probability_scores import trace_reliability
    from sffshards.verification.reference_forecasts import (
        forecast_climatology,
        forecast_ever_flared,
        forecast_persistence,
    )
    from sffshards.verification.score_names import (
        PUBLISHED_SCORES,
        ScoreName,
        compute_score,
        explain_undefined,
        format_score,
    )
    from sffshards.verification.threshold_curves import average_precision, choose_threshold, roc_auc, trace_thresholds
    from sffshards.verification.undefined_scores import explain_interval, explain_score

__all__ = [
    "PUBLISHED_SCORES",
    "THRESHOLD",
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
    "average_precision",
    "bootstrap_interval",
    "brier_skill_by_harp",
    "choose_threshold",
    "compare_forecasts",
    "compute_score",
    "count_outcomes",
    "describe_forecast_scores",
    "describe_interval",
    "explain_interval",
    "explain_score",
    "explain_undefined",
    "fit_isotonic",
    "fit_platt",
    "forecast_climatology",
    "forecast_ever_flared",
    "forecast_persistence",
    "format_calibration",
    "format_score",
    "parse_calibration",
    "part_outcomes",
    "prepare_statistic",
    "roc_auc",
    "score_by_harp",
    "score_forecast",
    "score_thresholds",
    "trace_reliability",
    "trace_thresholds",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "by_harp": ("HarpStatistic", "brier_skill_by_harp", "score_by_harp"),
        "calibration": (
            "IsotonicCalibration",
            "PlattCalibration",
            "fit_isotonic",
            "fit_platt",
            "format_calibration",
            "parse_calibration",
        ),
        "cluster_bootstrap": ("Interval", "Resampling", "bootstrap_interval"),
        "contingency": ("ContingencyTable", "THRESHOLD", "count_outcomes", "part_outcomes"),
        "forecast_scores": (
            "Forecast",
            "ForecastScores",
            "ProbabilityScore",
            "compare_forecasts",
            "describe_forecast_scores",
            "describe_interval",
            "prepare_statistic",
            "score_forecast",
            "score_thresholds",
        ),
        "probability_scores": ("trace_reliability",),
        "reference_forecasts": ("forecast_climatology", "forecast_ever_flared", "forecast_persistence"),
        "score_names": ("PUBLISHED_SCORES", "ScoreName", "compute_score", "explain_undefined", "format_score"),
        "threshold_curves": ("average_precision", "choose_threshold", "roc_auc", "trace_thresholds"),
        "undefined_scores": ("explain_interval", "explain_score"),
    },
)
