"""The recipe: optimiser, schedule, loss and what else decides how a network is trained, and the files that set it.

Its defaults are the published recipe: Grim and Gradvohl 2024, Solar Physics 299:33, doi 10.1007/s11207-024-02276-0.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from sffshards.base.errors import Field, InputError
from sffshards.base.file_reading import read_bytes
from sffshards.base.option_fields import Option, list_options
from sffshards.base.package_faces import accepts_text
from sffshards.loading import Engine, LoadingOptions, Sampler

PUBLISHED = "published"
"""Name of the recipe that the defaults are."""

_OF_READING = frozenset({"variant", "protocol", "num_threads", "views", "shuffle", "block_shards", "engine", "check"})
"""Options of a `Recipe` that a recipe file does not set: which sets are read, and by which reader."""


class Optimizer(StrEnum):
    """The optimisers, which are torch's."""

    ADAM = "adam"
    """Adam; weight decay is added to the gradient."""
    ADAMW = "adamw"
    """Adam with weight decay apart from the gradient."""
    SGD = "sgd"
    """Stochastic gradient descent; weight decay is added to the gradient."""


class Schedule(StrEnum):
    """How the learning rate changes."""

    PLATEAU = "plateau"
    """Cut where the validation loss has not fallen, after an epoch."""
    COSINE = "cosine"
    """A linear warm-up, then a cosine down to the least rate at the last step."""
    CONSTANT = "constant"
    """Always the initial rate."""


class Loss(StrEnum):
    """Losses of a sample."""

    CROSS_ENTROPY = "cross-entropy"
    FOCAL = "focal"
    """Cross-entropy times (1 - p)^gamma, for the probability p of the sample's class (arXiv 1708.02002)."""
    LOGIT_ADJUSTED = "logit-adjusted"
    """Cross-entropy of the logits plus the logarithms of the classes' frequencies (arXiv 2007.07314)."""


class ClassWeights(StrEnum):
    """Weights of the classes in the loss of a set with n_c of N samples in a class."""

    PUBLISHED = "published"
    """1 - n_c / N."""
    BALANCED = "balanced"
    """N / (2 n_c), as in scikit-learn."""
    NONE = "none"
    """1."""


class Precision(StrEnum):
    """Number formats in which a step is computed; weights stay in 32 bits."""

    FLOAT32 = "32-true"
    BFLOAT16 = "bf16-mixed"
    FLOAT16 = "16-mixed"


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe(LoadingOptions):
    """How a network is trained on the sets that are read. The defaults are the published recipe."""

    max_epochs: Annotated[
        int,
        Option(
            help="Maximum number of epochs. A larger number than before resumes finished folds.",
            flag="--epochs",
            minimum=1,
        ),
    ] = 100
    accumulate: Annotated[
        int,
        Option(
            help="Number of batches per optimiser step. Raise it, with a smaller {batch_size}, if memory is short.",
            minimum=1,
        ),
    ] = 1
    optimizer: Annotated[Optimizer, Option(help="Optimiser, one of torch's.")] = Optimizer.ADAM
    learning_rate: Annotated[
        float,
        Option(
            help="Initial learning rate. {optimizer} sgd has no default.",
            flag="--lr",
            default_text="1e-7 for mvit_v2_s, 3e-4 for mvit_tiny and factories, otherwise 1e-5",
        ),
    ]
    weight_decay: Annotated[float, Option(help="Weight decay of all weights.", minimum=0, maximum=1e3)] = 0.0
    momentum: Annotated[float, Option(help="Momentum of {optimizer} sgd.", minimum=0, maximum=0.9999)] = 0.0
    schedule: Annotated[
        Schedule,
        Option(
            help="Learning rate over time. plateau: times {decay_factor} after an epoch that ends a plateau of the "
            "validation loss. cosine: a linear warm-up, then down to {min_learning_rate} at the last step of "
            "{max_epochs}, which cannot be raised later. constant: the initial rate."
        ),
    ] = Schedule.PLATEAU
    warmup_epochs: Annotated[
        float, Option(help="Length of the warm-up of {schedule} cosine, in epochs.", flag="--warmup", minimum=0)
    ] = 0.0
    decay_patience: Annotated[
        int,
        Option(
            help="Epochs in a row without a validation loss lower by 0.01 % that {schedule} plateau tolerates; the "
            "next one cuts the rate.",
            minimum=0,
        ),
    ] = 2
    decay_factor: Annotated[
        float, Option(help="Factor by which {schedule} plateau cuts the rate.", minimum=1e-6, maximum=0.999)
    ] = 0.1
    min_learning_rate: Annotated[
        float, Option(help="Lower bound of the learning rate, of plateau and cosine.", flag="--min-lr", minimum=0)
    ] = 1e-10
    """Lower bound, which the published rate does not reach: torch ignores cuts below 1e-8."""
    stop_patience: Annotated[
        int, Option(help="Epochs in a row without a lower validation loss after which training ends.", minimum=1)
    ] = 10
    loss: Annotated[
        Loss,
        Option(
            help="Loss of a sample. focal: cross-entropy times (1 - p)^{focal_gamma}, so that samples forecast well "
            "count less. logit-adjusted: cross-entropy of the logits plus the logarithms of the class frequencies; it "
            "replaces class weights. The validation loss, by which checkpoints are chosen, is of the same kind."
        ),
    ] = Loss.CROSS_ENTROPY
    focal_gamma: Annotated[float, Option(help="Exponent of {loss} focal.", minimum=0, maximum=100)] = 2.0
    class_weights: Annotated[
        ClassWeights,
        Option(
            help="Weight of a class with n_c of the N samples of a set. published: 1 - n_c/N. balanced: N/(2 n_c). "
            "none: 1."
        ),
    ] = ClassWeights.PUBLISHED
    label_smoothing: Annotated[
        float,
        Option(help="Share of each training label that is spread over both classes.", minimum=0, maximum=0.999),
    ] = 0.0
    ema_decay: Annotated[
        float,
        Option(
            help="Decay per step of an exponential moving average of the weights, such as 0.999. Validation and "
            "checkpoints use the average. 0: none.",
            flag="--ema",
            minimum=0,
            maximum=0.999999,
        ),
    ] = 0.0
    gradient_clip: Annotated[
        float, Option(help="Norm to which longer gradients are shortened. 0: no limit.", minimum=0)
    ] = 0.0
    frozen: Annotated[
        str,
        Option(
            help="Parts of the network that keep their initial weights: comma-separated names as in its state dict, "
            "such as conv_proj,blocks.0.",
            flag="--freeze",
            metavar="<names>",
        ),
    ] = ""
    precision: Annotated[Precision, Option(help="Number format to compute in; 16-mixed needs a GPU.")] = (
        Precision.FLOAT32
    )

    def __post_init__(self) -> None:
        LoadingOptions.__post_init__(self)
        if not self.learning_rate > 0:
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
        _check_companions(self)
        _check_losses(self)
        if self.warmup_epochs and self.warmup_epochs >= self.max_epochs:
            raise InputError(
                Field("warmup_epochs"),
                expected=f"less than the {self.max_epochs} of {{max_epochs}}",
                found=f"{self.warmup_epochs:g}",
                fix="lower it, or raise {max_epochs}",
            )

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Names of the parts of the network that are not trained."""
        return tuple(name.strip() for name in self.frozen.split(",") if name.strip())

    def changes(self) -> dict[str, Any]:
        """Return what differs from the published recipe, by name; the learning rate depends on the network."""
        known = {field.name: field.default for field in list_options(Recipe) if field.name not in _OF_READING}
        del known["learning_rate"]
        return {name: getattr(self, name) for name, value in known.items() if getattr(self, name) != value}


_COMPANIONS: dict[str, tuple[str, frozenset[str]]] = {
    "momentum": ("optimizer", frozenset({Optimizer.SGD})),
    "warmup_epochs": ("schedule", frozenset({Schedule.COSINE})),
    "decay_patience": ("schedule", frozenset({Schedule.PLATEAU})),
    "decay_factor": ("schedule", frozenset({Schedule.PLATEAU})),
    "min_learning_rate": ("schedule", frozenset({Schedule.PLATEAU, Schedule.COSINE})),
    "focal_gamma": ("loss", frozenset({Loss.FOCAL})),
    "label_smoothing": ("loss", frozenset({Loss.CROSS_ENTROPY, Loss.LOGIT_ADJUSTED})),
}
"""Options that do something only beside some values of another one: its name, and these values."""


def _check_companions(recipe: Recipe) -> None:
    """Raise `InputError` for an option that is given, but has no effect beside another one."""
    defaults = {field.name: field.default for field in fields(recipe)}
    for name, (other, allowed) in _COMPANIONS.items():
        value, beside = getattr(recipe, name), getattr(recipe, other)
        if value != defaults[name] and beside not in allowed:
            raise InputError(
                Field(name),
                expected=f"{{{other}}} {' or '.join(sorted(allowed))} beside it",
                found=f"{name} {value:g} with {other} {beside}",
                fix=f"leave out {{{name}}}, or choose another {{{other}}}",
            )


def _check_losses(recipe: Recipe) -> None:
    """Raise `InputError` where the frequencies of the classes would be corrected for twice, or not be known."""
    if recipe.loss is not Loss.LOGIT_ADJUSTED:
        return
    for name, value, allowed in (
        ("class_weights", recipe.class_weights, ClassWeights.NONE),
        ("sampler", recipe.sampler, Sampler.PUBLISHED),
    ):
        if value is not allowed:
            raise InputError(
                Field(name),
                expected=f"{allowed} beside {{loss}} {recipe.loss}, which corrects for the class frequencies itself",
                found=str(value),
                fix=f"pass {{{name}}} {allowed}, or another {{loss}}",
            )


@accepts_text
def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe file, in TOML.

    Parameters
    ----------
    path
        The file; its keys are names of options of `Recipe`, as ``run.json`` has them, such as ``learning_rate``.

    Returns
    -------
    the values by the names of the options

    Raises
    ------
    InputError
        If the file is no TOML, or holds an unknown field or a value of another type.
    StorageError
        If the file cannot be read.
    """
    import msgspec  # not needed to show the help

    fix = f"correct it; `sffshards train --help` explains the options, and {PUBLISHED} names the published recipe"
    try:
        content = tomllib.loads(read_bytes(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        found = " ".join(str(error).split())[:160]
        raise InputError(path, expected="a recipe in TOML", found=f"no TOML ({found})", fix=fix) from None
    kinds = {field.name: field.kind for field in list_options(Recipe) if field.name not in _OF_READING}
    values = {}
    for name, value in content.items():
        if name not in kinds:
            raise _unknown(path, name, list(kinds))
        try:
            values[name] = msgspec.convert(value, kinds[name], strict=True)
        except msgspec.ValidationError as error:
            raise InputError(f"{path}, {name}", expected="a value of its option", found=str(error), fix=fix) from None
    return values


def _unknown(path: Path, name: str, known: list[str]) -> InputError:
    """Return the error for a field that no recipe has."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    named = f"names such as {near[0]}" if near else f"some of {', '.join(known)}"
    where = " (an option of the command line only)" if name in _OF_READING else ""
    return InputError(
        path, expected=f"{named} in a recipe", found=f"an unknown field `{name[:40]}`{where}", fix="rename or remove it"
    )
