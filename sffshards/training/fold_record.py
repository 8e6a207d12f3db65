"""What a fold's folder says about itself: ``run.json``, and where folds lie in a run."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sffshards.base.atomic_files import read_text, write_atomic
from sffshards.base.errors import DamageError, FormatError, InputError
from sffshards.domain.sample_sets import NUM_FOLDS, Protocol, Stage, Variant
from sffshards.domain.task import Horizon
from sffshards.loading import Engine, Shuffle, ViewSource
from sffshards.models import Attention, ModelName
from sffshards.shards.read import CheckLevel
from sffshards.training.software_versions import GitState
from sffshards.training.training_choices import LoggerName, Precision, Strategy
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

FORMAT_VERSION = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLD_FOLDER = re.compile(r"fold(\d+)", re.ASCII)
_TRAIN_ANEW = "train it anew with `sffshards train --force`"


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedCheckpoint:
    """A checkpoint that was kept."""

    name: str
    """File name in the fold's folder."""
    epoch: int
    valid_loss: float

    def __post_init__(self) -> None:
        _check_file_name(self.name)
        _check_count("epoch", self.epoch)
        if type(self.valid_loss) not in (float, int) or not math.isfinite(self.valid_loss):
            raise ValueError(f"valid_loss must be a finite number, got {self.valid_loss!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldRecord:
    """How a fold is trained, and how far it is."""

    horizon: Horizon
    fold: int
    manifest_sha256: str
    """Of the build trained on."""
    weights_sha256: str | None
    """Of the file that training started from, if a user's."""
    options: TrainingOptions
    class_counts: dict[Stage, StageWeights]
    """As the loss of each set weighs them."""
    versions: dict[str, str]
    """Of the packages that made it."""
    git: GitState | None = None
    """Of this package's own checkout, where it runs from one."""
    num_epochs: int = 0
    """Epochs done."""
    checkpoints: tuple[SavedCheckpoint, ...] = ()
    """The best first."""
    finished: bool = False

    def __post_init__(self) -> None:
        _check_count("fold", self.fold)
        if self.fold >= NUM_FOLDS:
            raise ValueError(f"fold must be 0 to {NUM_FOLDS - 1}, got {self.fold}")
        _check_count("num_epochs", self.num_epochs)
        for counts in self.class_counts.values():
            _check_count("num_negative", counts.num_negative)
            _check_count("num_positive", counts.num_positive)
        _check_sha256("manifest_sha256", self.manifest_sha256)
        if self.weights_sha256 is not None:
            _check_sha256("weights_sha256", self.weights_sha256)
        if type(self.finished) is not bool:
            raise ValueError(f"finished must be true or false, got {self.finished!r}")

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
    content = {"format_version": FORMAT_VERSION, **asdict(record)}
    for stage, weights in record.class_counts.items():
        content["class_counts"][stage]["weights"] = list(weights.values)
    write_atomic(folder / RECORD_NAME, (json.dumps(content, indent=1) + "\n").encode("ascii"))


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
    try:
        content = json.loads(read_text(path))
        version = content.pop("format_version")
        if version != FORMAT_VERSION:
            raise FormatError(
                path,
                expected=f"format version {FORMAT_VERSION}",
                found=str(version)[:40],
                fix=f"update sffshards, or {_TRAIN_ANEW}",
            )
        record = _from_json(content)
        _check_folder_name(folder, record.fold)
        return record
    except FormatError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        found = " ".join(str(error).split())[:120]
        raise DamageError(
            path, expected="the record of a fold", found=f"something else ({found})", fix=_TRAIN_ANEW
        ) from None


def _from_json(content: dict[str, Any]) -> FoldRecord:
    options = content["options"]
    return FoldRecord(
        **content
        | {
            "horizon": Horizon(content["horizon"]),
            "options": TrainingOptions(
                **options
                | {
                    "variant": Variant(options["variant"]),
                    "protocol": Protocol(options["protocol"]),
                    "model": ModelName(options["model"]),
                    "precision": Precision(options["precision"]),
                    # Runs from before there was a choice were computed so.
                    "attention": Attention(options.get("attention", Attention.TORCHVISION)),
                    "views": ViewSource(options["views"]),
                    "check": CheckLevel(options["check"]),
                    "shuffle": Shuffle(options["shuffle"]),
                    "engine": Engine(options.get("engine", Engine.PLAN)),
                    "strategy": Strategy(options.get("strategy", Strategy.AUTO)),
                    "logger": LoggerName(options.get("logger", LoggerName.TENSORBOARD)),
                }
            ),
            "class_counts": {
                Stage(stage): StageWeights(num_negative=counts["num_negative"], num_positive=counts["num_positive"])
                for stage, counts in content["class_counts"].items()
            },
            "git": GitState(**content["git"]) if content.get("git") else None,
            "checkpoints": tuple(SavedCheckpoint(**checkpoint) for checkpoint in content["checkpoints"]),
        }
    )


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or value < 0:  # not isinstance: true and false are whole numbers to it
        raise ValueError(f"{name} must be a whole number from 0 on, got {value!r}")


def _check_sha256(name: str, value: object) -> None:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{name} must be 64 hexadecimal digits, got {value!r}")


def _check_file_name(name: object) -> None:
    """Refuse what is no name in a folder: a path to elsewhere, or what no system opens."""
    if not isinstance(name, str) or not name.isprintable() or re.fullmatch(r"\.{0,2}|.*[/\\].*", name):
        raise ValueError(f"name must be that of a file, got {name!r}")


def _check_folder_name(folder: Path, fold: int) -> None:
    match = _FOLD_FOLDER.fullmatch(folder.name)
    if match and int(match[1]) != fold:
        raise ValueError(f"that of fold {fold}, in {folder.name}")
