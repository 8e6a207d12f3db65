"""An audit of label lists: its checks, each from rows to findings, and the comparison of labels with flares."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import format_count
from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M24, M48, PUBLISHED_TASKS, Task
from sffshards.flares import HarpFlares
from sffshards.labels.audit_findings import Finding, FindingKind, LabelAudit, PartAudit
from sffshards.labels.label_lists import ListRows, Lists
from sffshards.labels.label_rebuild import are_covered, label_frames

_CADENCE = timedelta(minutes=96)
"""Time from one frame to the next: fifteen a day, from 00:00 TAI."""

_Parts = Mapping[Part, ListRows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """The rows of a list that disagree with a flare catalogue."""

    missed: tuple[LabelledFrame, ...]
    """Rows labelled 0 although the catalogue has a flare."""
    extra: tuple[LabelledFrame, ...]
    """Rows labelled 1 although the catalogue has no flare."""
    uncovered: tuple[LabelledFrame, ...]
    """Rows whose forecast window is not entirely within the time of the flare list."""


def compare_with_flares(read: Lists, flares: HarpFlares) -> dict[Task, dict[Part, Disagreement]]:
    """Compare every label with whether a flare of its HARP came in ``(t, t + horizon]``."""
    return {task: {part: _compare(one, task, flares) for part, one in parts.items()} for task, parts in read.items()}


def audit_labels(read: Lists, *, flares: HarpFlares | None = None, images: Path | None = None) -> LabelAudit:
    """Check label lists for faults.

    Parameters
    ----------
    read
        Rows of the lists, from `sffshards.labels.read_lists`.
    flares
        Flares to compare labels with, from `sffshards.flares.assign_flares`; None: labels are not compared.
    images
        Folder to search for images; None: images are not searched.

    Raises
    ------
    StorageError
        If the folder of images cannot be read.
    """
    compared = {} if flares is None else compare_with_flares(read, flares)
    found = [
        finding for task, parts in read.items() for finding in (*_check_rows(task, parts), *_check_parts(task, parts))
    ]
    found += _check_horizons(read)
    if images is not None:
        found.append(_check_images(read, images))
    if flares is not None:
        found += [one for task, parts in read.items() for one in _check_catalogue(task, parts, compared[task], flares)]
    return LabelAudit(
        parts={
            task: {part: _measure_part(one, compared.get(task, {}).get(part)) for part, one in parts.items()}
            for task, parts in read.items()
        },
        findings=tuple(sorted((one for one in found if one.count), key=lambda finding: not finding.kind.is_wrong)),
        images=images,
    )


def _compare(one: ListRows, task: Task, flares: HarpFlares) -> Disagreement:
    frames = [row.frame for row in one.rows]
    came = label_frames(frames, flares, task=task)
    pairs = list(zip(one.rows, came, strict=True))
    covered = zip(one.rows, are_covered(frames, flares, task=task), strict=True)
    return Disagreement(
        missed=tuple(row for row, label in pairs if label > row.label),
        extra=tuple(row for row, label in pairs if label < row.label),
        uncovered=tuple(row for row, is_covered in covered if not is_covered),
    )


def _measure_part(one: ListRows, found: Disagreement | None) -> PartAudit:
    """Return the statistics of a list."""
    steps = [after.frame.t_rec_tai - before.frame.t_rec_tai for before, after in _steps(one)]
    gaps_minutes = [step // timedelta(minutes=1) for step in steps if step > _CADENCE]
    per_harp = Counter(row.frame.harp for row in one.rows)
    times = [row.frame.t_rec_tai for row in one.rows]
    return PartAudit(
        num_rows=len(one.rows),
        num_positive=sum(row.label for row in one.rows),
        num_harps=len(per_harp),
        first_tai=min(times, default=None),
        last_tai=max(times, default=None),
        num_padded=sum(min(count, NUM_FRAMES - 1) for count in per_harp.values()),
        num_gaps=len(gaps_minutes),
        longest_gap_minutes=max(gaps_minutes, default=0),
        num_missed=None if found is None else len(found.missed),
        num_extra=None if found is None else len(found.extra),
    )


def _check_rows(task: Task, parts: _Parts) -> Iterator[Finding]:
    """Check each list by itself: empty, malformed, duplicate, out of order, off the grid, of one class."""
    every = list(parts.values())
    yield _find(FindingKind.EMPTY, task, [str(one.path) for one in every if not one.rows])
    yield _find(FindingKind.MALFORMED, task, [f"{e.where}: {e.found}" for one in every for e in one.malformed])
    yield _find(FindingKind.DUPLICATE, task, [f"{e.where}: {e.found}" for one in every for e in one.duplicates])
    back = [(one, b) for one in every for a, b in _steps(one) if b.frame.t_rec_tai < a.frame.t_rec_tai]
    yield _find_rows(FindingKind.OUT_OF_ORDER, task, back)
    off = [(one, row) for one in every for row in one.rows if (row.frame.t_rec_tai - datetime.min) % _CADENCE]
    yield _find_rows(FindingKind.OFF_GRID, task, off)
    which = {1: "every row is positive", 0: "no row is positive"}
    classes = {part: {row.label for row in one.rows} for part, one in parts.items()}
    single = [f"{part}: {which[label]}" for part, labels in classes.items() if len(labels) == 1 for label in labels]
    yield _find(FindingKind.ONE_CLASS, task, single)


def _check_parts(task: Task, parts: _Parts) -> Iterator[Finding]:
    """Check what parts share: frames, HARPs, and the time of Test."""
    homes: dict[FrameId, Part] = {}
    rows = [(part, one, row) for part, one in parts.items() for row in one.rows]
    shared = [(one, row) for part, one, row in rows if homes.setdefault(row.frame, part) is not part]
    places = [f"{_place(one, row)}, also in {homes[row.frame]}" for one, row in shared]
    yield _find(FindingKind.IN_TWO_PARTS, task, places, [row.frame.harp for _, row in shared])
    counts: dict[int, Counter[Part]] = defaultdict(Counter)
    for part, _, row in rows:
        counts[row.frame.harp][part] += 1
    straddling = {harp: of for harp, of in sorted(counts.items()) if len(of) > 1}
    places = [
        f"HARP {harp}: " + ", ".join(f"{part} {format_count(count, 'row')}" for part, count in of.items())
        for harp, of in straddling.items()
    ]
    yield _find(FindingKind.STRADDLING, task, places, {harp: of.total() for harp, of in straddling.items()})
    yield _check_overlap(task, parts)


def _check_overlap(task: Task, parts: _Parts) -> Finding:
    times = {row.row: row.frame.t_rec_tai for row in parts[Part.TEST].rows}
    every: set[int] = set()
    places = []
    for part, one in parts.items():
        if part is Part.TEST or not one.rows:
            continue
        first, last = (of(row.frame.t_rec_tai for row in one.rows) for of in (min, max))
        within = {row for row, time in times.items() if first <= time <= last}
        if within:
            span = f"{first.isoformat()} to {last.isoformat()}"
            places.append(f"{part}, {span}: {format_count(len(within), 'row')} of Test")
        every |= within
    return Finding(kind=FindingKind.OVERLAP, task=task, count=len(every), places=tuple(places))


def _check_horizons(read: Lists) -> Iterator[Finding]:
    """Check the published tasks together: their frames and parts, and rows positive at the shorter horizon only."""
    if set(read) != set(PUBLISHED_TASKS):
        return
    short, long = (
        {row.frame: (part, one, row) for part, one in read[task].items() for row in one.rows} for task in (M24, M48)
    )
    both = [(*of, *long[frame]) for frame, of in short.items() if frame in long]
    wrong = [(one, row) for _, one, row, _, _, other in both if row.label > other.label]
    yield _find_rows(FindingKind.CONTRADICTION, None, wrong)
    single = [
        of[1:] for mine, other in ((short, long), (long, short)) for frame, of in mine.items() if frame not in other
    ]
    yield _find_rows(FindingKind.ONE_HORIZON, None, single)
    moved = [(row.frame, part, other) for part, _, row, other, _, _ in both if part is not other]
    places = [f"{frame.name}: {part} at 24h, {other} at 48h" for frame, part, other in moved]
    yield _find(FindingKind.OTHER_PART, None, places, [frame.harp for frame, _, _ in moved])


def _check_images(read: Lists, images: Path) -> Finding:
    """Check that a folder has the image of every frame, by name."""
    with storage_errors(images, expected="a folder of images"):
        present = set(os.listdir(images))
    frames = dict.fromkeys(row.frame for parts in read.values() for one in parts.values() for row in one.rows)
    missing = [frame for frame in frames if frame.image_name not in present]
    places = [str(images / frame.image_name) for frame in missing]
    return _find(FindingKind.NO_IMAGE, None, places, [frame.harp for frame in missing])


def _check_catalogue(
    task: Task, parts: _Parts, found: Mapping[Part, Disagreement], flares: HarpFlares
) -> Iterator[Finding]:
    """Check for rows that disagree with a catalogue, and for those that it cannot know."""
    pairs = [(one, found[part]) for part, one in parts.items()]
    yield _find_rows(FindingKind.MISSED, task, [(one, row) for one, of in pairs for row in of.missed])
    yield _find_rows(FindingKind.EXTRA, task, [(one, row) for one, of in pairs for row in of.extra])
    yield _find_rows(FindingKind.UNCOVERED, task, [(one, row) for one, of in pairs for row in of.uncovered])
    harps = Counter(row.frame.harp for one in parts.values() for row in one.rows)
    unknown = {harp: count for harp, count in sorted(harps.items()) if not flares.knows(harp)}
    places = [f"HARP {harp}: {format_count(count, 'row')}" for harp, count in unknown.items()]
    yield _find(FindingKind.UNKNOWN_HARP, task, places, unknown)


def _find(
    kind: FindingKind, task: Task | None, places: Iterable[str], harps: Iterable[int] | Mapping[int, int] = ()
) -> Finding:
    """Return a finding whose places are counted; its HARPs are one per place, or counted already."""
    every, ordered = tuple(places), dict(sorted(Counter(harps).items()))
    return Finding(kind=kind, task=task, count=len(every), harps=ordered, places=every)


def _find_rows(kind: FindingKind, task: Task | None, rows: Iterable[tuple[ListRows, LabelledFrame]]) -> Finding:
    found = list(rows)
    return _find(kind, task, [_place(one, row) for one, row in found], [row.frame.harp for _, row in found])


def _place(one: ListRows, row: LabelledFrame) -> str:
    return f"{one.path}:{row.row + 1}: {row.frame.name}"


def _steps(one: ListRows) -> Iterator[tuple[LabelledFrame, LabelledFrame]]:
    """Yield each row with the previous one of its HARP."""
    last: dict[int, LabelledFrame] = {}
    for row in one.rows:
        if row.frame.harp in last:
            yield last[row.frame.harp], row
        last[row.frame.harp] = row
