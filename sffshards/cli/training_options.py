"""How to train, as options that the commands which train share."""

from __future__ import annotations

from typing import Annotated

import typer

from sffshards.models import Attention, ModelName
from sffshards.training import LoggerName, Precision, Strategy

__all__ = [
    "AcceleratorOption",
    "AccumulateOption",
    "AttentionOption",
    "BatchSizeOption",
    "CompileOption",
    "DevicesOption",
    "EpochsOption",
    "LoggerOption",
    "ModelOption",
    "NodesOption",
    "PrecisionOption",
    "RateOption",
    "SaveStepsOption",
    "StrategyOption",
    "ThreadsOption",
    "WeightsOption",
]

ModelOption = Annotated[ModelName, typer.Option(help="mvit_v2_s as published, or mvit_tiny, a small one for trials.")]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="kinetics400, none, or a file of weights.  [default: kinetics400 for mvit_v2_s, else none]",
        show_default=False,
    ),
]
EpochsOption = Annotated[int, typer.Option(min=1, help="At most so many.")]
BatchSizeOption = Annotated[int, typer.Option(min=1, help="Clips at once on each device.")]
AccumulateOption = Annotated[
    int, typer.Option(min=1, help="Batches to sum up the gradients of before a step, where memory holds few clips.")
]
RateOption = Annotated[
    float | None,
    typer.Option(help="Adam's rate at first.  [default: 1e-7 for mvit_v2_s, 3e-4 else]", show_default=False),
]
PrecisionOption = Annotated[Precision, typer.Option(help="Numbers to compute in.")]
AttentionOption = Annotated[
    Attention,
    typer.Option(
        help="How the network computes. fused: faster. torchvision: as torchvision does. The same "
        "weights, and results but for rounding."
    ),
]
AcceleratorOption = Annotated[str, typer.Option(help="auto, cpu, gpu, ...")]
DevicesOption = Annotated[int, typer.Option(min=1, help="Devices to train on, on each node.")]
NodesOption = Annotated[
    int, typer.Option("--num-nodes", min=1, help="Nodes to train on; the guide to clusters says how to start them.")
]
StrategyOption = Annotated[Strategy, typer.Option(help="How devices share the work. auto: ddp on several.")]
CompileOption = Annotated[
    bool,
    typer.Option("--compile", help="Let torch.compile make kernels for the network; the first steps take longer."),
]
LoggerOption = Annotated[
    LoggerName,
    typer.Option(
        help="Where the figures of the steps go; those of the epochs are in metrics.csv in any case. wandb and mlflow "
        "are extras, as in `pip install 'sffshards[wandb]'`."
    ),
]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads a device that read and decode ahead.")]
SaveStepsOption = Annotated[
    int,
    typer.Option(min=0, help="Save within an epoch after so many steps; 0, or --engine classic: at its end only."),
]
