"""When made regions are seen: six parts one after the other, HARPs in order, a frame every 96 minutes but for gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from sffshards.base.errors import InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import PUBLISHED_TASKS, Task
from sffshards.synth.flare_process import Flare, draw_flares, label_frames
from sffshards.synth.flux_histories import Temper, draw_course, share_tempers
from sffshards.synth.random_streams import Stream, check_seed, stream
from sffshards.synth.synthetic_region import Region, make_region

__all__ = ["MadeRegion", "plan_parts"]

_FIRST_TAI = datetime(2010, 5, 1)
_CADENCE = timedelta(minutes=96)
_HORIZON_STEPS = 30
"""Steps in the longest horizon: parts stand so far apart, so that no flare labels rows of two of them."""
_MAX_ATTEMPTS = 500
_MAX_SIZE = 999


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeRegion:
    """A region with the frames that lists name and the flares that its labels follow from."""

    region: Region
    frames: tuple[FrameId, ...]
    flares: tuple[Flare, ...]

    def labels(self, task: Task) -> list[int]:
        """Give the labels of the frames."""
        return label_frames(self.frames, self.flares, task=task)


def plan_parts(seed: int, *, num_harps: int, frames_per_harp: int) -> dict[Part, tuple[MadeRegion, ...]]:
    """Plan a made set: which regions there are, when they are seen, and how they flare.

    Every part holds positives and negatives at both horizons: outcomes of the flare process are drawn until it does,
    as a user's own lists would be cut until each part is of use.

    Parameters
    ----------
    seed
        What everything is drawn from.
    num_harps
        Regions in each part, at least 2: one that flares and one that does not.
    frames_per_harp
        Frames of each region, at least 1.

    Raises
    ------
    InputError
        If one of the numbers is too small or too large.
    """
    check_seed(seed)
    _check_sizes(num_harps=num_harps, frames_per_harp=frames_per_harp)
    parts: dict[Part, tuple[MadeRegion, ...]] = {}
    harp, step = 0, 0
    for number, part in enumerate(Part):
        rng = stream(Stream.TIMELINE, seed, number)
        tempers = share_tempers(num_harps, rng)
        views = []
        for _ in range(num_harps):
            harp += int(rng.integers(1, 6))
            views.append(_draw_frames(rng, harp=harp, first_step=step, num_frames=frames_per_harp))
            step += int(rng.integers(frames_per_harp // 5 + 1, frames_per_harp // 2 + 3))
        parts[part] = _draw_regions(seed, part, tempers=tempers, views=views)
        last = max(frames[-1].t_rec_tai for frames in views)
        step = (last - _FIRST_TAI) // _CADENCE + _HORIZON_STEPS + 1
    return parts


def _draw_frames(rng: np.random.Generator, *, harp: int, first_step: int, num_frames: int) -> tuple[FrameId, ...]:
    skipped = np.zeros(num_frames, dtype=int)
    for _ in range(int(rng.integers(0, 3))):
        skipped[int(rng.integers(0, num_frames))] += int(rng.integers(1, 11))
    # A gap stands before its frame; one before the first frame only shifts the region.
    steps = first_step + np.arange(num_frames) + np.cumsum(skipped)
    return tuple(FrameId(harp=harp, t_rec_tai=_FIRST_TAI + _CADENCE * int(step)) for step in steps)


def _draw_regions(
    seed: int, part: Part, *, tempers: list[Temper], views: list[tuple[FrameId, ...]]
) -> tuple[MadeRegion, ...]:
    for attempt in range(_MAX_ATTEMPTS):
        made = tuple(_draw_region(seed, temper, frames, attempt) for temper, frames in zip(tempers, views, strict=True))
        if all(_is_of_use(made, task) for task in PUBLISHED_TASKS):
            return made
    raise InputError(
        f"part {part} of the made set",
        expected="regions that flare within 24 hours and regions that do not within 48",
        found=f"none in {_MAX_ATTEMPTS} draws",
        fix="ask for more regions, or for more frames of each",
    )


def _draw_region(seed: int, temper: Temper, frames: tuple[FrameId, ...], attempt: int) -> MadeRegion:
    first, last = frames[0], frames[-1]
    duration_hours = max((last.t_rec_tai - first.t_rec_tai).total_seconds() / 3600, 24.0)
    course = draw_course(seed, first.harp, attempt, temper=temper, duration_hours=duration_hours)
    region = make_region(seed, first.harp, t_start_tai=first.t_rec_tai, course=course)
    flares = draw_flares(
        region, num_hours=duration_hours + max(h.horizon_hours for h in PUBLISHED_TASKS), attempt=attempt
    )
    return MadeRegion(region=region, frames=frames, flares=flares)


def _is_of_use(regions: tuple[MadeRegion, ...], task: Task) -> bool:
    """Whether a part has positives, at least 3 % of its rows, and half of it negatives."""
    labels = [label for region in regions for label in region.labels(task)]
    return max(1, 0.03 * len(labels)) <= sum(labels) <= 0.5 * len(labels)


def _check_sizes(*, num_harps: int, frames_per_harp: int) -> None:
    for name, value, least in (("num_harps", num_harps, 2), ("frames_per_harp", frames_per_harp, 1)):
        if not least <= value <= _MAX_SIZE:
            raise InputError(
                name, expected=f"a whole number from {least} to {_MAX_SIZE}", found=str(value), fix="choose another"
            )
