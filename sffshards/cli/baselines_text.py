"""Text of `sffshards baselines`: tables of scores, and notes below them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sffshards import verification
from sffshards.base.errors import format_count
from sffshards.cli.terminal_output import format_table
from sffshards.domain.sample_sets import Part
from sffshards.forecasting import baselines as forecasts
from sffshards.forecasting import label_sets

__all__ = ["describe_flare_lists", "format_baselines", "format_flare_lists"]


def _shown_scores() -> tuple[tuple[verification.AnyScore, ...], tuple[verification.AnyScore, ...]]:
    """Return the scores that are shown with intervals, and those that are shown without."""
    score, chance = verification.ScoreName, verification.ProbabilityScore
    return (
        (score.TSS, score.HSS, chance.BRIER_SKILL),
        (score.POD, score.FAR, score.F1, chance.ROC_AUC, chance.AVERAGE_PRECISION),
    )


def format_baselines(
    title: str,
    made: list[forecasts.Baseline],
    skill: list[forecasts.SkillRow],
    missing: dict[str, dict[Part, int]],
    *,
    show_folds: bool,
) -> str:
    """Return the tables of a task: the scores of all forecasters, and those that keep a TSS on validation."""
    wide, narrow = _shown_scores()

    def cells(find: Callable[[verification.AnyScore], verification.Interval]) -> list[str]:
        intervals = [_format_interval(find(name)) for name in wide]
        return intervals + [_format_number(find(name).estimate) for name in narrow]

    rows = []
    for baseline in made:
        rows.append([baseline.title, baseline.source, str(baseline.rule), *cells(baseline.mean.__getitem__)])
        for fold, scores in zip(baseline.folds, baseline.scores, strict=True) if show_folds and baseline.folds else ():
            rows.append([f"  fold {fold}", "", f"{scores.threshold:.3f}", *cells(scores.interval)])
    first = made[0].scores[0]
    title = (
        f"{title}: Test, {first.table.num_samples:,} samples, {first.table.num_positive:,} positive, of "
        f"{first.num_harps:,} HARPs, {first.num_flaring_harps:,} of which flare"
    )
    table = format_table(["forecast", "from", "threshold", *wide, *narrow], rows, left=(0, 1, 2))
    notes = [f"  {note}" for note in _list_notes(made, missing)]
    return "\n".join([title, table, *notes, *(["", *_format_skill(skill)] if skill else [])])


def format_flare_lists(title: str, made: Mapping[str, Sequence[forecasts.Baseline]]) -> str:
    """Return a table of each score by the labels and flares of each list, and of the spread over the lists."""
    wide, _ = _shown_scores()
    rows = []
    for alike, spreads in _pair_lists(made):
        for place, (name, one) in enumerate(alike.items()):
            head = ["", ""] if place else [one.title, str(one.rule)]
            rows.append([*head, name, *(_format_interval(one.mean[score], digits=3) for score in wide)])
        rows.append(["", "", label_sets.SPREAD, *(_format_number(spreads[score], digits=3) for score in wide)])
    table = format_table(["forecast", "threshold", "labels and flares from", *wide], rows, left=(0, 1, 2))
    return "\n".join([f"{title}: by flare list", table, *(f"  {note}" for note in _note_lacking(made))])


def describe_flare_lists(made: Mapping[str, Sequence[forecasts.Baseline]]) -> list[dict[str, Any]]:
    """Return the spreads of the scores of each baseline over flare lists as plain values; undefined ones are None."""
    from sffshards.base.json_records import describe_record

    return [
        {
            "name": str(one.name),
            "probability": str(one.probability),
            "threshold_rule": str(one.rule),
            "spread": describe_record(spreads),
        }
        for alike, spreads in _pair_lists(made)
        for one in [next(iter(alike.values()))]
    ]


def _pair_lists(
    made: Mapping[str, Sequence[forecasts.Baseline]],
) -> Iterator[tuple[dict[str, forecasts.Baseline], dict[verification.AnyScore, float]]]:
    """Yield each baseline that all flare lists have by flare list, with the spread of each of its scores."""
    found = {source: {_identify(one): one for one in of_list} for source, of_list in made.items()}
    first, *others = found.values()
    for key in first:
        if all(key in of_list for of_list in others):
            alike = {source: of_list[key] for source, of_list in found.items()}
            spreads = {
                score: label_sets.measure_spread([one.mean[score].estimate for one in alike.values()])
                for score in verification.ALL_SCORES
            }
            yield alike, spreads


def _identify(one: forecasts.Baseline) -> tuple[str, ...]:
    """Return what tells a baseline from the others of a flare list."""
    return str(one.name), str(one.probability), str(one.rule)


def _note_lacking(made: Mapping[str, Sequence[forecasts.Baseline]]) -> Iterator[str]:
    """Yield a note for each flare list that lacks forecasters of another list, which are left out of the table."""
    titles = {_identify(one): one.title for of_list in made.values() for one in of_list}
    for source, of_list in made.items():
        lacking = dict.fromkeys(titles[key] for key in titles if key not in {_identify(one) for one in of_list})
        if lacking:
            yield f"left out, not forecast by {source}: {', '.join(lacking)}"


def _format_skill(skill: list[forecasts.SkillRow]) -> list[str]:
    rows = [
        [
            str(row.name),
            " ".join(f"{threshold:.3f}" for threshold in row.thresholds),
            f"{min(row.validation_tss):.2f}",
            _format_interval(row.tss, digits=3),
            _format_interval(row.hss, digits=3),
            "-" if row.difference is None else _format_interval(row.difference, digits=3),
        ]
        for row in skill
    ]
    headings = ["forecast", "threshold of each fold", "least validation TSS", "TSS", "HSS", "HSS minus the first's"]
    title = f"  Highest HSS with a TSS of at least {forecasts.LEAST_TSS:.2f} on validation, means over folds:"
    return [title, format_table(headings, rows, left=(0, 1))]


def _list_notes(made: list[forecasts.Baseline], missing: dict[str, dict[Part, int]]) -> list[str]:
    notes = []
    for what, counts in missing.items():
        if any(counts.values()):
            by_part = ", ".join(f"{part} {count:,}" for part, count in counts.items() if count)
            frames = format_count(sum(counts.values()), "frame")
            notes.append(f"{what} {frames} ({by_part}), replaced by medians of training")
    if any(baseline.folds for baseline in made):
        notes.append("fitted forecasters: the mean over folds")
    with_intervals, _ = _shown_scores()
    reasons = dict.fromkeys(baseline.mean[name].reason for baseline in made for name in with_intervals)
    return notes + [f"[-, -]: {reason}" for reason in reasons if reason is not None]


def _format_interval(interval: verification.Interval, *, digits: int = 2) -> str:
    estimate, low, high = (
        _format_number(value, digits=digits) for value in (interval.estimate, interval.low, interval.high)
    )
    return f"{estimate} [{low}, {high}]"


def _format_number(value: float, *, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:z.{digits}f}"
