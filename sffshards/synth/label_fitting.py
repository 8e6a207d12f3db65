"""Make the images that given label lists name: a region for each HARP, its field made to fit its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np

from sffshards.base.atomic_files import storage_errors, write_atomic
from sffshards.base.errors import ConflictError
from sffshards.base.file_hashes import hash_file
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frames import FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M24, M48, Task
from sffshards.labels import IMAGE_FOLDER, find_label_lists, read_parts
from sffshards.synth.flux_histories import fit_course
from sffshards.synth.random_streams import check_seed
from sffshards.synth.synthetic_dataset import RECIPE, SynthReport, list_path
from sffshards.synth.synthetic_folder import Origin, claimed_folder
from sffshards.synth.synthetic_images import View, write_images
from sffshards.synth.synthetic_region import make_region

__all__ = ["fit_regions", "synthesize_for_lists"]

Lists = Mapping[Task, Mapping[Part, Path]]

_STRENGTHS = {M24: 1.0, M48: 0.8}
"""How strong a positive frame is: the nearer the flare, the stronger."""


def synthesize_for_lists(
    out: Path, *, labels: Path, seed: int, force: bool = False, workers: int = 0, progress: Progress = SILENT
) -> SynthReport:
    """Make the images that given label lists name, with regions whose field fits their labels.

    ``out`` becomes a whole data set: it gets copies of the lists too, unless it is their own folder. The given lists
    are only read. A run that was stopped goes on where it was.

    Parameters
    ----------
    out
        The folder to make; it may be that of the lists.
    labels
        A folder with ``M24/`` or ``M48/`` or both, or with the lists themselves.
    seed, force, workers, progress
        As for `synthesize`.

    Raises
    ------
    InputError
        If the lists are not there, or one cannot be read.
    ConflictError
        If the folder holds other data.
    StorageError
        If the system refuses.
    """
    check_seed(seed)
    lists = find_label_lists(labels)
    rows = {task: read_parts(paths) for task, paths in lists.items()}
    views = fit_regions(seed, rows)
    copies = {} if out.resolve() == labels.resolve() else _plan_copies(out, lists)
    origin = Origin(recipe=RECIPE, seed=seed, num_harps=None, frames_per_harp=None, lists_sha256=_digest(lists))
    with claimed_folder(out, origin, precious=(), progress=progress):
        for path, data in copies.items():
            write_atomic(path, data)
        num_written = write_images(out / IMAGE_FOLDER, views, force=force, workers=workers, progress=progress)
    return SynthReport(
        num_harps=len(views),
        num_frames=sum(len(frames) for _, frames in views),
        num_written=num_written,
        num_flares=None,
        num_positive={task: _count_positive(parts) for task, parts in rows.items()},
    )


def fit_regions(seed: int, rows: Mapping[Task, Mapping[Part, list[LabelledFrame]]]) -> list[View]:
    """Make a region for every HARP of given lists, strong where a label of either horizon is positive.

    Parameters
    ----------
    seed
        What the regions are drawn from.
    rows
        The lists' rows; a HARP may be in several parts.

    Returns
    -------
    The regions by HARP number, each with its frames in order of time.
    """
    strengths: dict[FrameId, float] = {}
    for task, parts in rows.items():
        for row in chain.from_iterable(parts.values()):
            strengths[row.frame] = max(strengths.get(row.frame, 0.0), row.label * _STRENGTHS[task])
    by_harp: dict[int, list[FrameId]] = {}
    for frame in sorted(strengths, key=lambda frame: (frame.harp, frame.t_rec_tai)):
        by_harp.setdefault(frame.harp, []).append(frame)
    return [_fit_region(seed, frames, [strengths[frame] for frame in frames]) for frames in by_harp.values()]


def _fit_region(seed: int, frames: list[FrameId], strengths: list[float]) -> View:
    first = frames[0]
    hours = np.array([(frame.t_rec_tai - first.t_rec_tai).total_seconds() / 3600 for frame in frames])
    course = fit_course(seed, first.harp, hours=hours, strength=np.array(strengths))
    return make_region(seed, first.harp, t_start_tai=first.t_rec_tai, course=course), tuple(frames)


def _digest(lists: Lists) -> str:
    """Give the SHA-256 of all lists and what they are for."""
    digest = hashlib.sha256()
    for task, paths in sorted(lists.items()):
        for part, path in sorted(paths.items()):
            digest.update(f"{task} {part} {hash_file(path)}\n".encode("ascii"))
    return digest.hexdigest()


def _plan_copies(out: Path, lists: Lists) -> dict[Path, bytes]:
    """Give the copies of the lists that ``out`` lacks; refuse to replace a list that differs."""
    copies = {}
    for task, paths in lists.items():
        for part, path in paths.items():
            copy = list_path(out, task, part)
            with storage_errors(path):
                data = path.read_bytes()
                there = copy.read_bytes() if copy.exists() else None
            if there is None:
                copies[copy] = data
            elif there != data:
                raise ConflictError(
                    copy,
                    expected=f"no list, or a copy of {path}",
                    found="another list",
                    fix="name another folder",
                )
    return copies


def _count_positive(parts: Mapping[Part, list[LabelledFrame]]) -> int:
    return sum(row.label for rows in parts.values() for row in rows)
