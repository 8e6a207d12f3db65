"""An audit of label lists: its checks, each from rows to findings.

Shapes: n rows of a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import format_count
from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M24, M48, PUBLISHED_TASKS, Task
from sffshards.flares import HarpFlares
from sffshards.labels.audit_findings import Finding, FindingKind, LabelAudit, PartAudit
from sffshards.labels.lenient_lists import Disagreement, ListRows, Lists, compare_with_flares

__all__ = ["audit_labels"]

_CADENCE_MINUTES = 96
"""Time from one frame to the next: fifteen a day, from 00:00 TAI."""

_Parts = Mapping[Part, ListRows]
_Key = tuple[int, int]
"""HARP and seconds since 1970 of a frame."""


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
            task: {part: _measure_part(rows, compared.get(task, {}).get(part)) for part, rows in parts.items()}
            for task, parts in read.items()
        },
        findings=tuple(sorted((one for one in found if one.count), key=lambda finding: not finding.kind.is_wrong)),
        images=images,
    )


def _measure_part(rows: ListRows, found: Disagreement | None) -> PartAudit:
    """Return the statistics of a list."""
    steps_minutes = np.concatenate([np.diff(times).astype(np.int64) // 60 for _, times in _by_harp(rows)])
    gaps = steps_minutes[steps_minutes > _CADENCE_MINUTES]
    per_harp = np.unique(rows.harp, return_counts=True)[1]
    return PartAudit(
        num_rows=len(rows.harp),
        num_positive=int(rows.label.sum()),
        num_harps=len(per_harp),
        first_tai=rows.t_rec_tai.min().item() if len(rows.harp) else None,
        last_tai=rows.t_rec_tai.max().item() if len(rows.harp) else None,
        num_padded=int(np.minimum(per_harp, NUM_FRAMES - 1).sum()),
        num_gaps=len(gaps),
        longest_gap_minutes=int(gaps.max(initial=0)),
        num_missed=None if found is None else int(found.missed.sum()),
        num_extra=None if found is None else int(found.extra.sum()),
    )


def _check_rows(task: Task, parts: _Parts) -> Iterator[Finding]:
    """Check each list by itself: empty, malformed, duplicate, out of order, off the grid, of one class."""
    every = list(parts.values())
    yield _find(FindingKind.EMPTY, task, places=[str(rows.path) for rows in every if not len(rows.label)])
    yield _find(FindingKind.MALFORMED, task, places=[text for rows in every for text in rows.malformed])
    yield _find(FindingKind.DUPLICATE, task, places=[text for rows in every for text in rows.duplicates])
    yield _find_rows(FindingKind.OUT_OF_ORDER, task, parts, {part: _is_back(rows) for part, rows in parts.items()})
    yield _find_rows(FindingKind.OFF_GRID, task, parts, {part: _is_off(rows) for part, rows in parts.items()})
    which = {1: "every row is positive", 0: "no row is positive"}
    one = [f"{part}: {which[rows.label[0]]}" for part, rows in parts.items() if len(np.unique(rows.label)) == 1]
    yield _find(FindingKind.ONE_CLASS, task, places=one)


def _check_parts(task: Task, parts: _Parts) -> Iterator[Finding]:
    """Check what parts share: frames, HARPs, and the time of Test."""
    homes: dict[_Key, Part] = {}
    shared, places = [], []
    for part, rows in parts.items():
        for key, line in zip(_keys(rows), rows.line.tolist(), strict=True):
            if homes.setdefault(key, part) is not part:
                shared.append(key[0])
                places.append(f"{rows.path}:{line}: {_name(key)}, also in {homes[key]}")
    yield _find(FindingKind.IN_TWO_PARTS, task, harps=Counter(shared), places=places)
    counts: dict[int, dict[Part, int]] = {}
    for part, rows in parts.items():
        for harp, count in Counter(rows.harp.tolist()).items():
            counts.setdefault(harp, {})[part] = count
    straddling = {harp: of for harp, of in sorted(counts.items()) if len(of) > 1}
    yield _find(
        FindingKind.STRADDLING,
        task,
        harps={harp: sum(of.values()) for harp, of in straddling.items()},
        places=[
            f"HARP {harp}: " + ", ".join(f"{part} {format_count(count, 'row')}" for part, count in of.items())
            for harp, of in straddling.items()
        ],
    )
    yield _check_overlap(task, parts)


def _check_overlap(task: Task, parts: _Parts) -> Finding:
    test = parts[Part.TEST]
    inside = np.zeros(len(test.harp), np.bool_)
    places = []
    for part, rows in parts.items():
        if part is Part.TEST or not len(rows.harp):
            continue
        first, last = rows.t_rec_tai.min(), rows.t_rec_tai.max()
        within = (test.t_rec_tai >= first) & (test.t_rec_tai <= last)
        if within.any():
            places.append(f"{part}, {first} to {last}: {format_count(int(within.sum()), 'row')} of Test")
        inside |= within
    return _find(FindingKind.OVERLAP, task, count=int(inside.sum()), places=places)


def _check_horizons(read: Lists) -> Iterator[Finding]:
    """Check the published tasks together: their frames and parts, and rows positive at the shorter horizon only."""
    if set(read) != set(PUBLISHED_TASKS):
        return
    short, long = (dict(_rows_by_key(read[task])) for task in (M24, M48))
    wrong = [key for key, (_, label, _) in short.items() if key in long and label > long[key][1]]
    yield _find_keys(FindingKind.CONTRADICTION, wrong, [f"{short[key][2]}: {_name(key)}" for key in wrong])
    single = [key for one, other in ((short, long), (long, short)) for key in one if key not in other]
    where = {**long, **short}
    yield _find_keys(FindingKind.ONE_HORIZON, single, [f"{where[key][2]}: {_name(key)}" for key in single])
    moved = [key for key, (part, _, _) in short.items() if key in long and part is not long[key][0]]
    yield _find_keys(
        FindingKind.OTHER_PART, moved, [f"{_name(key)}: {short[key][0]} at 24h, {long[key][0]} at 48h" for key in moved]
    )


def _check_images(read: Lists, images: Path) -> Finding:
    """Check that a folder has the image of every frame, by name."""
    with storage_errors(images, expected="a folder of images"):
        present = {path.name for path in images.iterdir()}
    keys = dict.fromkeys(key for parts in read.values() for rows in parts.values() for key in _keys(rows))
    missing = [key for key in keys if _name(key) + IMAGE_SUFFIX not in present]
    return _find_keys(FindingKind.NO_IMAGE, missing, [f"{images / (_name(key) + IMAGE_SUFFIX)}" for key in missing])


def _check_catalogue(
    task: Task, parts: _Parts, found: Mapping[Part, Disagreement], flares: HarpFlares
) -> Iterator[Finding]:
    """Check for rows that disagree with a catalogue, and for those that it cannot know."""
    yield _find_rows(FindingKind.MISSED, task, parts, {part: of.missed for part, of in found.items()})
    yield _find_rows(FindingKind.EXTRA, task, parts, {part: of.extra for part, of in found.items()})
    yield _find_rows(FindingKind.UNCOVERED, task, parts, {part: of.uncovered for part, of in found.items()})
    harps = Counter(harp for rows in parts.values() for harp in rows.harp.tolist())
    unknown = {harp: count for harp, count in sorted(harps.items()) if not flares.knows(harp)}
    places = [f"HARP {harp}: {format_count(count, 'row')}" for harp, count in unknown.items()]
    yield _find(FindingKind.UNKNOWN_HARP, task, harps=unknown, places=places)


def _find(
    kind: FindingKind,
    task: Task | None,
    *,
    count: int | None = None,
    harps: Mapping[int, int] | None = None,
    places: Iterable[str] = (),
) -> Finding:
    """Return a finding; without a count, its places are counted."""
    every = tuple(places)
    ordered = dict(sorted((harps or {}).items()))
    return Finding(kind=kind, task=task, count=len(every) if count is None else count, harps=ordered, places=every)


def _find_rows(kind: FindingKind, task: Task, parts: _Parts, masks: Mapping[Part, NDArray[np.bool_]]) -> Finding:
    harps = Counter(harp for part, mask in masks.items() for harp in parts[part].harp[mask].tolist())
    places = [
        f"{parts[part].path}:{parts[part].line[row]}: {_name(key)}"
        for part, mask in masks.items()
        for row, key in zip(np.flatnonzero(mask), _keys(parts[part], mask), strict=True)
    ]
    return _find(kind, task, harps=harps, places=places)


def _find_keys(kind: FindingKind, keys: list[_Key], places: Iterable[str]) -> Finding:
    return _find(kind, None, harps=Counter(harp for harp, _ in keys), places=places)


def _by_harp(rows: ListRows) -> Iterator[tuple[NDArray[np.int64], NDArray[np.datetime64]]]:
    """Yield the positions and times of the rows of each HARP, in the order of the list."""
    order = np.argsort(rows.harp, kind="stable")
    for which in np.split(order, np.flatnonzero(np.diff(rows.harp[order])) + 1):
        yield which, rows.t_rec_tai[which]


def _is_back(rows: ListRows) -> NDArray[np.bool_]:
    """Return for each row whether it is earlier than the previous one of its HARP."""
    back = np.zeros(len(rows.harp), np.bool_)
    for which, times in _by_harp(rows):
        back[which[1:]] = times[1:] < times[:-1]
    return back


def _is_off(rows: ListRows) -> NDArray[np.bool_]:
    seconds = rows.t_rec_tai.astype(np.int64) % 86_400
    off: NDArray[np.bool_] = seconds % (_CADENCE_MINUTES * 60) != 0
    return off


def _keys(rows: ListRows, mask: NDArray[np.bool_] | None = None) -> Iterator[_Key]:
    which = slice(None) if mask is None else mask
    return zip(rows.harp[which].tolist(), rows.t_rec_tai[which].astype(np.int64).tolist(), strict=True)


def _rows_by_key(parts: _Parts) -> Iterator[tuple[_Key, tuple[Part, int, str]]]:
    for part, rows in parts.items():
        for key, label, line in zip(_keys(rows), rows.label.tolist(), rows.line.tolist(), strict=True):
            yield key, (part, label, f"{rows.path}:{line}")


def _name(key: _Key) -> str:
    return FrameId(harp=key[0], t_rec_tai=np.datetime64(key[1], "s").item()).name
