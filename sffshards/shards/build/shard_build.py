"""Build the shards of a task: plan, write what is missing, then index, card and manifest; safe to kill at any time.

A run checks the shards of an earlier run against their records and writes only the others. The manifest is written
last: a folder without one is not a build.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sffshards.base.atomic_files import is_refusal, storage_errors
from sffshards.base.errors import InputError, SffshardsError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.output_checks import check_room, free_bytes
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.sequence_table import SampleTable
from sffshards.executors import IN_PROCESS, Executor
from sffshards.images import StoredFrames, close_segments
from sffshards.labels import DataLayout
from sffshards.shards.build import build_folder, shard_writer
from sffshards.shards.build.build_finishing import finish_build
from sffshards.shards.build.build_inputs import BuildOptions, read_source
from sffshards.shards.build.build_preparation import Prepared, prepare_build
from sffshards.shards.build.disk_space import tars_bytes
from sffshards.shards.build.encoded_frames import EncodedFrames, frames_encoded
from sffshards.shards.build.publishing import check_target
from sffshards.shards.build.shard_plan import ShardPlan, plan_shards
from sffshards.shards.build.shard_writer import ShardTask
from sffshards.shards.format import (
    MANIFEST_NAME,
    Manifest,
    get_codec,
)
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
    executor: Executor = IN_PROCESS,
    force: bool = False,
    must_be_written: bool = False,
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
    executor
        Where images are decoded and shards written.
    force
        Whether to replace another build in ``out``. It is kept until the new one is complete if the disk has room for
        both, and else removed before the shards are written, which a note reports.
    must_be_written
        Whether a shard that is missing is an error, because the parts of the build wrote them; see `build_part`.
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
    if must_be_written and not build_folder.own_tars(out):  # parts write none before all images are decoded
        raise _unwritten(out, "none")
    state = build_folder.state_folder(out)
    with folder_lock(state, progress=progress, wait=False):
        try:
            executor.check_places(reads=[layout.images], writes=[state, store_folder])
            build_folder.adopt_new(out)  # of a process that was killed while it did
            prepared = prepare_build(
                source, store_folder=store_folder, out=out, fresh=force, executor=executor, progress=progress
            )
            build_folder.check_folder(out, prepared.inputs, force=force, early=False)
            place = _choose_place(out, prepared, force=force, progress=progress)
            report = _build_prepared(
                place, options, prepared, must_be_written=must_be_written, executor=executor, progress=progress
            )
            build_folder.adopt_new(out)
            return report
        finally:
            close_segments()
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


def _choose_place(out: Path, prepared: Prepared, *, force: bool, progress: Progress) -> Path:
    """Return the folder to write to: ``out``, or a folder in it while the build that is replaced stays.

    With ``force``, a build is removed here that does not stay: only now, when nothing else can stop the new one.
    """
    new = build_folder.new_folder(out)
    if not force and build_folder.is_replacing(out, prepared.inputs):
        return new
    build_folder.discard_new(out)
    if not force:
        return out
    is_whole = (out / MANIFEST_NAME).is_file()
    if is_whole and free_bytes(out) >= _with_encoded(prepared.shard_bytes):
        return new
    check_room(out, prepared.shard_bytes - tars_bytes(out))
    if is_whole:
        progress.note(f"{out}: no room for two builds; the old one is removed before the new one is written")
    build_folder.clear_folder(out)
    return out


def _with_encoded(shard_bytes: float) -> int:
    """Return the room that shards need while they are written, with the frames encoded for them."""
    return round(shard_bytes * (1 + _ENCODED_SHARE))


def _build_prepared(
    out: Path,
    options: BuildOptions,
    prepared: Prepared,
    *,
    must_be_written: bool,
    executor: Executor,
    progress: Progress,
) -> BuildReport:
    """Write the missing shards, then index, card and manifest."""
    build_folder.remove_leftovers(out)
    build_folder.write_inputs(out, prepared.inputs)
    plans = plan_build(options, prepared)
    _restore_records(out, plans)
    missing = find_missing_shards(out, plans, executor=executor, progress=progress)
    if missing and must_be_written:
        raise _unwritten(out, f"{len(missing):,} of {len(plans):,} missing, such as {missing[0].name}")
    write_shards(out, missing, options, prepared, executor=executor, progress=progress)
    return BuildReport(
        manifest=finish_build(out, prepared, plans),
        num_decoded=prepared.num_decoded,
        num_written=len(missing),
        num_kept=len(plans) - len(missing),
    )


def _unwritten(out: Path, found: str) -> InputError:
    return InputError(
        out,
        expected="all shards written by the parts of the build",
        found=found,
        fix="run every {part} once more, or build without {finish} to write them here",
    )


def _restore_records(out: Path, plans: Iterable[ShardPlan]) -> None:
    """Restore the records of a finished build from its manifest and index, so that its shards can be checked."""
    names = {plan.name for plan in plans}
    try:
        with open_build(out) as build:
            for shard, rows in zip(build.manifest.shards, build.split_index(), strict=True):
                if shard.name in names:
                    rows["shard"] = 0
                    shard_writer.write_shard_record(out, shard, rows)
    except SffshardsError as error:  # there is none, or a damaged one
        if is_refusal(error):
            raise


def plan_build(options: BuildOptions, prepared: Prepared) -> list[ShardPlan]:
    """Return the plan of each shard of a build, in the order of the manifest."""
    return plan_shards(
        prepared.sequences,
        prepared.inputs.task,
        sample_bytes=prepared.sample_bytes,
        shard_bytes=options.shard_size_bytes,
    )


def find_missing_shards(
    out: Path, plans: list[ShardPlan], *, executor: Executor, progress: Progress
) -> list[ShardPlan]:
    """Return the plans whose shard is absent, or not as an earlier run recorded it."""
    present = [plan for plan in plans if (out / plan.name).is_file()]
    if not present:
        return plans
    whole = set()
    with progress.task("Check shards already written", len(present)) as advance:
        found = executor.run(shard_writer.verify_written, ((out, plan.name) for plan in present))
        for plan, is_whole in zip(present, found, strict=True):
            if is_whole:
                whole.add(plan.name)
            advance(1)
    return [plan for plan in plans if plan.name not in whole]


def write_shards(
    out: Path,
    missing: list[ShardPlan],
    options: BuildOptions,
    prepared: Prepared,
    *,
    executor: Executor,
    progress: Progress,
) -> None:
    """Write shards, and whatever they need first; the folder is no build until it is finished."""
    if not missing:
        return
    num_samples = sum(len(plan.samples) for plan in missing)
    tars = sum(len(plan.samples) * prepared.sample_bytes[plan.kind] for plan in missing)
    check_room(out, _with_encoded(tars))
    with storage_errors(out):
        (out / MANIFEST_NAME).unlink(missing_ok=True)

    def to_task(plan: ShardPlan, frames: StoredFrames | EncodedFrames) -> ShardTask:
        samples = plan.samples.take(slice(None), compact=True)
        if isinstance(frames, EncodedFrames):
            own: StoredFrames | EncodedFrames = frames.select(samples)
        else:
            own = frames.select(samples.sequences.frames_shown())
        return ShardTask(out=out, name=plan.name, codec=options.codec, seed=options.seed, samples=samples, frames=own)

    with ExitStack() as stack:
        frames: StoredFrames | EncodedFrames = prepared.frames
        if get_codec(options.codec).is_spliced:
            every = SampleTable.merge(plan.samples for plan in missing)
            folder = build_folder.encoded_folder(out)
            encoding = frames_encoded(every, prepared.frames, folder, executor=executor, progress=progress)
            frames = stack.enter_context(encoding)
        advance = stack.enter_context(progress.task("Write shards", num_samples))
        for shard in executor.run(shard_writer.write_shard, (to_task(plan, frames) for plan in missing)):
            advance(shard.num_samples)
