"""The options of a training run, whose defaults are the published recipe.

Grim and Gradvohl 2024, Solar Physics 299:33, doi 10.1007/s11207-024-02276-0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any

from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option
from sffshards.loading import Engine, LoadingOptions, Shuffle
from sffshards.models import Attention, ModelName

_IN_GLOBAL_BATCH = {"batch_size", "devices", "num_nodes", "accumulate"}
_WITHOUT_EFFECT = {
    *("num_threads", "check", "save_every_steps", "logger"),
    "allow_one_class",
    *("accelerator", "strategy", "attention", "compile_network"),  # apart from rounding
    *_IN_GLOBAL_BATCH,
}


class Precision(StrEnum):
    """Number formats in which a step is computed; weights stay in 32 bits."""

    FLOAT32 = "32-true"
    BFLOAT16 = "bf16-mixed"
    FLOAT16 = "16-mixed"


class Strategy(StrEnum):
    """How several devices share the work; each holds the whole network, which is small."""

    AUTO = "auto"
    """``ddp`` on several devices."""
    DDP = "ddp"
    """Every device computes its share of each batch, and gradients are averaged."""


class LoggerName(StrEnum):
    """Where training metrics are logged, besides the table of epochs."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions(LoadingOptions):
    """What a user chooses of a training run.

    A field with an `Option` is an option of ``sffshards train`` and ``reproduce`` too: to add one, add a field.
    """

    model: Annotated[
        ModelName,
        Option(
            help="Network: mvit_v2_s, the published one, or mvit_tiny, a small one for trials.",
            preset=ModelName.MVIT_V2_S,
        ),
    ]
    weights: Annotated[
        str,
        Option(
            help="Initial weights: kinetics400, none (random), or a file of weights.",
            default_text="kinetics400 for mvit_v2_s, otherwise none",
        ),
    ]
    """Initial weights as `build_model` takes them: ``kinetics400``, ``none`` or a file."""
    max_epochs: Annotated[int, Option(help="Maximum number of epochs.", flag="--epochs", minimum=1)] = 100
    accumulate: Annotated[
        int,
        Option(
            help="Number of batches per optimiser step. Raise it, with a smaller {batch_size}, if memory is short.",
            minimum=1,
        ),
    ] = 1
    learning_rate: Annotated[
        float,
        Option(help="Initial learning rate of Adam.", flag="--lr", default_text="1e-7 for mvit_v2_s, otherwise 3e-4"),
    ]
    precision: Annotated[Precision, Option(help="Number format to compute in.")] = Precision.FLOAT32
    attention: Annotated[
        Attention,
        Option(
            help="Implementation of attention. fused: faster. torchvision: torchvision's own. Both have the same "
            "weights, and the same results apart from rounding."
        ),
    ] = Attention.FUSED
    compile_network: Annotated[
        bool,
        Option(
            help="Compile the network with torch.compile. First steps take longer; results differ by rounding only.",
            flag="--compile",
        ),
    ] = False
    accelerator: Annotated[str, Option(help="Lightning accelerator: auto, cpu, gpu, ...")] = "auto"
    devices: Annotated[int, Option(help="Number of devices per node.", minimum=1)] = 1
    num_nodes: Annotated[
        int, Option(help="Number of nodes; docs/hpc.md shows how to start the processes.", minimum=1)
    ] = 1
    strategy: Annotated[
        Strategy, Option(help="How several devices share the work. auto: ddp if there are several.")
    ] = Strategy.AUTO
    logger: Annotated[
        LoggerName,
        Option(
            help="Where to log the metrics of each step. The metrics of each epoch are always in metrics.csv. wandb "
            "and mlflow need an extra: `pip install 'sffshards[wandb]'`."
        ),
    ] = LoggerName.TENSORBOARD
    save_every_steps: Annotated[
        int,
        Option(
            help="Number of steps between checkpoints. With 0, or {engine} classic, they are saved only at the end of "
            "an epoch.",
            flag="--save-steps",
            minimum=0,
        ),
    ] = 500
    allow_one_class: Annotated[
        bool,
        Option(
            help="Train a fold even if its training or validation set has one class only. The loss of such a set is 0, "
            "so that training learns nothing, or keeps an arbitrary epoch."
        ),
    ] = False
    stop_patience: int = 10
    """Epochs without a lower validation loss after which training ends."""
    decay_patience: int = 2
    """Epochs in a row without a validation loss lower by 0.01 % that are tolerated; the next one cuts the rate."""
    decay_factor: float = 0.1
    """Factor by which the learning rate is cut."""
    min_learning_rate: float = 1e-10
    """Lower bound of the learning rate, which the published rate does not reach: torch ignores cuts below 1e-8."""

    def __post_init__(self) -> None:
        LoadingOptions.__post_init__(self)
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(
                Field("learning_rate"),
                expected="a positive number",
                found=str(self.learning_rate),
                fix="choose another number",
            )
        if self.engine is Engine.CLASSIC and self.accumulate > 1:
            raise InputError(
                Field("engine"),
                expected="plan, where {accumulate} is given: the stock reader does not know the samples of a step "
                "beforehand",
                found=f"classic, with accumulate {self.accumulate}",
                fix="leave out {accumulate}, or pass {engine} plan",
            )

    @classmethod
    def from_choices(cls, choices: Mapping[str, Any], *, is_remote: bool) -> TrainingOptions:
        """Return the options that a user chose; None stands for the default that fits the other choices.

        Parameters
        ----------
        choices
            Values by the names of the fields.
        is_remote
            Whether the shards are remote; they are then shuffled in blocks.
        """
        model = ModelName(choices["model"])
        in_blocks = is_remote and choices.get("engine", Engine.PLAN) is Engine.PLAN
        defaults: dict[str, Any] = {
            "weights": model.default_weights,
            "learning_rate": model.default_learning_rate,
            "shuffle": Shuffle.BLOCKS if in_blocks else Shuffle.GLOBAL,
        }
        values: dict[str, Any] = {
            name: defaults.get(name) if value is None else value for name, value in choices.items()
        }
        return cls(**values)

    @property
    def num_ranks(self) -> int:
        """Number of processes that train together, each on its own device."""
        return self.devices * self.num_nodes

    @property
    def global_batch(self) -> int:
        """Clips per step of the optimiser: batch size x devices x nodes x accumulated batches."""
        return self.batch_size * self.num_ranks * self.accumulate

    def differences(self, other: TrainingOptions) -> dict[str, tuple[object, object]]:
        """Return the options that affect the result and differ, by name: this run's value and the other's.

        Of batch size, devices, nodes and accumulated batches only the product matters, the global batch; to the stock
        reader, each of them does.
        """
        ignored = _WITHOUT_EFFECT - (_IN_GLOBAL_BATCH if self.engine is Engine.CLASSIC else set())
        mine, theirs = (asdict(options) | {"global_batch": options.global_batch} for options in (self, other))
        return {name: (mine[name], theirs[name]) for name in mine if name not in ignored and mine[name] != theirs[name]}
