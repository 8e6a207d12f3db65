"""Evaluation of a run: predict the sets of each fold with its best checkpoint, decide, score, verify."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sffshards.base.errors import ConflictError
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Stage
from sffshards.flares import HarpFlares
from sffshards.forecasting.runs.decision import fit_decision, write_decision
from sffshards.forecasting.runs.fold_ensemble import IssuedForecast, issue_fold
from sffshards.forecasting.runs.network_prediction import Inference, predict_fold
from sffshards.forecasting.runs.run_folders import RunFold, check_folds_alike, read_run
from sffshards.forecasting.runs.run_scores import RunScores, score_folds, write_scores
from sffshards.forecasting.runs.run_verification import verify_forecasts, write_verification
from sffshards.shards.read import Build, Place, open_build
from sffshards.training import find_folds


def evaluate_run(
    run: Path,
    build: Place,
    *,
    folds: Collection[int] | None,
    inference: Inference,
    force: bool,
    flares: HarpFlares | None = None,
    progress: Progress,
) -> RunScores:
    """Predict and score the folds of a run.

    Writes ``predictions-<stage>.csv`` and ``decision.json`` into each fold's folder. When all folds of the run are
    scored, it also writes ``scores.json``, ``scores.csv``, ``verification.json`` and ``verification.csv`` into the
    run's folder.

    Parameters
    ----------
    run
        Folder of the run, such as ``runs/48h/oTV``.
    build
        Build that the run was trained on.
    folds
        Numbers of the folds; None for all.
    inference
        How predictions are computed.
    force
        Whether to predict again where there are tables of the same checkpoint.
    flares
        Flares that decide which flares are a region's first; None to follow the labels of the test set.
    progress
        Receiver of progress.

    Raises
    ------
    InputError
        If a fold is missing, or its checkpoint cannot be used.
    ConflictError
        If a fold was trained on another build, or with other options than the others.
    """
    read = read_run(run, folds=folds)
    with open_build(build, check=inference.check) as opened:
        for fold in read.folds:
            _check_build(fold, opened)
        check_folds_alike(read)
        issued: list[IssuedForecast] = []
        predicted: list[RunFold] = []
        for fold in read.folds:
            if not fold.record.finished:
                progress.note(f"{fold.folder}: training is not finished; its best epoch so far is scored")
            tables, sha256 = predict_fold(fold, opened, inference=inference, force=force, progress=progress)
            predicted.append(replace(fold, tables=tables))
            issued += _decide(predicted[-1], checkpoint_sha256=sha256)
    published = score_folds(replace(read, folds=tuple(predicted)))
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


def _decide(fold: RunFold, *, checkpoint_sha256: str) -> list[IssuedForecast]:
    """Fit and write a fold's decision, and apply it to its validation and test sets."""
    decision = fit_decision(fold.tables[Stage.VAL], checkpoint_sha256=checkpoint_sha256)
    write_decision(fold.folder, decision)
    return [issue_fold(fold, decision, stage) for stage in (Stage.VAL, Stage.TEST)]


def _check_build(fold: RunFold, build: Build) -> None:
    sha256 = build.manifest.sha256
    if fold.record.manifest_sha256 != sha256:
        raise ConflictError(
            fold.folder,
            expected=f"a fold trained on {build.folder} (build {sha256[:12]})",
            found=f"one trained on the {fold.record.task} build {fold.record.manifest_sha256[:12]}",
            fix="name the folder of that build with {shards}, or train again with `sffshards train --force`",
        )
