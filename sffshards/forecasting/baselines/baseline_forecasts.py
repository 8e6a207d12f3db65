"""All baselines of a task, scored on Test.

Shapes: n samples of Test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.base.json_records import describe_record
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.sample_sets import NUM_FOLDS, Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares, has_flare
from sffshards.forecasting.baselines.baseline_samples import Samples, join_samples
from sffshards.forecasting.baselines.baseline_scores import Baseline, BaselineName, score_baseline
from sffshards.forecasting.baselines.keyword_regression import forecast_regression
from sffshards.forecasting.baselines.sharp_keywords import KEYWORDS, KeywordTable
from sffshards.verification import (
    THRESHOLD,
    Forecast,
    Resampling,
    ThresholdRule,
    choose_thresholds,
    describe_forecast_scores,
    forecast_climatology,
    forecast_ever_flared,
    forecast_no_skill,
    forecast_persistence,
)

__all__ = ["compute_baselines", "describe_baselines"]


def compute_baselines(
    samples: Mapping[Part, Samples],
    *,
    task: Task,
    protocol: Protocol,
    resampling: Resampling,
    flares: HarpFlares | None = None,
    keywords: KeywordTable | None = None,
    folds: Sequence[int] = range(NUM_FOLDS),
    progress: Progress = SILENT,
) -> list[Baseline]:
    """Forecast Test by every baseline that the given data allow, and score the forecasts.

    No skill, climatology, persistence and ever flared do not depend on the fold; their flare rate is that of
    TrainVal0 to TrainVal4. Persistence and ever flared follow from the flare list or, without one, from the labels of
    earlier frames that are known at the time. Logistic regression is fitted to the training parts of each fold, with
    the threshold 0.5 and the best thresholds on its validation part.

    Parameters
    ----------
    samples
        Samples of every part, from `read_samples`.
    task
        The event of the labels.
    protocol
        The protocol, which defines the training parts of a fold.
    resampling
        Number and seed of the bootstrap's resamples; the seed is also that of the no-skill forecast.
    flares
        Flares from `sffshards.flares.assign_flares`; None: labels are used instead.
    keywords
        Keywords from `read_keyword_table`; None: no regression.
    folds
        Folds of the regression.
    progress
        Receives the progress.

    Returns
    -------
    list of Baseline
        Baselines in the order of `BaselineName`; three of the regression, one for each `ThresholdRule`.

    Raises
    ------
    InputError
        If the table of keywords has none of the frames of Test, or a training or validation set has only one class.
    """
    planned = list(_forecast_simply(samples, task, flares, resampling.seed))
    if keywords is not None:
        planned += _forecast_by_keywords(samples, task, protocol, keywords, folds)
    with progress.task("Score baselines", len(planned)) as advance:
        baselines = []
        for name, source, rule, of_folds, forecasts in planned:
            baselines.append(
                score_baseline(
                    name, source=source, rule=rule, folds=of_folds, forecasts=forecasts, resampling=resampling
                )
            )
            advance(1)
    return baselines


def describe_baselines(baselines: Iterable[Baseline]) -> list[dict[str, Any]]:
    """Return baselines as plain values for JSON; undefined scores are None."""
    return [
        {
            "name": str(baseline.name),
            "source": baseline.source,
            "threshold_rule": str(baseline.rule),
            "mean": describe_record(baseline.mean),
            "deviation": describe_record(baseline.deviation),
            "folds": list(baseline.folds),
            "forecasts": [describe_forecast_scores(scores) for scores in baseline.scores],
        }
        for baseline in baselines
    ]


_Planned = tuple[BaselineName, str, ThresholdRule, tuple[int, ...], tuple[Forecast, ...]]


def _forecast_simply(
    samples: Mapping[Part, Samples], task: Task, flares: HarpFlares | None, seed: int
) -> Iterable[_Planned]:
    test = samples[Part.TEST]
    training = np.concatenate([of.label for part, of in samples.items() if part is not Part.TEST])
    rate = float(np.mean(training))
    history = _follow_labels(samples, task) if flares is None else _follow_flares(test, task, flares)
    made = {
        BaselineName.NO_SKILL: (
            "the training labels' rate",
            forecast_no_skill(rate, num_samples=len(test.label), seed=seed),
        ),
        BaselineName.CLIMATOLOGY: (
            "the training labels' rate",
            forecast_climatology(training, num_samples=len(test.label)),
        ),
        **history,
    }
    for name, (source, probability) in made.items():
        yield name, source, ThresholdRule.HALF, (), (_make_forecast(test, probability, climatology=rate),)


def _follow_labels(samples: Mapping[Part, Samples], task: Task) -> dict[BaselineName, tuple[str, NDArray[np.float64]]]:
    # A HARP may begin in another part, so its history comes from all parts.
    others = [of for part, of in samples.items() if part is not Part.TEST]
    every, num_test = join_samples([samples[Part.TEST], *others]), len(samples[Part.TEST].label)
    persistence = forecast_persistence(
        every.label, every.t_end_tai, every.harp, horizon_hours=task.horizon_hours, unknown=0.0
    )
    ever = forecast_ever_flared(every.label, every.t_end_tai, every.harp, horizon_hours=task.horizon_hours)
    return {
        BaselineName.PERSISTENCE: ("earlier labels", persistence[:num_test]),
        BaselineName.EVER_FLARED: ("earlier labels", ever[:num_test]),
    }


def _follow_flares(
    test: Samples, task: Task, flares: HarpFlares
) -> dict[BaselineName, tuple[str, NDArray[np.float64]]]:
    spans = {BaselineName.PERSISTENCE: -task.horizon_hours, BaselineName.EVER_FLARED: None}
    return {
        name: (
            f"the flare list, {task.threshold} and above",
            has_flare(
                flares, test.harp, test.t_end_tai, threshold=task.threshold, after_hours=after, until_hours=0
            ).astype(np.float64),
        )
        for name, after in spans.items()
    }


def _forecast_by_keywords(
    samples: Mapping[Part, Samples], task: Task, protocol: Protocol, keywords: KeywordTable, folds: Sequence[int]
) -> Iterable[_Planned]:
    values = {part: keywords.find(of) for part, of in samples.items()}
    if np.isnan(values[Part.TEST]).all():
        raise InputError(
            keywords.source, expected="frames of Test", found="none of them", fix="use the table of these frames"
        )
    made: dict[ThresholdRule, list[Forecast]] = {rule: [] for rule in ThresholdRule}
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
        climatology = float(np.mean(labels))
        for rule, threshold in choose_thresholds(samples[validation].label, of_validation).items():
            made[rule].append(_make_forecast(samples[Part.TEST], of_test, climatology=climatology, threshold=threshold))
    source = f"{len(KEYWORDS)} SHARP keywords, {protocol} protocol"
    for rule, forecasts in made.items():
        yield BaselineName.REGRESSION, source, rule, tuple(folds), tuple(forecasts)


def _require_both_classes(fold: int, stage: str, labels: NDArray[np.int64]) -> None:
    if len(np.unique(labels)) < 2:
        raise InputError(
            f"logistic regression, fold {fold}",
            expected=f"both classes in {stage}",
            found=f"{len(labels):,} samples of one class",
            fix="omit {keywords}, or use parts that have both",
        )


def _make_forecast(
    test: Samples, probability: NDArray[Any], *, climatology: float, threshold: float = THRESHOLD
) -> Forecast:
    return Forecast(
        label=test.label,
        probability=np.asarray(probability, np.float64),
        harp=test.harp,
        threshold=threshold,
        climatology=climatology,
    )
