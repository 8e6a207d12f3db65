"""The numbers of a report as CSV tables and JSON, for programs and spreadsheets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from typing import Any

from sffshards import __version__
from sffshards.base.csv_tables import format_csv
from sffshards.base.json_records import describe_record, format_json, seal
from sffshards.forecasting.label_sets import describe_labelled
from sffshards.forecasting.runs import FOLD_COLUMNS, Run, SetCounts, SharedHarps
from sffshards.report.report_content import LabelContent, TaskContent
from sffshards.report.result_scores import Difference, NamedScores
from sffshards.report.score_figures import NUM_BINS
from sffshards.verification import ScoreName, describe_forecast_scores, trace_reliability, trace_thresholds

FORMAT_VERSION = 2
_SCORE_COLUMNS = ("forecast", "score", "threshold", "estimate", "low", "high")


def format_tables(content: TaskContent) -> dict[str, str]:
    """Return the numbers of a task as CSV tables, by file name."""
    return {
        f"{content.task}-forecasts.csv": _forecasts(content),
        f"{content.task}-subsets.csv": _subsets(content),
        f"{content.task}-differences.csv": _differences(content.differences),
        f"{content.task}-baseline-differences.csv": _differences(content.baseline_differences),
        f"{content.task}-folds.csv": _folds(content),
        f"{content.task}-reliability.csv": _reliability(content),
        f"{content.task}-thresholds.csv": _thresholds(content),
        f"{content.task}-sets.csv": _sets(content),
        f"{content.task}-shared-harps.csv": _format_records(
            _names(SharedHarps), [asdict(one) for one in content.shared]
        ),
    }


def format_report(
    runs: Sequence[Run], contents: Sequence[tuple[TaskContent, LabelContent]], *, files: Collection[str]
) -> bytes:
    """Return the numbers of the report and the names of its files as JSON; what is undefined is null."""
    content = {
        "format_version": FORMAT_VERSION,
        "program_version": __version__,
        "files": list(files),
        "runs": [_describe_run(run) for run in runs],
        "tasks": {content.task.name: _describe_content(content) | _describe_labels(of) for content, of in contents},
    }
    return format_json(seal(content))


def _describe_run(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": str(run.folder),
        "task": run.task.name,
        "kind": run.kind,
        "description": run.first.description,
        "protocol": run.first.protocol,
        "manifest_sha256": run.first.manifest_sha256,
        "missing_folds": list(run.missing_folds),
        "sha256": {str(fold.number): fold.fingerprints for fold in run.folds},
    }


def _describe_labels(labels: LabelContent) -> dict[str, Any]:
    return {
        "labels": labels.choice.main.title,
        "label_sets": [describe_labelled(of_run) for of_run in labels.by_labels],
    }


def _describe_content(content: TaskContent) -> dict[str, Any]:
    return {
        "forecasts": [_describe_named(named) for named in content.forecasts],
        "subsets": [
            {"run": one.name, "subset": one.subset, "scored": one.scored and _describe_named(one.scored)}
            for one in content.subsets
        ],
        "subset_note": content.subset_note,
        "differences": [
            {"first": one.first, "second": one.second, **describe_record(one.intervals)} for one in content.differences
        ],
        "baseline_differences": [
            {"first": one.first, "second": one.second, **describe_record(one.intervals)}
            for one in content.baseline_differences
        ],
        "folds": [{"name": folds.run.name, "summary": describe_record(folds.summary)} for folds in content.folds],
        "shown": content.runs[content.shown].name,
        "flares": content.flares
        and {
            str(harp): [{"start_utc": str(one.start), "class": str(one.goes_class)} for one in flares]
            for harp, flares in content.flares.items()
        },
        "examples": [asdict(one) | {"t_end_tai": str(one.t_end_tai)} for one in content.examples],
        "sets": {run.name: describe_record(sets) for run, sets in zip(content.runs, content.sets, strict=True)},
        "shared_harps": describe_record(content.shared),
    }


def _describe_named(named: NamedScores) -> dict[str, Any]:
    return {
        "name": named.name,
        **describe_forecast_scores(named.scores),
        "chosen": {
            str(rule): {"threshold": threshold, **describe_record(interval)}
            for rule, (threshold, interval) in named.chosen.items()
        },
        "calibrated_brier_skill": describe_record(named.calibrated_skill),
    }


def _forecasts(content: TaskContent) -> str:
    rows = [row for named in content.forecasts for row in _score_rows(named)]
    return format_csv(_SCORE_COLUMNS, rows)


def _subsets(content: TaskContent) -> str:
    scored = [one.scored for one in content.subsets if one.scored is not None]
    return format_csv(_SCORE_COLUMNS, [row for named in scored for row in _score_rows(named)])


def _differences(differences: Sequence[Difference]) -> str:
    rows = [
        [one.first, one.second, said, of.estimate, of.low, of.high]
        for one in differences
        for said, of in one.intervals.items()
        if of is not None
    ]
    return format_csv(["first", "second", "score", "second_minus_first", "low", "high"], rows)


def _score_rows(named: NamedScores) -> list[list[object]]:
    half = named.scores.threshold
    scores = [(str(name), half, one) for name, one in named.scores.scores.items()]
    if named.calibrated_skill is not None:
        scores.append(("BSS, calibrated", half, named.calibrated_skill))
    scores += [(str(rule), *chosen) for rule, chosen in named.chosen.items()]
    return [[named.name, name, threshold, one.estimate, one.low, one.high] for name, threshold, one in scores]


def _folds(content: TaskContent) -> str:
    return format_csv(
        ["run", *FOLD_COLUMNS], [[folds.run.name, *row] for folds in content.folds for row in folds.rows()]
    )


def _reliability(content: TaskContent) -> str:
    rows = []
    for one in content.ensembles:
        curve = trace_reliability(one.samples.label, one.samples.probability, num_bins=NUM_BINS)
        columns = curve.edges[:-1], curve.edges[1:], curve.num_samples, curve.mean_probability, curve.flare_frequency
        rows += [[one.name, *line] for line in zip(*(column.tolist() for column in columns), strict=True)]
    return format_csv(["run", "from", "to", "forecasts", "mean_probability", "flare_frequency"], rows)


def _thresholds(content: TaskContent) -> str:
    names = (ScoreName.POD, ScoreName.POFD, ScoreName.PRE, ScoreName.TSS, ScoreName.HSS)
    rows = []
    for one in content.ensembles:
        curve = trace_thresholds(one.samples.label, one.samples.probability)
        counts = (curve.counts.tp, curve.counts.fp, curve.counts.fn, curve.counts.tn)
        numbers = [column.astype(int).tolist() for column in counts]
        scores = [curve.score(name).tolist() for name in names]
        lines = zip(curve.threshold.tolist(), *numbers, *scores, strict=True)
        rows += [[one.name, *line] for line in lines]
    return format_csv(["run", "threshold", "tp", "fp", "fn", "tn", *names], rows)


def _sets(content: TaskContent) -> str:
    counts = [
        {"run": run.name} | asdict(of_set)
        for run, sets in zip(content.runs, content.sets, strict=True)
        for of_set in sets
    ]
    return _format_records(["run", *_names(SetCounts)], counts)


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind)]


def _format_records(header: Sequence[str], records: Sequence[dict[str, Any]]) -> str:
    """Return records as CSV; several values in a cell have spaces between them."""
    rows = [
        [" ".join(map(str, value)) if isinstance(value, tuple) else value for value in record.values()]
        for record in records
    ]
    return format_csv(header, rows)
