"""Write the images of made regions, in any number of processes; what is there already is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sffshards.base.atomic_files import remove_temporary, storage_errors, temporary_path
from sffshards.base.progress import Progress
from sffshards.base.worker_pool import chunked, run_tasks
from sffshards.domain.frames import FrameId
from sffshards.domain.published_names import IMAGE_SUFFIX, format_frame_name
from sffshards.synth.region_drawing import draw_frame
from sffshards.synth.synthetic_region import Region

__all__ = ["ImageTask", "View", "image_name", "write_chunk", "write_images"]

View = tuple[Region, tuple[FrameId, ...]]
"""A region and the frames of it that are wanted."""

_IMAGE = re.compile(rf"hmi\..+{re.escape(IMAGE_SUFFIX)}")
_JPEG_QUALITY = 92
"""That of the published images, by their quantisation tables."""
_FRAMES_PER_TASK = 40
"""Enough that neighbours share their textures, few enough that bars move and workers end together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTask:
    """Frames of one region to be written by one process."""

    region: Region
    frames: tuple[FrameId, ...]
    folder: Path


def image_name(frame: FrameId) -> str:
    """Give the file name of a frame's image."""
    return format_frame_name(frame) + IMAGE_SUFFIX


def write_images(folder: Path, views: Iterable[View], *, force: bool, workers: int, progress: Progress) -> int:
    """Write the images of all frames that are not in the folder yet.

    Parameters
    ----------
    folder
        Where to; made if absent. No other process may write there.
    views
        Regions and their frames.
    force
        Whether to write again what is there.
    workers
        Number of processes; 0 does all in this one. The images do not depend on it.
    progress
        Told of every image.

    Returns
    -------
    Number of images written.

    Raises
    ------
    StorageError
        If the system refuses.
    """
    present = frozenset() if force else _prepare(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    tasks = list(_cut(folder, views, present))
    num_written = 0
    with progress.task("magnetograms", sum(len(task.frames) for task in tasks)) as advance:
        for num in run_tasks(write_chunk, tasks, workers=workers if len(tasks) > 1 else 0):
            num_written += num
            advance(num)
    return num_written


def write_chunk(task: ImageTask) -> int:
    """Draw and write the frames of a task, and give their number; each appears under its name only when whole.

    They are not synced to disk one by one, which would take longer than to draw them: after a power cut, ``force``
    makes them again.
    """
    for frame in task.frames:
        path = task.folder / image_name(frame)
        temporary = temporary_path(path)
        with storage_errors(path):
            try:
                image = Image.fromarray(draw_frame(task.region, frame))
                image.save(temporary, format="JPEG", quality=_JPEG_QUALITY)
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
    return len(task.frames)


def _prepare(folder: Path) -> frozenset[str]:
    """Give the names in a folder, and remove what a killed run left half-written."""
    if not folder.is_dir():
        return frozenset()
    remove_temporary(folder, _IMAGE)
    with storage_errors(folder):
        return frozenset(os.listdir(folder))


def _cut(folder: Path, views: Iterable[View], present: frozenset[str]) -> Iterator[ImageTask]:
    for region, frames in views:
        missing = [frame for frame in frames if image_name(frame) not in present]
        for chunk in chunked(missing, _FRAMES_PER_TASK):
            yield ImageTask(region=region, frames=tuple(chunk), folder=folder)
