"""Verification: how good forecasts of any origin are, from labels, probabilities and HARP numbers alone.

The names here answer the usual questions. Further ones lie in the modules: every score's formula in `formulas`, the
resampling of HARPs in `by_harp` and `resampling`, thresholds and curves in `curves`, probabilities in `probability`,
maps to calibrated ones in `calibration`, and forecasts to compare with in `references`; `summary`
computes all of a forecast at once.
"""

from sffshards.verification.contingency import ContingencyTable, count_outcomes
from sffshards.verification.curves import average_precision, choose_threshold, roc_auc, trace_thresholds
from sffshards.verification.probability import brier_score, brier_skill_score, trace_reliability
from sffshards.verification.resampling import Resampling, bootstrap_difference, bootstrap_interval
from sffshards.verification.scores import ScoreName, compute_score

__all__ = [
    "ContingencyTable",
    "Resampling",
    "ScoreName",
    "average_precision",
    "bootstrap_difference",
    "bootstrap_interval",
    "brier_score",
    "brier_skill_score",
    "choose_threshold",
    "compute_score",
    "count_outcomes",
    "roc_auc",
    "trace_reliability",
    "trace_thresholds",
]
