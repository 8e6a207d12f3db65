"""The tables of results as they stand in the page, each with a list of what is undefined, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sffshards.domain.sample_sets import Stage
from sffshards.domain.task import Task
from sffshards.forecasting.runs import PUBLISHED_RESULTS, FoldScores, IssuedForecast, Summary, format_summary
from sffshards.report.markup import Cell, Markup, element, join, table
from sffshards.report.report_content import HorizonContent
from sffshards.report.result_scores import ChosenScore, NamedScores
from sffshards.verification import (
    PUBLISHED_SCORES,
    ContingencyTable,
    Interval,
    ProbabilityScore,
    ScoreName,
    ThresholdRule,
    compute_score,
    explain_undefined,
    format_score,
)

__all__ = ["chosen_cell", "fold_table", "forecast_table", "format_range", "list_notes", "stage_table"]

_FURTHER = (ProbabilityScore.ROC_AUC, ProbabilityScore.AVERAGE_PRECISION)
_OF_PROBABILITIES = (ProbabilityScore.BRIER_SKILL, *_FURTHER)


def fold_table(content: HorizonContent) -> Markup:
    """Give the eight published scores over the folds of the variants' own test sets, and the published folds."""
    rows = [_summary_row(folds, Stage.TEST) for folds in content.folds]
    rows += _published_rows(content.task)
    caption = join(
        element("b", "The eight published scores"),
        " on each variant's own test set at a probability of 0.5: mean over folds ± sample standard deviation. Below "
        "them, in regular type, the single folds that the authors of the method published. oTV_Test scores six "
        "views of each flare, so its scores do not compare with the others'.",
    )
    whole = table(caption, ["forecast", "folds", *PUBLISHED_SCORES], rows, label=f"{content.task}, published scores")
    notes = [note for folds in content.folds for note in _undefined_folds(folds, Stage.TEST)]
    return join(whole, list_notes(notes))


def stage_table(content: HorizonContent, stage: Stage) -> Markup:
    """Give the eight published scores of the training or validation sets."""
    caption = f"The same of the {stage.name.lower()} sets, with the views that the variant shows there."
    rows = [_summary_row(folds, stage) for folds in content.folds]
    label = f"{content.task}, published scores, {stage}"
    notes = [note for folds in content.folds for note in _undefined_folds(folds, stage)]
    return join(table(caption, ["forecast", "folds", *PUBLISHED_SCORES], rows, label=label), list_notes(notes))


def forecast_table(content: HorizonContent) -> Markup:
    """Give the scores, with intervals, of the mean of folds and of the references."""
    named = [*content.forecasts, *content.references]
    header = [
        "forecast",
        "TSS at 0.5",
        "HSS at 0.5",
        "TSS, chosen threshold",
        "HSS, chosen threshold",
        ProbabilityScore.BRIER_SKILL,
        "BSS, calibrated",
        *_FURTHER,
    ]
    rows = [_forecast_row(one, other=one in content.references) for one in named]
    first = content.forecasts[0].scores
    caption = join(
        element("b", "Forecasts side by side"),
        f" on the same {first.table.num_samples:,} test sequences, each once and as it is, of {first.num_harps} active "
        f"regions, {first.num_flaring_harps} of them with flares. In brackets: 95 % interval, by drawing whole "
        "regions again. The chosen threshold is the mean of those that made the score highest on each fold's "
        "validation set; calibration is Platt's, fitted on the same. In regular type: forecasts that need no network; "
        "one whose interval overlaps is not clearly worse.",
    )
    whole = table(caption, header, rows, label=f"{content.task}, forecasts with intervals")
    return join(whole, list_notes([*_undecided_folds(content.ensembles), *_undefined_forecasts(named)]))


def format_range(interval: Interval) -> Markup:
    """Give a score and its interval, or say that one of them is not defined."""
    if math.isnan(interval.estimate):
        return element("span", "undefined", class_="undefined")
    estimate, low, high = (format_score(_unsigned(value)) for value in (interval.estimate, interval.low, interval.high))
    said = "no interval" if math.isnan(interval.low) else f"[{low}, {high}]"
    return join(estimate, element("span", said, class_="range"))


def _unsigned(value: float) -> float:
    """Give zero for what would be shown as minus zero."""
    return value if abs(value) >= 0.0005 else 0.0


def _summary_row(folds: FoldScores, stage: Stage) -> list[Cell]:
    summary = [s for s in folds.summary if s.stage is stage]
    of_stage = [str(s.fold) for s in folds.stages if s.stage is stage]
    return [Cell(text=folds.name), Cell(text=", ".join(of_stage)), *(_summary_cell(s) for s in summary)]


def _summary_cell(summary: Summary) -> Cell:
    undefined = math.isnan(summary.mean)
    return Cell(text=format_summary(summary), kind="undefined" if undefined else "")


def _published_rows(task: Task) -> list[list[Cell]]:
    return [
        [
            Cell(text=f"published, {fold.variant}", kind="other"),
            Cell(text=str(fold.fold)),
            *(Cell(text=format_score(compute_score(name, fold.table))) for name in PUBLISHED_SCORES),
        ]
        for fold in PUBLISHED_RESULTS
        if fold.task == task
    ]


def _forecast_row(named: NamedScores, *, other: bool) -> list[Cell]:
    chosen = [chosen_cell(named.chosen.get(rule)) for rule in (ThresholdRule.MAX_TSS, ThresholdRule.MAX_HSS)]
    return [
        Cell(text=named.name, kind="other wide-name" if other else "wide-name"),
        *(Cell(text=format_range(named.scores.interval(name))) for name in (ScoreName.TSS, ScoreName.HSS)),
        *chosen,
        Cell(text=format_range(named.scores.interval(ProbabilityScore.BRIER_SKILL))),
        Cell(text="\u2013" if named.calibrated_skill is None else format_range(named.calibrated_skill)),
        *(Cell(text=format_range(named.scores.interval(name))) for name in _FURTHER),
    ]


def chosen_cell(chosen: ChosenScore | None) -> Cell:
    """Give a score at a chosen threshold, and the threshold; a dash where none was chosen."""
    if chosen is None:
        return Cell(text="\u2013")
    return Cell(text=join(format_range(chosen.interval), element("span", f"at {chosen.threshold:.3f}", class_="small")))


def _undefined_folds(folds: FoldScores, stage: Stage) -> list[str]:
    """Say of each fold which scores are undefined; alike folds in one line."""
    found: dict[tuple[str, str], list[str]] = {}
    for of_fold in (s for s in folds.stages if s.stage is stage):
        for reason, names in _reasons(of_fold.table, PUBLISHED_SCORES).items():
            found.setdefault((reason, ", ".join(names)), []).append(str(of_fold.fold))
    return [
        f"{folds.name}, fold{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}: {names} undefined, as {reason}"
        for (reason, names), numbers in found.items()
    ]


def _reasons(counts: ContingencyTable, names: Iterable[ScoreName]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name in names:
        reason = explain_undefined(name, counts)
        if reason is not None:
            reasons.setdefault(reason, []).append(str(name))
    return reasons


def _undecided_folds(ensembles: Sequence[IssuedForecast]) -> list[str]:
    """Say of which folds validation could choose nothing, and why; alike folds in one line."""
    found: dict[tuple[str, str], list[str]] = {}
    for of in ensembles:
        for fold, reason in of.undecided_folds.items():
            found.setdefault((of.name, reason), []).append(str(fold))
    return [
        f"{name}, fold{'s' if len(folds) > 1 else ''} {', '.join(folds)}: a threshold of 0.5 and no calibration, as "
        f"{reason}"
        for (name, reason), folds in found.items()
    ]


def _undefined_forecasts(named: Sequence[NamedScores]) -> list[str]:
    counts = named[0].scores.table
    notes = []
    for one in named:
        reasons = _reasons(one.scores.table, (ScoreName.TSS, ScoreName.HSS))
        notes += [f"{one.name}: {', '.join(names)} undefined, as {why}" for why, names in reasons.items()]
        undefined = [name for name in _OF_PROBABILITIES if math.isnan(one.scores.interval(name).estimate)]
        if undefined:
            came = _say_outcomes(counts)
            notes.append(f"{one.name}: {', '.join(undefined)} undefined, as {came}")
    if any(_lacks_interval(one) for one in named):
        notes.append("No interval: it takes the flares of about three regions at the least to draw them again.")
    if any(not one.chosen for one in named):
        notes.append("\u2013: nothing was fitted, as the forecast needs no network, or validation lacks an outcome.")
    return notes


def _say_outcomes(counts: ContingencyTable) -> str:
    if not counts.num_positive:
        return "no flare came"
    if counts.num_positive == counts.num_samples:
        return "a flare came every time"
    return "the reference, the climatology of training, is itself perfect"


def _lacks_interval(named: NamedScores) -> bool:
    intervals = [named.scores.interval(name) for name in (ScoreName.TSS, ScoreName.HSS, *_OF_PROBABILITIES)]
    return any(math.isnan(one.low) and not math.isnan(one.estimate) for one in intervals)


def list_notes(notes: Sequence[str]) -> Markup:
    """Give what is to be said below a table; nothing where there is nothing."""
    if not notes:
        return Markup()
    return element("ul", *(element("li", note) for note in notes), class_="notes")
