"""What a folder of runs holds, read into plain values: records, tables of predictions, epochs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import read_text
from sffshards.base.errors import ConflictError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.sample_sets import NUM_FOLDS, Stage
from sffshards.domain.task import PUBLISHED_TASKS, Task
from sffshards.domain.views import View
from sffshards.forecasting.runs import Predictions, check_tables, find_runs, predictions_path, read_predictions
from sffshards.training import METRICS_NAME, FoldRecord, find_folds, read_record

__all__ = ["Epoch", "FoldResult", "RunResult", "gather_runs", "plain_rows"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """A row of a fold's table of epochs."""

    epoch: int
    train_loss: float
    valid_loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldResult:
    """What a fold's folder holds."""

    folder: Path
    record: FoldRecord
    tables: dict[Stage, Predictions]
    """Of all three sets; empty where the fold was not evaluated."""
    epochs: tuple[Epoch, ...]
    fingerprints: dict[str, str]
    """SHA-256 of the files read, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """A run: the folds of one variant and horizon, trained alike."""

    folder: Path
    name: str
    """The variant, and the folder too where several runs of the horizon are of that variant."""
    folds: tuple[FoldResult, ...]

    @property
    def first(self) -> FoldRecord:
        """The record of the first fold: in horizon and options, the others are equal."""
        return self.folds[0].record

    @property
    def task(self) -> Task:
        """The horizon of the labels."""
        return self.first.task

    @property
    def evaluated(self) -> tuple[FoldResult, ...]:
        """The folds of which there are predictions."""
        return tuple(fold for fold in self.folds if fold.tables)

    @property
    def missing_folds(self) -> tuple[int, ...]:
        """The folds that were not evaluated, or not trained."""
        there = {fold.record.fold for fold in self.evaluated}
        return tuple(fold for fold in range(NUM_FOLDS) if fold not in there)


def gather_runs(place: Path) -> tuple[RunResult, ...]:
    """Read a run, or all runs in a folder, in the order of horizons and variants.

    Parameters
    ----------
    place
        A run such as ``runs/48h/oTV``, or a folder of runs.

    Raises
    ------
    InputError
        If there is no run, or none was evaluated, or a table is malformed.
    ConflictError
        If folds of a run were trained otherwise, or runs of a horizon on other builds, or trained on since.
    DamageError
        If a table was changed since it was written.
    """
    read = [[_read_fold(folder) for folder in find_folds(run).values()] for run in find_runs(place)]
    read.sort(
        key=lambda folds: (list(PUBLISHED_TASKS).index(folds[0].record.task), _variant_order(folds), folds[0].folder)
    )
    of_variant = Counter((folds[0].record.task, folds[0].record.options.variant) for folds in read)
    runs = []
    for folds in read:
        record, folder = folds[0].record, folds[0].folder.parent
        alone = of_variant[record.task, record.options.variant] == 1
        name = str(record.options.variant) if alone else f"{record.options.variant} ({folder})"
        runs.append(RunResult(folder=folder, name=name, folds=tuple(folds)))
    if not any(run.evaluated for run in runs):
        raise InputError(
            place,
            expected="predictions of at least one fold",
            found="folds that were not evaluated",
            fix=f"run `sffshards evaluate {place}`",
        )
    _check_alike(runs)
    return tuple(runs)


def plain_rows(table: Predictions) -> Predictions:
    """Give the rows of a table that show a sequence as it is, so that each sequence counts once."""
    keep = np.array([view is View.NF for view in table.view], bool)
    return _take(table, np.flatnonzero(keep))


def _take(table: Predictions, rows: NDArray[np.int64]) -> Predictions:
    chosen = rows.tolist()
    return Predictions(
        sequence=tuple(table.sequence[row] for row in chosen),
        harp=table.harp[rows],
        t_end_tai=table.t_end_tai[rows],
        view=tuple(table.view[row] for row in chosen),
        label=table.label[rows],
        probability=table.probability[rows],
    )


def _variant_order(folds: Sequence[FoldResult]) -> int:
    variant = folds[0].record.options.variant
    return list(type(variant)).index(variant)


def _read_fold(folder: Path) -> FoldResult:
    paths = {stage: predictions_path(folder, stage) for stage in Stage}
    whole = all(path.is_file() for path in paths.values())
    read = [*(paths.values() if whole else ()), *(path for path in [folder / METRICS_NAME] if path.is_file())]
    record = read_record(folder)
    fingerprints = {path.name: hash_file(path) for path in read}
    if whole:
        check_tables(folder, record, {stage: fingerprints[path.name] for stage, path in paths.items()})
    return FoldResult(
        folder=folder,
        record=record,
        tables={stage: read_predictions(path) for stage, path in paths.items()} if whole else {},
        epochs=_read_epochs(folder / METRICS_NAME),
        fingerprints=fingerprints,
    )


def _read_epochs(path: Path) -> tuple[Epoch, ...]:
    if not path.is_file():
        return ()
    epochs = []
    for number, row in enumerate(csv.DictReader(io.StringIO(read_text(path))), start=2):
        try:
            losses = {name: float(row[name]) for name in ("train_loss", "valid_loss")}
            epochs.append(Epoch(epoch=int(row["epoch"]), **losses))
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}:{number}",
                expected="a row of a table of epochs",
                found="something else",
                fix="restore the file, or remove it to do without its curve",
            ) from None
    return tuple(epochs)


def _check_alike(runs: Sequence[RunResult]) -> None:
    """Refuse to put side by side what was not computed from the same samples in the same way."""
    builds: dict[Task, FoldResult] = {}
    for fold in (fold for run in runs for fold in run.folds):
        first = builds.setdefault(fold.record.task, fold)
        if fold.record.manifest_sha256 != first.record.manifest_sha256:
            raise ConflictError(
                fold.folder,
                expected=f"a fold of the build {first.record.manifest_sha256[:12]}, as {first.folder}",
                found=f"one of the build {fold.record.manifest_sha256[:12]}",
                fix="report on runs of one build at a time, or train again",
            )
    for run in runs:
        for fold in run.folds[1:]:
            for name, (expected, found) in run.first.options.differences(fold.record.options).items():
                raise ConflictError(
                    fold.folder,
                    expected=f"a fold trained as {run.folds[0].folder.name} was, with {name} {expected}",
                    found=f"{name} {found}",
                    fix="keep folds that were trained otherwise in a run of their own",
                )
