"""Tables that `sffshards evaluate` prints: the verification of a run, and differences between runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sffshards.domain.sample_sets import Stage

if TYPE_CHECKING:
    from sffshards.forecasting.runs import Comparison, RunScores, VerifiedForecast
    from sffshards.verification import Interval, ProbabilityScore, ScoreName

__all__ = ["format_comparisons", "format_verification"]


def format_verification(scores: RunScores) -> str:
    """Return tables of the test scores: the ensemble with intervals, mean and deviation over folds."""
    from sffshards.cli.terminal_output import format_table
    from sffshards.forecasting.runs import Subset

    verification = scores.verification
    tested = [one for one in verification.forecasts if one.fold is None]
    every = [one for one in tested if one.subset is Subset.ALL]
    parts = [one for one in tested if one.subset is not Subset.ALL and one.probability == "raw" and one.rule != "0.5"]
    num = verification.ensemble.num_folds
    percent = f"{100 * verification.resampling.level:g} %"
    how = f"{percent} intervals by HARP, thresholds and calibration from validation"
    lines = [f"test set, each sequence once; ensemble of {num} fold{'s' if num > 1 else ''}, {how}"]
    header = ["probability", "threshold", "", *(str(name) for name in _shown())]
    lines += _indent(format_table(header, [row for one in every for row in _rows(scores, one)], left=(0, 1)))
    header = ["samples", "threshold", "flares", *(str(name) for name in _shown())]
    lines += _indent(format_table(header, [_subset_row(one) for one in parts], left=(0, 1))) if parts else []
    return "\n".join([*lines, *_format_notes(scores, [*every, *parts])])


def format_comparisons(comparisons: Sequence[Comparison]) -> str:
    """Return a table of differences between runs; a star marks those whose interval excludes 0."""
    from sffshards.cli.terminal_output import format_table

    rows = []
    for one in comparisons:
        low, high = one.difference.low, one.difference.high
        star = "*" if low > 0 or high < 0 else ""
        how = str(one.probability) if one.rule is None else f"{one.probability}, {one.rule}"
        rows.append([f"{one.second} - {one.first}", how, str(one.score), _format(one.difference, sign="+"), star])
    title = "differences of ensembles (second minus first run), test set, each sequence once; * the interval excludes 0"
    header = ["runs", "probability, threshold", "score", "difference", ""]
    return "\n".join([title, *_indent(format_table(header, rows, left=(0, 1, 2, 4)))])


def _shown() -> tuple[ScoreName | ProbabilityScore, ...]:
    from sffshards.verification import ProbabilityScore, ScoreName

    return ScoreName.TSS, ScoreName.HSS, ProbabilityScore.BRIER_SKILL, ProbabilityScore.ROC_AUC


def _rows(scores: RunScores, one: VerifiedForecast) -> list[list[str]]:
    """Return a line for the ensemble and one for the mean over folds."""
    from sffshards.forecasting.runs import format_summary

    means = {
        summary.score: format_summary(summary)
        for summary in scores.verification.summary
        if (summary.stage, summary.subset, summary.probability, summary.rule)
        == (Stage.TEST, one.subset, one.probability, one.rule)
    }
    found = [_format(one.scores.interval(name)) for name in _shown()]
    threshold = f"{one.rule}: {one.scores.threshold:.3f}" if one.rule != "0.5" else "0.5"
    return [
        [str(one.probability), threshold, "ensemble", *found],
        ["", "", "folds", *(means.get(name, "") for name in _shown())],
    ]


def _subset_row(one: VerifiedForecast) -> list[str]:
    table = one.scores.table
    return [
        f"{one.subset} ({table.num_samples:,})",
        f"{one.rule}: {one.scores.threshold:.3f}",
        f"{table.num_positive:,}",
        *(_format(one.scores.interval(name)) for name in _shown()),
    ]


def _format_notes(scores: RunScores, shown: Sequence[VerifiedForecast]) -> list[str]:
    """Return why scores or intervals of the table are missing, each reason once."""
    from sffshards.verification import explain_interval, explain_score

    reasons: dict[tuple[str, str, str], list[str]] = {}
    for one in shown:
        for name in _shown():
            for what, why in (
                ("undefined", explain_score(one.scores, name)),
                ("without an interval", explain_interval(one.scores, name)),
            ):
                if why is not None:
                    names = reasons.setdefault((str(one.subset), what, why), [])
                    names += [str(name)] if str(name) not in names else []
    notes = [f"  {subset}: {', '.join(names)} {what}: {why}" for (subset, what, why), names in reasons.items()]
    left_out: dict[tuple[str, str], list[str]] = {}
    for missing in scores.verification.left_out:
        if missing.stage is Stage.TEST:
            whose = "ensemble" if missing.fold is None else f"fold {missing.fold}"
            kind = str(missing.rule) if missing.probability == "raw" else str(missing.probability)
            kinds = left_out.setdefault((f"{whose}, {missing.subset}", missing.reason), [])
            kinds.append(kind)
    return notes + [f"  {where}: no {', '.join(kinds)}: {why}" for (where, why), kinds in left_out.items()]


def _format(interval: Interval, *, sign: str = "") -> str:
    if math.isnan(interval.estimate):
        return "undefined"
    ends = "[no interval]" if math.isnan(interval.low) else f"[{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"
    return f"{interval.estimate:{sign}.3f} {ends}"


def _indent(text: str) -> list[str]:
    return ["  " + line for line in text.splitlines()]
