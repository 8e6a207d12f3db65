"""What an audit of label lists finds, as records, as one line, and as JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from sffshards.base.json_records import to_plain
from sffshards.domain.labelled_frames import LabelledFrame, LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task


class FindingKind(StrEnum):
    """The kinds of findings, faults first."""

    EMPTY = "lists without a row"
    MALFORMED = "malformed rows"
    DUPLICATE = "rows of a frame that an earlier row of the list has"
    IN_TWO_PARTS = "rows of a frame that is also in another part"
    OUT_OF_ORDER = "rows out of time order within their HARP"
    STRADDLING = "HARPs in several parts"
    CONTRADICTION = "rows positive, but not at a longer horizon or for a lower class"
    ONE_TASK = "frames in the lists of one task only"
    OTHER_PART = "frames in another part of another task"
    NO_IMAGE = "frames without an image"
    MISSED = "rows labelled 0 although the catalogue has a flare"
    EXTRA = "rows labelled 1 although the catalogue has no flare"
    SHARED_REGION = "NOAA regions in several parts through different HARPs"
    DISPUTED = "rows on which the flare lists disagree"
    OFF_GRID = "rows off the 96-minute grid"
    OVERLAP = "rows of Test in the time of a training part"
    ONE_CLASS = "parts of one class only"
    UNKNOWN_HARP = "HARPs without a region in the map"
    UNCOVERED = "rows with a forecast window beyond the flare list"

    @property
    def is_wrong(self) -> bool:
        """Whether the finding is a fault; the others may be intended."""
        return self not in (
            FindingKind.DISPUTED,
            FindingKind.OFF_GRID,
            FindingKind.OVERLAP,
            FindingKind.ONE_CLASS,
            FindingKind.UNKNOWN_HARP,
            FindingKind.UNCOVERED,
        )

    def format_count(self, count: int) -> str:
        """Return a count of such findings in words.

        Examples
        --------
        >>> FindingKind.STRADDLING.format_count(1)
        '1 HARP in several parts'
        """
        text = re.sub(r"\b(list|row|HARP|frame|part|NOAA region)s\b", r"\1", self, count=1) if count == 1 else self
        return f"{count:,} {text}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartAudit:
    """The statistics of one label list."""

    num_rows: int
    """Rows that can be read."""
    num_positive: int
    """Rows labelled 1."""
    num_harps: int
    """HARPs in the list."""
    first_tai: datetime | None
    """Time of the earliest frame; None for an empty list."""
    last_tai: datetime | None
    """Time of the latest frame; None for an empty list."""
    num_padded: int
    """Rows with fewer than 16 frames of their HARP so far, whose sequence repeats frames."""
    num_gaps: int
    """Steps of more than 96 minutes from one row of a HARP to its next."""
    longest_gap_minutes: int
    """Length of the longest gap; 0 without gaps."""
    num_missed: int | None
    """Rows labelled 0 although the catalogue has a flare; None without a catalogue."""
    num_extra: int | None
    """Rows labelled 1 although the catalogue has no flare; None without a catalogue."""


class RowPlaces(Sequence[str]):
    """Descriptions of rows, formatted only when they are asked for: there can be one for every row of a list.

    Parameters
    ----------
    rows
        Rows of lists, with the path of each list.
    """

    def __init__(self, rows: Iterable[tuple[Path, LabelledFrames]]) -> None:
        self._rows = [(path, of) for path, of in rows if len(of)]

    def __len__(self) -> int:
        return sum(len(of) for _, of in self._rows)

    def __iter__(self) -> Iterator[str]:
        return (format_place(path, row) for path, of in self._rows for row in of)

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[str, ...]: ...
    def __getitem__(self, number: int | slice) -> str | tuple[str, ...]:
        if isinstance(number, slice):
            return tuple(self[place] for place in range(len(self))[number])
        place = range(len(self))[number]
        for path, of in self._rows:
            if place < len(of):
                return format_place(path, of[place])
            place -= len(of)
        raise AssertionError  # pragma: no cover


def format_place(path: Path, row: LabelledFrame) -> str:
    """Return where a row is, and its frame."""
    return f"{path}:{row.row + 1}: {row.frame.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A finding of one kind in the lists of one task, or across tasks."""

    kind: FindingKind
    """The kind of the finding."""
    task: Task | None
    """The task whose lists it is in; None for a finding across tasks."""
    count: int
    """Number of rows, frames, HARPs or lists, as the kind states."""
    harps: dict[int, int] = field(default_factory=dict)
    """Number of rows or frames of each HARP, where they have one."""
    places: Sequence[str] = ()
    """Descriptions of each occurrence."""


def build_finding(
    kind: FindingKind, task: Task | None, places: Iterable[str], harps: Iterable[int] | Mapping[int, int] = ()
) -> Finding:
    """Return a finding whose places are counted; its HARPs are one per place, or counted already."""
    every, ordered = tuple(places), dict(sorted(Counter(harps).items()))
    return Finding(kind=kind, task=task, count=len(every), harps=ordered, places=every)


def build_row_finding(kind: FindingKind, task: Task | None, rows: Iterable[tuple[Path, LabelledFrames]]) -> Finding:
    """Return a finding of rows, with the path of the list of each."""
    found = list(rows)
    places = RowPlaces(found)
    harps = count_harps(np.concatenate([of.harps for _, of in found]))
    return Finding(kind=kind, task=task, count=len(places), harps=harps, places=places)


def count_harps(harps: NDArray[np.int64]) -> dict[int, int]:
    """Return the number of rows of each HARP, by HARP number."""
    numbers, counts = np.unique(harps, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelAudit:
    """The result of an audit."""

    parts: dict[Task, dict[Part, PartAudit]]
    """Statistics of every list."""
    findings: tuple[Finding, ...]
    """Findings with a count of at least 1, faults first."""
    images: Path | None
    """The folder that was searched for images; None if none was."""

    @property
    def is_wrong(self) -> bool:
        """Whether there is any fault."""
        return any(finding.kind.is_wrong for finding in self.findings)


def merge_findings(findings: Iterable[Finding]) -> list[tuple[Finding, tuple[Task, ...]]]:
    """Return each finding once, with the tasks that share its kind, count and HARPs."""
    merged: dict[tuple[object, ...], tuple[Finding, tuple[Task, ...]]] = {}
    for finding in findings:
        key = finding.kind, finding.count, *finding.harps.items()
        first, tasks = merged.get(key, (finding, ()))
        merged[key] = first, tasks if finding.task is None else (*tasks, finding.task)
    return list(merged.values())


def summarize_audit(audit: LabelAudit) -> str:
    """Return the faults in one line.

    Examples
    --------
    >>> summarize_audit(LabelAudit(parts={}, findings=(), images=None))
    'label lists: no faults found'
    """
    faults = [
        finding.kind.format_count(finding.count) + (f" ({', '.join(map(str, tasks))})" if tasks else "")
        for finding, tasks in merge_findings(audit.findings)
        if finding.kind.is_wrong
    ]
    if not faults:
        return "label lists: no faults found"
    return f"label lists: {', '.join(faults)}; see `sffshards labels check`"


def describe_audit(audit: LabelAudit) -> dict[str, Any]:
    """Return an audit as plain values for JSON."""
    return {
        "is_wrong": audit.is_wrong,
        "images": None if audit.images is None else str(audit.images),
        "parts": {
            task.name: {str(part): to_plain(figures) for part, figures in parts.items()}
            for task, parts in audit.parts.items()
        },
        "findings": [
            to_plain(replace(finding, places=tuple(finding.places)))
            | {"kind": finding.kind.name.lower(), "text": str(finding.kind), "is_wrong": finding.kind.is_wrong}
            for finding in audit.findings
        ],
    }
