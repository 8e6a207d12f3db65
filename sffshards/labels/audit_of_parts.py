"""The checks of an audit of what lists share: parts of a task, and the lists of two tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import format_count
from sffshards.domain.frame_codes import find_codes, first_places, harps_of, iterate_names
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.flares import HarpMap
from sffshards.labels.audit_findings import Finding, FindingKind, build_finding, build_row_finding, format_place
from sffshards.labels.label_lists import ListRows, Lists

Parts = Mapping[Part, ListRows]
"""The lists of a task."""


def check_parts(task: Task, parts: Parts) -> Iterator[Finding]:
    """Check what parts share: frames, HARPs, and the time of Test."""
    every, names = list(parts.values()), list(parts)
    codes = np.concatenate([one.rows.codes for one in every])
    part_of = np.repeat(np.arange(len(every)), [len(one.rows) for one in every])
    home_of = part_of[first_places(codes)]
    places, harps = [], []
    for number, one in enumerate(every):
        mine = part_of == number
        shared = home_of[mine] != number
        for row, home in zip(one.rows.take(shared), home_of[mine][shared].tolist(), strict=True):
            places.append(f"{format_place(one.path, row)}, also in {names[home]}")
            harps.append(row.frame.harp)
    yield build_finding(FindingKind.IN_TWO_PARTS, task, places, harps)
    yield _check_straddling(task, names, harps_of(codes), part_of)
    yield _check_overlap(task, parts)


def _check_straddling(
    task: Task, names: Sequence[Part], harps: NDArray[np.int64], part_of: NDArray[np.int64]
) -> Finding:
    """Check for HARPs with rows in several parts; ``harps`` and ``part_of`` have an element per row."""
    known, which = np.unique(harps, return_inverse=True)
    counts = np.bincount(which * len(names) + part_of, minlength=len(known) * len(names)).reshape(-1, len(names))
    straddling = {
        harp: dict(zip(names, of, strict=True))
        for harp, of in zip(known.tolist(), counts.tolist(), strict=True)
        if sum(count > 0 for count in of) > 1
    }
    places = [
        f"HARP {harp}: " + ", ".join(f"{part} {format_count(count, 'row')}" for part, count in of.items() if count)
        for harp, of in straddling.items()
    ]
    totals = {harp: sum(of.values()) for harp, of in straddling.items()}
    return build_finding(FindingKind.STRADDLING, task, places, totals)


def check_regions(task: Task, parts: Parts, harp_map: HarpMap) -> Finding:
    """Check for NOAA regions that parts share though no HARP of the region is in both."""
    homes: dict[int, dict[int, set[Part]]] = defaultdict(lambda: defaultdict(set))
    for part, one in parts.items():
        for harp in np.unique(one.rows.harps).tolist():
            for region in harp_map.regions.get(harp, ()):
                homes[region][harp].add(part)
    shared = {
        region: harps
        for region, harps in sorted(homes.items())
        if len(harps) > 1 and len(set().union(*harps.values())) > max(len(of) for of in harps.values())
    }
    places = [
        f"NOAA {region}: " + ", ".join(f"HARP {harp} in {' and '.join(sorted(of))}" for harp, of in harps.items())
        for region, harps in shared.items()
    ]
    return build_finding(FindingKind.SHARED_REGION, task, places)


def _check_overlap(task: Task, parts: Parts) -> Finding:
    times = parts[Part.TEST].rows.times
    every = np.zeros(len(times), np.bool_)
    places = []
    for part, one in parts.items():
        if part is Part.TEST or not len(one.rows):
            continue
        first, last = one.rows.times.min(), one.rows.times.max()
        within = (first <= times) & (times <= last)
        if within.any():
            span = f"{first.item().isoformat()} to {last.item().isoformat()}"
            places.append(f"{part}, {span}: {format_count(int(within.sum()), 'row')} of Test")
        every |= within
    return Finding(kind=FindingKind.OVERLAP, task=task, count=int(every.sum()), places=tuple(places))


@dataclass(frozen=True, kw_only=True, slots=True)
class _TaskRows:
    """The rows of all lists of a task, each frame once."""

    every: list[ListRows]
    parts: list[Part]
    rows: LabelledFrames
    list_of: NDArray[np.int64]
    """Number of the list of each row."""

    @classmethod
    def join(cls, parts: Parts) -> _TaskRows:
        every = list(parts.values())
        rows = LabelledFrames.join(one.rows for one in every)
        list_of = np.repeat(np.arange(len(every)), [len(one.rows) for one in every])
        is_first = first_places(rows.codes) == np.arange(len(rows))
        return cls(every=every, parts=list(parts), rows=rows.take(is_first), list_of=list_of[is_first])

    def choose(self, chosen: NDArray[np.bool_]) -> list[tuple[Path, LabelledFrames]]:
        """Return the chosen rows of each list."""
        return [(one.path, self.rows.take(chosen & (self.list_of == number))) for number, one in enumerate(self.every)]

    def match(self, other: _TaskRows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows whose frames the other task has too, and the row of each there."""
        order = np.argsort(other.rows.codes)
        places = find_codes(other.rows.codes[order], self.rows.codes)
        found = np.flatnonzero(places >= 0)
        return found, order[places[found]]


def check_tasks(read: Lists) -> Iterator[Finding]:
    """Check tasks together: rows that are positive, but not in the lists of a task that the event is one of, too.

    Each task is also compared with every such task that has no other one between: their frames, and the parts of these.
    """
    joined = {task: _TaskRows.join(read[task]) for task in sorted(read)}
    for narrow, rows in joined.items():
        wider = {task: of for task, of in joined.items() if task != narrow and task.includes(narrow)}
        if not wider:
            continue
        is_wrong = np.zeros(len(rows.rows), np.bool_)
        for of in wider.values():
            both, other = rows.match(of)
            is_wrong[both] |= rows.rows.labels[both] > of.rows.labels[other]
        yield build_row_finding(FindingKind.CONTRADICTION, narrow, rows.choose(is_wrong))
        for task, of in wider.items():
            if not any(task != between and task.includes(between) for between in wider):
                yield from _check_frames((narrow, rows), (task, of))


def _check_frames(first: tuple[Task, _TaskRows], second: tuple[Task, _TaskRows]) -> Iterator[Finding]:
    """Check that the lists of two tasks have the same frames, in the same parts."""
    (short, one), (long, two) = first, second
    both, other = one.match(two)
    lacking = [np.ones(len(of.rows), np.bool_) for of in (one, two)]
    lacking[0][both] = lacking[1][other] = False
    yield build_row_finding(FindingKind.ONE_TASK, None, [*one.choose(lacking[0]), *two.choose(lacking[1])])
    own_parts, other_parts = (np.array(of.parts)[of.list_of] for of in (one, two))
    has_moved = own_parts[both] != other_parts[other]
    moved, there = both[has_moved], other[has_moved]
    places = [
        f"{name}: {own_parts[row]} at {short}, {other_parts[place]} at {long}"
        for row, place, name in zip(moved.tolist(), there.tolist(), iterate_names(one.rows.codes[moved]), strict=True)
    ]
    yield build_finding(FindingKind.OTHER_PART, None, places, one.rows.harps[moved].tolist())
