"""What a build is made from, as far as it is known before an image is read: options, lists, sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sffshards import __version__
from sffshards.base.errors import InputError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.frame_sequences import PUBLISHED_WINDOWS, OnShort, WindowRule, build_sequences
from sffshards.domain.frame_sequences import Sequence as FrameSequence
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.images import read_ingested
from sffshards.labels import DataLayout, read_parts
from sffshards.shards.format import SYNTHETIC_IMAGES, BuildInputs, CodecName, SourceList, get_codec

__all__ = ["BuildOptions", "count_short", "format_inputs", "read_sequences"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """What a user chooses of a build."""

    task: Task
    codec: CodecName
    seed: int
    """Of the order of samples in a shard."""
    shard_size_bytes: int
    """Size of a shard aimed at."""
    skip_bad_images: bool
    """Leave out sequences with an image that cannot be used, rather than stop."""
    windows: WindowRule = PUBLISHED_WINDOWS
    """Which frames make a sequence."""
    max_skipped_percent: float = 5.0
    """Stop all the same if more of the images cannot be used than that."""

    def __post_init__(self) -> None:
        if self.shard_size_bytes < 1:
            raise ValueError(f"shard_size_bytes must be at least 1, got {self.shard_size_bytes}")


def read_sequences(
    layout: DataLayout, task: Task, *, windows: WindowRule
) -> tuple[list[FrameSequence], dict[Part, SourceList]]:
    """Read a horizon's lists and make the sequences of all parts.

    Raises
    ------
    InputError
        If the layout lacks the horizon, or a list is malformed.
    """
    if task not in layout.lists:
        have = ", ".join(map(str, layout.lists))
        raise InputError(
            "--horizon", expected=f"one that has lists ({have})", found=str(task), fix="add the lists, or choose it"
        )
    paths = layout.lists[task]
    parts = read_parts(paths)
    sequences = [
        sequence for part, rows in parts.items() for sequence in build_sequences(rows, part=part, windows=windows)
    ]
    if not sequences:
        raise InputError(
            "--min-frames",
            expected="a sequence that is long enough",
            found=f"none of {sum(map(len, parts.values())):,}",
            fix="take fewer frames, allow longer gaps, or keep short sequences",
        )
    sources = {
        part: SourceList(name=path.name, sha256=hash_file(path), num_rows=len(parts[part]))
        for part, path in paths.items()
    }
    return sequences, sources


def count_short(sequences: Sequence[FrameSequence], lists: Mapping[Part, SourceList], windows: WindowRule) -> int:
    """Count the short sequences of lists: those among ``sequences``, or those that were left out of them."""
    if windows.on_short is OnShort.DROP:
        return sum(source.num_rows for source in lists.values()) - len(sequences)
    return sum(sequence.num_distinct < windows.min_frames for sequence in sequences)


def format_inputs(layout: DataLayout, options: BuildOptions, lists: dict[Part, SourceList]) -> BuildInputs:
    """Give the inputs of a build as far as they are known before an image is read."""
    return BuildInputs(
        program_version=__version__,
        task=options.task,
        codec=options.codec,
        encoder=get_codec(options.codec).provenance,
        seed=options.seed,
        shard_size_bytes=options.shard_size_bytes,
        windows=options.windows,
        lists=lists,
        image_options=_describe_images(layout),
        num_images=0,
        images_sha256="",
        skipped_frames={},
    )


def _describe_images(layout: DataLayout) -> dict[str, str | float | int | None]:
    """Return how the images were made, as far as their folder records it."""
    if layout.is_synthetic:
        return {"source": SYNTHETIC_IMAGES}
    ingested = read_ingested(layout.images.parent)
    return dict(ingested.options) if ingested else {}
