"""The checks of an audit, each from rows to findings.

Shapes: n rows of a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M24, M48, PUBLISHED_TASKS, Task
from sffshards.flares import HarpFlares
from sffshards.labels.audit_records import Finding, FindingKind, ListRows, PartAudit
from sffshards.labels.flare_list_comparison import Disagreement

__all__ = [
    "CADENCE_MINUTES",
    "check_catalogue",
    "check_horizons",
    "check_images",
    "check_parts",
    "check_rows",
    "measure_part",
]

CADENCE_MINUTES = 96
"""From one frame to the next: fifteen a day, from 00:00 TAI."""

Parts = Mapping[Part, ListRows]
_Place = tuple[int, int]


def measure_part(rows: ListRows, found: Disagreement | None) -> PartAudit:
    """Give the figures of a list."""
    steps = _steps_minutes(rows)
    gaps = steps[steps > CADENCE_MINUTES]
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


def check_rows(task: Task, parts: Parts) -> Iterator[Finding]:
    """Look at each list's rows: none, malformed, duplicate, out of order, off the grid, all of one class."""
    every = list(parts.values())
    empty = [str(rows.path) for rows in every if not len(rows.label)]
    yield _find(FindingKind.EMPTY, task, len(empty), places=empty)
    malformed = [text for rows in every for text in rows.malformed]
    yield _find(FindingKind.MALFORMED, task, len(malformed), places=malformed)
    duplicates = [text for rows in every for text in rows.duplicates]
    yield _find(FindingKind.DUPLICATE, task, len(duplicates), places=duplicates)
    yield _find_rows(FindingKind.OUT_OF_ORDER, task, parts, {part: _is_back(rows) for part, rows in parts.items()})
    yield _find_rows(FindingKind.OFF_GRID, task, parts, {part: _is_off(rows) for part, rows in parts.items()})
    one = [f"{part}: {_say_class(rows)}" for part, rows in parts.items() if len(np.unique(rows.label)) == 1]
    yield _find(FindingKind.ONE_CLASS, task, len(one), places=one)


def check_parts(task: Task, parts: Parts) -> Iterator[Finding]:
    """Look at what parts share: frames, HARPs, and the time of Test."""
    homes: dict[_Place, Part] = {}
    shared, places = Counter[int](), []
    for part, rows in parts.items():
        for key, line in zip(_keys(rows), rows.line.tolist(), strict=True):
            if homes.setdefault(key, part) is not part:
                shared[key[0]] += 1
                places.append(f"{rows.path}:{line}: {_name(key)}, also in {homes[key]}")
    yield _find(FindingKind.IN_TWO_PARTS, task, len(places), harps=shared, places=places)
    counts = {part: Counter(rows.harp.tolist()) for part, rows in parts.items()}
    straddling = {}
    for harp in sorted(set().union(*counts.values())):
        at = {part: of[harp] for part, of in counts.items() if harp in of}
        if len(at) > 1:
            straddling[harp] = at
    yield _find(
        FindingKind.STRADDLING,
        task,
        len(straddling),
        harps={harp: sum(at.values()) for harp, at in straddling.items()},
        places=[f"HARP {harp}: {_say_counts(at)}" for harp, at in straddling.items()],
    )
    yield _check_overlap(task, parts)


def check_horizons(read: Mapping[Task, Parts]) -> Iterator[Finding]:
    """Look at both horizons together: their frames and parts, and rows positive at the shorter only."""
    if set(read) != set(PUBLISHED_TASKS):
        return
    short, long = (dict(_places(read[task])) for task in (M24, M48))
    contradictions = [key for key, (_, label, _) in short.items() if key in long and label > long[key][1]]
    yield _find_keys(
        FindingKind.CONTRADICTION, contradictions, [f"{short[key][2]}: {_name(key)}" for key in contradictions]
    )
    single = [key for one, other in ((short, long), (long, short)) for key in one if key not in other]
    where = {**long, **short}
    yield _find_keys(FindingKind.ONE_HORIZON, single, [f"{where[key][2]}: {_name(key)}" for key in single])
    moved = [key for key, (part, _, _) in short.items() if key in long and part is not long[key][0]]
    yield _find_keys(
        FindingKind.OTHER_PART, moved, [f"{_name(key)}: {short[key][0]} at 24h, {long[key][0]} at 48h" for key in moved]
    )


def check_images(read: Mapping[Task, Parts], images: Path) -> Iterator[Finding]:
    """Look for the image of every frame in a folder, by its name alone."""
    with storage_errors(images, expected="a folder of images"):
        present = {path.name for path in images.iterdir()}
    keys = dict.fromkeys(key for parts in read.values() for rows in parts.values() for key in _keys(rows))
    missing = [key for key in keys if _name(key) + IMAGE_SUFFIX not in present]
    yield _find_keys(FindingKind.NO_IMAGE, missing, [f"{images / (_name(key) + IMAGE_SUFFIX)}" for key in missing])


def check_catalogue(
    task: Task, parts: Parts, found: Mapping[Part, Disagreement], flares: HarpFlares
) -> Iterator[Finding]:
    """Look at the rows that disagree with a catalogue, and at what it cannot know."""
    yield _find_rows(FindingKind.MISSED, task, parts, {part: of.missed for part, of in found.items()})
    yield _find_rows(FindingKind.EXTRA, task, parts, {part: of.extra for part, of in found.items()})
    yield _find_rows(FindingKind.UNCOVERED, task, parts, {part: of.uncovered for part, of in found.items()})
    harps = Counter(harp for rows in parts.values() for harp in rows.harp.tolist())
    unknown = {harp: count for harp, count in sorted(harps.items()) if not flares.knows(harp)}
    places = [f"HARP {harp}: {count:,} rows" for harp, count in unknown.items()]
    yield _find(FindingKind.UNKNOWN_HARP, task, len(unknown), harps=unknown, places=places)


def _check_overlap(task: Task, parts: Parts) -> Finding:
    test = parts[Part.TEST]
    inside = np.zeros(len(test.harp), np.bool_)
    places = []
    for part, rows in parts.items():
        if part is Part.TEST or not len(rows.harp):
            continue
        first, last = rows.t_rec_tai.min(), rows.t_rec_tai.max()
        within = (test.t_rec_tai >= first) & (test.t_rec_tai <= last)
        if within.any():
            places.append(f"{part}, {first} to {last}: {within.sum():,} rows of Test")
        inside |= within
    return _find(FindingKind.OVERLAP, task, int(inside.sum()), places=places)


def _find(
    kind: FindingKind,
    task: Task | None,
    count: int,
    *,
    harps: Mapping[int, int] | None = None,
    places: Iterable[str] = (),
) -> Finding:
    ordered = dict(sorted((harps or {}).items()))
    return Finding(kind=kind, task=task, count=count, harps=ordered, places=tuple(places))


def _find_rows(kind: FindingKind, task: Task, parts: Parts, masks: Mapping[Part, NDArray[np.bool_]]) -> Finding:
    harps = Counter(harp for part, mask in masks.items() for harp in parts[part].harp[mask].tolist())
    places = [
        f"{parts[part].path}:{parts[part].line[row]}: {_name(key)}"
        for part, mask in masks.items()
        for row, key in zip(np.flatnonzero(mask), _keys(parts[part], mask), strict=True)
    ]
    return _find(kind, task, sum(harps.values()), harps=harps, places=places)


def _find_keys(kind: FindingKind, keys: list[_Place], places: Iterable[str]) -> Finding:
    return _find(kind, None, len(keys), harps=Counter(harp for harp, _ in keys), places=places)


def _is_back(rows: ListRows) -> NDArray[np.bool_]:
    """Say of each row whether it is earlier than the one of its HARP before it."""
    back = np.zeros(len(rows.harp), np.bool_)
    order = np.argsort(rows.harp, kind="stable")
    same = rows.harp[order][1:] == rows.harp[order][:-1]
    back[order[1:]] = same & (np.diff(rows.t_rec_tai[order]) < np.timedelta64(0, "s"))
    return back


def _is_off(rows: ListRows) -> NDArray[np.bool_]:
    seconds = rows.t_rec_tai.astype(np.int64) % 86_400
    off: NDArray[np.bool_] = seconds % (CADENCE_MINUTES * 60) != 0
    return off


def _steps_minutes(rows: ListRows) -> NDArray[np.int64]:
    order = np.argsort(rows.harp, kind="stable")
    same = rows.harp[order][1:] == rows.harp[order][:-1]
    steps: NDArray[np.int64] = np.diff(rows.t_rec_tai[order])[same].astype(np.int64) // 60
    return steps


def _keys(rows: ListRows, mask: NDArray[np.bool_] | None = None) -> Iterator[_Place]:
    which = slice(None) if mask is None else mask
    return zip(rows.harp[which].tolist(), rows.t_rec_tai[which].astype(np.int64).tolist(), strict=True)


def _places(parts: Parts) -> Iterator[tuple[_Place, tuple[Part, int, str]]]:
    for part, rows in parts.items():
        for key, label, line in zip(_keys(rows), rows.label.tolist(), rows.line.tolist(), strict=True):
            yield key, (part, label, f"{rows.path}:{line}")


def _name(key: _Place) -> str:
    return FrameId(harp=key[0], t_rec_tai=np.datetime64(key[1], "s").item()).name


def _say_class(rows: ListRows) -> str:
    return "every row is positive" if rows.label[0] else "no row is positive"


def _say_counts(counts: Mapping[Part, int]) -> str:
    return ", ".join(f"{part} {count:,} rows" for part, count in counts.items())
