"""`sffshards baselines`: score forecasts that need neither images nor a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from sffshards import labels as label_lists
from sffshards import verification
from sffshards.base.atomic_files import write_files
from sffshards.base.errors import format_count
from sffshards.base.option_fields import Option
from sffshards.cli import flare_options
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import format_table, make_progress, print_result
from sffshards.domain.sample_sets import Part, Protocol
from sffshards.domain.task import Task
from sffshards.forecasting import baselines as forecasts

__all__ = ["baselines"]

_FILE = "baselines.json"


def baselines(
    data: shared.DataArgument = Path("data"),
    horizon: shared.HorizonsOption = None,
    threshold: shared.ThresholdsOption = None,
    labels: shared.LabelsOption = None,
    flares: flare_options.FlaresOption = None,
    harp_map: flare_options.HarpMapOption = None,
    clock: flare_options.ClockOption = "as-written",
    keywords: Annotated[
        Path | None, Option("Table of SHARP keywords for logistic regression, .csv or .csv.gz.")
    ] = None,
    protocol: shared.ProtocolOption = Protocol.PAPER,
    show_folds: Annotated[bool, Option("Show each fold of the regression as well.", flag="--folds")] = False,
    seed: shared.NoSkillSeedOption = 123,
    out: Annotated[Path | None, Option(f"Folder to write {_FILE} to.")] = None,
    force: shared.ReplaceOption = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Score baseline forecasts of the test part.

    The baselines need neither images nor a network. There are four: "no skill", random forecasts; "climatology", the
    flare rate of the training parts; "persistence", whether the region flared within one horizon before the forecast,
    such as in the last 48 h; and "ever flared", whether it flared at any time before it. With --keywords there is also
    logistic regression, scored at a threshold of 0.5, at the thresholds that are best on validation, and with
    probabilities that Platt scaling calibrates on validation. The 95 % intervals come from a jackknife over HARPs.

    Examples
    --------
    sffshards baselines --horizon 48h
        from the labels alone
    sffshards baselines --flares flares.csv --harp-map harps.txt
        persistence from a flare list
    sffshards baselines --keywords sharp_keywords.csv.gz --folds
        logistic regression as well, with each fold
    """
    from sffshards.base.json_records import format_json

    progress = make_progress()
    found = label_lists.find_label_lists(data if labels is None else labels)
    tasks = shared.parse_task_choice(horizon, threshold).choose(found, where=labels or data)
    catalogue, table = flare_options.read_sources(
        flares, harp_map, keywords, tasks=tasks, clock=clock, progress=progress
    )
    described, shown = [], []
    for task in tasks:
        samples = forecasts.read_samples(found[task])
        baseline_forecasts = forecasts.forecast_baselines(
            samples, task=task, protocol=protocol, seed=seed, flares=catalogue, keywords=table
        )
        made = forecasts.score_baselines(baseline_forecasts, progress=progress)
        lacking = {} if table is None else table.count_lacking(samples)
        shown.append(_format(task, made, lacking, show_folds=show_folds))
        described.append(
            {
                "task": task.name,
                "protocol": str(protocol),
                "num_samples": len(samples[Part.TEST].label),
                "num_without_keywords": {str(part): count for part, count in lacking.items()},
                "baselines": forecasts.describe_baselines(made),
            }
        )
    document = {"format_version": 2, "level": verification.LEVEL, "seed": seed, "tasks": described}
    if out is not None:
        write_files({out / _FILE: format_json(document)}, force=force)
    print_result("\n\n".join(shown), document, as_json=as_json)


def _shown_scores() -> tuple[tuple[verification.AnyScore, ...], tuple[verification.AnyScore, ...]]:
    """Return the scores that are shown with intervals, and those that are shown without."""
    score, chance = verification.ScoreName, verification.ProbabilityScore
    return (
        (score.TSS, score.HSS, chance.BRIER_SKILL),
        (score.POD, score.FAR, score.F1, chance.ROC_AUC, chance.AVERAGE_PRECISION),
    )


def _format(task: Task, made: list[forecasts.Baseline], lacking: dict[Part, int], *, show_folds: bool) -> str:
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
        f"{task}: Test, {first.table.num_samples:,} samples, {first.table.num_positive:,} positive, of "
        f"{first.num_harps:,} HARPs, {first.num_flaring_harps:,} of which flare"
    )
    table = format_table(["forecast", "from", "threshold", *wide, *narrow], rows, left=(0, 1, 2))
    return "\n".join([title, table, *(f"  {note}" for note in _list_notes(made, lacking))])


def _list_notes(made: list[forecasts.Baseline], lacking: dict[Part, int]) -> list[str]:
    notes = []
    if any(lacking.values()):
        by_part = ", ".join(f"{part} {count:,}" for part, count in lacking.items() if count)
        frames = format_count(sum(lacking.values()), "frame")
        notes.append(f"no keywords of {frames} ({by_part}), replaced by medians of training")
    if any(baseline.folds for baseline in made):
        notes.append("logistic regression: the mean over folds")
    with_intervals, _ = _shown_scores()
    reasons = dict.fromkeys(baseline.mean[name].reason for baseline in made for name in with_intervals)
    return notes + [f"[-, -]: {reason}" for reason in reasons if reason is not None]


def _format_interval(interval: verification.Interval) -> str:
    return f"{_format_number(interval.estimate)} [{_format_number(interval.low)}, {_format_number(interval.high)}]"


def _format_number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:z.2f}"
