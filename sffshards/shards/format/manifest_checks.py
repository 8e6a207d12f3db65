"""What a manifest can say at all, whoever wrote it: counts that are counts, and shards named as a build's are.

A manifest's checksum tells of accidents; whoever forges one computes it, too. Nothing in a manifest may therefore point
out of its folder, or make a reader take memory for what is not there.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from sffshards.labels import PART_SELECTIONS

if TYPE_CHECKING:
    from sffshards.shards.format.manifest import BuildInputs, Group, Manifest

__all__ = ["check_manifest", "format_shard_name"]

_PLAIN = (str, int, float, type(None))
_MAX_COUNT = 1 << 53
"""No number in a manifest is larger: beyond it, readers of JSON round."""

_SHA256_RE = re.compile("[0-9a-f]{64}")


def format_shard_name(group: str, number: int) -> str:
    """Name a shard, as a path in the build.

    Examples
    --------
    >>> format_shard_name("TrainVal0/base", 7)
    'TrainVal0/base-00007.tar'
    """
    return f"{group}-{number:05d}.tar"


def check_manifest(manifest: Manifest) -> None:
    """Raise `ValueError`, with the name of the field, if no build has such a manifest.

    Its fields may be of any type: that of a field is not known before it was looked at.
    """
    _require_counts(manifest, "num_skipped_sequences", "num_short_sequences", "index_size_bytes")
    _require_sha256(manifest.index_sha256)
    _check_inputs(manifest.inputs)
    for shard in manifest.shards:
        _require_counts(shard, "num_samples", "size_bytes")
        _require_sha256(shard.sha256)
    shards = iter(manifest.shards)
    for name, group in manifest.groups.items():
        _check_group(group)
        expected = tuple(format_shard_name(name, number) for number in range(len(group.shards)))
        found = list(islice(shards, len(expected)))
        _require(group.shards == expected == tuple(shard.name for shard in found), f"shards of {name}")
        _require(sum(shard.num_samples for shard in found) == group.num_samples, f"num_samples of {name}")
    _require(next(shards, None) is None, "shards")


def _check_inputs(inputs: BuildInputs) -> None:
    _require_texts(inputs, "program_version", "encoder", "images_sha256")
    _require_counts(inputs, "shard_size_bytes", "num_images")
    _require(type(inputs.seed) is int, "seed")
    _require(type(inputs.windows.max_gap_minutes) in (int, type(None)), "max_gap_minutes")
    _require(type(inputs.windows.min_frames) is int, "min_frames")
    _require(all(type(value) in _PLAIN for value in inputs.image_options.values()), "image_options")
    _require(tuple(inputs.lists) in PART_SELECTIONS, "lists")
    for source in inputs.lists.values():
        _require_texts(source, "name", "sha256")
        _require_counts(source, "num_rows")
    _require(all(isinstance(found, str) for found in inputs.skipped_frames.values()), "skipped_frames")


def _check_group(group: Group) -> None:
    _require_counts(group, "num_samples", "num_positive")
    _require(group.num_positive <= group.num_samples, "num_positive")
    _require(group.first_label is None or (type(group.first_label) is int and group.first_label in (0, 1)), "label")


def _require_counts(record: object, *names: str) -> None:
    """Refuse what JSON takes for a number, too: negative, not whole, not finite; and true, which Python does."""
    for name in names:
        value = getattr(record, name)
        _require(type(value) is int and 0 <= value <= _MAX_COUNT, name)


def _require_texts(record: object, *names: str) -> None:
    for name in names:
        _require(isinstance(getattr(record, name), str), name)


def _require_sha256(value: object) -> None:
    _require(isinstance(value, str) and _SHA256_RE.fullmatch(value) is not None, "sha256")


def _require(condition: bool, name: str) -> None:  # noqa: FBT001  one of the two is all that it takes
    if not condition:
        raise ValueError(name)
