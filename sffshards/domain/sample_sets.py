"""Which groups of shards make up the training, validation and test set of a variant and a fold."""

from __future__ import annotations

from enum import StrEnum

from sffshards.domain.task import M24, Task
from sffshards.domain.views import View

__all__ = ["NUM_FOLDS", "Kind", "Part", "Protocol", "Stage", "Variant", "format_group", "stage_groups", "stage_parts"]


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


class Protocol(StrEnum):
    """Whose recipe to follow where the paper and its published programs differ.

    ``paper``: four training parts at both horizons, class weights from exact counts.
    ``published``: the 24h program's three training parts, class weights from counts that lose each set's first row.
    """

    PAPER = "paper"
    PUBLISHED = "published"


NUM_FOLDS = 5
"""Folds of the published cross-validation."""

_TRAIN_VAL = tuple(part for part in Part if part is not Part.TEST)


def stage_parts(stage: Stage, *, fold: int, task: Task, protocol: Protocol) -> tuple[Part, ...]:
    """Give the parts of a stage: fold k trains on parts k to k+3, modulo 5, and validates on k+4.

    The published 24h program trains on parts k to k+2 only; the protocol ``published`` keeps that.

    Raises
    ------
    ValueError
        If the fold is not 0 to 4.

    Examples
    --------
    >>> [str(p) for p in stage_parts(Stage.VAL, fold=3, horizon=Horizon.H48, protocol=Protocol.PAPER)]
    ['TrainVal2']
    """
    if not 0 <= fold < NUM_FOLDS:
        raise ValueError(f"fold must be 0 to {NUM_FOLDS - 1}, got {fold}")
    if stage is Stage.TEST:
        return (Part.TEST,)
    if stage is Stage.VAL:
        return (_TRAIN_VAL[(fold + 4) % NUM_FOLDS],)
    num_parts = 3 if protocol is Protocol.PUBLISHED and task == M24 else 4
    return tuple(_TRAIN_VAL[(fold + i) % NUM_FOLDS] for i in range(num_parts))


def stage_groups(variant: Variant, stage: Stage, *, fold: int, task: Task, protocol: Protocol) -> tuple[str, ...]:
    """Give the groups of shards of a set, such as ``TrainVal0/base``; where the stage is oversampled, ``over`` too."""
    kinds = (Kind.BASE, Kind.OVER) if stage in variant.oversampled_stages else (Kind.BASE,)
    parts = stage_parts(stage, fold=fold, task=task, protocol=protocol)
    return tuple(format_group(part, kind) for part in parts for kind in kinds)


def format_group(part: Part, kind: Kind) -> str:
    """Give the name of a group, which is also the path of its shards up to their number."""
    return f"{part}/{kind}"
