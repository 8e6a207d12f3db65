"""A run that combines the forecasts of other runs by late fusion; its members must forecast the same samples."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import ConflictError, InputError
from sffshards.base.json_records import JsonFormat, format_json, read_record, seal, to_plain
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.combinations.logit_regression import (
    MAX_GROUPS,
    PENALTY_C,
    LogitRegression,
    cross_fit,
    fit_regression,
)
from sffshards.forecasting.runs import (
    FoldForecasts,
    ForecastRecord,
    Predictions,
    Run,
    RunFold,
    RunKind,
    SourceFile,
    gather_runs,
    plain_predictions,
    predictions_path,
    write_run,
)

COMBINATION_NAME = "combination.json"
"""File name of the fitted regression in a fold's folder."""

_EXPECTS = JsonFormat(
    expected="the regression of a combination", fix="write it again with `sffshards combine`", version=1
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Combination:
    """The regression of a fold, and where the runs of its members are."""

    regression: LogitRegression
    """Regression on the members' logits."""
    folders: tuple[str, ...]
    """Folders of the members' runs, relative to that of the combination, in the order of the weights."""

    def __post_init__(self) -> None:
        if len(self.folders) != len(self.regression.members):
            raise ValueError(f"there must be one folder per member, got {self.folders}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Members:
    """The members of one fold."""

    names: tuple[str, ...]
    folders: tuple[str, ...]
    """Folders of the members' runs, relative to that of the combination."""
    folds: tuple[RunFold, ...]

    def require_alike(self) -> None:
        """Raise `ConflictError` if the members are not of the same fold: its samples, labels and protocol."""
        first = self.folds[0]
        for other in self.folds[1:]:
            for what in ("task", "protocol", "harp_numbers"):
                mine, theirs = getattr(first, what), getattr(other, what)
                if mine != theirs:
                    raise _conflict(other, f"{what.replace('_', ' ')} {mine}, as of {first.folder}", str(theirs))
            for stage in (Stage.VAL, Stage.TEST):
                num_mine, num_theirs = len(first.plain(stage)), len(other.plain(stage))
                if not first.plain(stage).is_alike(other.plain(stage)):
                    found = f"others, {num_theirs:,}" if num_mine != num_theirs else "others, or other labels"
                    raise _conflict(other, f"the {num_mine:,} {stage} samples of {first.folder}", found)

    def left_out(self) -> dict[Stage, str]:
        """Return why a set is not combined, for each that is not: only sets of the same samples and labels can be.

        `require_alike` refuses members of other validation or test sets. Of the training sets nothing is chosen, and
        forecasters may leave samples out of theirs.
        """
        reasons = {
            stage: "not all members forecast it"
            for stage in Stage
            if any(stage not in fold.tables for fold in self.folds)
        }
        if Stage.TRAIN not in reasons:
            first, *others = (fold.plain(Stage.TRAIN) for fold in self.folds)
            if not all(first.is_alike(other) for other in others):
                reasons[Stage.TRAIN] = "the members forecast other samples of it, or have other labels"
        return reasons

    def probabilities(self, stage: Stage) -> NDArray[np.float64]:
        """Return the probabilities of a set by each member, shape (n, M)."""
        return np.column_stack([fold.plain(stage).probability for fold in self.folds])

    def forecast(self, stage: Stage, probability: NDArray[np.float64]) -> Predictions:
        """Return a forecast of the samples of a set."""
        samples = self.folds[0].plain(stage)
        return plain_predictions(
            harp=samples.harp, t_end_tai=samples.t_end_tai, label=samples.label, probability=probability
        )


def combine_runs(
    members: Sequence[Path],
    run: Path,
    *,
    name: str,
    folds: Collection[int] | None = None,
    force: bool,
    progress: Progress,
) -> Run:
    """Write a run that combines the forecasts of others: logistic regression on the logits of their probabilities.

    The regression of a fold is fitted to its validation set. It is written as ``combination.json`` and makes the
    forecasts of the test and training sets. Thresholds and calibration are then chosen on forecasts of the validation
    set, and these must not come from a regression that knows their labels: each region of it is forecast by a
    regression that is fitted to other regions.

    Parameters
    ----------
    members
        Folders of two or more runs of the same task and samples.
    run
        Folder of the combination, such as ``runs/48h/both``.
    name
        Name of the combination in tables.
    folds
        Numbers of the folds to combine, which all members must have; None for all, which must be the same.
    force
        Whether to replace another combination, or one of other members.
    progress
        Receiver of progress.

    Raises
    ------
    InputError
        If there are fewer than two members, one was not evaluated or has no forecasts of validation, or a validation
        set has one outcome only; or the folder of the combination is that of a member.
    ConflictError
        If members are of other tasks, folds or samples, or the folder holds another run, and ``force`` is false.
    DamageError
        If a table has changed since it was written.
    StorageError
        If the folder cannot be written to.
    """
    if len({path.resolve() for path in members}) < max(2, len(members)):
        found = ", ".join(map(str, members)) or "none"
        raise InputError("members", expected="two or more runs, each once", found=found, fix="name further runs")
    if own := [path for path in members if path.resolve() == run.resolve()]:
        fix = "name the combination otherwise"
        raise InputError(run, expected="a folder of its own for the combination", found=f"member {own[0]}", fix=fix)
    read = [_choose_folds(_read_member(path), folds) for path in members]
    by_fold = _match_folds(read, run)
    plans = [_plan(of, name=name) for of in by_fold.values()]
    return write_run(run, plans, lambda plan: _make_fold(by_fold[plan.fold]), force=force, progress=progress)


def read_combination(fold: RunFold) -> Combination:
    """Read the regression of a fold of a combination, and where its members are.

    Raises
    ------
    InputError
        If the fold is not of a combination.
    DamageError
        If the file has changed since it was written.
    """
    return read_record(fold.require_file(COMBINATION_NAME), Combination, expects=_EXPECTS)


def find_combined(run: Run) -> list[Run]:
    """Return the runs that a combination combines, with its folds and the tables that it is fitted to.

    Raises
    ------
    InputError
        If the run is no combination, or a member is missing.
    ConflictError
        If the folds have other members, or a member has changed since the combination was fitted.
    DamageError
        If a file has changed since it was written.
    """
    read = {fold.number: read_combination(fold) for fold in run.folds}
    (folders, *others) = dict.fromkeys(of.folders for of in read.values())
    if others:
        found = f"{', '.join(others[0])} in another fold"
        raise ConflictError(run.folder, expected=f"members {', '.join(folders)}", found=found, fix=_EXPECTS.fix)
    members = [_read_member(Path(os.path.normpath(run.folder / folder))) for folder in folders]
    return [
        replace(member, folds=tuple(_find_member(fold, member, place=place) for fold in run.folds))
        for place, member in enumerate(members)
    ]


def _find_member(fold: RunFold, member: Run, *, place: int) -> RunFold:
    """Return the same fold of a member, if it has the tables that the combination is fitted to.

    The record of the fold lists the tables of the first member, then those of the next.
    """
    found = next((of for of in member.folds if of.number == fold.number), None)
    sources = fold.record.sources if isinstance(fold.record, ForecastRecord) else ()
    num_tables = len(sources) // len(read_combination(fold).folders)
    fitted_to = {source.sha256 for source in sources[place * num_tables : (place + 1) * num_tables]}
    if found is None or not fitted_to <= set(found.fingerprints.values()):
        raise ConflictError(
            fold.folder,
            expected=f"a combination that is fitted to the forecasts of {member.folder}, fold {fold.number}",
            found="one of earlier forecasts" if found else "no such fold",
            fix=_EXPECTS.fix,
        )
    return found


def _read_member(path: Path) -> Run:
    found = gather_runs(path)
    if len(found) > 1 or found[0].folder != path:
        raise InputError(path, expected="one run", found="a folder of runs", fix="name the run, such as runs/48h/oTV")
    (run,) = found
    for fold in run.folds:
        if not fold.tables:
            fix = f"run `sffshards evaluate {path}`"
            raise InputError(fold.folder, expected="predictions", found="a fold that was not evaluated", fix=fix)
        if Stage.VAL not in fold.tables:
            raise InputError(
                fold.folder,
                expected="forecasts of the validation set, to which a combination is fitted",
                found=f"none, as {fold.missing[Stage.VAL]}",
                fix="leave out this run, or complete its forecasts",
            )
    return run


def _choose_folds(member: Run, folds: Collection[int] | None) -> Run:
    """Return a member with the chosen folds only."""
    numbers = [fold.number for fold in member.folds]
    if lacking := sorted(set(folds or ()) - set(numbers)):
        found = f"folds {', '.join(map(str, numbers))}"
        raise InputError(member.folder, expected=f"fold {lacking[0]}", found=found, fix="name a fold of all members")
    return replace(member, folds=tuple(fold for fold in member.folds if folds is None or fold.number in folds))


def _match_folds(members: Sequence[Run], run: Path) -> dict[int, _Members]:
    """Return the members of each fold; raises `ConflictError` if they do not have the same."""
    first = members[0]
    numbers = [fold.number for fold in first.folds]
    for other in members[1:]:
        theirs = [fold.number for fold in other.folds]
        if theirs != numbers and other.task == first.task:
            found = f"folds {', '.join(map(str, theirs))}"
            expected = f"folds {', '.join(map(str, numbers))}, as of {first.folder}"
            raise ConflictError(
                other.folder,
                expected=expected,
                found=found,
                fix="combine runs of the same folds, or one fold of all with {fold}",
            )
    known = [one.name for one in members]
    names = tuple(one.name if known.count(one.name) == 1 else str(one.folder) for one in members)
    folders = tuple(os.path.relpath(one.folder.resolve(), run.resolve()) for one in members)
    matched = {
        of[0].number: _Members(names=names, folders=folders, folds=of)
        for of in zip(*(one.folds for one in members), strict=False)
    }
    for of in matched.values():
        of.require_alike()
    return matched


def _plan(of: _Members, *, name: str) -> ForecastRecord:
    first = of.folds[0]
    left_out = of.left_out()
    stages = [stage for stage in Stage if stage not in left_out]
    tables = [predictions_path(fold.folder, stage) for fold in of.folds for stage in stages]
    return ForecastRecord(
        kind=RunKind.COMBINATION,
        name=name,
        description=f"logistic regression on the logits of {' and '.join(of.names)}",
        task=first.task,
        fold=first.number,
        protocol=first.protocol,
        climatology=first.climatology,
        options={"members": ", ".join(of.folders), "penalty_c": PENALTY_C, "max_groups": MAX_GROUPS},
        sources=tuple(map(SourceFile.read, tables)),
        harp_numbers=first.harp_numbers,
    )


def _make_fold(of: _Members) -> FoldForecasts:
    labels, harps = of.folds[0].plain(Stage.VAL).label, of.folds[0].plain(Stage.VAL).harp
    try:
        regression = fit_regression(labels, of.probabilities(Stage.VAL), members=of.names)
    except InputError as error:
        where = f"{of.folds[0].folder}, validation set"
        raise InputError(
            where, expected=error.expected, found=error.found, fix="combine runs of another split"
        ) from None
    missing = of.left_out()
    tables: dict[Stage, Predictions] = {
        stage: of.forecast(stage, regression.apply(of.probabilities(stage)))
        for stage in Stage
        if stage not in missing and stage is not Stage.VAL
    }
    fitted_elsewhere = cross_fit(labels, of.probabilities(Stage.VAL), harps)
    if fitted_elsewhere is None:
        missing[Stage.VAL] = "it has too few flaring regions to fit the combination to some and forecast the others"
    else:
        tables[Stage.VAL] = of.forecast(Stage.VAL, fitted_elsewhere)
    fitted = Combination(regression=regression, folders=of.folders)
    return FoldForecasts(
        tables=tables,
        missing=missing,
        files={COMBINATION_NAME: format_json(seal(to_plain(fitted, version=_EXPECTS.version)))},
    )


def _conflict(fold: RunFold, expected: str, found: str) -> ConflictError:
    fix = "combine runs of the same task, folds and samples"
    return ConflictError(fold.folder, expected=expected, found=found, fix=fix)
