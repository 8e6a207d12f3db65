"""All baselines of a task, as forecasts of Test.

Shapes: n samples of Test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sffshards import verification
from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import NUM_FOLDS, Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares, has_known_flare
from sffshards.forecasting.baselines.baseline_samples import Samples, join_samples
from sffshards.forecasting.baselines.baseline_scores import BaselineForecasts, BaselineName
from sffshards.forecasting.baselines.keyword_regression import forecast_regression
from sffshards.forecasting.baselines.sharp_keywords import KEYWORDS, KeywordTable
from sffshards.forecasting.runs import Probability

_HISTORY = (BaselineName.PERSISTENCE, BaselineName.EVER_FLARED)
"""Baselines that follow from the earlier flares of a region."""


def forecast_baselines(
    samples: Mapping[Part, Samples],
    *,
    task: Task,
    protocol: Protocol,
    seed: int,
    flares: HarpFlares | None = None,
    keywords: KeywordTable | None = None,
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
    folds
        Folds of the regression.

    Returns
    -------
    list of BaselineForecasts
        Baselines in the order of `BaselineName`; four of the regression: one for each `ThresholdRule`, and calibrated.

    Raises
    ------
    InputError
        If the table of keywords has none of the frames of Test, or a training or validation set has only one class.
    """
    simple = list(_forecast_simply(samples, task, flares, seed))
    return simple if keywords is None else simple + _forecast_by_keywords(samples, task, protocol, keywords, folds)


def forecast_from_labels(
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


def _forecast_simply(
    samples: Mapping[Part, Samples], task: Task, flares: HarpFlares | None, seed: int
) -> Iterator[BaselineForecasts]:
    test = samples[Part.TEST]
    training = join_samples(of for part, of in samples.items() if part is not Part.TEST)
    climatology = float(np.mean(training.label))
    # A HARP may begin in another part, so its history comes from all parts.
    every = join_samples([test, training])
    forecasts = forecast_from_labels(every, task=task, climatology=climatology, seed=seed)
    history = "earlier labels"
    if flares is not None:
        history = f"the flare list, {task.threshold} and above"
        for name, within_hours in zip(_HISTORY, (task.horizon_hours, None), strict=True):
            forecasts[name] = has_known_flare(
                flares, test.harp, test.t_end_tai, threshold=task.threshold, within_hours=within_hours
            ).astype(np.float64)
    for name, probability in forecasts.items():
        forecast = _make_forecast(test, probability[: len(test.label)], climatology)
        source = history if name in _HISTORY else "the training labels' rate"
        yield BaselineForecasts(name=name, source=source, forecasts=(forecast,))


def _forecast_by_keywords(
    samples: Mapping[Part, Samples], task: Task, protocol: Protocol, keywords: KeywordTable, folds: Sequence[int]
) -> list[BaselineForecasts]:
    values = {part: keywords.find(of) for part, of in samples.items()}
    if np.isnan(values[Part.TEST]).all():
        raise InputError(
            keywords.source, expected="frames of Test", found="none of them", fix="use the table of these frames"
        )
    made: dict[tuple[Probability, verification.ThresholdRule], list[verification.Forecast]] = {
        **{(Probability.RAW, rule): [] for rule in verification.ThresholdRule},
        (Probability.PLATT, verification.ThresholdRule.HALF): [],
    }
    for fold in folds:
        training = SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=fold, protocol=protocol)
        parts = training.parts(task)
        (validation,) = training.at(Stage.VAL).parts(task)
        labels = np.concatenate([samples[part].label for part in parts])
        _require_both_classes(fold, "training", labels)
        _require_both_classes(fold, f"validation ({validation})", samples[validation].label)
        of_validation, of_test = forecast_regression(
            np.concatenate([values[part] for part in parts]), labels, [values[validation], values[Part.TEST]]
        )
        known, climatology = samples[validation].label, float(np.mean(labels))
        for rule, threshold in verification.choose_thresholds(known, of_validation).items():
            made[Probability.RAW, rule].append(_make_forecast(samples[Part.TEST], of_test, climatology, threshold))
        calibrated = verification.fit_platt(known, of_validation).apply(of_test)
        made[Probability.PLATT, verification.ThresholdRule.HALF].append(
            _make_forecast(samples[Part.TEST], calibrated, climatology)
        )
    source = f"{len(KEYWORDS)} SHARP keywords, {protocol} protocol"
    return [
        BaselineForecasts(
            name=BaselineName.REGRESSION,
            source=source,
            probability=probability,
            rule=rule,
            folds=tuple(folds),
            forecasts=tuple(forecasts),
        )
        for (probability, rule), forecasts in made.items()
    ]


def _require_both_classes(fold: int, stage: str, labels: NDArray[np.int64]) -> None:
    if len(np.unique(labels)) < 2:
        raise InputError(
            f"logistic regression, fold {fold}",
            expected=f"both classes in {stage}",
            found=f"{len(labels):,} samples of one class",
            fix="omit {keywords}, or use parts that have both",
        )


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
