"""The folder of a synthetic data set: nobody else's data are overwritten, and images that are there are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import remove_temporary, storage_errors, write_atomic
from sffshards.base.errors import ConflictError
from sffshards.base.file_reading import read_text
from sffshards.base.folder_locks import folder_lock
from sffshards.base.json_records import encode_record
from sffshards.base.progress import Progress
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId
from sffshards.executors import Executor, chunked
from sffshards.images import write_picture
from sffshards.labels import IMAGE_FOLDER, PUBLISHED_ROOT, SYNTHETIC_NOTE
from sffshards.synth.frame_keywords import Values, measure_keywords
from sffshards.synth.observation_plan import ObservedRegion
from sffshards.synth.region_drawing import draw_frame

_Task = tuple[Path, ObservedRegion, frozenset[FrameId]]
"""Folder of images, frames of one region for one process to draw, and those of them to write."""

_RECIPE = 2
"""Raised whenever a release draws other images, regions or flares from the same seed."""
_FORMAT_VERSION = 1
_IMAGE = re.compile(rf"hmi\..+{re.escape(IMAGE_SUFFIX)}")
_JPEG_QUALITY = 92
"""JPEG quality of the published images, by their quantisation tables."""
_FRAMES_PER_TASK = 40
"""Enough that neighbours share their textures, few enough that bars move and workers end together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Everything that synthetic data depend on."""

    seed: int
    recipe: int = _RECIPE
    num_harps: int | None = None
    """Regions in each part; None where lists were given."""
    frames_per_harp: int | None = None
    """Frames of each region; None where lists were given."""
    lists_sha256: str | None = None
    """SHA-256 of the given lists; None where none were."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnImages:
    """What was drawn of a data set."""

    num_written: int
    """Number of images that were written."""
    keywords: tuple[tuple[FrameId, Values], ...]
    """Keywords of all frames, in their order; empty where they were not asked for."""


@contextmanager
def claimed_folder(out: Path, origin: Origin, *, precious: tuple[Path, ...], progress: Progress) -> Iterator[None]:
    """Hold a folder while synthetic data are written to it.

    Parameters
    ----------
    out
        The folder; created if absent. Writing resumes in a folder with the same origin.
    origin
        What the data are made from.
    precious
        Files that would be overwritten. If one exists in a folder without a note, it is the user's own.
    progress
        Receives a note while another process is being waited for.

    Raises
    ------
    ConflictError
        If the folder holds other data, synthetic or not, or another process is writing there.
    """
    note = encode_record(origin, version=_FORMAT_VERSION)
    _check_owner(out, note.decode(), precious)
    with folder_lock(out, progress=progress, wait=False):
        _check_owner(out, note.decode(), precious)
        if not (out / SYNTHETIC_NOTE).exists():
            write_atomic(out / SYNTHETIC_NOTE, note)
        yield


def write_images(
    out: Path,
    regions: Iterable[ObservedRegion],
    *,
    force: bool,
    with_keywords: bool,
    executor: Executor,
    progress: Progress,
) -> DrawnImages:
    """Write the images of all frames that a data folder does not have yet.

    They are not synced to disk one by one, which would take longer than to draw them: after a power cut, ``force``
    writes them again.

    Parameters
    ----------
    out
        The data folder. No other process may write there.
    regions
        Regions and their frames.
    force
        Whether to write again what is there.
    with_keywords
        Whether to measure keywords, for which all frames are drawn.
    executor
        Where images are drawn. They do not depend on it.
    progress
        Receives the number of images.

    Returns
    -------
    The number of images that were written, and the keywords.

    Raises
    ------
    StorageError
        If the system refuses.
    """
    folder = out / IMAGE_FOLDER
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary(folder, _IMAGE)
        present = set() if force else set(os.listdir(folder))
    executor.check_places(reads=[], writes=[out])
    tasks = list(_plan_tasks(folder, regions, present, with_keywords=with_keywords))
    keywords: dict[FrameId, Values] = {}
    with progress.task("magnetograms", sum(len(observed.frames) for _, observed, _ in tasks)) as advance:
        for measured in executor.run(_draw_frames, tasks, group=4):
            keywords |= measured
            advance(len(measured))
    return DrawnImages(
        num_written=sum(len(missing) for _, _, missing in tasks),
        keywords=tuple((frame, keywords[frame]) for frame in sorted(keywords)) if with_keywords else (),
    )


def _plan_tasks(
    folder: Path, regions: Iterable[ObservedRegion], present: set[str], *, with_keywords: bool
) -> Iterator[_Task]:
    for observed in regions:
        missing = frozenset(frame for frame in observed.frames if frame.image_name not in present)
        drawn = [frame for frame in observed.frames if with_keywords or frame in missing]
        for chunk in chunked(drawn, _FRAMES_PER_TASK):
            yield folder, ObservedRegion(region=observed.region, frames=tuple(chunk)), missing.intersection(chunk)


def _draw_frames(task: _Task) -> dict[FrameId, Values]:
    """Draw frames, write those that are missing, and return their keywords."""
    folder, observed, missing = task
    measured = {}
    for frame in observed.frames:
        image = draw_frame(observed.region, frame)
        measured[frame] = measure_keywords(image)
        if frame in missing:
            write_picture(image, folder / frame.image_name, jpeg_quality=_JPEG_QUALITY)
    return measured


def _check_owner(out: Path, expected: str, precious: tuple[Path, ...]) -> None:
    note = out / SYNTHETIC_NOTE
    if note.exists():
        text = read_text(note)
        if text != expected:
            raise ConflictError(
                note,
                expected=f"the note of this data set, {' '.join(expected.split())}",
                found=" ".join(text.split())[:300],
                fix="name another folder, or remove this one",
            )
        return
    foreign = next((path for path in (*precious, *_list_images(out)) if path.exists()), None)
    if foreign is not None:
        raise ConflictError(
            foreign,
            expected=f"a new folder, or one that `sffshards synth` wrote, with its {SYNTHETIC_NOTE}",
            found="data that it did not write",
            fix="name another folder",
        )


def _list_images(out: Path) -> Iterator[Path]:
    for folder in (out / IMAGE_FOLDER, out / PUBLISHED_ROOT / IMAGE_FOLDER):  # the first would hide the second
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if not path.name.startswith("."))
        else:
            yield folder
