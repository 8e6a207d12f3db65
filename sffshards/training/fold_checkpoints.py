"""The files of a fold: its folder before training; checkpoints, the table of epochs and the record after each epoch.

The order of writing makes a kill at any moment harmless: new checkpoint, ``last.ckpt``, record; only then are the
checkpoints removed that the record does not name. A repeated epoch writes the same names. When a queue sends a signal,
training stops here, between steps.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from sffshards.base.atomic_files import remove_temporary, replacing, storage_errors, write_atomic
from sffshards.base.csv_tables import format_csv
from sffshards.base.errors import ConflictError, InputError, TrainingError
from sffshards.loading import Engine
from sffshards.models import read_checkpoint
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
from sffshards.training.training_config import TrainingOptions

LAST_NAME = "last.ckpt"
"""The checkpoint from which an interrupted run resumes."""

_NUM_BEST = 3
"""Number of checkpoints that are kept, those of least validation loss."""

_CHECKPOINT_GLOB = "sample-FLARE_*.ckpt"
_METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")

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
        for pattern in (_CHECKPOINT_GLOB, "predictions*.csv", "predictions.json", "decision.json"):
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


def format_checkpoint_name(options: TrainingOptions, *, fold: int, epoch: int, valid_loss: float) -> str:
    """Return the name of a checkpoint as the published programs have it, with six digits of the loss.

    Examples
    --------
    >>> from sffshards.models.model_names import ModelName
    >>> from sffshards.domain.sample_sets import Protocol, Variant
    >>> model = ModelName.MVIT_V2_S
    >>> options = TrainingOptions(
    ...     variant=Variant.OTV, protocol=Protocol.PAPER, model=model, weights="none", learning_rate=1e-7
    ... )
    >>> format_checkpoint_name(options, fold=3, epoch=7, valid_loss=0.0166)
    'sample-FLARE_MViT_S_10-7-epoch=07-valid_loss=0.016600-Wloss_k=3.ckpt'
    """
    rate = _format_rate(options.learning_rate)
    return f"sample-FLARE_{options.model.tag}_{rate}-epoch={epoch:02d}-valid_loss={valid_loss:.6f}-Wloss_k={fold}.ckpt"


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints atomically, and reads them without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,  # tensors are read on the CPU, and moved by the module
        weights_only: Any = None,
    ) -> dict[str, Any]:
        """Read a checkpoint, always with ``weights_only``."""
        try:
            return read_checkpoint(Path(path))
        except InputError as error:
            fix = "train the fold again with `sffshards train --force`"
            raise InputError(path, expected="a checkpoint to resume from", found=error.found, fix=fix) from None


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
            trainer.save_checkpoint(self.folder / LAST_NAME)
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
        name = format_checkpoint_name(self.record.options, fold=self.record.fold, epoch=epoch, valid_loss=loss)
        saved = SavedCheckpoint(name=name, epoch=epoch, valid_loss=loss)
        ranked = sorted((*self.record.checkpoints, saved), key=lambda c: (c.valid_loss, c.epoch))[:_NUM_BEST]
        self.record = replace(self.record, num_epochs=len(self._rows), checkpoints=tuple(ranked))
        if saved in ranked:
            trainer.save_checkpoint(self.folder / saved.name)
        trainer.save_checkpoint(self.folder / LAST_NAME)
        if trainer.is_global_zero:
            table = format_csv(list(row), [list(of_epoch.values()) for of_epoch in self._rows])
            write_atomic(self.folder / METRICS_NAME, table.encode("ascii"))
            write_record(self.folder, self.record)
            self._remove_others()
            self._after_epoch(row)
        if self._stop.agreed(trainer):
            raise TrainingStopped(is_first=trainer.is_global_zero)

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


def _format_rate(rate: float) -> str:
    exponent = math.floor(math.log10(rate) + 1e-9)
    mantissa = round(rate / 10**exponent, 3)
    power = f"10{exponent}"
    return power if mantissa == 1 else f"{mantissa:g}x{power}"
