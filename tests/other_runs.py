"""Runs that no network made, on the samples of a network's run: a baseline, an imported table, a regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs.forecast_record import ForecastRecord, RunKind, SourceFile
from sffshards.forecasting.runs.predictions_table import Predictions, plain_predictions
from sffshards.forecasting.runs.run_fold import read_tables
from sffshards.forecasting.runs.run_folders import Run, read_run
from sffshards.forecasting.runs.run_writing import FoldForecasts, write_run

OTHER_RUNS = {
    "persistence": (RunKind.BASELINE, "earlier labels of all parts"),
    "ASAP": (RunKind.IMPORTED, "forecasts.csv, nearest time before"),
    "regression": (RunKind.KEYWORDS, "17 SHARP keywords, last frame"),
}


def write_other_runs(network: Path) -> list[Path]:
    """Write runs beside a network's, in the same folds: with a table of Test alone where the run is imported."""
    run = read_run(network)
    return [_write(run, network.parent / name, seed=seed) for seed, name in enumerate(OTHER_RUNS)]


def _write(run: Run, folder: Path, *, seed: int) -> Path:
    kind, description = OTHER_RUNS[folder.name]
    plans = [
        ForecastRecord(
            kind=kind,
            name=folder.name,
            description=description,
            task=run.task,
            fold=fold.number,
            protocol=fold.protocol,
            climatology=0.25,
            options={"tolerance_minutes": 96} if kind is RunKind.IMPORTED else {},
            sources=(SourceFile(path=f"{folder.name}.csv", sha256="ab" * 32),),
        )
        for fold in run.folds
    ]
    stages = (Stage.TEST,) if kind is RunKind.IMPORTED else tuple(Stage)

    def make(plan: ForecastRecord) -> FoldForecasts:
        (fold,) = (read_tables(fold) for fold in run.folds if fold.number == plan.fold)
        tables = {stage: _forecast(fold.plain(stage), is_sure=kind is RunKind.BASELINE, seed=seed) for stage in stages}
        missing = {stage: "the table has no times of this set" for stage in Stage if stage not in stages}
        return FoldForecasts(tables=tables, missing=missing)

    write_run(folder, plans, make, force=False, progress=SILENT)
    return folder


def _forecast(known: Predictions, *, is_sure: bool, seed: int) -> Predictions:
    logits = 3.0 * known.label - 1.5 + np.random.default_rng(seed).normal(0, 1.2, len(known))
    probability = (logits > 0).astype(float) if is_sure else 1 / (1 + np.exp(-logits))
    return plain_predictions(harp=known.harp, t_end_tai=known.t_end_tai, label=known.label, probability=probability)
