"""The ways to compute a step, and a network that computes it.

Shapes: B batch, K 2 classes, T 16 frames, H and W 224 pixels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torchvision.models.video.mvit import MultiscaleBlock

from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE
from sffshards.models import Attention, ModelName, build_model, scale_clips


class Format(StrEnum):
    """Number formats of a step; weights are float32 in each."""

    BFLOAT16 = "bf16"
    """bfloat16 autocast, as `--precision bf16-mixed`."""
    FLOAT32 = "float32, TF32 in convolutions only"
    """torch's defaults, as `--precision 32-true`."""
    TF32 = "float32, TF32 in all products"


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How a step is computed."""

    attention: Attention = Attention.FUSED
    compile_mode: str = ""
    """Mode of `torch.compile`; empty for a network that is not compiled."""
    channels_last: bool = False
    fused_adam: bool = False
    cudnn_benchmark: bool = False
    checkpointing: bool = False
    """Whether each block's activations are computed again in the backward pass."""

    @property
    def in_graphs(self) -> bool:
        """Whether kernels are launched as CUDA graphs."""
        return self.compile_mode == "reduce-overhead"

    def __str__(self) -> str:
        parts = [str(self.attention)]
        if self.compile_mode:
            parts.append("compiled" if self.compile_mode == "default" else f"compiled ({self.compile_mode})")
        chosen = {
            "channels-last 3D": self.channels_last,
            "fused Adam": self.fused_adam,
            "cuDNN benchmark": self.cudnn_benchmark,
            "activation checkpointing": self.checkpointing,
        }
        return ", ".join([*parts, *(name for name, is_chosen in chosen.items() if is_chosen)])


TORCHVISION = Way(attention=Attention.TORCHVISION)
"""The rival, to which ratios are."""
FUSED = Way()
TORCHVISION_COMPILED = Way(attention=Attention.TORCHVISION, compile_mode="default")
FUSED_COMPILED = Way(compile_mode="default")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What all ways of a table compute."""

    model: ModelName
    device: torch.device
    format: Format
    batch: int
    trains: bool = True
    """Whether a step is a training step, or a forward pass without gradients."""
    compile_backend: str = "inductor"

    def __str__(self) -> str:
        step = "Training step" if self.trains else "Inference"
        return f"{step}, {self.format}, batches of {self.batch}"


class Stepper:
    """A network in one way, with its optimiser."""

    def __init__(self, way: Way, case: Case) -> None:
        torch.manual_seed(0)
        self.way, self.case = way, case
        self.net = build_model(case.model, weights="none", attention=way.attention).to(case.device)
        self.net.train(case.trains)
        _apply(way, case, self.net)
        fused = True if way.fused_adam else None
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-7, fused=fused)

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return random clips and labels on the device."""
        shape = (batch, NUM_FRAMES, FRAME_SIDE, FRAME_SIDE)
        clips_BTHW = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.case.device)
        return clips_BTHW, torch.arange(batch, device=self.case.device) % 2

    def step(self, clips_BTHW: Tensor, labels_B: Tensor) -> float:
        """Compute a step, and return its seconds; like the trainer, it waits for the loss."""
        choose_products(self.case.format, cudnn_benchmark=self.way.cudnn_benchmark)
        wait_for(self.case.device)
        start = time.perf_counter()
        if self.case.trains:
            self._train(clips_BTHW, labels_B)
        else:
            with torch.inference_mode():
                self._forward(clips_BTHW)
        wait_for(self.case.device)
        return time.perf_counter() - start

    def _train(self, clips_BTHW: Tensor, labels_B: Tensor) -> None:
        loss = functional.cross_entropy(self._forward(clips_BTHW).float(), labels_B)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _forward(self, clips_BTHW: Tensor) -> Tensor:
        if self.way.in_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        in_bf16 = self.case.format is Format.BFLOAT16
        with torch.autocast(self.case.device.type, torch.bfloat16, enabled=in_bf16):
            logits_BK: Tensor = self.net(scale_clips(clips_BTHW))
        return logits_BK


def wait_for(device: torch.device) -> None:
    """Wait until the device has computed what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def _apply(way: Way, case: Case, net: nn.Module) -> None:
    if way.channels_last:
        net.to(memory_format=torch.channels_last_3d)
    if way.checkpointing:
        for block in net.modules():
            if isinstance(block, MultiscaleBlock):
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    if way.compile_mode:
        mode = {"mode": way.compile_mode} if case.compile_backend == "inductor" else {}
        net.compile(backend=case.compile_backend, **mode)  # in place, as the trainer does


def choose_products(number_format: Format, *, cudnn_benchmark: bool = False) -> None:
    """Choose how float32 products are computed; all formats but TF32 take torch's defaults."""
    torch.set_float32_matmul_precision("high" if number_format is Format.TF32 else "highest")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = cudnn_benchmark
