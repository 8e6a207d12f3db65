"""Which checkpoint a fold's tables of predictions came from, and their checksums: ``predictions.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sffshards.base.errors import ConflictError, DamageError, SffshardsError
from sffshards.base.file_hashes import hash_file
from sffshards.base.json_records import JsonFormat, Sha256, read_record, write_record
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs.predictions_table import predictions_path
from sffshards.training import FoldRecord

PREDICTIONS_NAME = "predictions.json"
"""File name of the record in a fold's folder."""

_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionsRecord:
    """The checkpoint and the build that a fold's predictions were computed from, and the tables' checksums."""

    checkpoint: str
    """File name of the checkpoint in the fold's folder."""
    checkpoint_sha256: Sha256
    """SHA-256 of the checkpoint."""
    manifest_sha256: Sha256
    """SHA-256 of the manifest of the build."""
    stages: dict[Stage, Sha256]
    """SHA-256 of the table of each set that is complete."""


def write_predictions_record(folder: Path, record: PredictionsRecord) -> None:
    """Write ``predictions.json`` into a fold's folder, whole or not at all."""
    write_record(folder / PREDICTIONS_NAME, record, version=_VERSION)


def find_current_tables(folder: Path, expected: PredictionsRecord) -> dict[Stage, str]:
    """Return the checksums of the unchanged tables that come from the checkpoint and build of a record."""
    try:
        found = _read(folder)
    except SffshardsError:
        return {}
    if replace(found, stages={}) != replace(expected, stages={}):
        return {}
    paths = {stage: predictions_path(folder, stage) for stage in found.stages}
    return {
        stage: found.stages[stage]
        for stage, path in paths.items()
        if path.is_file() and hash_file(path) == found.stages[stage]
    }


def check_tables(folder: Path, record: FoldRecord, tables: Mapping[Stage, str]) -> None:
    """Check that tables are as `evaluate_run` wrote them, and come from the best checkpoint.

    Tables without ``predictions.json`` beside them are accepted as they are.

    Parameters
    ----------
    folder, record
        Folder and record of the fold.
    tables
        SHA-256 of each table in the folder.

    Raises
    ------
    ConflictError
        If training has found a better checkpoint since, or has begun again.
    DamageError
        If a table, or the record of predictions, has changed.
    """
    if not (folder / PREDICTIONS_NAME).is_file():
        return
    found = _read(folder)
    best = record.best
    if best is None or (found.checkpoint, found.checkpoint_sha256) != (best.name, best.sha256):
        raise ConflictError(
            folder,
            expected=f"predictions of the best checkpoint, {best.name}" if best else "no predictions before training",
            found=f"those of {found.checkpoint}, SHA-256 {found.checkpoint_sha256[:16]}...",
            fix=f"run `sffshards evaluate {folder.parent}`",
        )
    for stage in Stage:
        if tables[stage] != found.stages.get(stage):
            raise DamageError(
                predictions_path(folder, stage),
                expected=f"the table that {PREDICTIONS_NAME} describes",
                found="another one",
                fix=_fix(folder),
            )


def _read(folder: Path) -> PredictionsRecord:
    expects = JsonFormat(expected="the record of the tables beside it", fix=_fix(folder), version=_VERSION)
    return read_record(folder / PREDICTIONS_NAME, PredictionsRecord, expects=expects)


def _fix(folder: Path) -> str:
    return f"restore it, or compute it again with `sffshards evaluate {folder.parent}`"
