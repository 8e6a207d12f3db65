"""Progress of a fold: a bar for each epoch, and a line at its end."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl

from sffshards.base.progress import Advance, Progress

__all__ = ["ProgressReport"]


class ProgressReport(pl.Callback):
    """Shows each epoch as a task of its training and validation samples, on the first rank and over all ranks.

    Parameters
    ----------
    progress
        Display of the progress.
    fold
        Number of the fold, for the description.
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
            loader: Any = trainer.train_dataloader
            val_loader: Any = trainer.val_dataloaders
            text = f"Fold {self._fold}, epoch {trainer.current_epoch} (at most {trainer.max_epochs} epochs)"
            # Not 0 where a run resumes within an epoch, as only the plan can.
            done = loader.source.count_samples(0, batch_idx) if batch_idx else 0
            task = self._progress.task(text, loader.num_samples + val_loader.num_samples, unit="samples", done=done)
            self._advance = self._open.enter_context(task)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a training batch."""
        self._count(batch.num_real)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Count a validation batch."""
        self._count(batch.num_real)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the epoch's task."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the epoch's task when training is interrupted."""
        self._close()

    def note_epoch(self, row: dict[str, float]) -> None:
        """Show the metrics of an epoch."""
        metrics = ", ".join(f"{name} {row[name]:.6f}" for name in ("train_loss", "valid_loss", "valid_accuracy"))
        self._progress.note(f"fold {self._fold}, epoch {row['epoch']:.0f}: {metrics}")

    def _count(self, num_samples: int) -> None:
        if self._advance is not None:
            self._advance(num_samples)

    def _close(self) -> None:
        self._open.close()
        self._advance = None
