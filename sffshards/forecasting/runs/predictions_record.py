"""From which checkpoint a fold's tables of predictions came, and their checksums: ``predictions.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sffshards.base.atomic_files import write_atomic
from sffshards.base.errors import ConflictError, DamageError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs.predictions_table import predictions_path
from sffshards.training import FoldRecord

__all__ = ["SEAL_NAME", "Seal", "check_tables", "find_kept", "write_seal"]

SEAL_NAME = "predictions.json"
_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal:
    """From which bytes a fold's predictions came."""

    checkpoint: str
    """File name in the fold's folder."""
    checkpoint_sha256: str
    manifest_sha256: str


def write_seal(folder: Path, seal: Seal, tables: Mapping[Stage, str]) -> None:
    """Write a fold's seal, with the SHA-256 of each table that is done."""
    stages = {str(stage): sha256 for stage, sha256 in tables.items()}
    content = {"format_version": _FORMAT_VERSION, **asdict(seal), "stages": stages}
    write_atomic(folder / SEAL_NAME, (json.dumps(content, indent=1) + "\n").encode("ascii"))


def find_kept(folder: Path, seal: Seal) -> dict[Stage, str]:
    """Give the checksums of the tables that lie in a fold's folder, of this seal and unchanged."""
    there, stages = _read_seal(folder)
    if there != seal:
        return {}
    paths = {stage: predictions_path(folder, stage) for stage in stages}
    return {
        stage: stages[stage] for stage, path in paths.items() if path.is_file() and hash_file(path) == stages[stage]
    }


def check_tables(folder: Path, record: FoldRecord, tables: Mapping[Stage, str]) -> None:
    """Refuse tables that are not as `evaluate_run` wrote them, or not of the best checkpoint.

    Tables without a seal beside them are taken as they are.

    Parameters
    ----------
    folder, record
        Of the fold.
    tables
        SHA-256 of the tables that lie there.

    Raises
    ------
    ConflictError
        If training has found a better checkpoint since.
    DamageError
        If a table, or the seal, is of other bytes.
    """
    if not (folder / SEAL_NAME).is_file():
        return
    seal, stages = _read_seal(folder)
    if seal is None:
        raise _damage(folder / SEAL_NAME, "the record of the tables beside it", "something else")
    if record.best is not None and seal.checkpoint != record.best.name:
        raise ConflictError(
            folder,
            expected=f"predictions of the best checkpoint, {record.best.name}",
            found=f"those of {seal.checkpoint}",
            fix=f"run `sffshards evaluate {folder.parent}`",
        )
    for stage in Stage:
        if tables[stage] != stages.get(stage):
            raise _damage(predictions_path(folder, stage), f"the table that {SEAL_NAME} describes", "another one")


def _read_seal(folder: Path) -> tuple[Seal | None, dict[Stage, str]]:
    """Give a seal and the checksums of its tables; None and none where it cannot be read."""
    try:
        content = json.loads((folder / SEAL_NAME).read_bytes())
        stages = {Stage(stage): str(sha256) for stage, sha256 in content.pop("stages").items()}
        if content.pop("format_version") != _FORMAT_VERSION:
            return None, {}
        return Seal(**content), stages
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, {}


def _damage(path: Path, expected: str, found: str) -> DamageError:
    fix = f"restore it, or compute it anew with `sffshards evaluate {path.parent.parent}`"
    return DamageError(path, expected=expected, found=found, fix=fix)
