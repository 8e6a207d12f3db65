"""The forecasting task: an event of at least a GOES class within a number of hours."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Horizon"]


class Horizon(StrEnum):
    """How far ahead a label looks: a flare of class M or above within so many hours."""

    H24 = "24h"
    H48 = "48h"

    @property
    def hours(self) -> int:
        """The horizon in hours."""
        return int(self.value[:-1])
