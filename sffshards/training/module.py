"""The Lightning module: steps, exact epoch figures on any number of ranks, optimiser and schedule.

Shapes: B batch, K 2 classes, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from sffshards.errors import TrainingError
from sffshards.loading import ClipBatch, apply_views
from sffshards.models import scale_clips
from sffshards.records import Stage
from sffshards.training.recipe import weighted_losses

__all__ = ["FlareClassifier"]


class FlareClassifier(pl.LightningModule):
    """A network with the published loss, optimiser and schedule.

    Its state dict is the network's, each name after ``model.``, as in the published checkpoints.

    Parameters
    ----------
    network
        Turns float clips of shape (B, 3, 16, 224, 224) into logits of shape (B, 2).
    model
        The network's name, for the record.
    train_weights, val_weights
        Class weights of either set's loss.
    learning_rate, decay_factor, decay_patience, min_learning_rate
        Of Adam, and of its cut where the validation loss does not fall.
    seed
        Of what is drawn in a step (dropout), together with epoch, step and rank.

    Attributes
    ----------
    epoch_metrics
        ``train_loss``, ``train_accuracy``, ``valid_loss`` and ``valid_accuracy`` of the last epoch, exact over all
        samples of all ranks; what is logged of them is rounded to float32.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        model: str,
        train_weights: tuple[float, float],
        val_weights: tuple[float, float],
        learning_rate: float,
        decay_factor: float,
        decay_patience: int,
        min_learning_rate: float,
        seed: int,
    ) -> None:
        super().__init__()
        # Plain numbers and text only: checkpoints are loaded with weights_only.
        self.save_hyperparameters(ignore=["network"])
        self.model = network
        self.learning_rate = learning_rate
        self.decay_factor = decay_factor
        self.decay_patience = decay_patience
        self.min_learning_rate = min_learning_rate
        self.seed = seed
        self.register_buffer("train_weights_K", torch.tensor(train_weights), persistent=False)
        self.register_buffer("val_weights_K", torch.tensor(val_weights), persistent=False)
        self.epoch_metrics: dict[str, float] = {}
        self._sums: dict[Stage, Tensor] = {}

    def forward(self, clips_BTHW: Tensor) -> Tensor:
        """Give logits of shape (B, 2) for uint8 clips."""
        logits_BK: Tensor = self.model(scale_clips(clips_BTHW))
        return logits_BK

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        """Seed what the step draws, so that a run that was cut off goes on as if it had not been."""
        place = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """Give the loss whose gradient, averaged over ranks, is that of the mean over the global batch.

        Raises
        ------
        TrainingError
            If it is not finite.
        """
        losses_B = self._step(batch, Stage.TRAIN)
        loss = losses_B.sum() * (self.trainer.world_size / batch.num_real)
        self._require_finite(float(loss.detach()), f"training step {batch_idx + 1}")
        self.log("train_loss_step", loss.detach(), on_step=True, on_epoch=False, batch_size=batch.num_real)
        return loss

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Add a batch to the epoch's sums."""
        self._step(batch, Stage.VAL)

    def on_validation_epoch_end(self) -> None:
        """Log ``valid_loss`` and ``valid_accuracy``, and cut the learning rate where the loss has not fallen.

        Lightning would step the schedule after checkpoints are written, and a run that goes on from one would lose
        the step.
        """
        loss = self._log_epoch(Stage.VAL, "valid")
        self._require_finite(loss, "validation")
        scheduler = self.lr_schedulers()
        if self.trainer.state.fn == "fit" and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(loss)

    def on_train_epoch_end(self) -> None:
        """Log ``train_loss`` and ``train_accuracy``, over the epoch as it went."""
        self._log_epoch(Stage.TRAIN, "train")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the epoch's means are made of so far; every rank takes part, though one writes."""
        reduce = self.trainer.strategy.reduce
        sums = {str(stage): reduce(of_rank.clone(), reduce_op="sum") for stage, of_rank in self._sums.items()}
        checkpoint["epoch_sums"] = {stage: of_all.tolist() for stage, of_all in sums.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take that back, on one rank for all."""
        saved = checkpoint.get("epoch_sums", {})
        if self.global_rank:
            saved = {stage: [0.0] * len(sums) for stage, sums in saved.items()}
        self._sums = {Stage(stage): torch.tensor(sums, dtype=torch.float64) for stage, sums in saved.items()}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Give Adam, and the cut of its learning rate on a plateau of the validation loss."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        # `eps` stays at torch's 1e-8, as published: a cut smaller than that, below 1e-8, is not made.
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=self.decay_factor, patience=self.decay_patience, min_lr=self.min_learning_rate
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "valid_loss"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Do nothing: `on_validation_epoch_end` has stepped the schedule."""

    def _step(self, batch: ClipBatch, stage: Stage) -> Tensor:
        logits_BK = self(apply_views(batch.clips_BTHW, batch.views_B))
        weights_K = self.get_buffer(f"{stage}_weights_K")
        losses_B = weighted_losses(logits_BK, batch.labels_B, batch.mask_B, weights_K=weights_K)
        called_B = (logits_BK[:, 1] >= logits_BK[:, 0]).long()  # as a probability of 0.5 and more is called
        correct_B = (called_B == batch.labels_B) & batch.mask_B
        # Sums, not means of means: the last batch is short. Metal has no float64.
        dtype = torch.float32 if losses_B.device.type == "mps" else torch.float64
        sums = torch.stack([x.detach().to(dtype).sum() for x in (losses_B, correct_B, batch.mask_B)])
        self._sums[stage] = self._sums[stage].to(sums) + sums if stage in self._sums else sums
        return losses_B

    def _log_epoch(self, stage: Stage, name: str) -> float:
        """Log the mean loss and the accuracy over all samples of all ranks."""
        sums: Tensor = self.trainer.strategy.reduce(self._sums.pop(stage), reduce_op="sum")
        loss, correct, count = sums.tolist()
        metrics = {f"{name}_loss": loss / count, f"{name}_accuracy": correct / count}
        self.epoch_metrics |= metrics
        self.log_dict(metrics, batch_size=1)
        return float(metrics[f"{name}_loss"])

    def _require_finite(self, loss: float, where: str) -> None:
        if not np.isfinite(loss):
            raise TrainingError(
                f"epoch {self.current_epoch}, {where}",
                expected="a finite loss",
                found=str(loss),
                fix="lower --lr or take --precision 32-true; the checkpoints of earlier epochs are kept",
            )
