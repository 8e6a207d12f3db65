"""The plain values that the package passes around: frames, sequences, and the choices a user makes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

__all__ = [
    "FRAME_SIDE",
    "NUM_FRAMES",
    "Attention",
    "BadQuality",
    "CheckLevel",
    "CodecName",
    "Colours",
    "Component",
    "Engine",
    "FrameId",
    "Horizon",
    "Kind",
    "LabelledFrame",
    "LoggerName",
    "ModelName",
    "Part",
    "Precision",
    "Protocol",
    "Scale",
    "Sequence",
    "Shuffle",
    "Stage",
    "Strategy",
    "Variant",
    "View",
    "ViewSource",
]

NUM_FRAMES = 16
"""Frames in a sequence."""

FRAME_SIDE = 224
"""Height and width of a frame in pixels, as MViTv2-S takes it."""


class Horizon(StrEnum):
    """How far ahead a label looks: a flare of class M or above within so many hours."""

    H24 = "24h"
    H48 = "48h"

    @property
    def hours(self) -> int:
        """The horizon in hours."""
        return int(self.value[:-1])


class Part(StrEnum):
    """The six parts into which the published lists cut the data."""

    TRAIN_VAL_0 = "TrainVal0"
    TRAIN_VAL_1 = "TrainVal1"
    TRAIN_VAL_2 = "TrainVal2"
    TRAIN_VAL_3 = "TrainVal3"
    TRAIN_VAL_4 = "TrainVal4"
    TEST = "Test"


class Stage(StrEnum):
    """What a set of samples is used for."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class View(StrEnum):
    """How a sequence is shown: as it is, flipped, or turned counter-clockwise."""

    NF = "nf"
    HF = "hf"
    VF = "vf"
    R1 = "r1"
    R2 = "r2"
    R3 = "r3"


class Kind(StrEnum):
    """Which views a group of shards holds: the plain one of all samples, or the other five of the positives."""

    BASE = "base"
    OVER = "over"

    @property
    def views(self) -> tuple[View, ...]:
        """The views of this kind, in their published order."""
        return (View.NF,) if self is Kind.BASE else tuple(v for v in View if v is not View.NF)


class Variant(StrEnum):
    """Which stages see the positives oversampled (Grim and Gradvohl 2024, section 3)."""

    BASE = "base"
    OT = "oT"
    OTV = "oTV"
    OTV_TEST = "oTV_Test"

    @property
    def oversampled_stages(self) -> tuple[Stage, ...]:
        """The stages whose positives come in all six views."""
        return tuple(Stage)[: list(Variant).index(self)]


class CodecName(StrEnum):
    """How a shard holds a sequence's pixels; also the extension of the payload in the tar."""

    JPG = "jpg"
    NPY = "npy"
    MP4 = "mp4"


class ModelName(StrEnum):
    """The networks: MViTv2-S as published, and a small one of the same family for trials without a GPU."""

    MVIT_V2_S = "mvit_v2_s"
    MVIT_TINY = "mvit_tiny"

    @property
    def tag(self) -> str:
        """How checkpoints name it."""
        return {ModelName.MVIT_V2_S: "MViT_S", ModelName.MVIT_TINY: "MViT_tiny"}[self]

    @property
    def default_weights(self) -> str:
        """The weights that training starts from: ``kinetics400`` or ``none``."""
        return "kinetics400" if self is ModelName.MVIT_V2_S else "none"

    @property
    def default_learning_rate(self) -> float:
        """Adam's learning rate: the published 1e-7 fine-tunes MViTv2-S; the small one starts from nothing."""
        return 1e-7 if self is ModelName.MVIT_V2_S else 3e-4


class Attention(StrEnum):
    """How the networks compute the same function; weights and checkpoints do not depend on it."""

    FUSED = "fused"
    """Ours: positions are part of the products, and one grey channel stands for three equal ones."""
    TORCHVISION = "torchvision"
    """As torchvision has it."""


class ViewSource(StrEnum):
    """Where the further views of a positive come from."""

    STORED = "stored"
    """From their own samples in the ``over`` shards."""
    DEVICE = "device"
    """Made from the plain sample where the network runs; the same pixels under a lossless codec."""


class Engine(StrEnum):
    """What reads the training set."""

    PLAN = "plan"
    """Ours: by a plan of every epoch, through the index."""
    CLASSIC = "classic"
    """Stock WebDataset: whole shards in turn, through a shuffle buffer."""


class Shuffle(StrEnum):
    """How the samples of a set are put in order."""

    NONE = "none"
    """As they lie in the index, in every epoch."""
    GLOBAL = "global"
    """At random, all of the set at once."""
    BLOCKS = "blocks"
    """At random within blocks of shards drawn at random, so that few shards are needed at a time."""


class CheckLevel(StrEnum):
    """How much of a sample is checked each time that it is read; a shard's SHA-256 is checked once in any case."""

    FULL = "full"
    """Its length and its checksum."""
    FAST = "fast"
    """Its length."""


class Precision(StrEnum):
    """Numbers that a step is computed in; weights stay in 32 bits."""

    FLOAT32 = "32-true"
    BFLOAT16 = "bf16-mixed"
    FLOAT16 = "16-mixed"


class Strategy(StrEnum):
    """How several devices share the work; each holds the whole network, which is small."""

    AUTO = "auto"
    """``ddp`` on several devices."""
    DDP = "ddp"
    """Every device takes its share of each batch, and gradients are averaged."""


class LoggerName(StrEnum):
    """Where the figures of training go, besides the table of epochs."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"


class Protocol(StrEnum):
    """Whose recipe to follow where the paper and its published programs differ.

    ``paper``: four training parts at both horizons, class weights from exact counts.
    ``published``: the 24h program's three training parts, class weights from counts that lose each set's first row.
    """

    PAPER = "paper"
    PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FrameId:
    """One SHARP magnetogram: which active region patch, and when."""

    harp: int
    """HARP number, at least 1."""
    t_rec_tai: datetime
    """Record time in TAI, naive, to the second."""

    def __post_init__(self) -> None:
        if self.harp < 1:
            raise ValueError(f"harp must be at least 1, got {self.harp}")
        if self.t_rec_tai.tzinfo is not None or self.t_rec_tai.microsecond:
            raise ValueError(f"t_rec_tai must be naive and in whole seconds, got {self.t_rec_tai!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFrame:
    """A row of a label list."""

    frame: FrameId
    label: int
    """1: a flare of class M or above follows within the horizon; 0: none does."""
    row: int
    """Position in the list, from 0."""

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise ValueError(f"label must be 0 or 1, got {self.label}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    """Sixteen frames of one HARP that end at a labelled frame."""

    frames: tuple[FrameId, ...]
    """The sixteen slots in order of time; a short run repeats frames."""
    label: int
    """The label of the last frame."""
    part: Part
    row: int
    """Position of the last frame in its label list, from 0."""

    def __post_init__(self) -> None:
        if len(self.frames) != NUM_FRAMES:
            raise ValueError(f"a sequence has {NUM_FRAMES} frames, got {len(self.frames)}")
        if len({frame.harp for frame in self.frames}) != 1:
            raise ValueError("the frames of a sequence are of one HARP")

    @property
    def harp(self) -> int:
        """HARP number of all frames."""
        return self.frames[0].harp

    @property
    def t_start_tai(self) -> datetime:
        """Time of the first frame."""
        return self.frames[0].t_rec_tai

    @property
    def t_end_tai(self) -> datetime:
        """Time of the last frame: the forecast is issued from here."""
        return self.frames[-1].t_rec_tai

    @property
    def num_distinct(self) -> int:
        """How many different frames there are, 1 to 16."""
        return len(set(self.frames))

    @property
    def gaps_minutes(self) -> tuple[int, ...]:
        """Minutes from each slot to the next, 15 numbers; 0 where a frame repeats."""
        times = [frame.t_rec_tai for frame in self.frames]
        return tuple(int((b - a).total_seconds() // 60) for a, b in pairwise(times))


class OnShort(StrEnum):
    """What becomes of a sequence of too few frames."""

    KEEP = "keep"
    """It is stretched to sixteen slots, as published."""
    DROP = "drop"


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowRule:
    """Which frames before a labelled one make a sequence, and which sequences are too short."""

    max_gap_minutes: int | None
    """Frames before a gap longer than this are left out of a sequence; None: gaps are not looked at."""
    min_frames: int
    """A sequence of fewer frames is short."""
    on_short: OnShort

    def __post_init__(self) -> None:
        if self.max_gap_minutes is not None and self.max_gap_minutes < 1:
            raise ValueError(f"max_gap_minutes must be at least 1, got {self.max_gap_minutes}")
        if not 1 <= self.min_frames <= NUM_FRAMES:
            raise ValueError(f"min_frames must be from 1 to {NUM_FRAMES}, got {self.min_frames}")


PUBLISHED_WINDOWS = WindowRule(max_gap_minutes=None, min_frames=NUM_FRAMES, on_short=OnShort.KEEP)
"""As the published program cuts them."""


class Component(StrEnum):
    """Which component of the field an image shows: along the line of sight, or of the vector on the sphere.

    The values are JSOC's names of the segments: Br radial, Bp westward, Bt southward.
    """

    MAGNETOGRAM = "magnetogram"
    BR = "Br"
    BP = "Bp"
    BT = "Bt"


class Scale(StrEnum):
    """How field becomes grey; each is odd about zero and reaches black and white at the field where it is clipped."""

    LINEAR = "linear"
    ARCTAN = "arctan"
    SYMLOG = "symlog"


class BadQuality(StrEnum):
    """What is done with frames whose QUALITY says that they are poor: 0x10000 or a higher bit is set."""

    DROP = "drop"
    KEEP = "keep"


class Colours(StrEnum):
    """Which colours a movie shows field in; the names are matplotlib's, both from blue over white to red."""

    GREY = "grey"
    BWR = "bwr"
    SEISMIC = "seismic"
