"""The choices of numeric precision, distribution strategy and logger."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["LoggerName", "Precision", "Strategy"]


class Precision(StrEnum):
    """Numbers that a step is computed in; weights stay in 32 bits."""

    FLOAT32 = "32-true"
    BFLOAT16 = "bf16-mixed"
    FLOAT16 = "16-mixed"


class Strategy(StrEnum):
    """How several devices share the work; each holds the whole network, which is small."""

    AUTO = "auto"
    """``ddp`` on several devices."""
    DDP = "ddp"
    """Every device takes its share of each batch, and gradients are averaged."""


class LoggerName(StrEnum):
    """Where the figures of training go, besides the table of epochs."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"
