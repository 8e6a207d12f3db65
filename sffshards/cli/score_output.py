"""Tables of scores: of a run's folds, of its verification, of differences between runs, and of an experiment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from sffshards import experiments, verification
from sffshards.base.errors import format_count
from sffshards.cli.terminal_output import format_table
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting import runs

__all__ = ["format_evaluation", "format_results", "format_side_by_side"]

_Note = tuple[str, str, str, str, str]
"""Whose forecast, of which samples, a phrase with {} for names, a name, and the reason."""


def format_evaluation(scored: Sequence[runs.RunScores], comparisons: runs.RunComparisons) -> str:
    """Return the scores of runs, all runs side by side, and their differences.

    The scores of baselines are shown side by side with the others only, if there are others.
    """
    others = [of for of in scored if of.run.kind is not runs.RunKind.BASELINE]
    blocks = [f"{format_scores(of)}\n{format_verification(of)}" for of in others or scored]
    tasks = dict.fromkeys(of.run.task for of in scored)
    alike = [[of for of in scored if of.run.task == task] for task in tasks]
    blocks += [format_side_by_side(of_task) for of_task in alike if len(of_task) > 1]
    if comparisons.from_baselines:
        blocks.append(format_differences(comparisons.from_baselines))
    if comparisons.between:
        blocks.append(format_comparisons(comparisons.between))
    return "\n\n".join(blocks)


def format_side_by_side(scored: Sequence[runs.RunScores]) -> str:
    """Return a table of the runs of a task: one line per run, the scores of its ensemble with intervals."""
    rows = []
    for of in scored:
        ensemble = [one for one in of.verification.forecasts if (one.fold, one.subset) == (None, runs.Subset.ALL)]
        found = {(one.probability, one.rule): one.scores for one in ensemble}
        raw, platt = (
            found[runs.Probability.RAW, verification.ThresholdRule.HALF],
            found.get((runs.Probability.PLATT, verification.ThresholdRule.HALF)),
        )
        cells = [_format(raw.interval(name)) for name in _shown()[:2]]
        for rule in verification.ThresholdRule:
            if rule.score is not None:
                chosen = found.get((runs.Probability.RAW, rule))
                cells.append("-" if chosen is None else _format(chosen.interval(rule.score)))
        skill = verification.ProbabilityScore.BRIER_SKILL
        cells.append("-" if platt is None else _format(platt.interval(skill)))
        cells.append(_format(raw.interval(verification.ProbabilityScore.ROC_AUC)))
        rows.append([str(of.run.folder), *cells])
    title = f"{scored[0].run.task}: runs side by side, test set, ensembles, 95 % intervals by HARP"
    header = ["run", "TSS at 0.5", "HSS at 0.5", "TSS, chosen", "HSS, chosen", "BSS, calibrated", "AUC"]
    return "\n".join([title, format_table(header, rows)])


def format_scores(scores: runs.RunScores) -> str:
    """Return a table of a run's scores: one line per set, mean and deviation over folds, and why some are undefined."""
    names = verification.PUBLISHED_SCORES
    scored = {one.stage for one in scores.stages}
    rows = [[str(of), *map(runs.format_summary, scores.means(of).values())] for of in Stage if of in scored]
    counted = format_count(len(scores.run.folds), "fold")
    title = f"{scores.run.folder}: {counted}, a flare is forecast at a probability of 0.5 or more"
    notes = [
        (f"fold {stage.fold}", str(stage.stage), "{} undefined", str(name), why)
        for stage in scores.stages
        for name, why in stage.undefined.items()
    ]
    notes += [
        (f"fold {fold.number}", str(stage), "no {}", "forecasts", why)
        for fold in scores.run.folds
        for stage, why in fold.missing.items()
    ]
    return "\n".join([title, format_table(["set", *names], rows), *_format_notes(notes)])


def format_verification(scores: runs.RunScores) -> str:
    """Return tables of the test scores: the ensemble with intervals, mean and deviation over folds."""
    tested = [one for one in scores.verification.forecasts if one.fold is None]
    every = [one for one in tested if one.subset is runs.Subset.ALL]
    others = [one for one in tested if one.subset is not runs.Subset.ALL]
    parts = [one for one in others if one.probability == "raw" and one.rule != "0.5"]
    folds = format_count(scores.verification.ensemble.num_folds, "fold")
    how = f"{100 * verification.LEVEL:g} % intervals by HARP"
    title = f"test set, each sequence once; ensemble of {folds}, {how}, thresholds and calibration from validation"
    names = [str(name) for name in _shown()]
    rows = [row for one in every for row in _list_rows(scores, one)]
    tables = [format_table(["probability", "threshold", "", *names], rows, left=(0, 1))]
    if parts:
        rows = [_list_subset(one) for one in parts]
        tables.append(format_table(["samples", "threshold", "flares", *names], rows, left=(0, 1)))
    notes = _format_notes(_find_missing(scores, [*every, *parts]))
    return "\n".join([title, *tables, f"  {scores.verification.subset_note}", *notes])


def format_differences(comparisons: Sequence[runs.Comparison]) -> str:
    """Return a table of differences of runs from baselines, one line per pair, in the scores of most interest."""
    columns = [one for one in runs.COMPARED_SCORES if one.rule is not None and one.rule.score is one.score]
    columns += [one for one in runs.COMPARED_SCORES if one.probability is runs.Probability.PLATT]
    pairs: dict[str, dict[runs.ComparedScore, str]] = {}
    for one in comparisons:
        cell = f"{_format(one.difference, sign='+')}{_star(one.difference)}"
        pairs.setdefault(f"{one.second} - {one.first}", {})[one.compared] = cell
    rows = [[pair, *(cells.get(column, "-") for column in columns)] for pair, cells in pairs.items()]
    title = "differences from baselines (run minus baseline), test set, each sequence once; * the interval excludes 0"
    table = format_table(["runs", *(column.heading for column in columns)], rows)
    return "\n".join([title, table, *_list_reasons(comparisons)])


def format_comparisons(comparisons: Sequence[runs.Comparison]) -> str:
    """Return a table of differences between runs; a star marks those whose interval excludes 0."""
    rows = []
    for one in comparisons:
        star, compared = _star(one.difference), one.compared
        how = str(compared.probability) if compared.rule is None else f"{compared.probability}, {compared.rule}"
        rows.append([f"{one.second} - {one.first}", how, str(compared.score), _format(one.difference, sign="+"), star])
    title = "differences of ensembles (second minus first run), test set, each sequence once; * the interval excludes 0"
    header = ["runs", "probability, threshold", "score", "difference", ""]
    return "\n".join([title, format_table(header, rows, left=(0, 1, 2, 4)), *_list_reasons(comparisons)])


def format_results(rows: Sequence[experiments.ResultRow]) -> str:
    """Return the results of an experiment: a line for each run, and below it the published scores of one fold."""
    names = verification.PUBLISHED_SCORES
    lines = []
    for row in rows:
        folds = f"fold{'s' if len(row.folds) > 1 else ''} {', '.join(map(str, row.folds))}"
        cells = map(runs.format_summary, row.summary.values())
        lines.append([str(row.task), row.variant, folds, *cells])
        if row.published:
            values = map(verification.format_score, row.published.scores.values())
            lines.append(["", "", f"published, fold {row.published.fold}", *values])
    return format_table(["horizon", "variant", "test scores of", *names], lines, left=(0, 1, 2), indent=0)


def _shown() -> tuple[verification.AnyScore, ...]:
    score, chance = verification.ScoreName, verification.ProbabilityScore
    return score.TSS, score.HSS, chance.BRIER_SKILL, chance.ROC_AUC


def _list_rows(scores: runs.RunScores, one: runs.VerifiedForecast) -> list[list[str]]:
    """Return a line for the ensemble and one for the mean over folds."""
    means = {
        summary.score: runs.format_summary(summary)
        for summary in scores.verification.summary
        if (summary.stage, summary.subset, summary.probability, summary.rule)
        == (Stage.TEST, one.subset, one.probability, one.rule)
    }
    threshold = f"{one.rule}: {one.scores.threshold:.3f}" if one.rule != "0.5" else "0.5"
    return [
        [str(one.probability), threshold, "ensemble", *(_format(one.scores.interval(name)) for name in _shown())],
        ["", "", "folds", *(means.get(name, "") for name in _shown())],
    ]


def _list_subset(one: runs.VerifiedForecast) -> list[str]:
    table, threshold = one.scores.table, f"{one.rule}: {one.scores.threshold:.3f}"
    intervals = [_format(one.scores.interval(name)) for name in _shown()]
    return [f"{one.subset} ({table.num_samples:,})", threshold, f"{table.num_positive:,}", *intervals]


def _find_missing(scores: runs.RunScores, shown: Sequence[runs.VerifiedForecast]) -> Iterator[_Note]:
    """Yield why scores or intervals of the tables, or whole forecasts, are missing."""
    for one in shown:
        for name in _shown():
            if (why := verification.explain_score(one.scores, name)) is not None:
                yield "ensemble", str(one.subset), "{} undefined", str(name), why
            if (why := one.scores.interval(name).reason) is not None:
                yield "ensemble", str(one.subset), "{} without an interval", str(name), why
    for missing in scores.verification.left_out:
        if missing.stage is Stage.TEST:
            whose = "ensemble" if missing.fold is None else f"fold {missing.fold}"
            kind = missing.rule if missing.probability == "raw" else missing.probability
            yield whose, str(missing.subset), "no {}", str(kind), missing.reason


def _format_notes(notes: Iterable[_Note]) -> list[str]:
    """Return a line for all places that lack the same for the same reason."""
    found: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for whose, where, what, name, why in notes:
        found.setdefault((whose, where, what, why), {})[name] = None
    places: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for (whose, where, what, why), names in found.items():
        lacking = what.format(", ".join(names))
        places.setdefault((lacking, why), {}).setdefault(whose, {})[where] = None
    return [f"  {_format_places(of)}: {lacking}: {why}" for (lacking, why), of in places.items()]


def _format_places(places: dict[str, dict[str, None]]) -> str:
    """Return places such as ``fold 0, fold 1 (all, later flares); ensemble (all)``."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for whose, of in places.items():
        alike.setdefault(tuple(of), []).append(whose)
    return "; ".join(f"{', '.join(whose)} ({', '.join(of)})" for of, whose in alike.items())


def _list_reasons(comparisons: Iterable[runs.Comparison]) -> list[str]:
    reasons = dict.fromkeys(one.difference.reason for one in comparisons)
    return [f"  [no interval]: {reason}" for reason in reasons if reason is not None]


def _star(difference: verification.Interval) -> str:
    return "*" if difference.low > 0 or difference.high < 0 else ""


def _format(interval: verification.Interval, *, sign: str = "") -> str:
    if math.isnan(interval.estimate):
        return "undefined"
    ends = "[no interval]" if math.isnan(interval.low) else f"[{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"
    return f"{interval.estimate:{sign}.3f} {ends}"
