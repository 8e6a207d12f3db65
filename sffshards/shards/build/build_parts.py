"""A build in parts, for job arrays of any batch system: each job decodes its share of the images, then writes shards.

Jobs share nothing but the folders. A part that runs before the others have decoded their images stops there and says
so; run again, it writes its shards. Any part may run again, at the same time as others, and in any order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import Field, InputError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.json_records import JsonFormat, read_record, write_record
from sffshards.base.output_checks import check_room
from sffshards.base.progress import SILENT, Progress
from sffshards.executors import IN_PROCESS, Executor
from sffshards.images import FRAME_BYTES, FrameStore, fill_store, is_stored
from sffshards.labels import DataLayout
from sffshards.shards.build import build_folder
from sffshards.shards.build.build_inputs import BuildOptions, BuildSource, read_source
from sffshards.shards.build.build_preparation import find_listed_images, fix_inputs
from sffshards.shards.build.shard_build import find_missing_shards, plan_build, write_shards
from sffshards.shards.read import find_manifest

_EXPECTS = JsonFormat(expected="the record of a part of a build", fix="remove it and run that part again")
_MAX_PARTS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPart:
    """One of the equal parts of a build."""

    number: int
    """Number from 1 to ``count``."""
    count: int

    @classmethod
    def parse(cls, text: str) -> BuildPart:
        """Parse a part such as ``3/16``; raises `InputError`."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
        if match is None or not 1 <= int(match[1]) <= int(match[2]) <= _MAX_PARTS:
            raise InputError(
                Field("part"), expected="a part such as 3/16, from 1/16 to 16/16", found=repr(text[:40]), fix="name one"
            )
        return cls(number=int(match[1]), count=int(match[2]))

    @property
    def writer(self) -> str:
        """Name of the part's journal in the frame store."""
        return f"part-{self.number}-of-{self.count}"

    def bounds(self, num_items: int) -> slice:
        """Return the part's share of consecutive items."""
        return slice(num_items * (self.number - 1) // self.count, num_items * self.number // self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartReport:
    """Result of a part of a build."""

    num_decoded: int
    """Images decoded in this run."""
    waiting: tuple[BuildPart, ...]
    """Parts whose images are not decoded; as long as there are any, no shards are written."""
    num_written: int
    """Shards written in this run."""
    num_kept: int
    """Shards of this part that an earlier run wrote; all shards, if the build is finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _PartRecord:
    """What a part leaves when its images are decoded."""

    num_images: int
    """Images of all parts together."""
    bad: dict[str, str]
    """Frames of this part without a usable image, by name, with what was found instead."""


def build_part(
    layout: DataLayout,
    options: BuildOptions,
    *,
    part: BuildPart,
    out: Path,
    store_folder: Path,
    executor: Executor = IN_PROCESS,
    progress: Progress = SILENT,
) -> PartReport:
    """Decode the images of a part and, once all parts have done so, write its shards.

    `build_shards` then finishes the build: it checks every shard, and writes index and manifest.

    Parameters
    ----------
    layout, options, out, store_folder, executor, progress
        As for `build_shards`.
    part
        The part.

    Raises
    ------
    InputError
        If a list or an image cannot be used.
    ConflictError
        If ``out`` holds other files or another build, or another process writes this part or the whole.
    StorageError
        If the disk is full or cannot be written.
    """
    source = read_source(layout, options)
    build_folder.check_folder(out, source.read_inputs(), force=False, early=True)
    if (manifest := find_manifest(out)) is not None:
        return PartReport(num_decoded=0, waiting=(), num_written=0, num_kept=len(manifest.shards))
    state = build_folder.state_folder(out)
    with (
        folder_lock(state, progress=progress, wait=False, shared=True),
        folder_lock(state, progress=progress, wait=False, name=f".{part.writer}.lock"),
    ):
        executor.check_places(reads=[layout.images], writes=[state, store_folder])
        codes = source.list_frames()
        num_decoded, bad = _decode(source, codes, part, store_folder, executor=executor, progress=progress)
        write_record(_record_path(out, part), _PartRecord(num_images=len(codes), bad=bad))
        waiting = []
        for number in range(1, part.count + 1):
            other = BuildPart(number=number, count=part.count)
            record = _read_record(out, other)
            if record is None or record.num_images != len(codes):
                waiting.append(other)
            else:
                bad |= record.bad
        if waiting:
            return PartReport(num_decoded=num_decoded, waiting=tuple(waiting), num_written=0, num_kept=0)
        prepared = fix_inputs(source, FrameStore(store_folder), codes=codes, bad=bad, num_decoded=num_decoded)
        build_folder.check_folder(out, prepared.inputs, force=False, early=False)
        build_folder.write_inputs(out, prepared.inputs)
        plans = plan_build(options, prepared)[part.number - 1 :: part.count]
        missing = find_missing_shards(out, plans, executor=executor, progress=progress)
        write_shards(out, missing, options, prepared, executor=executor, progress=progress)
        return PartReport(
            num_decoded=num_decoded, waiting=(), num_written=len(missing), num_kept=len(plans) - len(missing)
        )


def _decode(
    source: BuildSource,
    codes: NDArray[np.int64],
    part: BuildPart,
    store_folder: Path,
    *,
    executor: Executor,
    progress: Progress,
) -> tuple[int, dict[str, str]]:
    """Put the frames of a part into the store; return how many were decoded, and what is bad among them."""
    own = codes[part.bounds(len(codes))]
    images, bad = find_listed_images(source, own)
    with (
        folder_lock(store_folder, progress=progress, wait=True, shared=True),
        folder_lock(store_folder, progress=progress, wait=True, name=f".{part.writer}.lock"),
    ):
        store = FrameStore(store_folder, writer=part.writer)
        check_room(store_folder, int((~is_stored(store, images)).sum()) * FRAME_BYTES)
        strict = not source.options.skip_bad_images
        report = fill_store(store, images, executor=executor, strict=strict, progress=progress)
    return report.num_decoded, bad | report.bad


def _record_path(out: Path, part: BuildPart) -> Path:
    return build_folder.parts_folder(out) / f"{part.writer}.json"


def _read_record(out: Path, part: BuildPart) -> _PartRecord | None:
    path = _record_path(out, part)
    return read_record(path, _PartRecord, expects=_EXPECTS) if path.is_file() else None
