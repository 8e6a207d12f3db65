"""`sffshards evaluate`: predictions and scores of trained folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.base.option_fields import Option
from sffshards.cli import flare_options, score_output
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress, print_result
from sffshards.forecasting import runs as forecasts
from sffshards.shards import read

__all__ = ["evaluate"]


def evaluate(
    runs: Annotated[Path, typer.Argument(help="A run, or a folder of runs.")] = Path("runs"),
    shards: shared.ShardsOption = "shards",
    fold: Annotated[int | None, Option("Evaluate only this fold.", minimum=0, maximum=4, default_text="all")] = None,
    batch_size: shared.BatchSizeOption = 10,
    threads: shared.ThreadsOption = 2,
    cache_dir: shared.CacheFolderOption = None,
    cache_size: shared.CacheSizeOption = shared.CACHE_SIZE,
    check: shared.CheckOption = read.CheckLevel.FULL,
    device: shared.DeviceOption = "auto",
    flares: flare_options.FlaresOption = None,
    harp_map: flare_options.HarpMapOption = None,
    clock: flare_options.ClockOption = "as-written",
    force: Annotated[bool, Option("Predict again even if predictions exist.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Compute and score the predictions of trained folds.

    The best checkpoint of each fold is applied to the fold's training, validation and test sets. The predictions are
    written to the fold's folder: predictions-train.csv, predictions-val.csv and predictions-test.csv. Thresholds and a
    calibration are fitted on validation, and written to decision.json.

    The scores are written to the run's folder. scores.json and scores.csv hold the eight published scores at a decision
    threshold of 0.5, with mean and standard deviation over the folds. verification.json and verification.csv hold all
    scores, with each sequence counted once and with intervals from a jackknife over HARPs. They also hold the
    scores of first and later flares by a flare list or, without one, of samples without and with a flare that is known
    from labels.

    Runs of the same task and test samples are compared in pairs. comparisons.json and comparisons.csv hold the scores
    of the second run minus those of the first; they are written to the folder that contains the runs.

    A score without a value, such as POD where there are no flares, is `undefined` in tables, not 0.

    Examples
    --------
    sffshards evaluate runs/48h/oTV
        all folds of a run
    sffshards evaluate
        every run in runs/
    sffshards evaluate runs/48h/oTV --fold 0 --device cuda
        one fold, on a GPU
    sffshards evaluate --flares flares.csv --harp-map harps.txt
        first flares as the flare list has them
    """
    inference = forecasts.Inference(
        batch_size=batch_size, num_threads=threads, device=forecasts.choose_device(device), check=check
    )
    place = shared.place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    folds = None if fold is None else [fold]
    found = forecasts.find_runs(runs, folds=folds)
    progress = make_progress()
    tasks = sorted({run.task for run in found})
    catalogue, _ = flare_options.read_sources(flares, harp_map, None, tasks=tasks, clock=clock, progress=progress)
    scored = []
    for run in found:
        task = shared.TaskChoice(horizon_hours=run.task.horizon_hours, threshold=run.task.threshold)
        build, _ = shared.choose_build(place, task)
        scored.append(
            forecasts.evaluate_run(
                run.folder,
                build,
                folds=folds,
                inference=inference,
                force=force,
                flares=catalogue,
                progress=progress,
            )
        )
    comparisons = forecasts.compare_runs(scored)
    if fold is None:
        forecasts.write_comparisons(comparisons)
    described = [forecasts.describe_scores(of) | {"verification": forecasts.describe_verification(of)} for of in scored]
    blocks = [f"{score_output.format_scores(of)}\n{score_output.format_verification(of)}" for of in scored]
    blocks += [score_output.format_comparisons(comparisons)] if comparisons else []
    document = {"runs": described, "comparisons": forecasts.describe_comparisons(comparisons)}
    print_result("\n\n".join(blocks), document, as_json=as_json)
