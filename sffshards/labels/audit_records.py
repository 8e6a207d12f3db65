"""What an audit finds in label lists.

Shapes: n rows of a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task

__all__ = ["Finding", "FindingKind", "LabelAudit", "ListRows", "PartAudit"]


class FindingKind(StrEnum):
    """What can be found, first what is wrong, then what one should know."""

    EMPTY = "lists without a row"
    MALFORMED = "malformed rows"
    DUPLICATE = "rows of a frame that came before in its list"
    IN_TWO_PARTS = "rows of a frame that is in another part, too"
    OUT_OF_ORDER = "rows earlier than the row of the same HARP before them"
    STRADDLING = "HARPs in several parts"
    CONTRADICTION = "rows positive at 24h but not at 48h"
    ONE_HORIZON = "frames in the lists of one horizon only"
    OTHER_PART = "frames in another part at the other horizon"
    NO_IMAGE = "frames without an image"
    MISSED = "rows labelled 0 though the catalogue has a flare"
    EXTRA = "rows labelled 1 though the catalogue has no flare"
    OFF_GRID = "rows off the 96-minute grid"
    OVERLAP = "rows of Test in the time of a training part"
    ONE_CLASS = "parts of one class only"
    UNKNOWN_HARP = "HARPs that the map has no region of"
    UNCOVERED = "rows whose horizon is not all within the flare list's time"

    @property
    def is_wrong(self) -> bool:
        """Whether it is a fault; the others may be as they should."""
        return self not in (
            FindingKind.OFF_GRID,
            FindingKind.OVERLAP,
            FindingKind.ONE_CLASS,
            FindingKind.UNKNOWN_HARP,
            FindingKind.UNCOVERED,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRows:
    """The rows of a list that can be read, and what was found in reading."""

    path: Path
    harp: NDArray[np.int64]
    """HARP numbers, shape (n,)."""
    t_rec_tai: NDArray[np.datetime64]
    """datetime64[s] of shape (n,)."""
    label: NDArray[np.int64]
    """0 or 1, shape (n,)."""
    line: NDArray[np.int64]
    """Lines of the file, from 1, shape (n,)."""
    malformed: tuple[str, ...] = ()
    """What is wrong with each row that cannot be read."""
    duplicates: tuple[str, ...] = ()
    """Each row that names a frame again; the first one counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartAudit:
    """The figures of one list."""

    num_rows: int
    num_positive: int
    num_harps: int
    first_tai: datetime | None
    """The earliest frame; None of an empty list."""
    last_tai: datetime | None
    num_padded: int
    """Rows whose sequence repeats frames, as fewer than 16 of the HARP have come."""
    num_gaps: int
    """Steps of more than 96 minutes from one row of a HARP to its next."""
    longest_gap_minutes: int
    """Of these; 0 where there is none."""
    num_missed: int | None
    """Rows labelled 0 though the catalogue has a flare; None without a catalogue."""
    num_extra: int | None
    """Rows labelled 1 though it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that was found, of one horizon or of both."""

    kind: FindingKind
    task: Task | None
    """None where it is not of one."""
    count: int
    """How many of what the kind says."""
    harps: dict[int, int] = field(default_factory=dict)
    """How many of each HARP, where it is of HARPs."""
    places: tuple[str, ...] = ()
    """Where, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelAudit:
    """All that was found."""

    parts: dict[Task, dict[Part, PartAudit]]
    findings: tuple[Finding, ...]
    """Faults first, each with a count of at least 1."""
    images: Path | None
    """Where images were looked for; None: nowhere."""

    @property
    def is_wrong(self) -> bool:
        """Whether there is any fault."""
        return any(finding.kind.is_wrong for finding in self.findings)
