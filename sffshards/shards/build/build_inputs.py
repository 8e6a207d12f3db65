"""What a build is made from, as far as it is known before an image is read: options, label lists, sequences."""

from __future__ import annotations

from dataclasses import dataclass

from sffshards import __version__
from sffshards.base.errors import Field, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.frame_sequences import PUBLISHED_WINDOWS, OnShort, Sequence, WindowRule, build_sequences
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.images import read_ingested
from sffshards.labels import DataLayout, read_parts
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
    sequences: list[Sequence]
    """Sequences of all parts, in the order of the lists."""
    lists: dict[Part, SourceList]

    @property
    def num_short(self) -> int:
        """Number of short sequences of the lists, whether they are kept or dropped."""
        windows = self.options.windows
        if windows.on_short is OnShort.DROP:
            return sum(source.num_rows for source in self.lists.values()) - len(self.sequences)
        return sum(sequence.num_distinct < windows.min_frames for sequence in self.sequences)

    @property
    def frame_names(self) -> list[str]:
        """Names of all frames of the sequences, each once, sorted."""
        return sorted(frame.name for frame in {frame for s in self.sequences for frame in s.frames})

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
            image_options=describe_images(self.layout),
            num_images=0,
            images_sha256="",
            skipped_frames={},
        )


def read_source(layout: DataLayout, options: BuildOptions) -> BuildSource:
    """Read what a build is made from; raises as `read_sequences`."""
    sequences, lists = _read_lists(layout, options.task, options.windows)
    return BuildSource(layout=layout, options=options, sequences=sequences, lists=lists)


def read_sequences(layout: DataLayout, task: Task, *, windows: WindowRule) -> list[Sequence]:
    """Read the label lists of a task and return the sequences of all parts.

    Raises
    ------
    InputError
        If the layout has no lists of the task, a list is malformed, or no sequence is left.
    """
    return _read_lists(layout, task, windows)[0]


def _read_lists(layout: DataLayout, task: Task, windows: WindowRule) -> tuple[list[Sequence], dict[Part, SourceList]]:
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
    sequences = [
        sequence for part, rows in parts.items() for sequence in build_sequences(rows, part=part, windows=windows)
    ]
    if not sequences:
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
    return dict(ingested.options) if ingested else {}
