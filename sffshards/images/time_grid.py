"""Which frames fall on a grid of times: to each slot the nearest one of its region."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sffshards.domain.frames import FrameId

__all__ = ["EPOCH_TAI", "choose_on_grid"]

EPOCH_TAI = datetime(1993, 1, 1)
"""Slots are counted from here, as JSOC counts its records."""


def choose_on_grid(frames: Iterable[FrameId], *, cadence: timedelta, tolerance: timedelta) -> set[FrameId]:
    """Choose for each region and slot of the grid the frame nearest to it, the earlier of two that are as near.

    Parameters
    ----------
    frames
        Of any regions, in any order.
    cadence
        From slot to slot.
    tolerance
        By which a frame may miss its slot.

    Returns
    -------
    The chosen ones.

    Examples
    --------
    >>> times = [datetime(2012, 3, 6, 14, 12), datetime(2012, 3, 6, 14, 36), datetime(2012, 3, 6, 15)]
    >>> frames = [FrameId(harp=377, t_rec_tai=time) for time in times]
    >>> chosen = choose_on_grid(frames, cadence=timedelta(minutes=96), tolerance=timedelta(minutes=12))
    >>> [f"{frame.t_rec_tai:%H:%M}" for frame in chosen]
    ['14:12']
    """
    nearest: dict[tuple[int, int], tuple[timedelta, datetime, FrameId]] = {}
    for frame in frames:
        since = frame.t_rec_tai - EPOCH_TAI
        slot = (since + cadence / 2) // cadence
        miss = abs(since - slot * cadence)
        rank = (miss, frame.t_rec_tai, frame)
        place = frame.harp, slot
        if miss <= tolerance and (place not in nearest or rank[:2] < nearest[place][:2]):
            nearest[place] = rank
    return {frame for _, _, frame in nearest.values()}
