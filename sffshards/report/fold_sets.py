"""What the sets of a fold hold, and which active regions they share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sffshards.domain.sample_sets import Stage
from sffshards.report.gathered_runs import RunResult, plain_rows

__all__ = ["SetCounts", "SharedHarps", "count_sets", "find_shared_harps"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SetCounts:
    """The classes of a set."""

    fold: int
    stage: Stage
    parts: tuple[str, ...]
    num_sequences: int
    """Each as it is."""
    num_flares: int
    """Of them, those that a flare followed."""
    num_samples: int
    """With the further views that the variant shows."""
    num_flare_samples: int
    num_harps: int
    num_flaring_harps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedHarps:
    """Active regions with sequences in two sets of a fold."""

    fold: int
    first: Stage
    second: Stage
    harps: tuple[int, ...]
    """Their HARP numbers, ascending."""
    num_sequences: int
    """Sequences of the second set that are theirs."""
    num_flares: int
    """Of them, those that a flare followed."""


def count_sets(run: RunResult) -> tuple[SetCounts, ...]:
    """Count the classes of every set of a run that was evaluated."""
    counts = []
    for fold in run.evaluated:
        record = fold.record
        for stage, table in fold.tables.items():
            plain = plain_rows(table)
            counts.append(
                SetCounts(
                    fold=record.fold,
                    stage=stage,
                    parts=tuple(map(str, record.sample_set(stage).parts(record.task))),
                    num_sequences=len(plain),
                    num_flares=int(plain.label.sum()),
                    num_samples=len(table),
                    num_flare_samples=int(table.label.sum()),
                    num_harps=len(np.unique(plain.harp)),
                    num_flaring_harps=len(np.unique(plain.harp[plain.label == 1])),
                )
            )
    return tuple(counts)


def find_shared_harps(run: RunResult) -> tuple[SharedHarps, ...]:
    """Find the regions that two sets of a fold share: three pairs of sets a fold, whether they share any or not."""
    shared = []
    for fold in run.evaluated:
        for first, second in combinations(Stage, 2):
            harps = np.intersect1d(fold.tables[first].harp, fold.tables[second].harp)
            plain = plain_rows(fold.tables[second])
            theirs = np.isin(plain.harp, harps)
            shared.append(
                SharedHarps(
                    fold=fold.record.fold,
                    first=first,
                    second=second,
                    harps=tuple(harps.tolist()),
                    num_sequences=int(theirs.sum()),
                    num_flares=int(plain.label[theirs].sum()),
                )
            )
    return tuple(shared)
