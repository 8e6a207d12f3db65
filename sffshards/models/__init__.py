"""The networks: MViTv2-S as published, a small one of its family, and their weights."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.models.model_names import Attention, ModelName
    from sffshards.models.model_weights import KINETICS400, NO_WEIGHTS, load_checkpoint, read_checkpoint
    from sffshards.models.networks import build_model, scale_clips

__all__ = [
    "KINETICS400",
    "NO_WEIGHTS",
    "Attention",
    "ModelName",
    "build_model",
    "load_checkpoint",
    "read_checkpoint",
    "scale_clips",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "model_names": ("Attention", "ModelName"),
        "model_weights": ("KINETICS400", "NO_WEIGHTS", "load_checkpoint", "read_checkpoint"),
        "networks": ("build_model", "scale_clips"),
    },
)
