"""The names of the networks, of their initial weights and of the ways to compute their attention."""

from __future__ import annotations

from enum import StrEnum

KINETICS400 = "kinetics400"
"""torchvision's weights for MViTv2-S, trained on Kinetics-400."""

NO_WEIGHTS = "none"
"""Random initial weights."""


class ModelName(StrEnum):
    """The networks: MViTv2-S as published, and a small one of the same family for trials without a GPU."""

    MVIT_V2_S = "mvit_v2_s"
    MVIT_TINY = "mvit_tiny"

    @property
    def tag(self) -> str:
        """Name of the network in the names of checkpoints."""
        return {ModelName.MVIT_V2_S: "MViT_S", ModelName.MVIT_TINY: "MViT_tiny"}[self]

    @property
    def default_weights(self) -> str:
        """Initial weights: ``kinetics400`` or ``none``."""
        return KINETICS400 if self is ModelName.MVIT_V2_S else NO_WEIGHTS

    @property
    def default_learning_rate(self) -> float:
        """Learning rate of Adam: the published 1e-7 fine-tunes MViTv2-S; the small network is trained from scratch."""
        return 1e-7 if self is ModelName.MVIT_V2_S else 3e-4


class Attention(StrEnum):
    """Implementations of attention, which compute the same function with the same weights."""

    FUSED = "fused"
    """The package's own: positions are part of the products, and one grey channel stands for three equal ones."""
    TORCHVISION = "torchvision"
    """That of torchvision."""
