"""The scores of the same forecasts by several sets of labels, and how much they differ between flare lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sffshards import verification
from sffshards.base.atomic_files import write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.json_records import describe_record, format_json
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.label_sets.label_sources import LabelSource
from sffshards.forecasting.runs import (
    COMPARED_SCORES,
    ComparedScore,
    IssuedForecast,
    Predictions,
    Run,
    average_run,
    describe_run,
)

LABELS_NAME = "label-sets.json"
LABELS_TABLE_NAME = "label-sets.csv"
SPREAD = "spread of the flare lists"
"""What stands in tables in place of a set of labels, for the highest score by a flare list minus the lowest."""

_FORMAT_VERSION = 1
_HEADER = ("run", "labels", "positive", "changed", "probability", "rule", "score", "estimate", "low", "high")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledScores:
    """The test scores of a run's ensemble by one set of labels."""

    run: Run
    """The run, with these labels."""
    source: LabelSource
    samples: Predictions
    """Test samples with these labels."""
    num_changed: int
    """Number of test samples whose label in the lists is another one."""
    scores: dict[ComparedScore, verification.Interval | None]
    """Scores with intervals; None where there is no such threshold or calibration."""
    note: str
    """How many samples have no label, or no known region; empty for the labels of the lists."""

    @property
    def num_positive(self) -> int:
        """Number of positive test samples."""
        return int(self.samples.label.sum())

    @property
    def num_flaring_harps(self) -> int:
        """Number of regions with positive test samples."""
        return len(np.unique(self.samples.harp[self.samples.label == 1]))


def score_by_labels(run: Run, sources: Sequence[LabelSource]) -> tuple[LabelledScores, ...]:
    """Score the ensemble of a run's evaluated folds by each of several sets of labels.

    Parameters
    ----------
    run
        Run with its tables, whose labels are those of the lists.
    sources
        The sets of labels.

    Raises
    ------
    InputError
        As `LabelSource.relabel`.
    """
    published = run.evaluated[0].plain(Stage.TEST)
    found = []
    for source in sources:
        labelled = source.relabel(run)
        ensemble = average_run(labelled)
        known = source.choose_known(published, task=run.task).label
        found.append(
            LabelledScores(
                run=labelled,
                source=source,
                samples=ensemble.samples,
                num_changed=int((ensemble.samples.label != known).sum()),
                scores={compared: _score(ensemble, compared) for compared in COMPARED_SCORES},
                note=source.explain(ensemble.samples, run),
            )
        )
    return tuple(found)


def find_spread(scores: Sequence[LabelledScores]) -> dict[ComparedScore, float]:
    """Return the highest minus the lowest score over flare lists; empty below two lists, NaN where one is undefined."""
    of_lists = [one.scores for one in scores if one.source.flares is not None]
    if len(of_lists) < 2:
        return {}
    found = {compared: [of[compared] for of in of_lists] for compared in COMPARED_SCORES}
    return {
        compared: measure_spread([math.nan if one is None else one.estimate for one in intervals])
        for compared, intervals in found.items()
    }


def measure_spread(estimates: Sequence[float]) -> float:
    """Return the highest minus the lowest of some estimates; NaN where one is undefined.

    Examples
    --------
    >>> measure_spread([0.25, 0.5]), measure_spread([0.25, math.nan])
    (0.25, nan)
    """
    return math.nan if any(map(math.isnan, estimates)) else max(estimates) - min(estimates)


def write_labelled(scores: Sequence[LabelledScores]) -> None:
    """Write ``label-sets.json`` and ``label-sets.csv`` into a run's folder: its scores by sets of labels."""
    folder = scores[0].run.folder
    write_atomic(folder / LABELS_NAME, format_json(describe_labelled(scores)))
    write_atomic(folder / LABELS_TABLE_NAME, format_labelled([scores]).encode("utf-8", "backslashreplace"))


def format_labelled(scores: Sequence[Sequence[LabelledScores]]) -> str:
    """Return the scores of runs by sets of labels as CSV; the spread over flare lists is in the place of a set."""
    rows: list[list[object]] = []
    for of_run in scores:
        name = of_run[0].run.name
        for one in of_run:
            head = [name, one.source.title, one.num_positive, one.num_changed]
            rows += [
                [*head, *describe_record(compared).values(), of.estimate, of.low, of.high]
                for compared, of in one.scores.items()
                if of is not None
            ]
        rows += [
            [name, SPREAD, None, None, *describe_record(compared).values(), spread, None, None]
            for compared, spread in find_spread(of_run).items()
        ]
    return format_csv(_HEADER, rows)


def describe_labelled(scores: Sequence[LabelledScores]) -> dict[str, Any]:
    """Return the scores of a run by its sets of labels as ``label-sets.json`` holds them; null where undefined."""
    return {
        "format_version": _FORMAT_VERSION,
        **describe_run(scores[0].run),
        "label_sets": [
            {
                "labels": one.source.title,
                "num_samples": len(one.samples),
                "num_positive": one.num_positive,
                "num_changed": one.num_changed,
                "note": one.note,
                "scores": [
                    {**describe_record(compared), "interval": None if interval is None else describe_record(interval)}
                    for compared, interval in one.scores.items()
                ],
            }
            for one in scores
        ],
        "spread_of_flare_lists": [
            {**describe_record(compared), "spread": describe_record(spread)}
            for compared, spread in find_spread(scores).items()
        ],
    }


def _score(issued: IssuedForecast, compared: ComparedScore) -> verification.Interval | None:
    threshold = issued.threshold(compared.probability, compared.rule or verification.ThresholdRule.HALF)
    if threshold is None:
        return None
    forecast = issued.forecast(compared.probability, threshold=threshold)
    return verification.estimate_interval(verification.prepare_statistic(forecast, compared.score))
