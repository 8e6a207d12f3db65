"""The Lightning module: the loss, optimiser and schedule of a recipe, exact metrics of an epoch on any number of ranks.

Shapes: B batch, K 2 classes, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from sffshards.base.errors import TrainingError
from sffshards.base.json_records import to_plain
from sffshards.domain.sample_sets import Stage
from sffshards.loading import ClipBatch, ClipLoader, render_clips
from sffshards.models import NetworkWithNumbers, scale_clips
from sffshards.training.fold_record import FoldRecord
from sffshards.training.optimisation import (
    build_optimizer,
    build_plateau,
    cosine_rate,
    freeze_parts,
    sample_losses,
    set_rates,
    weigh_losses,
)
from sffshards.training.recipe import Recipe, Schedule
from sffshards.training.sample_numbers import SampleNumbers

_MAY_CHANGE = frozenset({"batch_size", "num_threads", "check", "max_epochs"})
"""Options of a `Recipe` that need not be the same when a training resumes."""


class ClipForecasts(NamedTuple):
    """The forecasts for the samples of a batch, without padding."""

    rows_N: Tensor
    """Rows of the build's index, int64."""
    probabilities_N: Tensor
    """Probabilities of a flare, float32."""


class FlareClassifier(pl.LightningModule):
    """A network with the loss, optimiser and schedule of its recipe, by default the published one.

    Its state dict is the network's, each name prefixed by ``model.``, as in the published checkpoints.

    Parameters
    ----------
    network
        Network from float clips of shape (B, 1, 16, 224, 224) to logits of shape (B, 2), or one with numbers.
    record
        Record of the fold, with its options and the class counts of the training and the validation set.
    numbers
        Of a network with numbers, those of all samples of the build; else None.

    Attributes
    ----------
    epoch_metrics
        ``train_loss``, ``train_accuracy``, ``valid_loss`` and ``valid_accuracy`` of the last epoch, over all samples of
        all ranks, in float64. The validation metrics are the same to the last bit on any number of ranks, as far as
        each sample's loss is.
    """

    def __init__(self, network: nn.Module, record: FoldRecord, *, numbers: SampleNumbers | None = None) -> None:
        super().__init__()
        self.model = network
        self.options = record.options
        self.fold = record.fold
        # Plain numbers and text only: checkpoints are loaded with weights_only.
        self.save_hyperparameters(plain_hyperparameters(record))
        for stage, counts in record.class_counts.items():
            self.register_buffer(f"{stage}_weights_K", torch.tensor(record.loss_weights(stage)), persistent=False)
            numbers_K = torch.tensor([counts.num_negative, counts.num_positive])
            self.register_buffer(f"{stage}_log_shares_K", (numbers_K / numbers_K.sum()).log(), persistent=False)
        freeze_parts(network.net if isinstance(network, NetworkWithNumbers) else network, record.options.frozen_parts)
        # No buffer: ranks would send it to each other at every step.
        self._numbers_NF = None if numbers is None else torch.from_numpy(numbers.values_NF)
        self.epoch_metrics: dict[str, float] = {}
        self._sums: dict[Stage, Tensor] = {}
        self._validated: list[Tensor] = []

    def forward(self, clips_BTHW: Tensor, numbers_BF: Tensor | None = None) -> Tensor:
        """Return logits of shape (B, 2) for uint8 clips, and for their numbers if the network takes some."""
        clips_BCTHW = scale_clips(clips_BTHW)
        logits_BK: Tensor = self.model(clips_BCTHW) if numbers_BF is None else self.model(clips_BCTHW, numbers_BF)
        return logits_BK

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        """Seed the random numbers of the step, so that a resumed run gives the same result as an uninterrupted one."""
        self._set_rate(batch_idx // self.trainer.accumulate_grad_batches)
        place = [self.options.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """Return this batch's part of the mean loss over the global batch, scaled so that ranks may be averaged.

        With accumulated gradients, Lightning divides by the number of batches, and the last step of an epoch may have
        fewer and shorter batches. Both are undone here: summed over all ranks and batches of a step, the loss is the
        sum of the samples' losses over their number.

        Raises
        ------
        TrainingError
            If the loss is not finite.
        """
        losses_B, correct_B = self._step(batch, Stage.TRAIN)
        self._add_sums(losses_B, correct_B, batch.mask_B)
        num_real = self._count_step(batch, batch_idx)
        loss = losses_B.sum() * (self.trainer.world_size * self.trainer.accumulate_grad_batches / num_real)
        self._require_finite(float(loss.detach()), f"training step {batch_idx + 1}")
        self.log("train_loss_step", loss.detach(), on_step=True, on_epoch=False, batch_size=batch.num_real)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Discard what an interrupted pass collected."""
        self._validated.clear()

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Keep each sample's loss, and whether it was classified correctly, until the end of the pass."""
        self._keep(batch, Stage.VAL)

    def on_validation_epoch_end(self) -> None:
        """Log ``valid_loss`` and ``valid_accuracy``, and cut the learning rate where the loss has not fallen.

        Lightning would step the schedule after checkpoints are written, and a run resumed from one would lose the step.
        """
        loss = self._log_means("valid", *self._sum_validated())
        self._require_finite(loss, "validation")
        scheduler = self.lr_schedulers()
        if self.trainer.state.fn == "fit" and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(loss)
        elif self.trainer.state.fn == "fit":
            self._set_rate(self._count_steps())

    def on_test_epoch_start(self) -> None:
        """Discard what an interrupted pass collected."""
        self._validated.clear()

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Keep what `validation_step` does, with the class weights of the test set."""
        self._keep(batch, Stage.TEST)

    def on_test_epoch_end(self) -> None:
        """Log ``test_loss`` and ``test_accuracy``, means over all samples of all ranks."""
        self._log_means("test", *self._sum_validated())

    def predict_step(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> ClipForecasts:
        """Return the probability of a flare for each sample of a batch, with its row of the index."""
        logits_BK = self(render_clips(batch), self._look_up(batch))
        probabilities_B = logits_BK.float().softmax(dim=1)[:, 1]
        return ClipForecasts(rows_N=batch.rows_B[batch.mask_B], probabilities_N=probabilities_B[batch.mask_B])

    def on_train_epoch_end(self) -> None:
        """Log ``train_loss`` and ``train_accuracy``, means over the steps of the epoch."""
        sums: Tensor = self.trainer.strategy.reduce(self._sums.pop(Stage.TRAIN), reduce_op="sum")
        self._log_means("train", *sums.tolist())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the sums of the epoch so far; called on every rank, though only the first writes."""
        reduce = self.trainer.strategy.reduce
        sums = {str(stage): reduce(of_rank.clone(), reduce_op="sum") for stage, of_rank in self._sums.items()}
        checkpoint["epoch_sums"] = {stage: of_all.tolist() for stage, of_all in sums.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the sums, on the first rank for all."""
        saved = checkpoint.get("epoch_sums", {})
        if self.global_rank:
            saved = {stage: [0.0] * len(sums) for stage, sums in saved.items()}
        self._sums = {Stage(stage): torch.tensor(sums, dtype=torch.float64) for stage, sums in saved.items()}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimiser, and the schedule that cuts its learning rate on a plateau, if it does."""
        beside = self.model.numbers.parameters() if isinstance(self.model, NetworkWithNumbers) else ()
        rate = self.options.numbers_learning_rate
        optimizer = build_optimizer(self.parameters(), self.options, beside=beside, beside_rate=rate)
        if self.options.schedule is not Schedule.PLATEAU:
            return optimizer
        scheduler = build_plateau(optimizer, self.options)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "valid_loss"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Do nothing: `on_validation_epoch_end` has stepped the schedule."""

    def _look_up(self, batch: ClipBatch) -> Tensor | None:
        """Return the numbers of a batch's samples by their rows of the index, any for padding; None if it has none."""
        if self._numbers_NF is None:
            return None
        self._numbers_NF = self._numbers_NF.to(batch.rows_B.device)  # stays there
        return self._numbers_NF[batch.rows_B.clamp(min=0)]

    def _set_rate(self, step: int) -> None:
        """Set the learning rate of a step of this epoch where it follows from the step's number."""
        if self.options.schedule is Schedule.COSINE:
            num_steps = self._count_steps()
            rate = cosine_rate(self.current_epoch * num_steps + step, self.options, steps_per_epoch=num_steps)
            set_rates(self.trainer.optimizers[0], rate)

    def _count_steps(self) -> int:
        """Return the number of steps of the optimiser in an epoch."""
        return math.ceil(int(self.trainer.num_training_batches) / self.trainer.accumulate_grad_batches)

    def _step(self, batch: ClipBatch, stage: Stage) -> tuple[Tensor, Tensor]:
        """Return each sample's loss, and whether it was classified correctly; zero and false for padding."""
        logits_BK = self(render_clips(batch), self._look_up(batch))
        weights_K, log_shares_K = (self.get_buffer(f"{stage}_{name}_K") for name in ("weights", "log_shares"))
        sample_losses_B = sample_losses(
            logits_BK, batch.labels_B, self.options, log_shares_K=log_shares_K, smooth=stage is Stage.TRAIN
        )
        losses_B = weigh_losses(sample_losses_B, batch.labels_B, batch.mask_B, weights_K=weights_K)
        called_B = (logits_BK[:, 1] >= logits_BK[:, 0]).long()  # a probability of 0.5 or more is a forecast of a flare
        return losses_B, (called_B == batch.labels_B) & batch.mask_B

    def _keep(self, batch: ClipBatch, stage: Stage) -> None:
        losses_B, correct_B = self._step(batch, stage)
        self._validated.append(torch.stack([losses_B, correct_B.to(losses_B), batch.mask_B.to(losses_B)]))

    def _count_step(self, batch: ClipBatch, batch_idx: int) -> int:
        """Return the number of samples in a step of the optimiser, over all ranks and accumulated batches."""
        accumulate = self.trainer.accumulate_grad_batches
        if accumulate == 1:
            return batch.num_real
        loader, first = self.trainer.train_dataloader, batch_idx // accumulate * accumulate
        if not isinstance(loader, ClipLoader):
            raise TrainingError(
                "gradients accumulated over batches",
                expected="a ClipLoader, which knows the samples of a step beforehand",
                found=f"a loader of type {type(loader).__name__}",
                fix="pass the loader of the data module to the trainer, or accumulate over one batch only",
            )
        return loader.source.count_samples(first, min(accumulate, int(self.trainer.num_training_batches) - first))

    def _add_sums(self, losses_B: Tensor, correct_B: Tensor, mask_B: Tensor) -> None:
        # Sums, not means of means: the last batch is short. Metal has no float64.
        dtype = torch.float32 if losses_B.device.type == "mps" else torch.float64
        sums = torch.stack([x.detach().to(dtype).sum() for x in (losses_B, correct_B, mask_B)])
        so_far = self._sums.get(Stage.TRAIN)
        self._sums[Stage.TRAIN] = sums if so_far is None else so_far.to(sums) + sums

    def _sum_validated(self) -> tuple[float, int, int]:
        """Return the sum of losses, the number of correct samples and the number of samples, over all ranks.

        Each sample's loss is gathered, and the sum is rounded once to float64. It is then the same however the ranks
        share the set, which a sum of the ranks' sums is not.
        """
        of_rank_3N = torch.cat(self._validated, dim=1)
        self._validated.clear()
        gathered: Any = self.all_gather(of_rank_3N)  # every rank has as many, padding included
        losses, correct, real = gathered.reshape(-1, *of_rank_3N.shape).transpose(0, 1).flatten(1).cpu()
        return math.fsum(losses.tolist()), int(correct.count_nonzero()), int(real.count_nonzero())

    def _log_means(self, name: str, loss: float, correct: float, count: float) -> float:
        """Log the mean loss and the accuracy; return the former."""
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
                fix="lower {learning_rate}, or pass {precision} 32-true; the checkpoints of earlier epochs are kept",
            )


def plain_hyperparameters(record: FoldRecord) -> dict[str, Any]:
    """Return what a checkpoint states of its training, in plain values; not what may change when it resumes."""
    options = to_plain(record.options)
    recipe = {field.name: options[field.name] for field in fields(Recipe) if field.name not in _MAY_CHANGE}
    plain = {"model": str(options["model"]), "inputs": str(options["inputs"]), "fold": record.fold} | recipe
    return plain | {f"{stage}_weights": record.loss_weights(stage) for stage in (Stage.TRAIN, Stage.VAL)}
