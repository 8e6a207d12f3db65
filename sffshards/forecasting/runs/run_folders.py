"""Runs on disk: a folder with a table of predictions for each fold and set, and the record of what made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sffshards.base.errors import ConflictError, DamageError, FormatError, InputError
from sffshards.domain.sample_sets import NUM_FOLDS, Variant
from sffshards.domain.task import Task
from sffshards.forecasting.runs.forecast_record import RunKind, find_differences
from sffshards.forecasting.runs.run_fold import RunFold, read_fold, read_tables
from sffshards.training import RECORD_NAME, find_folds


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The folds of one forecaster and task."""

    folder: Path
    """Folder of the run, such as ``runs/48h/oTV``."""
    name: str
    """Name of the run in tables, as `RunFold.name`; and its folder where several runs of the task have that name."""
    folds: tuple[RunFold, ...]
    """The folds that are there, at least one, in ascending order."""

    @property
    def first(self) -> RunFold:
        """The first fold; the others have the same task and options."""
        return self.folds[0]

    @property
    def kind(self) -> RunKind:
        """What makes the forecasts."""
        return self.first.kind

    @property
    def task(self) -> Task:
        """The task that the run forecasts."""
        return self.first.task

    @property
    def evaluated(self) -> tuple[RunFold, ...]:
        """The folds that have predictions."""
        return tuple(fold for fold in self.folds if fold.tables)

    @property
    def rank(self) -> tuple[Task, int, int, Path]:
        """Key of the order of runs in tables: of tasks, then of `RunKind`, the variants of networks, and folders."""
        variant = self.first.variant
        number = -1 if variant is None else list(Variant).index(variant)
        return self.task, list(RunKind).index(self.kind), number, self.folder

    @property
    def missing_folds(self) -> tuple[int, ...]:
        """Numbers of the folds that are not there, or were not evaluated."""
        found = {fold.number for fold in self.evaluated}
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
            fix="name other folds, or train or write this one",
        )
    read = tuple(read_fold(found[fold]) for fold in chosen)
    return Run(folder=folder, name=read[0].name, folds=read)


def find_runs(place: Path, *, folds: Collection[int] | None = None) -> tuple[Run, ...]:
    """Find a run, or all runs in a folder such as ``runs/`` or ``runs/48h/``; tables are left unread.

    They are in the order of `Run.rank`.

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
            found="neither" if place.is_dir() else "a file" if place.is_file() else "no such folder",
            fix="import a table with `sffshards import`" if place.is_file() else "train one with `sffshards train`",
        )
    return tuple(sorted((read_run(folder, folds=folds) for folder in folders), key=lambda run: run.rank))


def find_baselines(runs: Sequence[Run], *, folds: Collection[int] | None = None) -> tuple[Run, ...]:
    """Find the baselines beside runs: those of the same task in the same folder that are not among them.

    Tables are left unread. If all runs are baselines themselves, there are none. Folders that cannot be read, or lack
    one of the folds, are left out.
    """
    others = dict.fromkeys((run.folder.parent, run.task) for run in runs if run.kind is not RunKind.BASELINE)
    known = {run.folder for run in runs}
    found = []
    for parent, task in others:
        folders = sorted({path.parent.parent for path in parent.glob(f"*/fold*/{RECORD_NAME}")} - known)
        for folder in folders:
            with suppress(InputError, DamageError, FormatError):
                run = read_run(folder, folds=folds)
                if run.kind is RunKind.BASELINE and run.task == task:
                    found.append(run)
    return tuple(found)


def gather_runs(place: Path, *, with_baselines: bool = False) -> tuple[Run, ...]:
    """Read a run, or all runs in a folder, with their tables, in the order of `find_runs`.

    Parameters
    ----------
    place
        A run such as ``runs/48h/oTV``, or a folder of runs.
    with_baselines
        Whether to read the baselines beside a run, too, as `find_baselines` finds them.

    Raises
    ------
    InputError
        If there is no run, none was evaluated, or a table is malformed.
    ConflictError
        If the folds of a run were made differently, the networks of a task were trained on different builds, or
        training has found a better checkpoint since the evaluation.
    DamageError
        If a table has changed since it was written.
    """
    found = find_runs(place)
    every = sorted([*found, *find_baselines(found)], key=lambda run: run.rank) if with_baselines else found
    runs = [replace(run, folds=tuple(read_tables(fold) for fold in run.folds)) for run in every]
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
    """Check that the folds of a run were made with the same options, so that they may be averaged.

    Raises
    ------
    ConflictError
        If they were not; the option is named.
    """
    first, *others = run.folds
    for fold in others:
        for name, (expected, found) in find_differences(first.record, fold.record).items():
            raise ConflictError(
                fold.folder,
                expected=f"a fold made as {first.folder.name} was, with {name} {expected}",
                found=f"{name} {found}",
                fix="keep folds that were made differently in a run of their own",
            )


def _check_builds(runs: Sequence[Run]) -> None:
    """Check that all networks of a task were trained on one build."""
    builds: dict[Task, RunFold] = {}
    for fold in (fold for run in runs for fold in run.folds if fold.manifest_sha256):
        first = builds.setdefault(fold.task, fold)
        expected, found = first.manifest_sha256 or "", fold.manifest_sha256 or ""
        if found != expected:
            raise ConflictError(
                fold.folder,
                expected=f"a fold of the build {expected[:12]}, as {first.folder}",
                found=f"one of the build {found[:12]}",
                fix="report on runs of one build at a time, or train again",
            )
