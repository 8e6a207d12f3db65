"""The checkpoints that forecast together: those of a run's folds, or a single one, with what each was decided by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sffshards.base.errors import ConflictError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.task import Task
from sffshards.forecasting.runs import DECISION_NAME, Decision, RunFold, read_decision, read_run
from sffshards.models import NetworkSpec

_EVALUATE = "`sffshards evaluate` fits it"


@dataclass(frozen=True, kw_only=True, slots=True)
class DecidedMember:
    """What forecasts as one fold of a run, and what its probabilities are decided by."""

    name: str
    """Name of the fold, such as ``fold 0``; or of a checkpoint's file."""
    checkpoint: Path
    """File of the checkpoint, or of the fitted model."""
    checkpoint_sha256: str
    """SHA-256 of that file."""
    task: Task
    """The task that is forecast."""
    decision: Decision | None
    """Thresholds and calibration; None where there is none."""
    reason: str | None
    """Why its probabilities are not calibrated; None where they are."""

    @property
    def is_calibrated(self) -> bool:
        """Whether there is a Platt calibration of it."""
        return self.decision is not None and self.decision.platt is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Member(DecidedMember):
    """A checkpoint, and what its probabilities are decided by."""

    network: NetworkSpec
    """Which network the checkpoint is of."""
    image_options: Mapping[str, object]
    """How the images of its training were made; empty where that is not known."""

    @property
    def model_name(self) -> str:
        """Name of the network."""
        return str(self.network.model)


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedMember(DecidedMember):
    """A model that was fitted to numbers, and what its probabilities are decided by."""

    model_name: str
    """Name of the run's forecast, such as ``logistic regression``."""


def describe_fitted(fold: RunFold, path: Path) -> dict[str, Any]:
    """Return the fields of `FittedMember` of a fold whose model is in a file."""
    decision = read_decision(fold.folder, source_sha256=fold.source_sha256)
    return {
        "name": f"fold {fold.number}",
        "checkpoint": path,
        "checkpoint_sha256": hash_file(path),
        "model_name": fold.name,
        "task": fold.task,
        "decision": decision,
        "reason": f"there is no decision; {_EVALUATE}" if decision is None else decision.reason,
    }


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
    DamageError
        If a checkpoint is not the one that the fold's record describes.
    ConflictError
        If the folds are of several tasks.
    """
    members = [
        replace(
            take_checkpoint(
                fold.require_checkpoint(),
                network=fold.network.options.network,
                task=fold.task,
                name=f"fold {fold.number}",
            ),
            image_options=fold.network.image_options,
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


def take_checkpoint(path: Path, *, network: NetworkSpec, task: Task, name: str | None = None) -> Member:
    """Take a checkpoint file by itself, such as one that the published programs wrote.

    Where a ``decision.json`` of it lies beside it, that is used. Its name is by default that of the file.
    """
    sha256 = hash_file(path, expected="a checkpoint that can be read")
    decision, reason = _find_decision(path.parent, sha256)
    return Member(
        name=name or path.name,
        checkpoint=path,
        checkpoint_sha256=sha256,
        network=network,
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
    if decision.source_sha256 != checkpoint_sha256:
        return None, f"the {DECISION_NAME} beside it is of another checkpoint; {_EVALUATE}"
    return decision, decision.reason
