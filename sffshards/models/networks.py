"""The networks by name, with a head of two classes.

Shapes: B batch, C channels (1, or 3 equal ones), T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.video import MViT, mvit_v2_s
from torchvision.models.video.mvit import MSBlockConfig

from sffshards.base.errors import Field, InputError
from sffshards.base.package_faces import accepts_text
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE
from sffshards.models.fused_attention import GreyStem, speed_up, tile_channel
from sffshards.models.model_names import KINETICS400, NO_WEIGHTS, Attention, ModelName, NetworkSpec
from sffshards.models.model_weights import load_weights, read_kinetics400
from sffshards.models.network_factories import build_by_factory

NUM_CLASSES = 2
"""Number of classes: without and with a flare."""

NO_FIELD = 128 / 255
"""Value of a pixel without magnetic field, as `scale_clips` returns it."""


@accepts_text
def build_model(
    name: ModelName,
    *,
    weights: str,
    attention: Attention = Attention.FUSED,
    options: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> nn.Module:
    """Return a network from clips of shape (B, 1, 16, 224, 224) to logits of shape (B, 2).

    Clips may also have three channels, as for torchvision's networks.

    Parameters
    ----------
    name
        Name of the network, or ``package.module:factory``, whose code is run.
    weights
        Initial weights. ``kinetics400``: torchvision's for this network, from torch's cache or downloaded to it.
        ``none``: random, from torch's current seed, or as a factory made them. Else a file: a state dict of this
        network, whose head is dropped if it has other classes, or a Lightning checkpoint of this package or of the
        published programs.
    attention
        Implementation of the network; the function and the names of the weights are the same.
    options
        Arguments of a factory, by name.
    progress
        Shows the progress of a download.

    Raises
    ------
    InputError
        If the file is missing or does not fit, the network has no such weights, or a factory returns no such network.
    DamageError, StorageError
        If torchvision's weights cannot be downloaded.
    """
    spec = NetworkSpec(model=name, options=dict(options or {}), attention=attention)
    if weights == KINETICS400 and name.default_weights != KINETICS400:
        raise InputError(
            Field("weights"),
            expected=f"`{NO_WEIGHTS}` or a file for {name}",
            found=KINETICS400,
            fix=f"pass {{model}} {ModelName.MVIT_V2_S} or another network that these weights are for",
        )
    model = _build(spec)
    if weights == KINETICS400:
        read_kinetics400(model, model_name=name, progress=progress)
    elif weights != NO_WEIGHTS:
        load_weights(model, Path(weights), model_name=name)
    return model


def scale_clips(clips_BTHW: Tensor) -> Tensor:
    """Return grey clips as the networks take them: float32 in [0, 1].

    The one channel stands for three equal ones. As in the published programs, the pixels are not standardised.

    Parameters
    ----------
    clips_BTHW
        Clips of shape (B, 16, 224, 224), uint8.

    Returns
    -------
    float32 of shape (B, 1, 16, 224, 224)
    """
    return (clips_BTHW.to(torch.float32) / 255)[:, None]


def _build(spec: NetworkSpec) -> nn.Module:
    """Return a network with random weights."""
    if spec.model.is_factory:
        return build_by_factory(spec)
    if spec.model == ModelName.MVIT_V2_S:
        return _build_v2_s(spec.attention)
    if spec.model == ModelName.MVIT_TINY:
        return _build_tiny(spec.attention)
    return _build_torchvisions(spec)


def _build_torchvisions(spec: NetworkSpec) -> nn.Module:
    """Return one of torchvision's networks that takes one channel too."""
    net: nn.Module = get_model(spec.model, weights=None, num_classes=NUM_CLASSES)
    if spec.attention is Attention.TORCHVISION:
        net.register_forward_pre_hook(tile_channel)
    else:
        stem = net.get_submodule(spec.model.known.stem)
        assert isinstance(stem, nn.Conv3d)  # noqa: S101  as all of torchvision's are
        net.set_submodule(spec.model.known.stem, GreyStem(stem))
    return net


def _build_v2_s(attention: Attention) -> nn.Module:
    model = mvit_v2_s()
    model.head[1] = nn.Linear(768, NUM_CLASSES)
    return _computed_by(attention, model)


def _computed_by(attention: Attention, net: nn.Module) -> nn.Module:
    """Return torchvision's network with one input channel and the implementation of attention that was chosen."""
    if attention is Attention.FUSED:
        speed_up(net)
    else:
        net.register_forward_pre_hook(tile_channel)
    return net


class _AgainstBlank(nn.Module):
    """A network's logits minus those of a clip without field, times a constant, plus a learned bias.

    The class token of an untrained MViT is nearly the same for every clip. A head on it learns that common part first,
    and large steps on it destroy the rest. Subtracting the logits of a blank clip leaves only the effect of the field.
    Unlike normalisation over the batch, it makes no sample's output depend on another.
    """

    _SCALE = 30.0

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.bias = nn.Parameter(torch.zeros(NUM_CLASSES))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return logits of shape (B, 2) for clips as `scale_clips` returns them."""
        blank_BCTHW = torch.full_like(x_BCTHW[:1], NO_FIELD)
        logits_BK = self.net(torch.cat([x_BCTHW, blank_BCTHW]))
        difference_BK: Tensor = logits_BK[:-1] - logits_BK[-1:]
        return self._SCALE * difference_BK + self.bias


def _build_tiny(attention: Attention) -> nn.Module:
    """Return a network of five blocks of width 24 to 96, with a hundredth of the computation of MViTv2-S."""
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
        stem.bias.copy_(0.2 * torch.randn_like(stem.bias) - NO_FIELD * stem.weight.sum((1, 2, 3, 4)))
    return _AgainstBlank(_computed_by(attention, net))
