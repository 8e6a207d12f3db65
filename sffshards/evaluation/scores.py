"""The eight published scores of yes-or-no forecasts, from a contingency table.

A score whose formula divides by zero is undefined: its function gives nan, and `explain_undefined` the reason. It is
never taken for 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "THRESHOLD",
    "ContingencyTable",
    "ScoreName",
    "accuracy",
    "compute_score",
    "count_outcomes",
    "critical_success_index",
    "explain_undefined",
    "f1_score",
    "false_alarm_ratio",
    "format_score",
    "heidke_skill_score",
    "precision",
    "probability_of_detection",
    "true_skill_statistic",
]

THRESHOLD = 0.5
"""A flare is forecast where its probability is this or more.

With two classes this is the larger of the two logits, as published; of equal logits the published ``argmax`` takes no
flare, this takes a flare, as a threshold that is reached does everywhere else.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContingencyTable:
    """How often which forecast met which outcome."""

    tp: int
    """Hits: a flare forecast, and one came."""
    fp: int
    """False alarms: forecast, none came."""
    fn: int
    """Misses: not forecast, one came."""
    tn: int
    """Correct rejections: not forecast, none came."""

    def __post_init__(self) -> None:
        if min(self.tp, self.fp, self.fn, self.tn) < 0:
            raise ValueError(f"counts must not be negative, got {self}")

    @property
    def num_samples(self) -> int:
        """All forecasts."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def num_positive(self) -> int:
        """Flares that came."""
        return self.tp + self.fn


class ScoreName(StrEnum):
    """The published scores, in the order of the published tables."""

    F1 = "F1"
    ACC = "ACC"
    POD = "POD"
    PRE = "PRE"
    FAR = "FAR"
    CSI = "CSI"
    HSS = "HSS"
    TSS = "TSS"


def count_outcomes(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], *, threshold: float = THRESHOLD
) -> ContingencyTable:
    """Count the outcomes of forecasts at a threshold.

    Parameters
    ----------
    labels
        0 or 1, of shape (n,).
    probabilities
        Of a flare, of shape (n,); one that equals the threshold is a forecast of a flare.
    threshold
        From 0 to 1.
    """
    called = probabilities >= threshold
    came = labels == 1
    return ContingencyTable(
        tp=int((called & came).sum()),
        fp=int((called & ~came).sum()),
        fn=int((~called & came).sum()),
        tn=int((~called & ~came).sum()),
    )


def accuracy(table: ContingencyTable) -> float:
    """Say what fraction of the forecasts was right.

    ``(TP + TN) / N``; from 0 to 1, perfect 1. Where flares are rare, "never" scores high (Finley's case: 0.98).

    References
    ----------
    Wilks, Statistical Methods in the Atmospheric Sciences (2011), section 8.2.
    """
    return _divide(table.tp + table.tn, table.num_samples)


def probability_of_detection(table: ContingencyTable) -> float:
    """Say what fraction of the flares was forecast: recall, hit rate.

    ``TP / (TP + FN)``; from 0 to 1, perfect 1; undefined without flares.

    References
    ----------
    Wilks (2011), section 8.2.
    """
    return _divide(table.tp, table.tp + table.fn)


def precision(table: ContingencyTable) -> float:
    """Say what fraction of the forecast flares came: success ratio.

    ``TP / (TP + FP)``; from 0 to 1, perfect 1; undefined where no flare was forecast.

    References
    ----------
    Wilks (2011), section 8.2.
    """
    return _divide(table.tp, table.tp + table.fp)


def false_alarm_ratio(table: ContingencyTable) -> float:
    """Say what fraction of the forecast flares did not come.

    ``FP / (TP + FP)``; from 0 to 1, perfect 0; undefined where no flare was forecast. A ratio to forecasts, not the
    false alarm rate ``FP / (FP + TN)``.

    References
    ----------
    Barnes et al., Weather and Forecasting 24 (2009), 1452, on the two names.
    """
    return _divide(table.fp, table.tp + table.fp)


def critical_success_index(table: ContingencyTable) -> float:
    """Say what fraction of the flares that were forecast or came were both: threat score.

    ``TP / (TP + FP + FN)``; from 0 to 1, perfect 1; undefined where there were none of either.

    References
    ----------
    Gilbert, American Meteorological Journal 1 (1884), 166.
    """
    return _divide(table.tp, table.tp + table.fp + table.fn)


def f1_score(table: ContingencyTable) -> float:
    """Give the harmonic mean of precision and probability of detection.

    ``2 TP / (2 TP + FP + FN)``; from 0 to 1, perfect 1; undefined where no flare was forecast and none came.

    References
    ----------
    van Rijsbergen, Information Retrieval (1979), chapter 7.
    """
    return _divide(2 * table.tp, 2 * table.tp + table.fp + table.fn)


def heidke_skill_score(table: ContingencyTable) -> float:
    """Say how much better than chance the fraction of right forecasts is.

    ``2 (TP TN - FP FN) / ((TP + FN)(FN + TN) + (TP + FP)(FP + TN))``; from -1 to 1, perfect 1, no skill 0; undefined
    where all forecasts and all outcomes are of one class.

    References
    ----------
    Heidke, Geografiska Annaler 8 (1926), 301; the HSS2 of Bobra and Couvidat, ApJ 798 (2015), 135.
    """
    t = table
    return _divide(2 * (t.tp * t.tn - t.fp * t.fn), (t.tp + t.fn) * (t.fn + t.tn) + (t.tp + t.fp) * (t.fp + t.tn))


def true_skill_statistic(table: ContingencyTable) -> float:
    """Say how much more often a flare is forecast before a flare than before none: Peirce's score.

    ``TP / (TP + FN) - FP / (FP + TN)``; from -1 to 1, perfect 1, no skill 0; undefined without flares, or with nothing
    else. It does not depend on how rare flares are.

    References
    ----------
    Peirce, Science 4 (1884), 453; Bloomfield et al., ApJ Letters 747 (2012), L41.
    """
    return _divide(table.tp, table.tp + table.fn) - _divide(table.fp, table.fp + table.tn)


def compute_score(name: ScoreName, table: ContingencyTable) -> float:
    """Compute a score; nan where it is undefined.

    Examples
    --------
    >>> finley = ContingencyTable(tp=28, fp=72, fn=23, tn=2680)
    >>> round(compute_score(ScoreName.HSS, finley), 3)
    0.355
    """
    return _FUNCTIONS[name](table)


def explain_undefined(name: ScoreName, table: ContingencyTable) -> str | None:
    """Say why a score is undefined, or give None where it is defined."""
    if not math.isnan(compute_score(name, table)):
        return None
    if not table.num_samples:
        return "there are no samples"
    if name in (ScoreName.PRE, ScoreName.FAR):
        return "no flare was forecast"
    if name in (ScoreName.POD, ScoreName.TSS):
        return "a flare came every time" if table.num_positive else "no flare came"
    return "a flare was forecast, and came, every time" if table.tp else "no flare was forecast and none came"


def format_score(value: float) -> str:
    """Give a score with three decimals, or the word undefined.

    Examples
    --------
    >>> format_score(0.7349), format_score(float("nan"))
    ('0.735', 'undefined')
    """
    return "undefined" if math.isnan(value) else f"{value:.3f}"


_FUNCTIONS: dict[ScoreName, Callable[[ContingencyTable], float]] = {
    ScoreName.F1: f1_score,
    ScoreName.ACC: accuracy,
    ScoreName.POD: probability_of_detection,
    ScoreName.PRE: precision,
    ScoreName.FAR: false_alarm_ratio,
    ScoreName.CSI: critical_success_index,
    ScoreName.HSS: heidke_skill_score,
    ScoreName.TSS: true_skill_statistic,
}


def _divide(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
