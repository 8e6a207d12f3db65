"""Samples that baselines forecast, from label lists or the index of a build.

Shapes: n samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.domain.frame_codes import pack_codes
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import NUM_FOLDS, Kind, Part, Protocol, SampleSet, Stage, Variant, format_group
from sffshards.domain.sequence_table import SequenceTable, build_sequences
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.runs import Predictions, SourceFile, plain_predictions
from sffshards.labels import find_labels, read_parts, require_known_labels
from sffshards.shards.read import Build


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """The samples of a part, one per row of its label list."""

    harp: NDArray[np.int64]
    """HARP numbers, shape (n,)."""
    t_end_tai: NDArray[np.datetime64]
    """Times of the forecasts, datetime64[s] of shape (n,)."""
    label: NDArray[np.int64]
    """Labels, 0 or 1, shape (n,)."""

    @property
    def codes(self) -> NDArray[np.int64]:
        """Codes of the frames at which the forecasts are issued, shape (n,)."""
        return pack_codes(self.harp, self.t_end_tai)

    def sequences(self, part: Part) -> SequenceTable:
        """Return the sequence that ends at each sample, as published: of the part's samples, in their order."""
        numbers = np.arange(len(self.label), dtype=np.uint32)
        return build_sequences(LabelledFrames(self.codes, self.label.astype(np.uint8), numbers), part=part)


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineSet:
    """The samples of a task, and what the records of its runs state of them."""

    task: Task
    """The event of the labels."""
    protocol: Protocol
    """The protocol, which defines the training parts of a fold."""
    samples: Mapping[Part, Samples]
    """Samples of every part, from `read_samples`."""
    label_set: str
    """Which labels these are, such as ``published``."""
    sources: tuple[SourceFile, ...]
    """Files that the forecasts are made from."""
    harp_numbers: HarpNumbers | None
    """Which numbers the HARPs have; None where that is not known."""
    flares: HarpFlares | None = None
    """Flares that rebuilt labels, persistence, ever flared and flare history follow from; None: earlier labels."""
    folds: tuple[int, ...] = tuple(range(NUM_FOLDS))
    """Numbers of the folds of the runs."""

    def training(self, fold: int) -> SampleSet:
        """Return the training set of a fold."""
        return SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=fold, protocol=self.protocol)

    def climatology(self, fold: int) -> float:
        """Return the rate of flares in the training set of a fold."""
        parts = self.training(fold).parts(self.task)
        return float(np.mean(np.concatenate([self.samples[part].label for part in parts])))

    def forecast(self, fold: int, probabilities: Mapping[Part, NDArray[np.float64]]) -> dict[Stage, Predictions]:
        """Return the tables of a fold's validation and test set from the probabilities of all parts."""
        tables = {}
        for stage in (Stage.VAL, Stage.TEST):
            (part,) = self.training(fold).at(stage).parts(self.task)
            of_part = self.samples[part]
            tables[stage] = plain_predictions(
                harp=of_part.harp,
                t_end_tai=of_part.t_end_tai,
                label=of_part.label,
                probability=probabilities[part],
            )
        return tables


def read_samples(lists: Mapping[Part, Path]) -> dict[Part, Samples]:
    """Read the samples of all parts, in the order of the lists.

    Parameters
    ----------
    lists
        Label lists of a task, from `sffshards.labels.find_label_lists`.

    Raises
    ------
    InputError
        If a list is malformed, two parts share a frame, or there are no training parts.
    StorageError
        If a list cannot be read.
    """
    if tuple(lists) != tuple(Part):
        raise InputError(
            next(iter(lists.values())).parent,
            expected="the lists of all six parts, since baselines learn from the training parts",
            found=f"the list of {', '.join(lists)} alone",
            fix="name data with training parts",
        )
    return {part: _gather(rows) for part, rows in read_parts(lists).items()}


def gather_samples(build: Build) -> dict[Part, Samples]:
    """Return the samples of all parts of a build, each sequence once, in the order of its index."""
    rows = {part: build.group_rows([format_group(part, Kind.BASE)]) for part in Part}
    return {
        part: Samples(
            harp=build.index["harp"][of].astype(np.int64),
            t_end_tai=build.index["t_end_tai"][of].astype("datetime64[s]"),
            label=build.index["label"][of].astype(np.int64),
        )
        for part, of in rows.items()
    }


def rebuild_labels(samples: Mapping[Part, Samples], flares: HarpFlares, *, task: Task) -> dict[Part, Samples]:
    """Return samples with the labels of a flare list, without those whose horizon it does not cover.

    Raises
    ------
    InputError
        If it covers no sample of a part.
    """
    rebuilt = {}
    for part, of in samples.items():
        labels, is_known = find_labels(of.codes, flares, task=task)
        require_known_labels(int(is_known.sum()), len(is_known), flares, where=f"the samples of {part}")
        rebuilt[part] = Samples(harp=of.harp[is_known], t_end_tai=of.t_end_tai[is_known], label=labels[is_known])
    return rebuilt


def join_samples(samples: Iterable[Samples]) -> Samples:
    """Return the samples of several parts in one record."""
    joined = list(samples)
    return Samples(
        **{field.name: np.concatenate([getattr(part, field.name) for part in joined]) for field in fields(Samples)}
    )


def _gather(rows: LabelledFrames) -> Samples:
    return Samples(harp=rows.harps, t_end_tai=rows.times, label=rows.labels.astype(np.int64))
