"""The published loss. Shapes: B batch, K 2 classes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["weighted_losses"]


def weighted_losses(logits_BK: Tensor, labels_B: Tensor, mask_B: Tensor, *, weights_K: Tensor) -> Tensor:
    """Give each sample's loss: its class's weight times its cross-entropy; zero where the mask is false.

    The published loss of a batch is the sum of these over the number of samples. It is not
    ``cross_entropy(weight=...)``, which divides by the sum of the weights.

    Parameters
    ----------
    logits_BK
        Shape (B, 2).
    labels_B
        int64, 0 or 1.
    mask_B
        bool, false for padding.
    weights_K
        Weights of the two classes.

    Returns
    -------
    float32 of shape (B,)
    """
    losses_B = functional.cross_entropy(logits_BK.float(), labels_B, reduction="none")
    # `where`, not a product: a padded position counts for nothing even if its loss is not finite.
    return (weights_K[labels_B] * losses_B).where(mask_B, losses_B.new_zeros(()))
