"""`sffshards evaluate`: predictions of trained folds, and scores of any run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sffshards import tabular
from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option
from sffshards.cli import flare_options, label_set_text, score_output
from sffshards.cli import shared_options as shared
from sffshards.cli.command_options import OptionsOf
from sffshards.cli.terminal_output import make_progress, print_result
from sffshards.domain.sample_sets import LabelSet
from sffshards.domain.task import Task
from sffshards.forecasting import baselines, label_sets
from sffshards.forecasting import runs as forecasts
from sffshards.models import ModelName
from sffshards.shards import read

__all__ = ["evaluate"]


def evaluate(
    *,
    runs: Annotated[Path, typer.Argument(help="A run, or a folder of runs.")] = Path("runs"),
    shards: shared.ShardsOption = "shards",
    model: Annotated[
        list[str] | None,
        Option(
            "Factory, package.module:factory, of runs that were trained with it: its code is run only if you name it "
            "here too. May be repeated.",
            metavar="<factory>",
            default_text="none; other networks need no name",
        ),
    ] = None,
    fold: Annotated[int | None, Option("Evaluate only this fold.", minimum=0, maximum=4, default_text="all")] = None,
    computing: Annotated[dict[str, Any], OptionsOf(shared.Computing)],
    cache_dir: shared.CacheFolderOption = None,
    cache_size: shared.CacheSizeOption = shared.CACHE_SIZE,
    check: shared.CheckOption = read.CheckLevel.FULL,
    keywords: flare_options.KeywordsOption = None,
    flares: flare_options.FlareListsOption = None,
    harp_map: flare_options.HarpMapOption = None,
    clock: flare_options.ClockOption = "as-written",
    label_set: flare_options.LabelSetOption = LabelSet.PUBLISHED,
    seed: shared.NoSkillSeedOption = 123,
    force: Annotated[bool, Option("Predict again even if predictions exist.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Compute the predictions of trained networks, and score any runs.

    The best checkpoint of each fold of a network is applied to the fold's training, validation and test sets. The
    predictions are written to the fold's folder: predictions-train.csv, predictions-val.csv and predictions-test.csv.
    A network that takes keywords or flare history needs the tables that it was trained with.
    Other runs, such as baselines and imported tables, have these tables already; they need no shards. Thresholds and a
    calibration are fitted on validation, and written to decision.json.

    The scores are written to the run's folder. scores.json and scores.csv hold the eight published scores at a decision
    threshold of 0.5, with mean and standard deviation over the folds. verification.json and verification.csv hold all
    scores, with each sequence counted once and with intervals from a jackknife over HARPs. They also hold the
    scores of first and later flares by a flare list or, without one, of samples without and with a flare that is known
    from labels.

    Beside the runs of networks, the baselines that follow from the labels of the build are written as runs: no skill,
    climatology, persistence and ever flared; the last two from the flare list if there is one. Those that `baselines
    --runs` wrote are kept. Each run is compared with all baselines in its folder: comparisons.json and comparisons.csv
    in the run's folder hold its scores minus theirs. Other runs of the same task and test samples are compared in
    pairs: comparisons.json and comparisons.csv in the folder that contains the runs hold the scores of the second run
    minus those of the first.

    With --label-set rebuilt or both, or several --flares, the test scores by each set of labels are written to
    label-sets.json and label-sets.csv in the run's folder, with thresholds and calibration fitted to the same labels.
    With several flare lists, the spread of a score over them is its uncertainty due to the lists. All other files hold
    the scores by the labels of the lists.

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
        persistence and first flares from the flare list
    sffshards evaluate --flares flares.csv --flares other.csv --harp-map harps.txt --label-set both
        also the scores by the labels that follow from each of two flare lists
    sffshards evaluate runs/48h/own --model my_package.networks:build
        a run of a network of your own
    """
    place = shared.place_of(shards, cache_dir=cache_dir, cache_size=cache_size)
    folds = None if fold is None else [fold]
    found = forecasts.find_runs(runs, folds=folds)
    factories = _parse_factories(found, model)
    progress = make_progress()
    tasks = sorted({run.task for run in found})
    every = flare_options.read_flare_lists(flares, harp_map, tasks=tasks, clock=clock, progress=progress)
    catalogue = every[0] if every else None
    label_choice = label_sets.LabelChoice.make(label_set, every)
    inference = None
    if any(run.kind is forecasts.RunKind.NETWORK for run in found):
        table = None if keywords is None else tabular.read_keyword_table(keywords)
        sources = tabular.NumberSources(keywords=table, flares=catalogue)
        _refuse_unused(keywords, found, where=runs)
        inference = shared.Computing(**computing).infer(check=check, factories=factories, sources=sources)
        forecasts.require_named(found, inference, force=force)
    else:  # needs neither torch nor shards
        ignored = {"cache_dir": cache_dir, "keywords": keywords}
        shared.refuse_ignored(computing | ignored, because=f"with {runs}, which has no network")
    flare_files = [] if harp_map is None else [(flares or [])[0], harp_map]

    def score(run: forecasts.Run, build: read.Place | None) -> forecasts.RunScores:
        return forecasts.evaluate_run(
            run.folder, build, folds=folds, inference=inference, force=force, flares=catalogue, progress=progress
        )

    networks: dict[tuple[Path, Task], list[forecasts.Run]] = {}
    for run in (one for one in found if one.kind is forecasts.RunKind.NETWORK):
        networks.setdefault((run.folder.parent, run.task), []).append(run)
    scored = []
    for (folder, task), of_task in networks.items():
        choice = shared.TaskChoice(horizon_hours=task.horizon_hours, threshold=task.threshold)
        build, _ = shared.choose_build(place, choice)
        scored += [score(run, build) for run in of_task]
        with read.open_build(build) as opened:
            baselines.write_build_baselines(
                folder, opened, networks=of_task, flares=catalogue, seed=seed, sources=flare_files, progress=progress
            )
    others = [one for one in found if one.kind is not forecasts.RunKind.NETWORK]
    scored += [score(run, None) for run in (*others, *forecasts.find_baselines(found, folds=folds))]
    scored.sort(key=lambda of: of.run.rank)
    comparisons = forecasts.compare_runs(scored)
    if fold is None:
        forecasts.write_comparisons(comparisons)
    compared = label_choice.compared or ((label_choice.main,) if label_choice.is_rebuilt else ())
    labelled = [label_sets.score_by_labels(of.run, compared) for of in scored if compared]
    for of_run in labelled if fold is None else ():
        label_sets.write_labelled(of_run)
    described = [forecasts.describe_scores(of) | {"verification": forecasts.describe_verification(of)} for of in scored]
    blocks = [score_output.format_evaluation(scored, comparisons)]
    blocks += [label_set_text.format_label_sets(labelled)] if labelled else []
    document = {"runs": described, "comparisons": forecasts.describe_comparisons(comparisons.every)}
    if labelled:
        document["label_sets"] = [label_sets.describe_labelled(of_run) for of_run in labelled]
    print_result("\n\n".join(blocks), document, as_json=as_json)


def _refuse_unused(keywords: Path | None, runs: Sequence[forecasts.Run], *, where: Path) -> None:
    """Refuse a table of keywords that no network takes; a flare list also defines baselines and first flares."""
    networks = [run.first.network for run in runs if run.kind is forecasts.RunKind.NETWORK]
    if not any(of.options.inputs.needs_keywords for of in networks):
        shared.refuse_ignored({"keywords": keywords}, because=f"with {where}, whose networks take no keywords")


def _parse_factories(runs: Sequence[forecasts.Run], named: list[str] | None) -> tuple[ModelName, ...]:
    """Return the networks that the user named; raises `InputError` for one that no run has."""
    names = tuple(map(ModelName.parse, named or ()))
    own = {
        fold.network.options.network.model
        for run in runs
        if run.kind is forecasts.RunKind.NETWORK
        for fold in run.folds
    }
    for name in names:
        if name not in own:
            found = f"runs of {', '.join(sorted(own)) or 'no network'}"
            raise InputError(
                Field("model"), expected=f"a run of {name}", found=found, fix="correct it, or leave it out"
            )
    return names
