"""What a fold's validation set says of its probabilities: at which a flare is called, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sffshards.errors import InputError
from sffshards.records import Stage
from sffshards.report.runs import FoldResult, plain_rows
from sffshards.verification import ScoreName, choose_threshold
from sffshards.verification.calibration import PlattCalibration, fit_platt
from sffshards.verification.contingency import THRESHOLD

__all__ = ["RULE_SCORES", "FoldDecision", "ThresholdRule", "decide_fold"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldDecision:
    """The thresholds and the calibration of a fold."""

    thresholds: dict[ThresholdRule, float]
    """Those that could be chosen."""
    platt: PlattCalibration | None
    """None where validation lacks flares, or times without."""


def decide_fold(fold: FoldResult) -> FoldDecision:
    """Choose thresholds and fit the calibration of a fold that was evaluated.

    Each sequence of the validation set counts once, in whatever views the variant shows it.
    """
    plain = plain_rows(fold.tables[Stage.VAL])
    thresholds = {ThresholdRule.HALF: THRESHOLD}
    try:
        for rule, score in RULE_SCORES.items():
            thresholds[rule] = choose_threshold(plain.label, plain.probability, score=score).threshold
        platt = fit_platt(plain.label, plain.probability)
    except InputError:  # samples of one outcome only, or none: the report says of which set
        return FoldDecision(thresholds={ThresholdRule.HALF: THRESHOLD}, platt=None)
    return FoldDecision(thresholds=thresholds, platt=platt)
