"""Classes of a run's sets, and active regions that two sets of a fold share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs.run_fold import RunFold
from sffshards.forecasting.runs.run_folders import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class SetCounts:
    """The classes of a set."""

    fold: int
    stage: Stage
    parts: tuple[str, ...]
    """Parts of the data that the set consists of."""
    num_sequences: int
    """Number of sequences, each counted once."""
    num_flares: int
    """Number of sequences that a flare followed."""
    num_samples: int
    """Number of samples, including the augmented views of the variant."""
    num_flare_samples: int
    """Number of samples that a flare followed."""
    num_harps: int
    num_flaring_harps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedHarps:
    """Active regions with sequences in two sets of a fold."""

    fold: int
    first: Stage
    second: Stage
    num_harps: int
    num_sequences: int
    """Number of sequences of the second set that belong to these regions."""
    num_flares: int
    """Number of these sequences that a flare followed."""
    harps: tuple[int, ...]
    """HARP numbers, ascending."""


def count_sets(run: Run) -> tuple[SetCounts, ...]:
    """Count the classes of every set of the evaluated folds of a run."""
    return tuple(_count_set(fold, stage) for fold in run.evaluated for stage in fold.tables)


def find_shared_harps(run: Run) -> tuple[SharedHarps, ...]:
    """Find the regions that two sets of a fold share, for each pair of sets that are forecast, even if it is none."""
    shared = []
    for fold in run.evaluated:
        for first, second in combinations(fold.tables, 2):
            harps = np.intersect1d(fold.tables[first].harp, fold.tables[second].harp)
            plain = fold.plain(second)
            is_shared = np.isin(plain.harp, harps)
            shared.append(
                SharedHarps(
                    fold=fold.number,
                    first=first,
                    second=second,
                    num_harps=len(harps),
                    num_sequences=int(is_shared.sum()),
                    num_flares=int(plain.label[is_shared].sum()),
                    harps=tuple(harps.tolist()),
                )
            )
    return tuple(shared)


def _count_set(fold: RunFold, stage: Stage) -> SetCounts:
    table, plain = fold.tables[stage], fold.plain(stage)
    return SetCounts(
        fold=fold.number,
        stage=stage,
        parts=tuple(map(str, fold.sample_set(stage).parts(fold.task))),
        num_sequences=len(plain),
        num_flares=int(plain.label.sum()),
        num_samples=len(table),
        num_flare_samples=int(table.label.sum()),
        num_harps=len(np.unique(plain.harp)),
        num_flaring_harps=len(np.unique(plain.harp[plain.label == 1])),
    )
