"""Whether attributions depend on what a network learnt, and whether its forecast depends on what they mark.

Shapes: T frames, H and W pixels, D points of a curve.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sffshards.base.progress import Advance
from sffshards.forecasting.explanations.attributions import Explained, integrate_gradients
from sffshards.models import NO_FIELD

CELL_SIDE = 8
"""Height and width in pixels of the cells that are compared and deleted; single pixels are too small for both."""
NUM_POINTS = 10
"""Number of points of a deletion curve."""
_NUM_RANDOM = 3
"""Number of random orders of deletion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """The mean logit difference while a clip is replaced by no field, cell by cell, in several orders."""

    marked: float
    """Mean where the cells with the highest attribution are replaced first."""
    strongest: float
    """Mean where the cells with the strongest field are replaced first."""
    random: float
    """Mean where cells are replaced in random order, over several orders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributionChecks:
    """The two checks of the attributions of a network and a clip."""

    deletion: Deletion
    rank_correlation: float
    """Spearman correlation of the attributions of cells with those of the same network after its weights were shuffled;
    nan where either is the same everywhere."""

    @property
    def is_passed(self) -> bool:
        """Whether marked cells are more important than random ones, and the attributions depend on the weights."""
        return self.deletion.marked < self.deletion.random and abs(self.rank_correlation) < MAX_CORRELATION


MAX_CORRELATION = 0.5
"""Absolute rank correlation with the attributions of shuffled weights from which the check is failed."""


def count_check_clips(num_steps: int) -> int:
    """Return the number of clips that `check_attributions` computes."""
    return num_steps + (2 + _NUM_RANDOM) * NUM_POINTS


def check_attributions(
    explained: Explained, attribution_THW: NDArray[np.float32], *, num_steps: int, seed: int, advance: Advance
) -> AttributionChecks:
    """Check attributions by deletion and by shuffled weights.

    Parameters
    ----------
    explained, num_steps
        As of `integrate_gradients`, which computed the attributions.
    attribution_THW
        The attributions.
    seed
        Seed of the random orders and of the shuffling.
    advance
        Receiver of the number of clips done.
    """
    other = explained.with_network(shuffle_weights(explained.network, seed=seed))
    shuffled = integrate_gradients(other, num_steps=num_steps, advance=advance)
    return AttributionChecks(
        deletion=delete_cells(explained, attribution_THW, seed=seed, advance=advance),
        rank_correlation=correlate_ranks(attribution_THW, shuffled.attribution_THW),
    )


def delete_cells(
    explained: Explained, attribution_THW: NDArray[np.float32], *, seed: int, advance: Advance
) -> Deletion:
    """Compute the mean logit difference along deletion curves, a tenth of the cells at a time.

    The better the cells that carry a forecast are marked, the lower is ``marked``: the deletion metric of Petsiuk et
    al. (2018, arXiv:1806.07421). A random order is easy to beat, because most cells have no field; ``strongest`` is the
    harder reference.
    """
    field_THW = (explained.x_THW - NO_FIELD).abs().cpu().numpy()
    rng = np.random.default_rng(seed)
    orders = [np.argsort(-sum_cells(values), axis=None, kind="stable") for values in (attribution_THW, field_THW)]
    orders += [rng.permutation(len(orders[0])) for _ in range(_NUM_RANDOM)]
    logits = explained.replaced((mask for order in orders for mask in _deletions(order, explained)), advance=advance)
    marked, strongest, *random = logits.reshape(len(orders), NUM_POINTS).mean(axis=1).tolist()
    return Deletion(marked=marked, strongest=strongest, random=float(np.mean(random)))


def shuffle_weights(network: nn.Module, *, seed: int) -> nn.Module:
    """Return a copy of a network in which the numbers of each weight tensor are in random order.

    This destroys what the network learnt but keeps the distribution of its weights, and works for any network.
    """
    shuffled = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in shuffled.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return shuffled


def correlate_ranks(first_THW: NDArray[np.floating], second_THW: NDArray[np.floating]) -> float:
    """Return the Spearman correlation of the signed sums of cells; nan where either is the same everywhere."""
    from scipy.stats import rankdata

    ranks = [rankdata(sum_cells(values), axis=None) for values in (first_THW, second_THW)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def sum_cells(values_THW: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the sums over cells of a frame, float64 of shape (T, H / CELL_SIDE, W / CELL_SIDE)."""
    num_frames, height, width = values_THW.shape
    cells = values_THW.reshape(num_frames, height // CELL_SIDE, CELL_SIDE, width // CELL_SIDE, CELL_SIDE)
    return np.asarray(cells.sum(axis=(2, 4), dtype=np.float64))


def _deletions(order: NDArray[np.int64], explained: Explained) -> Iterator[NDArray[np.bool_]]:
    """Yield masks that replace the first tenth of the cells in an order, the first two tenths, and so on."""
    num_frames, height, width = explained.x_THW.shape
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    ranks_Thw = ranks.reshape(num_frames, height // CELL_SIDE, width // CELL_SIDE)
    for point in range(1, NUM_POINTS + 1):
        mask_Thw = ranks_Thw < point * len(order) / NUM_POINTS
        yield mask_Thw.repeat(CELL_SIDE, axis=1).repeat(CELL_SIDE, axis=2)
