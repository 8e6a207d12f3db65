"""The full disk from its regions: the probability that at least one of them flares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from sffshards.base.errors import Field, InputError
from sffshards.forecasting.operational.region_forecasts import RegionForecasts, Spread, spread_of

__all__ = ["FullDiskForecast", "combine_regions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FullDiskForecast:
    """The forecast of all regions at a time."""

    t_end_tai: datetime
    regions: tuple[int, ...]
    """Positions of the sequences that it is of, in the order of `RegionForecasts.shown`; one a HARP."""
    spread: Spread


def combine_regions(forecasts: RegionForecasts, *, tolerance_minutes: int) -> list[FullDiskForecast]:
    """Give the full-disk forecast at every time at which a sequence ends, in order.

    ``1 - prod(1 - p)`` over the regions, which takes them for independent; of each HARP the latest sequence that ends
    then or at most so many minutes earlier. It is of the mean probabilities; its spread, of each member's own.

    Parameters
    ----------
    forecasts
        Of regions.
    tolerance_minutes
        0 or more.

    Raises
    ------
    InputError
        If the tolerance is negative.
    """
    if tolerance_minutes < 0:
        raise InputError(Field("tolerance"), expected="0 or more", found=str(tolerance_minutes), fix="choose another")
    order = sorted(range(len(forecasts.shown)), key=lambda number: forecasts.shown[number].t_end_tai)
    disks, first = [], 0
    for position, number in enumerate(order):
        time = forecasts.shown[number].t_end_tai
        if position + 1 < len(order) and forecasts.shown[order[position + 1]].t_end_tai == time:
            continue
        while (time - forecasts.shown[order[first]].t_end_tai).total_seconds() > 60 * tolerance_minutes:
            first += 1
        latest = {forecasts.shown[near].harp: near for near in order[first : position + 1]}
        disks.append(_combine(forecasts, time, tuple(sorted(latest.values()))))
    return disks


def _combine(forecasts: RegionForecasts, time: datetime, regions: tuple[int, ...]) -> FullDiskForecast:
    of_regions = forecasts.calibrated_MN[:, regions]
    of_members = spread_of(1 - np.prod(1 - of_regions, axis=1))
    together = float(1 - np.prod(1 - of_regions.mean(axis=0)))
    # Members that disagree on which region flares may all lie to one side of what their means give.
    spread = Spread(
        probability=together,
        low=min(of_members.low, together),
        high=max(of_members.high, together),
        deviation=of_members.deviation,
    )
    return FullDiskForecast(t_end_tai=time, regions=regions, spread=spread)
