"""Label lists looked over, made anew, compared and parted.

`audit_labels` finds what is wrong in lists, by themselves and against a catalogue of flares; `label_frames` makes
labels from such a catalogue; `diff_labels` compares lists; `split_harps` makes parts that share no HARP.
"""

from sffshards.audit.audit import audit_labels, describe_audit, summarize_audit
from sffshards.audit.diff import diff_labels
from sffshards.audit.load import read_labels
from sffshards.audit.read import read_lists
from sffshards.audit.rebuild import find_frames, label_frames
from sffshards.audit.records import Finding, FindingKind, LabelAudit
from sffshards.audit.split import split_harps

__all__ = [
    "Finding",
    "FindingKind",
    "LabelAudit",
    "audit_labels",
    "describe_audit",
    "diff_labels",
    "find_frames",
    "label_frames",
    "read_labels",
    "read_lists",
    "split_harps",
    "summarize_audit",
]
