"""The regions of a synthetic data set and their frames: planned freely with flares, or fitted to given label lists.

Free plans have six parts one after the other, HARPs in order, and a frame every 96 minutes but for some gaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, groupby

import numpy as np

from sffshards.base.errors import Field, InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M48, PUBLISHED_TASKS, Task
from sffshards.synth.active_region import Region, RegionKind, Stream, draw_history, draw_kinds, fit_history, make_region
from sffshards.synth.synthetic_flares import Flare, draw_flares, draw_later_flares, label_frames

Rows = Mapping[Task, Mapping[Part, LabelledFrames]]
Frames = tuple[FrameId, ...]

_FIRST_TAI = datetime(2010, 5, 1)
_CADENCE = timedelta(minutes=96)
_HORIZON_STEPS = 30
"""Steps in the longest horizon: the gap between parts, so that no flare labels rows of two parts."""
MAX_HORIZON_HOURS = 168
"""Hours after the last frame until which flares are drawn: the longest horizon of complete labels."""
_MAX_ATTEMPTS = 500
_MAX_SIZE = 999
_MAX_SEED = 2**32 - 1
_FAR_STRENGTH = 0.8
"""Strength of a frame that is positive at more than 24 hours only; with a nearer flare it is 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedRegion:
    """A region with the frames that lists name."""

    region: Region
    frames: Frames
    flares: tuple[Flare, ...] = ()
    """Flares that the labels follow from; none where the labels are given."""

    def labels(self, task: Task) -> list[int]:
        """Return the labels of the frames."""
        return label_frames(self.frames, self.flares, task=task)


def plan_parts(seed: int, *, num_harps: int, frames_per_harp: int) -> dict[Part, tuple[ObservedRegion, ...]]:
    """Plan a synthetic data set: its regions, when they are observed, and how they flare.

    Every part holds positives and negatives at both horizons: outcomes of the flare process are drawn until it does,
    as a user would cut lists until each part is useful.

    Parameters
    ----------
    seed
        Seed of everything that is drawn.
    num_harps
        Regions in each part, at least 2: one that flares and one that does not.
    frames_per_harp
        Frames of each region, at least 1.

    Raises
    ------
    InputError
        If one of the numbers is too small or too large.
    """
    _check_number("seed", seed, least=0, most=_MAX_SEED)
    _check_number("num_harps", num_harps, least=2, most=_MAX_SIZE)
    _check_number("frames_per_harp", frames_per_harp, least=1, most=_MAX_SIZE)
    parts: dict[Part, tuple[ObservedRegion, ...]] = {}
    harp, step = 0, 0
    for number, part in enumerate(Part):
        rng = Stream.TIMELINE.generator(seed, number)
        kinds = draw_kinds(num_harps, rng)
        views = []
        for _ in range(num_harps):
            harp += int(rng.integers(1, 6))
            views.append(_draw_frames(rng, harp=harp, first_step=step, num_frames=frames_per_harp))
            step += int(rng.integers(frames_per_harp // 5 + 1, frames_per_harp // 2 + 3))
        parts[part] = _draw_regions(seed, part, kinds=kinds, views=views)
        last = max(frames[-1].t_rec_tai for frames in views)
        step = (last - _FIRST_TAI) // _CADENCE + _HORIZON_STEPS + 1
    return parts


def fit_regions(seed: int, rows: Rows) -> list[ObservedRegion]:
    """Plan a region for every HARP of given lists, strong where a label of either horizon is positive.

    Parameters
    ----------
    seed
        Seed of the regions.
    rows
        Rows of the lists; a HARP may be in several parts.

    Returns
    -------
    The regions by HARP number, each with its frames in order of time.

    Raises
    ------
    InputError
        If the seed is out of range.
    """
    _check_number("seed", seed, least=0, most=_MAX_SEED)
    strengths: dict[FrameId, float] = {}
    for task, parts in rows.items():
        strength = _FAR_STRENGTH if task.horizon_hours > 24 else 1.0
        for row in chain.from_iterable(parts.values()):
            strengths[row.frame] = max(strengths.get(row.frame, 0.0), row.label * strength)
    ordered = sorted(strengths, key=lambda frame: (frame.harp, frame.t_rec_tai))
    return [_fit_region(seed, tuple(frames), strengths) for _, frames in groupby(ordered, lambda frame: frame.harp)]


def _check_number(name: str, value: int, *, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InputError(
            Field(name), expected=f"a whole number from {least} to {most}", found=str(value), fix="choose another"
        )


def _fit_region(seed: int, frames: Frames, strengths: Mapping[FrameId, float]) -> ObservedRegion:
    first = frames[0]
    hours = np.array([(frame.t_rec_tai - first.t_rec_tai).total_seconds() / 3600 for frame in frames])
    strength = np.array([strengths[frame] for frame in frames])
    history = fit_history(seed, first.harp, hours=hours, strength=strength)
    return ObservedRegion(
        region=make_region(seed, first.harp, t_start_tai=first.t_rec_tai, history=history), frames=frames
    )


def _draw_frames(rng: np.random.Generator, *, harp: int, first_step: int, num_frames: int) -> Frames:
    skipped = np.zeros(num_frames, dtype=int)
    for _ in range(int(rng.integers(0, 3))):
        skipped[int(rng.integers(0, num_frames))] += int(rng.integers(1, 11))
    # A gap comes before its frame; one before the first frame only shifts the region.
    steps = first_step + np.arange(num_frames) + np.cumsum(skipped)
    return tuple(FrameId(harp=harp, t_rec_tai=_FIRST_TAI + _CADENCE * int(step)) for step in steps)


def _draw_regions(seed: int, part: Part, *, kinds: list[RegionKind], views: list[Frames]) -> tuple[ObservedRegion, ...]:
    for attempt in range(_MAX_ATTEMPTS):
        drawn = tuple(_draw_region(seed, kind, frames, attempt) for kind, frames in zip(kinds, views, strict=True))
        if all(_has_both_classes(drawn, task) for task in PUBLISHED_TASKS):
            return drawn
    raise InputError(
        f"part {part} of the synthetic data",
        expected="regions that flare within 24 hours and regions that do not within 48",
        found=f"none in {_MAX_ATTEMPTS} draws",
        fix="ask for more regions, or for more frames of each",
    )


def _draw_region(seed: int, kind: RegionKind, frames: Frames, attempt: int) -> ObservedRegion:
    first, last = frames[0], frames[-1]
    duration_hours = max((last.t_rec_tai - first.t_rec_tai).total_seconds() / 3600, 24.0)
    history = draw_history(seed, first.harp, attempt, kind=kind, duration_hours=duration_hours)
    region = make_region(seed, first.harp, t_start_tai=first.t_rec_tai, history=history)
    known_hours = duration_hours + M48.horizon_hours
    flares = draw_flares(region, num_hours=known_hours, attempt=attempt)
    later = draw_later_flares(region, after_hours=known_hours, num_hours=MAX_HORIZON_HOURS - M48.horizon_hours)
    return ObservedRegion(region=region, frames=frames, flares=(*flares, *later))


def _has_both_classes(regions: tuple[ObservedRegion, ...], task: Task) -> bool:
    """Return whether at least 3 % of a part's rows, and one or more, are positive, and at least half negative."""
    labels = [label for region in regions for label in region.labels(task)]
    return max(1, 0.03 * len(labels)) <= sum(labels) <= 0.5 * len(labels)
