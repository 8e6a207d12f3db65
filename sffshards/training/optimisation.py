"""What a recipe does in a step: losses, optimiser, learning rate, frozen parts, and the average of the weights.

Shapes: B batch, K 2 classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.nn import functional

from sffshards.base.errors import Field, InputError
from sffshards.training.recipe import Loss, Optimizer, Recipe

_RATIO = "rate_ratio"
"""Name in a group of parameters of their learning rate over that of the recipe."""

_LEAST_DOUBT = 1e-12
"""Least 1 - p of the focal loss, at which its gradient would be infinite for exponents below 1."""


def sample_losses(logits_BK: Tensor, labels_B: Tensor, recipe: Recipe, *, log_shares_K: Tensor, smooth: bool) -> Tensor:
    """Return each sample's loss, without the weight of its class.

    Parameters
    ----------
    logits_BK
        Logits of shape (B, 2).
    labels_B
        Labels, int64: 0 or 1, or `NO_LABEL` for padding.
    recipe
        Which loss.
    log_shares_K
        Logarithms of the classes' shares of the set.
    smooth
        Whether labels are smoothed: in training, but not in validation.

    Returns
    -------
    float32 of shape (B,)
    """
    logits_BK = logits_BK.float()
    if recipe.loss is Loss.LOGIT_ADJUSTED:
        logits_BK = logits_BK + log_shares_K
    smoothing = recipe.label_smoothing if smooth else 0.0
    losses_B = functional.cross_entropy(logits_BK, labels_B, reduction="none", label_smoothing=smoothing)
    if recipe.loss is Loss.FOCAL:
        losses_B = (-torch.expm1(-losses_B)).clamp(min=_LEAST_DOUBT) ** recipe.focal_gamma * losses_B
    return losses_B


def weigh_losses(losses_B: Tensor, labels_B: Tensor, mask_B: Tensor, *, weights_K: Tensor) -> Tensor:
    """Return each sample's loss times the weight of its class; zero where the mask is false.

    The loss of a batch is the sum of these over the number of samples, as published. It is not
    ``cross_entropy(weight=...)``, which divides by the sum of the weights, and which gives the part of a smoothed label
    that is of the other class the other weight.

    Parameters
    ----------
    losses_B
        Losses of `sample_losses`.
    labels_B
        Labels, int64: 0 or 1, or `NO_LABEL` where the mask is false.
    mask_B
        Mask, bool: false for padding.
    weights_K
        Weights of the two classes.

    Returns
    -------
    float32 of shape (B,)
    """
    # `where`, not a product: padding counts for nothing even if its loss is not finite.
    return (weights_K[labels_B.clamp(min=0)] * losses_B).where(mask_B, losses_B.new_zeros(()))


def build_optimizer(
    parameters: Iterable[nn.Parameter],
    recipe: Recipe,
    *,
    beside: Iterable[nn.Parameter] = (),
    beside_rate: float = 0.0,
) -> torch.optim.Optimizer:
    """Return torch's optimiser for the parameters that are trained.

    Parameters
    ----------
    parameters
        Parameters of the network.
    recipe
        Which optimiser, and its rates.
    beside
        Those of them that have another learning rate.
    beside_rate
        Their initial learning rate, which follows the same schedule; see `set_rates`.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    chosen: Any = trained
    if others := list(beside):
        ids = set(map(id, others))
        own = [parameter for parameter in trained if id(parameter) not in ids]
        chosen = [{"params": own}, {"params": others, "lr": beside_rate, _RATIO: beside_rate / rate}]
    if recipe.optimizer is Optimizer.SGD:
        return torch.optim.SGD(chosen, lr=rate, momentum=recipe.momentum, weight_decay=decay)
    kind = torch.optim.Adam if recipe.optimizer is Optimizer.ADAM else torch.optim.AdamW
    return kind(chosen, lr=rate, weight_decay=decay)


def set_rates(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate, and in proportion that of the parameters which have another."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_RATIO, 1.0)


def build_plateau(optimizer: torch.optim.Optimizer, recipe: Recipe) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    """Return the schedule that cuts the learning rate where the validation loss has not fallen."""
    # `eps` stays at torch's 1e-8, as published: a cut smaller than that, below 1e-8, is not made.
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=recipe.decay_factor, patience=recipe.decay_patience, min_lr=recipe.min_learning_rate
    )


def cosine_rate(step: int, recipe: Recipe, *, steps_per_epoch: int) -> float:
    """Return the learning rate of a step of the cosine schedule.

    With W steps of warm-up of N steps in all, it is the initial rate times (step + 1) / (W + 1) before step W, and then
    the cosine from the initial rate to the least one at step N, as by torch's ``LinearLR`` from 1 / (W + 1) followed by
    ``CosineAnnealingLR``.

    Parameters
    ----------
    step
        Number of the step, counted from the first of the training.
    recipe
        The rates, and the number of epochs of the warm-up and in all.
    steps_per_epoch
        Number of steps of the optimiser per epoch.
    """
    num_steps = steps_per_epoch * recipe.max_epochs
    num_warmup = round(steps_per_epoch * recipe.warmup_epochs)
    if step < num_warmup:
        return recipe.learning_rate * (step + 1) / (num_warmup + 1)
    done = min(1.0, (step - num_warmup) / max(1, num_steps - num_warmup))
    least = min(recipe.min_learning_rate, recipe.learning_rate)
    return least + (recipe.learning_rate - least) * (1 + math.cos(math.pi * done)) / 2


def freeze_parts(network: nn.Module, names: Iterable[str]) -> None:
    """Freeze the weights of parts of a network; dropout is disabled in these modules, and their batch statistics stay.

    Parameters
    ----------
    network
        The network.
    names
        Names of modules or parameters, as they begin the names of the state dict.

    Raises
    ------
    InputError
        If the network has no such part, or nothing is left to train.
    """
    modules, parameters = dict(network.named_modules()), dict(network.named_parameters())
    for name in names:
        within = [value for key, value in parameters.items() if f"{key}.".startswith(f"{name}.")]
        if not within:
            raise InputError(
                Field("frozen"),
                expected=f"parts of the network with weights, such as {', '.join(_list_parts(network))}",
                found=repr(name[:80]),
                fix="name others, separated by commas",
            )
        for value in within:
            value.requires_grad = False
        if name in modules:
            modules[name].eval()
    if parameters and not any(value.requires_grad for value in parameters.values()):
        found, fix = "all of its weights", "leave at least its head out of {frozen}"
        raise InputError(Field("frozen"), expected="some parts of the network", found=found, fix=fix)


class WeightAverage(EMAWeightAveraging):
    """Lightning's average of the weights, on the device of the training, to which Lightning moves the network later.

    It begins with the weights after the first step. Buffers, such as statistics of batches, are those of the last step:
    not all of them are saved.

    Parameters
    ----------
    recipe
        The recipe, with the decay per step.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(decay=recipe.ema_decay, use_buffers=False)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the network to the device."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)


def _list_parts(network: nn.Module, *, most: int = 12) -> list[str]:
    """Return names of parts, for an error: of one part, those within it."""
    children = [(name, child) for name, child in network.named_children() if any(True for _ in child.parameters())]
    names = [name for name, _ in children]
    for name, child in children:
        names += [f"{name}.{inner}" for inner, of in child.named_children() if any(True for _ in of.parameters())]
    return names[:most]
