"""What a fold's folder says about itself: ``run.json``, and where folds lie in a run."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import read_bytes, write_atomic
from sffshards.base.errors import DamageError, InputError
from sffshards.base.json_records import Count, JsonFormat, Sha256, decode_record, format_json, to_plain
from sffshards.domain.sample_sets import NUM_FOLDS, SampleSet, Stage
from sffshards.domain.task import Task
from sffshards.training.software_versions import GitState
from sffshards.training.training_config import StageWeights, TrainingOptions

__all__ = [
    "METRICS_NAME",
    "RECORD_NAME",
    "FoldRecord",
    "SavedCheckpoint",
    "find_folds",
    "fold_folder",
    "read_record",
    "write_record",
]

RECORD_NAME = "run.json"
"""The record's file name in a fold's folder."""

METRICS_NAME = "metrics.csv"
"""The table of epochs, in a fold's folder."""

_DERIVED = "class_weights"
"""What the file holds besides the record, for people: the class weights of each stage, which follow from the counts."""

_FOLD_FOLDER = re.compile(r"fold(\d+)", re.ASCII)
_EXPECTS = JsonFormat(expected="the record of a fold", fix="train it again with `sffshards train --force`", version=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedCheckpoint:
    """A checkpoint that was kept."""

    name: str
    """File name in the fold's folder."""
    epoch: Count
    valid_loss: float

    def __post_init__(self) -> None:
        _check_file_name(self.name)
        if not math.isfinite(self.valid_loss):
            raise ValueError(f"valid_loss must be a finite number, got {self.valid_loss!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldRecord:
    """How a fold is trained, and how far it is."""

    task: Task
    fold: Count
    manifest_sha256: Sha256
    """Of the build trained on."""
    weights_sha256: Sha256 | None
    """Of the file that training started from, if a user's."""
    options: TrainingOptions
    class_counts: dict[Stage, StageWeights]
    """As the loss of each set weighs them."""
    versions: dict[str, str]
    """Of the packages that made it."""
    git: GitState | None = None
    """Of this package's own checkout, where it runs from one."""
    num_epochs: Count = 0
    """Epochs done."""
    checkpoints: tuple[SavedCheckpoint, ...] = ()
    """The best first."""
    finished: bool = False

    def __post_init__(self) -> None:
        if self.fold >= NUM_FOLDS:
            raise ValueError(f"fold must be 0 to {NUM_FOLDS - 1}, got {self.fold}")

    def sample_set(self, stage: Stage) -> SampleSet:
        """Return the set of a stage that the fold is trained or scored on."""
        return self.options.sample_set(stage, fold=self.fold)

    @property
    def best(self) -> SavedCheckpoint | None:
        """The checkpoint of least validation loss."""
        return self.checkpoints[0] if self.checkpoints else None


def fold_folder(run: Path, fold: int) -> Path:
    """Give the folder of a fold in a run, such as ``runs/48h/oTV/fold0``."""
    return run / f"fold{fold}"


def find_folds(run: Path) -> dict[int, Path]:
    """Find the folds of a run that have a record.

    Raises
    ------
    InputError
        If there is none.
    """
    folders = {fold: fold_folder(run, fold) for fold in range(NUM_FOLDS)}
    found = {fold: folder for fold, folder in folders.items() if (folder / RECORD_NAME).is_file()}
    if not found:
        raise InputError(
            run,
            expected="a run, with fold0 to fold4 or some of them",
            found="none" if run.is_dir() else "no such folder",
            fix="train one with `sffshards train`, or name the folder of a run such as runs/48h/oTV",
        )
    return found


def write_record(folder: Path, record: FoldRecord) -> None:
    """Write a fold's record, whole or not at all."""
    weights = {str(stage): list(counts.values) for stage, counts in record.class_counts.items()}
    content = {**to_plain(record, version=_EXPECTS.version), _DERIVED: weights}
    write_atomic(folder / RECORD_NAME, format_json(content))


def read_record(folder: Path) -> FoldRecord:
    """Read a fold's record.

    Raises
    ------
    FormatError
        If its format version is not known to this program.
    DamageError
        If it is not a record, or that of another fold than its folder's name says.
    """
    path = folder / RECORD_NAME
    record = decode_record(read_bytes(path), FoldRecord, where=path, expects=_EXPECTS, derived=(_DERIVED,))
    match = _FOLD_FOLDER.fullmatch(folder.name)
    if match and int(match[1]) != record.fold:
        found = f"that of fold {record.fold}, in {folder.name}"
        raise DamageError(path, expected=_EXPECTS.expected, found=found, fix=_EXPECTS.fix)
    return record


def _check_file_name(name: object) -> None:
    """Refuse what is no name in a folder: a path to elsewhere, or what no system opens."""
    if not isinstance(name, str) or not name.isprintable() or re.fullmatch(r"\.{0,2}|.*[/\\].*", name):
        raise ValueError(f"name must be that of a file, got {name!r}")
