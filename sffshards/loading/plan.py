"""Which sample each rank sees at each step of an epoch: pure functions of seed and epoch.

The global order depends on the seed and the epoch alone. Step s takes ``order[s * G : (s + 1) * G]`` for a global batch
of G samples, and each rank a contiguous slice of that. So the global batches are the same on any number of ranks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["PADDING", "plan_epoch", "shuffle_order"]

PADDING = -1
"""Stands in a plan where a rank has no sample; masked out of every loss and score."""


def plan_epoch(
    num_samples: int, *, global_batch: int, num_ranks: int, seed: int, epoch: int, shuffle: bool
) -> NDArray[np.int64]:
    """Deal the samples of a set to steps and ranks.

    Every sample comes exactly once. The last global batch may be short; each batch is dealt so that the ranks' shares
    differ by at most one sample, and every rank has every step, if need be with padding only.

    Parameters
    ----------
    num_samples
        Samples in the set.
    global_batch
        Samples in a step, over all ranks.
    num_ranks
        Processes that train together.
    seed, epoch
        What the order follows from; not used without ``shuffle``.
    shuffle
        Whether to shuffle; if not, samples come in their own order.

    Returns
    -------
    int64 array of shape (num_steps, num_ranks, local_batch)
        Positions in the set, or `PADDING`; ``local_batch`` is ``global_batch / num_ranks``, rounded up.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> plan_epoch(5, global_batch=3, num_ranks=2, seed=0, epoch=0, shuffle=False).tolist()
    [[[0, -1], [1, 2]], [[3, -1], [4, -1]]]
    """
    if num_samples < 0 or global_batch < 1 or num_ranks < 1:
        raise ValueError(f"no plan of {num_samples} samples in batches of {global_batch} on {num_ranks} ranks")
    order = shuffle_order(num_samples, seed=seed, epoch=epoch) if shuffle else np.arange(num_samples, dtype=np.int64)
    num_steps = -(-num_samples // global_batch)
    local_batch = -(-global_batch // num_ranks)
    sizes = np.full(num_steps, global_batch, np.int64)
    if num_steps:
        sizes[-1] = num_samples - (num_steps - 1) * global_batch
    # Rank r of R takes [r * size // R, (r + 1) * size // R) of its step: slices that join without gap or overlap.
    cuts = np.arange(num_ranks + 1, dtype=np.int64) * sizes[:, None] // num_ranks
    starts = np.arange(num_steps, dtype=np.int64)[:, None] * global_batch + cuts[:, :-1]
    positions = starts[:, :, None] + np.arange(local_batch, dtype=np.int64)
    real = np.arange(local_batch) < np.diff(cuts, axis=1)[:, :, None]
    plan = np.full((num_steps, num_ranks, local_batch), PADDING, np.int64)
    plan[real] = order[positions[real]]
    return plan


def shuffle_order(num_samples: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Give a permutation of ``range(num_samples)`` as int64; the same under any version of numpy.

    The samples are sorted by 64-bit keys drawn raw from PCG64. numpy keeps the streams of its bit generators for good
    (NEP 19), but not those of ``Generator.permutation``.
    """
    keys = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(num_samples)
    return np.argsort(keys, kind="stable").astype(np.int64)
