"""A fold of a run on disk: the record of what made its forecasts, and the tables of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sffshards.base.errors import ConflictError, DamageError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.file_reading import read_text
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import LabelSet, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import Task
from sffshards.forecasting.runs.forecast_record import ForecastRecord, Record, RunKind, kind_of, read_any_record
from sffshards.forecasting.runs.predictions_record import check_tables
from sffshards.forecasting.runs.predictions_table import Predictions, plain_views, predictions_path, read_predictions
from sffshards.tabular import NumberSources
from sffshards.training import METRICS_NAME, RECORD_NAME, FoldRecord, SavedCheckpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """A row of a fold's table of epochs."""

    epoch: int
    train_loss: float
    valid_loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFold:
    """A fold of a run: the record of what made its forecasts, and the forecasts."""

    folder: Path
    """Folder of the fold, such as ``runs/48h/oTV/fold0``."""
    record: Record
    """Record of the training that made the fold, or of forecasts that no network made."""
    tables: dict[Stage, Predictions] = field(default_factory=dict)
    """Forecasts of each set that is forecast; empty where the fold was not evaluated, or its tables were not read."""
    epochs: tuple[Epoch, ...] = ()
    """Losses by epoch; empty where there is no table of them, or it was not read."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the files that were read, by file name."""
    is_relabelled: bool = False
    """Whether the tables have other labels than the files; a decision in the folder is then not that of the fold."""

    @property
    def kind(self) -> RunKind:
        """What made the forecasts."""
        return kind_of(self.record)

    @property
    def number(self) -> int:
        """Number of the fold, 0 to 4."""
        return self.record.fold

    @property
    def task(self) -> Task:
        """The task that is forecast."""
        return self.record.task

    @property
    def name(self) -> str:
        """Name of the forecast in tables: the variant of a network, or the name in the record."""
        return self.record.name if isinstance(self.record, ForecastRecord) else str(self.record.options.variant)

    @property
    def description(self) -> str:
        """What the forecasts follow from, in words."""
        if isinstance(self.record, ForecastRecord):
            return self.record.description
        options = self.record.options
        numbers = f", {options.inputs.replace(',', ', ')}" if options.inputs.groups else ""
        return f"{options.model}, {options.variant}{numbers}"

    @property
    def protocol(self) -> Protocol:
        """Protocol, which defines the parts of the sets."""
        return self.sample_set(Stage.TRAIN).protocol

    @property
    def variant(self) -> Variant | None:
        """Variant of a network's sets; None for forecasts that no network made, whose sets are not oversampled."""
        return None if isinstance(self.record, ForecastRecord) else self.record.options.variant

    @property
    def is_rebuilt(self) -> bool:
        """Whether the record states that the forecasts were made with labels rebuilt from a flare list."""
        return isinstance(self.record, ForecastRecord) and self.record.options.get("labels") == LabelSet.REBUILT

    @property
    def harp_numbers(self) -> HarpNumbers:
        """Which numbers the HARPs have; definitive where that is not known."""
        if isinstance(self.record, ForecastRecord):
            return self.record.harp_numbers or HarpNumbers.DEFINITIVE
        return HarpNumbers.recorded_in(self.record.image_options)

    @property
    def manifest_sha256(self) -> str | None:
        """SHA-256 of the manifest of the build; None for forecasts that no network made."""
        return None if isinstance(self.record, ForecastRecord) else self.record.manifest_sha256

    @property
    def source_sha256(self) -> str | None:
        """SHA-256 of what a decision is fitted to: the best checkpoint, or the table of the validation set."""
        if isinstance(self.record, ForecastRecord):
            return self.record.tables.get(Stage.VAL)
        return self.record.best.sha256 if self.record.best else None

    @property
    def missing(self) -> dict[Stage, str]:
        """Why there are no forecasts of a set; sets that are forecast are left out."""
        return self.record.missing if isinstance(self.record, ForecastRecord) else {}

    @property
    def network(self) -> FoldRecord:
        """Record of the training; raises `InputError` if no network made the forecasts."""
        if isinstance(self.record, ForecastRecord):
            raise InputError(
                self.folder,
                expected="a fold of a trained network",
                found=f"{self.name} ({self.kind})",
                fix="name the run of a network",
            )
        return self.record

    @property
    def checkpoint(self) -> Path:
        """Path of the best checkpoint; raises `InputError` where there is none yet."""
        return self.folder / self.best.name

    @property
    def best(self) -> SavedCheckpoint:
        """The best checkpoint as the record describes it; raises `InputError` where there is none yet."""
        if self.network.best is None:
            raise InputError(
                self.folder, expected="a checkpoint", found="none yet", fix="train this fold for an epoch at least"
            )
        return self.network.best

    def require_checkpoint(self) -> Path:
        """Return the path of the best checkpoint, after comparing the file with the record of the training.

        Raises
        ------
        InputError
            If there is none yet, or no network made the forecasts.
        DamageError
            If it is another file, such as that of another fold.
        """
        found = hash_file(self.checkpoint, expected="the fold's best checkpoint")
        if found != self.best.sha256:
            raise DamageError(
                self.checkpoint,
                expected=f"the checkpoint that {RECORD_NAME} describes, of SHA-256 {self.best.sha256[:16]}...",
                found=f"another file, of SHA-256 {found[:16]}...",
                fix="restore it, or train the fold again with `sffshards train --force`",
            )
        return self.checkpoint

    def require_file(self, name: str) -> Path:
        """Return the path of a further file of the fold, such as a fitted model, after comparing it with the record.

        Raises
        ------
        InputError
            If the record has no such file.
        DamageError
            If it has changed since it was written.
        """
        expected = self.record.files.get(name) if isinstance(self.record, ForecastRecord) else None
        if expected is None:
            raise InputError(
                self.folder, expected=f"a fold with {name}", found=f"{self.name} ({self.kind})", fix="name another run"
            )
        _require_unchanged(self.folder / name, expected)
        return self.folder / name

    def require_sources(self, sources: NumberSources) -> None:
        """Check that the tables of numbers that the network takes are there, and are those of its training.

        Raises
        ------
        InputError
            If one is not given.
        ConflictError
            If one is another.
        """
        inputs = self.network.options.inputs
        sources.require(inputs, where=self.folder)
        found = sources.fingerprint(inputs)
        for name, expected in self.network.number_sources.items():
            if found[name] != expected:
                now, then = (one[:12] if len(one) == 64 else one for one in (found[name], expected))
                raise ConflictError(
                    self.folder,
                    expected=f"the {name} that it was trained with ({then})",
                    found=f"others ({now})",
                    fix="name those, or train again with these by `sffshards train --force`",
                )

    def sample_set(self, stage: Stage) -> SampleSet:
        """Return the set of a stage that the fold is fitted or scored on."""
        return self.record.sample_set(stage)

    def plain(self, stage: Stage) -> Predictions:
        """Return the predictions of a set over plain views, each sequence once."""
        return plain_views(self.tables[stage])

    @property
    def climatology(self) -> float:
        """Rate of flares in the training set, over plain views; 0 where it is empty.

        NaN where the fold has other labels than its files, and no table of the training set to have them.
        """
        if self.is_relabelled and Stage.TRAIN not in self.tables:
            return math.nan
        if isinstance(self.record, ForecastRecord) and not self.is_relabelled:
            return self.record.climatology
        labels = self.plain(Stage.TRAIN).label
        return float(labels.mean()) if len(labels) else 0.0


def read_fold(folder: Path) -> RunFold:
    """Read the record of a fold; its tables are left unread. Raises the errors of `read_any_record`."""
    return RunFold(folder=folder, record=read_any_record(folder))


def read_tables(fold: RunFold) -> RunFold:
    """Return a fold with its tables, which must be as they were written, and with its losses by epoch.

    Raises
    ------
    InputError
        If a table is malformed.
    ConflictError
        If training has found a better checkpoint since the evaluation.
    DamageError
        If a table has changed since it was written.
    """
    if isinstance(fold.record, ForecastRecord):
        return _read_forecasts(fold, fold.record)
    return _read_network(fold, fold.record)


def _read_forecasts(fold: RunFold, record: ForecastRecord) -> RunFold:
    paths = {stage: predictions_path(fold.folder, stage) for stage in Stage if stage in record.tables}
    for stage, path in paths.items():
        _require_unchanged(path, record.tables[stage])
    return replace(
        fold,
        tables={stage: read_predictions(path) for stage, path in paths.items()},
        fingerprints={path.name: record.tables[stage] for stage, path in paths.items()},
    )


def _require_unchanged(path: Path, sha256: str) -> None:
    if hash_file(path, expected=f"the file that {RECORD_NAME} describes") != sha256:
        raise DamageError(
            path,
            expected=f"the file that {RECORD_NAME} describes",
            found="another one",
            fix="restore it, or run the command that wrote it again",
        )


def _read_network(fold: RunFold, record: FoldRecord) -> RunFold:
    paths = {stage: predictions_path(fold.folder, stage) for stage in Stage}
    metrics = fold.folder / METRICS_NAME
    is_whole = all(path.is_file() for path in paths.values())
    read = [*(paths.values() if is_whole else ()), *([metrics] if metrics.is_file() else ())]
    fingerprints = {path.name: hash_file(path) for path in read}
    expected = record.metrics_sha256
    if METRICS_NAME in fingerprints and expected not in (None, fingerprints[METRICS_NAME]):
        raise DamageError(
            metrics,
            expected=f"the table of epochs that {RECORD_NAME} describes",
            found="another one",
            fix="restore it, run the command that trains the fold again, or remove the table to omit its curve",
        )
    if is_whole:
        check_tables(fold.folder, record, {stage: fingerprints[path.name] for stage, path in paths.items()})
    return replace(
        fold,
        tables={stage: read_predictions(path) for stage, path in paths.items()} if is_whole else {},
        epochs=tuple(_read_epochs(metrics)) if metrics.is_file() else (),
        fingerprints=fingerprints,
    )


def _read_epochs(path: Path) -> Iterable[Epoch]:
    for number, row in enumerate(csv.DictReader(io.StringIO(read_text(path))), start=2):
        try:
            losses = {name: float(row[name]) for name in ("train_loss", "valid_loss")}
            yield Epoch(epoch=int(row["epoch"]), **losses)
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}:{number}",
                expected="a row of a table of epochs",
                found="something else",
                fix="restore the file, or remove it to omit its curve",
            ) from None
