"""The options of a training run: its recipe, and with which network, devices and logger it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option, list_options
from sffshards.base.package_faces import accepts_text
from sffshards.loading import Engine, Sampler, Shuffle
from sffshards.models import Attention, ModelName, NetworkSpec
from sffshards.tabular import NetworkInputs
from sffshards.training.recipe import PUBLISHED, Optimizer, Recipe, Schedule, read_recipe

DEFAULT_NUMBERS_RATE = 1e-3
"""Initial learning rate of what takes numbers, which is trained from scratch even where the network is fine-tuned."""

_IN_GLOBAL_BATCH = {"batch_size", "devices", "num_nodes", "accumulate"}
_WITHOUT_EFFECT = {
    *("num_threads", "check", "save_every_steps", "logger"),
    "allow_one_class",
    *("accelerator", "strategy", "attention", "compile_network"),  # apart from rounding
    *_IN_GLOBAL_BATCH,
    "max_epochs",  # more epochs resume the training; see `check_folder` for fewer
}


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


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions(Recipe):
    """What a user chooses of a training run.

    A field with an `Option` is an option of ``sffshards train`` and ``reproduce`` too: to add one, add a field.
    """

    model: Annotated[
        ModelName,
        Option(
            help="Network: mvit_v2_s, the published one; mvit_tiny, a small one for trials; torchvision's mvit_v1_b, "
            "swin3d_t, swin3d_s, swin3d_b, s3d, r3d_18, mc3_18 and r2plus1d_18; or package.module:factory, a callable "
            "of your own that returns a network (docs/your-own-model.md).",
            preset=ModelName.MVIT_V2_S,
            metavar="<network>",
        ),
    ]
    model_options: Annotated[
        dict[str, Any],
        Option(
            help="Argument of the factory, such as depth=3; the value is JSON, or else text. May be repeated.",
            flag="--model-option",
            metavar="<name=value>",
        ),
    ] = field(default_factory=dict)
    weights: Annotated[
        str,
        Option(
            help="Initial weights: kinetics400, none (random), or a file of weights.",
            default_text="none for mvit_tiny and factories, otherwise kinetics400",
        ),
    ]
    """Initial weights as `build_model` takes them: ``kinetics400``, ``none`` or a file."""
    inputs: Annotated[
        NetworkInputs,
        Option(
            help="What the network takes of a sample. keywords: SHARP keywords of its last frame. history: earlier "
            "flares of its region. These numbers are standardised on the training set and join the network's head."
        ),
    ] = NetworkInputs.IMAGES
    numbers_learning_rate: Annotated[
        float,
        Option(
            help="Initial learning rate of the part of the head that takes keywords and history. It follows the same "
            "schedule as that of the network.",
            flag="--numbers-lr",
            minimum=1e-12,
        ),
    ] = DEFAULT_NUMBERS_RATE
    attention: Annotated[
        Attention,
        Option(
            help="Implementation of attention. fused: faster. torchvision: torchvision's own. Both have the same "
            "weights, and the same results apart from rounding. For networks other than MViTv2, only the first layer "
            "differs; a factory has no choice."
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
            help="Train a fold even if its training or validation set has one class only. With the published class "
            "weights, the loss of such a set is 0, so that training learns nothing, or keeps an arbitrary epoch."
        ),
    ] = False

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        _ = self.network  # checks that its parts fit
        if self.numbers_learning_rate != DEFAULT_NUMBERS_RATE and not self.inputs.groups:
            raise InputError(
                Field("numbers_learning_rate"),
                expected=f"{{inputs}} {NetworkInputs.IMAGES_KEYWORDS} or the like, as it applies to numbers",
                found=f"inputs {self.inputs}",
                fix="leave it out",
            )

    @classmethod
    def from_choices(
        cls, choices: Mapping[str, Any], *, is_remote: bool, recipe: str | Path = PUBLISHED
    ) -> TrainingOptions:
        """Return the options that a user chose.

        Parameters
        ----------
        choices
            Values by the names of the fields; those that are left out, or None, follow from the recipe, and else have
            the default that fits the other choices.
        is_remote
            Whether the shards are remote; they are then shuffled in blocks, unless batches are balanced.
        recipe
            ``published``, or a recipe file; see `read_recipe`.

        Raises
        ------
        InputError
            If the choices cannot be used together, or the recipe file cannot be used.
        """
        of_recipe = {} if recipe == PUBLISHED else read_recipe(Path(recipe))
        given = {name: value for name, value in choices.items() if value is not None}
        presets: dict[str, Any] = {field.name: field.default for field in list_options(TrainingOptions)}
        values = presets | of_recipe | given
        model = ModelName(values["model"])
        in_blocks = is_remote and values["engine"] == Engine.PLAN and values["sampler"] == Sampler.PUBLISHED
        defaults: dict[str, Any] = {
            "weights": model.default_weights,
            "shuffle": Shuffle.BLOCKS if in_blocks else Shuffle.GLOBAL,
        }
        if values["learning_rate"] is None:
            defaults["learning_rate"] = _default_rate(model, Optimizer(values["optimizer"]))
        try:
            return cls(**defaults | {name: value for name, value in values.items() if value is not None})
        except InputError as error:
            if error.where not in of_recipe or error.where in given:
                raise
            where = f"{recipe}, {error.where}"
            raise InputError(where, expected=error.expected, found=error.found, fix=error.fix) from None

    @property
    def network(self) -> NetworkSpec:
        """What the network is built from."""
        return NetworkSpec(model=self.model, options=self.model_options, attention=self.attention, inputs=self.inputs)

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
        reader, each of them does. The number of epochs matters to a cosine only.
        """
        ignored = _WITHOUT_EFFECT - (_IN_GLOBAL_BATCH if self.engine is Engine.CLASSIC else set())
        ignored -= {"max_epochs"} if self.schedule is Schedule.COSINE else set()
        mine, theirs = (asdict(options) | {"global_batch": options.global_batch} for options in (self, other))
        return {name: (mine[name], theirs[name]) for name in mine if name not in ignored and mine[name] != theirs[name]}


def _default_rate(model: ModelName, optimizer: Optimizer) -> float:
    """Return the learning rate of a network; raises `InputError` for an optimiser that it does not fit."""
    if optimizer is Optimizer.SGD:
        raise InputError(
            Field("learning_rate"),
            expected=f"a number beside {{optimizer}} {optimizer}: the defaults are for Adam",
            found="none",
            fix="pass {learning_rate}, such as 0.01",
        )
    return model.default_learning_rate
