"""The files of an explanation: its arrays as .npz, and its numbers as JSON."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from sffshards import __version__
from sffshards.base.json_records import format_json
from sffshards.forecasting.explanations.sequence_explanations import Explanation, MemberExplanation

_FORMAT_VERSION = 1


def format_arrays(explanation: Explanation) -> bytes:
    """Return the arrays of an explanation as the bytes of an .npz file, which needs no pickle.

    ``clip`` is uint8 of shape (16, 224, 224), ``t_rec_tai`` datetime64[s] of shape (16,), and ``members`` text of shape
    (M,). ``integrated_gradients`` is float32 of shape (M, 16, 224, 224), ``frame_occlusion`` float64 of shape (M, 16),
    and ``patch_occlusion`` float64 of shape (M, P, P).
    """
    of = explanation.members
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        clip=explanation.clip_THW,
        t_rec_tai=np.array(explanation.t_rec_tai, "datetime64[s]"),
        members=np.array([one.member.name for one in of]),
        integrated_gradients=np.stack([one.gradients.attribution_THW for one in of]),
        frame_occlusion=np.stack([one.frame_drop_T for one in of]),
        patch_occlusion=np.stack([one.patch_drop_PP for one in of]),
    )
    return buffer.getvalue()


def format_record(explanation: Explanation) -> bytes:
    """Return the numbers of an explanation as JSON; what is undefined is null."""
    shown, options = explanation.shown, explanation.options
    content = {
        "format_version": _FORMAT_VERSION,
        "program": f"sffshards {__version__}",
        "task": explanation.task.folder,
        "event": explanation.task.event,
        "sequence": shown.sequence,
        "harp": shown.harp,
        "t_rec_tai": [time.isoformat() for time in explanation.t_rec_tai],
        "num_distinct": shown.num_distinct,
        "longest_gap_minutes": shown.longest_gap_minutes,
        "probability": explanation.probability,
        "logit": explanation.logit,
        "baseline_logit": explanation.baseline_logit,
        "num_steps": options.num_steps,
        "patch_side_px": options.patch_side,
        "frame_integrated_gradients": explanation.frame_sums.tolist(),
        "frame_occlusion": explanation.frame_drops.tolist(),
        "patch_occlusion": explanation.patch_drops.tolist(),
        "members": [_describe(one) for one in explanation.members],
    }
    return format_json(content)


def _describe(one: MemberExplanation) -> dict[str, Any]:
    gradients, checks = one.gradients, one.checks
    described = {
        "name": one.member.name,
        "model": str(one.member.network.model),
        "checkpoint": one.member.checkpoint.name,
        "checkpoint_sha256": one.member.checkpoint_sha256,
        "raw_probability": one.raw_probability,
        "logit": gradients.logit,
        "baseline_logit": gradients.baseline_logit,
        "gap": gradients.gap,
        "relative_gap": None if np.isnan(gradients.relative_gap) else gradients.relative_gap,
    }
    if checks is not None:
        described["checks"] = {
            "mean_logit_deleting_marked": checks.deletion.marked,
            "mean_logit_deleting_strongest": checks.deletion.strongest,
            "mean_logit_deleting_random": checks.deletion.random,
            "rank_correlation_shuffled": None if np.isnan(checks.rank_correlation) else checks.rank_correlation,
            "is_passed": checks.is_passed,
        }
    return described
