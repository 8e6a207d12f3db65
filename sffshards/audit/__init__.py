"""Label lists looked over, made anew, compared and parted.

`audit_labels` finds what is wrong in lists, by themselves and against a catalogue of flares; `label_frames` makes
labels from such a catalogue; `diff_labels` compares lists; `split_harps` makes parts that share no HARP.
"""

from sffshards.audit.audit import audit_labels, describe_audit, summarize_audit
from sffshards.audit.compare import compare_with_flares
from sffshards.audit.diff import LabelDiff, diff_labels
from sffshards.audit.load import Labels, list_path, read_labels
from sffshards.audit.read import read_lists
from sffshards.audit.rebuild import count_unfounded, find_frames, label_frames, write_lists
from sffshards.audit.records import Finding, FindingKind, LabelAudit
from sffshards.audit.split import PUBLISHED_SIZES, split_harps

__all__ = [
    "PUBLISHED_SIZES",
    "Finding",
    "FindingKind",
    "LabelAudit",
    "LabelDiff",
    "Labels",
    "audit_labels",
    "compare_with_flares",
    "count_unfounded",
    "describe_audit",
    "diff_labels",
    "find_frames",
    "label_frames",
    "list_path",
    "read_labels",
    "read_lists",
    "split_harps",
    "summarize_audit",
    "write_lists",
]
