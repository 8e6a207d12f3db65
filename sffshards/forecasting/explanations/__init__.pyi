from .attribution_checks import (
    AttributionChecks,
    Deletion,
    check_attributions,
    correlate_ranks,
    delete_cells,
    shuffle_weights,
)
from .attributions import Explained, IntegratedGradients, frame_masks, integrate_gradients, patch_masks
from .explanation_files import format_arrays, format_record
from .sequence_explanations import Explanation, ExplanationOptions, MemberExplanation, explain_sequences

__all__ = [
    "AttributionChecks",
    "Deletion",
    "Explained",
    "Explanation",
    "ExplanationOptions",
    "IntegratedGradients",
    "MemberExplanation",
    "check_attributions",
    "correlate_ranks",
    "delete_cells",
    "explain_sequences",
    "format_arrays",
    "format_record",
    "frame_masks",
    "integrate_gradients",
    "patch_masks",
    "shuffle_weights",
]
