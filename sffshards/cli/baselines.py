"""`sffshards baselines`: score forecasts that need neither images nor a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sffshards.cli.flare_options import FlaresOption, HarpMapOption
from sffshards.cli.shared_options import (
    DataArgument,
    HorizonsOption,
    JsonOption,
    LabelsOption,
    ProtocolOption,
    ReplaceOption,
    SeedOption,
    ThresholdsOption,
    parse_task_choice,
)
from sffshards.domain.sample_sets import Part, Protocol
from sffshards.domain.task import Task

if TYPE_CHECKING:
    from sffshards.base.progress import Progress
    from sffshards.cli.flare_options import Catalogue
    from sffshards.forecasting.baselines import Baseline, KeywordTable, Samples
    from sffshards.verification import Interval, Resampling

__all__ = ["EXAMPLES", "baselines"]

EXAMPLES = (
    ("sffshards baselines --horizon 48h", "from the labels alone"),
    ("sffshards baselines --flares flares.csv --harp-map harps.txt", "persistence from a flare list"),
    ("sffshards baselines --keywords sharp_keywords.csv.gz --folds", "logistic regression as well, with each fold"),
)

_FILE = "baselines.json"


def baselines(
    data: DataArgument = Path("data"),
    horizon: HorizonsOption = None,
    threshold: ThresholdsOption = None,
    labels: LabelsOption = None,
    flares: FlaresOption = None,
    harp_map: HarpMapOption = None,
    keywords: Annotated[
        Path | None,
        typer.Option(help="Table of SHARP keywords for logistic regression, .csv or .csv.gz.", show_default=False),
    ] = None,
    protocol: ProtocolOption = Protocol.PAPER,
    show_folds: Annotated[bool, typer.Option("--folds", help="Show each fold of the regression as well.")] = False,
    resamples: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Number of bootstrap resamples for the intervals.")
    ] = 1000,
    seed: SeedOption = 123,
    out: Annotated[Path | None, typer.Option(help=f"Folder to write {_FILE} to.", show_default=False)] = None,
    force: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score baseline forecasts of the test part.

    The baselines need neither images nor a network. They are no skill; climatology, the flare rate of the training
    parts; persistence, whether the region flared in the last 48 h if the horizon is 48 h; and "ever flared", whether it
    has flared at any time before. With --keywords there is also logistic regression, at a probability of 0.5 and at the
    best thresholds on validation. The 95 % intervals come from resampling HARPs.
    """
    import json

    from sffshards.base.atomic_files import write_files
    from sffshards.cli.flare_options import load_catalogue, thresholds_of
    from sffshards.cli.terminal_output import make_progress, print_json
    from sffshards.forecasting.baselines import read_keyword_table
    from sffshards.labels import find_label_lists
    from sffshards.verification import Resampling

    progress = make_progress()
    # The clock of the published labels, which are to be forecast: see docs/labels.md.
    found = find_label_lists(data if labels is None else labels)
    tasks = parse_task_choice(horizon, threshold).choose(found, where=labels or data)
    catalogue = load_catalogue(flares, harp_map, flare_time="start", clock="as-written")
    for line in [] if catalogue is None else catalogue.format_lines(thresholds_of(tasks), {}):
        progress.note(line)
    table = None if keywords is None else read_keyword_table(keywords)
    resampling = Resampling(num_resamples=resamples, seed=seed)
    described, shown = [], []
    for task in tasks:
        samples, made = _compute(task, found[task], protocol, resampling, catalogue, table, progress)
        lacking = {} if table is None else table.count_lacking(samples)
        described.append(_describe(task, protocol, samples, made, lacking))
        shown.append(_format(task, samples, made, lacking, show_folds=show_folds))
    document = {"format_version": 1, "level": resampling.level, "seed": seed, "tasks": described}
    if out is not None:
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_files({out / _FILE: text.encode("ascii")}, force=force)
    if as_json:
        print_json(document)
    else:
        print("\n\n".join(shown))


def _compute(
    task: Task,
    paths: dict[Part, Path],
    protocol: Protocol,
    resampling: Resampling,
    catalogue: Catalogue | None,
    table: KeywordTable | None,
    progress: Progress,
) -> tuple[dict[Part, Samples], list[Baseline]]:
    from sffshards.forecasting.baselines import compute_baselines, read_samples

    samples = read_samples(paths)
    made = compute_baselines(
        samples,
        task=task,
        protocol=protocol,
        resampling=resampling,
        flares=None if catalogue is None else catalogue.harp_flares,
        keywords=table,
        progress=progress,
    )
    return samples, made


def _describe(
    task: Task,
    protocol: Protocol,
    samples: dict[Part, Samples],
    made: list[Baseline],
    lacking: dict[Part, int],
) -> dict[str, Any]:
    from sffshards.forecasting.baselines import describe_baselines

    return {
        "task": task.name,
        "protocol": str(protocol),
        "num_samples": len(samples[Part.TEST].label),
        "num_without_keywords": {str(part): count for part, count in lacking.items()},
        "baselines": describe_baselines(made),
    }


def _format(
    task: Task,
    samples: dict[Part, Samples],
    made: list[Baseline],
    lacking: dict[Part, int],
    *,
    show_folds: bool,
) -> str:
    from sffshards.cli.terminal_output import format_table
    from sffshards.verification import ProbabilityScore, ScoreName

    wide = (ScoreName.TSS, ScoreName.HSS, ProbabilityScore.BRIER_SKILL)
    narrow = (ScoreName.POD, ScoreName.FAR, ScoreName.F1, ProbabilityScore.ROC_AUC, ProbabilityScore.AVERAGE_PRECISION)
    rows = []
    for baseline in made:
        of = baseline.mean
        means = [
            *(_format_interval(of[name]) for name in wide),
            *(_format_number(of[name].estimate) for name in narrow),
        ]
        rows.append([str(baseline.name), baseline.source, str(baseline.rule), *means])
        for fold, scores in zip(baseline.folds, baseline.scores, strict=True) if show_folds and baseline.folds else ():
            values = [
                *(_format_interval(scores.interval(name)) for name in wide),
                *(_format_number(scores.interval(name).estimate) for name in narrow),
            ]
            rows.append([f"  fold {fold}", "", f"{scores.threshold:.3f}", *values])
    first = made[0].scores[0]
    title = (
        f"{task}: Test, {len(samples[Part.TEST].label):,} samples, {first.table.num_positive:,} positive, of "
        f"{first.num_harps:,} HARPs, {first.num_flaring_harps:,} of which flare"
    )
    table = format_table(["forecast", "from", "threshold", *wide, *narrow], rows, left=(0, 1, 2))
    return "\n".join([title, *(f"  {line}" for line in [*table.splitlines(), *_note(made, lacking)])])


def _note(made: list[Baseline], lacking: dict[Part, int]) -> list[str]:
    import math

    from sffshards.base.errors import format_count
    from sffshards.verification import ScoreName

    notes = []
    if any(lacking.values()):
        by_part = ", ".join(f"{part} {count:,}" for part, count in lacking.items() if count)
        frames = format_count(sum(lacking.values()), "frame")
        notes.append(f"no keywords of {frames} ({by_part}), replaced by medians of training")
    if any(baseline.folds for baseline in made):
        notes.append("logistic regression: the mean over folds")
    if any(math.isnan(baseline.mean[ScoreName.ACC].low) for baseline in made):
        notes.append("[-, -]: too few HARPs flare for an interval")
    return notes


def _format_interval(interval: Interval) -> str:
    return f"{_format_number(interval.estimate)} [{_format_number(interval.low)}, {_format_number(interval.high)}]"


def _format_number(value: float) -> str:
    import math

    return "-" if math.isnan(value) else f"{value:z.2f}"
