"""The networks: MViTv2-S as published, a small one of its family, and where their first weights come from."""

from sffshards.models.network import build_model, scale_clips
from sffshards.models.weights import KINETICS400, NO_WEIGHTS, load_checkpoint, read_state_dict

__all__ = ["KINETICS400", "NO_WEIGHTS", "build_model", "load_checkpoint", "read_state_dict", "scale_clips"]
