"""Label lists: read, written, checked against flare lists, rebuilt, compared and split; and where a data set lies."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.labels.audit_records import Finding, FindingKind, LabelAudit, ListRows, PartAudit
    from sffshards.labels.data_layout import (
        IMAGE_FOLDER,
        PART_SELECTIONS,
        PUBLISHED_ROOT,
        DataLayout,
        find_data,
        find_image_folder,
        find_label_lists,
    )
    from sffshards.labels.flare_list_comparison import compare_with_flares
    from sffshards.labels.harp_split import PUBLISHED_SIZES, split_harps
    from sffshards.labels.label_audit import audit_labels, describe_audit, merge_findings, summarize_audit
    from sffshards.labels.label_diff import LabelDiff, diff_labels
    from sffshards.labels.label_lists import format_label_list, read_label_list, read_parts
    from sffshards.labels.label_rebuild import count_unfounded, find_frames, label_frames, write_rebuilt
    from sffshards.labels.labelled_frames import Labels, list_path, read_labels
    from sffshards.labels.lenient_lists import read_lists
    from sffshards.labels.sequence_lists import (
        SEQUENCE_FOLDER,
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
    "DataLayout",
    "Finding",
    "FindingKind",
    "LabelAudit",
    "LabelDiff",
    "Labels",
    "ListRows",
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

__getattr__ = import_on_demand(
    __name__,
    {
        "audit_records": ("Finding", "FindingKind", "LabelAudit", "ListRows", "PartAudit"),
        "data_layout": (
            "DataLayout",
            "IMAGE_FOLDER",
            "PART_SELECTIONS",
            "PUBLISHED_ROOT",
            "find_data",
            "find_image_folder",
            "find_label_lists",
        ),
        "flare_list_comparison": ("compare_with_flares",),
        "harp_split": ("PUBLISHED_SIZES", "split_harps"),
        "label_audit": ("audit_labels", "describe_audit", "merge_findings", "summarize_audit"),
        "label_diff": ("LabelDiff", "diff_labels"),
        "label_lists": ("format_label_list", "read_label_list", "read_parts"),
        "label_rebuild": ("count_unfounded", "find_frames", "label_frames", "write_rebuilt"),
        "labelled_frames": ("Labels", "list_path", "read_labels"),
        "lenient_lists": ("read_lists",),
        "sequence_lists": (
            "SEQUENCE_FOLDER",
            "check_outputs",
            "sequence_list_name",
            "write_sequence_files",
            "write_sequence_list",
        ),
    },
)
