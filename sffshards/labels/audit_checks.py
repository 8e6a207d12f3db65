"""An audit of label lists: its checks, each from rows to findings, and the comparison of labels with flares."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import format_count
from sffshards.domain.frame_codes import first_places, harps_of, iterate_names, parse_code
from sffshards.domain.frame_sequences import CADENCE_MINUTES, NUM_FRAMES
from sffshards.domain.frames import IMAGE_SUFFIX
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.labels.audit_findings import (
    Finding,
    FindingKind,
    LabelAudit,
    PartAudit,
    build_finding,
    build_row_finding,
    count_harps,
)
from sffshards.labels.audit_of_parts import Parts, check_parts, check_regions, check_tasks
from sffshards.labels.label_lists import ListRows, Lists
from sffshards.labels.label_rebuild import find_covered, find_flared

_CADENCE_S = 60 * CADENCE_MINUTES
"""Seconds from one frame to the next: fifteen a day, from 00:00 TAI."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """The rows of a list that disagree with a flare catalogue."""

    missed: LabelledFrames
    """Rows labelled 0 although the catalogue has a flare."""
    extra: LabelledFrames
    """Rows labelled 1 although the catalogue has no flare."""
    uncovered: LabelledFrames
    """Rows whose forecast window is not entirely within the time of any flare list."""
    disputed: LabelledFrames
    """Rows for which one flare list has a flare and another that covers them has none."""


def compare_with_flares(
    read: Lists, flares: HarpFlares, *, others: Sequence[HarpFlares] = ()
) -> dict[Task, dict[Part, Disagreement]]:
    """Compare every label with whether a flare of its HARP came in ``(t, t + horizon]``.

    With other flare lists, a label disagrees if it does with every list that covers its row; rows on which the lists
    disagree with each other are disputed instead.
    """
    lists = (flares, *others)
    return {task: {part: _compare(one, task, lists) for part, one in parts.items()} for task, parts in read.items()}


def audit_labels(
    read: Lists,
    *,
    flares: HarpFlares | None = None,
    other_flares: Sequence[HarpFlares] = (),
    images: Path | None = None,
) -> LabelAudit:
    """Check label lists for faults.

    Parameters
    ----------
    read
        Rows of the lists, from `sffshards.labels.read_lists`.
    flares
        Flares to compare labels with, from `sffshards.flares.assign_flares`; None: labels are not compared.
    other_flares
        Flares of other lists, which must agree that a label is wrong.
    images
        Folder to search for images; None: images are not searched.

    Raises
    ------
    StorageError
        If the folder of images cannot be read.
    """
    compared = {} if flares is None else compare_with_flares(read, flares, others=other_flares)
    found = [
        finding for task, parts in read.items() for finding in (*_check_rows(task, parts), *check_parts(task, parts))
    ]
    found += check_tasks(read)
    if images is not None:
        found.append(_check_images(read, images))
    if flares is not None:
        found += [check_regions(task, parts, flares.harp_map) for task, parts in read.items()]
        found += [one for task, parts in read.items() for one in _check_catalogue(task, parts, compared[task], flares)]
    return LabelAudit(
        parts={
            task: {part: _measure_part(one, compared.get(task, {}).get(part)) for part, one in parts.items()}
            for task, parts in read.items()
        },
        findings=tuple(sorted((one for one in found if one.count), key=lambda finding: not finding.kind.is_wrong)),
        images=images,
    )


def _compare(one: ListRows, task: Task, lists: Sequence[HarpFlares]) -> Disagreement:
    codes = one.rows.codes
    came = np.array([find_flared(codes, flares, task=task) for flares in lists])
    covered = np.array([find_covered(codes, flares, task=task) for flares in lists])
    votes = covered | ~covered.any(axis=0)  # where no list covers a row, all are asked
    every, some = (came | ~votes).all(axis=0), (came & votes).any(axis=0)
    label = one.rows.labels == 1
    return Disagreement(
        missed=one.rows.take(every & ~label),
        extra=one.rows.take(~some & label),
        uncovered=one.rows.take(~covered.any(axis=0)),
        disputed=one.rows.take(some & ~every),
    )


def _measure_part(one: ListRows, found: Disagreement | None) -> PartAudit:
    """Return the statistics of a list."""
    rows = one.rows
    steps, _ = _steps(rows)
    gaps = steps[steps > _CADENCE_S]
    _, per_harp = np.unique(rows.harps, return_counts=True)
    return PartAudit(
        num_rows=len(rows),
        num_positive=int(rows.labels.sum()),
        num_harps=len(per_harp),
        first_tai=rows.times.min().item() if len(rows) else None,
        last_tai=rows.times.max().item() if len(rows) else None,
        num_padded=int(np.minimum(per_harp, NUM_FRAMES - 1).sum()),
        num_gaps=len(gaps),
        longest_gap_minutes=int(gaps.max(initial=0)) // 60,
        num_missed=None if found is None else len(found.missed),
        num_extra=None if found is None else len(found.extra),
    )


def _check_rows(task: Task, parts: Parts) -> Iterator[Finding]:
    """Check each list by itself: empty, malformed, duplicate, out of order, off the grid, of one class."""
    every = list(parts.values())
    yield build_finding(FindingKind.EMPTY, task, [str(one.path) for one in every if not len(one.rows)])
    yield build_finding(FindingKind.MALFORMED, task, [f"{e.where}: {e.found}" for one in every for e in one.malformed])
    yield build_finding(FindingKind.DUPLICATE, task, [f"{e.where}: {e.found}" for one in every for e in one.duplicates])
    yield build_row_finding(FindingKind.OUT_OF_ORDER, task, [(one.path, _find_back(one.rows)) for one in every])
    yield build_row_finding(
        FindingKind.OFF_GRID, task, [(one.path, one.rows.take(_is_off_grid(one.rows))) for one in every]
    )
    which = {1: "every row is positive", 0: "no row is positive"}
    classes = {part: set(np.unique(one.rows.labels).tolist()) for part, one in parts.items()}
    single = [f"{part}: {which[label]}" for part, labels in classes.items() if len(labels) == 1 for label in labels]
    yield build_finding(FindingKind.ONE_CLASS, task, single)


def _find_back(rows: LabelledFrames) -> LabelledFrames:
    """Return the rows that are earlier than the row of the same HARP before them."""
    steps, after = _steps(rows)
    return rows.take(np.sort(after[steps < 0]))


def _is_off_grid(rows: LabelledFrames) -> NDArray[np.bool_]:
    """Return whether each row is off the grid of the published frames, which counts from the year 1."""
    start = np.datetime64("0001-01-01", "s")
    is_off: NDArray[np.bool_] = (rows.times - start).astype(np.int64) % _CADENCE_S != 0
    return is_off


def _check_images(read: Lists, images: Path) -> Finding:
    """Check that a folder has the image of every frame, by name."""
    with storage_errors(images, expected="a folder of images"), os.scandir(images) as entries:
        names = (entry.name.removesuffix(IMAGE_SUFFIX) for entry in entries if entry.name.endswith(IMAGE_SUFFIX))
        codes = (parse_code(name) for name in names)
        present = np.fromiter((code for code in codes if code is not None), np.int64)
    wanted = np.concatenate([one.rows.codes for parts in read.values() for one in parts.values()])
    is_missing = (first_places(wanted) == np.arange(len(wanted))) & ~np.isin(wanted, present)
    missing = wanted[is_missing]
    places = [str(images / f"{name}{IMAGE_SUFFIX}") for name in iterate_names(missing)]
    return build_finding(FindingKind.NO_IMAGE, None, places, harps_of(missing).tolist())


def _check_catalogue(
    task: Task, parts: Parts, found: Mapping[Part, Disagreement], flares: HarpFlares
) -> Iterator[Finding]:
    """Check for rows that disagree with a catalogue, and for those that it cannot know."""
    pairs = [(one, found[part]) for part, one in parts.items()]
    yield build_row_finding(FindingKind.MISSED, task, [(one.path, of.missed) for one, of in pairs])
    yield build_row_finding(FindingKind.EXTRA, task, [(one.path, of.extra) for one, of in pairs])
    yield build_row_finding(FindingKind.DISPUTED, task, [(one.path, of.disputed) for one, of in pairs])
    yield build_row_finding(FindingKind.UNCOVERED, task, [(one.path, of.uncovered) for one, of in pairs])
    harps = count_harps(np.concatenate([one.rows.harps for one in parts.values()]))
    unknown = {harp: count for harp, count in harps.items() if not flares.knows(harp)}
    places = [f"HARP {harp}: {format_count(count, 'row')}" for harp, count in unknown.items()]
    yield build_finding(FindingKind.UNKNOWN_HARP, task, places, unknown)


def _steps(rows: LabelledFrames) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the seconds from each row of a HARP to its next one in the list, and the positions of the latter."""
    order = np.argsort(rows.harps, kind="stable")
    harps, times = rows.harps[order], rows.times[order].astype(np.int64)
    same = harps[1:] == harps[:-1]
    return np.diff(times)[same], order[1:][same]
