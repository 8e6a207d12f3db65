from .audit_checks import audit_labels, compare_with_flares
from .audit_findings import Finding, FindingKind, LabelAudit, PartAudit, describe_audit, merge_findings, summarize_audit
from .data_layout import (
    IMAGE_FOLDER,
    PART_SELECTIONS,
    PUBLISHED_ROOT,
    SYNTHETIC_NOTE,
    DataLayout,
    find_data,
    find_image_folder,
    find_label_lists,
    list_path,
)
from .harp_split import PUBLISHED_SIZES, split_harps
from .label_comparison import LabelDiff, Labels, diff_labels, read_labels
from .label_lists import ListRows, Lists, format_label_list, read_label_list, read_lists, read_parts
from .label_rebuild import count_unfounded, find_frames, label_frames, write_rebuilt
from .sequence_lists import (
    SEQUENCE_FOLDER,
    SEQUENCE_LIST_PREFIX,
    check_outputs,
    sequence_list_name,
    write_sequence_files,
    write_sequence_list,
)

__all__ = [
    "IMAGE_FOLDER",
    "PART_SELECTIONS",
    "PUBLISHED_ROOT",
    "PUBLISHED_SIZES",
    "SEQUENCE_FOLDER",
    "SEQUENCE_LIST_PREFIX",
    "SYNTHETIC_NOTE",
    "DataLayout",
    "Finding",
    "FindingKind",
    "LabelAudit",
    "LabelDiff",
    "Labels",
    "ListRows",
    "Lists",
    "PartAudit",
    "audit_labels",
    "check_outputs",
    "compare_with_flares",
    "count_unfounded",
    "describe_audit",
    "diff_labels",
    "find_data",
    "find_frames",
    "find_image_folder",
    "find_label_lists",
    "format_label_list",
    "label_frames",
    "list_path",
    "merge_findings",
    "read_label_list",
    "read_labels",
    "read_lists",
    "read_parts",
    "sequence_list_name",
    "split_harps",
    "summarize_audit",
    "write_rebuilt",
    "write_sequence_files",
    "write_sequence_list",
]
