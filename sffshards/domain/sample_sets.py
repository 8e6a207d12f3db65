"""Sets of samples: the parts and the groups of shards of each training, validation and test set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from sffshards.base.package_faces import accepts_text
from sffshards.domain.task import M24, Task
from sffshards.domain.views import View

__all__ = ["NUM_FOLDS", "Kind", "LabelSet", "Part", "Protocol", "SampleSet", "Stage", "Variant", "format_group"]


class Part(StrEnum):
    """Part of the data; the published lists divide the data into six parts."""

    TRAIN_VAL_0 = "TrainVal0"
    TRAIN_VAL_1 = "TrainVal1"
    TRAIN_VAL_2 = "TrainVal2"
    TRAIN_VAL_3 = "TrainVal3"
    TRAIN_VAL_4 = "TrainVal4"
    TEST = "Test"


class Stage(StrEnum):
    """Use of a set of samples."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Kind(StrEnum):
    """Kind of a group of shards: all samples unchanged, or the positives in the other five views."""

    BASE = "base"
    OVER = "over"

    @property
    def views(self) -> tuple[View, ...]:
        """Views of this kind, in their published order."""
        return (View.NF,) if self is Kind.BASE else tuple(v for v in View if v is not View.NF)


class Variant(StrEnum):
    """Variant of oversampling: the stages that see each positive in six views (Grim and Gradvohl 2024, section 3)."""

    BASE = "base"
    OT = "oT"
    OTV = "oTV"
    OTV_TEST = "oTV_Test"

    @property
    def oversampled_stages(self) -> tuple[Stage, ...]:
        """Stages whose positives are in all six views."""
        return tuple(Stage)[: list(Variant).index(self)]


class LabelSet(StrEnum):
    """Labels that forecasts are scored against."""

    PUBLISHED = "published"
    """The labels of the lists."""
    REBUILT = "rebuilt"
    """Labels of the same frames that follow from a flare list."""
    BOTH = "both"
    """The one and the other, side by side."""


class Protocol(StrEnum):
    """Recipe to follow where the paper and its published programs differ.

    ``paper``: four training parts at both horizons, class weights from exact counts.
    ``published``: the three training parts of the 24h program, class weights from counts without each set's first row.
    """

    PAPER = "paper"
    PUBLISHED = "published"


NUM_FOLDS = 5
"""Number of folds of the published cross-validation."""

_TRAIN_VAL = tuple(part for part in Part if part is not Part.TEST)


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSet:
    """A set of samples: the training, validation or test set of a fold, as a variant and a protocol define it.

    Fold k trains on the parts k to k+3, modulo 5, and validates on k+4. The published 24h program trains on k to k+2
    only, which the protocol ``published`` reproduces.

    Examples
    --------
    >>> validation = SampleSet(variant=Variant.BASE, stage=Stage.VAL, fold=3, protocol=Protocol.PAPER)
    >>> [str(part) for part in validation.parts(M24)]
    ['TrainVal2']
    """

    variant: Variant
    stage: Stage
    fold: int
    """Number of the fold, 0 to 4."""
    protocol: Protocol

    def __post_init__(self) -> None:
        if not 0 <= self.fold < NUM_FOLDS:
            raise ValueError(f"fold must be 0 to {NUM_FOLDS - 1}, got {self.fold}")

    def __str__(self) -> str:
        return f"{self.stage} set of {self.variant} fold {self.fold}"

    def at(self, stage: Stage) -> SampleSet:
        """Return the set of another stage of the same fold."""
        return replace(self, stage=stage)

    def parts(self, task: Task) -> tuple[Part, ...]:
        """Return the parts that the set is made of."""
        if self.stage is Stage.TEST:
            return (Part.TEST,)
        if self.stage is Stage.VAL:
            return (_TRAIN_VAL[(self.fold + 4) % NUM_FOLDS],)
        num_parts = 3 if self.protocol is Protocol.PUBLISHED and task == M24 else 4
        return tuple(_TRAIN_VAL[(self.fold + i) % NUM_FOLDS] for i in range(num_parts))

    def groups(self, task: Task) -> tuple[str, ...]:
        """Return the groups of shards, such as ``TrainVal0/base``; including ``over`` if the stage is oversampled."""
        kinds = (Kind.BASE, Kind.OVER) if self.stage in self.variant.oversampled_stages else (Kind.BASE,)
        return tuple(format_group(part, kind) for part in self.parts(task) for kind in kinds)


@accepts_text
def format_group(part: Part, kind: Kind) -> str:
    """Return the name of a group, which is also the path of its shards up to their number."""
    return f"{part}/{kind}"
