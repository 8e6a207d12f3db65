"""Subsets of a test set that are scored apart: first flares and what follows them, by a flare list or by labels."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards import verification
from sffshards.base.errors import format_count
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares, has_flare
from sffshards.forecasting.runs.predictions_table import Predictions


class Subset(StrEnum):
    """Samples of a set that are scored together."""

    ALL = "all"
    FIRST = "first flares"
    """Samples whose region has had no flare before, by a flare list: a flare that follows is its first."""
    LATER = "later flares"
    """Samples whose region has flared before, by a flare list."""
    NONE_KNOWN = "no flare known from labels"
    """Samples whose region is not known from labels to have flared in the horizon before; it may have all the same."""
    KNOWN = "flare known from labels"
    """Samples whose region is known from labels to have flared in the horizon before."""


DEFINITIONS = {
    Subset.ALL: "all samples of the set, each sequence once, as it is (view nf)",
    Subset.FIRST: "samples whose region had no flare of the task's class or above up to then, by the flare list",
    Subset.LATER: "samples whose region had a flare of the task's class or above up to then, by the flare list",
    Subset.NONE_KNOWN: "samples that are not of the subset `flare known from labels`",
    Subset.KNOWN: "samples whose region's latest label of the set that was known by then, of a horizon ago or earlier, "
    "was a flare of the task's class or above",
}
"""What each subset consists of."""


def find_subsets(
    samples: Predictions, *, task: Task, flares: HarpFlares | None = None
) -> dict[Subset, NDArray[np.bool_]]:
    """Return whether each sample is of the one or of the other subset: bool arrays of shape (n,).

    With a flare list, these are first and later flares: a region's first flare follows those samples at or before which
    no flare of the task's class or above of its HARP started. Without one, only labels of the same set count, each of
    which is known a horizon after its time: the subset without a known flare then holds many samples of regions that
    have flared, which `explain_subsets` counts as far as labels show them.

    Parameters
    ----------
    samples
        Samples of a set, plain views only.
    task
        The event of the labels.
    flares
        Flares from `sffshards.flares.assign_flares`, by the time at which they start.

    References
    ----------
    Park et al., ApJ 890 (2020), 124: first flares are harder to forecast, and more useful.
    """
    if flares is not None:
        earlier = has_flare(
            flares, samples.harp, samples.t_end_tai, threshold=task.threshold, after_hours=None, until_hours=0
        )
        return {Subset.FIRST: ~earlier, Subset.LATER: earlier}
    known = verification.forecast_persistence(
        samples.label, samples.t_end_tai, samples.harp, horizon_hours=task.horizon_hours, unknown=0
    )
    return {Subset.NONE_KNOWN: known == 0, Subset.KNOWN: known == 1}


def explain_subsets(samples: Predictions, *, task: Task, flares: HarpFlares | None = None) -> str:
    """Return in words how many positive samples of the first subset may follow an earlier flare all the same.

    Parameters are those of `find_subsets`.
    """
    first = next(iter(find_subsets(samples, task=task, flares=flares).values()))
    chosen = first & (samples.label == 1)
    positive = samples.where(chosen)
    counted = format_count(len(positive), "positive sample")
    if flares is not None:
        return f"{Subset.FIRST}: {counted}; {_explain_list(positive, flares)}"
    labels = samples.label, samples.t_end_tai, samples.harp
    hours = task.horizon_hours
    num_flared = int(verification.forecast_ever_flared(*labels, horizon_hours=hours)[chosen].sum())
    latest = verification.forecast_persistence(*labels, horizon_hours=hours, unknown=np.nan)
    num_unknown = int(np.isnan(latest[chosen]).sum())
    num_rest = len(positive) - num_flared - num_unknown
    return (
        f"{Subset.NONE_KNOWN}: {counted}, each of which may follow an earlier flare: {num_flared:,} do by older "
        f"labels, {num_unknown:,} have no label of their region that is known yet, and {num_rest:,} do if the region "
        f"flared before its labels begin or between them; a flare list decides this"
    )


def _explain_list(positive: Predictions, flares: HarpFlares) -> str:
    """Return for how many samples the flare list or the map cannot exclude an earlier flare."""
    unmapped = sum(not flares.knows(harp) for harp in positive.harp.tolist())
    times = positive.t_end_tai
    uncovered = int(((times < flares.first) | (times > flares.last)).sum())
    return (
        f"nothing is known of {unmapped:,} (HARP not in {flares.harp_map.source}) and of {uncovered:,} (outside the "
        f"time of {flares.flares.source}), which count as first flares"
    )
