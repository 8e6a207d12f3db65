"""`sffshards evaluate`: predictions and scores of trained folds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.cli.shared_options import (
    CACHE_SIZE,
    CacheFolderOption,
    CacheSizeOption,
    CheckOption,
    JsonOption,
    ShardsOption,
    TaskChoice,
    choose_build,
    place_of,
)
from sffshards.domain.sample_sets import Stage
from sffshards.shards.read import CheckLevel

if TYPE_CHECKING:
    from sffshards.forecasting.runs import RunScores

__all__ = ["EXAMPLES", "evaluate"]

EXAMPLES = (
    ("sffshards evaluate runs/48h/oTV", "all folds of a run"),
    ("sffshards evaluate", "every run in runs/"),
    ("sffshards evaluate runs/48h/oTV --fold 0 --device cuda", "one fold, on a GPU"),
)


def evaluate(
    runs: Annotated[Path, typer.Argument(help="A run, or a folder of runs.", show_default=True)] = Path("runs"),
    shards: ShardsOption = "shards",
    fold: Annotated[
        int | None, typer.Option(min=0, max=4, help="Evaluate only this fold.  [default: all]", show_default=False)
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Number of clips per batch.")] = 10,
    threads: Annotated[int, typer.Option(min=0, help="Number of threads that read and decode samples ahead.")] = 2,
    cache_dir: CacheFolderOption = None,
    cache_size: CacheSizeOption = CACHE_SIZE,
    check: CheckOption = CheckLevel.FULL,
    device: Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Predict again even if predictions exist.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict and score the sets of trained folds.

    The best checkpoint of each fold predicts its training, validation and test sets. The predictions are written to
    the fold's folder: predictions-train.csv, predictions-val.csv and predictions-test.csv. Thresholds and a
    calibration are fitted on validation, and written to decision.json.

    The scores are written to the run's folder. scores.json and scores.csv hold the eight published scores at a
    probability of 0.5, with mean and standard deviation over the folds. verification.json and verification.csv hold
    all scores, with each sequence counted once and with intervals from resampling HARPs.

    Runs of the same task and test samples are compared in pairs. comparisons.json and comparisons.csv hold the scores
    of the second run minus those of the first; they are written to the folder that contains the runs.

    A score without a value, such as POD where there are no flares, is `undefined` in tables, not 0.
    """
    from sffshards.cli.score_output import format_comparisons, format_verification
    from sffshards.cli.terminal_output import make_progress, print_json
    from sffshards.forecasting.runs import (
        Inference,
        choose_device,
        compare_runs,
        describe_comparisons,
        describe_scores,
        describe_verification,
        evaluate_run,
        find_runs,
        write_comparisons,
    )

    inference = Inference(batch_size=batch_size, num_threads=threads, device=choose_device(device), check=check)
    place = place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    scored = []
    folds = None if fold is None else [fold]
    for run in find_runs(runs, folds=folds):
        task = TaskChoice(horizon_hours=run.task.horizon_hours, threshold=run.task.threshold)
        scores = evaluate_run(
            run.folder,
            choose_build(place, task)[0],
            folds=folds,
            inference=inference,
            force=force,
            progress=make_progress(),
        )
        scored.append(scores)
    comparisons = compare_runs(scored)
    if fold is None:
        write_comparisons(comparisons)
    if as_json:
        described = [describe_scores(scores) | {"verification": describe_verification(scores)} for scores in scored]
        print_json({"runs": described, "comparisons": describe_comparisons(comparisons)})
        return
    print("\n\n".join(f"{format_scores(scores)}\n{format_verification(scores)}" for scores in scored))
    if comparisons:
        print(f"\n{format_comparisons(comparisons)}")


def format_scores(scores: RunScores) -> str:
    """Return a table of a run's scores: one line per set, mean and deviation over folds, and why some are undefined."""
    from sffshards.cli.terminal_output import format_table
    from sffshards.forecasting.runs import format_summary
    from sffshards.verification import PUBLISHED_SCORES, explain_undefined

    of = {(s.stage, s.score): s for s in scores.summary}
    rows = [[str(stage), *(format_summary(of[stage, name]) for name in PUBLISHED_SCORES)] for stage in Stage]
    counted = f"{len(scores.run.folds)} fold{'s' if len(scores.run.folds) > 1 else ''}"
    title = f"{scores.run.folder}: {counted}, a flare is forecast at a probability of 0.5 or more"
    table = format_table(["set", *PUBLISHED_SCORES], rows)
    reasons: dict[tuple[int, Stage, str], list[str]] = {}
    for stage in scores.stages:
        for name in PUBLISHED_SCORES:
            reason = explain_undefined(name, stage.table)
            if reason is not None:
                reasons.setdefault((stage.fold, stage.stage, reason), []).append(str(name))
    notes = [f"  fold {f} {s}: {', '.join(names)} undefined: {why}" for (f, s, why), names in reasons.items()]
    return "\n".join([title, *("  " + line for line in table.splitlines()), *notes])
