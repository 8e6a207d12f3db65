"""The tables of results: forecasts with intervals, differences, first flares, and the published scores over folds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sffshards.base.errors import format_count
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs import PUBLISHED_RESULTS, FoldScores, Subset, Summary, format_summary
from sffshards.report.report_content import TaskContent
from sffshards.report.result_scores import DIFFERENCES, ChosenScore, NamedScores, SubsetScores
from sffshards.report.table_formats import NONE, Cell, Table
from sffshards.verification import (
    PUBLISHED_SCORES,
    AnyScore,
    Interval,
    ProbabilityScore,
    ScoreName,
    ThresholdRule,
    compute_score,
    explain_inestimable,
    explain_score,
    explain_undefined,
    format_score,
)

__all__ = ["fold_table", "forecast_table", "interval_cell", "result_tables"]

_RULES = (ThresholdRule.MAX_TSS, ThresholdRule.MAX_HSS)
_AREAS = (ProbabilityScore.ROC_AUC, ProbabilityScore.AVERAGE_PRECISION)
_SHOWN = (ScoreName.TSS, ScoreName.HSS, ProbabilityScore.BRIER_SKILL)
_CALLS = ("TSS at 0.5", "HSS at 0.5", "TSS, chosen threshold", "HSS, chosen threshold")


def result_tables(content: TaskContent, *, with_published: bool) -> Iterator[Table]:
    """Yield the tables of a task's results that have rows."""
    yield forecast_table(content)
    if content.differences:
        yield _difference_table(content)
    yield _subset_table(content)
    for stage in (Stage.TEST, Stage.TRAIN, Stage.VAL):
        yield fold_table(content, stage, with_published=with_published and stage is Stage.TEST)


def forecast_table(content: TaskContent) -> Table:
    """Return the scores, with intervals, of the runs and of the reference forecasts."""
    named = [*content.forecasts, *content.references]
    notes = _undecided_notes(content)
    notes += [note for one in named for note in _undefined_notes(one.name, one, (*_SHOWN, *_AREAS))]
    notes += _inestimable_notes((interval, one) for one in named for interval in _all_intervals(one))
    if any(not one.chosen for one in named):
        notes.append(f"{NONE}: nothing was fitted; the forecast needs no network, or validation has only one outcome.")
    return Table(
        name="forecasts",
        title="Forecasts side by side",
        header=("forecast", *_CALLS, ProbabilityScore.BRIER_SKILL, "BSS, calibrated", *_AREAS),
        rows=tuple(_forecast_row(one, other=one in content.references) for one in named),
        notes=tuple(notes),
    )


def fold_table(content: TaskContent, stage: Stage, *, with_published: bool) -> Table:
    """Return the eight published scores over the folds, on each variant's own sets, with the published folds below."""
    rows = [
        (
            Cell(text=folds.name),
            Cell(text=str(sum(s.stage is stage for s in folds.stages))),
            *(_summary_cell(s) for s in folds.summary if s.stage is stage),
        )
        for folds in content.folds
    ]
    published = [fold for fold in PUBLISHED_RESULTS if fold.task == content.task and with_published]
    rows += [
        (
            Cell(text=f"published, {fold.variant}", kind="other"),
            Cell(text="1"),
            *(Cell(text=format_score(compute_score(name, fold.table))) for name in PUBLISHED_SCORES),
        )
        for fold in published
    ]
    return Table(
        name=f"{stage}-scores",
        title=f"The eight published scores, {stage.name.lower()} set",
        header=("forecast", "folds", *PUBLISHED_SCORES),
        rows=tuple(rows),
        notes=tuple(note for folds in content.folds for note in _undefined_folds(folds, stage)),
    )


def interval_cell(interval: Interval | None, *, num_flaring_harps: int, more: str = "") -> Cell:
    """Return the cell of a score and its interval, which may be undefined or not estimable."""
    if interval is None:
        return Cell(text=NONE)
    if math.isnan(interval.estimate):
        return Cell(text="undefined", more=more, kind="undefined")
    inestimable = explain_inestimable(interval, num_flaring_harps=num_flaring_harps)
    detail = "not estimable" if inestimable else f"[{_format(interval.low)}, {_format(interval.high)}]"
    return Cell(text=_format(interval.estimate), detail=detail, more=more)


def _difference_table(content: TaskContent) -> Table:
    scored = dict(zip((run.name for run in content.runs), content.forecasts, strict=True))
    pairs = [(one, scored[one.first]) for one in content.differences]
    intervals = [(interval, of) for one, of in pairs for interval in one.intervals.values()]
    notes = _inestimable_notes(intervals)
    if any(interval is None for interval, _ in intervals):
        notes.append(f"{NONE}: validation yields no such threshold or calibration for one of the two runs.")
    if any(interval is not None and math.isnan(interval.estimate) for interval, _ in intervals):
        notes.append("Undefined: the score of one of the two runs is undefined, for the reasons above.")
    return Table(
        name="differences",
        title="Differences between runs",
        header=("runs", *DIFFERENCES),
        rows=tuple(
            (
                Cell(text=f"{one.second} minus {one.first}", kind="wide-name"),
                *(interval_cell(i, num_flaring_harps=of.scores.num_flaring_harps) for i in one.intervals.values()),
            )
            for one, of in pairs
        ),
        notes=tuple(notes),
    )


def _subset_table(content: TaskContent) -> Table:
    header = ("forecast", "sequences", "with a flare", *_CALLS, "BSS", "AUC")
    ordered = [one for subset in (Subset.FIRST, Subset.CONTINUING) for one in content.subsets if one.subset is subset]
    return Table(
        name="subsets",
        title="First flares and continuing activity",
        header=header,
        rows=tuple(_subset_row(one, width=len(header)) for one in ordered),
        notes=tuple(note for one in ordered for note in _subset_notes(one)),
    )


def _forecast_row(named: NamedScores, *, other: bool) -> tuple[Cell, ...]:
    return (
        Cell(text=named.name, kind="other wide-name" if other else "wide-name"),
        *_call_cells(named),
        _score_cell(named, ProbabilityScore.BRIER_SKILL),
        interval_cell(named.calibrated_skill, num_flaring_harps=named.scores.num_flaring_harps),
        *(_score_cell(named, name) for name in _AREAS),
    )


def _subset_row(of: SubsetScores, *, width: int) -> tuple[Cell, ...]:
    head = Cell(text=f"{of.name}, {of.subset}", kind="wide-name")
    if of.scored is None:
        return head, Cell(text="0"), *[Cell(text=NONE)] * (width - 2)
    scores = of.scored.scores
    regions = format_count(scores.num_flaring_harps, "region")
    return (
        head,
        Cell(text=f"{scores.table.num_samples:,}"),
        Cell(text=f"{scores.table.num_positive:,}", detail=regions),
        *_call_cells(of.scored),
        *(_score_cell(of.scored, name) for name in (ProbabilityScore.BRIER_SKILL, ProbabilityScore.ROC_AUC)),
    )


def _call_cells(named: NamedScores) -> Iterator[Cell]:
    """Yield TSS and HSS at 0.5, then at the thresholds chosen for them."""
    for name in (ScoreName.TSS, ScoreName.HSS):
        yield _score_cell(named, name)
    for rule in _RULES:
        chosen: ChosenScore | None = named.chosen.get(rule)
        if chosen is None:
            yield Cell(text=NONE)
        else:
            num = named.scores.num_flaring_harps
            yield interval_cell(chosen.interval, num_flaring_harps=num, more=f"at {chosen.threshold:.3f}")


def _score_cell(named: NamedScores, name: AnyScore) -> Cell:
    return interval_cell(named.scores.interval(name), num_flaring_harps=named.scores.num_flaring_harps)


def _summary_cell(summary: Summary) -> Cell:
    return Cell(text=format_summary(summary), kind="undefined" if math.isnan(summary.mean) else "")


def _format(value: float) -> str:
    """Return a score to three decimals, without a sign where it rounds to zero."""
    return format_score(value if abs(value) >= 0.0005 else 0.0)


def _all_intervals(named: NamedScores) -> Iterator[Interval | None]:
    yield from (named.scores.interval(name) for name in (*_SHOWN, *_AREAS))
    yield named.calibrated_skill
    yield from (chosen.interval for chosen in named.chosen.values())


def _inestimable_notes(intervals: Iterable[tuple[Interval | None, NamedScores]]) -> list[str]:
    """Return one note per reason for which intervals are not estimable."""
    reasons = [
        explain_inestimable(interval, num_flaring_harps=of.scores.num_flaring_harps)
        for interval, of in intervals
        if interval is not None and not math.isnan(interval.estimate)
    ]
    return [f"Interval not estimable: {reason}." for reason in dict.fromkeys(reasons) if reason is not None]


def _undefined_notes(name: str, of: NamedScores, scores: Iterable[AnyScore]) -> list[str]:
    """Return one note per reason for which scores of a forecast are undefined."""
    reasons = {score: explain_score(of.scores, score) for score in scores}
    return [f"{name}: {', '.join(names)} undefined, as {reason}." for reason, names in _group(reasons).items()]


def _subset_notes(of: SubsetScores) -> list[str]:
    name = f"{of.name}, {of.subset}"
    if of.scored is None:
        return [f"{name}: no test sequence is of this kind."]
    shown = (*_SHOWN, ProbabilityScore.ROC_AUC)
    inestimable = _inestimable_notes((of.scored.scores.interval(score), of.scored) for score in shown)
    return [
        *_undefined_notes(name, of.scored, shown),
        *(f"{name}: {note[0].lower()}{note[1:]}" for note in inestimable),
    ]


def _undefined_folds(folds: FoldScores, stage: Stage) -> Iterator[str]:
    """Yield which scores are undefined in how many folds, and why."""
    found: dict[str, int] = {}
    for of_fold in (s for s in folds.stages if s.stage is stage):
        reasons = {name: explain_undefined(name, of_fold.table) for name in PUBLISHED_SCORES}
        for reason, names in _group(reasons).items():
            said = f"{', '.join(names)} undefined, as {reason}"
            found[said] = found.get(said, 0) + 1
    yield from (f"{folds.name}, {format_count(number, 'fold')}: {said}." for said, number in found.items())


def _undecided_notes(content: TaskContent) -> list[str]:
    """Return for how many folds of each run validation yields no threshold, and why."""
    notes = []
    for of in content.ensembles:
        reasons: Sequence[str] = list(of.undecided_folds.values())
        for reason in dict.fromkeys(reasons):
            folds = format_count(reasons.count(reason), "fold")
            notes.append(f"{of.name}, {folds}: threshold 0.5 and no calibration, as {reason}.")
    return notes


def _group(
    reasons: Mapping[AnyScore, str | None] | Mapping[ScoreName, str | None],
) -> dict[str, list[str]]:
    """Return the scores of each reason; those without a reason are left out."""
    grouped: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason is not None:
            grouped.setdefault(reason, []).append(str(name))
    return grouped
