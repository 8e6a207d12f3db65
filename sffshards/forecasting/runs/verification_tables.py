"""The files of a run's verification: ``verification.json`` for programs, ``verification.csv`` for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sffshards.base.atomic_files import write_atomic
from sffshards.forecasting.runs.fold_forecasts import Subset
from sffshards.forecasting.runs.run_scores import FoldMean, RunScores
from sffshards.forecasting.runs.run_verification import LeftOut, VerificationSummary, VerifiedForecast
from sffshards.verification import (
    ProbabilityScore,
    ScoreName,
    describe_forecast_scores,
    explain_interval,
    explain_score,
)

__all__ = ["ENSEMBLE", "VERIFICATION_NAME", "VERIFICATION_TABLE_NAME", "describe_verification", "write_verification"]

VERIFICATION_NAME = "verification.json"
VERIFICATION_TABLE_NAME = "verification.csv"
ENSEMBLE = "ensemble"
"""What stands in place of a fold's number for all folds together."""

_FORMAT_VERSION = 1
_KEY = ("fold", "stage", "subset", "probability", "rule")
_NAMES: tuple[ScoreName | ProbabilityScore, ...] = (*ScoreName, *ProbabilityScore)
_SUBSETS = {
    Subset.ALL: "all samples of the set, each sequence once, as it is (view nf)",
    Subset.FIRST: "those that are not of continuing activity",
    Subset.CONTINUING: "those whose region's latest label of the set that was known by then, of a horizon ago or "
    "earlier, was a flare of class M or above",
}


def write_verification(scores: RunScores) -> None:
    """Write a run's verification into its folder; what is undefined is null in JSON, and said so in CSV."""
    text = json.dumps(describe_verification(scores), indent=1, allow_nan=False) + "\n"
    write_atomic(scores.run / VERIFICATION_NAME, text.encode("ascii"))
    write_atomic(scores.run / VERIFICATION_TABLE_NAME, _to_csv(scores).encode("ascii"))


def describe_verification(scores: RunScores) -> dict[str, Any]:
    """Give a run's verification as ``verification.json`` holds it.

    ``forecasts`` has an entry for each fold (or ``ensemble``), stage, subset, probability and rule, with its threshold,
    climatology, counts, and scores with intervals; ``undefined`` says why a score is null, ``no_interval`` why its ends
    are. ``left_out`` has the forecasts that there are not, with the reason; ``summary`` mean and deviation over folds.
    """
    verification = scores.verification
    options = scores.records[0].options
    return {
        "format_version": _FORMAT_VERSION,
        "task": scores.records[0].task.name,
        "variant": options.variant,
        "protocol": options.protocol,
        "model": options.model,
        "manifest_sha256": scores.records[0].manifest_sha256,
        "num_folds": verification.ensemble.num_folds,
        "resampling": asdict(verification.resampling),
        "subsets": {str(subset): text for subset, text in _SUBSETS.items()},
        "forecasts": [_describe_forecast(forecast) for forecast in verification.forecasts],
        "left_out": [_key(left_out) | {"reason": left_out.reason} for left_out in verification.left_out],
        "summary": [_describe_summary(summary) for summary in verification.summary],
    }


def _describe_forecast(forecast: VerifiedForecast) -> dict[str, Any]:
    scores = forecast.scores
    undefined = {str(name): explain_score(scores, name) for name in _NAMES}
    no_interval = {str(name): explain_interval(scores, name) for name in _NAMES}
    return {
        **_key(forecast),
        **describe_forecast_scores(scores),
        "undefined": {name: why for name, why in undefined.items() if why is not None},
        "no_interval": {name: why for name, why in no_interval.items() if why is not None},
    }


def _key(of: VerifiedForecast | LeftOut) -> dict[str, Any]:
    fold = ENSEMBLE if of.fold is None else of.fold
    values = (fold, *(str(value) for value in (of.stage, of.subset, of.probability, of.rule)))
    return dict(zip(_KEY, values, strict=True))


def _describe_summary(summary: VerificationSummary) -> dict[str, Any]:
    names = ("stage", "subset", "probability", "rule", "score")
    return {name: str(getattr(summary, name)) for name in names} | _describe_mean(summary.over_folds)


def _describe_mean(mean: FoldMean) -> dict[str, float | int | None]:
    numbers = {"mean": mean.mean, "deviation": mean.deviation}
    return {"num_defined": mean.num_defined} | {
        name: None if math.isnan(number) else number for name, number in numbers.items()
    }


def _to_csv(scores: RunScores) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_KEY, "threshold", "num_samples", "num_flares", "score", "estimate", "low", "high", "note"])
    for forecast in scores.verification.forecasts:
        writer.writerows(_rows(forecast))
    for left_out in scores.verification.left_out:
        writer.writerow([*_key(left_out).values(), *[""] * 7, left_out.reason])
    return text.getvalue()


def _rows(forecast: VerifiedForecast) -> Iterator[list[object]]:
    scores = forecast.scores
    table = scores.table
    start = [*_key(forecast).values(), repr(scores.threshold), table.num_samples, table.num_positive]
    for name in _NAMES:
        interval = scores.interval(name)
        cells = [_cell(number) for number in (interval.estimate, interval.low, interval.high)]
        yield [*start, name, *cells, explain_score(scores, name) or explain_interval(scores, name) or ""]


def _cell(value: float) -> str:
    return "undefined" if math.isnan(value) else repr(value)
