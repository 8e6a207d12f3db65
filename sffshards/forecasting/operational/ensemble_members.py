"""The checkpoints that forecast together: those of a run's folds, or a single one, with what each was decided by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sffshards.base.errors import ConflictError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.task import Task
from sffshards.forecasting.runs import DECISION_NAME, Decision, read_decision, read_run
from sffshards.models import Attention, ModelName

_EVALUATE = "`sffshards evaluate` fits it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A checkpoint, and what its probabilities are decided by."""

    name: str
    """Such as ``fold 0``, or the checkpoint's file name."""
    checkpoint: Path
    checkpoint_sha256: str
    model: ModelName
    attention: Attention
    task: Task
    image_options: Mapping[str, object]
    """How the images of its training were made; empty where that is not known."""
    decision: Decision | None
    reason: str | None
    """Why its probabilities are not calibrated; None where they are."""

    @property
    def is_calibrated(self) -> bool:
        """Whether there is a Platt calibration of it."""
        return self.decision is not None and self.decision.platt is not None


def find_members(run: Path, *, folds: Collection[int] | None) -> list[Member]:
    """Find the best checkpoint of each fold of a run.

    Parameters
    ----------
    run
        Folder of the run, such as ``runs/48h/oTV``.
    folds
        Which folds; None for all that are there.

    Raises
    ------
    InputError
        If there is no run, a fold is not there, or has no checkpoint yet.
    ConflictError
        If the folds are of several tasks.
    """
    members = [
        replace(
            take_checkpoint(
                fold.checkpoint,
                model=fold.record.options.model,
                task=fold.record.task,
                attention=fold.record.options.attention,
                name=f"fold {fold.record.fold}",
            ),
            image_options=fold.record.image_options,
        )
        for fold in read_run(run, folds=folds).folds
    ]
    for member in members:
        if member.task != members[0].task:
            raise ConflictError(
                run,
                expected=f"folds of one task, {members[0].task} as {members[0].name}",
                found=f"{member.name} of {member.task}",
                fix="keep the runs of each task in a separate folder",
            )
    return members


def take_checkpoint(
    path: Path, *, model: ModelName, task: Task, attention: Attention = Attention.FUSED, name: str | None = None
) -> Member:
    """Take a checkpoint file by itself, such as one that the published programs wrote.

    Where a ``decision.json`` of it lies beside it, that is used. Its name is by default that of the file.
    """
    sha256 = hash_file(path, expected="a checkpoint that can be read")
    decision, reason = _find_decision(path.parent, sha256)
    return Member(
        name=name or path.name,
        checkpoint=path,
        checkpoint_sha256=sha256,
        model=model,
        attention=attention,
        task=task,
        image_options={},
        decision=decision,
        reason=reason,
    )


def _find_decision(folder: Path, checkpoint_sha256: str) -> tuple[Decision | None, str | None]:
    """Return the decision of a checkpoint, and the reason if it has no calibration."""
    decision = read_decision(folder)
    if decision is None:
        return None, f"there is no {DECISION_NAME} beside it; {_EVALUATE}"
    if decision.checkpoint_sha256 != checkpoint_sha256:
        return None, f"the {DECISION_NAME} beside it is of another checkpoint; {_EVALUATE}"
    return decision, decision.reason
