"""The published recipe: its options and class weights.

Grim and Gradvohl 2024, Solar Physics 299:33, doi 10.1007/s11207-024-02276-0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sffshards.base.errors import InputError
from sffshards.base.json_records import Count
from sffshards.domain.sample_sets import Protocol, SampleSet, Stage, Variant
from sffshards.loading import Engine, Shuffle, ViewSource
from sffshards.models import Attention, ModelName
from sffshards.shards.format import Manifest
from sffshards.shards.read import CheckLevel
from sffshards.training.training_choices import LoggerName, Precision, Strategy

__all__ = ["NUM_BEST", "StageWeights", "TrainingOptions", "stage_weights"]

_IN_GLOBAL_BATCH = {"batch_size", "devices", "num_nodes", "accumulate"}
_OF_NO_CONSEQUENCE = {
    *("num_threads", "check", "save_every_steps", "logger"),
    *("accelerator", "strategy", "attention", "compile_network"),  # but for rounding
    *_IN_GLOBAL_BATCH,
}

NUM_BEST = 3
"""Checkpoints of least validation loss that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions:
    """What a user chooses of a training run; the defaults are the published recipe's."""

    variant: Variant
    protocol: Protocol
    model: ModelName
    weights: str
    """``kinetics400``, ``none`` or a file, as `build_model` takes it; `ModelName.default_weights` as published."""
    learning_rate: float
    """Adam's, to begin with; `ModelName.default_learning_rate` as published."""
    max_epochs: int = 100
    batch_size: int = 10
    """Clips at once on each device; see `global_batch`."""
    stop_patience: int = 10
    """Epochs without a lower validation loss after which training ends."""
    decay_patience: int = 2
    """Epochs without a lower validation loss after which the learning rate is cut."""
    decay_factor: float = 0.1
    min_learning_rate: float = 1e-10
    precision: Precision = Precision.FLOAT32
    attention: Attention = Attention.FUSED
    """How the network is computed; has no part in the result but for rounding."""
    accelerator: str = "auto"
    """``auto``, ``cpu``, ``gpu`` or another that Lightning knows."""
    devices: int = 1
    """Devices on each node."""
    num_nodes: int = 1
    strategy: Strategy = Strategy.AUTO
    accumulate: int = 1
    """Batches whose gradients are summed up before the optimiser steps."""
    compile_network: bool = False
    """Whether `torch.compile` makes kernels for the network; has no part in the result but for rounding."""
    logger: LoggerName = LoggerName.TENSORBOARD
    num_threads: int = 2
    """Threads a device that read ahead; has no part in the result."""
    views: ViewSource = ViewSource.STORED
    """Where the further views of positives come from."""
    shuffle: Shuffle = Shuffle.GLOBAL
    """How the training set is put in order."""
    block_shards: int = 10
    """Shards a block, at least, where it is shuffled in blocks."""
    engine: Engine = Engine.PLAN
    """What reads the training set."""
    check: CheckLevel = CheckLevel.FULL
    """How much of a sample is checked each time that it is read; has no part in the result."""
    save_every_steps: int = 500
    """Steps of the optimiser after which ``last.ckpt`` is written within an epoch; 0: only at its end. Has no part in
    the result."""
    seed: int = 123

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--epochs", self.max_epochs, 1),
            ("--batch-size", self.batch_size, 1),
            ("--devices", self.devices, 1),
            ("--num-nodes", self.num_nodes, 1),
            ("--accumulate", self.accumulate, 1),
            ("--block-shards", self.block_shards, 1),
            ("--threads", self.num_threads, 0),
            ("--save-steps", self.save_every_steps, 0),
            ("--seed", self.seed, 0),
        ):
            if value < least:
                raise InputError(option, expected=f"at least {least}", found=str(value), fix="choose another")
        if not 0 < self.learning_rate < float("inf"):
            raise InputError("--lr", expected="a positive number", found=str(self.learning_rate), fix="choose another")
        if self.engine is Engine.CLASSIC and (self.shuffle, self.views) != (Shuffle.GLOBAL, ViewSource.STORED):
            raise InputError(
                "--engine classic",
                expected="neither --shuffle nor --views: it shuffles in its own way, and reads what is stored",
                found=f"--shuffle {self.shuffle}, --views {self.views}",
                fix="leave them out, or take --engine plan",
            )
        if self.engine is Engine.CLASSIC and self.accumulate > 1:
            raise InputError(
                "--engine classic",
                expected="no --accumulate: how many samples a step has is not known beforehand",
                found=f"--accumulate {self.accumulate}",
                fix="leave it out, or take --engine plan",
            )

    def sample_set(self, stage: Stage, *, fold: int) -> SampleSet:
        """Return the set of a stage and a fold."""
        return SampleSet(variant=self.variant, stage=stage, fold=fold, protocol=self.protocol)

    @property
    def num_ranks(self) -> int:
        """Processes that train together, each on a device of its own."""
        return self.devices * self.num_nodes

    @property
    def global_batch(self) -> int:
        """Clips a step of the optimiser: batch size x devices x nodes x batches accumulated."""
        return self.batch_size * self.num_ranks * self.accumulate

    def differences(self, other: TrainingOptions) -> dict[str, tuple[object, object]]:
        """Give what has a part in the result and differs, by name: this run's value and the other's.

        Of batch size, devices, nodes and batches accumulated only the product matters, the global batch; but to the
        stock reader each.
        """
        ignored = _OF_NO_CONSEQUENCE - (_IN_GLOBAL_BATCH if self.engine is Engine.CLASSIC else set())
        mine, theirs = (asdict(options) | {"global_batch": options.global_batch} for options in (self, other))
        return {name: (mine[name], theirs[name]) for name in mine if name not in ignored and mine[name] != theirs[name]}


@dataclass(frozen=True, kw_only=True, slots=True)
class StageWeights:
    """How the two classes of a set are weighed in its loss."""

    num_negative: Count
    num_positive: Count

    @property
    def values(self) -> tuple[float, float]:
        """Weights of negatives and positives: w_c = 1 - n_c / N."""
        total = self.num_negative + self.num_positive
        if not total:
            return 0.0, 0.0
        return 1 - self.num_negative / total, 1 - self.num_positive / total


def stage_weights(manifest: Manifest, samples: SampleSet) -> StageWeights:
    """Count the classes of a set as its loss weighs them.

    The paper's counts are exact. The published programs read each set's list with its first row as a header, and so
    lose that row's label.

    Parameters
    ----------
    manifest
        Of the build.
    samples
        The set; its protocol says whose counts.

    Returns
    -------
    the counts, and by them the weights
    """
    groups = samples.groups(manifest.task)
    counts = list(manifest.class_counts(groups))
    lost = manifest.groups[groups[0]].first_label if samples.protocol is Protocol.PUBLISHED else None
    if lost is not None and counts[lost]:
        counts[lost] -= 1
    return StageWeights(num_negative=counts[0], num_positive=counts[1])
