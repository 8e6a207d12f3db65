"""An audit of label lists: every check, in one record, one line, or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Horizon
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
    read: Mapping[Horizon, Mapping[Part, ListRows]], *, flares: HarpFlares | None = None, images: Path | None = None
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
            horizon: {part: measure_part(rows, compared.get(horizon, {}).get(part)) for part, rows in parts.items()}
            for horizon, parts in read.items()
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
        f"{finding.count:,} {finding.kind}" + (f" ({', '.join(horizons)})" if horizons else "")
        for finding, horizons in merge_findings(audit.findings)
        if finding.kind.is_wrong
    ]
    if not faults:
        return "label lists: nothing wrong found"
    return f"label lists: {', '.join(faults)}; see `sffshards labels check`"


def merge_findings(findings: Iterable[Finding]) -> list[tuple[Finding, tuple[Horizon, ...]]]:
    """Put together what was found alike at both horizons: the finding of the first, and the horizons."""
    merged: dict[tuple[object, ...], tuple[Finding, tuple[Horizon, ...]]] = {}
    for finding in findings:
        key = finding.kind, finding.count, *finding.harps.items()
        first, horizons = merged.get(key, (finding, ()))
        merged[key] = first, horizons if finding.horizon is None else (*horizons, finding.horizon)
    return list(merged.values())


def describe_audit(audit: LabelAudit) -> dict[str, Any]:
    """Give an audit as JSON holds it."""
    return {
        "is_wrong": audit.is_wrong,
        "images": None if audit.images is None else str(audit.images),
        "parts": {
            str(horizon): {str(part): _plain(asdict(figures)) for part, figures in parts.items()}
            for horizon, parts in audit.parts.items()
        },
        "findings": [
            {
                "kind": finding.kind.name.lower(),
                "text": str(finding.kind),
                "is_wrong": finding.kind.is_wrong,
                "horizon": None if finding.horizon is None else str(finding.horizon),
                "count": finding.count,
                "harps": {str(harp): count for harp, count in finding.harps.items()},
                "places": list(finding.places),
            }
            for finding in audit.findings
        ],
    }


def _run_checks(
    read: Mapping[Horizon, Mapping[Part, ListRows]],
    *,
    compared: Mapping[Horizon, Mapping[Part, Disagreement]],
    flares: HarpFlares | None,
    images: Path | None,
) -> Iterator[Finding]:
    for horizon, parts in read.items():
        yield from check_rows(horizon, parts)
        yield from check_parts(horizon, parts)
    yield from check_horizons(read)
    if images is not None:
        yield from check_images(read, images)
    if flares is not None:
        for horizon, parts in read.items():
            yield from check_catalogue(horizon, parts, compared[horizon], flares)


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in figures.items()}
