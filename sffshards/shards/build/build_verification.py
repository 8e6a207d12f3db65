"""Verification of a build: every byte against the manifest, and every pixel against the source images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from sffshards.base.atomic_files import read_bytes
from sffshards.base.errors import DamageError, ImageError, SffshardsError
from sffshards.base.progress import SILENT, Progress
from sffshards.base.worker_pool import chunked, run_tasks
from sffshards.domain.frame_sequences import Sample
from sffshards.domain.frame_sequences import Sequence as FrameSequence
from sffshards.domain.sample_sets import Kind, Part
from sffshards.labels import DataLayout
from sffshards.shards.build.build_inputs import read_sequences
from sffshards.shards.build.shard_plan import list_samples
from sffshards.shards.build.shard_writer import read_clip, read_images
from sffshards.shards.format import CARD_NAME, VIEWS, Index, Manifest, SampleMeta, Shard, format_card, get_codec
from sffshards.shards.read import Build, Place, RemoteFolder, RemoteStore, check_members, check_shard, open_build

_MAX_MEAN_DIFFERENCE = 0.5
"""Mean difference in grey levels allowed between versions of a codec's library; different frames differ by more."""

_REMOTE_THREADS = 4

_DEEP_CHUNK = 64
"""Samples per task of the deep check."""

_Row = tuple[int, Sample]
"""A row of the index, and the sample of the label lists that it must be."""


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
        manifest, rows = build.manifest, build.split_index()
    if isinstance(folder, RemoteFolder):
        store = RemoteStore(folder)
        problems = [*_check_card(folder, store.read(CARD_NAME), manifest)]
        with ThreadPoolExecutor(_REMOTE_THREADS, thread_name_prefix="verify") as pool:
            found = pool.map(partial(_check_remote, store), manifest.shards)
            return problems + _collect("Verify shards", found, len(rows), progress=progress)
    card = folder / CARD_NAME
    problems = [*_find_strays(folder, manifest)]
    problems += _check_card(folder, read_bytes(card) if card.is_file() else None, manifest)
    check = partial(_check_local, folder, manifest.inputs.codec)
    found = run_tasks(check, zip(manifest.shards, rows, strict=True), workers=workers)
    return problems + _collect("Verify shards", found, len(rows), progress=progress)


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
    chunks = chunked(samples, _DEEP_CHUNK)
    found = run_tasks(partial(_check_samples, folder, layout.images), chunks, workers=workers)
    each = (problem for of_chunk in found for problem in of_chunk)
    return problems + _collect("Compare samples with their images", each, len(samples), progress=progress)


def _collect(
    title: str, found: Iterable[SffshardsError | None], total: int, *, progress: Progress
) -> list[SffshardsError]:
    """Return the problems among the results of checks, and show how many are done."""
    problems = []
    with progress.task(title, total) as advance:
        for problem in found:
            problems += [problem] if problem else []
            advance(1)
    return problems


def _check_local(folder: Path, codec: str, task: tuple[Shard, Index]) -> SffshardsError | None:
    shard, rows = task
    try:
        check_shard(folder, shard)
        check_members(folder, shard, rows, codec=codec)
    except SffshardsError as error:
        return error
    return None


def _check_remote(store: RemoteStore, shard: Shard) -> SffshardsError | None:
    """Hash what a server sends; nothing is kept."""
    try:
        found = store.hash(shard)
    except SffshardsError as error:
        return error
    return None if found == shard.sha256 else shard.damage(store.folder / shard.name, found)


def _find_strays(folder: Path, manifest: Manifest) -> Iterator[SffshardsError]:
    """Yield an error for each tar that a pattern such as ``base-*.tar`` would read though it is not in the manifest."""
    known = {shard.name for shard in manifest.shards}
    for part in (folder, *(folder / part for part in Part)):
        for path in sorted(part.glob("*.tar")):
            if path.relative_to(folder).as_posix() not in known:
                expected = "only shards that the manifest names"
                yield DamageError(path, expected=expected, found="another tar", fix="move it away")


def _check_card(folder: Place, found: bytes | None, manifest: Manifest) -> Iterator[SffshardsError]:
    if found != format_card(manifest):
        yield DamageError(
            folder / CARD_NAME,
            expected="the dataset card as it was written",
            found="none" if found is None else "other bytes",
            fix="remove it and run `sffshards build` again",
        )


def _match_samples(build: Build, sequences: list[FrameSequence]) -> tuple[list[_Row], list[SffshardsError]]:
    """Pair the index rows with the samples of the label lists; report samples that only one side has."""
    skipped = build.manifest.inputs.skipped_frames
    kept = [s for s in sequences if not skipped or not any(frame.name in skipped for frame in s.frames)]
    wanted = {sample.key: sample for kind in Kind for sample in list_samples(kept, kind)}
    samples: list[_Row] = []
    problems: list[SffshardsError] = []
    fix = "build again from these lists and pass {force}"
    for row, entry in enumerate(build.index):
        sample = wanted.pop(entry["key"].decode("ascii"), None)
        if sample is None or sample.sequence.label != entry["label"]:
            found = "a sample that they do not have, or label differently"
            problems.append(DamageError(build.locate(row), expected="samples of the lists", found=found, fix=fix))
        else:
            samples.append((row, sample))
    problems += [
        DamageError(build.folder, expected=f"sample {key} of the lists", found="none", fix=fix) for key in wanted
    ]
    return samples, problems


def _check_samples(folder: Place, images: Path, samples: Sequence[_Row]) -> list[SffshardsError | None]:
    with open_build(folder) as build:
        return [_check_sample(build, images, row, sample) for row, sample in samples]


def _check_sample(build: Build, images: Path, row: int, sample: Sample) -> SffshardsError | None:
    where, fix = build.locate(row), "build again from these images and pass {force}"
    codec = get_codec(build.manifest.inputs.codec)
    try:
        if VIEWS[build.index[row]["view"]] is not sample.view or build.read_meta(row) != SampleMeta.of(sample):
            return DamageError(where, expected="the sequence of the lists", found="another description", fix=fix)
        source = read_clip(sample, partial(read_images, images))
        difference = np.abs(build.read_clip(row).astype(np.int16) - codec.decode(codec.encode(source), where=where))
    except (DamageError, ImageError) as error:
        return error
    if difference.mean() <= _MAX_MEAN_DIFFERENCE and not (codec.lossless and difference.any()):
        return None
    found = f"pixels that differ by {difference.mean():.2f} grey levels on average"
    return DamageError(where, expected="the pixels of the source images", found=found, fix=fix)
