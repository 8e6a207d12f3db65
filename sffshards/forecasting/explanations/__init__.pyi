from .attribution_checks import (
    AttributionChecks,
    Deletion,
    check_attributions,
    correlate_ranks,
    delete_cells,
    shuffle_weights,
)
from .attributions import Explained, IntegratedGradients, frame_masks, integrate_gradients, patch_masks
from .explanation_files import is_explained, name_picture, write_explanation
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
    "frame_masks",
    "integrate_gradients",
    "is_explained",
    "name_picture",
    "patch_masks",
    "shuffle_weights",
    "write_explanation",
]
