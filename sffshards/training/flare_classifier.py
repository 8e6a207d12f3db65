"""The Lightning module: steps, exact epoch figures on any number of ranks, optimiser and schedule.

Shapes: B batch, K 2 classes, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from sffshards.base.errors import TrainingError
from sffshards.domain.sample_sets import Stage
from sffshards.loading import ClipBatch, ClipLoader, apply_views
from sffshards.models import scale_clips
from sffshards.training.weighted_loss import weighted_losses

__all__ = ["FlareClassifier"]


class FlareClassifier(pl.LightningModule):
    """A network with the published loss, optimiser and schedule.

    Its state dict is the network's, each name after ``model.``, as in the published checkpoints.

    Parameters
    ----------
    network
        Turns float clips of shape (B, 1, 16, 224, 224) into logits of shape (B, 2).
    model
        The network's name, for the record.
    train_weights, val_weights
        Class weights of either set's loss.
    learning_rate, decay_factor, decay_patience, min_learning_rate
        Of Adam, and of its cut where the validation loss does not fall.
    seed
        Of what is drawn in a step (dropout), together with epoch, step and rank.
    fold
        For messages.
    accumulate
        Batches whose gradients the trainer sums up before the optimiser steps.

    Attributes
    ----------
    epoch_metrics
        ``train_loss``, ``train_accuracy``, ``valid_loss`` and ``valid_accuracy`` of the last epoch, over all samples of
        all ranks; what is logged of them is rounded to float32. Those of validation are the same to the last bit on any
        number of ranks, as far as each sample's loss is.
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
        fold: int,
        accumulate: int,
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
        self.fold = fold
        self.accumulate = accumulate
        self.register_buffer("train_weights_K", torch.tensor(train_weights), persistent=False)
        self.register_buffer("val_weights_K", torch.tensor(val_weights), persistent=False)
        self.epoch_metrics: dict[str, float] = {}
        self._sums: dict[Stage, Tensor] = {}
        self._validated: list[Tensor] = []

    def forward(self, clips_BTHW: Tensor) -> Tensor:
        """Give logits of shape (B, 2) for uint8 clips."""
        logits_BK: Tensor = self.model(scale_clips(clips_BTHW))
        return logits_BK

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        """Seed what the step draws, so that a run that was cut off goes on as if it had not been."""
        place = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """Give the loss whose gradient, averaged over ranks, is this batch's part of that of the global batch's mean.

        Where gradients are accumulated, Lightning divides by the number of batches, and the last step of an epoch may
        have fewer and shorter ones. Both are undone here: the sum over all ranks and batches of a step is that of its
        samples' losses over their number.

        Raises
        ------
        TrainingError
            If it is not finite.
        """
        losses_B, correct_B = self._step(batch, Stage.TRAIN)
        self._add_sums(losses_B, correct_B, batch.mask_B)
        num_real = self._count_step(batch, batch_idx)
        loss = losses_B.sum() * (self.trainer.world_size * self.accumulate / num_real)
        self._require_finite(float(loss.detach()), f"training step {batch_idx + 1}")
        self.log("train_loss_step", loss.detach(), on_step=True, on_epoch=False, batch_size=batch.num_real)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget what a pass that was left early kept."""
        self._validated.clear()

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Keep each sample's loss, and whether it was called right, until the end of the pass."""
        losses_B, correct_B = self._step(batch, Stage.VAL)
        self._validated.append(torch.stack([losses_B, correct_B.to(losses_B), batch.mask_B.to(losses_B)]))

    def on_validation_epoch_end(self) -> None:
        """Log ``valid_loss`` and ``valid_accuracy``, and cut the learning rate where the loss has not fallen.

        Lightning would step the schedule after checkpoints are written, and a run that goes on from one would lose
        the step.
        """
        loss = self._log_means("valid", *self._sum_validated())
        self._require_finite(loss, "validation")
        scheduler = self.lr_schedulers()
        if self.trainer.state.fn == "fit" and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(loss)

    def on_train_epoch_end(self) -> None:
        """Log ``train_loss`` and ``train_accuracy``, over the epoch as it went."""
        sums: Tensor = self.trainer.strategy.reduce(self._sums.pop(Stage.TRAIN), reduce_op="sum")
        self._log_means("train", *sums.tolist())

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

    def _step(self, batch: ClipBatch, stage: Stage) -> tuple[Tensor, Tensor]:
        """Give each sample's loss, and whether it was called right; zero and false where padded."""
        logits_BK = self(apply_views(batch.clips_BTHW, batch.views_B))
        weights_K = self.get_buffer(f"{stage}_weights_K")
        losses_B = weighted_losses(logits_BK, batch.labels_B, batch.mask_B, weights_K=weights_K)
        called_B = (logits_BK[:, 1] >= logits_BK[:, 0]).long()  # as a probability of 0.5 and more is called
        return losses_B, (called_B == batch.labels_B) & batch.mask_B

    def _count_step(self, batch: ClipBatch, batch_idx: int) -> int:
        """Count the samples of an optimiser's step: all ranks, all batches that are accumulated."""
        if self.accumulate == 1:
            return batch.num_real
        loader = self.trainer.train_dataloader
        assert isinstance(loader, ClipLoader)  # noqa: S101  the stock reader is not accumulated over
        return loader.source.count_samples(batch_idx // self.accumulate * self.accumulate, self.accumulate)

    def _add_sums(self, losses_B: Tensor, correct_B: Tensor, mask_B: Tensor) -> None:
        # Sums, not means of means: the last batch is short. Metal has no float64.
        dtype = torch.float32 if losses_B.device.type == "mps" else torch.float64
        sums = torch.stack([x.detach().to(dtype).sum() for x in (losses_B, correct_B, mask_B)])
        so_far = self._sums.get(Stage.TRAIN)
        self._sums[Stage.TRAIN] = sums if so_far is None else so_far.to(sums) + sums

    def _sum_validated(self) -> tuple[float, int, int]:
        """Give the sum of losses, the samples called right and the samples, over all ranks.

        Ranks cut the set in other places. So each sample's loss is gathered, and summed to the nearest float64: the
        same in any order, which a sum of the ranks' sums is not.
        """
        of_rank_3N = torch.cat(self._validated, dim=1)
        self._validated.clear()
        gathered: Any = self.all_gather(of_rank_3N)  # every rank has as many, padding included
        losses, correct, real = gathered.reshape(-1, *of_rank_3N.shape).transpose(0, 1).flatten(1).cpu()
        return math.fsum(losses.tolist()), int(correct.count_nonzero()), int(real.count_nonzero())

    def _log_means(self, name: str, loss: float, correct: float, count: float) -> float:
        """Log the mean loss, which is given back, and the accuracy."""
        metrics = {f"{name}_loss": loss / count, f"{name}_accuracy": correct / count}
        self.epoch_metrics |= metrics
        self.log_dict(metrics, batch_size=1)
        return metrics[f"{name}_loss"]

    def _require_finite(self, loss: float, where: str) -> None:
        if not np.isfinite(loss):
            raise TrainingError(
                f"fold {self.fold}, epoch {self.current_epoch}, {where}",
                expected="a finite loss",
                found=str(loss),
                fix="lower --lr or take --precision 32-true; the checkpoints of earlier epochs are kept",
            )
