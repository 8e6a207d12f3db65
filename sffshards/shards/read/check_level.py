"""How much of each sample is checked when it is read."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["CheckLevel"]


class CheckLevel(StrEnum):
    """How much of a sample is checked each time that it is read; a shard's SHA-256 is checked once in any case."""

    FULL = "full"
    """Its length and its checksum."""
    FAST = "fast"
    """Its length."""
