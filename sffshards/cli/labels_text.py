"""What `sffshards labels` prints: audits and comparisons as text, and comparisons as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sffshards import labels
from sffshards.base.errors import format_count
from sffshards.cli.terminal_output import format_table
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task

__all__ = ["describe_diff", "format_audit", "format_diff"]

_MAX_HARPS = 8
_MAX_PLACES = 3

_DIFFERENCES = {
    "only_first": "only in the first",
    "only_second": "only in the second",
    "lost": "1 in the first, 0 in the second",
    "gained": "0 in the first, 1 in the second",
    "moved": "in another part",
}


def format_audit(audit: labels.LabelAudit, notes: Iterable[str]) -> str:
    """Return an audit as text: a table per task, the faults, other findings, and what was read."""
    blocks = [f"{task}\n{_format_parts(parts)}" for task, parts in audit.parts.items()]
    merged = labels.merge_findings(audit.findings)
    for title, wrong in (("Faults", True), ("Other findings", False)):
        lines = [_format_finding(*entry) for entry in merged if entry[0].kind.is_wrong is wrong]
        if lines or wrong:
            blocks.append("\n".join([title, *(lines or ["  none found"])]))
    where = "not checked: no folder of images" if audit.images is None else f"checked in {audit.images}"
    blocks.append("\n".join([*notes, f"images: {where}"]))
    return "\n\n".join(blocks)


def format_diff(name: str, diff: labels.LabelDiff) -> str:
    """Return a comparison as text: the number of frames that differ, by HARP."""
    lines = [f"{name}: {format_count(diff.num_both, 'frame')} in both"]
    for field, text in _DIFFERENCES.items():
        frames = getattr(diff, field)
        lines.append(f"  {text}: {len(frames):,}{_format_harps(Counter(frame.harp for frame in frames))}")
    return "\n".join(lines)


def describe_diff(diff: labels.LabelDiff) -> dict[str, Any]:
    """Return a comparison as plain values for JSON, with the name of every frame that differs."""
    differences = {field: [frame.name for frame in getattr(diff, field)] for field in _DIFFERENCES}
    return {"is_same": diff.is_same, "num_both": diff.num_both, **differences}


def _format_parts(parts: Mapping[Part, labels.PartAudit]) -> str:
    header = ["part", "rows", "positive", "rate", "HARPs", "padded", "gaps", "longest", "first", "last"]
    compared = any(part.num_missed is not None for part in parts.values())
    rows = []
    for name, part in parts.items():
        rate = f"{part.num_positive / part.num_rows:.1%}" if part.num_rows else "-"
        longest = f"{part.longest_gap_minutes / 60:.1f} h" if part.num_gaps else "-"
        span = [f"{time:%Y-%m-%d}" if time else "-" for time in (part.first_tai, part.last_tai)]
        counts = (part.num_harps, part.num_padded, part.num_gaps)
        row = [str(name), f"{part.num_rows:,}", f"{part.num_positive:,}", rate, *(f"{n:,}" for n in counts), longest]
        rows.append([*row, *span, *([str(part.num_missed), str(part.num_extra)] if compared else [])])
    return format_table([*header, *(["missed", "extra"] if compared else [])], rows)


def _format_finding(finding: labels.Finding, tasks: tuple[Task, ...]) -> str:
    where = f"{', '.join(map(str, tasks))}: " if tasks else ""
    # Where HARPs are what is counted, the places name them.
    harps = {} if finding.kind in (labels.FindingKind.STRADDLING, labels.FindingKind.UNKNOWN_HARP) else finding.harps
    lines = [f"  {where}{finding.kind.format_count(finding.count)}{_format_harps(harps)}"]
    lines += [f"    {place}" for place in finding.places[:_MAX_PLACES]]
    if len(finding.places) > _MAX_PLACES:
        lines.append(f"    ... and {len(finding.places) - _MAX_PLACES:,} more, all in --json")
    return "\n".join(lines)


def _format_harps(counts: Mapping[int, int]) -> str:
    """Return the HARPs with the highest counts in words."""
    if not counts:
        return ""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{harp} ({count:,})" for harp, count in most[:_MAX_HARPS])
    more = f" and {len(most) - _MAX_HARPS:,} more" if len(most) > _MAX_HARPS else ""
    return f", of HARP{'s' if len(most) > 1 else ''} {text}{more}"
