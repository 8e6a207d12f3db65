"""What a build is made from, as far as it is known before an image is read: options, label lists, sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards import __version__
from sffshards.base.errors import ConflictError, Field, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.frame_codes import sort_by_name
from sffshards.domain.frame_sequences import PUBLISHED_WINDOWS, OnShort, WindowRule
from sffshards.domain.frames import HARP_NUMBERS, HarpNumbers
from sffshards.domain.sample_sets import Part
from sffshards.domain.sequence_table import SequenceTable, build_sequences
from sffshards.domain.task import Task, is_task_name
from sffshards.images import find_harp_numbers, read_ingested
from sffshards.labels import REBUILT_NAME, DataLayout, read_parts, read_stated_numbers
from sffshards.shards.format import SYNTHETIC_IMAGES, BuildInputs, CodecName, SourceList, get_codec


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """The choices of a user for one build."""

    task: Task
    codec: CodecName
    seed: int
    """Seed of the order of samples in a shard."""
    shard_size_bytes: int
    """Target size of a shard in bytes."""
    skip_bad_images: bool
    """Whether to leave out sequences with an unusable image rather than to stop."""
    windows: WindowRule = PUBLISHED_WINDOWS
    """Rule by which sequences are cut from the label lists."""
    max_skipped_percent: float = 5.0
    """Maximum percentage of unusable images; with more of them the build stops in any case."""

    def __post_init__(self) -> None:
        if self.shard_size_bytes < 1:
            raise ValueError(f"shard_size_bytes must be at least 1, got {self.shard_size_bytes}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSource:
    """Data and options of a build, with the sequences that its label lists make."""

    layout: DataLayout
    options: BuildOptions
    sequences: SequenceTable
    """Sequences of all parts, in the order of the lists."""
    lists: dict[Part, SourceList]

    @property
    def num_short(self) -> int:
        """Number of short sequences of the lists, whether they are kept or dropped."""
        windows = self.options.windows
        if windows.on_short is OnShort.DROP:
            return sum(source.num_rows for source in self.lists.values()) - len(self.sequences)
        return int((self.sequences.counts < windows.min_frames).sum())

    def list_frames(self) -> NDArray[np.int64]:
        """Return the codes of all frames of the sequences, each once, in the order of their names."""
        return sort_by_name(self.sequences.frames_shown())

    def read_inputs(self) -> BuildInputs:
        """Return the inputs of the build as far as they are known before an image is read."""
        options = self.options
        return BuildInputs(
            program_version=__version__,
            task=options.task,
            codec=options.codec,
            encoder=get_codec(options.codec).provenance,
            seed=options.seed,
            shard_size_bytes=options.shard_size_bytes,
            windows=options.windows,
            lists=self.lists,
            image_options=describe_images(self.layout) | _describe_numbers(self.layout, options.task),
            num_images=0,
            images_sha256="",
            skipped_frames={},
        )


def read_source(layout: DataLayout, options: BuildOptions) -> BuildSource:
    """Read what a build is made from; raises as `read_sequences`."""
    sequences, lists = _read_lists(layout, options.task, options.windows)
    _find_numbers(layout, options.task)
    return BuildSource(layout=layout, options=options, sequences=sequences, lists=lists)


def read_sequences(layout: DataLayout, task: Task, *, windows: WindowRule) -> SequenceTable:
    """Read the label lists of a task and return the sequences of all parts.

    Raises
    ------
    InputError
        If the layout has no lists of the task, a list is malformed, or no sequence is left.
    """
    return _read_lists(layout, task, windows)[0]


def _read_lists(layout: DataLayout, task: Task, windows: WindowRule) -> tuple[SequenceTable, dict[Part, SourceList]]:
    """Return the sequences of the label lists of a task, and a description of each list."""
    if task not in layout.lists:
        raise InputError(
            "label lists",
            expected=f"those of {task}",
            found=f"those of {', '.join(map(str, layout.lists)) or 'no task'} only",
            fix="add the lists, or name a folder that has them",
        )
    paths = layout.lists[task]
    parts = read_parts(paths)
    lists = {
        part: SourceList(name=path.name, sha256=hash_file(path), num_rows=len(parts[part]))
        for part, path in paths.items()
    }
    sequences = SequenceTable.join(build_sequences(rows, part=part, windows=windows) for part, rows in parts.items())
    if not len(sequences):
        raise InputError(
            Field("min_frames"),
            expected="a sequence of enough frames",
            found=f"none of {sum(map(len, parts.values())):,}",
            fix="lower {min_frames}, allow longer gaps, or keep short sequences",
        )
    return sequences, lists


def describe_images(layout: DataLayout) -> dict[str, str | float | int | None]:
    """Return how the images were made, as far as their folder records it; empty where it does not."""
    if layout.is_synthetic:
        return {"source": SYNTHETIC_IMAGES}
    ingested = read_ingested(layout.images.parent)
    if ingested and ingested.outdated:
        raise ConflictError(
            layout.images,
            expected="the images of one ingest",
            found=f"{len(ingested.outdated):,} of an earlier one, which one from scratch has not replaced yet",
            fix="run that `sffshards ingest` again without {force}: it resumes",
        )
    return dict(ingested.options) if ingested else {}


def _describe_numbers(layout: DataLayout, task: Task) -> dict[str, str | float | int | None]:
    """Return that HARP numbers are near-real-time, if they are; the lists may state it where the images do not."""
    numbers = _find_numbers(layout, task)
    return {HARP_NUMBERS: str(numbers)} if numbers is HarpNumbers.NEAR_REAL_TIME else {}


def _find_numbers(layout: DataLayout, task: Task) -> HarpNumbers:
    """Return which HARP numbers images and lists have; refuse lists that do not state the numbers of the images."""
    place = next(iter(layout.lists[task].values())).parent
    numbers = find_harp_numbers(layout.images, place)
    lists = place.parent if is_task_name(place.name) else place
    if numbers is HarpNumbers.NEAR_REAL_TIME and read_stated_numbers(lists) is not numbers:
        raise InputError(
            place,
            expected=f"lists of {numbers} HARP numbers, as {layout.images} has",
            found=f"lists without a {REBUILT_NAME} that states these numbers",
            fix="label the images with `sffshards labels rebuild` and a map of these numbers",
        )
    return numbers
