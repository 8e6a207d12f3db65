"""The record of a fold, ``run.json``: how it is trained, from which counts, by which software, and how far it is."""

from __future__ import annotations

import math
import platform
import re
import subprocess
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import sffshards
from sffshards.base.atomic_files import write_atomic
from sffshards.base.errors import ConflictError, DamageError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.file_reading import read_bytes
from sffshards.base.json_records import (
    Count,
    JsonFormat,
    Sha256,
    decode_record,
    format_json,
    read_own_json,
    seal,
    to_plain,
)
from sffshards.base.package_faces import accepts_text
from sffshards.domain.sample_sets import NUM_FOLDS, SampleSet, Stage
from sffshards.domain.task import Task
from sffshards.loading import Sampler
from sffshards.models import KINETICS400, NO_WEIGHTS
from sffshards.shards.format import Manifest
from sffshards.tabular import NO_SOURCES, NumberSources
from sffshards.training.class_counts import StageWeights, count_classes
from sffshards.training.training_config import TrainingOptions

RECORD_NAME = "run.json"
"""The record's file name in a fold's folder."""

METRICS_NAME = "metrics.csv"
"""The table of epochs, in a fold's folder."""

KIND_FIELD = "kind"
"""A field of the records of forecasts that no network made, which a record of training does not have."""

_DERIVED = "class_weights"
"""A field of the file, but not of the record: the class weights of each stage, which follow from the counts."""

_FOLD_FOLDER = re.compile(r"fold(\d+)", re.ASCII)
_EXPECTS = JsonFormat(expected="the record of a fold", fix="train it again with `sffshards train --force`", version=4)


_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "webdataset", "pillow")
_GIT_TIMEOUT_SECONDS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class GitState:
    """The state of a git checkout."""

    commit: str
    """Hash of the commit that is checked out."""
    dirty: bool
    """Whether a tracked file differs from the commit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedCheckpoint:
    """A checkpoint that was kept."""

    name: str
    """File name of the checkpoint in the fold's folder."""
    epoch: Count
    """Epoch after which the checkpoint was saved, counted from 0."""
    valid_loss: float
    """Validation loss of that epoch."""
    sha256: Sha256
    """SHA-256 of the file."""

    def __post_init__(self) -> None:
        _check_file_name(self.name)
        if not math.isfinite(self.valid_loss):
            raise ValueError(f"valid_loss must be a finite number, got {self.valid_loss!r}")


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class FoldRecord:
    """How a fold is trained, and how far it is."""

    task: Task
    """Task of the build."""
    fold: Count
    """Number of the fold, 0 to 4."""
    manifest_sha256: Sha256
    """SHA-256 of the manifest of the build."""
    weights_sha256: Sha256 | None
    """SHA-256 of the file of initial weights; None for weights that are known by name."""
    options: TrainingOptions
    """Options of the training run."""
    number_sources: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the tables of numbers, and the clock; empty for a network of images alone."""
    class_counts: dict[Stage, StageWeights]
    """Class counts of each set, as the protocol counts them."""
    versions: dict[str, str]
    """Versions of the packages that trained the fold."""
    image_options: dict[str, str | float | int | None] = field(default_factory=dict)
    """How the images of the build were made, their grey scale included; empty where that is not known."""
    git: GitState | None = None
    """Checkout of this package, where it runs from one."""
    num_epochs: Count = 0
    """Number of finished epochs."""
    checkpoints: tuple[SavedCheckpoint, ...] = ()
    """Kept checkpoints, the best first."""
    metrics_sha256: Sha256 | None = None
    """SHA-256 of ``metrics.csv``; None while there is none."""
    finished: bool = False
    """Whether training has ended by itself."""

    def __post_init__(self) -> None:
        if self.fold >= NUM_FOLDS:
            raise ValueError(f"fold must be 0 to {NUM_FOLDS - 1}, got {self.fold}")

    def sample_set(self, stage: Stage) -> SampleSet:
        """Return the set of a stage that the fold is trained or scored on."""
        return self.options.sample_set(stage, fold=self.fold)

    def loss_weights(self, stage: Stage) -> tuple[float, float]:
        """Return the weights of negatives and positives in the loss of a set; balanced batches have as many of both."""
        counts = self.class_counts[stage]
        if stage is Stage.TRAIN and self.options.sampler is Sampler.BALANCED:
            counts = StageWeights(num_negative=1, num_positive=1)
        return counts.weigh(self.options.class_weights)

    def differences(self, other: FoldRecord) -> dict[str, tuple[object, object]]:
        """Return what affects the result and differs, by name: options, and tables of numbers by their SHA-256."""
        mine, theirs = self.number_sources, other.number_sources
        different = {
            name: (mine.get(name), theirs.get(name)) for name in mine | theirs if mine.get(name) != theirs.get(name)
        }
        return different | self.options.differences(other.options)

    def is_complete(self, max_epochs: int) -> bool:
        """Return whether training is finished and would also be with another maximum number of epochs."""
        return self.finished and (self.num_epochs < self.options.max_epochs or self.num_epochs >= max_epochs)

    @property
    def best(self) -> SavedCheckpoint | None:
        """The checkpoint of least validation loss."""
        return self.checkpoints[0] if self.checkpoints else None


def start_record(
    manifest: Manifest, options: TrainingOptions, *, fold: int, sources: NumberSources = NO_SOURCES
) -> FoldRecord:
    """Return the record of a fold of a build before it is trained.

    Raises
    ------
    StorageError
        If a file of initial weights cannot be read.
    """
    is_named = options.weights in (KINETICS400, NO_WEIGHTS)
    weights_sha256 = None if is_named else hash_file(Path(options.weights), expected="a weights file that can be read")
    own_versions = {"python": platform.python_version(), "sffshards": sffshards.__version__}
    return FoldRecord(
        task=manifest.task,
        fold=fold,
        manifest_sha256=manifest.sha256,
        weights_sha256=weights_sha256,
        options=options,
        number_sources=sources.fingerprint(options.inputs),
        class_counts=count_classes(manifest, options, fold=fold),
        image_options=dict(manifest.inputs.image_options),
        versions=own_versions | {name: metadata.version(name) for name in _PACKAGES},
        git=read_git(),
    )


@accepts_text
def fold_folder(run: Path, fold: int) -> Path:
    """Return the folder of a fold in a run, such as ``runs/48h/oTV/fold0``."""
    return run / f"fold{fold}"


@accepts_text
def find_folds(run: Path) -> dict[int, Path]:
    """Return the folders of the folds of a run that have a record, by number.

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


@accepts_text
def write_record(folder: Path, record: FoldRecord) -> None:
    """Write a fold's record with its checksum, whole or not at all."""
    weights = {str(stage): list(record.loss_weights(stage)) for stage in record.class_counts}
    content = {**to_plain(record, version=_EXPECTS.version), _DERIVED: weights}
    write_atomic(folder / RECORD_NAME, format_json(seal(content)))


@accepts_text
def read_record(folder: Path) -> FoldRecord:
    """Read a fold's record.

    Raises
    ------
    ConflictError
        If it is the record of forecasts that no network made.
    FormatError
        If its format version is not known to this program.
    DamageError
        If it is not a record, does not match its checksum, or is of another fold than its folder's name states.
    """
    path = folder / RECORD_NAME
    require_network(folder)
    record = decode_record(read_bytes(path), FoldRecord, where=path, expects=_EXPECTS, derived=(_DERIVED,))
    match = _FOLD_FOLDER.fullmatch(folder.name)
    if match and int(match[1]) != record.fold:
        found = f"that of fold {record.fold}, in {folder.name}"
        raise DamageError(path, expected=_EXPECTS.expected, found=found, fix=_EXPECTS.fix)
    return record


@accepts_text
def require_network(folder: Path) -> None:
    """Check that a fold's folder, which may be empty, does not hold forecasts that no network made.

    Raises
    ------
    ConflictError
        If it does.
    """
    path = folder / RECORD_NAME
    content = read_own_json(path) if path.is_file() else None
    if isinstance(content, dict) and KIND_FIELD in content:
        raise ConflictError(
            folder,
            expected="the folder of a trained network, or an empty one",
            found=f"forecasts of kind {str(content[KIND_FIELD])[:40]!r}, {str(content.get('name'))[:40]!r}",
            fix="name another folder",
        )


def read_git(package: Path | None = None) -> GitState | None:
    """Return the state of the checkout that holds a package.

    Parameters
    ----------
    package
        Folder of the package; by default this one's.

    Returns
    -------
    None where the package is installed without its repository, where the repository is another one, or without git
    """
    package = (Path(sffshards.__file__).parent if package is None else package).resolve()
    names = (_run_git(package, "rev-parse", "HEAD", "--show-toplevel") or "").splitlines()
    changes = _run_git(package, "status", "--porcelain", "--untracked-files=no")
    if len(names) != 2 or changes is None or Path(names[1]) != package.parent:
        return None  # an environment may lie in a repository of the user's
    return GitState(commit=names[0], dirty=bool(changes))


def _run_git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_SECONDS)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _check_file_name(name: object) -> None:
    """Raise `ValueError` for a path that leads out of the folder, or a name that no system opens."""
    if not isinstance(name, str) or not name.isprintable() or re.fullmatch(r"\.{0,2}|.*[/\\].*", name):
        raise ValueError(f"name must be that of a file, got {name!r}")
