"""The plan of shards: samples spread evenly by class and HARP over the shards of a group, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest

from sffshards.domain.frame_sequences import Sample, Sequence
from sffshards.domain.sample_sets import Kind, Part, format_group
from sffshards.shards.format import format_shard_name


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPlan:
    """Name and samples of a shard that is to be written."""

    name: str
    """Path in the build, such as ``TrainVal0/base-00000.tar``."""
    group: str
    kind: Kind
    samples: tuple[Sample, ...]


def plan_shards(
    sequences: Iterable[Sequence], *, sample_bytes: Mapping[Kind, float], shard_bytes: int, seed: int
) -> list[ShardPlan]:
    """Distribute the samples of all groups over shards.

    Samples of a group, sorted by class, HARP, time and view, are dealt to its shards in turn. So the numbers by class,
    and by HARP within a class, differ by at most one between two shards. Within a shard the samples are in the order of
    a hash of seed and key, which does not depend on the random generator of any library.

    Parameters
    ----------
    sequences
        The sequences of all parts.
    sample_bytes
        Mean size in bytes of a sample of each kind in a tar.
    shard_bytes
        Target size of a shard.
    seed
        Seed of the order within a shard.

    Returns
    -------
    list of ShardPlan
        In the order of parts, kinds and numbers. A group without samples has no shard.
    """
    of_part: dict[Part, list[Sequence]] = {part: [] for part in Part}
    for sequence in sequences:
        of_part[sequence.part].append(sequence)
    plans = []
    for part in Part:
        for kind in Kind:
            samples = list_samples(of_part[part], kind)
            num_shards = min(len(samples), max(1, round(len(samples) * sample_bytes[kind] / shard_bytes)))
            group = format_group(part, kind)
            for number in range(num_shards):
                dealt = sorted(samples[number::num_shards], key=lambda s: _shuffle_key(s, seed))
                plans.append(
                    ShardPlan(name=format_shard_name(group, number), group=group, kind=kind, samples=tuple(dealt))
                )
    return plans


def list_samples(sequences: Iterable[Sequence], kind: Kind) -> list[Sample]:
    """Return the samples of a kind that sequences make, sorted by class, HARP, time and view."""
    chosen = (s for s in sequences if kind is Kind.BASE or s.label == 1)
    ordered = sorted(chosen, key=lambda s: (s.label, s.harp, s.t_end_tai))
    return [Sample(sequence=sequence, view=view) for sequence in ordered for view in kind.views]


def _shuffle_key(sample: Sample, seed: int) -> tuple[int, str]:
    return xxh3_64_intdigest(f"{seed}/{sample.key}".encode()), sample.key
