"""Fitted forecasters of each fold: fitted to its training parts, and their forecasts of every part.

Shapes: n samples of a part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.sample_sets import NUM_FOLDS, Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import Task
from sffshards.executors import share_processors
from sffshards.flares import HarpFlares
from sffshards.forecasting.baselines.baseline_samples import Samples
from sffshards.forecasting.baselines.fitted_models import TabularForecaster
from sffshards.forecasting.baselines.model_fitting import Recipe, fit_forecaster
from sffshards.tabular import InputGroup, KeywordTable, SampleInputs, gather_inputs


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedFold:
    """A forecaster that was fitted to the training parts of a fold, and its forecasts."""

    fold: int
    """Number of the fold."""
    forecaster: TabularForecaster
    """The forecaster."""
    validation: Part
    """Validation part of the fold."""
    climatology: float
    """Rate of flares in the training parts."""
    probabilities: dict[Part, NDArray[np.float64]]
    """Probability of a flare for each sample of each part, in their order, shape (n,)."""


def fit_recipes(
    samples: Mapping[Part, Samples],
    *,
    task: Task,
    protocol: Protocol,
    flares: HarpFlares | None,
    keywords: KeywordTable | None,
    recipes: Sequence[Recipe],
    folds: Sequence[int] = range(NUM_FOLDS),
    progress: Progress = SILENT,
) -> list[tuple[Recipe, tuple[FittedFold, ...]]]:
    """Fit forecasters to the training parts of each fold, and forecast all parts.

    Parameters
    ----------
    samples
        Samples of every part, from `read_samples`.
    task
        The event of the labels.
    protocol
        The protocol, which defines the training parts of a fold.
    flares, keywords
        Flares and keywords of the regions; None: forecasters that need them are left out.
    recipes
        The forecasters.
    folds
        The folds.
    progress
        Receives the progress.

    Returns
    -------
    list of tuple
        Each forecaster that the data allow, in the given order, with its folds.

    Raises
    ------
    InputError
        If the table of keywords has none of the frames of Test, or a training or validation set has only one class.
    """
    given = {"with_keywords": keywords is not None, "with_flares": flares is not None}
    possible = [recipe for recipe in recipes if recipe.can_be_fitted(**given)]
    if not possible:
        return []
    with_course = any(InputGroup.COURSE in recipe.groups for recipe in possible)
    inputs = {
        part: gather_inputs(of.sequences(part), keywords=keywords, flares=flares, with_course=with_course)
        for part, of in samples.items()
    }
    if keywords is not None and np.isnan(inputs[Part.TEST].last).all():
        raise InputError(
            keywords.source, expected="frames of Test", found="none of them", fix="use the table of these frames"
        )
    sets = [SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=fold, protocol=protocol) for fold in folds]
    error = next((found for of_fold in sets if (found := _find_single_class(of_fold, samples, task))), None)
    if error is not None and keywords is not None:
        raise error
    if error is not None or (keywords is None and all(np.isnan(of.history_nF).all() for of in inputs.values())):
        progress.note(f"no forecaster of flare history: {error or 'the flare list has nothing of these regions'}")
        return []
    pairs = [(recipe, of_fold) for recipe in possible for of_fold in sets]
    fits: list[FittedFold] = []
    with share_processors() as pool, progress.task("Fit forecasters", len(pairs)) as advance:
        for fit in pool.map(lambda pair: _fit_fold(pair[0], pair[1], samples, inputs, task), pairs):
            fits.append(fit)
            advance(1)
    return [(recipe, tuple(fits[i * len(sets) : (i + 1) * len(sets)])) for i, recipe in enumerate(possible)]


def _fit_fold(
    recipe: Recipe,
    training: SampleSet,
    samples: Mapping[Part, Samples],
    inputs: Mapping[Part, SampleInputs],
    task: Task,
) -> FittedFold:
    parts = training.parts(task)
    labels = np.concatenate([samples[part].label for part in parts])
    forecaster = fit_forecaster(recipe, [inputs[part] for part in parts], labels)
    (validation,) = training.at(Stage.VAL).parts(task)
    return FittedFold(
        fold=training.fold,
        forecaster=forecaster,
        validation=validation,
        climatology=float(np.mean(labels)),
        probabilities={part: forecaster.forecast(of) for part, of in inputs.items()},
    )


def _find_single_class(training: SampleSet, samples: Mapping[Part, Samples], task: Task) -> InputError | None:
    """Return the error of a training or validation set that has only one class, or None."""
    for of_set in (training, training.at(Stage.VAL)):
        parts = of_set.parts(task)
        labels = np.concatenate([samples[part].label for part in parts])
        if len(np.unique(labels)) < 2:
            stage = "training" if of_set is training else f"validation ({parts[0]})"
            return InputError(
                f"logistic regression, fold {training.fold}",
                expected=f"both classes in {stage}",
                found=f"{len(labels):,} samples of one class",
                fix="omit {keywords}, or use parts that have both",
            )
    return None
