"""The manifest: what a build holds, from what it was made, and the checksum of every byte of it, its own included."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, FormatError, InputError
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.sample_sets import NUM_FOLDS, Kind, Part, Protocol, Stage, Variant, format_group, stage_groups
from sffshards.domain.task import Horizon
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.format.manifest_checks import check_manifest

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "Group",
    "Manifest",
    "Shard",
    "SourceList",
    "find_builds",
    "read_manifest",
]

FORMAT_VERSION = 1
"""Version of the shard format that this program writes and reads."""

MANIFEST_NAME = "manifest.json"
"""The manifest's file name in a build."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One tar of a build."""

    name: str
    """Path in the build, such as ``TrainVal0/base-00000.tar``."""
    num_samples: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The samples of one part and kind; its shards, and its rows in the index, follow one another."""

    num_samples: int
    num_positive: int
    first_label: int | None
    """Label of the part's first sequence, which the published class weights lose; None for an empty group."""
    shards: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceList:
    """A label list that a build was made from."""

    name: str
    sha256: str
    num_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildInputs:
    """All that the bytes of a build depend on; two builds with equal inputs are equal."""

    program_version: str
    horizon: Horizon
    codec: CodecName
    encoder: str
    """Library, version and settings that encoded the payloads."""
    seed: int
    """Of the order of samples in a group."""
    shard_size_bytes: int
    """Size aimed at."""
    windows: WindowRule
    """Which frames make a sequence."""
    lists: dict[Part, SourceList]
    image_options: dict[str, str | float | int | None]
    """How ``sffshards ingest`` made the images; empty where it did not."""
    num_images: int
    """Images that sequences were made from."""
    images_sha256: str
    """SHA-256 over the lines ``<frame name> <XXH3-64 of the image file>``, sorted by name."""
    skipped_frames: dict[str, str]
    """Frames left out for their image (``--on-bad-image skip``), and what was found instead of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A whole build."""

    inputs: BuildInputs
    num_skipped_sequences: int
    """Sequences left out because a frame of theirs was."""
    num_short_sequences: int
    """Sequences of fewer frames than ``windows`` asks for, left out or kept as it says."""
    shards: tuple[Shard, ...]
    groups: dict[str, Group]
    index_size_bytes: int
    index_sha256: str

    @property
    def horizon(self) -> Horizon:
        """The horizon of the labels."""
        return self.inputs.horizon

    @property
    def size_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size_bytes for shard in self.shards)

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest's content, which names the build."""
        return hashlib.sha256(_canonical(_to_json(self))).hexdigest()

    def stage_groups(self, variant: Variant, stage: Stage, *, fold: int, protocol: Protocol) -> tuple[str, ...]:
        """Give the groups of a set, in the order of their parts."""
        return stage_groups(variant, stage, fold=fold, horizon=self.horizon, protocol=protocol)

    def class_counts(self, groups: Iterable[str]) -> tuple[int, int]:
        """Count the negatives and the positives of groups."""
        chosen = [self.groups[name] for name in groups]
        num_positive = sum(group.num_positive for group in chosen)
        return sum(group.num_samples for group in chosen) - num_positive, num_positive

    def shard_names(self, groups: Iterable[str]) -> tuple[str, ...]:
        """Name the tars of groups."""
        return tuple(name for group in groups for name in self.groups[group].shards)

    def to_bytes(self) -> bytes:
        """Give the bytes of the manifest file."""
        content = _to_json(self) | {"sha256": self.sha256}
        return (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def read_manifest(path: Path) -> Manifest:
    """Read a build's manifest and check it against its own checksum.

    Raises
    ------
    InputError
        If there is none: the folder holds no build, or one that was not finished.
    FormatError
        If its format version is not known to this program.
    DamageError
        If it was altered, or says what no build's manifest can.
    """
    if not path.is_file():
        raise InputError(
            path.parent,
            expected=f"a build, with a {MANIFEST_NAME}",
            found="no such file; an unfinished build has none" if path.parent.is_dir() else "no such folder",
            fix="run `sffshards build`, or name the folder of a build",
        )
    with storage_errors(path, expected="a file that can be read"):
        data = path.read_bytes()
    return parse_manifest(data, where=path)


def parse_manifest(data: bytes, *, where: object) -> Manifest:
    """Take the bytes of a manifest for what they say; raises `FormatError` and `DamageError` as `read_manifest`."""
    try:
        content = json.loads(data)
        version = content["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damage(where, "JSON that is not one") from None
    if version != FORMAT_VERSION:
        raise FormatError(
            where,
            expected=f"format version {FORMAT_VERSION}",
            found=str(version)[:40],
            fix="update sffshards, or build again with --force",
        )
    stated = content.pop("sha256", None)
    try:
        if stated != hashlib.sha256(_canonical(content)).hexdigest():
            raise _damage(where, "content that does not match the manifest's own checksum")
        manifest = _from_json(content)
        check_manifest(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damage(where, f"a field that is missing or wrong ({error})") from None
    if data != manifest.to_bytes():
        raise _damage(where, "the same content in other bytes")
    return manifest


def find_builds(place: Path) -> list[Path]:
    """Give the folder of a build itself, or those of all builds directly in a folder.

    Raises
    ------
    InputError
        If there is none.
    """
    if (place / MANIFEST_NAME).is_file():
        return [place]
    found = sorted(path.parent for path in place.glob(f"*/{MANIFEST_NAME}") if _may_be_ours(path))
    if not found:
        raise InputError(
            place,
            expected="a build, or a folder of builds",
            found="neither" if place.is_dir() else "no such folder",
            fix="make one with `sffshards build`, or name its folder",
        )
    return found


def _may_be_ours(path: Path) -> bool:
    """Say whether a manifest is a build's, even a damaged one, rather than a web page's."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return True
    return isinstance(content, dict) and bool({"format_version", "groups", "shards"} & set(content))


def build_sets(horizon: Horizon) -> dict[str, Any]:
    """Name the groups of every set: by protocol, variant, fold and stage."""
    return {
        protocol: {
            variant: {
                str(fold): {
                    stage: list(stage_groups(variant, stage, fold=fold, horizon=horizon, protocol=protocol))
                    for stage in Stage
                }
                for fold in range(NUM_FOLDS)
            }
            for variant in Variant
        }
        for protocol in Protocol
    }


def all_groups() -> tuple[str, ...]:
    """Name all groups of a build, in the order of the index."""
    return tuple(format_group(part, kind) for part in Part for kind in Kind)


def _to_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        **asdict(manifest),
        "sets": build_sets(manifest.horizon),
    }


def _from_json(content: dict[str, Any]) -> Manifest:
    raw = content["inputs"]
    inputs = BuildInputs(
        **raw
        | {
            "horizon": Horizon(raw["horizon"]),
            "codec": CodecName(raw["codec"]),
            "windows": WindowRule(**raw["windows"] | {"on_short": OnShort(raw["windows"]["on_short"])}),
            "lists": {Part(part): SourceList(**fields) for part, fields in raw["lists"].items()},
        }
    )
    groups = {name: Group(**fields | {"shards": tuple(fields["shards"])}) for name, fields in content["groups"].items()}
    if tuple(groups) != all_groups():
        raise ValueError("groups")
    return Manifest(
        inputs=inputs,
        num_skipped_sequences=content["num_skipped_sequences"],
        num_short_sequences=content["num_short_sequences"],
        shards=tuple(Shard(**fields) for fields in content["shards"]),
        groups=groups,
        index_size_bytes=content["index_size_bytes"],
        index_sha256=content["index_sha256"],
    )


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _damage(where: object, found: str) -> DamageError:
    return DamageError(
        where, expected="a manifest as it was written", found=found[:200], fix="build again with --force"
    )
