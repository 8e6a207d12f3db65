"""The files of a run's scores: ``scores.json`` for programs, ``scores.csv`` for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

from sffshards.base.atomic_files import write_atomic
from sffshards.forecasting.runs.run_scores import RunScores
from sffshards.verification import PUBLISHED_SCORES, THRESHOLD, ContingencyTable, explain_undefined

__all__ = ["JSON_NAME", "TABLE_NAME", "describe_scores", "write_scores"]

JSON_NAME = "scores.json"
TABLE_NAME = "scores.csv"
FORMAT_VERSION = 1
_UNDEFINED = "undefined"


def write_scores(scores: RunScores) -> None:
    """Write a run's scores into its folder; what is undefined is null in JSON, with its reason, and said so in CSV."""
    text = json.dumps(describe_scores(scores), indent=1, allow_nan=False) + "\n"
    write_atomic(scores.run / JSON_NAME, text.encode("ascii"))
    write_atomic(scores.run / TABLE_NAME, _to_csv(scores).encode("ascii"))


def describe_scores(scores: RunScores) -> dict[str, Any]:
    """Give a run's scores as ``scores.json`` holds them."""
    options = scores.records[0].options
    return {
        "format_version": FORMAT_VERSION,
        "task": scores.records[0].task.name,
        "variant": options.variant,
        "protocol": options.protocol,
        "model": options.model,
        "manifest_sha256": scores.records[0].manifest_sha256,
        "threshold": THRESHOLD,
        "folds": [
            {
                "fold": s.fold,
                "stage": s.stage,
                "counts": asdict(s.table),
                "scores": {name: _nullable(value) for name, value in s.scores.items()},
                "undefined": _reasons(s.table),
            }
            for s in scores.stages
        ],
        "summary": [
            asdict(s) | {"mean": _nullable(s.mean), "deviation": _nullable(s.deviation)} for s in scores.summary
        ],
    }


def _to_csv(scores: RunScores) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["fold", "stage", "tp", "fp", "fn", "tn", *PUBLISHED_SCORES])
    for s in scores.stages:
        values = [_cell(s.scores[name]) for name in PUBLISHED_SCORES]
        writer.writerow([s.fold, s.stage, s.table.tp, s.table.fp, s.table.fn, s.table.tn, *values])
    for stage in dict.fromkeys(s.stage for s in scores.summary):
        summary = {s.score: s for s in scores.summary if s.stage is stage}
        of_stage = [summary[name] for name in PUBLISHED_SCORES]
        writer.writerow(["mean", stage, *[""] * 4, *(_cell(s.mean) for s in of_stage)])
        writer.writerow(["deviation", stage, *[""] * 4, *(_cell(s.deviation) for s in of_stage)])
        writer.writerow(["folds defined", stage, *[""] * 4, *(s.num_defined for s in of_stage)])
    return text.getvalue()


def _reasons(table: ContingencyTable) -> dict[str, str]:
    reasons = {name: explain_undefined(name, table) for name in PUBLISHED_SCORES}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _nullable(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: float) -> str:
    return _UNDEFINED if math.isnan(value) else repr(value)
