"""How a training set is read and ordered."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Engine", "Shuffle", "ViewSource"]


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
