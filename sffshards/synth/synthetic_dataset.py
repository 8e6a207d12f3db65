"""Write a whole synthetic data folder, with label lists and flares of its own or with images for given lists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sffshards.base.atomic_files import check_replaceable, write_atomic, write_files
from sffshards.base.errors import ConflictError
from sffshards.base.file_reading import read_bytes
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M1, PUBLISHED_TASKS, Task
from sffshards.executors import IN_PROCESS, Executor
from sffshards.labels import find_label_lists, format_label_list, list_path, read_parts
from sffshards.synth.frame_keywords import KEYWORDS_NAME, format_keywords
from sffshards.synth.observation_plan import MAX_HORIZON_HOURS, ObservedRegion, fit_regions, plan_parts
from sffshards.synth.synthetic_flares import FLARES_NAME, HARP_MAP_NAME, format_flare_list, format_harp_map
from sffshards.synth.synthetic_folder import Origin, claimed_folder, write_images


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthReport:
    """Counts of a synthetic data set."""

    num_harps: int
    num_frames: int
    """Images that the lists name; all exist now."""
    num_written: int
    """Images that were written this time; the others existed already."""
    num_positive: Mapping[Task, int]
    """Positive rows of all lists, by task."""
    num_flares: int | None = None
    """Flares of class M and above; None where lists were given."""


def synthesize(
    out: Path,
    *,
    seed: int,
    num_harps: int = 12,
    frames_per_harp: int = 40,
    force: bool = False,
    executor: Executor = IN_PROCESS,
    progress: Progress = SILENT,
) -> SynthReport:
    """Write a data set in the published layout, with flares that the images explain.

    ``out`` gets ``magnetogram_jpg/``, the lists ``M24/`` and ``M48/`` of all six parts, ``flares.csv`` with the flares
    that the labels follow from, in UTC and by NOAA region, ``harps.txt`` with the region of each HARP,
    ``keywords.csv`` with those SHARP keywords that line-of-sight images show, and ``synth.json``, the record of what it
    was made from. A run that was stopped resumes.

    Parameters
    ----------
    out
        The folder to write.
    seed
        Seed of everything, 0 to 2**32 - 1. An image depends on it and on its frame's region only.
    num_harps
        Regions in each of the six parts, at least 2.
    frames_per_harp
        Frames of each region, 96 minutes apart but for some gaps.
    force
        Whether to draw images again that exist, and to replace lists that were changed.
    executor
        Where images are drawn. The data do not depend on it.
    progress
        Receives the number of images.

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
    regions = [region for of_part in parts.values() for region in of_part]
    times = [frame.t_rec_tai for region in regions for frame in (region.frames[0], region.frames[-1])]
    flares = [flare for region in regions for flare in region.flares]
    texts = {
        out / FLARES_NAME: format_flare_list(
            flares, first_tai=min(times), last_tai=max(times) + timedelta(hours=MAX_HORIZON_HOURS)
        ),
        out / HARP_MAP_NAME: format_harp_map(observed.region.harp for observed in regions),
    }
    num_positive = dict.fromkeys(PUBLISHED_TASKS, 0)
    for task in PUBLISHED_TASKS:
        for part, of_part in parts.items():
            rows = [row for region in of_part for row in zip(region.frames, region.labels(task), strict=True)]
            texts[list_path(out, task, part)] = format_label_list(rows)
            num_positive[task] += sum(label for _, label in rows)
    contents = {path: text.encode("ascii") for path, text in texts.items()}
    origin = Origin(seed=seed, num_harps=num_harps, frames_per_harp=frames_per_harp)
    with claimed_folder(out, origin, precious=(*contents, out / KEYWORDS_NAME), progress=progress):
        check_replaceable(contents, force=force)
        with_keywords = force or not (out / KEYWORDS_NAME).exists()
        num_written = _write_frames(
            out, regions, force=force, with_keywords=with_keywords, executor=executor, progress=progress
        )
        write_files(contents, force=force)
    return SynthReport(
        num_harps=len(regions),
        num_frames=sum(len(region.frames) for region in regions),
        num_written=num_written,
        num_flares=sum(flare.goes_class >= M1 for flare in flares),
        num_positive=num_positive,
    )


def synthesize_for_lists(
    out: Path,
    *,
    labels: Path,
    seed: int,
    force: bool = False,
    executor: Executor = IN_PROCESS,
    progress: Progress = SILENT,
) -> SynthReport:
    """Write the images that given label lists name, with regions whose field fits their labels.

    ``out`` becomes a whole data set: it gets ``keywords.csv``, and copies of the lists unless it is their own folder,
    where a table of keywords that is there is kept. The given lists
    are only read. A run that was stopped resumes.

    Parameters
    ----------
    out
        The folder to write; it may be that of the lists.
    labels
        A folder with ``M24/`` or ``M48/`` or both, or with the lists themselves.
    seed, force, executor, progress
        As for `synthesize`.

    Raises
    ------
    InputError
        If there are no lists, one cannot be read, or the seed is out of range.
    ConflictError
        If the folder holds other data.
    StorageError
        If the system refuses.
    """
    lists = find_label_lists(labels)
    rows = {task: read_parts(paths) for task, paths in lists.items()}
    regions = fit_regions(seed, rows)
    contents = {(task, part): read_bytes(path) for task, paths in lists.items() for part, path in paths.items()}
    copies = {} if out.resolve() == labels.resolve() else {list_path(out, *of): data for of, data in contents.items()}
    _check_copies(copies, labels)
    with claimed_folder(out, Origin(seed=seed, lists_sha256=_hash_lists(contents)), precious=(), progress=progress):
        write_files(copies, force=False)
        num_written = _write_frames(
            out,
            regions,
            force=force,
            with_keywords=not (out / KEYWORDS_NAME).exists(),
            executor=executor,
            progress=progress,
        )
    return SynthReport(
        num_harps=len(regions),
        num_frames=sum(len(region.frames) for region in regions),
        num_written=num_written,
        num_positive={task: sum(row.label for part in rows[task].values() for row in part) for task in rows},
    )


def _write_frames(
    out: Path,
    regions: Sequence[ObservedRegion],
    *,
    force: bool,
    with_keywords: bool,
    executor: Executor,
    progress: Progress,
) -> int:
    """Write the images that are not there yet and, if asked for, the keywords; return the number of images written."""
    drawn = write_images(out, regions, force=force, with_keywords=with_keywords, executor=executor, progress=progress)
    if with_keywords:
        write_atomic(out / KEYWORDS_NAME, format_keywords(drawn.keywords).encode("ascii"))
    return drawn.num_written


def _hash_lists(contents: Mapping[tuple[Task, Part], bytes]) -> str:
    """Return one SHA-256 of all lists with their tasks and parts."""
    lines = (f"{task} {part} {hashlib.sha256(data).hexdigest()}\n" for (task, part), data in sorted(contents.items()))
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def _check_copies(copies: Mapping[Path, bytes], labels: Path) -> None:
    """Check that no copy of a list would replace another list."""
    for path, data in copies.items():
        if path.exists() and read_bytes(path) != data:
            raise ConflictError(
                path, expected=f"no list, or that of {labels}", found="another list", fix="name another folder"
            )
