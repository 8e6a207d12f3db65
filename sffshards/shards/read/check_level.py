"""What is checked of a sample when it is read."""

from __future__ import annotations

from enum import StrEnum


class CheckLevel(StrEnum):
    """What is checked each time that a sample is read; the SHA-256 of a shard is checked once in any case."""

    FULL = "full"
    """Length and checksum of the sample."""
    FAST = "fast"
    """Length of the sample."""
