"""The plan of shards: samples spread evenly by class and HARP over the shards of a group, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from xxhash import xxh3_64_intdigest

from sffshards.domain.frame_sequences import Sample
from sffshards.domain.sample_sets import Kind, Part, format_group
from sffshards.domain.sequence_table import SampleTable, SequenceTable
from sffshards.domain.task import Task
from sffshards.domain.views import View
from sffshards.shards.format import format_shard_name

_PARTS, _VIEWS = list(Part), list(View)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPlan:
    """Name and samples of a shard that is to be written."""

    name: str
    """Path in the build, such as ``TrainVal0/M48-TrainVal0-base-00000.tar``."""
    group: str
    kind: Kind
    samples: SampleTable
    """The samples, sorted by class, HARP, time and view."""


def plan_shards(
    sequences: SequenceTable, task: Task, *, sample_bytes: Mapping[Kind, float], shard_bytes: int
) -> list[ShardPlan]:
    """Distribute the samples of all groups over shards.

    Samples of a group, sorted by class, HARP, time and view, are dealt to its shards in turn. So the numbers by class,
    and by HARP within a class, differ by at most one between two shards.

    Parameters
    ----------
    sequences
        The sequences of all parts.
    task
        The task of their labels, for the names.
    sample_bytes
        Mean size in bytes of a sample of each kind in a tar.
    shard_bytes
        Target size of a shard.

    Returns
    -------
    list of ShardPlan
        In the order of parts, kinds and numbers. A group without samples has no shard.
    """
    plans = []
    for number, part in enumerate(_PARTS):
        of_part = np.flatnonzero(sequences.parts == number)
        for kind in Kind:
            samples = list_samples(sequences.take(of_part), kind)
            num_shards = min(len(samples), max(1, round(len(samples) * sample_bytes[kind] / shard_bytes)))
            group = format_group(part, kind)
            for shard in range(num_shards):
                name = format_shard_name(task, group, shard)
                dealt = samples[shard::num_shards]
                plans.append(ShardPlan(name=name, group=group, kind=kind, samples=dealt))
    return plans


def list_samples(sequences: SequenceTable, kind: Kind) -> SampleTable:
    """Return the samples of a kind that sequences make, sorted by class, HARP, time and view."""
    chosen = np.arange(len(sequences)) if kind is Kind.BASE else np.flatnonzero(sequences.labels)
    of_kind = sequences.take(chosen)
    ordered = chosen[np.lexsort((of_kind.end_times, of_kind.harps, of_kind.labels))]
    views = np.array([_VIEWS.index(view) for view in kind.views], np.uint8)
    return SampleTable(sequences.take(np.repeat(ordered, len(views))), np.tile(views, len(ordered)))


def shuffle_samples(samples: Iterable[Sample], *, seed: int) -> list[Sample]:
    """Return the samples of a shard in the order of a hash of seed and key, which depends on no random generator."""
    return sorted(samples, key=lambda sample: (xxh3_64_intdigest(f"{seed}/{sample.key}".encode()), sample.key))
