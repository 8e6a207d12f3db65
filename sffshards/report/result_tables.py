"""The tables of results: forecasts with intervals, differences, first flares, and the published scores over folds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from sffshards import verification
from sffshards.base.errors import format_count
from sffshards.domain.sample_sets import LabelSet, Stage
from sffshards.forecasting import label_sets, runs
from sffshards.report.result_scores import DIFFERENCES, Difference, NamedScores, SubsetScores
from sffshards.report.table_formats import NONE, Cell, Row, Table, build_table

if TYPE_CHECKING:
    from sffshards.report.report_content import LabelContent, TaskContent  # it imports torch, which scores do not need

_ScoreT = TypeVar("_ScoreT", bound=verification.AnyScore)
_AREAS = tuple(
    runs.ComparedScore(probability=runs.Probability.RAW, rule=None, score=score)
    for score in (verification.ProbabilityScore.ROC_AUC, verification.ProbabilityScore.AVERAGE_PRECISION)
)
_COLUMNS = (*DIFFERENCES, *_AREAS)
"""Scores of a forecast."""
_WIDE = "wide-name"
"""Kind of the cells of names that may be long."""
_SUBSET_COLUMNS = (*(one for one in DIFFERENCES if one.probability is runs.Probability.RAW), _AREAS[0])
"""Scores of a subset of a forecast's samples."""


class ScoredRegions(Protocol):
    """Scores of whatever forecast, with the number of regions that flare."""

    @property
    def num_flaring_harps(self) -> int:
        """Number of regions with positive samples."""


def result_tables(content: TaskContent, *, with_published: bool) -> Iterator[Table]:
    """Yield the tables of a task's results that have rows."""
    yield forecast_table(content)
    if content.differences:
        yield _difference_table(content, content.differences, "differences", "Differences between runs")
    if content.baseline_differences:
        yield _difference_table(
            content, content.baseline_differences, "baseline-differences", "Differences from baselines"
        )
    yield _subset_table(content)
    for stage in (Stage.TEST, Stage.TRAIN, Stage.VAL):
        if any(stage in fold.tables for run in content.runs for fold in run.evaluated):
            yield fold_table(content, stage, with_published=with_published and stage is Stage.TEST)


def forecast_table(content: TaskContent) -> Table:
    """Return the scores of the runs, with intervals."""
    named = content.forecasts
    notes = _undecided_notes(content)
    notes += _merge_notes((one.name, note) for one in named for note in _undefined_notes(one, _COLUMNS))
    notes += _inestimable_notes((one.find(column), one.scores) for one in named for column in _COLUMNS)
    if any(not one.chosen for one in named):
        notes.append(f"{NONE}: nothing was fitted, neither a threshold nor a calibration.")
    rows = [
        {"forecast": Cell(text=one.name, kind=f"other {_WIDE}" if run.kind is runs.RunKind.BASELINE else _WIDE)}
        | _score_cells(one, _COLUMNS)
        for one, run in zip(named, content.runs, strict=True)
    ]
    return build_table("forecasts", "Forecasts side by side", rows, notes=notes)


def fold_table(content: TaskContent, stage: Stage, *, with_published: bool) -> Table:
    """Return the eight published scores over the folds, on each run's own sets, with the published folds below."""
    rows: list[Row] = [
        {
            "forecast": folds.run.name,
            "folds": sum(s.stage is stage for s in folds.stages),
            **{name: _summary_cell(summary) for name, summary in folds.means(stage).items()},
        }
        for folds in content.folds
        if any(s.stage is stage for s in folds.stages)
    ]
    rows += [
        {
            "forecast": Cell(text=f"published, {fold.variant}", kind="other"),
            "folds": 1,
            **{name: verification.format_score(score) for name, score in fold.scores.items()},
        }
        for fold in runs.PUBLISHED_RESULTS
        if with_published and fold.task == content.task
    ]
    notes = [note for folds in content.folds for note in _undefined_folds(folds, stage)]
    folds = [(run, fold) for run in content.runs for fold in run.evaluated]
    lacking = dict.fromkeys((run.name, fold.missing[stage]) for run, fold in folds if stage in fold.missing)
    notes += [f"{name}: no forecasts of this set, as {reason}." for name, reason in lacking]
    return build_table(f"{stage}-scores", f"The eight published scores, {stage.name.lower()} set", rows, notes=notes)


def label_tables(labels: LabelContent, *, with_published: bool) -> Iterator[Table]:
    """Yield the table of scores by set of labels, and that of the eight published scores by the labels of the lists."""
    if labels.by_labels:
        yield _label_table(labels.by_labels)
    if labels.published is not None:
        table = fold_table(labels.published, Stage.TEST, with_published=with_published)
        yield replace(table, name="published-labels", title=f"{table.title}, {LabelSet.PUBLISHED} labels")


def score_table(
    title: str,
    scores: Sequence[verification.ForecastScores],
    *,
    of_folds: Sequence[Sequence[verification.ForecastScores]] = (),
    notes: Iterable[str] = (),
) -> Table:
    """Return all scores of one forecast with their intervals, one row per score.

    Parameters
    ----------
    title
        Title of the table.
    scores
        Scores of the forecast, one per decision threshold; each threshold has a column.
    of_folds
        Scores of each fold at the same thresholds; their means and deviations have columns, too.
    notes
        Notes below those on scores that are undefined or have no interval.
    """
    rows: list[Row] = []
    for name in verification.ALL_SCORES:
        row: dict[str, Cell | str | int] = {"score": Cell(text=str(name), kind="text")}
        for place, at in enumerate(scores):
            has_threshold = isinstance(name, verification.ScoreName) or not place
            row[f"at {at.threshold:g}"] = interval_cell(at.interval(name), at) if has_threshold else Cell(text=NONE)
            if of_folds:
                mean = runs.average_folds([fold[place].interval(name).estimate for fold in of_folds], runs.FoldMean)
                cell = Cell(text=runs.format_summary(mean)) if has_threshold else Cell(text=NONE)
                row[f"folds at {at.threshold:g}"] = cell
        rows.append(row)
    found = [note for at in scores for note in _missing_notes(at)]
    return build_table("scores", title, rows, notes=[*dict.fromkeys(found), *notes])


def interval_cell(interval: verification.Interval | None, scores: ScoredRegions, *, more: str = "") -> Cell:
    """Return the cell of a score and its interval, which may be undefined, or not estimable from the regions."""
    if interval is None:
        return Cell(text=NONE)
    if math.isnan(interval.estimate):
        return Cell(text="undefined", more=more, kind="undefined")
    inestimable = verification.explain_inestimable(interval, num_flaring_harps=scores.num_flaring_harps)
    detail = "not estimable" if inestimable else f"[{_format(interval.low)}, {_format(interval.high)}]"
    return Cell(text=_format(interval.estimate), detail=detail, more=more)


def _label_table(by_labels: Sequence[Sequence[label_sets.LabelledScores]]) -> Table:
    rows: list[Row] = []
    for of_run in by_labels:
        rows += map(_label_row, of_run)
        if spread := label_sets.find_spread(of_run):
            cells = {column.heading: Cell(text=_format(spread[column])) for column in DIFFERENCES}
            head = Cell(text=f"{of_run[0].run.name}, {label_sets.SPREAD}", kind="other wide-name")
            rows.append({"forecast, labels": head, "positive": NONE, "changed": NONE, **cells})
    every = [one for of_run in by_labels for one in of_run]
    notes = [f"{one.note[0].upper()}{one.note[1:]}." for one in every if one.note]
    notes += _inestimable_notes((interval, one) for one in every for interval in one.scores.values())
    return build_table("label-sets", "The same forecasts by set of labels", rows, notes=dict.fromkeys(notes))


def _label_row(one: label_sets.LabelledScores) -> Row:
    head = Cell(text=f"{one.run.name}, {one.source.title}", kind="wide-name")
    cells = {column.heading: interval_cell(one.scores[column], one) for column in DIFFERENCES}
    return {"forecast, labels": head, "positive": f"{one.num_positive:,}", "changed": f"{one.num_changed:,}", **cells}


def _difference_table(content: TaskContent, differences: Sequence[Difference], name: str, title: str) -> Table:
    scored = dict(zip((run.name for run in content.runs), content.forecasts, strict=True))
    pairs = [(one, scored[one.second]) for one in differences]
    intervals = [(interval, of) for one, of in pairs for interval in one.intervals.values()]
    notes = _inestimable_notes((interval, of.scores) for interval, of in intervals)
    if any(interval is None for interval, _ in intervals):
        notes.append(f"{NONE}: validation yields no such threshold or calibration for one of the two.")
    if any(interval is not None and math.isnan(interval.estimate) for interval, _ in intervals):
        notes.append("Undefined: the score of one of the two is undefined, for the reasons above.")
        reasons = dict.fromkeys(
            interval.reason for interval, _ in intervals if interval and math.isnan(interval.estimate)
        )
        notes += [f"{reason}." for reason in reasons if reason is not None]
    rows = [
        {"runs": Cell(text=f"{one.second} minus {one.first}", kind=_WIDE)}
        | {heading: interval_cell(interval, of.scores) for heading, interval in one.intervals.items()}
        for one, of in pairs
    ]
    return build_table(name, title, rows, notes=notes)


def _subset_table(content: TaskContent) -> Table:
    subsets = dict.fromkeys(one.subset for one in content.subsets)
    ordered = [one for subset in subsets for one in content.subsets if one.subset is subset]
    notes = [f"{content.subset_note}.", *_merge_notes(note for one in ordered for note in _subset_notes(one))]
    title = "First and later flares" if runs.Subset.FIRST in subsets else "Without and with a flare known from labels"
    return build_table("subsets", title, list(map(_subset_row, ordered)), notes=notes)


def _subset_row(of: SubsetScores) -> Row:
    head = {"forecast": Cell(text=f"{of.name}, {of.subset}", kind=_WIDE)}
    if of.scored is None:
        none = {column.heading: NONE for column in _SUBSET_COLUMNS}
        return {**head, "sequences": 0, "with a flare": NONE, **none}
    scores = of.scored.scores
    flares = Cell(text=f"{scores.table.num_positive:,}", detail=format_count(scores.num_flaring_harps, "region"))
    cells = _score_cells(of.scored, _SUBSET_COLUMNS)
    return {**head, "sequences": scores.table.num_samples, "with a flare": flares, **cells}


def _score_cells(named: NamedScores, columns: Iterable[runs.ComparedScore]) -> dict[str, Cell]:
    """Return the cell of each score by its heading, with the threshold where it was chosen."""
    cells = {}
    for column in columns:
        chosen = named.chosen.get(column.rule) if column.rule else None
        more = f"at {chosen[0]:.3f}" if chosen else ""
        cells[column.heading] = interval_cell(named.find(column), named.scores, more=more)
    return cells


def _summary_cell(summary: runs.Summary) -> Cell:
    return Cell(text=runs.format_summary(summary), kind="undefined" if math.isnan(summary.mean) else "")


def _format(value: float) -> str:
    """Return a score to three decimals, without a sign where it rounds to zero."""
    return verification.format_score(value if abs(value) >= 0.0005 else 0.0)


def _inestimable_notes(intervals: Iterable[tuple[verification.Interval | None, ScoredRegions]]) -> list[str]:
    """Return one note per reason for which intervals are not estimable."""
    reasons = [
        verification.explain_inestimable(interval, num_flaring_harps=of.num_flaring_harps)
        for interval, of in intervals
        if interval is not None and not math.isnan(interval.estimate)
    ]
    return [f"Interval not estimable: {reason}." for reason in dict.fromkeys(reasons) if reason is not None]


def _undefined_notes(of: NamedScores, columns: Iterable[runs.ComparedScore]) -> list[str]:
    """Return one note per reason for which scores of a forecast are undefined."""
    reasons = {column.score: verification.explain_score(of.scores, column.score) for column in columns}
    return [f"{', '.join(names)} undefined, as {reason}." for reason, names in _group(reasons).items()]


def _merge_notes(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Return notes on forecasts, of which the names are given first, each once."""
    names: dict[str, list[str]] = {}
    for name, note in notes:
        names.setdefault(note, []).append(name)
    return [f"{', '.join(of)}: {note}" for note, of in names.items()]


def _missing_notes(scores: verification.ForecastScores) -> Iterator[str]:
    """Yield one note per reason for which scores are undefined, or have no interval."""
    at = f"at {scores.threshold:g}"
    undefined = {name: verification.explain_score(scores, name) for name in verification.ALL_SCORES}
    for reason, names in _group(undefined).items():
        yield f"{', '.join(names)} undefined {at}, as {reason}."
    intervals = {name: interval for name, interval in scores.scores.items() if not math.isnan(interval.estimate)}
    inestimable = {
        name: verification.explain_inestimable(interval, num_flaring_harps=scores.num_flaring_harps)
        for name, interval in intervals.items()
    }
    for reason, names in _group(inestimable).items():
        which = "all scores" if len(names) == len(intervals) else ", ".join(names)
        yield f"Interval not estimable {at} for {which}: {reason}."


def _subset_notes(of: SubsetScores) -> Iterator[tuple[str, str]]:
    """Yield the notes on a subset, each after the name of the forecast."""
    if of.scored is None:
        notes = ["no test sequence is of this kind."]
    else:
        inestimable = _inestimable_notes((of.scored.find(column), of.scored.scores) for column in _SUBSET_COLUMNS)
        notes = [
            *_undefined_notes(of.scored, _SUBSET_COLUMNS),
            *(f"{note[0].lower()}{note[1:]}" for note in inestimable),
        ]
    for note in notes:
        yield of.name, f"{of.subset}: {note}"


def _undefined_folds(folds: runs.FoldScores, stage: Stage) -> Iterator[str]:
    """Yield which scores are undefined in how many folds, and why."""
    found: dict[str, int] = {}
    for of_fold in (s for s in folds.stages if s.stage is stage):
        for reason, names in _group(of_fold.undefined).items():
            said = f"{', '.join(names)} undefined, as {reason}"
            found[said] = found.get(said, 0) + 1
    yield from (f"{folds.run.name}, {format_count(number, 'fold')}: {said}." for said, number in found.items())


def _undecided_notes(content: TaskContent) -> list[str]:
    """Return for how many folds of each run validation yields no threshold, and why."""
    notes = []
    for of in content.ensembles:
        reasons = list(of.undecided_folds.values())
        for reason in dict.fromkeys(reasons):
            folds = format_count(reasons.count(reason), "fold")
            notes.append(f"{of.name}, {folds}: threshold 0.5 and no calibration, as {reason}.")
    return notes


def _group(reasons: Mapping[_ScoreT, str | None]) -> dict[str, list[str]]:
    """Return the scores of each reason; those without a reason are left out."""
    grouped: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason is not None:
            grouped.setdefault(reason, []).append(str(name))
    return grouped
