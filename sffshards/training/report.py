"""Tells the user how far a fold is: a bar for each epoch, and a line when it is done."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl

from sffshards.progress import Advance, Progress

__all__ = ["ProgressReport"]


class ProgressReport(pl.Callback):
    """Shows an epoch as a task of its training and validation batches, on the first rank.

    Parameters
    ----------
    progress
        What shows it.
    fold
        For the description.
    """

    def __init__(self, progress: Progress, *, fold: int) -> None:
        super().__init__()
        self._progress = progress
        self._fold = fold
        self._open = ExitStack()
        self._advance: Advance | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Open the epoch's task with its first batch."""
        if self._advance is None and trainer.is_global_zero:
            num_val = sum(int(n) for n in trainer.num_val_batches)
            text = f"Fold {self._fold}, epoch {trainer.current_epoch} (at most {trainer.max_epochs} epochs)"
            task = self._progress.task(text, int(trainer.num_training_batches) + num_val)
            self._advance = self._open.enter_context(task)
            self._advance(batch_idx)  # not 0 where a run goes on in the middle

    def on_train_batch_end(self, *args: Any) -> None:
        """Count a training batch."""
        self._step()

    def on_validation_batch_end(self, *args: Any) -> None:
        """Count a validation batch."""
        self._step()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the epoch's task."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the epoch's task where training breaks off."""
        self._close()

    def note_epoch(self, row: dict[str, float]) -> None:
        """Say how an epoch went."""
        figures = ", ".join(f"{name} {row[name]:.6f}" for name in ("train_loss", "valid_loss", "valid_accuracy"))
        self._progress.note(f"fold {self._fold}, epoch {row['epoch']:.0f}: {figures}")

    def _step(self) -> None:
        if self._advance is not None:
            self._advance(1)

    def _close(self) -> None:
        self._open.close()
        self._advance = None
