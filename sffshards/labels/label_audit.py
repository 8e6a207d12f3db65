"""An audit of label lists: every check, in one record, one line, or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.labels.audit_checks import (
    check_catalogue,
    check_horizons,
    check_images,
    check_parts,
    check_rows,
    measure_part,
)
from sffshards.labels.audit_records import Finding, LabelAudit, ListRows
from sffshards.labels.flare_list_comparison import Disagreement, compare_with_flares

__all__ = ["audit_labels", "describe_audit", "merge_findings", "summarize_audit"]


def audit_labels(
    read: Mapping[Task, Mapping[Part, ListRows]], *, flares: HarpFlares | None = None, images: Path | None = None
) -> LabelAudit:
    """Look for faults in label lists.

    Parameters
    ----------
    read
        From `sffshards.labels.lenient_lists.read_lists`.
    flares
        What flared, from `sffshards.flares.assign_flares`, to compare labels with; None: they are not compared.
    images
        The folder to look for images in; None: they are not looked for.

    Raises
    ------
    StorageError
        If the folder of images cannot be read.
    """
    compared = {} if flares is None else compare_with_flares(read, flares)
    every = [finding for finding in _run_checks(read, compared=compared, flares=flares, images=images) if finding.count]
    return LabelAudit(
        parts={
            task: {part: measure_part(rows, compared.get(task, {}).get(part)) for part, rows in parts.items()}
            for task, parts in read.items()
        },
        findings=tuple(sorted(every, key=lambda finding: not finding.kind.is_wrong)),
        images=images,
    )


def summarize_audit(audit: LabelAudit) -> str:
    """Say in one line whether anything is wrong, and what.

    Examples
    --------
    >>> summarize_audit(LabelAudit(parts={}, findings=(), images=None))
    'label lists: nothing wrong found'
    """
    faults = [
        f"{finding.count:,} {finding.kind}" + (f" ({', '.join(map(str, tasks))})" if tasks else "")
        for finding, tasks in merge_findings(audit.findings)
        if finding.kind.is_wrong
    ]
    if not faults:
        return "label lists: nothing wrong found"
    return f"label lists: {', '.join(faults)}; see `sffshards labels check`"


def merge_findings(findings: Iterable[Finding]) -> list[tuple[Finding, tuple[Task, ...]]]:
    """Put together what was found alike at both horizons: the finding of the first, and the horizons."""
    merged: dict[tuple[object, ...], tuple[Finding, tuple[Task, ...]]] = {}
    for finding in findings:
        key = finding.kind, finding.count, *finding.harps.items()
        first, tasks = merged.get(key, (finding, ()))
        merged[key] = first, tasks if finding.task is None else (*tasks, finding.task)
    return list(merged.values())


def describe_audit(audit: LabelAudit) -> dict[str, Any]:
    """Give an audit as JSON holds it."""
    return {
        "is_wrong": audit.is_wrong,
        "images": None if audit.images is None else str(audit.images),
        "parts": {
            task.name: {str(part): _plain(asdict(figures)) for part, figures in parts.items()}
            for task, parts in audit.parts.items()
        },
        "findings": [
            {
                "kind": finding.kind.name.lower(),
                "text": str(finding.kind),
                "is_wrong": finding.kind.is_wrong,
                "task": None if finding.task is None else finding.task.name,
                "count": finding.count,
                "harps": {str(harp): count for harp, count in finding.harps.items()},
                "places": list(finding.places),
            }
            for finding in audit.findings
        ],
    }


def _run_checks(
    read: Mapping[Task, Mapping[Part, ListRows]],
    *,
    compared: Mapping[Task, Mapping[Part, Disagreement]],
    flares: HarpFlares | None,
    images: Path | None,
) -> Iterator[Finding]:
    for task, parts in read.items():
        yield from check_rows(task, parts)
        yield from check_parts(task, parts)
    yield from check_horizons(read)
    if images is not None:
        yield from check_images(read, images)
    if flares is not None:
        for task, parts in read.items():
            yield from check_catalogue(task, parts, compared[task], flares)


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in figures.items()}
