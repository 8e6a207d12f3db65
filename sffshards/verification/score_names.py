"""The scores by name, those of yes-or-no forecasts from a contingency table, and why one is undefined."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.verification import score_formulas as formulas
from sffshards.verification.contingency_tables import ContingencyTable, Counts


class ScoreName(StrEnum):
    """Scores at a threshold: first the eight of the published tables, in their order; `formulas` has each."""

    F1 = "F1"
    ACC = "ACC"
    POD = "POD"
    PRE = "PRE"
    FAR = "FAR"
    CSI = "CSI"
    HSS = "HSS"
    TSS = "TSS"
    POFD = "POFD"
    """False alarm rate, by times without a flare; FAR is by forecasts."""
    BIAS = "BIAS"
    ETS = "ETS"
    """Equitable threat score, or Gilbert's skill score."""
    APSS = "ApSS"
    """Appleman's skill score."""
    MCC = "MCC"


PUBLISHED_SCORES = tuple(ScoreName)[:8]
"""The scores of Grim and Gradvohl 2024, in the order of their tables."""


class ProbabilityScore(StrEnum):
    """Scores of probabilities, which do not depend on a threshold."""

    BRIER = "BS"
    BRIER_SKILL = "BSS"
    ROC_AUC = "AUC"
    AVERAGE_PRECISION = "AP"


AnyScore = ScoreName | ProbabilityScore
"""A score of yes and no forecasts, or of probabilities."""

ALL_SCORES: tuple[AnyScore, ...] = (*ScoreName, *ProbabilityScore)
"""Every score: first those at a threshold, then those of the probabilities."""


def compute_score(name: ScoreName, table: ContingencyTable) -> float:
    """Compute a score; nan where it is undefined.

    Examples
    --------
    >>> finley = ContingencyTable(tp=28, fp=72, fn=23, tn=2680)
    >>> round(compute_score(ScoreName.HSS, finley), 3)
    0.355
    """
    tp, fp, fn, tn = np.array([table.tp, table.fp, table.fn, table.tn], np.float64)[:, None]
    return float(compute_scores(name, Counts(tp=tp, fp=fp, fn=fn, tn=tn))[0])


def compute_published_scores(table: ContingencyTable) -> dict[ScoreName, float]:
    """Compute the scores of the published tables; nan where one is undefined."""
    return {name: compute_score(name, table) for name in PUBLISHED_SCORES}


def compute_scores(name: ScoreName, counts: Counts) -> NDArray[np.float64]:
    """Compute a score of every table; nan where it is undefined."""
    return _FORMULAS[name](counts)


def explain_undefined(name: ScoreName, table: ContingencyTable) -> str | None:
    """Return why a score is undefined, or None where it is defined."""
    if not math.isnan(compute_score(name, table)):
        return None
    if not table.num_samples:
        return "there are no samples"
    if name in _NEEDS_BOTH_OUTCOMES and table.num_positive in (0, table.num_samples):
        return "a flare came every time" if table.num_positive else "no flare came"
    if name in (ScoreName.PRE, ScoreName.FAR, ScoreName.MCC):
        return "a flare was forecast every time" if table.tp + table.fp else "no flare was forecast"
    return "a flare was forecast, and came, every time" if table.tp else "no flare was forecast and none came"


def format_score(value: float) -> str:
    """Return a score with three decimals, or the word undefined.

    Examples
    --------
    >>> format_score(0.7349), format_score(float("nan"))
    ('0.735', 'undefined')
    """
    return "undefined" if math.isnan(value) else f"{value:.3f}"


_NEEDS_BOTH_OUTCOMES = tuple(map(ScoreName, ("POD", "TSS", "POFD", "BIAS", "ApSS", "MCC")))
"""Scores that are undefined where there are no flares, or no quiet times."""

_FORMULAS: dict[ScoreName, Callable[[Counts], NDArray[np.float64]]] = {
    ScoreName.F1: formulas.f1_score,
    ScoreName.ACC: formulas.accuracy,
    ScoreName.POD: formulas.probability_of_detection,
    ScoreName.PRE: formulas.precision,
    ScoreName.FAR: formulas.false_alarm_ratio,
    ScoreName.CSI: formulas.critical_success_index,
    ScoreName.HSS: formulas.heidke_skill_score,
    ScoreName.TSS: formulas.true_skill_statistic,
    ScoreName.POFD: formulas.false_alarm_rate,
    ScoreName.BIAS: formulas.frequency_bias,
    ScoreName.ETS: formulas.equitable_threat_score,
    ScoreName.APSS: formulas.appleman_skill_score,
    ScoreName.MCC: formulas.matthews_correlation,
}
