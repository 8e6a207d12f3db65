"""Verification of a build: every byte against the manifest, and every pixel against the source images."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, ImageError, SffshardsError
from sffshards.base.progress import SILENT, Progress
from sffshards.base.worker_pool import chunked, run_tasks
from sffshards.domain.frame_sequences import Sample
from sffshards.domain.frame_sequences import Sequence as FrameSequence
from sffshards.domain.sample_sets import Kind, Part
from sffshards.domain.views import View, apply_view
from sffshards.images import read_frame
from sffshards.labels import DataLayout
from sffshards.shards.build import read_sequences
from sffshards.shards.format import (
    CARD_NAME,
    VIEWS,
    Codec,
    CodecName,
    Index,
    Manifest,
    SampleMeta,
    Shard,
    format_card,
    get_codec,
)
from sffshards.shards.read.build_reader import Build, open_build
from sffshards.shards.read.places import Place, RemoteFolder
from sffshards.shards.read.remote_files import RemoteStore
from sffshards.shards.read.shard_checks import check_shard, other_bytes
from sffshards.shards.read.tar_members import check_members

__all__ = ["verify_build", "verify_build_deep"]

_MAX_MEAN_DIFFERENCE = 0.5
"""Mean difference in grey levels allowed between versions of a codec's library; different frames differ by more."""

_REMOTE_THREADS = 4

_DEEP_CHUNK = 64
"""Sequences per task of the deep check."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _ShardCheck:
    folder: Path
    shard: Shard
    rows: Index
    """Index rows of the shard."""
    codec: CodecName


@dataclass(frozen=True, kw_only=True, slots=True)
class _DeepCheck:
    folder: Place
    images: Path
    rows: tuple[int, ...]
    samples: tuple[Sample, ...]


def verify_build(folder: Place, *, workers: int = 0, progress: Progress = SILENT) -> list[SffshardsError]:
    """Read every byte of a build and compare it with the manifest, and the members of its tars with the index.

    Of a remote build only the bytes are compared.

    Returns
    -------
    list of SffshardsError
        The problems found, one per shard; empty for an intact build.

    Raises
    ------
    InputError, FormatError, DamageError
        If the manifest or the index cannot be used at all.
    """
    with open_build(folder) as build:
        manifest = build.manifest
        ends = np.cumsum([shard.num_samples for shard in manifest.shards])
        rows = [
            np.array(build.index[end - shard.num_samples : end])
            for shard, end in zip(manifest.shards, ends, strict=True)
        ]
    if isinstance(folder, RemoteFolder):
        return _verify_remote(folder, manifest, progress=progress)
    checks = [
        _ShardCheck(folder=folder, shard=shard, rows=of_shard, codec=manifest.inputs.codec)
        for shard, of_shard in zip(manifest.shards, rows, strict=True)
    ]
    problems = [*_find_strays(folder, manifest), *_check_card(folder, manifest)]
    with progress.task("Verify shards", len(checks)) as advance:
        for problem in run_tasks(_check_shard, checks, workers=workers):
            problems += [problem] if problem else []
            advance(1)
    return problems


def verify_build_deep(folder: Place, layout: DataLayout, *, workers: int, progress: Progress) -> list[SffshardsError]:
    """Decode every sample and compare it with its source images, and the set of samples with the label lists.

    With a lossy codec, the sample is compared with the source image encoded and decoded again.

    Returns
    -------
    list of SffshardsError
        The problems found, one per sample; empty for a build that agrees with its sources.
    """
    with open_build(folder) as build:
        sequences = read_sequences(layout, build.manifest.task, windows=build.manifest.inputs.windows)
        samples, problems = _match_samples(build, sequences)
    checks = [
        _DeepCheck(
            folder=folder,
            images=layout.images,
            rows=tuple(row for row, _ in chunk),
            samples=tuple(sample for _, sample in chunk),
        )
        for chunk in chunked(samples, _DEEP_CHUNK)
    ]
    with progress.task("Compare samples with their images", len(samples)) as advance:
        for check, found in zip(checks, run_tasks(_check_deep, checks, workers=workers), strict=True):
            problems += found
            advance(len(check.rows))
    return problems


def _check_shard(check: _ShardCheck) -> SffshardsError | None:
    try:
        check_shard(check.folder, check.shard)
        check_members(check.folder, check.shard, check.rows, codec=check.codec)
    except SffshardsError as error:
        return error
    return None


def _verify_remote(folder: RemoteFolder, manifest: Manifest, *, progress: Progress) -> list[SffshardsError]:
    """Hash what a server gives, a few shards at a time; none is kept."""
    store = RemoteStore(folder)

    def check(shard: Shard) -> SffshardsError | None:
        try:
            found = store.hash(shard.name, size_bytes=shard.size_bytes)
        except SffshardsError as error:
            return error
        return None if found == shard.sha256 else other_bytes(folder / shard.name, shard, found)

    problems: list[SffshardsError] = []
    if store.read(CARD_NAME) != format_card(manifest):
        problems.append(_other_card(folder / CARD_NAME, "none, or other bytes"))
    with (
        progress.task("Verify shards", len(manifest.shards)) as advance,
        ThreadPoolExecutor(_REMOTE_THREADS, thread_name_prefix="verify") as pool,
    ):
        for problem in pool.map(check, manifest.shards):
            problems += [problem] if problem else []
            advance(1)
    return problems


def _find_strays(folder: Path, manifest: Manifest) -> Iterator[SffshardsError]:
    """Name tars that a pattern such as ``base-*.tar`` would read though the manifest does not know them."""
    known = {shard.name for shard in manifest.shards}
    for part in (folder, *(folder / part for part in Part)):
        for path in sorted(part.glob("*.tar")):
            if path.relative_to(folder).as_posix() not in known:
                yield DamageError(
                    path, expected="only shards that the manifest names", found="another tar", fix="move it away"
                )


def _check_card(folder: Path, manifest: Manifest) -> Iterator[SffshardsError]:
    path = folder / CARD_NAME
    with storage_errors(path):
        found = path.read_bytes() if path.is_file() else None
    if found != format_card(manifest):
        yield _other_card(path, "none" if found is None else "other bytes")


def _other_card(where: object, found: str) -> DamageError:
    return DamageError(
        where,
        expected="the dataset card as it was written",
        found=found,
        fix="remove it and run `sffshards build` again",
    )


def _match_samples(
    build: Build, sequences: list[FrameSequence]
) -> tuple[list[tuple[int, Sample]], list[SffshardsError]]:
    """Pair the index rows with the samples of the label lists; report samples that only one side has."""
    skipped = set(build.manifest.inputs.skipped_frames)
    wanted = {}
    for sequence in sequences:
        if skipped and any(frame.name in skipped for frame in sequence.frames):
            continue
        for view in View:
            if view in Kind.BASE.views or sequence.label == 1:
                sample = Sample(sequence=sequence, view=view)
                wanted[sample.key] = sample
    samples: list[tuple[int, Sample]] = []
    problems: list[SffshardsError] = []
    fix = "build again from these lists and pass {force}"
    for row, entry in enumerate(build.index):
        sample_of_key = wanted.pop(entry["key"].decode("ascii"), None)
        if sample_of_key is None or sample_of_key.sequence.label != entry["label"]:
            found = "a sample that they do not have, or label differently"
            problems.append(DamageError(build.locate(row), expected="samples of the lists", found=found, fix=fix))
        else:
            samples.append((row, sample_of_key))
    problems += [
        DamageError(build.folder, expected=f"sample {key} of the lists", found="none", fix=fix) for key in wanted
    ]
    return samples, problems


def _check_deep(check: _DeepCheck) -> list[SffshardsError]:
    problems: list[SffshardsError] = []
    with open_build(check.folder) as build:
        codec = get_codec(build.manifest.inputs.codec)
        for row, sample in zip(check.rows, check.samples, strict=True):
            try:
                problem = _check_sample(build, row, sample, codec, check.images)
            except (DamageError, ImageError) as error:
                problem = error
            problems += [problem] if problem else []
    return problems


def _check_sample(build: Build, row: int, sample: Sample, codec: Codec, images: Path) -> SffshardsError | None:
    where, fix = build.locate(row), "build again from these images and pass {force}"
    if VIEWS[build.index[row]["view"]] is not sample.view or build.read_meta(row) != SampleMeta.of(sample):
        return DamageError(where, expected="the sequence of the lists", found="another description", fix=fix)
    expected = codec.decode(codec.encode(_read_source(sample, images)), where=where)
    stored = build.read_clip(row)
    difference = np.abs(stored.astype(np.int16) - expected)
    if difference.mean() > _MAX_MEAN_DIFFERENCE or (codec.lossless and difference.any()):
        found = f"pixels that differ by {difference.mean():.2f} grey levels on average"
        return DamageError(where, expected="the pixels of the source images", found=found, fix=fix)
    return None


def _read_source(sample: Sample, images: Path) -> NDArray[np.uint8]:
    distinct = set(sample.sequence.frames)
    frames = {frame: read_frame(images / f"{frame.image_name}") for frame in distinct}
    clip = np.stack([frames[frame] for frame in sample.sequence.frames])
    return np.ascontiguousarray(apply_view(clip, sample.view))
