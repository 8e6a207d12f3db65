"""Verification of a build: every byte against the manifest, and every pixel against the source images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import DamageError, ImageError, SffshardsError, StorageError
from sffshards.base.file_reading import read_bytes
from sffshards.base.package_faces import accepts_text
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_codes import codes_of, find_codes, first_places, parse_code
from sffshards.domain.frame_sequences import Sample
from sffshards.domain.sample_sets import Kind, Part
from sffshards.domain.sequence_table import SampleTable, SequenceTable
from sffshards.executors import IN_PROCESS, Executor
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


class _Rows(NamedTuple):
    """Rows of the index, and the samples of the label lists that they must be."""

    numbers: NDArray[np.int64]
    samples: SampleTable

    def chunks(self, size: int) -> Iterator[_Rows]:
        """Yield consecutive pieces of some size."""
        for start in range(0, len(self.numbers), size):
            some = slice(start, start + size)
            yield _Rows(self.numbers[some], self.samples.take(some, compact=True))


@accepts_text
def verify_build(
    folder: Place, *, executor: Executor = IN_PROCESS, progress: Progress = SILENT
) -> list[SffshardsError]:
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
            return problems + _collect("Verify shards", found, len(manifest.shards), progress=progress)
    executor.check_places(reads=[folder], writes=[])
    problems = [*_find_strays(folder, manifest), *_check_local_card(folder, manifest)]
    check = partial(_check_local, folder, manifest.inputs.codec)
    found = executor.run(check, zip(manifest.shards, rows, strict=True))
    return problems + _collect("Verify shards", found, len(manifest.shards), progress=progress)


@accepts_text
def verify_build_deep(
    folder: Place, layout: DataLayout, *, executor: Executor = IN_PROCESS, progress: Progress = SILENT
) -> list[SffshardsError]:
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
    places = [layout.images] if isinstance(folder, RemoteFolder) else [layout.images, folder]
    executor.check_places(reads=places, writes=[])
    chunks = samples.chunks(_DEEP_CHUNK)
    found = executor.run(partial(_check_samples, folder, layout.images), chunks, group=4)
    each = (problem for of_chunk in found for problem in of_chunk)
    return problems + _collect("Compare samples with their images", each, len(samples.numbers), progress=progress)


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
    """Yield an error for each tar that a pattern such as ``*.tar`` would read though the manifest lacks it."""
    known = {shard.name for shard in manifest.shards}
    for part in (folder, *(folder / part for part in Part)):
        for path in sorted(part.glob("*.tar")):
            if not path.name.startswith(".") and path.relative_to(folder).as_posix() not in known:
                expected = "only shards that the manifest names"
                yield DamageError(path, expected=expected, found="another tar", fix="move it away")


def _check_local_card(folder: Path, manifest: Manifest) -> Iterator[SffshardsError]:
    card = folder / CARD_NAME
    try:
        with storage_errors(card):
            found = read_bytes(card) if card.is_file() else None
    except StorageError as error:
        yield error
    else:
        yield from _check_card(folder, found, manifest)


def _check_card(folder: Place, found: bytes | None, manifest: Manifest) -> Iterator[SffshardsError]:
    if found != format_card(manifest):
        yield DamageError(
            folder / CARD_NAME,
            expected="the dataset card as it was written",
            found="none" if found is None else "other bytes",
            fix="remove it and run `sffshards build` again",
        )


def _match_samples(build: Build, sequences: SequenceTable) -> tuple[_Rows, list[SffshardsError]]:
    """Pair the index rows with the samples of the label lists; report samples that only one side has."""
    skipped = np.array([parse_code(name) for name in build.manifest.inputs.skipped_frames], np.int64)
    kept = sequences.without(skipped)
    wanted = SampleTable.merge(list_samples(kept, kind) for kind in Kind)
    keys = wanted.keys()
    order = np.argsort(keys)
    found_at = find_codes(keys[order], build.index["key"])
    is_known = found_at >= 0
    places = order[found_at[is_known]]
    is_right = is_known.copy()
    is_right[is_known] = wanted.sequences.labels[places] == build.index["label"][is_known]
    is_right[is_known] &= first_places(places) == np.arange(len(places))  # a sample that comes twice is one too many
    fix = "build again from these lists and pass {force}"
    found = "a sample that they do not have, or label differently"
    problems: list[SffshardsError] = [
        DamageError(build.locate(row), expected="samples of the lists", found=found, fix=fix)
        for row in np.flatnonzero(~is_right).tolist()
    ]
    lacking = np.setdiff1d(np.arange(len(keys)), places)
    problems += [
        DamageError(build.folder, expected=f"sample {key.decode('ascii')} of the lists", found="none", fix=fix)
        for key in keys[lacking].tolist()
    ]
    return _Rows(np.flatnonzero(is_right), wanted.take(places[is_right[is_known]])), problems


def _check_samples(folder: Place, images: Path, samples: _Rows) -> list[SffshardsError | None]:
    with open_build(folder) as build:
        pairs = zip(samples.numbers.tolist(), samples.samples, strict=True)
        return [_check_sample(build, images, row, sample) for row, sample in pairs]


def _check_sample(build: Build, images: Path, row: int, sample: Sample) -> SffshardsError | None:
    where, fix = build.locate(row), "build again from these images and pass {force}"
    codec = get_codec(build.manifest.inputs.codec)
    try:
        if VIEWS[build.index[row]["view"]] is not sample.view or build.read_meta(row) != SampleMeta.of(sample):
            return DamageError(where, expected="the sequence of the lists", found="another description", fix=fix)
        codes = codes_of(sample.sequence.frames)
        source = read_clip(codes, sample.view, partial(read_images, images))
        difference = np.abs(build.read_clip(row).astype(np.int16) - codec.decode(codec.encode(source), where=where))
    except (DamageError, ImageError, StorageError) as error:
        return error
    if difference.mean() <= _MAX_MEAN_DIFFERENCE and not (codec.lossless and difference.any()):
        return None
    found = f"pixels that differ by {difference.mean():.2f} grey levels on average"
    return DamageError(where, expected="the pixels of the source images", found=found, fix=fix)
