"""Score every fold of a run: predict its sets with its best checkpoint, count, decide, verify, average over folds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sffshards.base.errors import ConflictError, InputError
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs.decision import fit_decision, write_decision
from sffshards.forecasting.runs.fold_forecasts import Issued, issue_forecast
from sffshards.forecasting.runs.network_prediction import FoldPredictions, Inference, predict_fold
from sffshards.forecasting.runs.predictions_table import plain_views
from sffshards.forecasting.runs.run_scores import RunScores, score_stage, summarise_scores
from sffshards.forecasting.runs.run_verification import verify_forecasts
from sffshards.forecasting.runs.score_tables import write_scores
from sffshards.forecasting.runs.verification_tables import write_verification
from sffshards.shards.read import Build, Place, open_build
from sffshards.training import FoldRecord, find_folds, read_record
from sffshards.verification import Resampling, count_outcomes

__all__ = ["evaluate_run"]


def evaluate_run(
    run: Path,
    build: Place,
    *,
    folds: Iterable[int] | None,
    inference: Inference,
    force: bool,
    progress: Progress,
) -> RunScores:
    """Predict and score the folds of a run.

    Writes ``predictions-<stage>.csv`` and ``decision.json`` in each fold's folder; and, when all folds that the run has
    are scored, ``scores.json``, ``scores.csv``, ``verification.json`` and ``verification.csv`` in the run's.

    Parameters
    ----------
    run
        Folder of the run, such as ``runs/48h/oTV``.
    build
        Folder of the build that it was trained on.
    folds
        Which folds; None for all that are there.
    inference
        How to compute.
    force
        Predict anew even where tables of the same checkpoint lie.
    progress
        Told how far the work is.

    Raises
    ------
    InputError
        If a fold is not there, or its checkpoint cannot be used.
    ConflictError
        If a fold was trained on another build, or with other options than the others.
    """
    records = _read_records(run, folds)
    stages = []
    issued: list[Issued] = []
    with open_build(build, check=inference.check) as opened:
        for folder, record in records.items():
            _check_build(folder, record, opened)
        _check_alike(records)
        for folder, record in records.items():
            if not record.finished:
                progress.note(f"{folder}: training is not finished; its best epoch so far is scored")
            predicted = predict_fold(folder, record, opened, inference=inference, force=force, progress=progress)
            for stage, predictions in predicted.tables.items():
                counts = count_outcomes(predictions.label, predictions.probability)
                stages.append(score_stage(record.fold, stage, counts))
            issued += _decide(folder, record.fold, predicted)
    task = next(iter(records.values())).task
    scores = RunScores(
        run=run,
        records=tuple(records.values()),
        stages=tuple(stages),
        summary=summarise_scores(stages),
        verification=verify_forecasts(issued, task=task, resampling=Resampling()),
    )
    if set(records) == set(find_folds(run).values()):
        write_scores(scores)
        write_verification(scores)
    else:
        progress.note(f"{run}: scores.json and scores.csv are for all folds, and left as they are")
    return scores


def _decide(folder: Path, fold: int, predicted: FoldPredictions) -> list[Issued]:
    """Fit and write a fold's decision, and apply it to its validation and test sets."""
    decision = fit_decision(predicted.tables[Stage.VAL], checkpoint_sha256=predicted.checkpoint_sha256)
    write_decision(folder, decision)
    climatology = float(np.mean(plain_views(predicted.tables[Stage.TRAIN]).label))
    return [
        issue_forecast(plain_views(predicted.tables[stage]), decision, fold=fold, stage=stage, climatology=climatology)
        for stage in (Stage.VAL, Stage.TEST)
    ]


def _read_records(run: Path, folds: Iterable[int] | None) -> dict[Path, FoldRecord]:
    found = find_folds(run)
    chosen = list(found) if folds is None else sorted(set(folds))
    missing = [fold for fold in chosen if fold not in found]
    if missing:
        raise InputError(
            run,
            expected=f"fold {missing[0]}",
            found=f"folds {', '.join(str(fold) for fold in found)} only",
            fix=f"train it with `sffshards train --fold {missing[0]}`",
        )
    return {found[fold]: read_record(found[fold]) for fold in chosen}


def _check_alike(records: dict[Path, FoldRecord]) -> None:
    """Refuse to average over folds that were not trained in the same way."""
    first, *others = records
    for folder in others:
        for name, (expected, found) in records[first].options.differences(records[folder].options).items():
            raise ConflictError(
                folder,
                expected=f"a fold trained as {first.name} was, with {name} {expected}",
                found=f"{name} {found}",
                fix="train the folds of a run alike, or score one with {fold}",
            )


def _check_build(folder: Path, record: FoldRecord, build: Build) -> None:
    sha256 = build.manifest.sha256
    if record.manifest_sha256 != sha256:
        raise ConflictError(
            folder,
            expected=f"a fold trained on {build.folder} (build {sha256[:12]})",
            found=f"one trained on the {record.task} build {record.manifest_sha256[:12]}",
            fix="name the folder of that build with {shards}, or train it again with `sffshards train --force`",
        )
