"""The numbers of the samples of a build, as the network of a fold takes them beside the clips.

Shapes: n samples, N rows of the build's index, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import format_count
from sffshards.base.progress import Progress
from sffshards.domain.frame_codes import pack_codes
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import Stage
from sffshards.loading import ShardDataModule
from sffshards.shards.read import Build
from sffshards.tabular import InputGroup, NetworkInputs, NumberScale, NumberSources, SampleInputs, fit_scale


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleNumbers:
    """The numbers of every sample of a build, standardised on a training set."""

    scale: NumberScale
    """The standardisation."""
    values_NF: NDArray[np.float32]
    """Numbers and masks of every row of the index, shape (N, 2 F)."""


def describe_rows(
    build: Build, rows: NDArray[np.int64], *, inputs: NetworkInputs, sources: NumberSources
) -> SampleInputs:
    """Return what is known of samples of a build; raises as `check_sources` and `NumberSources.describe`."""
    check_sources(build, inputs=inputs, sources=sources)
    return sources.describe(
        inputs, pack_codes(build.index["harp"][rows].astype(np.int64), build.index["t_end_tai"][rows])
    )


def check_sources(build: Build, *, inputs: NetworkInputs, sources: NumberSources) -> None:
    """Check the tables that the network of a fold takes numbers from.

    Raises
    ------
    InputError
        If one is needed and not given, or has HARP numbers of another kind than the build.
    """
    sources.require(inputs, where="the network")
    sources.require_numbers(HarpNumbers.recorded_in(build.manifest.inputs.image_options), where=build.folder)


def prepare_numbers(
    data: ShardDataModule, *, inputs: NetworkInputs, sources: NumberSources, progress: Progress
) -> SampleNumbers | None:
    """Return the numbers of all samples of a build for a fold; None for a network of images alone.

    The standardisation is that of the sequences of the fold's training set, each counted once, without augmented views.

    Parameters
    ----------
    data
        Sets of the fold.
    inputs
        What the network takes.
    sources
        Tables that the numbers are taken from.
    progress
        Receives a note on training sequences of which nothing is known.

    Raises
    ------
    InputError
        If a table is needed and not given, of other HARP numbers, or has nothing of the training set.
    """
    if not inputs.groups:
        return None
    build = data.build
    training = np.unique(build.plain_rows()[build.set_rows(data.sample_set(Stage.TRAIN))])
    known = describe_rows(build, training, inputs=inputs, sources=sources)
    _note_missing(known, inputs, fold=data.fold, progress=progress)
    scale = fit_scale(known, inputs.groups)
    every = describe_rows(build, np.arange(len(build)), inputs=inputs, sources=sources)
    return SampleNumbers(scale=scale, values_NF=scale.apply(every, inputs.groups))


def _note_missing(known: SampleInputs, inputs: NetworkInputs, *, fold: int, progress: Progress) -> None:
    groups = {InputGroup.KEYWORDS: known.last, InputGroup.HISTORY: known.history_nF}
    for group, values_nF in groups.items():
        num_missing = int(np.isnan(values_nF).all(axis=1).sum())
        if group in inputs.groups and num_missing:
            of_all = f"{num_missing:,} of {format_count(len(values_nF), 'training sequence')}"
            progress.note(f"fold {fold}: {of_all} without {group}, which are masked")
