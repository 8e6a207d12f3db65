"""Make a whole data folder: images, label lists of both horizons, and the flares that the labels follow from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import check_replaceable, write_files
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frames import FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import PUBLISHED_TASKS, Task
from sffshards.labels import IMAGE_FOLDER, format_label_list
from sffshards.synth.observation_times import MadeRegion, plan_parts
from sffshards.synth.synthetic_catalogue import FLARES_NAME, HARP_MAP_NAME, format_flare_list, format_harp_map
from sffshards.synth.synthetic_folder import Origin, claimed_folder
from sffshards.synth.synthetic_images import write_images

__all__ = ["RECIPE", "SynthReport", "list_path", "synthesize"]

RECIPE = 1
"""Raised whenever a release draws other images, regions or flares from the same seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthReport:
    """What was made."""

    num_harps: int
    num_frames: int
    """Images that the lists name; all are there now."""
    num_written: int
    """Images that were written this time; the others were there already."""
    num_flares: int | None
    """Flares of class M and above; None where lists were given."""
    num_positive: Mapping[Task, int]
    """Positive rows of all lists, by horizon."""


def synthesize(
    out: Path,
    *,
    seed: int,
    num_harps: int = 12,
    frames_per_harp: int = 40,
    force: bool = False,
    workers: int = 0,
    progress: Progress = SILENT,
) -> SynthReport:
    """Make a data set in the published layout, with flares that the images explain.

    ``out`` gets ``magnetogram_jpg/``, the lists ``M24/`` and ``M48/`` of all six parts, ``flares.csv`` with the flares
    that the labels follow from, in UTC and by NOAA region, ``harps.txt`` with the region of each HARP, and
    ``synth.json``, which says what it was made from. A run that was stopped goes on where it was.

    Parameters
    ----------
    out
        The folder to make.
    seed
        What everything is drawn from, 0 to 2**32 - 1. An image depends on it and on its frame's region only.
    num_harps
        Regions in each of the six parts, at least 2.
    frames_per_harp
        Frames of each region, 96 minutes apart but for some gaps.
    force
        Whether to draw images again that are there, and to replace lists that were changed.
    workers
        Number of processes; 0 does all in this one. The data do not depend on it.
    progress
        Told how far it is.

    Raises
    ------
    InputError
        If a number is out of range.
    ConflictError
        If the folder holds other data, or lists that were changed and not ``force``.
    StorageError
        If the system refuses.
    """
    parts = plan_parts(seed, num_harps=num_harps, frames_per_harp=frames_per_harp)
    origin = Origin(recipe=RECIPE, seed=seed, num_harps=num_harps, frames_per_harp=frames_per_harp, lists_sha256=None)
    regions = [region for by_part in parts.values() for region in by_part]
    flares = [flare for region in regions for flare in region.flares]
    rows = {(task, part): _label_frames(parts[part], task) for task in PUBLISHED_TASKS for part in Part}
    texts = {
        out / FLARES_NAME: format_flare_list(flares),
        out / HARP_MAP_NAME: format_harp_map(region.region.harp for region in regions),
        **{list_path(out, *of): format_label_list(labelled) for of, labelled in rows.items()},
    }
    contents = {path: text.encode("ascii") for path, text in texts.items()}
    views = [(region.region, region.frames) for region in regions]
    with claimed_folder(out, origin, precious=tuple(contents), progress=progress):
        check_replaceable(contents, force=force)
        num_written = write_images(out / IMAGE_FOLDER, views, force=force, workers=workers, progress=progress)
        write_files(contents, force=force)
    return SynthReport(
        num_harps=len(regions),
        num_frames=sum(len(region.frames) for region in regions),
        num_written=num_written,
        num_flares=sum(flare.is_major for flare in flares),
        num_positive={task: sum(label for part in Part for _, label in rows[task, part]) for task in PUBLISHED_TASKS},
    )


def _label_frames(regions: Iterable[MadeRegion], task: Task) -> list[tuple[FrameId, int]]:
    return [row for made in regions for row in zip(made.frames, made.labels(task), strict=True)]


def list_path(out: Path, task: Task, part: Part) -> Path:
    """Give the place of a label list in a made folder, which is that in the published one."""
    return out / f"M{task.horizon_hours}" / task.list_name(part)
