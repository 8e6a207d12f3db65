"""The plan of an epoch, which sample each rank reads at each step: pure functions of seed and epoch.

The global order depends on the seed and the epoch alone. Step s takes ``order[s * G : (s + 1) * G]`` for a global batch
of G samples, and each rank a contiguous slice of it. So the global batches are the same on any number of ranks.

Shapes: N samples of a set.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PADDING = -1
"""Entry of a plan where a rank has no sample; masked out of every loss and score."""


_BALANCED, _CHANGES = 11, 13
"""Numbers of random streams: of balanced orders, one for each label from this on, and of changes of clips."""


def plan_epoch(order_N: NDArray[np.int64], *, global_batch: int, num_ranks: int) -> NDArray[np.int64]:
    """Return the plan of an epoch: the samples of a set, in an order, assigned to steps and ranks.

    Every sample comes exactly once. The last global batch may be short. The ranks' shares of a batch differ by at most
    one sample, and every rank has every step, if need be with padding only.

    Parameters
    ----------
    order_N
        Samples in the order of the epoch: a permutation of positions in the set.
    global_batch
        Number of samples per step, over all ranks.
    num_ranks
        Number of processes that train together.

    Returns
    -------
    int64 array of shape (num_steps, num_ranks, local_batch)
        Entries of ``order_N``, or `PADDING`; ``local_batch`` is ``global_batch / num_ranks``, rounded up, or less if
        the set is smaller than the batch.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> plan_epoch(np.arange(5), global_batch=3, num_ranks=2).tolist()
    [[[0, -1], [1, 2]], [[3, -1], [4, -1]]]
    """
    if global_batch < 1 or num_ranks < 1:
        raise ValueError(f"no plan in batches of {global_batch} on {num_ranks} ranks")
    num_samples = len(order_N)
    num_steps = -(-num_samples // global_batch)
    local_batch = -(-min(global_batch, num_samples) // num_ranks)
    sizes = np.full(num_steps, global_batch, np.int64)
    if num_steps:
        sizes[-1] = num_samples - (num_steps - 1) * global_batch
    # Rank r of R takes [r * size // R, (r + 1) * size // R) of its step: slices that join without gap or overlap.
    cuts = np.arange(num_ranks + 1, dtype=np.int64) * sizes[:, None] // num_ranks
    starts = np.arange(num_steps, dtype=np.int64)[:, None] * global_batch + cuts[:, :-1]
    positions = starts[:, :, None] + np.arange(local_batch, dtype=np.int64)
    real = np.arange(local_batch) < np.diff(cuts, axis=1)[:, :, None]
    plan = np.full((num_steps, num_ranks, local_batch), PADDING, np.int64)
    plan[real] = order_N[positions[real]]
    return plan


def shuffle_order(num_samples: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return a permutation of ``range(num_samples)`` as int64; the same under any version of numpy.

    The samples are sorted by 64-bit keys drawn raw from PCG64. numpy guarantees the streams of its bit generators
    (NEP 19), but not those of ``Generator.permutation``.
    """
    return np.argsort(_draw(num_samples, seed, epoch), kind="stable").astype(np.int64)


def shuffle_blocks(
    shards_N: NDArray[np.int64], groups_N: NDArray[np.int64], *, block_shards: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Return a permutation that needs few shards at a time: shards are drawn into blocks, samples shuffled in each.

    Every epoch draws other blocks. The shards of each group are assigned to the blocks in turn, so that every block
    holds its share of each part and of the oversampled views.

    Parameters
    ----------
    shards_N, groups_N
        Number of each sample's shard, and number of that shard's group.
    block_shards
        Least number of shards per block; a block has fewer than twice as many, or all shards if there are no more.
    seed, epoch
        Seed and number of the epoch, from which the order follows.

    Returns
    -------
    int64 array of shape (N,)
        Positions in the set.

    Raises
    ------
    ValueError
        If ``block_shards`` is not positive.
    """
    if block_shards < 1:
        raise ValueError(f"no blocks of {block_shards} shards")
    shards_S, first_S, shard_N = np.unique(shards_N, return_index=True, return_inverse=True)
    num_blocks = max(1, len(shards_S) // block_shards)
    shard_keys_S, block_keys, sample_keys_N = (
        _draw(num, seed, epoch, stream) for stream, num in enumerate((len(shards_S), num_blocks, len(shards_N)), 1)
    )
    place_S = np.empty(len(shards_S), np.int64)
    place_S[np.lexsort((shard_keys_S, groups_N[first_S]))] = np.arange(len(shards_S)) % num_blocks
    turn_S = np.argsort(block_keys, kind="stable")[place_S]
    return np.lexsort((sample_keys_N, turn_S[shard_N])).astype(np.int64)


def balance_order(labels_N: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return an order of N samples in which negatives and positives alternate, drawn from a set of N.

    Each class is an endless stream of permutations of its samples, each permutation from the seed and its number, and
    every epoch takes the next N/2 of each stream. So in every slice of an order the numbers of positives and negatives
    differ by one at most, and after any number of epochs the samples of a class were seen equally often, or once more.

    Parameters
    ----------
    labels_N
        Label of each sample of the set, 0 or 1.
    seed, epoch
        Seed and number of the epoch, from which the order follows.

    Returns
    -------
    int64 array of shape (N,)
        Positions in the set, the first of a negative.

    Raises
    ------
    ValueError
        If the set lacks a class.
    """
    order_N = np.empty(len(labels_N), np.int64)
    for label in (0, 1):
        members = np.flatnonzero(labels_N == label)
        if not len(members):
            raise ValueError(f"no balanced order of samples of which none has the label {label}")
        num = len(order_N[label::2])
        numbers = np.arange(epoch * num, (epoch + 1) * num)  # in the stream
        passes, places = np.divmod(numbers, len(members))
        for number in np.unique(passes):
            order = np.argsort(_draw(len(members), seed, number, _BALANCED + label), kind="stable")
            order_N[label::2][passes == number] = members[order[places[passes == number]]]
    return order_N


def draw_words(num: int, words: int, *, seed: int, epoch: int, first: int) -> NDArray[np.uint64]:
    """Return random 64-bit words for samples that are consecutive in the order of an epoch.

    Parameters
    ----------
    num
        Number of samples.
    words
        Number of words per sample, the same in all calls.
    seed, epoch
        Seed and number of the epoch.
    first
        Place of the first sample in the order of the epoch; the words of each follow from its place.

    Returns
    -------
    array of shape (num, words)
    """
    bits = np.random.PCG64(np.random.SeedSequence((seed, epoch, _CHANGES))).advance(first * words)
    return bits.random_raw(num * words).reshape(num, words)


def _draw(num: int, *entropy: int) -> NDArray[np.uint64]:
    return np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(num)
