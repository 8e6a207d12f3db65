"""Write the folds of a run whose forecasts no network of this package made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sffshards import __version__
from sffshards.base.atomic_files import storage_errors, write_atomic
from sffshards.base.errors import ConflictError, DamageError, FormatError
from sffshards.base.file_hashes import hash_file
from sffshards.base.folder_locks import folder_lock
from sffshards.base.output_checks import check_writable
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import NUM_FOLDS, Stage
from sffshards.forecasting.runs.decision import DECISION_NAME, write_decision
from sffshards.forecasting.runs.fold_ensemble import decide_fold
from sffshards.forecasting.runs.forecast_record import (
    ForecastRecord,
    check_file_names,
    find_differences,
    read_any_record,
    write_forecast_record,
)
from sffshards.forecasting.runs.predictions_table import (
    Predictions,
    format_predictions,
    predictions_path,
    sort_samples,
)
from sffshards.forecasting.runs.run_evaluation import LOCK_NAME
from sffshards.forecasting.runs.run_fold import RunFold
from sffshards.forecasting.runs.run_folders import Run, read_run
from sffshards.training import RECORD_NAME, fold_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldForecasts:
    """The forecasts of a fold's sets, as a forecaster makes them."""

    tables: Mapping[Stage, Predictions]
    """Forecasts of each set that is forecast, of the test set at least."""
    missing: Mapping[Stage, str] = field(default_factory=dict)
    """Why there are no forecasts of a set, for each of the others."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files of the fold, such as a fitted model, by name."""

    def __post_init__(self) -> None:
        if Stage.TEST not in self.tables:
            raise ValueError("there must be forecasts of the test set")
        if sorted([*self.tables, *self.missing]) != sorted(Stage) or not all(self.missing.values()):
            raise ValueError("each set must have forecasts, or a reason why not")
        check_file_names(self.files)


_Make = Callable[[ForecastRecord], FoldForecasts]


def write_run(run: Path, plans: Sequence[ForecastRecord], make: _Make, *, force: bool, progress: Progress) -> Run:
    """Make the folds of a run current: write those that are missing, changed, or made from other sources.

    All folds are checked before any forecast is made, and a fold appears only when it is whole.

    Parameters
    ----------
    run
        Folder of the run, such as ``runs/48h/persistence``.
    plans
        Records of the run's folds, without tables. A forecaster that does not depend on the fold has all five, too.
    make
        Function that makes the forecasts of a fold. It is not called for a fold that is current.
    force
        Whether to make all forecasts again, and to replace another run that no network made.
    progress
        Receiver of progress.

    Returns
    -------
    Run
        The run, with its tables unread.

    Raises
    ------
    ConflictError
        If the folder holds a network, or a run of another kind, name, task or options, or further folds, and ``force``
        is false; or if another process writes to it.
    DamageError
        If a record in the folder is damaged, and ``force`` is false.
    StorageError
        If the folder cannot be written to.
    """
    further = check_run(run, plans, force=force)
    check_writable(run)
    with progress.task(f"{plans[0].name}, folds", len(plans)) as advance:
        for plan in plans:
            write_fold(fold_folder(run, plan.fold), plan, make, force=force, progress=progress)
            advance(1)
    for folder in further:
        with folder_lock(folder, progress=progress, wait=False, name=LOCK_NAME):
            _remove(folder, _find_same(folder, plans[0], force=force))
    return read_run(run)


def check_run(run: Path, plans: Sequence[ForecastRecord], *, force: bool) -> list[Path]:
    """Check, before any forecast is made, that `write_run` may write to a folder, and write nothing.

    Parameters
    ----------
    run, plans, force
        As for `write_run`, whose errors of what the folder holds it raises.

    Returns
    -------
    list of Path
        Folders of the folds that are there but not in the plans, which `write_run` removes.
    """
    for plan in plans:
        for name, (expected, found) in find_differences(plans[0], plan).items():
            raise ValueError(f"folds of a run must be alike, got {name} {expected} and {found}")
    folders = {plan.fold: fold_folder(run, plan.fold) for plan in plans}
    there = {fold: fold_folder(run, fold) for fold in range(NUM_FOLDS)}
    further = [folder for fold, folder in there.items() if fold not in folders and (folder / RECORD_NAME).is_file()]
    for folder in [*folders.values(), *further]:
        _find_same(folder, plans[0], force=force)
    if further and not force:
        raise _conflict(further[0], f"no fold but {', '.join(map(str, folders))}", "this one too", "pass {force}")
    return further


def write_fold(folder: Path, plan: ForecastRecord, make: _Make, *, force: bool, progress: Progress) -> RunFold:
    """Make a fold current: its tables in canonical order, its further files, its decision and, last, its record.

    Parameters
    ----------
    folder
        Folder of the fold, such as ``runs/48h/persistence/fold0``.
    plan, make, force, progress
        As for `write_run`, whose errors it raises, with the record of this fold.

    Returns
    -------
    RunFold
        The fold; without its tables if it was current.
    """
    there = _find_same(folder, plan, force=force)
    if there is not None and not force and there.is_made_as(plan) and _is_unchanged(folder, there):
        return RunFold(folder=folder, record=there)
    made = make(plan)
    tables = {
        stage: sort_samples(made.tables[stage], where=f"{folder}, {stage} set")
        for stage in Stage
        if stage in made.tables
    }
    encoded = {stage: format_predictions(table) for stage, table in tables.items()}
    record = replace(
        plan,
        missing={stage: made.missing[stage] for stage in Stage if stage in made.missing},
        tables={stage: hashlib.sha256(data).hexdigest() for stage, data in encoded.items()},
        files={name: hashlib.sha256(data).hexdigest() for name, data in made.files.items()},
        program_version=__version__,
    )
    fold = RunFold(folder=folder, record=record, tables=tables)
    with folder_lock(folder, progress=progress, wait=False, name=LOCK_NAME):
        _remove(folder, _find_same(folder, plan, force=force))
        for stage, data in encoded.items():
            write_atomic(predictions_path(folder, stage), data)
        for name, data in made.files.items():
            write_atomic(folder / name, data)
        write_decision(folder, decide_fold(fold))
        write_forecast_record(folder, record)
    return fold


def _find_same(folder: Path, plan: ForecastRecord, *, force: bool) -> ForecastRecord | None:
    """Return the record of forecasts that a folder holds and that may be replaced, or None if there is none."""
    if any(folder.glob("*.ckpt")):
        raise _conflict(folder, "a folder without a network", "checkpoints", "name another folder")
    if not (folder / RECORD_NAME).is_file():
        return None
    try:
        record = read_any_record(folder)
    except (DamageError, FormatError):
        if force:
            return None
        raise
    if not isinstance(record, ForecastRecord):
        raise _conflict(folder, "a folder without a network", "the record of a training", "name another folder")
    for name, (found, expected) in record.differences(plan).items() if not force else ():
        raise _conflict(
            folder,
            f"no run, or one with {name} {expected}",
            f"{name} {found}",
            "pass {force} to replace it, or name another run",
        )
    return record


def _is_unchanged(folder: Path, record: ForecastRecord) -> bool:
    return all(path.is_file() and hash_file(path) == sha256 for path, sha256 in _list_files(folder, record).items())


def _list_files(folder: Path, record: ForecastRecord) -> dict[Path, str]:
    """Return the SHA-256 of the files that a record describes, by path."""
    tables = {predictions_path(folder, stage): sha256 for stage, sha256 in record.tables.items()}
    return tables | {folder / name: sha256 for name, sha256 in record.files.items()}


def _remove(folder: Path, record: ForecastRecord | None) -> None:
    """Remove the forecasts that a record describes, the record first: without it, there is no fold."""
    described = [] if record is None else list(_list_files(folder, record))
    with storage_errors(folder):
        for path in (folder / RECORD_NAME, folder / DECISION_NAME, *described):
            path.unlink(missing_ok=True)


def _conflict(folder: Path, expected: str, found: str, fix: str) -> ConflictError:
    return ConflictError(folder, expected=expected, found=found, fix=fix)
