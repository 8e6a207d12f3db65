"""The files of an explanation: its numbers as JSON, its picture, and its arrays as .npz."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards import __version__
from sffshards.base.atomic_files import check_replaceable, write_files
from sffshards.base.errors import ConflictError
from sffshards.base.file_hashes import hash_file
from sffshards.base.json_records import format_json, hash_content, read_own_json, to_plain
from sffshards.domain.frame_sequences import SequenceId
from sffshards.forecasting.explanations.sequence_explanations import (
    Explanation,
    ExplanationOptions,
    MemberExplanation,
)
from sffshards.forecasting.operational import Member
from sffshards.tabular import SampleInputs

_FORMAT_VERSION = 2
_ARRAYS, _PICTURE, _RECORD = ".npz", ".png", ".json"


def name_picture(folder: Path, sequence: str) -> Path:
    """Return the path of the picture of a sequence."""
    return folder / f"{SequenceId.parse(sequence).stem}{_PICTURE}"


def is_explained(
    folder: Path,
    sequence: str,
    clip_THW: NDArray[np.uint8],
    members: Sequence[Member],
    *,
    options: ExplanationOptions,
    numbers: SampleInputs | None = None,
    force: bool,
) -> bool:
    """Return whether a folder has the explanation of a sequence, with all files whole.

    The record is written first, so that an explanation whose writing was interrupted is recognised,
    and made again.

    Parameters
    ----------
    folder
        Folder of explanations.
    sequence
        Name of the sequence.
    clip_THW
        Its frames, uint8 of shape (16, 224, 224).
    members, options
        What it is explained by.
    numbers
        What is known of the sequence besides, if the network takes it.
    force
        Whether other files of these names may be replaced.

    Raises
    ------
    ConflictError
        If there are other files of these names, such as the explanation by another network, and ``force`` is false.
    StorageError
        If something other than a file has one of these names.
    """
    picture = name_picture(folder, sequence)
    record = picture.with_suffix(_RECORD)
    check_replaceable({picture.with_suffix(suffix): b"" for suffix in (_RECORD, _PICTURE, _ARRAYS)}, force=True)
    found = read_own_json(record)
    stated: dict[str, Any] = found if isinstance(found, dict) else {}
    is_own = (
        stated.get("format_version") == _FORMAT_VERSION
        and stated.get("made_from_sha256") == _hash_inputs(clip_THW, members, options, numbers)
        and isinstance(stated.get("files"), dict)
    )
    there = [path for path in (record, picture, picture.with_suffix(_ARRAYS)) if os.path.lexists(path)]
    if there and not is_own and not force:
        raise ConflictError(
            there[0],
            expected="no such file, or the same explanation",
            found="another explanation" if stated else "another file",
            fix="name another folder as {out}, or pass {force}",
        )
    others = [picture.with_suffix(suffix) for suffix in (_PICTURE, _ARRAYS)]
    return is_own and all(path.is_file() and hash_file(path) == stated["files"].get(path.suffix) for path in others)


def write_explanation(folder: Path, explanation: Explanation, picture: bytes) -> None:
    """Write the files of an explanation, which replace others of their names, the record first.

    Parameters
    ----------
    folder
        Folder of explanations, of which `is_explained` was asked.
    explanation
        The explanation.
    picture
        Its picture as PNG.
    """
    path = name_picture(folder, explanation.shown.sequence)
    files = {_PICTURE: picture, _ARRAYS: format_arrays(explanation)}
    sums = {suffix: hashlib.sha256(data).hexdigest() for suffix, data in files.items()}
    contents = {_RECORD: format_record(explanation, files=sums)} | files
    write_files({path.with_suffix(suffix): data for suffix, data in contents.items()}, force=True)


def _hash_inputs(
    clip_THW: NDArray[np.uint8], members: Sequence[Member], options: ExplanationOptions, numbers: SampleInputs | None
) -> str:
    """Return the SHA-256 of all that determines an explanation, apart from how it is computed."""
    of_members = [
        {
            "name": member.name,
            "checkpoint": member.checkpoint_sha256,
            "network": to_plain(member.network),
            "platt": to_plain(member.decision.platt) if member.decision and member.decision.platt else None,
        }
        for member in members
    ]
    clip = hashlib.sha256(np.ascontiguousarray(clip_THW)).hexdigest()
    of_options = to_plain(options) | {"seed": options.seed if options.check else None}
    known = None
    if numbers is not None:
        values = np.concatenate([numbers.last.ravel(), numbers.history_nF.ravel()])
        known = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return hash_content({"clip": clip, "members": of_members, "options": of_options, "numbers": known})


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


def format_record(explanation: Explanation, *, files: dict[str, str]) -> bytes:
    """Return the numbers of an explanation as JSON, with the SHA-256 of its other files; what is undefined is null."""
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
        "made_from_sha256": _hash_inputs(
            explanation.clip_THW, [one.member for one in explanation.members], options, explanation.numbers
        ),
        "files": files,
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
