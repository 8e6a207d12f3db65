"""All baselines of a task, as forecasts of Test.

Shapes: n samples of Test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sffshards import verification
from sffshards.domain.sample_sets import NUM_FOLDS, Part, Protocol
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares, has_known_flare
from sffshards.forecasting.baselines.baseline_samples import Samples, join_samples
from sffshards.forecasting.baselines.baseline_scores import BaselineForecasts, BaselineName
from sffshards.forecasting.baselines.fitted_folds import FittedFold, fit_recipes
from sffshards.forecasting.baselines.model_fitting import RECIPES, Recipe
from sffshards.forecasting.runs import Probability
from sffshards.tabular import KeywordTable


def forecast_baselines(
    samples: Mapping[Part, Samples],
    *,
    task: Task,
    protocol: Protocol,
    seed: int,
    flares: HarpFlares | None = None,
    keywords: KeywordTable | None = None,
    recipes: Sequence[Recipe] = RECIPES[:1],
    folds: Sequence[int] = range(NUM_FOLDS),
) -> list[BaselineForecasts]:
    """Forecast Test by every baseline that the given data allow.

    No skill, climatology, persistence and ever flared do not depend on the fold; their flare rate is that of
    TrainVal0 to TrainVal4. Persistence and ever flared follow from the flare list or, without one, from the labels of
    earlier frames that are known at the time. A flare of the list is known from its peak on. Logistic regression is
    fitted to the training parts of each fold; the best thresholds, and a Platt calibration, to its validation part.

    Parameters
    ----------
    samples
        Samples of every part, from `read_samples`.
    task
        The event of the labels.
    protocol
        The protocol, which defines the training parts of a fold.
    seed
        Seed of the no-skill forecast.
    flares
        Flares from `sffshards.flares.assign_flares`; None: labels are used instead.
    keywords
        Keywords from `read_keyword_table`; None: no regression.
    recipes
        Forecasters to fit where the data allow; by default, logistic regression on keywords.
    folds
        Folds of the regression.

    Returns
    -------
    list of BaselineForecasts
        Baselines in the order of `BaselineName`; four of the regression: one for each `ThresholdRule`, and calibrated.

    Raises
    ------
    InputError
        If the map has none of the HARPs, the table of keywords has none of the frames of Test, or a training or
        validation set has only one class.
    """
    if flares is not None:
        flares.require_known((harp for of in samples.values() for harp in of.harp), where="the label lists")
    made = list(_forecast_simply(samples, task, flares, seed))
    fitted = fit_recipes(
        samples, task=task, protocol=protocol, flares=flares, keywords=keywords, recipes=recipes, folds=folds
    )
    return made + forecast_fitted(samples, fitted, protocol=protocol)


def _forecast_from_labels(
    known: Samples, *, task: Task, climatology: float, seed: int
) -> dict[BaselineName, NDArray[np.float64]]:
    """Forecast samples by the baselines that need labels alone: all but the regression.

    Parameters
    ----------
    known
        The samples; a forecast uses only labels that are known at its time.
    task
        The event of the labels.
    climatology
        Rate of flares in the training set.
    seed
        Seed of the no-skill forecast.

    Returns
    -------
    dict of float64 arrays of shape (n,)
        Probabilities of a flare.
    """
    labels = known.label, known.t_end_tai, known.harp
    num_samples, horizon_hours = len(known.label), task.horizon_hours
    return {
        BaselineName.NO_SKILL: verification.forecast_no_skill(climatology, num_samples=num_samples, seed=seed),
        BaselineName.CLIMATOLOGY: np.full(num_samples, climatology),
        BaselineName.PERSISTENCE: verification.forecast_persistence(*labels, horizon_hours=horizon_hours, unknown=0),
        BaselineName.EVER_FLARED: verification.forecast_ever_flared(*labels, horizon_hours=horizon_hours),
    }


def forecast_from_flares(
    samples: Samples, *, task: Task, flares: HarpFlares
) -> dict[BaselineName, NDArray[np.float64]]:
    """Forecast samples by the baselines that follow from earlier flares of a region, as a flare list has them.

    Parameters
    ----------
    samples
        The samples; a forecast uses only flares that had peaked by its time.
    task
        The event that is forecast.
    flares
        Flares from `sffshards.flares.assign_flares`.

    Returns
    -------
    dict of float64 arrays of shape (n,)
        Probabilities of a flare, 0 or 1.
    """
    windows = {BaselineName.PERSISTENCE: task.horizon_hours, BaselineName.EVER_FLARED: None}
    return {
        name: has_known_flare(
            flares, samples.harp, samples.t_end_tai, threshold=task.threshold, within_hours=within_hours
        ).astype(np.float64)
        for name, within_hours in windows.items()
    }


def forecast_fitted(
    samples: Mapping[Part, Samples], fitted: Iterable[tuple[Recipe, tuple[FittedFold, ...]]], *, protocol: Protocol
) -> list[BaselineForecasts]:
    """Return the forecasts of Test by fitted forecasters.

    Parameters
    ----------
    samples
        Samples of every part, from `read_samples`.
    fitted
        Forecasters from `fit_recipes` with their folds.
    protocol
        The protocol that they were fitted under.

    Returns
    -------
    list of BaselineForecasts
        Four of each forecaster: one for each `ThresholdRule`, and calibrated.
    """
    return [one for recipe, fits in fitted for one in _forecast_by_recipe(recipe, samples, fits, protocol)]


def describe_source(name: BaselineName, task: Task, flares: HarpFlares | None) -> str:
    """Return in words what data a baseline follows from, other than the regression."""
    if name not in (BaselineName.PERSISTENCE, BaselineName.EVER_FLARED):
        return "the training labels' rate"
    return "earlier labels" if flares is None else f"the flare list, {task.threshold} and above"


def forecast_references(
    samples: Mapping[Part, Samples], *, task: Task, climatology: float, seed: int, flares: HarpFlares | None
) -> dict[BaselineName, dict[Part, NDArray[np.float64]]]:
    """Forecast the samples of all parts by the baselines that are not fitted.

    Parameters
    ----------
    samples
        Samples of every part. A HARP may begin in another part, so its history comes from all parts. The no-skill
        forecast of Test does not depend on the other parts.
    task, climatology, seed
        Event, rate of flares in the training set, and seed of the no-skill forecast.
    flares
        Flares from `sffshards.flares.assign_flares`; None: labels are used instead.

    Returns
    -------
    dict of dict of float64 arrays
        Probabilities of a flare for the samples of each part, in their order.
    """
    ordered = {part: samples[part] for part in (Part.TEST, *(part for part in samples if part is not Part.TEST))}
    every = join_samples(ordered.values())
    forecasts = _forecast_from_labels(every, task=task, climatology=climatology, seed=seed)
    if flares is not None:
        forecasts |= forecast_from_flares(every, task=task, flares=flares)
    ends = np.cumsum([len(of.label) for of in ordered.values()])[:-1]
    return {name: dict(zip(ordered, np.split(made, ends), strict=True)) for name, made in forecasts.items()}


def _forecast_simply(
    samples: Mapping[Part, Samples], task: Task, flares: HarpFlares | None, seed: int
) -> Iterator[BaselineForecasts]:
    climatology = float(np.mean(np.concatenate([of.label for part, of in samples.items() if part is not Part.TEST])))
    made = forecast_references(samples, task=task, climatology=climatology, seed=seed, flares=flares)
    for name, of_parts in made.items():
        forecast = _make_forecast(samples[Part.TEST], of_parts[Part.TEST], climatology)
        yield BaselineForecasts(name=name, source=describe_source(name, task, flares), forecasts=(forecast,))


def _forecast_by_recipe(
    recipe: Recipe, samples: Mapping[Part, Samples], fits: Sequence[FittedFold], protocol: Protocol
) -> list[BaselineForecasts]:
    """Return the forecasts of Test by a fitted forecaster: at the threshold of each rule, and calibrated."""
    made: dict[tuple[Probability, verification.ThresholdRule], list[verification.Forecast]] = {
        **{(Probability.RAW, rule): [] for rule in verification.ThresholdRule},
        (Probability.PLATT, verification.ThresholdRule.HALF): [],
    }
    test = samples[Part.TEST]
    for fit in fits:
        known, of_validation = samples[fit.validation].label, fit.probabilities[fit.validation]
        of_test = fit.probabilities[Part.TEST]
        for rule, threshold in verification.choose_thresholds(known, of_validation).items():
            made[Probability.RAW, rule].append(_make_forecast(test, of_test, fit.climatology, threshold))
        calibrated = verification.fit_platt(known, of_validation).apply(of_test)
        made[Probability.PLATT, verification.ThresholdRule.HALF].append(
            _make_forecast(test, calibrated, fit.climatology)
        )
    return [
        BaselineForecasts(
            name=recipe.name,
            source=f"{recipe.description}, {protocol} protocol",
            probability=probability,
            rule=rule,
            folds=tuple(fit.fold for fit in fits),
            forecasts=tuple(forecasts),
        )
        for (probability, rule), forecasts in made.items()
    ]


def _make_forecast(
    test: Samples, probability: NDArray[np.float64], climatology: float, threshold: float = verification.THRESHOLD
) -> verification.Forecast:
    return verification.Forecast(
        label=test.label,
        probability=probability,
        harp=test.harp,
        threshold=threshold,
        climatology=climatology,
    )
