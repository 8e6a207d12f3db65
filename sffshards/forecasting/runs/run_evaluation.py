"""Evaluation of a run: predict or read the sets of each fold, decide, score, verify."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sffshards.base.errors import ConflictError, Field, InputError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.output_checks import check_writable
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Stage
from sffshards.flares import HarpFlares
from sffshards.forecasting.runs.decision import Decision, write_decision
from sffshards.forecasting.runs.fold_ensemble import decide_fold, issue_fold
from sffshards.forecasting.runs.forecast_record import RunKind
from sffshards.forecasting.runs.run_fold import RunFold, read_fold, read_tables
from sffshards.forecasting.runs.run_folders import Run, check_folds_alike, read_run
from sffshards.forecasting.runs.run_scores import RunScores, score_folds, write_scores
from sffshards.forecasting.runs.run_verification import verify_forecasts, write_verification
from sffshards.images import require_harp_numbers
from sffshards.shards.read import Build, Place, open_build
from sffshards.training import find_folds

if TYPE_CHECKING:  # it imports torch, which only networks need
    from sffshards.forecasting.runs.network_prediction import Inference

LOCK_NAME = ".evaluate.lock"
"""Name of the lock of a fold's predictions and decision; a fold that is being trained can be evaluated, too."""


def evaluate_run(
    run: Path,
    build: Place | None,
    *,
    folds: Collection[int] | None,
    inference: Inference | None,
    force: bool,
    flares: HarpFlares | None = None,
    progress: Progress,
) -> RunScores:
    """Score the folds of a run, after predicting the sets of a network.

    For a network, writes ``predictions-<stage>.csv`` into each fold's folder; and for any run ``decision.json``. When
    all folds of the run are scored, it also writes ``scores.json``, ``scores.csv``, ``verification.json`` and
    ``verification.csv`` into the run's folder.

    Parameters
    ----------
    run
        Folder of the run, such as ``runs/48h/oTV``.
    build
        Build that a network was trained on; other runs need none.
    folds
        Numbers of the folds; None for all.
    inference
        How predictions of a network are computed; other runs need none.
    force
        Whether to predict again where there are tables of the same checkpoint.
    flares
        Flares that decide which flares are a region's first; None to follow the labels of the test set.
    progress
        Receiver of progress.

    Raises
    ------
    InputError
        If a fold is missing, its checkpoint or table cannot be used, a network has no build, or the flares are of other
        HARP numbers.
    ConflictError
        If a fold was trained on another build, or made with other options than the others.
    DamageError
        If a table of a run without a network has changed since it was written.
    StorageError
        If the run cannot be written to.
    """
    read = read_run(run, folds=folds)
    if flares is not None:
        require_harp_numbers(flares.harp_map, read.first.harp_numbers, where=run)
    for folder in (run, *(fold.folder for fold in read.folds)):
        check_writable(folder)
    check_folds_alike(read)
    if read.kind is RunKind.NETWORK:
        evaluated = _predict_folds(read, build, inference=inference, force=force, progress=progress)
    else:
        evaluated = [_decide(fold, progress=progress) for fold in read.folds]
    predicted = replace(read, folds=tuple(fold for fold, _ in evaluated))
    check_folds_alike(predicted)
    stages = (Stage.VAL, Stage.TEST)
    issued = [issue_fold(*of_fold, stage) for of_fold in evaluated for stage in stages if stage in of_fold[0].tables]
    published = score_folds(predicted)
    scores = RunScores(
        run=published.run,
        stages=published.stages,
        summary=published.summary,
        verification=verify_forecasts(issued, name=read.name, task=read.task, flares=flares),
    )
    if len(read.folds) == len(find_folds(run)):
        write_scores(scores)
        write_verification(scores)
    else:
        progress.note(f"{run}: scores.json and scores.csv cover all folds, and are left as they are")
    return scores


def evaluate_fold(
    fold: RunFold, build: Build, *, inference: Inference, force: bool, progress: Progress
) -> tuple[RunFold, Decision]:
    """Predict the sets of a network's fold, fit its decision, write both; raises as `predict_fold` and `evaluate_run`.

    The fold's record is read again once the fold is locked, because it may be trained at the same time.

    Returns
    -------
    the fold with its tables, and its decision
    """
    from sffshards.forecasting.runs.network_prediction import predict_fold

    with folder_lock(fold.folder, progress=progress, wait=False, name=LOCK_NAME):
        now = read_fold(fold.folder)
        _check_build(now, build)
        if not now.network.finished:
            progress.note(f"{now.folder}: training is not finished; its best epoch so far is scored")
        now = replace(now, tables=predict_fold(now, build, inference=inference, force=force, progress=progress))
        decision = decide_fold(now)
        write_decision(now.folder, decision)
    return now, decision


def _predict_folds(
    run: Run, build: Place | None, *, inference: Inference | None, force: bool, progress: Progress
) -> list[tuple[RunFold, Decision]]:
    if build is None or inference is None:
        lacking = "shards" if build is None else "inference"
        raise InputError(Field(lacking), expected=f"a value, for the network {run.folder}", found="none", fix="name it")
    with open_build(build, check=inference.check) as opened:
        for fold in run.folds:
            _check_build(fold, opened)
        return [evaluate_fold(fold, opened, inference=inference, force=force, progress=progress) for fold in run.folds]


def _decide(fold: RunFold, *, progress: Progress) -> tuple[RunFold, Decision]:
    """Read the tables of a fold that no network made, and fit and write its decision."""
    with folder_lock(fold.folder, progress=progress, wait=False, name=LOCK_NAME):
        now = read_tables(read_fold(fold.folder))
        decision = decide_fold(now)
        write_decision(now.folder, decision)
    return now, decision


def _check_build(fold: RunFold, build: Build) -> None:
    sha256, trained_on = build.manifest.sha256, fold.network.manifest_sha256
    if trained_on != sha256:
        raise ConflictError(
            fold.folder,
            expected=f"a fold trained on {build.folder} (build {sha256[:12]})",
            found=f"one trained on the {fold.task} build {trained_on[:12]}",
            fix="name the folder of that build with {shards}, or train again with `sffshards train --force`",
        )
