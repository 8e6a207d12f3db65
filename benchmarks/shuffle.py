"""Measure how well orders mix samples: within batches, and between two epochs. Neither speed nor pixels are involved.

``python benchmarks/shuffle.py DATA`` (half a minute) reads the published 48h label lists from a folder with ``M48/`` in
it. Without a folder, it makes about as many rows, a fifth of them positive. The real planner deals the samples to
shards of 128 MB, at 0.16 MB per sample as for film strips. The training set of a variant and a fold is put in order by:

random
    a permutation by numpy, many times: the ideal.
global
    `sffshards.loading.epoch_plan.shuffle_order`, ``--shuffle global``.
blocks
    `sffshards.loading.epoch_plan.shuffle_blocks`, ``--shuffle blocks``.
buffer
    stock WebDataset's own stages over the same shards: the list of shards is shuffled with a seed as
    ``WebDataset(shardshuffle=..., seed=...)`` does, which is the same in every epoch, then ``shuffle(size)``.
    ``detshuffle`` is that option of ``WebDataset``, which shuffles the shards differently in each epoch.

Columns: percentage of the pairs in a batch that share a frame, mean and deviation over the epochs; its ratio to the
percentage of all pairs of the set, which is 1 for random orders on average; distinct HARPs per batch; correlation of
the positions of samples in consecutive epochs, mean and largest magnitude; deviation over the batches of the percentage
of positives. Two views of one sequence show the same frames, and count as a pair that shares them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds
from numpy.typing import NDArray

from sffshards.domain.frame_sequences import Sequence as FrameSequence
from sffshards.domain.labelled_frames import LabelledFrame, LabelledFrames
from sffshards.domain.sample_sets import Kind, Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.sequence_table import SequenceTable, build_sequences
from sffshards.domain.task import M48
from sffshards.labels.data_layout import find_label_lists
from sffshards.labels.label_lists import read_parts
from sffshards.loading.epoch_plan import shuffle_blocks, shuffle_order
from sffshards.shards.build.shard_plan import plan_shards, shuffle_samples
from sffshards.synth.observation_plan import plan_parts

SEED = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """The N samples of a training set, in the order of the index."""

    shard_names: list[str]
    shards_N: NDArray[np.int64]
    groups_N: NDArray[np.int64]
    harps_N: NDArray[np.int64]
    labels_N: NDArray[np.int64]
    first_N: NDArray[np.int64]
    """Number of the first frame that a sample shows; two samples share a frame if their ranges meet."""
    last_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.shards_N)


def synthetic_parts() -> dict[Part, LabelledFrames]:
    """Write lists of about as many rows and regions as the published ones."""
    return {
        part: LabelledFrames.of(
            LabelledFrame(frame=frame, label=label, row=row)
            for row, (frame, label) in enumerate(
                (frame, label)
                for region in regions
                for frame, label in zip(region.frames, region.labels(M48), strict=True)
            )
        )
        for part, regions in plan_parts(SEED, num_harps=167, frames_per_harp=59).items()
    }


def number_frames(sequences: Sequence[FrameSequence]) -> dict[str, int]:
    """Number all frames by name, so that each sequence shows a range of numbers without a gap."""
    ends = sorted(sequences, key=lambda s: (list(Part).index(s.part), s.harp, s.row))
    return {sequence.frames[-1].name: number for number, sequence in enumerate(ends)}


def read_samples(
    parts: dict[Part, LabelledFrames], *, variant: Variant, fold: int, sample_mb: float, shard_mb: float
) -> Samples:
    sequences = SequenceTable.join(build_sequences(rows, part=part) for part, rows in parts.items())
    numbers = number_frames(sequences)
    plans = plan_shards(
        sequences,
        M48,
        sample_bytes=dict.fromkeys(Kind, sample_mb * 1e6),
        shard_bytes=round(shard_mb * 1e6),
    )
    groups = SampleSet(variant=variant, stage=Stage.TRAIN, fold=fold, protocol=Protocol.PAPER).groups(M48)
    chosen = [plan for plan in plans if plan.group in groups]
    group_numbers = {name: number for number, name in enumerate(dict.fromkeys(plan.group for plan in plans))}
    samples = [
        (shard, plan.group, sample.sequence)
        for shard, plan in enumerate(chosen)
        for sample in shuffle_samples(plan.samples, seed=SEED)
    ]
    ranges = [[numbers[frame.name] for frame in s.frames] for _, _, s in samples]
    if any(max(of) - min(of) + 1 != len(set(of)) for of in ranges):
        raise ValueError("a sequence leaves out rows of its HARP: frames cannot be compared as ranges")

    def column(values: Iterator[int]) -> NDArray[np.int64]:
        return np.fromiter(values, np.int64, len(samples))

    return Samples(
        shard_names=[plan.name for plan in chosen],
        shards_N=column(shard for shard, _, _ in samples),
        groups_N=column(group_numbers[group] for _, group, _ in samples),
        harps_N=column(s.harp for _, _, s in samples),
        labels_N=column(s.label for _, _, s in samples),
        first_N=column(min(of) for of in ranges),
        last_N=column(max(of) for of in ranges),
    )


def stock_epochs(samples: Samples, size: int, num_epochs: int, *, detshuffle: bool) -> Iterator[NDArray[np.int64]]:
    """Return the orders of stock WebDataset: its stages, over shards of positions instead of samples."""
    num_shards = len(samples.shard_names)
    rows = dict(
        zip(
            samples.shard_names, (np.flatnonzero(samples.shards_N == shard) for shard in range(num_shards)), strict=True
        )
    )

    def open_shards(source: Iterator[dict[str, Any]]) -> Iterator[int]:
        for shard in source:
            yield from rows[shard["url"]].tolist()

    shuffle_shards = wds.detshuffle if detshuffle else wds.shuffle
    pipeline = wds.DataPipeline(
        wds.SimpleShardList(samples.shard_names),
        wds.single_node_only,
        wds.split_by_worker,
        shuffle_shards(len(rows), seed=SEED),
        open_shards,
        wds.shuffle(size, rng=random.Random(SEED)),
    )
    for _ in range(num_epochs):
        yield np.fromiter(pipeline, np.int64, len(samples))


def sharing_of_all_pairs(samples: Samples) -> float:
    """Return the percentage of all pairs of samples that share a frame."""
    num = len(samples)
    num_before = np.searchsorted(np.sort(samples.last_N), samples.first_N, side="left")  # ends before this one begins
    num_pairs = num * (num - 1) / 2
    return float(100 * (1 - num_before.sum() / num_pairs))


def score_epoch(samples: Samples, order_N: NDArray[np.int64], batch: int) -> tuple[float, float, float]:
    """Return sharing pairs in percent, HARPs, and deviation of the positives, over the full batches of an epoch."""
    batches = order_N[: len(order_N) // batch * batch].reshape(-1, batch)
    first, last = samples.first_N[batches], samples.last_N[batches]
    left, right = np.triu_indices(batch, k=1)
    share = np.maximum(first[:, left], first[:, right]) <= np.minimum(last[:, left], last[:, right])
    num_harps = 1 + (np.diff(np.sort(samples.harps_N[batches], axis=1), axis=1) != 0).sum(axis=1)
    positives = samples.labels_N[batches].mean(axis=1)
    return float(100 * share.mean()), float(num_harps.mean()), float(100 * positives.std())


def correlations(orders: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return the correlation of the positions of samples in consecutive epochs, for all pairs of these."""
    places = [np.argsort(order) for order in orders]
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in pairwise(places)])


def report(name: str, samples: Samples, orders: Sequence[NDArray[np.int64]], batches: Sequence[int]) -> None:
    if any(not np.array_equal(np.sort(order_N), np.arange(len(samples))) for order_N in orders):
        raise ValueError(f"{name}: an epoch does not hold every sample once")
    of_next, of_all = correlations(orders), sharing_of_all_pairs(samples)
    for batch in batches:
        scores = np.array([score_epoch(samples, order_N, batch) for order_N in orders])
        sharing, num_harps, positives = scores.mean(axis=0)
        print(
            f"{name:<24} {batch:5d} {sharing:6.3f} ± {scores[:, 0].std():5.3f} {sharing / of_all:7.2f}"
            f" {num_harps:7.2f} {of_next.mean():+12.3f} {np.abs(of_next).max():6.3f} {positives:9.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of the label lists; synthetic ones if not given")
    parser.add_argument("--variant", type=Variant, default=Variant.OTV)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--batches", type=int, nargs="*", default=[10, 32])
    parser.add_argument("--epochs", type=int, default=20, help="epochs of our orders and of stock WebDataset")
    parser.add_argument("--draws", type=int, default=100, help="number of random orders")
    parser.add_argument("--buffers", type=int, nargs="*", default=[100, 1_000, 5_000])
    parser.add_argument("--block-shards", type=int, default=10)
    parser.add_argument("--sample-mb", type=float, default=0.16, help="size of a sample in a tar")
    parser.add_argument("--shard-mb", type=float, default=128.0)
    options = parser.parse_args()
    parts = read_parts(find_label_lists(options.data)[M48]) if options.data else synthetic_parts()
    samples = read_samples(
        parts,
        variant=options.variant,
        fold=options.fold,
        sample_mb=options.sample_mb,
        shard_mb=options.shard_mb,
    )
    num_harps, positives = len(np.unique(samples.harps_N)), 100 * samples.labels_N.mean()
    num_shards = len(samples.shard_names)
    print(f"{len(samples):,} samples of {num_harps} HARPs in {num_shards} shards, {positives:.1f} % positive")
    print(f"{sharing_of_all_pairs(samples):.4f} % of all pairs share a frame")
    print(f"{'':<24} batch   sharing in %  to all   HARPs  correlation, max   positives")
    rng = np.random.default_rng(SEED)
    num, epochs = len(samples), range(options.epochs)
    report("random", samples, [rng.permutation(num) for _ in range(options.draws)], options.batches)
    report("global", samples, [shuffle_order(num, seed=SEED, epoch=e) for e in epochs], options.batches)
    in_blocks = [
        shuffle_blocks(samples.shards_N, samples.groups_N, block_shards=options.block_shards, seed=SEED, epoch=e)
        for e in epochs
    ]
    report(f"blocks of {options.block_shards} shards", samples, in_blocks, options.batches)
    for size in options.buffers:
        for detshuffle in (False, True):
            orders = list(stock_epochs(samples, size, options.epochs, detshuffle=detshuffle))
            report(f"buffer {size:,}{', detshuffle' * detshuffle}", samples, orders, options.batches)


if __name__ == "__main__":
    main()
