"""What a fold's validation set says of its probabilities: at which a flare is called, and what they are worth."""

from __future__ import annotations

from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs import Decision, ThresholdRule, fit_decision, read_decision
from sffshards.report.gathered_runs import FoldResult
from sffshards.verification import ScoreName

__all__ = ["RULE_SCORES", "ThresholdRule", "decide_fold"]

RULE_SCORES = {ThresholdRule.MAX_TSS: ScoreName.TSS, ThresholdRule.MAX_HSS: ScoreName.HSS}
"""What the rules that look at validation make highest."""


def decide_fold(fold: FoldResult) -> Decision:
    """Give the decision that was kept beside a fold's checkpoint, or fit it now if none was.

    Raises
    ------
    DamageError
        If what was kept is no decision.
    """
    kept = read_decision(fold.folder)
    return kept if kept is not None else fit_decision(fold.tables[Stage.VAL], checkpoint_sha256="")
