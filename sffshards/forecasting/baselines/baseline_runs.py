"""Runs of baselines and fitted forecasters: the forecasts of each fold's sets, on disk.

Shapes: n samples of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import NUM_FOLDS, Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.baselines.baseline_forecasts import describe_source, forecast_references
from sffshards.forecasting.baselines.baseline_samples import Samples
from sffshards.forecasting.baselines.baseline_scores import BaselineName
from sffshards.forecasting.baselines.fitted_folds import FittedFold
from sffshards.forecasting.baselines.fitted_models import FORECASTER_NAME, encode_forecaster
from sffshards.forecasting.baselines.model_fitting import Recipe
from sffshards.forecasting.runs import (
    FoldForecasts,
    ForecastRecord,
    Predictions,
    Run,
    RunKind,
    SourceFile,
    check_run,
    plain_predictions,
    write_run,
)

_REFERENCES = (BaselineName.NO_SKILL, BaselineName.CLIMATOLOGY, BaselineName.PERSISTENCE, BaselineName.EVER_FLARED)
_NO_TRAINING = "forecasts of the training set are not kept"

_Options = dict[str, str | int | float | bool | None]
_Plans = list[ForecastRecord]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineSet:
    """The samples of a task, and what the records of its runs state of them."""

    task: Task
    """The event of the labels."""
    protocol: Protocol
    """The protocol, which defines the training parts of a fold."""
    samples: Mapping[Part, Samples]
    """Samples of every part, from `read_samples`."""
    label_set: str
    """Which labels these are, such as ``published``."""
    sources: tuple[SourceFile, ...]
    """Files that the forecasts are made from."""
    harp_numbers: HarpNumbers | None
    """Which numbers the HARPs have; None where that is not known."""

    def training(self, fold: int) -> SampleSet:
        """Return the training set of a fold."""
        return SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=fold, protocol=self.protocol)

    def climatology(self, fold: int) -> float:
        """Return the rate of flares in the training set of a fold."""
        parts = self.training(fold).parts(self.task)
        return float(np.mean(np.concatenate([self.samples[part].label for part in parts])))

    def forecast(self, fold: int, probabilities: Mapping[Part, NDArray[np.float64]]) -> dict[Stage, Predictions]:
        """Return the tables of a fold's validation and test set from the probabilities of all parts."""
        tables = {}
        for stage in (Stage.VAL, Stage.TEST):
            (part,) = self.training(fold).at(stage).parts(self.task)
            of_part = self.samples[part]
            tables[stage] = plain_predictions(
                harp=of_part.harp,
                t_end_tai=of_part.t_end_tai,
                label=of_part.label,
                probability=probabilities[part],
            )
        return tables


def check_runs(
    place: Path,
    of_task: BaselineSet,
    recipes: Sequence[Recipe],
    *,
    flares: HarpFlares | None,
    seed: int,
    force: bool,
) -> None:
    """Check, before anything is fitted, that `write_references` and `write_fitted` may write their runs.

    Parameters
    ----------
    place, of_task, flares, seed, force
        As of `write_references`.
    recipes
        Forecasters that are to be fitted in all folds.

    Raises
    ------
    ConflictError, DamageError
        As `sffshards.forecasting.runs.write_run`.
    """
    of_references = (_plan_reference(of_task, name, flares=flares, seed=seed) for name in _REFERENCES)
    for plans in (*of_references, *(_plan_fitted(of_task, recipe, range(NUM_FOLDS)) for recipe in recipes)):
        check_run(_folder(place, plans), plans, force=force)


def write_references(
    place: Path,
    of_task: BaselineSet,
    *,
    flares: HarpFlares | None,
    seed: int,
    force: bool,
    progress: Progress = SILENT,
) -> list[Run]:
    """Write the runs of the baselines that are not fitted, such as ``persistence``; all five folds of each.

    Parameters
    ----------
    place
        Folder of the runs, such as ``runs/48h``.
    of_task
        The samples.
    flares
        Flares that persistence and ever flared follow from; None: earlier labels.
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
    made = [
        forecast_references(
            of_task.samples, task=of_task.task, climatology=of_task.climatology(fold), seed=seed, flares=flares
        )
        for fold in range(NUM_FOLDS)
    ]

    def write(name: BaselineName) -> Run:
        plans = _plan_reference(of_task, name, flares=flares, seed=seed)
        return _write(place, plans, of_task, lambda fold: (made[fold][name], {}), force=force, progress=progress)

    return [write(name) for name in _REFERENCES]


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


def _plan_reference(of_task: BaselineSet, name: BaselineName, *, flares: HarpFlares | None, seed: int) -> _Plans:
    options: _Options = {"seed": seed} if name is BaselineName.NO_SKILL else {}
    description = describe_source(name, of_task.task, flares)
    return _plan(of_task, range(NUM_FOLDS), kind=RunKind.BASELINE, name=name, description=description, options=options)


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
    options = {"labels": of_task.label_set, **made.pop("options")}
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

    return write_run(_folder(place, plans), plans, make, force=force, progress=progress)


def _folder(place: Path, plans: _Plans) -> Path:
    return place / BaselineName(plans[0].name).folder_name
