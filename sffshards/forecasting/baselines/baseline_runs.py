"""Runs of baselines and fitted forecasters: the forecasts of each fold's sets, on disk.

Shapes: n samples of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import ConflictError
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.sample_sets import Part, Stage
from sffshards.flares import HarpFlares
from sffshards.forecasting.baselines.baseline_forecasts import describe_source, forecast_references
from sffshards.forecasting.baselines.baseline_samples import BaselineSet, gather_samples
from sffshards.forecasting.baselines.baseline_scores import BaselineName
from sffshards.forecasting.baselines.fitted_folds import FittedFold
from sffshards.forecasting.baselines.fitted_models import FORECASTER_NAME, encode_forecaster
from sffshards.forecasting.baselines.model_fitting import Recipe
from sffshards.forecasting.runs import (
    FoldForecasts,
    ForecastRecord,
    Record,
    Run,
    RunKind,
    SourceFile,
    check_run,
    read_run,
    write_run,
)
from sffshards.shards.format import MANIFEST_NAME
from sffshards.shards.read import Build
from sffshards.training import RECORD_NAME

_REFERENCES = (BaselineName.NO_SKILL, BaselineName.CLIMATOLOGY, BaselineName.PERSISTENCE, BaselineName.EVER_FLARED)
_OF_BUILD = "of the build"
"""The label set in the records of baselines that follow from the labels of a build."""
_NO_TRAINING = "forecasts of the training set are not kept"

_Options = dict[str, str | int | float | bool | None]
_Plans = list[ForecastRecord]


def check_runs(
    place: Path,
    of_task: BaselineSet,
    recipes: Sequence[Recipe],
    *,
    seed: int,
    force: bool,
) -> None:
    """Check, before anything is fitted, that `write_references` and `write_fitted` may write their runs.

    Parameters
    ----------
    place, of_task, seed, force
        As of `write_references`.
    recipes
        Forecasters that are to be fitted in the folds of the set.

    Raises
    ------
    ConflictError, DamageError
        As `sffshards.forecasting.runs.write_run`.
    """
    of_references = (_plan_reference(of_task, name, seed=seed) for name in _REFERENCES)
    for plans in (*of_references, *(_plan_fitted(of_task, recipe, of_task.folds) for recipe in recipes)):
        folder = _folder(place, plans)
        check_run(folder, plans, force=force or _is_of_build(folder))


def write_references(
    place: Path,
    of_task: BaselineSet,
    *,
    seed: int,
    force: bool,
    progress: Progress = SILENT,
) -> list[Run]:
    """Write the runs of the baselines that are not fitted, such as ``persistence``.

    Runs that `write_build_baselines` wrote are replaced, whether or not ``force``.

    Parameters
    ----------
    place
        Folder of the runs, such as ``runs/48h``.
    of_task
        The samples.
    seed
        Seed of the no-skill forecast.
    force
        Whether to make all forecasts again, and to replace other runs that no network made.
    progress
        Receives the progress.

    Raises
    ------
    ConflictError, DamageError, StorageError
        As `sffshards.forecasting.runs.write_run`.
    """
    return _write_references(place, of_task, _REFERENCES, seed=seed, force=force, progress=progress)


def _write_references(
    place: Path,
    of_task: BaselineSet,
    names: Sequence[BaselineName],
    *,
    seed: int,
    force: bool,
    progress: Progress,
) -> list[Run]:
    forecasts = [
        forecast_references(
            of_task.samples, task=of_task.task, climatology=of_task.climatology(fold), seed=seed, flares=of_task.flares
        )
        for fold in of_task.folds
    ]
    made = dict(zip(of_task.folds, forecasts, strict=True))

    def write(name: BaselineName) -> Run:
        plans = _plan_reference(of_task, name, seed=seed)
        return _write(place, plans, of_task, lambda fold: (made[fold][name], {}), force=force, progress=progress)

    return [write(name) for name in names]


def write_fitted(
    place: Path,
    of_task: BaselineSet,
    recipe: Recipe,
    fits: Sequence[FittedFold],
    *,
    force: bool,
    progress: Progress = SILENT,
) -> Run:
    """Write the run of a fitted forecaster, with ``forecaster.json`` in each fold.

    Parameters
    ----------
    place, of_task, force, progress
        As of `write_references`, whose errors it raises.
    recipe
        The forecaster.
    fits
        The forecaster of each fold, from `fit_recipes`.
    """
    by_fold = {fit.fold: fit for fit in fits}
    plans = _plan_fitted(of_task, recipe, by_fold)

    def take(fold: int) -> tuple[dict[Part, NDArray[np.float64]], dict[str, bytes]]:
        return by_fold[fold].probabilities, {FORECASTER_NAME: encode_forecaster(by_fold[fold].forecaster)}

    return _write(place, plans, of_task, take, force=force, progress=progress)


def write_build_baselines(
    place: Path,
    build: Build,
    *,
    networks: Sequence[Run],
    flares: HarpFlares | None,
    seed: int,
    sources: Iterable[Path] = (),
    progress: Progress = SILENT,
) -> list[Run]:
    """Write the baselines that follow from the labels of a build, so that networks are compared with them.

    A folder that already holds a run of another origin, such as `write_references` writes, is left as it is. Folds that
    are there already are kept as well.

    Parameters
    ----------
    place
        Folder of the runs, such as ``runs/48h``.
    build
        Build that the networks were trained on.
    networks
        Runs of these networks, whose folds and protocol the baselines have.
    flares
        Flares that persistence and ever flared follow from; None: earlier labels.
    seed, progress
        As of `write_references`, whose errors it raises.
    sources
        Files of the flares.

    Returns
    -------
    list of Run
        The runs that were written or are current.
    """
    folders = {name: place / name.folder_name for name in _REFERENCES}
    names = [name for name, folder in folders.items() if not _find_records(folder) or _is_of_build(folder)]
    there = {one.fold for name in names for one in _find_records(folders[name])}
    of_task = BaselineSet(
        task=build.manifest.task,
        protocol=networks[0].first.protocol,
        samples=gather_samples(build),
        label_set=_OF_BUILD,
        sources=(
            SourceFile(path=f"{build.folder}/{MANIFEST_NAME}", sha256=build.manifest.sha256),
            *map(SourceFile.read, sources),
        ),
        harp_numbers=build.manifest.inputs.harp_numbers,
        flares=flares,
        folds=tuple(sorted(there.union(fold.number for run in networks for fold in run.folds))),
    )
    return _write_references(place, of_task, names, seed=seed, force=False, progress=progress)


def _find_records(folder: Path) -> list[Record]:
    """Return the records of the folds of a run; none if there is no run."""
    is_run = any(folder.glob(f"fold*/{RECORD_NAME}"))
    return [fold.record for fold in read_run(folder).folds] if is_run else []


def _is_of_build(folder: Path) -> bool:
    """Return whether a run is one of `write_build_baselines`."""
    records = _find_records(folder)
    return bool(records) and all(
        isinstance(one, ForecastRecord) and one.options.get("labels") == _OF_BUILD for one in records
    )


def _is_outdated(folder: Path, plans: _Plans) -> bool:
    """Return whether a run is one of `write_build_baselines` with other options or folds than planned."""
    if not _is_of_build(folder):
        return False
    try:
        check_run(folder, plans, force=False)
    except ConflictError:
        return True
    return False


def _plan_reference(of_task: BaselineSet, name: BaselineName, *, seed: int) -> _Plans:
    options: _Options = {"seed": seed} if name is BaselineName.NO_SKILL else {}
    description = describe_source(name, of_task.task, of_task.flares)
    return _plan(of_task, of_task.folds, kind=RunKind.BASELINE, name=name, description=description, options=options)


def _plan_fitted(of_task: BaselineSet, recipe: Recipe, folds: Collection[int]) -> _Plans:
    options: _Options = {
        "features": ", ".join(recipe.groups),
        "penalty_c": recipe.penalty_c,
        **{f"trees_{name}": value for name, value in recipe.trees.items()},
    }
    return _plan(
        of_task, folds, kind=RunKind.KEYWORDS, name=recipe.name, description=recipe.description, options=options
    )


def _plan(of_task: BaselineSet, folds: Collection[int], *, kind: RunKind, name: BaselineName, **made: Any) -> _Plans:
    """Return the records of a run's folds; ``made`` has its description and options."""
    flares = {} if of_task.flares is None else of_task.flares.describe()
    options = {"labels": of_task.label_set, **flares, **made.pop("options")}
    return [
        ForecastRecord(
            kind=kind,
            name=str(name),
            task=of_task.task,
            fold=fold,
            protocol=of_task.protocol,
            climatology=of_task.climatology(fold),
            options=options,
            sources=of_task.sources,
            harp_numbers=of_task.harp_numbers,
            **made,
        )
        for fold in folds
    ]


def _write(
    place: Path,
    plans: _Plans,
    of_task: BaselineSet,
    take: Callable[[int], tuple[Mapping[Part, NDArray[np.float64]], Mapping[str, bytes]]],
    *,
    force: bool,
    progress: Progress,
) -> Run:
    def make(plan: ForecastRecord) -> FoldForecasts:
        probabilities, files = take(plan.fold)
        return FoldForecasts(
            tables=of_task.forecast(plan.fold, probabilities), missing={Stage.TRAIN: _NO_TRAINING}, files=files
        )

    folder = _folder(place, plans)
    return write_run(folder, plans, make, force=force or _is_outdated(folder, plans), progress=progress)


def _folder(place: Path, plans: _Plans) -> Path:
    return place / BaselineName(plans[0].name).folder_name
