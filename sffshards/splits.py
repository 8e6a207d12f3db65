"""Which groups of shards make up the training, validation and test set of a variant and a fold."""

from __future__ import annotations

from sffshards.records import Horizon, Kind, Part, Protocol, Stage, Variant

__all__ = ["NUM_FOLDS", "format_group", "stage_groups", "stage_parts"]

NUM_FOLDS = 5
"""Folds of the published cross-validation."""

_TRAIN_VAL = tuple(part for part in Part if part is not Part.TEST)


def stage_parts(stage: Stage, *, fold: int, horizon: Horizon, protocol: Protocol) -> tuple[Part, ...]:
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
    num_parts = 3 if protocol is Protocol.PUBLISHED and horizon is Horizon.H24 else 4
    return tuple(_TRAIN_VAL[(fold + i) % NUM_FOLDS] for i in range(num_parts))


def stage_groups(variant: Variant, stage: Stage, *, fold: int, horizon: Horizon, protocol: Protocol) -> tuple[str, ...]:
    """Give the groups of shards of a set, such as ``TrainVal0/base``; where the stage is oversampled, ``over`` too."""
    kinds = (Kind.BASE, Kind.OVER) if stage in variant.oversampled_stages else (Kind.BASE,)
    parts = stage_parts(stage, fold=fold, horizon=horizon, protocol=protocol)
    return tuple(format_group(part, kind) for part in parts for kind in kinds)


def format_group(part: Part, kind: Kind) -> str:
    """Give the name of a group, which is also the path of its shards up to their number."""
    return f"{part}/{kind}"
