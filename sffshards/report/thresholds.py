"""The probabilities at which a fold's forecast counts as a flare, chosen on its validation set."""

from __future__ import annotations

from enum import StrEnum

from sffshards.errors import InputError
from sffshards.records import Stage
from sffshards.report.runs import FoldResult, plain_rows
from sffshards.verification import ScoreName, choose_threshold
from sffshards.verification.contingency import THRESHOLD

__all__ = ["RULE_SCORES", "ThresholdRule", "fold_thresholds"]


class ThresholdRule(StrEnum):
    """How a threshold is chosen."""

    HALF = "0.5"
    """As published."""
    MAX_TSS = "max TSS"
    """Where TSS is highest on validation."""
    MAX_HSS = "max HSS"
    """Where HSS is highest on validation."""


RULE_SCORES = {ThresholdRule.MAX_TSS: ScoreName.TSS, ThresholdRule.MAX_HSS: ScoreName.HSS}
"""What the rules that look at validation make highest."""


def fold_thresholds(fold: FoldResult) -> dict[ThresholdRule, float]:
    """Give the thresholds of a fold that was evaluated; one that cannot be chosen, as for want of flares, is left out.

    Each sequence of the validation set counts once, in whatever views the variant shows it.
    """
    plain = plain_rows(fold.tables[Stage.VAL])
    thresholds = {ThresholdRule.HALF: THRESHOLD}
    for rule, score in RULE_SCORES.items():
        try:
            thresholds[rule] = choose_threshold(plain.label, plain.probability, score=score).threshold
        except InputError:
            continue
    return thresholds
