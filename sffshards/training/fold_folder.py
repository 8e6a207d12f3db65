"""The folder of a fold before training: check that it may be used, or clear it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sffshards.base.atomic_files import remove_temporary, storage_errors
from sffshards.base.errors import ConflictError
from sffshards.training.fold_checkpoints import CHECKPOINT_GLOB, LAST_NAME
from sffshards.training.fold_record import METRICS_NAME, RECORD_NAME, FoldRecord, read_record

__all__ = ["check_folder", "clear_folder", "remove_leftovers"]

_LOG_FOLDERS = ("tensorboard", "csv", "wandb", "mlruns")
"""Folders that loggers write into a fold's folder."""

_WRITTEN = re.compile(rf"{re.escape(RECORD_NAME)}|{re.escape(METRICS_NAME)}|(last|sample-FLARE_.+)\.ckpt")


def check_folder(out: Path, record: FoldRecord) -> FoldRecord | None:
    """Return the record of the same training that a folder holds, or None if it holds none.

    Raises
    ------
    ConflictError
        If it holds another training, or checkpoints without a record.
    """
    if not (out / RECORD_NAME).is_file():
        if any(out.glob("*.ckpt")):
            raise _conflict(out, f"checkpoints without a {RECORD_NAME}")
        return None
    there = read_record(out)
    if not there.num_epochs and not (out / LAST_NAME).is_file():
        return None  # nothing was trained, perhaps because of an option that has changed since
    if (there.task, there.fold, there.manifest_sha256) != (record.task, record.fold, record.manifest_sha256):
        raise _conflict(
            out,
            f"{there.task} fold {there.fold} on build {there.manifest_sha256[:12]}"
            f" (now {record.task} fold {record.fold} on build {record.manifest_sha256[:12]})",
        )
    if different := there.options.differences(record.options):
        described = ", ".join(f"{name} {theirs} (now {mine})" for name, (theirs, mine) in different.items())
        raise _conflict(out, f"a training with {described}")
    mine, theirs = record.options.accumulate, there.options.accumulate
    if mine != theirs and not there.finished:  # the position within an epoch is counted in batches
        raise _conflict(out, f"a training with accumulate {theirs} (now {mine})")
    if there.weights_sha256 != record.weights_sha256:
        raise _conflict(out, f"a training that started from other bytes in {record.options.weights}")
    return there


def clear_folder(out: Path) -> None:
    """Remove a training, its record first, and no other files."""
    with storage_errors(out):
        for name in (RECORD_NAME, METRICS_NAME, LAST_NAME):
            (out / name).unlink(missing_ok=True)
        for pattern in (CHECKPOINT_GLOB, "predictions*.csv", "predictions.json", "decision.json"):
            for path in out.glob(pattern):
                path.unlink()
        for name in _LOG_FOLDERS:
            shutil.rmtree(out / name, ignore_errors=True)


def remove_leftovers(out: Path) -> None:
    """Remove temporary files that a killed process left; the caller must hold the folder's lock."""
    remove_temporary(out, _WRITTEN)


def _conflict(out: Path, found: str) -> ConflictError:
    return ConflictError(
        out,
        expected="no training, or the same training",
        found=found,
        fix="choose another {out}, or train again with `sffshards train --force`",
    )
