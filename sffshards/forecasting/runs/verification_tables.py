"""The files of a run's verification: ``verification.json`` for programs, ``verification.csv`` for spreadsheets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sffshards.base.atomic_files import write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.json_records import describe_record, format_json
from sffshards.forecasting.runs.run_scores import RunScores, describe_run
from sffshards.forecasting.runs.run_verification import ForecastKey, Subset, VerifiedForecast
from sffshards.verification import (
    ALL_SCORES,
    AnyScore,
    ForecastScores,
    describe_forecast_scores,
    explain_interval,
    explain_score,
)

__all__ = ["ENSEMBLE", "VERIFICATION_NAME", "VERIFICATION_TABLE_NAME", "describe_verification", "write_verification"]

VERIFICATION_NAME = "verification.json"
VERIFICATION_TABLE_NAME = "verification.csv"
ENSEMBLE = "ensemble"
"""What stands in place of a fold's number for the ensemble."""

_FORMAT_VERSION = 1
_KEY = ("fold", "stage", "subset", "probability", "rule")
_SUBSETS = {
    Subset.ALL: "all samples of the set, each sequence once, as it is (view nf)",
    Subset.FIRST: "samples that are not of continuing activity",
    Subset.CONTINUING: "samples whose region's latest label of the set that was known by then, of a horizon ago or "
    "earlier, was a flare of the task's class or above",
}


def write_verification(scores: RunScores) -> None:
    """Write ``verification.json`` and ``verification.csv`` into the run's folder."""
    folder = scores.run.folder
    header = [*_KEY, "threshold", "num_samples", "num_flares", "score", "estimate", "low", "high", "note"]
    write_atomic(folder / VERIFICATION_NAME, format_json(describe_verification(scores)))
    write_atomic(folder / VERIFICATION_TABLE_NAME, format_csv(header, _make_rows(scores)).encode("ascii"))


def describe_verification(scores: RunScores) -> dict[str, Any]:
    """Return a run's verification as ``verification.json`` holds it.

    ``forecasts`` has an entry for each fold (or ``ensemble``), set, subset, kind of probability and threshold rule: its
    threshold, climatology, counts, and scores with intervals. ``undefined`` states why a score is null, ``no_interval``
    why the ends of its interval are. ``left_out`` lists forecasts that do not exist, with the reason; ``summary`` has
    mean and standard deviation over folds.
    """
    verification = scores.verification
    return {
        "format_version": _FORMAT_VERSION,
        **describe_run(scores.run),
        "num_folds": verification.ensemble.num_folds,
        "resampling": describe_record(verification.resampling),
        "subsets": {str(subset): text for subset, text in _SUBSETS.items()},
        "forecasts": [_describe_forecast(forecast) for forecast in verification.forecasts],
        "left_out": [_key(left_out) | {"reason": left_out.reason} for left_out in verification.left_out],
        "summary": [describe_record(summary) for summary in verification.summary],
    }


def _describe_forecast(forecast: VerifiedForecast) -> dict[str, Any]:
    return {
        **_key(forecast),
        **describe_forecast_scores(forecast.scores),
        "undefined": _explain(forecast.scores, explain_score),
        "no_interval": _explain(forecast.scores, explain_interval),
    }


def _explain(scores: ForecastScores, explain: Callable[[ForecastScores, AnyScore], str | None]) -> dict[str, str]:
    return {str(name): why for name in ALL_SCORES if (why := explain(scores, name)) is not None}


def _key(of: ForecastKey) -> dict[str, Any]:
    values = {name: getattr(of, name) for name in _KEY}
    return values | ({"fold": ENSEMBLE} if of.fold is None else {})


def _make_rows(scores: RunScores) -> Iterator[list[object]]:
    for forecast in scores.verification.forecasts:
        found, table = forecast.scores, forecast.scores.table
        start = [*_key(forecast).values(), found.threshold, table.num_samples, table.num_positive]
        for name in ALL_SCORES:
            interval = found.interval(name)
            note = explain_score(found, name) or explain_interval(found, name)
            yield [*start, name, interval.estimate, interval.low, interval.high, note]
    for left_out in scores.verification.left_out:
        yield [*_key(left_out).values(), *[None] * 7, left_out.reason]
