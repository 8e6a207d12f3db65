"""Runs on disk: a folder with a table of predictions for each fold and set, and the record of what made them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import ConflictError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.sample_sets import NUM_FOLDS, Stage
from sffshards.domain.task import Task
from sffshards.forecasting.runs.predictions_record import check_tables
from sffshards.forecasting.runs.predictions_table import Predictions, plain_views, predictions_path, read_predictions
from sffshards.training import METRICS_NAME, RECORD_NAME, FoldRecord, find_folds, read_record


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """A row of a fold's table of epochs."""

    epoch: int
    train_loss: float
    valid_loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFold:
    """A fold of a run: the record of its training, and its predictions."""

    folder: Path
    """Folder of the fold, such as ``runs/48h/oTV/fold0``."""
    record: FoldRecord
    """Record of the training that made the fold."""
    tables: dict[Stage, Predictions] = field(default_factory=dict)
    """Predictions of all three sets; empty where the fold was not evaluated, or its tables were not read."""
    epochs: tuple[Epoch, ...] = ()
    """Losses by epoch; empty where there is no table of them, or it was not read."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the files that were read, by file name."""

    @property
    def checkpoint(self) -> Path:
        """Path of the best checkpoint; raises `InputError` where there is none yet."""
        if self.record.best is None:
            raise InputError(
                self.folder, expected="a checkpoint", found="none yet", fix="train this fold for an epoch at least"
            )
        return self.folder / self.record.best.name

    def plain(self, stage: Stage) -> Predictions:
        """Return the predictions of a set over plain views, each sequence once."""
        return plain_views(self.tables[stage])

    @property
    def climatology(self) -> float:
        """Rate of flares in the training set, over plain views; 0 where it is empty."""
        labels = self.plain(Stage.TRAIN).label
        return float(labels.mean()) if len(labels) else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The folds of one variant and task."""

    folder: Path
    """Folder of the run, such as ``runs/48h/oTV``."""
    name: str
    """Name of the run in tables: the variant, and its folder where several runs of the task are of that variant."""
    folds: tuple[RunFold, ...]
    """The folds that were trained, at least one, in ascending order."""

    @property
    def first(self) -> FoldRecord:
        """Record of the first fold; the others have the same task and options."""
        return self.folds[0].record

    @property
    def task(self) -> Task:
        """The task that the run forecasts."""
        return self.first.task

    @property
    def evaluated(self) -> tuple[RunFold, ...]:
        """The folds that have predictions."""
        return tuple(fold for fold in self.folds if fold.tables)

    @property
    def missing_folds(self) -> tuple[int, ...]:
        """Numbers of the folds that were not trained or not evaluated."""
        found = {fold.record.fold for fold in self.evaluated}
        return tuple(fold for fold in range(NUM_FOLDS) if fold not in found)


def read_run(folder: Path, *, folds: Collection[int] | None = None) -> Run:
    """Read the records of a run's folds; tables are left unread.

    Parameters
    ----------
    folder
        Folder of the run, such as ``runs/48h/oTV``.
    folds
        Numbers of the folds to read; None for all.

    Raises
    ------
    InputError
        If there is no run, or a fold is missing.
    """
    found = find_folds(folder)
    chosen = list(found) if folds is None else sorted(set(folds))
    if missing := [fold for fold in chosen if fold not in found]:
        raise InputError(
            folder,
            expected=f"fold {missing[0]}",
            found=f"folds {', '.join(map(str, found))} only",
            fix=f"train it with `sffshards train --fold {missing[0]}`, or name other folds",
        )
    read = tuple(RunFold(folder=found[fold], record=read_record(found[fold])) for fold in chosen)
    return Run(folder=folder, name=str(read[0].record.options.variant), folds=read)


def find_runs(place: Path, *, folds: Collection[int] | None = None) -> tuple[Run, ...]:
    """Find a run, or all runs in a folder such as ``runs/`` or ``runs/48h/``; tables are left unread.

    Raises
    ------
    InputError
        If there is none, or a fold is missing.
    """
    records = (path for depth in ("", "*/", "*/*/") for path in sorted(place.glob(f"{depth}fold*/{RECORD_NAME}")))
    folders = dict.fromkeys(path.parent.parent for path in records)
    if not folders:
        raise InputError(
            place,
            expected="a run, with fold0/run.json or the like, or a folder of runs",
            found="neither" if place.is_dir() else "no such folder",
            fix="train one with `sffshards train`",
        )
    return tuple(read_run(folder, folds=folds) for folder in folders)


def gather_runs(place: Path) -> tuple[Run, ...]:
    """Read a run, or all runs in a folder, with their tables, in the order of tasks and variants.

    Parameters
    ----------
    place
        A run such as ``runs/48h/oTV``, or a folder of runs.

    Raises
    ------
    InputError
        If there is no run, none was evaluated, or a table is malformed.
    ConflictError
        If the folds of a run were trained differently, the runs of a task were trained on different builds, or
        training has found a better checkpoint since the evaluation.
    DamageError
        If a table has changed since it was written.
    """
    runs = sorted(
        (replace(run, folds=tuple(_read_tables(fold) for fold in run.folds)) for run in find_runs(place)), key=_rank
    )
    num_alike = Counter((run.task, run.name) for run in runs)
    runs = [
        run if num_alike[run.task, run.name] == 1 else replace(run, name=f"{run.name} ({run.folder})") for run in runs
    ]
    if not any(run.evaluated for run in runs):
        raise InputError(
            place,
            expected="predictions of at least one fold",
            found="folds that were not evaluated",
            fix=f"run `sffshards evaluate {place}`",
        )
    _check_builds(runs)
    for run in runs:
        check_folds_alike(run)
    return tuple(runs)


def check_folds_alike(run: Run) -> None:
    """Check that the folds of a run were trained with the same options, so that they may be averaged.

    Raises
    ------
    ConflictError
        If they were not; the option is named.
    """
    first, *others = run.folds
    for fold in others:
        for name, (expected, found) in first.record.options.differences(fold.record.options).items():
            raise ConflictError(
                fold.folder,
                expected=f"a fold trained as {first.folder.name} was, with {name} {expected}",
                found=f"{name} {found}",
                fix="keep folds that were trained differently in a run of their own",
            )


def _rank(run: Run) -> tuple[Task, int, Path]:
    variant = run.first.options.variant
    return run.task, list(type(variant)).index(variant), run.folder


def _read_tables(fold: RunFold) -> RunFold:
    paths = {stage: predictions_path(fold.folder, stage) for stage in Stage}
    metrics = fold.folder / METRICS_NAME
    is_whole = all(path.is_file() for path in paths.values())
    read = [*(paths.values() if is_whole else ()), *([metrics] if metrics.is_file() else ())]
    fingerprints = {path.name: hash_file(path) for path in read}
    if is_whole:
        check_tables(fold.folder, fold.record, {stage: fingerprints[path.name] for stage, path in paths.items()})
    return replace(
        fold,
        tables={stage: read_predictions(path) for stage, path in paths.items()} if is_whole else {},
        epochs=tuple(_read_epochs(metrics)) if metrics.is_file() else (),
        fingerprints=fingerprints,
    )


def _read_epochs(path: Path) -> Iterable[Epoch]:
    for number, row in enumerate(csv.DictReader(io.StringIO(read_text(path))), start=2):
        try:
            losses = {name: float(row[name]) for name in ("train_loss", "valid_loss")}
            yield Epoch(epoch=int(row["epoch"]), **losses)
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}:{number}",
                expected="a row of a table of epochs",
                found="something else",
                fix="restore the file, or remove it to omit its curve",
            ) from None


def _check_builds(runs: Sequence[Run]) -> None:
    """Check that all folds of a task were trained on one build, so that they can be compared."""
    builds: dict[Task, RunFold] = {}
    for fold in (fold for run in runs for fold in run.folds):
        first = builds.setdefault(fold.record.task, fold)
        if fold.record.manifest_sha256 != first.record.manifest_sha256:
            raise ConflictError(
                fold.folder,
                expected=f"a fold of the build {first.record.manifest_sha256[:12]}, as {first.folder}",
                found=f"one of the build {fold.record.manifest_sha256[:12]}",
                fix="report on runs of one build at a time, or train again",
            )
