"""What a fold leaves on disk after each epoch: checkpoints, the table of epochs, and its record.

The order makes a kill at any moment harmless: new checkpoint, ``last.ckpt``, record, and only then are the checkpoints
removed that none of them names. An epoch done again writes the same names. Where a queue asks for it, training stops
here, between steps.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from sffshards.base.atomic_files import replacing, write_atomic
from sffshards.base.errors import InputError, TrainingError
from sffshards.loading import Engine
from sffshards.models import read_checkpoint
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_record import METRICS_NAME, FoldRecord, SavedCheckpoint, write_record
from sffshards.training.stop_signals import StopRequest, TrainingStopped
from sffshards.training.training_config import NUM_BEST, TrainingOptions

__all__ = ["LAST_NAME", "AtomicCheckpoints", "FoldKeeper", "format_checkpoint_name"]

LAST_NAME = "last.ckpt"
"""The checkpoint that a run that was cut off goes on from."""

CHECKPOINT_GLOB = "sample-FLARE_*.ckpt"
_METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


def format_checkpoint_name(options: TrainingOptions, *, fold: int, epoch: int, valid_loss: float) -> str:
    """Name a checkpoint as the published programs do, with six digits of the loss.

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
    """Checkpoints that appear under their name only when whole, and are read without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,  # tensors are read on the CPU, and moved by whoever takes them
        weights_only: Any = None,
    ) -> dict[str, Any]:
        """Read a checkpoint, with ``weights_only`` whatever is asked."""
        try:
            return read_checkpoint(Path(path))
        except InputError as error:
            fix = "begin the fold anew with `sffshards train --force`"
            raise InputError(path, expected="a checkpoint to go on from", found=error.found, fix=fix) from None


class FoldKeeper(Checkpoint):
    """Keeps the best checkpoints, the last one, the table of epochs and the record up to date.

    Parameters
    ----------
    folder
        Of the fold.
    record
        As it stands before training.
    after_epoch
        Told of every row of the table; on the first rank only.
    stop
        Asked after every step whether to stop.

    Raises
    ------
    TrainingStopped
        If it says so; out of the trainer, once what there is was saved.
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
        """Give what a checkpoint must hold for the run to go on: the best so far and the table."""
        return {"best": [asdict(saved) for saved in self.record.checkpoints], "rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take that back."""
        self._rows = list(state_dict["rows"])
        best = tuple(SavedCheckpoint(**saved) for saved in state_dict["best"])
        self.record = replace(self.record, num_epochs=len(self._rows), checkpoints=best)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals, which Lightning has taken; stop at once a run that was cut off after its last epoch."""
        self._stop.listen()
        for callback in trainer.early_stopping_callbacks:
            if callback.wait_count >= callback.patience:
                trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save now and then within an epoch, and where it is to stop; its last step is left to the end of the epoch.

        The last step but one is saved too, so that a stop during validation, of which nothing is kept, loses a step.
        """
        options = self.record.options
        every = options.save_every_steps
        steps, accumulated = divmod(batch_idx + 1, options.accumulate)
        num_left = int(trainer.num_training_batches) - (batch_idx + 1)
        if accumulated or not num_left:  # gradients are not saved
            return
        stops = self._stop.agreed(trainer)
        resumable = options.engine is not Engine.CLASSIC  # it could not go on from there
        if resumable and (stops or (every and (steps % every == 0 or num_left <= options.accumulate))):
            _require_finite_weights(pl_module, f"fold {self.record.fold}, epoch {trainer.current_epoch}, step {steps}")
            trainer.save_checkpoint(self.folder / LAST_NAME)
        if stops:
            raise TrainingStopped(is_first=trainer.is_global_zero)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop where it is asked for; the training steps are saved but for the last."""
        if self._stop.agreed(trainer):
            raise TrainingStopped(is_first=trainer.is_global_zero)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write everything, on the first rank; the others take part in making a checkpoint."""
        assert isinstance(pl_module, FlareClassifier)  # noqa: S101  it is what is trained here
        epoch = trainer.current_epoch
        metrics = {name: pl_module.epoch_metrics[name] for name in _METRICS}
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        row: dict[str, float] = {"epoch": epoch, "step": trainer.global_step, **metrics, "next_learning_rate": rate}
        self._rows.append(row)
        saved = SavedCheckpoint(
            name=format_checkpoint_name(
                self.record.options, fold=self.record.fold, epoch=epoch, valid_loss=metrics["valid_loss"]
            ),
            epoch=epoch,
            valid_loss=metrics["valid_loss"],
        )
        ranked = sorted((*self.record.checkpoints, saved), key=lambda c: (c.valid_loss, c.epoch))[:NUM_BEST]
        self.record = replace(self.record, num_epochs=len(self._rows), checkpoints=tuple(ranked))
        if saved in ranked:
            trainer.save_checkpoint(self.folder / saved.name)
        trainer.save_checkpoint(self.folder / LAST_NAME)
        if trainer.is_global_zero:
            write_atomic(self.folder / METRICS_NAME, self._format_rows())
            write_record(self.folder, self.record)
            self._remove_others()
            self._after_epoch(row)
        if self._stop.agreed(trainer):
            raise TrainingStopped(is_first=trainer.is_global_zero)

    def _format_rows(self) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self._rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return text.getvalue().encode("ascii")

    def _remove_others(self) -> None:
        kept = {saved.name for saved in self.record.checkpoints}
        for path in self.folder.glob(CHECKPOINT_GLOB):
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _require_finite_weights(module: pl.LightningModule, where: str) -> None:
    """Keep a checkpoint from which nothing could go on from replacing a good one; the loss shows it a step later."""
    if all(bool(torch.isfinite(value).all()) for value in module.parameters()):
        return
    raise TrainingError(
        where,
        expected="finite weights",
        found="some that are not",
        fix="lower --lr or take --precision 32-true; what was saved before is kept",
    )


def _format_rate(rate: float) -> str:
    exponent = math.floor(math.log10(rate) + 1e-9)
    mantissa = round(rate / 10**exponent, 3)
    power = f"10{exponent}"
    return power if mantissa == 1 else f"{mantissa:g}x{power}"
