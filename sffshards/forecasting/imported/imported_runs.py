"""A table of forecasts by another system as a run, which is evaluated, compared and reported like any other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.base.progress import Progress
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import NUM_FOLDS, Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import Task
from sffshards.forecasting.imported.label_joining import JoinedForecasts
from sffshards.forecasting.imported.table_scores import find_climatology
from sffshards.forecasting.runs import (
    FoldForecasts,
    ForecastRecord,
    Predictions,
    Run,
    RunKind,
    SourceFile,
    write_run,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportOptions:
    """What a run of imported forecasts is called, and which sets its folds have."""

    task: Task
    """The task that is forecast."""
    name: str
    """Name of the run in tables."""
    protocol: Protocol = Protocol.PAPER
    """Protocol, which defines the training parts of a fold."""
    tolerance_minutes: int = 0
    """Largest time from a forecast to its label, as in `join_labels`."""
    climatology: float | None = None
    """Climatological flare rate; None for that of the training parts of each fold."""


def import_run(
    joined: JoinedForecasts,
    labels: Mapping[Part, LabelledFrames],
    run: Path,
    *,
    options: ImportOptions,
    sources: Collection[Path],
    force: bool,
    progress: Progress,
) -> Run:
    """Write the forecasts of a table as a run.

    A table without folds is used for all five folds, so that each fold's threshold and calibration are fitted to its
    own validation part. Forecasts of the training and validation parts may be missing; those of Test must be there.

    Parameters
    ----------
    joined
        Forecasts from `join_labels`, of all parts.
    labels
        Labels of all parts from `sffshards.labels.read_parts`.
    run
        Folder of the run, such as ``runs/48h/other``.
    options
        Its options.
    sources
        Files that table and labels were read from; the record states their checksums.
    force
        Whether to replace a run of other options.
    progress
        Receiver of progress.

    Raises
    ------
    InputError
        If a fold has no forecasts of Test, or of other labels of it than the first fold, or there are no training parts
        and no climatology.
    ConflictError
        If the folder holds another run, and ``force`` is false.
    StorageError
        If the folder cannot be written to.
    """
    folds = joined.table.folds or tuple(range(NUM_FOLDS))
    read = tuple(SourceFile.read(path) for path in sources)
    plans = [_plan(fold, labels, joined, options, read) for fold in folds]
    made = {plan.fold: _gather(plan, joined) for plan in plans}
    joined.require_same_labels(Part.TEST)
    return write_run(run, plans, lambda plan: made[plan.fold], force=force, progress=progress)


def _plan(
    fold: int,
    labels: Mapping[Part, LabelledFrames],
    joined: JoinedForecasts,
    options: ImportOptions,
    sources: Sequence[SourceFile],
) -> ForecastRecord:
    training = SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=fold, protocol=options.protocol)
    rate = options.climatology
    return ForecastRecord(
        kind=RunKind.IMPORTED,
        name=options.name,
        description=f"forecasts of {Path(joined.table.source).name}".encode("ascii", "backslashreplace").decode(),
        task=options.task,
        fold=fold,
        protocol=options.protocol,
        climatology=find_climatology(labels, parts=training.parts(options.task)) if rate is None else rate,
        options={"tolerance_minutes": options.tolerance_minutes},
        sources=tuple(sources),
        harp_numbers=joined.table.harp_numbers,
    )


def _gather(plan: ForecastRecord, joined: JoinedForecasts) -> FoldForecasts:
    """Return the forecasts of each set of a fold, or why there are none."""
    of_table = plan.fold if joined.table.folds else None
    tables: dict[Stage, Predictions] = {}
    missing: dict[Stage, str] = {}
    for stage in Stage:
        parts = plan.sample_set(stage).parts(plan.task)
        found = joined.predictions(parts, fold=of_table)
        if len(found):
            tables[stage] = found
        else:
            missing[stage] = f"the table has no forecasts of {', '.join(parts)}"
    if Stage.TEST not in tables:
        whose = "" if of_table is None else f" by fold {of_table}"
        raise InputError(
            joined.table.source,
            expected=f"forecasts of {Part.TEST}{whose}",
            found="none",
            fix="complete the table, or check times and HARPs with `sffshards score`",
        )
    return FoldForecasts(tables=tables, missing=missing)
