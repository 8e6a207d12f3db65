"""The manifest: content and inputs of a build, and the checksum of every byte of it, its own included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from sffshards.base.errors import DamageError
from sffshards.base.json_records import Count, JsonFormat, Sha256, decode_record, format_json, hash_content, to_plain
from sffshards.domain.frame_sequences import WindowRule
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import NUM_FOLDS, Kind, Part, Protocol, SampleSet, Stage, Variant, format_group
from sffshards.domain.task import Task
from sffshards.labels import PART_SELECTIONS
from sffshards.shards.format.codec_names import CodecName

SYNTHETIC_IMAGES = "synthetic"
"""The ``source`` among the image options of a build from images that ``sffshards synth`` drew."""

FORMAT_VERSION: Final = 3
"""Version of the shard format that this program writes."""

_SHORT_NAMES: Final = 2
"""Version, still read, in which the names of shards in different parts are the same."""

MANIFEST_NAME = "manifest.json"
"""The manifest's file name in a build."""

INDEX_NAME = "index.npy"
"""The index's file name in a build."""

REBUILD = "run `sffshards build` again: it replaces damaged and missing shards"
"""Remedy for damage to a build."""

_EXPECTS = JsonFormat(
    expected="a manifest as it was written",
    fix="build again and pass {force}",
    version=FORMAT_VERSION,
    older=(_SHORT_NAMES,),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One tar of a build."""

    name: str
    """Path in the build, such as ``TrainVal0/M48-TrainVal0-base-00000.tar``."""
    num_samples: Count
    size_bytes: Count
    sha256: Sha256

    def damage(
        self, where: object, found: str | None, *, size_bytes: int | None = None, fix: str = REBUILD
    ) -> DamageError:
        """Return the error for other bytes in place of the shard's, with their SHA-256 and size if known."""
        expected = f"{self.size_bytes} bytes with SHA-256 {self.sha256[:16]}..."
        size = f"{self.size_bytes if size_bytes is None else size_bytes} bytes"
        return DamageError(
            where, expected=expected, found=f"{size} with SHA-256 {found[:16]}..." if found else size, fix=fix
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The samples of one part and kind, whose shards and index rows are consecutive."""

    num_samples: Count
    num_positive: Count
    first_label: int | None
    """Label of the part's first sequence, which the published class weights lose; None for an empty group."""
    shards: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.num_positive > self.num_samples:
            raise ValueError(f"num_positive must be at most {self.num_samples}, got {self.num_positive}")
        if self.first_label not in (None, 0, 1):
            raise ValueError(f"first_label must be 0, 1 or None, got {self.first_label}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceList:
    """A label list that a build was made from."""

    name: str
    sha256: Sha256
    num_rows: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildInputs:
    """Everything that the bytes of a build depend on; builds of equal inputs are equal."""

    program_version: str
    task: Task
    codec: CodecName
    encoder: str
    """Library, version and settings of the encoder of the payloads."""
    seed: int
    """Seed of the order of samples in a group."""
    shard_size_bytes: Count
    """Target size of a shard in bytes."""
    windows: WindowRule
    """Rule by which sequences were cut from the label lists."""
    lists: dict[Part, SourceList]
    image_options: dict[str, str | float | int | None]
    """How ``sffshards ingest`` or ``sffshards synth`` made the images; empty where neither did."""
    num_images: Count
    """Number of images that the sequences show."""
    images_sha256: str
    """SHA-256 over the lines ``<frame name> <XXH3-64 of the image file>``, sorted by name."""
    skipped_frames: dict[str, str]
    """Frames that were skipped (``skip_bad_images``), and the problem with the image of each."""

    def __post_init__(self) -> None:
        if tuple(self.lists) not in PART_SELECTIONS:
            raise ValueError(f"lists must be of all parts, or of {Part.TEST} alone")

    @property
    def is_synthetic(self) -> bool:
        """Whether ``sffshards synth`` drew the images, so that scores tell nothing about the Sun."""
        return self.image_options.get("source") == SYNTHETIC_IMAGES

    @property
    def harp_numbers(self) -> HarpNumbers:
        """Which numbers the HARPs have; definitive, unless the images were recorded as near-real-time."""
        return HarpNumbers.recorded_in(self.image_options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A whole build."""

    format_version: Literal[2, 3] = FORMAT_VERSION
    inputs: BuildInputs
    num_skipped_sequences: Count
    """Sequences left out because a frame of theirs was."""
    num_short_sequences: Count
    """Sequences of fewer frames than ``windows`` asks for, left out or kept as it says."""
    shards: tuple[Shard, ...]
    groups: dict[str, Group]
    index_size_bytes: Count
    index_sha256: Sha256

    def __post_init__(self) -> None:
        """Refuse a manifest that no build has: a forged one can have a correct checksum.

        Nothing in a manifest may point out of its folder, or make a reader allocate memory for absent data.
        """
        if tuple(self.groups) != all_groups():
            raise ValueError(f"groups must be {', '.join(all_groups())}, in this order")
        shards = iter(self.shards)
        for name, group in self.groups.items():
            found = list(islice(shards, len(group.shards)))
            names = tuple(self._format_shard_name(name, number) for number in range(len(group.shards)))
            if not group.shards == names == tuple(shard.name for shard in found):
                raise ValueError(f"shards of {name} must be numbered from 0 and be listed in the order of the groups")
            if sum(shard.num_samples for shard in found) != group.num_samples:
                raise ValueError(f"num_samples of {name} must be the sum over its shards")
        if next(shards, None) is not None:
            raise ValueError("shards must each be of a group")

    @property
    def task(self) -> Task:
        """The task of the labels."""
        return self.inputs.task

    @property
    def index_file(self) -> Shard:
        """The index as a file of the build, to be checked and copied like a shard."""
        num_samples = sum(shard.num_samples for shard in self.shards)
        return Shard(
            name=INDEX_NAME, num_samples=num_samples, size_bytes=self.index_size_bytes, sha256=self.index_sha256
        )

    @property
    def size_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size_bytes for shard in self.shards)

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest's content, which identifies the build."""
        return hash_content(self._to_plain())

    def class_counts(self, groups: Iterable[str]) -> tuple[int, int]:
        """Return the numbers of negatives and positives of groups."""
        chosen = [self.groups[name] for name in groups]
        num_positive = sum(group.num_positive for group in chosen)
        return sum(group.num_samples for group in chosen) - num_positive, num_positive

    def shard_names(self, groups: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the tars of groups."""
        return tuple(name for group in groups for name in self.groups[group].shards)

    def to_bytes(self) -> bytes:
        """Return the bytes of the manifest file."""
        return format_json({**self._to_plain(), "sha256": self.sha256})

    def _to_plain(self) -> dict[str, Any]:
        """Return the content of the manifest file, with the groups of every set, but without its own checksum."""
        sets = {
            protocol: {
                variant: {
                    str(fold): {
                        stage: list(
                            SampleSet(variant=variant, stage=stage, fold=fold, protocol=protocol).groups(self.task)
                        )
                        for stage in Stage
                    }
                    for fold in range(NUM_FOLDS)
                }
                for variant in Variant
            }
            for protocol in Protocol
        }
        return {**to_plain(self), "sets": sets}

    def _format_shard_name(self, group: str, number: int) -> str:
        if self.format_version == _SHORT_NAMES:
            return f"{group}-{number:05d}.tar"
        return format_shard_name(self.task, group, number)


def format_shard_name(task: Task, group: str, number: int) -> str:
    """Return the name of a shard, a path in the build.

    The file's own name differs between tasks, parts and kinds, because caches of other programs go by it alone.

    Examples
    --------
    >>> format_shard_name(Task.parse("M48"), "TrainVal0/base", 7)
    'TrainVal0/M48-TrainVal0-base-00007.tar'
    """
    part, kind = group.split("/")
    return f"{part}/{task.name}-{part}-{kind}-{number:05d}.tar"


def parse_manifest(data: bytes, *, where: object) -> Manifest:
    """Parse the bytes of a manifest and check them against the manifest's own checksum.

    Raises
    ------
    FormatError
        If the format version is not known to this program.
    DamageError
        If it was altered, or cannot be the manifest of a build.
    """
    manifest = decode_record(data, Manifest, where=where, expects=_EXPECTS, derived=("sets", "sha256"))
    if data != manifest.to_bytes():
        found = "content that does not match the manifest's own checksum, or the same content in other bytes"
        raise DamageError(where, expected=_EXPECTS.expected, found=found, fix=_EXPECTS.fix)
    return manifest


def all_groups() -> tuple[str, ...]:
    """Return the names of all groups of a build, in the order of the index."""
    return tuple(format_group(part, kind) for part in Part for kind in Kind)
