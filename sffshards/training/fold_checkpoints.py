"""The files of a fold: its folder before training; checkpoints, the table of epochs and the record after each epoch.

The order of writing makes a kill at any moment harmless: new checkpoint, ``last.ckpt``, record; only then are the
checkpoints removed that the record does not name. A repeated epoch writes the same names. When a queue sends a signal,
training stops here, between steps.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from sffshards.base.atomic_files import remove_temporary, storage_errors, write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.errors import ConflictError, TrainingError
from sffshards.base.file_hashes import hash_file
from sffshards.loading import Engine
from sffshards.training.checkpoint_files import LAST_NAME, format_checkpoint_name
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_record import (
    METRICS_NAME,
    RECORD_NAME,
    FoldRecord,
    SavedCheckpoint,
    read_record,
    write_record,
)
from sffshards.training.stop_signals import StopRequest, TrainingStopped

_NUM_BEST = 3
"""Number of checkpoints that are kept, those of least validation loss."""

_CHECKPOINT_GLOB = "sample-FLARE_*.ckpt"
_METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")

_LOG_FOLDERS = ("tensorboard", "csv", "wandb", "mlruns")
"""Folders that loggers write into a fold's folder."""

_OF_TRAINING = (
    *(RECORD_NAME, METRICS_NAME, LAST_NAME, _CHECKPOINT_GLOB),
    *("predictions*.csv", "predictions.json", "decision.json", *_LOG_FOLDERS),
)
"""Patterns of what belongs to a training in a fold's folder."""

_ASIDE, _MOVING = ".replaced", ".replaced.moving"
"""Folders of a training that is being replaced: whole, and while its files are moved there or back."""

_WRITTEN = re.compile(rf"{re.escape(RECORD_NAME)}|{re.escape(METRICS_NAME)}|(last|sample-FLARE_.+)\.ckpt")


def check_folder(out: Path, record: FoldRecord) -> FoldRecord | None:
    """Return the record of the same training that a folder holds, or None if it holds none.

    Raises
    ------
    ConflictError
        If it holds another training, or checkpoints without a record.
    """
    if not (out / RECORD_NAME).is_file():
        if any(not path.name.startswith(".") for path in out.glob("*.ckpt")):
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
    if different := there.differences(record):
        described = ", ".join(f"{name} {theirs} (now {mine})" for name, (theirs, mine) in different.items())
        raise _conflict(out, f"a training with {described}")
    _check_epochs(out, there, record.options.max_epochs)
    mine, theirs = record.options.accumulate, there.options.accumulate
    resumes = not there.is_complete(record.options.max_epochs)
    if mine != theirs and resumes:  # the position within an epoch is counted in batches
        raise _conflict(out, f"a training with accumulate {theirs} (now {mine})")
    if there.weights_sha256 != record.weights_sha256:
        raise _conflict(out, f"a training that started from other bytes in {record.options.weights}")
    return there


def _check_epochs(out: Path, there: FoldRecord, max_epochs: int) -> None:
    """Check that a training can be resumed up to a maximum number of epochs, or has reached it."""
    if there.num_epochs > max_epochs:
        raise _conflict(out, f"a training of {there.num_epochs} epochs (now at most {max_epochs})")
    if there.finished and not there.is_complete(max_epochs) and not (out / LAST_NAME).is_file():
        raise _conflict(out, f"a training of {there.num_epochs} epochs, and no {LAST_NAME} to resume from")


def set_aside(out: Path) -> None:
    """Move a training, and no other files, to where `settle_aside` finds it once another one replaces it."""
    with storage_errors(out):
        (out / _MOVING).mkdir(exist_ok=True)
        for pattern in _OF_TRAINING:
            for path in out.glob(pattern):
                path.rename(out / _MOVING / path.name)
        (out / _MOVING).rename(out / _ASIDE)


def is_aside(out: Path) -> bool:
    """Return whether a training is set aside, because the one that replaces it has not saved a checkpoint yet."""
    return (out / _ASIDE).is_dir()


def settle_aside(out: Path) -> None:
    """Remove the training that was set aside if the one that replaces it has saved a checkpoint; else put it back.

    The caller must hold the folder's lock. A process may be killed anywhere in here and in `set_aside`.
    """
    with storage_errors(out):
        if is_aside(out) and (out / LAST_NAME).is_file():
            shutil.rmtree(out / _ASIDE)
        elif is_aside(out):
            (out / RECORD_NAME).unlink(missing_ok=True)
            for name in _LOG_FOLDERS:
                shutil.rmtree(out / name, ignore_errors=True)
            (out / _ASIDE).rename(out / _MOVING)
        if (out / _MOVING).is_dir():
            for path in (out / _MOVING).iterdir():
                path.rename(out / path.name)
            (out / _MOVING).rmdir()


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


class FoldKeeper(Checkpoint):
    """Keeps the best checkpoints, the last one, the table of epochs and the record up to date, and stops when asked.

    Parameters
    ----------
    folder
        Folder of the fold.
    record
        Record of the fold before training.
    after_epoch
        Called with every new row of the table, on the first rank only.
    stop
        Whether a signal asked for a stop.

    Raises
    ------
    TrainingStopped
        If ``stop`` asks for it; raised through the trainer, once a checkpoint is saved.
    """

    def __init__(
        self, folder: Path, record: FoldRecord, *, after_epoch: Callable[[dict[str, float]], None], stop: StopRequest
    ) -> None:
        super().__init__()
        self.folder = folder
        self.record = record
        self._after_epoch = after_epoch
        self._stop = stop
        self._rows: list[dict[str, float]] = []
        self.has_started = False
        """Whether training has begun, after what a checkpoint holds was restored."""
        self.check_place: Callable[[], None] = lambda: None
        """Function that raises if the folder is no longer the one that was locked; called before each write."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold to resume: the best checkpoints so far and the table."""
        return {"best": [asdict(saved) for saved in self.record.checkpoints], "rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best checkpoints and the table."""
        self._rows = list(state_dict["rows"])
        best = tuple(SavedCheckpoint(**saved) for saved in state_dict["best"])
        self.record = replace(self.record, num_epochs=len(self._rows), checkpoints=best)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning; stop at once a run that was interrupted after its last epoch."""
        self.has_started = True
        self._stop.listen()
        for callback in trainer.early_stopping_callbacks:
            if callback.wait_count >= callback.patience:
                trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every ``save_every_steps`` steps and before a stop; the end of the epoch saves its last step.

        The last step but one is saved too, so that a stop during validation, which saves nothing, loses one step only.
        """
        options = self.record.options
        every = options.save_every_steps
        steps, accumulated = divmod(batch_idx + 1, options.accumulate)
        num_left = int(trainer.num_training_batches) - (batch_idx + 1)
        if accumulated or not num_left:  # gradients are not saved
            return
        stops = self._stop.agreed(trainer)
        resumable = options.engine is not Engine.CLASSIC  # the stock reader cannot resume within an epoch
        if resumable and (stops or (every and (steps % every == 0 or num_left <= options.accumulate))):
            _require_finite_weights(pl_module, f"fold {self.record.fold}, epoch {trainer.current_epoch}, step {steps}")
            self._save(trainer, LAST_NAME)
        if stops:
            raise TrainingStopped(is_first=trainer.is_global_zero)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop if asked to; all training steps but the last are saved."""
        if self._stop.agreed(trainer):
            raise TrainingStopped(is_first=trainer.is_global_zero)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write all files on the first rank; every rank takes part in making a checkpoint."""
        assert isinstance(pl_module, FlareClassifier)  # noqa: S101  the only module that is trained here
        epoch = trainer.current_epoch
        metrics = {name: pl_module.epoch_metrics[name] for name in _METRICS}
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        row: dict[str, float] = {"epoch": epoch, "step": trainer.global_step, **metrics, "next_learning_rate": rate}
        self._rows.append(row)
        loss = metrics["valid_loss"]
        self.record = replace(self.record, num_epochs=len(self._rows))
        if sum(best.valid_loss <= loss for best in self.record.checkpoints) < _NUM_BEST:
            self._keep_checkpoint(trainer, epoch=epoch, valid_loss=loss)
        self._save(trainer, LAST_NAME)
        if trainer.is_global_zero:
            self.write_files()
            self._after_epoch(row)
        if self._stop.agreed(trainer):
            raise TrainingStopped(is_first=trainer.is_global_zero)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the files again: a run may have been killed between its last checkpoint and them."""
        if trainer.is_global_zero:
            self.write_files()

    def write_files(self) -> None:
        """Write the table and the record, and remove the checkpoints that the record does not name."""
        self.check_place()
        if self._rows:
            table = format_csv(list(self._rows[0]), [list(row.values()) for row in self._rows]).encode("ascii")
            write_atomic(self.folder / METRICS_NAME, table)
            self.record = replace(self.record, metrics_sha256=hashlib.sha256(table).hexdigest())
        write_record(self.folder, self.record)
        self._remove_others()

    def _keep_checkpoint(self, trainer: pl.Trainer, *, epoch: int, valid_loss: float) -> None:
        """Save one of the best checkpoints, and add it to the record."""
        record = self.record
        name = format_checkpoint_name(record.options, fold=record.fold, epoch=epoch, valid_loss=valid_loss)
        self._save(trainer, name)
        sha256 = trainer.strategy.broadcast(hash_file(self.folder / name) if trainer.is_global_zero else "")
        saved = SavedCheckpoint(name=name, epoch=epoch, valid_loss=valid_loss, sha256=sha256)
        ranked = sorted((*record.checkpoints, saved), key=lambda best: (best.valid_loss, best.epoch))
        self.record = replace(record, checkpoints=tuple(ranked[:_NUM_BEST]))

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        """Save a checkpoint; every rank takes part."""
        self.check_place()
        trainer.save_checkpoint(self.folder / name)
        if trainer.is_global_zero and name == LAST_NAME:
            settle_aside(self.folder)

    def _remove_others(self) -> None:
        kept = {saved.name for saved in self.record.checkpoints}
        for path in self.folder.glob(_CHECKPOINT_GLOB):
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _require_finite_weights(module: pl.LightningModule, where: str) -> None:
    """Raise `TrainingError` before weights that are not finite replace a good checkpoint."""
    if all(bool(torch.isfinite(value).all()) for value in module.parameters()):
        return
    raise TrainingError(
        where,
        expected="finite weights",
        found="weights that are not finite",
        fix="lower {learning_rate}, or pass {precision} 32-true; earlier checkpoints are kept",
    )
