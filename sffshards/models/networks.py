"""The networks by name, with a head of two classes.

Shapes: B batch, C channels (1, or 3 equal ones), T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.video import MViT, mvit_v2_s
from torchvision.models.video.mvit import MSBlockConfig

from sffshards.base.errors import InputError
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE
from sffshards.models.fused_attention import speed_up, tile_channel
from sffshards.models.model_names import Attention, ModelName
from sffshards.models.model_weights import KINETICS400, NO_WEIGHTS, read_kinetics400, read_weights_file

__all__ = ["NUM_CLASSES", "build_model", "scale_clips"]

NUM_CLASSES = 2
"""No flare of class M or above, or one."""

_GREY = 128 / 255
"""The level of no field, as `scale_clips` gives it."""


def build_model(
    name: ModelName, *, weights: str, attention: Attention = Attention.FUSED, progress: Progress = SILENT
) -> nn.Module:
    """Make a network that turns clips of shape (B, 1, 16, 224, 224) into logits of shape (B, 2).

    Clips may also have three channels, as torchvision's networks want them.

    Parameters
    ----------
    name
        Which network.
    weights
        ``kinetics400``: torchvision's for MViTv2-S, from torch's cache or fetched to there; ``none``: drawn with
        torch's current seed; else a file, with a state dict of this network (a head of other classes is dropped) or a
        Lightning checkpoint of this package or of the published programs.
    attention
        How to compute; the function and the names of the weights are the same.
    progress
        Told how far the fetching is.

    Raises
    ------
    InputError
        If the file is not there or does not fit, or the network has no such weights.
    DamageError, StorageError
        If torchvision's weights cannot be had.
    """
    model = _build_v2_s(attention) if name is ModelName.MVIT_V2_S else _build_tiny(attention)
    if weights == NO_WEIGHTS:
        return model
    if weights == KINETICS400:
        if name is not ModelName.MVIT_V2_S:
            raise InputError(
                "--weights",
                expected=f"`{NO_WEIGHTS}` or a file for {name}",
                found=KINETICS400,
                fix=f"take --model {ModelName.MVIT_V2_S}, which these weights are for",
            )
        read_kinetics400(model, progress=progress)
    else:
        read_weights_file(model, weights, model_name=name)
    return model


def scale_clips(clips_BTHW: Tensor) -> Tensor:
    """Turn grey clips into what the networks take: float32 in [0, 1].

    The one channel stands for three equal ones. No mean is taken off and no deviation divided by: the published
    programs do neither.

    Parameters
    ----------
    clips_BTHW
        uint8 of shape (B, 16, 224, 224).

    Returns
    -------
    float32 of shape (B, 1, 16, 224, 224)
    """
    return (clips_BTHW.to(torch.float32) / 255)[:, None]


def _build_v2_s(attention: Attention) -> nn.Module:
    model = mvit_v2_s()
    model.head[1] = nn.Linear(768, NUM_CLASSES)
    return _computed_by(attention, model)


def _computed_by(attention: Attention, net: nn.Module) -> nn.Module:
    """Make torchvision's network take one channel, and compute as asked."""
    if attention is Attention.FUSED:
        speed_up(net)
    else:
        net.register_forward_pre_hook(tile_channel)
    return net


class _AgainstBlank(nn.Module):
    """A network's logits less those of a clip without field, times a constant, plus a bias that is learnt.

    The class token of a fresh MViT is nearly the same for every clip. A head on it learns that common part first, and
    large steps on it wreck the rest; subtracting a blank clip's logits leaves only what the field makes of them.
    Unlike normalising over the batch, it makes no sample's output depend on another.
    """

    _SCALE = 30.0

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.bias = nn.Parameter(torch.zeros(NUM_CLASSES))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Give logits of shape (B, 2) for clips as `scale_clips` gives them."""
        blank_BCTHW = torch.full_like(x_BCTHW[:1], _GREY)
        logits_BK = self.net(torch.cat([x_BCTHW, blank_BCTHW]))
        difference_BK: Tensor = logits_BK[:-1] - logits_BK[-1:]
        return self._SCALE * difference_BK + self.bias


def _build_tiny(attention: Attention) -> nn.Module:
    """Five blocks of width 24 to 96, two orders of magnitude less work than MViTv2-S."""
    widths = [(24, 24), (24, 48), (48, 48), (48, 96), (96, 96)]
    heads = [1, 2, 2, 4, 4]
    stride_q = [[1, 2, 2], [], [1, 2, 2], [], []]
    stride_kv = [[2, 4, 4], [2, 2, 2], [2, 2, 2], [2, 1, 1], [2, 1, 1]]  # 4 x 7 x 7 keys in every block
    blocks = [
        MSBlockConfig(
            num_heads=num_heads,
            input_channels=wide_in,
            output_channels=wide_out,
            kernel_q=[3, 3, 3] if q else [],  # queries keep their number where they are not pooled
            kernel_kv=[3, 3, 3],
            stride_q=q,
            stride_kv=kv,
        )
        for num_heads, (wide_in, wide_out), q, kv in zip(heads, widths, stride_q, stride_kv, strict=True)
    ]
    net = MViT(
        spatial_size=(FRAME_SIDE, FRAME_SIDE),
        temporal_size=NUM_FRAMES,
        block_setting=blocks,
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
        dropout=0.0,
        num_classes=NUM_CLASSES,
        patch_embed_kernel=(2, 8, 8),
        patch_embed_stride=(2, 8, 8),
        patch_embed_padding=(0, 0, 0),
    )
    stem = net.conv_proj
    with torch.no_grad():
        # Patches of quiet Sun, all grey, share one small vector; field stands out from it at any strength.
        stem.weight *= 6
        stem.bias.copy_(0.2 * torch.randn_like(stem.bias) - _GREY * stem.weight.sum((1, 2, 3, 4)))
    return _AgainstBlank(_computed_by(attention, net))
