"""Parts of whole HARPs, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate

from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.sample_sets import Part

PUBLISHED_SIZES = (10_000, 10_000, 10_000, 10_000, 10_000, 9_384)
"""Number of rows of the published parts, TrainVal0 to TrainVal4 and Test."""


def split_harps(frames: Iterable[FrameId], *, sizes: Sequence[int]) -> dict[int, Part]:
    """Assign every HARP to one part, so that the parts follow each other in time.

    HARPs are sorted by their first frame, and split where the number of frames is nearest to the sizes; a part has at
    least one HARP. Adjacent parts share the days on which HARPs of both were on the disk.

    Parameters
    ----------
    frames
        All frames, each once, in any order.
    sizes
        Relative sizes of the six parts, all above 0.

    Returns
    -------
    dict
        The part of each HARP, in the order of their first frames.

    Raises
    ------
    InputError
        If there are fewer HARPs than parts, or not six sizes above 0.

    Examples
    --------
    >>> days = [FrameId(harp=harp, t_rec_tai=datetime(2012, 3, harp)) for harp in range(1, 8)]
    >>> [str(part) for part in split_harps(days, sizes=[1, 1, 1, 1, 1, 2]).values()][-3:]
    ['TrainVal4', 'Test', 'Test']
    """
    parts = tuple(Part)
    if len(sizes) != len(parts) or min(sizes) < 1:
        found = ", ".join(str(size) for size in sizes) or "none"
        raise InputError("sizes", expected="six whole numbers above 0", found=found, fix="give one per part, Test last")
    first: dict[int, datetime] = {}
    counts: dict[int, int] = {}
    for frame in frames:
        first[frame.harp] = min(first.get(frame.harp, frame.t_rec_tai), frame.t_rec_tai)
        counts[frame.harp] = counts.get(frame.harp, 0) + 1
    harps = sorted(first, key=lambda harp: (first[harp], harp))
    if len(harps) < len(parts):
        raise InputError(
            "HARPs",
            expected=f"at least {len(parts)}, one per part",
            found=str(len(harps)),
            fix="use lists of more regions",
        )
    cuts = _choose_cuts([counts[harp] for harp in harps], sizes)
    return {harp: parts[sum(cut <= position for cut in cuts)] for position, harp in enumerate(harps)}


def _choose_cuts(counts: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Return where each part but the first begins: nearest to its share, with at least one HARP left for every part."""
    ends = [0, *accumulate(counts)]
    cuts: list[int] = []
    for number, share in enumerate(accumulate(sizes[:-1]), 1):
        target = share / sum(sizes) * ends[-1]
        allowed = range((cuts[-1] if cuts else 0) + 1, len(counts) - (len(sizes) - number) + 1)
        cuts.append(min(allowed, key=lambda position: abs(ends[position] - target)))
    return cuts
