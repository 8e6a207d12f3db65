"""What `sffshards labels` prints for people, and of a comparison for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sffshards.cli.terminal_output import format_table

if TYPE_CHECKING:
    from sffshards.domain.frames import FrameId
    from sffshards.domain.sample_sets import Part
    from sffshards.domain.task import Task
    from sffshards.labels import Finding, LabelAudit, LabelDiff, PartAudit

__all__ = ["describe_diff", "format_audit", "format_diff"]

_MAX_HARPS = 8
_MAX_PLACES = 3


def format_audit(audit: LabelAudit, notes: Iterable[str]) -> str:
    """Lay out an audit: a table a horizon, what is wrong, what one should know, where it is from."""
    from sffshards.labels import merge_findings

    blocks = [f"{horizon}\n{_format_parts(parts)}" for horizon, parts in audit.parts.items()]
    merged = merge_findings(audit.findings)
    for title, wrong in (("Wrong", True), ("To know", False)):
        lines = [_format_finding(*entry) for entry in merged if entry[0].kind.is_wrong is wrong]
        if lines or wrong:
            blocks.append("\n".join([title, *(lines or ["  nothing found"])]))
    where = "not looked for: no folder of images" if audit.images is None else f"looked for in {audit.images}"
    blocks.append("\n".join([*notes, f"images: {where}"]))
    return "\n\n".join(blocks)


def format_diff(name: str, diff: LabelDiff) -> str:
    """Lay out a comparison: what differs, by HARP."""
    lines = [f"{name}: {diff.num_both:,} frames in both"]
    for text, frames in (
        ("only in the first", diff.only_first),
        ("only in the second", diff.only_second),
        ("1 in the first, 0 in the second", diff.lost),
        ("0 in the first, 1 in the second", diff.gained),
        ("in another part", diff.moved),
    ):
        lines.append(f"  {text}: {len(frames):,}{_say_harps(Counter(frame.harp for frame in frames))}")
    return "\n".join(lines)


def describe_diff(diff: LabelDiff) -> dict[str, Any]:
    """Give a comparison as JSON holds it, with the name of every frame that differs."""

    def names(frames: Iterable[FrameId]) -> list[str]:
        return [frame.name for frame in frames]

    return {
        "is_same": diff.is_same,
        "num_both": diff.num_both,
        "only_first": names(diff.only_first),
        "only_second": names(diff.only_second),
        "lost": names(diff.lost),
        "gained": names(diff.gained),
        "moved": names(diff.moved),
    }


def _format_parts(parts: Mapping[Part, PartAudit]) -> str:
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
    table = format_table([*header, *(["missed", "extra"] if compared else [])], rows)
    return "\n".join(f"  {line}" for line in table.splitlines())


def _format_finding(finding: Finding, horizons: tuple[Task, ...]) -> str:
    where = f"{', '.join(map(str, horizons))}: " if horizons else ""
    from sffshards.labels import FindingKind

    # Where HARPs are what is counted, the places name them.
    harps = {} if finding.kind in (FindingKind.STRADDLING, FindingKind.UNKNOWN_HARP) else finding.harps
    lines = [f"  {where}{finding.count:,} {finding.kind}{_say_harps(harps)}"]
    lines += [f"    {place}" for place in finding.places[:_MAX_PLACES]]
    if len(finding.places) > _MAX_PLACES:
        lines.append(f"    ... and {len(finding.places) - _MAX_PLACES:,} more, all in --json")
    return "\n".join(lines)


def _say_harps(counts: Mapping[int, int]) -> str:
    """Name the HARPs that have most of something."""
    if not counts:
        return ""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{harp} ({count:,})" for harp, count in most[:_MAX_HARPS])
    more = f" and {len(most) - _MAX_HARPS:,} more" if len(most) > _MAX_HARPS else ""
    return f", of HARP{'s' if len(most) > 1 else ''} {text}{more}"
