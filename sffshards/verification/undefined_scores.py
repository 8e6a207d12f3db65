"""Why a score of a forecast, or its interval, is not defined: for tables, which must not leave a gap unexplained."""

from __future__ import annotations

import math

from sffshards.verification.forecast_scores import ForecastScores, ProbabilityScore
from sffshards.verification.score_names import ScoreName, explain_undefined

__all__ = ["explain_interval", "explain_score"]


def explain_score(scores: ForecastScores, name: ScoreName | ProbabilityScore) -> str | None:
    """Say why a score is undefined, or give None where it is defined.

    Examples
    --------
    >>> import numpy as np
    >>> from sffshards.verification.cluster_bootstrap import Resampling
    >>> from sffshards.verification.forecast_scores import Forecast, score_forecast
    >>> quiet = Forecast(
    ...     label=np.zeros(2, int), probability=np.ones(2), harp=np.array([1, 2]), threshold=0.5, climatology=0.1
    ... )
    >>> explain_score(score_forecast(quiet, Resampling(num_resamples=10)), ProbabilityScore.ROC_AUC)
    'no flare came'
    """
    if not math.isnan(scores.interval(name).estimate):
        return None
    if isinstance(name, ScoreName):
        return explain_undefined(name, scores.table)
    if name is ProbabilityScore.BRIER_SKILL:
        return f"the climatology of {scores.climatology:g} was right every time"
    return "a flare came every time" if scores.table.num_positive else "no flare came"


def explain_interval(scores: ForecastScores, name: ScoreName | ProbabilityScore) -> str | None:
    """Say why a score that is defined has no interval, or give None where it has one, or is itself undefined."""
    interval = scores.interval(name)
    if math.isnan(interval.estimate) or not math.isnan(interval.low):
        return None
    if interval.num_undefined == interval.num_resamples:
        return "undefined in every resample"
    num_quiet = scores.table.num_samples - scores.table.num_positive
    if not (scores.table.num_positive and num_quiet):
        return "a flare came every time" if scores.table.num_positive else "no flare came"
    return f"too few regions tell of flares ({scores.num_flaring_harps} of {scores.num_harps} flare)"
