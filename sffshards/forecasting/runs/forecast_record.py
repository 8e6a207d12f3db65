"""The record of a fold, ``run.json``: of forecasts that no network of this package made, or of a trained network."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from sffshards import __version__
from sffshards.base import json_records
from sffshards.base.errors import DamageError
from sffshards.base.file_hashes import hash_file
from sffshards.base.file_reading import read_bytes
from sffshards.base.json_records import Count, JsonFormat, Sha256
from sffshards.base.package_faces import accepts_text
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import NUM_FOLDS, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import Task
from sffshards.training import KIND_FIELD, RECORD_NAME, FoldRecord, fold_folder, read_record

_EXPECTS = JsonFormat(
    expected="the record of a fold",
    fix="restore it, or write the run again by the command that wrote it, with --force",
    version=1,
)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_RESERVED = re.compile(r"(run|decision|predictions)\.json|predictions-.*|.*\.ckpt")
_IDENTITY = ("kind", "name", "description", "task", "protocol", "harp_numbers")
"""Fields that are the same in all folds of a run, as are the options."""


class RunKind(StrEnum):
    """What makes the forecasts of a run, in the order in which tables show them."""

    BASELINE = "baseline"
    """A reference without parameters, such as persistence."""
    IMPORTED = "imported"
    """A table of forecasts of another system."""
    KEYWORDS = "keywords"
    """A model of SHARP keywords, flare history or both."""
    NETWORK = "network"
    """A network that this package trained."""
    COMBINATION = "combination"
    """A model of the forecasts of other runs."""


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file that forecasts were made from."""

    path: str
    """Path of the file, as it was named; bytes that are not text are written as escapes."""
    sha256: Sha256
    """SHA-256 of the file."""

    @classmethod
    def read(cls, path: Path) -> SourceFile:
        """Return a file's path and SHA-256; raises `StorageError` if it cannot be read."""
        return cls(path=str(path).encode("utf-8", "backslashreplace").decode(), sha256=hash_file(path))


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastRecord:
    """How the forecasts of a fold were made, where no network of this package made them."""

    kind: RunKind
    """What made them; not a network."""
    name: str
    """Name of the forecast in tables, such as ``persistence``."""
    description: str
    """What the forecasts follow from, in words, such as ``17 SHARP keywords, last frame``."""
    task: Task
    fold: Count
    """Number of the fold, 0 to 4."""
    protocol: Protocol
    """Protocol, which defines the parts of the training set."""
    climatology: float
    """Rate of flares in the training set, each sequence counted once."""
    options: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    """Options that the forecasts depend on, by name; the same in all folds of a run."""
    sources: tuple[SourceFile, ...] = ()
    """Files that the forecasts were made from."""
    harp_numbers: HarpNumbers | None = None
    """Which numbers the HARPs have; None where that is not known."""
    missing: dict[Stage, str] = field(default_factory=dict)
    """Why there are no forecasts of a set; sets that are forecast are left out."""
    tables: dict[Stage, Sha256] = field(default_factory=dict)
    """SHA-256 of the table of each set that is forecast."""
    files: dict[str, Sha256] = field(default_factory=dict)
    """SHA-256 of further files in the fold's folder, such as a fitted model, by name."""
    program_version: str = __version__
    """Version of this package that wrote the fold."""

    def __post_init__(self) -> None:
        if self.kind is RunKind.NETWORK:
            raise ValueError("a trained network has a record of its own")
        if not self.name.strip() or not (self.name + self.description).isprintable():
            raise ValueError(f"name and description must be printable, got {self.name!r}, {self.description!r}")
        if self.fold >= NUM_FOLDS:
            raise ValueError(f"fold must be 0 to {NUM_FOLDS - 1}, got {self.fold}")
        if not 0 <= self.climatology <= 1:
            raise ValueError(f"climatology must be from 0 to 1, got {self.climatology}")
        if any(isinstance(value, float) and not math.isfinite(value) for value in self.options.values()):
            raise ValueError(f"options must be finite, got {self.options}")
        check_file_names(self.files)

    def sample_set(self, stage: Stage) -> SampleSet:
        """Return the set of a stage, each sequence once."""
        return SampleSet(variant=Variant.BASE, stage=stage, fold=self.fold, protocol=self.protocol)

    def differences(self, other: ForecastRecord) -> dict[str, tuple[object, object]]:
        """Return the fields and options in which a record is of another run, with both values."""
        mine, theirs = ({name: getattr(of, name) for name in _IDENTITY} | of.options for of in (self, other))
        names = dict.fromkeys([*mine, *theirs])
        return {name: (mine.get(name), theirs.get(name)) for name in names if mine.get(name) != theirs.get(name)}

    def is_made_as(self, plan: ForecastRecord) -> bool:
        """Return whether this fold was made as another is to be, from the same sources."""
        made: dict[str, Any] = {"missing": {}, "tables": {}, "files": {}, "program_version": ""}
        return replace(self, **made) == replace(plan, **made)


Record = FoldRecord | ForecastRecord
"""The record of a fold of either kind."""


def check_file_names(names: Collection[str]) -> None:
    """Raise `ValueError` for a name that leads out of the fold's folder, or that another file of it has."""
    for name in names:
        if not _FILE_NAME.fullmatch(name) or _RESERVED.fullmatch(name):
            raise ValueError(f"files must have a plain name of their own, got {name!r}")


def write_forecast_record(folder: Path, record: ForecastRecord) -> None:
    """Write a fold's record with its checksum, whole or not at all."""
    json_records.write_record(folder / RECORD_NAME, record, version=_EXPECTS.version)


def read_any_record(folder: Path) -> Record:
    """Read a fold's record, of a trained network or of other forecasts.

    Raises
    ------
    FormatError
        If its format version is not known to this program.
    DamageError
        If it is not a record, does not match its checksum, or is of another fold than its folder's name states.
    """
    path = folder / RECORD_NAME
    data = read_bytes(path)
    content = json_records.decode_json(data, where=path, expects=_EXPECTS)
    if not isinstance(content, dict) or KIND_FIELD not in content:
        return read_record(folder)
    record = json_records.decode_record(data, ForecastRecord, where=path, expects=_EXPECTS)
    if folder.name.startswith("fold") and folder != fold_folder(folder.parent, record.fold):
        found = f"that of fold {record.fold}, in {folder.name}"
        raise DamageError(path, expected=_EXPECTS.expected, found=found, fix=_EXPECTS.fix)
    return record


def find_differences(first: Record, second: Record) -> dict[str, tuple[object, object]]:
    """Return in what two folds were made differently, with both values, so that they are not of one run."""
    if isinstance(first, ForecastRecord) and isinstance(second, ForecastRecord):
        return first.differences(second)
    if isinstance(first, FoldRecord) and isinstance(second, FoldRecord):
        return first.differences(second)
    return {KIND_FIELD: (kind_of(first), kind_of(second))}


def kind_of(record: Record) -> RunKind:
    """Return what made the forecasts of a fold."""
    return record.kind if isinstance(record, ForecastRecord) else RunKind.NETWORK
