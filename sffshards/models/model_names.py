"""The names of the networks, of their initial weights and of the ways to compute their attention."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from sffshards.base.errors import Field, InputError
from sffshards.base.package_faces import accepts_text
from sffshards.tabular import NetworkInputs

KINETICS400 = "kinetics400"
"""torchvision's weights of a network, trained on Kinetics-400."""

NO_WEIGHTS = "none"
"""Random initial weights."""

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MAX_NAME = 120
"""Longest name of a factory, which is part of the names of checkpoints."""

_FINE_TUNING_RATE = 1e-5
_FROM_SCRATCH_RATE = 3e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownNetwork:
    """What there is to know of a network that the package knows by name."""

    tag: str
    """Name of the network in the names of checkpoints."""
    head: str
    """Start of the names of the tensors of its last layer, which belong to the classes."""
    stem: str = ""
    """Name of its first convolution in torchvision's network; empty where the package builds it itself."""
    default_weights: str = KINETICS400
    """Initial weights: ``kinetics400`` or ``none``."""
    default_learning_rate: float = _FINE_TUNING_RATE
    """Learning rate of Adam."""


KNOWN_NETWORKS = {
    # The published rate; a small network is trained from scratch.
    "mvit_v2_s": KnownNetwork(tag="MViT_S", head="head.1.", default_learning_rate=1e-7),
    "mvit_tiny": KnownNetwork(
        tag="MViT_tiny", head="head.1.", default_weights=NO_WEIGHTS, default_learning_rate=_FROM_SCRATCH_RATE
    ),
    "mvit_v1_b": KnownNetwork(tag="mvit_v1_b", head="head.1.", stem="conv_proj"),
    "swin3d_t": KnownNetwork(tag="swin3d_t", head="head.", stem="patch_embed.proj"),
    "swin3d_s": KnownNetwork(tag="swin3d_s", head="head.", stem="patch_embed.proj"),
    "swin3d_b": KnownNetwork(tag="swin3d_b", head="head.", stem="patch_embed.proj"),
    "s3d": KnownNetwork(tag="s3d", head="classifier.1.", stem="features.0.0.0"),
    "r3d_18": KnownNetwork(tag="r3d_18", head="fc.", stem="stem.0"),
    "mc3_18": KnownNetwork(tag="mc3_18", head="fc.", stem="stem.0"),
    "r2plus1d_18": KnownNetwork(tag="r2plus1d_18", head="fc.", stem="stem.0"),
}
"""The networks by name: MViTv2-S as published, a small one of its family, and torchvision's other video networks."""


class ModelName(str):
    """The name of a network: one of `KNOWN_NETWORKS`, or ``package.module:factory`` for one of the user's own.

    A factory is a callable that returns an `nn.Module` from clips of shape (B, C, 16, 224, 224) to logits of shape
    (B, 2).
    """

    __slots__ = ()

    MVIT_V2_S: ClassVar[ModelName]
    MVIT_TINY: ClassVar[ModelName]

    def __new__(cls, name: str) -> ModelName:
        """Return a name; raises `InputError` if it is neither known nor that of a factory."""
        return cls.parse(name)

    @classmethod
    def parse(cls, name: str, *, where: object = Field("model")) -> ModelName:
        """Return the name that a text is.

        Raises
        ------
        InputError
            If it is neither known nor that of a factory; ``where`` is the place that the error names.
        """
        if name in KNOWN_NETWORKS or (len(name) <= _MAX_NAME and _FACTORY.fullmatch(name)):
            return str.__new__(cls, name)
        raise InputError(
            where,
            expected=f"one of {', '.join(KNOWN_NETWORKS)}, or a factory such as package.module:factory",
            found=repr(name[:80]),
            fix="choose one of them",
        )

    @property
    def name(self) -> str:
        """The name as plain text, as which it is stored."""
        return str(self)

    @property
    def is_factory(self) -> bool:
        """Whether the network is built by a factory of the user's."""
        return self not in KNOWN_NETWORKS

    @property
    def known(self) -> KnownNetwork:
        """What there is to know of the network; of a factory's, what holds for any network without known weights."""
        own = KnownNetwork(
            tag=self.replace(":", "."),
            head="",
            default_weights=NO_WEIGHTS,
            default_learning_rate=_FROM_SCRATCH_RATE,
        )
        return KNOWN_NETWORKS.get(self, own)

    @property
    def tag(self) -> str:
        """Name of the network in the names of checkpoints."""
        return self.known.tag

    @property
    def default_weights(self) -> str:
        """Initial weights: ``kinetics400`` or ``none``."""
        return self.known.default_weights

    @property
    def default_learning_rate(self) -> float:
        """Learning rate of Adam: the published 1e-7 for MViTv2-S, 1e-5 for fine-tuning others, 3e-4 from scratch."""
        return self.known.default_learning_rate


ModelName.MVIT_V2_S = ModelName("mvit_v2_s")
ModelName.MVIT_TINY = ModelName("mvit_tiny")


class Attention(StrEnum):
    """Implementations of a network, which compute the same function with the same weights."""

    FUSED = "fused"
    """The package's own attention of MViTv2, where positions are part of the products; and in every network that is
    known by name, one grey channel stands for three equal ones."""
    TORCHVISION = "torchvision"
    """That of torchvision."""


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """What a network is built from, its weights aside."""

    model: ModelName
    """Name of the network."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of a factory by their names, as JSON can hold them; empty for a network that is known by name."""
    attention: Attention = Attention.FUSED
    """Implementation of a network that is known by name."""
    inputs: NetworkInputs = NetworkInputs.IMAGES
    """What the network takes of a sample; numbers are joined by `sffshards.models.NetworkWithNumbers`."""

    def __post_init__(self) -> None:
        if self.options and not self.model.is_factory:
            raise InputError(
                Field("model_options"),
                expected=f"none with {self.model}; only a factory takes options",
                found=", ".join(self.options),
                fix="leave them out, or name a factory with {model}",
            )
        if self.attention is not Attention.FUSED and self.model.is_factory:
            raise InputError(
                Field("attention"),
                expected=f"no choice with {self.model}; a factory decides itself how its network computes",
                found=str(self.attention),
                fix="leave out {attention}",
            )
        if not _is_plain(self.options):
            raise InputError(
                Field("model_options"),
                expected="values that JSON can hold: text, numbers, true, false, null, lists and objects of these",
                found=repr(self.options)[:80],
                fix="pass such values, and let the factory make of them what it needs",
            )

    def __hash__(self) -> int:
        return hash((self.model, self.attention, self.inputs, json.dumps(self.options, sort_keys=True)))

    def require_named(self, factories: Collection[str], *, where: object) -> None:
        """Check that the code of a factory may run, because the user named it and not only a file.

        Parameters
        ----------
        factories
            Names of the factories that the user named.
        where
            The file or folder that names this one.

        Raises
        ------
        InputError
            If the network is a factory's that is not among them.
        """
        if self.model.is_factory and self.model not in factories:
            raise InputError(
                where,
                expected=f"the factory {self.model} to be named by you too: its code is never run because a file "
                "names it",
                found=", ".join(factories) or "none named",
                fix=f"pass {{model}} {self.model}, if you trust it",
            )


def _is_plain(options: object) -> bool:
    """Return whether JSON holds a value as it is."""
    try:
        return bool(json.loads(json.dumps(options, allow_nan=False)) == options)
    except (TypeError, ValueError, RecursionError):
        return False
