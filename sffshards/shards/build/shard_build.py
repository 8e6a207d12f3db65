"""Build the shards of a task: plan, write what is missing, then index, card and manifest; safe to kill at any time.

A run checks the shards of an earlier run against their records and writes only the others. The manifest is written
last: a folder without one is not a build.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import SffshardsError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import SILENT, Progress
from sffshards.base.worker_pool import WorkerPool
from sffshards.domain.sample_sets import Part
from sffshards.labels import DataLayout
from sffshards.shards.build import build_folder, shard_writer
from sffshards.shards.build.build_inputs import BuildOptions, read_source
from sffshards.shards.build.build_preparation import Prepared, prepare_build
from sffshards.shards.build.disk_space import check_room, tars_bytes
from sffshards.shards.build.encoded_frames import frames_encoded
from sffshards.shards.build.publishing import check_target
from sffshards.shards.build.shard_plan import ShardPlan, plan_shards
from sffshards.shards.build.shard_writer import ShardTask
from sffshards.shards.format import MANIFEST_NAME, Group, Manifest, all_groups, format_index
from sffshards.shards.read import RemoteFolder, open_build

_ENCODED_SHARE = 0.125
"""Size of the frames encoded once, as a share of the shards; half of it where sequences overlap by 15 of 16 frames."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """Result of a build."""

    manifest: Manifest
    num_decoded: int
    """Images decoded in this run."""
    num_written: int
    """Shards written in this run."""
    num_kept: int
    """Shards of an earlier run that were intact."""


def build_shards(
    layout: DataLayout,
    options: BuildOptions,
    *,
    out: Path,
    store_folder: Path,
    workers: int = 0,
    force: bool = False,
    progress: Progress = SILENT,
) -> BuildReport:
    """Build the shards of a task in a folder, or resume what an earlier run began there.

    Parameters
    ----------
    layout
        Images and label lists.
    options
        Choices of the build, its task among them.
    out
        Folder of the build.
    store_folder
        Folder of the frame store, which several builds may share.
    workers
        Number of worker processes; 0 to work in this one.
    force
        Whether to replace another build in ``out``.
    progress
        Shows the progress.

    Raises
    ------
    InputError
        If a list or an image cannot be used.
    ConflictError
        If ``out`` holds other files, or another build and not ``force``, or another process writes it.
    StorageError
        If the disk is full or cannot be written.
    """
    source = read_source(layout, options)
    build_folder.check_folder(out, source.read_inputs(), force=force, early=True)
    state = build_folder.state_folder(out)
    with folder_lock(state, progress=progress, wait=False), WorkerPool(workers) as pool:
        try:
            prepared = prepare_build(
                source, store_folder=store_folder, out=out, fresh=force, pool=pool, progress=progress
            )
            build_folder.check_folder(out, prepared.inputs, force=force, early=False)
            if force:  # only now, when nothing else can stop the new build
                check_room(out, prepared.shard_bytes - tars_bytes(out))
                build_folder.clear_folder(out)
            return _build_prepared(out, options, prepared, pool=pool, progress=progress)
        finally:
            if (out / MANIFEST_NAME).is_file():
                build_folder.remove_state(out)


def check_build(
    layout: DataLayout, options: BuildOptions, *, out: Path, target: RemoteFolder | None = None, force: bool
) -> None:
    """Check the label lists and the folder of a build before any work; raises as `build_shards`.

    The remote ``target`` that the build will be copied to, if any, is checked too; raises as `check_target`.
    """
    inputs = read_source(layout, options).read_inputs()
    build_folder.check_folder(out, inputs, force=force, early=True)
    if target is not None:
        check_target(target, inputs, force=force, early=True)


def _build_prepared(
    out: Path, options: BuildOptions, prepared: Prepared, *, pool: WorkerPool, progress: Progress
) -> BuildReport:
    """Write the missing shards, then index, card and manifest."""
    build_folder.remove_leftovers(out)
    build_folder.write_inputs(out, prepared.inputs)
    plans = plan_shards(
        prepared.sequences,
        sample_bytes=prepared.sample_bytes,
        shard_bytes=options.shard_size_bytes,
        seed=options.seed,
    )
    tasks = [ShardTask(plan=plan, codec=options.codec, store=prepared.store, out=out) for plan in plans]
    _restore_records(out, tasks)
    missing = _find_missing(tasks, pool=pool, progress=progress)
    _write_missing(missing, prepared, pool=pool, progress=progress)
    return BuildReport(
        manifest=_finish(out, prepared, tasks),
        num_decoded=prepared.num_decoded,
        num_written=len(missing),
        num_kept=len(tasks) - len(missing),
    )


def _restore_records(out: Path, tasks: Iterable[ShardTask]) -> None:
    """Restore the records of a finished build from its manifest and index, so that its shards can be checked."""
    try:
        with open_build(out) as build:
            shards, rows = build.manifest.shards, build.split_index()
    except SffshardsError:  # there is none, or a damaged one
        return
    of_name = {task.plan.name: task for task in tasks}
    for shard, of_shard in zip(shards, rows, strict=True):
        if shard.name in of_name:
            of_shard["shard"] = 0
            shard_writer.write_shard_record(of_name[shard.name], shard, of_shard)


def _find_missing(tasks: list[ShardTask], *, pool: WorkerPool, progress: Progress) -> list[ShardTask]:
    """Return the tasks whose shard is absent, or not as an earlier run recorded it."""
    present = [task for task in tasks if (task.out / task.plan.name).is_file()]
    if not present:
        return tasks
    whole = set()
    with progress.task("Check shards already written", len(present)) as advance:
        for task, is_whole in zip(present, pool.run(shard_writer.verify_written, present), strict=True):
            if is_whole:
                whole.add(task.plan.name)
            advance(1)
    return [task for task in tasks if task.plan.name not in whole]


def _write_missing(missing: list[ShardTask], prepared: Prepared, *, pool: WorkerPool, progress: Progress) -> None:
    if not missing:
        return
    out, codec = missing[0].out, missing[0].codec
    samples = [sample for task in missing for sample in task.plan.samples]
    tars = sum(len(task.plan.samples) * prepared.sample_bytes[task.plan.kind] for task in missing)
    check_room(out, round(tars * (1 + _ENCODED_SHARE)))
    with storage_errors(out):
        (out / MANIFEST_NAME).unlink(missing_ok=True)
    folder = build_folder.encoded_folder(out)
    encoding = frames_encoded(samples, codec, prepared.store, folder, pool=pool, progress=progress)
    with encoding as encoded, progress.task("Write shards", len(samples)) as advance:
        for shard in pool.run(shard_writer.write_shard, [replace(task, encoded=encoded) for task in missing]):
            advance(shard.num_samples)


def _finish(out: Path, prepared: Prepared, tasks: list[ShardTask]) -> Manifest:
    """Write index, card and, last, the manifest from the records of the shards."""
    shards, rows = zip(*(shard_writer.read_shard_record(task) for task in tasks), strict=True)
    index = np.concatenate(rows)
    index["shard"] = np.repeat(np.arange(len(shards)), [shard.num_samples for shard in shards])
    data = format_index(index)
    manifest = Manifest(
        inputs=prepared.inputs,
        num_skipped_sequences=prepared.num_skipped_sequences,
        num_short_sequences=prepared.num_short_sequences,
        shards=shards,
        groups=_describe_groups([task.plan for task in tasks], prepared),
        index_size_bytes=len(data),
        index_sha256=hashlib.sha256(data).hexdigest(),
    )
    build_folder.finish_build(out, manifest, data)
    return manifest


def _describe_groups(plans: list[ShardPlan], prepared: Prepared) -> dict[str, Group]:
    first: dict[Part, int] = {}
    for sequence in prepared.sequences:  # in the order of the lists
        first.setdefault(sequence.part, sequence.label)
    groups = {}
    for name in all_groups():
        of_group = [plan for plan in plans if plan.group == name]
        samples = [sample for plan in of_group for sample in plan.samples]
        groups[name] = Group(
            num_samples=len(samples),
            num_positive=sum(sample.sequence.label for sample in samples),
            first_label=first.get(Part(name.split("/")[0])) if samples else None,
            shards=tuple(plan.name for plan in of_group),
        )
    return groups
