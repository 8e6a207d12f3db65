"""The probabilities at which a fold's forecast counts as a flare, chosen on its validation set."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from sffshards.errors import InputError
from sffshards.evaluation import Predictions
from sffshards.report.runs import plain_rows
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


def fold_thresholds(folder: Path, validation: Predictions) -> dict[ThresholdRule, float]:  # noqa: ARG001  see below
    """Give a fold's thresholds; one that cannot be chosen, as for want of flares, is left out.

    Parameters
    ----------
    folder
        Of the fold.
    validation
        Its table; each sequence counts once.
    """
    plain = plain_rows(validation)
    thresholds = {ThresholdRule.HALF: THRESHOLD}
    for rule, score in RULE_SCORES.items():
        try:
            thresholds[rule] = choose_threshold(plain.label, plain.probability, score=score).threshold
        except InputError:
            continue
    return thresholds
