from .model_names import KINETICS400, NO_WEIGHTS, Attention, ModelName, NetworkSpec
from .model_weights import load_checkpoint, read_checkpoint, read_inputs
from .networks import NO_FIELD, build_model, scale_clips
from .number_fusion import NetworkWithNumbers

__all__ = [
    "KINETICS400",
    "NO_FIELD",
    "NO_WEIGHTS",
    "Attention",
    "ModelName",
    "NetworkSpec",
    "NetworkWithNumbers",
    "build_model",
    "load_checkpoint",
    "read_checkpoint",
    "read_inputs",
    "scale_clips",
]
