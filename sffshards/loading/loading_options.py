"""How the sets of a fold are read, ordered and augmented: choices and the record that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option, check_bounds
from sffshards.base.package_faces import accepts_text
from sffshards.domain.sample_sets import Protocol, SampleSet, Stage, Variant
from sffshards.shards.read import CheckLevel

MIN_BLOCK_SHARDS = 10
"""Least number of shards whose samples are shuffled together: with fewer, neighbours in time meet in a batch."""


class ViewSource(StrEnum):
    """Where the augmented views of a positive come from."""

    STORED = "stored"
    """From their own samples in the ``over`` shards."""
    DEVICE = "device"
    """Computed from the plain sample on the network's device; the same pixels under a lossless codec."""


class Engine(StrEnum):
    """Which reader reads the training set."""

    PLAN = "plan"
    """The package's own reader: by a plan of every epoch, through the index."""
    CLASSIC = "classic"
    """The stock WebDataset reader: whole shards in turn, through a shuffle buffer."""


class Shuffle(StrEnum):
    """How the samples of a set are ordered."""

    NONE = "none"
    """In index order, in every epoch."""
    GLOBAL = "global"
    """At random over the whole set."""
    BLOCKS = "blocks"
    """At random within blocks of randomly drawn shards, so that few shards are needed at a time."""


class Sampler(StrEnum):
    """Which samples of the training set an epoch has."""

    PUBLISHED = "published"
    """Each of them once; of positives, all views that the variant adds."""
    BALANCED = "balanced"
    """As many in all, half of them positives, in every batch; those of a class are seen equally often."""


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class LoadingOptions:
    """Which sets are read, and how. The last six options change clips of the training set, see `render_clips`."""

    variant: Annotated[
        Variant,
        Option(
            help="Which sets have augmented views of their positives. base: none. oT: training. oTV: training and "
            "validation. oTV_Test: all three.",
            preset=Variant.BASE,
        ),
    ]
    batch_size: Annotated[int, Option(help="Number of sequences per batch, on each device.", minimum=1)] = 10
    num_threads: Annotated[
        int,
        Option(help="Number of threads per device that read and decode samples ahead.", flag="--threads", minimum=0),
    ] = 2
    views: Annotated[
        ViewSource,
        Option(
            help="Where augmented views come from. stored: read from their own shards. device: computed on the "
            "network's device from unchanged samples, so that less is read. With the codec npy, both have the "
            "same pixels."
        ),
    ] = ViewSource.STORED
    shuffle: Annotated[
        Shuffle,
        Option(
            help="Order of the training set. global: random over the whole set. blocks: the shards are grouped at "
            "random into blocks, and the samples are shuffled within each block, so that only the shards of one "
            "block are needed at a time. none: in the order of the index.",
            default_text="global, or blocks for remote shards",
        ),
    ] = Shuffle.GLOBAL
    block_shards: Annotated[
        int, Option(help="Minimum number of shards per block, for {shuffle} blocks.", minimum=1)
    ] = MIN_BLOCK_SHARDS
    engine: Annotated[
        Engine,
        Option(
            help="Reader of the training set. plan: reads every sample once per epoch, on any number of devices. "
            "classic: the stock WebDataset reader, for comparison. It shuffles in a buffer of 1,000 samples and "
            "ignores {num_threads}. On several devices it repeats some samples and skips others. A stopped run "
            "restarts the epoch in which it was stopped."
        ),
    ] = Engine.PLAN
    check: Annotated[
        CheckLevel,
        Option(
            help="Check of each sample as it is read. full: length and checksum. fast: length only. The SHA-256 of a "
            "whole shard is always checked before its first use."
        ),
    ] = CheckLevel.FULL
    protocol: Annotated[
        Protocol,
        Option(
            help="Protocol to follow. paper: train on four parts, with exact class weights. published: follow the "
            "authors' code, which trains on only three parts at 24h and omits the first row of each set from the "
            "class counts.",
            preset=Protocol.PAPER,
        ),
    ]
    seed: Annotated[int, Option(help="Random seed.", minimum=0)] = 123

    sampler: Annotated[
        Sampler,
        Option(
            help="Samples of an epoch. published: every sample of the training set once. balanced: as many samples, of "
            "which half are positives in every batch; they are repeated."
        ),
    ] = Sampler.PUBLISHED
    flips: Annotated[bool, Option(help="Flip training clips at random, left-right and up-down.")] = False
    quarter_turns: Annotated[bool, Option(help="Rotate training clips at random by 0 to 3 quarter turns.")] = False
    polarity: Annotated[
        bool, Option(help="Reverse the polarity of the field in half of the training clips: grey x becomes 255 - x.")
    ] = False
    time_reversal: Annotated[bool, Option(help="Reverse the order of the frames in half of the training clips.")] = (
        False
    )
    noise: Annotated[
        float,
        Option(
            help="Standard deviation of the normal noise that is added to each training pixel, in grey levels of 256.",
            minimum=0,
            maximum=255,
        ),
    ] = 0.0
    missing_frames: Annotated[
        float,
        Option(
            help="Probability that a frame of a training clip is missing; the frame before it takes its place.",
            minimum=0,
            maximum=0.95,
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.sampler is Sampler.BALANCED and (self.shuffle, self.engine) != (Shuffle.GLOBAL, Engine.PLAN):
            raise InputError(
                Field("sampler"),
                expected="published beside another order or reader: balanced batches are drawn from the whole set, by "
                "the plan",
                found=f"balanced, with shuffle {self.shuffle} and engine {self.engine}",
                fix="leave out {shuffle} and {engine}, or pass {sampler} published",
            )
        if self.engine is Engine.CLASSIC and self.augments:
            raise InputError(
                Field("engine"),
                expected="plan, where clips are changed at random: the stock reader does not know their place in the "
                "epoch, from which the changes follow",
                found="classic",
                fix="leave out the random changes, or pass {engine} plan",
            )
        if self.engine is Engine.CLASSIC and (self.shuffle, self.views) != (Shuffle.GLOBAL, ViewSource.STORED):
            raise InputError(
                Field("engine"),
                expected="plan, where {shuffle} or {views} is given: the stock reader has its own order, and reads "
                "stored views",
                found=f"classic, with shuffle {self.shuffle} and views {self.views}",
                fix="leave out {shuffle} and {views}, or pass {engine} plan",
            )

    @property
    def augments(self) -> bool:
        """Whether training clips are changed at random."""
        switches = self.flips or self.quarter_turns or self.polarity or self.time_reversal
        return bool(switches or self.noise or self.missing_frames)

    def sample_set(self, stage: Stage, *, fold: int) -> SampleSet:
        """Return the set of a stage and a fold."""
        return SampleSet(variant=self.variant, stage=stage, fold=fold, protocol=self.protocol)
