"""The pipeline on synthetic data, from images to the report, small enough for two processor cores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sffshards.base.progress import Progress
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import Protocol, Variant
from sffshards.domain.task import M48
from sffshards.executors import Executor
from sffshards.flares import FlareTime, FrameClock, HarpFlares, assign_flares, read_flare_list, read_harp_map
from sffshards.labels import find_data, find_label_lists
from sffshards.models import ModelName
from sffshards.report import ReportOptions, check_folder, write_report
from sffshards.shards.build import BuildOptions, BuildReport, build_shards
from sffshards.shards.format import CodecName
from sffshards.synth import FLARES_NAME, HARP_MAP_NAME, KEYWORDS_NAME, SynthReport, synthesize
from sffshards.tabular import read_keyword_table

if TYPE_CHECKING:
    from sffshards.forecasting.runs import RunScores

HORIZON = M48
VARIANT = Variant.BASE
FOLD = 0
NUM_HARPS = 12
FRAMES_PER_HARP = 10
MAX_EPOCHS = 3
BATCH_SIZE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoReport:
    """Results of the demo."""

    data: SynthReport
    build: BuildReport
    scores: tuple[RunScores, ...]
    """Scores of the network, and of the baselines and the fitted forecasters beside it."""
    page: Path
    """Page of the report."""


def run_demo(out: Path, *, seed: int, executor: Executor, progress: Progress) -> DemoReport:
    """Synthesize data, build shards, train a small network on one fold, score it and baselines, and write the report.

    Run again after an interruption, it resumes and keeps what is done.

    Parameters
    ----------
    out
        Folder for ``data/``, ``shards/``, ``runs/`` and ``report/``.
    seed
        Seed of the data and of the training.
    executor
        Where images are drawn and shards written.
    progress
        Receives the progress of each step.

    Raises
    ------
    ConflictError
        If ``out`` holds something else.
    """
    check_folder(out / "report")
    data = synthesize(
        out / "data",
        seed=seed,
        num_harps=NUM_HARPS,
        frames_per_harp=FRAMES_PER_HARP,
        executor=executor,
        progress=progress,
    )
    options = BuildOptions(
        task=HORIZON, codec=CodecName.JPG, seed=seed, shard_size_bytes=128_000_000, skip_bad_images=False
    )
    folder = out / "shards" / HORIZON.folder
    build = build_shards(
        find_data(out / "data"),
        options,
        out=folder,
        store_folder=out / "shards" / "frames",
        executor=executor,
        force=False,
        progress=progress,
    )
    network = _train_and_score(out, folder, seed=seed, progress=progress)
    others = _score_baselines(out, seed=seed, progress=progress)
    page = write_report(
        out / "runs",
        out / "report",
        shards=[folder],
        options=ReportOptions(catalogue=_read_flares(out / "data")),
        progress=progress,
    )
    return DemoReport(data=data, build=build, scores=(*others, network), page=page)


def _score_baselines(out: Path, *, seed: int, progress: Progress) -> list[RunScores]:
    """Write the runs of baselines and of the forecasters of keywords and flare history, and score them."""
    from sffshards.forecasting import baselines
    from sffshards.forecasting.runs import SourceFile, evaluate_run

    data, place = out / "data", out / "runs" / HORIZON.folder
    flares = _read_flares(data)
    lists = find_label_lists(data)[HORIZON]
    of_task = baselines.BaselineSet(
        task=HORIZON,
        protocol=Protocol.PAPER,
        samples=baselines.read_samples(lists),
        label_set="published",
        sources=tuple(
            SourceFile.read(path)
            for path in (*lists.values(), *(data / name for name in (FLARES_NAME, HARP_MAP_NAME, KEYWORDS_NAME)))
        ),
        harp_numbers=HarpNumbers.DEFINITIVE,
        flares=flares,
        folds=(FOLD,),
    )
    runs = baselines.write_references(place, of_task, seed=seed, force=False, progress=progress)
    fitted = baselines.fit_recipes(
        of_task.samples,
        task=HORIZON,
        protocol=of_task.protocol,
        flares=flares,
        keywords=read_keyword_table(data / KEYWORDS_NAME),
        recipes=baselines.RECIPES,
        folds=of_task.folds,
        progress=progress,
    )
    for recipe, fits in fitted:
        runs.append(baselines.write_fitted(place, of_task, recipe, fits, force=False, progress=progress))
    return [
        evaluate_run(run.folder, None, folds=None, inference=None, force=False, flares=flares, progress=progress)
        for run in runs
    ]


def _read_flares(data: Path) -> HarpFlares:
    return assign_flares(
        read_flare_list(data / FLARES_NAME),
        read_harp_map(data / HARP_MAP_NAME),
        flare_time=FlareTime.START,
        clock=FrameClock.TAI,
    )


def _train_and_score(out: Path, build: Path, *, seed: int, progress: Progress) -> RunScores:
    import torch

    from sffshards.forecasting.runs import Inference, evaluate_run
    from sffshards.training import TrainingOptions, train_folds

    options = TrainingOptions(
        variant=VARIANT,
        protocol=Protocol.PAPER,
        model=ModelName.MVIT_TINY,
        weights=ModelName.MVIT_TINY.default_weights,
        max_epochs=MAX_EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=ModelName.MVIT_TINY.default_learning_rate,
        accelerator="cpu",
        seed=seed,
    )
    run = out / "runs" / HORIZON.folder / VARIANT
    train_folds(build, run, options, folds=[FOLD], force=False, progress=progress)
    inference = Inference(batch_size=BATCH_SIZE, num_threads=options.num_threads, device=torch.device("cpu"))
    return evaluate_run(run, build, folds=[FOLD], inference=inference, force=False, progress=progress)
