"""`sffshards build`: label lists and images to shards."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from sffshards import labels as label_lists
from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import format_bytes, make_progress, print_result, show
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.sample_sets import Kind
from sffshards.shards import build as shard_build
from sffshards.shards import format as shard_format
from sffshards.shards import read

__all__ = ["OnBadImage", "build"]


class OnBadImage(StrEnum):
    """What to do with an image that cannot be used."""

    ERROR = "error"
    SKIP = "skip"


def build(
    data: shared.DataArgument = Path("data"),
    horizon: shared.HorizonsOption = None,
    threshold: shared.ThresholdsOption = None,
    out: Annotated[
        str,
        Option("Folder for builds, one per task, and the frames that they share; or a URL to copy the builds to."),
    ] = "shards",
    stage: Annotated[Path, Option("Folder to build in before copying, if --out is a URL.")] = Path("shards"),
    codec: Annotated[
        shard_format.CodecName,
        Option(
            "jpg: the 16 frames of a sequence in one JPEG, about a sixth of the raw size. npy: lossless, "
            "uncompressed, fastest to read. mp4: H.264, smallest, for slow links."
        ),
    ] = shard_format.CodecName.JPG,
    images: shared.ImagesOption = None,
    labels: shared.LabelsOption = None,
    max_gap: Annotated[
        int | None,
        Option(
            "Maximum gap in minutes between two frames of a sequence; the published cadence is 96.",
            minimum=1,
            default_text="no limit, as published",
        ),
    ] = None,
    min_frames: Annotated[
        int, Option("Number of frames below which a sequence is short (see --on-short).", minimum=1, maximum=16)
    ] = 16,
    on_short: Annotated[
        OnShort,
        Option(
            "keep: fill short sequences up to 16 frames by repeating frames, as published. drop: leave out short "
            "sequences."
        ),
    ] = OnShort.KEEP,
    shard_size: Annotated[int, Option("Target size of a shard in MB.", minimum=1)] = 128,
    seed: Annotated[int, Option("Seed of the order of samples in a shard.", minimum=0)] = 123,
    on_bad_image: Annotated[
        OnBadImage, Option("error: stop. skip: leave out and record the sequences with a bad image.")
    ] = OnBadImage.ERROR,
    max_skipped: Annotated[
        float, Option("Maximum percentage of images that may be skipped.", minimum=0, maximum=100)
    ] = 5.0,
    workers: shared.WorkersOption = None,
    cluster: shared.ClusterOption = None,
    jobs: shared.JobsOption = 1,
    part: Annotated[
        str | None,
        Option(
            "Run one job of a job array, such as 3/16. The first run decodes its share of the images. The second, "
            "after all jobs have finished the first, writes its share of the shards. Not with --force, --finish, "
            "--cluster, --jobs, or a URL as --out.",
            metavar="<i/n>",
        ),
    ] = None,
    finish: Annotated[
        bool, Option("Finish a build that was written with --part: check all shards, and write index and manifest.")
    ] = False,
    dry_run: Annotated[bool, Option("Report what the build would write and need, without writing.")] = False,
    force: shared.ForceOption = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Build WebDataset shards from label lists and images.

    Each image is decoded and resized once, into OUT/frames, which the builds of all tasks share. An interrupted build
    resumes when the same command runs again, without --force. With --force, the old build is kept until the new one is
    complete if the disk has room for both; otherwise it is removed before the new shards are written.

    The manifest, such as OUT/48h/manifest.json, is written last; it lists the shards of every part.

    Examples
    --------
    sffshards build
        data/ to shards/24h/ and shards/48h/
    sffshards build --horizon 48h --dry-run
        what the build needs: samples, bytes, free space
    sffshards build --max-gap 192 --on-short drop
        only full sequences of frames at most 192 minutes apart
    sffshards build --out s3://bucket/shards
        built in shards/, then copied to s3://bucket/shards/48h
    sffshards build --horizon 48h --cluster slurm --jobs 20
        in 20 jobs of a batch system, which Dask queues
    sffshards build --horizon 48h --part 3/16
        one of 16 jobs of an array; run all twice, then build with --finish
    sffshards build /archive/flares --codec npy --out /scratch/shards
        lossless, for the fastest reading
    """
    written = shared.place_of(out)
    target = written if isinstance(written, read.RemoteFolder) else None
    folder = stage if isinstance(written, read.RemoteFolder) else written
    layout = label_lists.find_data(data, images=images, labels=labels)
    builds = [
        shard_build.BuildOptions(
            task=task,
            codec=codec,
            seed=seed,
            shard_size_bytes=shard_size * 1_000_000,
            skip_bad_images=on_bad_image is OnBadImage.SKIP,
            windows=WindowRule(max_gap_minutes=max_gap, min_frames=min_frames, on_short=on_short),
            max_skipped_percent=max_skipped,
        )
        for task in shared.parse_task_choice(horizon, threshold).choose(layout.lists, where=labels or data)
    ]
    # The problems of the label lists in one line, before a week of work is spent on them.
    audit = label_lists.audit_labels(label_lists.read_lists(layout.lists))
    make_progress().note(label_lists.summarize_audit(audit))
    if dry_run:
        for options in builds:
            _estimate(layout, options, out=folder, force=force, as_json=as_json)
        return
    if part is not None:
        alone = not (force or finish or target or cluster or jobs != 1)
        _build_part(layout, builds, part, folder, workers=workers, alone=alone)
        return
    copies = {options.task: target / options.task.folder for options in builds} if target else {}
    for options in builds if target else builds[1:]:  # the first build checks its own folder
        copy = copies.get(options.task)
        shard_build.check_build(layout, options, out=folder / options.task.folder, target=copy, force=force)
    with shared.open_executor(workers, cluster=cluster, jobs=jobs) as executor:
        for options in builds:
            place = folder / options.task.folder
            report = shard_build.build_shards(
                layout,
                options,
                out=place,
                store_folder=folder / "frames",
                executor=executor,
                force=force,
                must_be_written=finish,
                progress=make_progress(),
            )
            copy, num_copied = copies.get(options.task), None
            if copy is not None:
                num_copied = shard_build.publish_build(
                    place, copy, force=force, executor=executor, progress=make_progress()
                )
            _report(report, options, place, copy, num_copied=num_copied, as_json=as_json)


def _build_part(
    layout: label_lists.DataLayout,
    builds: list[shard_build.BuildOptions],
    text: str,
    folder: Path,
    *,
    workers: int | None,
    alone: bool,
) -> None:
    part = shard_build.BuildPart.parse(text)
    if not alone:
        expected = "none of --force, --finish, --cluster, --jobs and a URL as --out"
        raise InputError(Field("part"), expected=expected, found="one of them", fix="leave it out")
    for options in builds:
        place = folder / options.task.folder
        with shared.open_executor(workers) as executor:
            report = shard_build.build_part(
                layout,
                options,
                part=part,
                out=place,
                store_folder=folder / "frames",
                executor=executor,
                progress=make_progress(),
            )
        decoded = format_count(report.num_decoded, "image")
        if report.waiting:
            others = ", ".join(map(str, report.waiting[:5])) + (", ..." if len(report.waiting) > 5 else "")
            show(
                f"{place}, part {part}: {decoded} decoded; run it again when these parts have decoded theirs: {others}"
            )
        else:
            written = format_count(report.num_written, "shard")
            show(f"{place}, part {part}: {decoded} decoded, {written} written, {report.num_kept:,} kept")


def _report(
    report: shard_build.BuildReport,
    options: shard_build.BuildOptions,
    folder: Path,
    copy: read.RemoteFolder | None,
    *,
    num_copied: int | None,
    as_json: bool,
) -> None:
    """Print what was built and copied."""
    manifest = report.manifest
    counts = {kind: sum(g.num_samples for name, g in manifest.groups.items() if name.endswith(kind)) for kind in Kind}
    described = {
        "build": str(folder),
        "manifest_sha256": manifest.sha256,
        "num_samples": counts,
        "size_bytes": manifest.size_bytes,
        "num_images_decoded": report.num_decoded,
        "num_shards_written": report.num_written,
        "num_shards_kept": report.num_kept,
        "num_skipped_sequences": manifest.num_skipped_sequences,
        "num_short_sequences": manifest.num_short_sequences,
    }
    sequences = format_count(counts[Kind.BASE], "sequence")
    views = format_count(counts[Kind.OVER], "augmented view")
    shards = f"{format_count(len(manifest.shards), 'shard')}, {format_bytes(manifest.size_bytes)}"
    work = f"{format_count(report.num_decoded, 'image')} decoded, {format_count(report.num_written, 'shard')} written"
    lines = [f"{folder}: {sequences} and {views} of the positives, {shards} ({work}, {report.num_kept:,} kept)"]
    if num_copied is not None:
        described |= {"copy": str(copy), "num_shards_copied": num_copied}
        lines.append(f"{copy}: the same, {format_count(num_copied, 'shard')} copied")
    if options.windows.on_short is OnShort.DROP:
        short = format_count(manifest.num_short_sequences, "sequence")
        lines.append(f"{short} of fewer than {options.windows.min_frames} frames left out")
    if manifest.num_skipped_sequences:
        skipped = format_count(manifest.num_skipped_sequences, "sequence")
        images = format_count(len(manifest.inputs.skipped_frames), "image")
        lines.append(f"{skipped} left out for {images} that cannot be used, listed in {folder / 'manifest.json'}")
    print_result("\n".join(lines), described, as_json=as_json)


def _estimate(
    layout: label_lists.DataLayout, options: shard_build.BuildOptions, *, out: Path, force: bool, as_json: bool
) -> None:
    folder = out / options.task.folder
    estimate = shard_build.estimate_build(layout, options, store_folder=out / "frames", out=folder, force=force)
    num_base, num_over = estimate.num_samples[Kind.BASE], estimate.num_samples[Kind.OVER]
    views = format_count(num_over, "augmented view")
    lines = [
        f"{folder} ({options.codec}) would hold",
        f"  {format_count(num_base, 'sequence')}, {estimate.num_positive:,} positive, and {views} of the positives",
    ]
    if estimate.num_short:
        becomes = "left out" if options.windows.on_short is OnShort.DROP else "stretched to 16"
        short = format_count(estimate.num_short, "sequence")
        lines.append(f"  {short} of fewer than {options.windows.min_frames} frames, {becomes}")
    needed = estimate.shard_bytes + estimate.store_bytes
    verdict = "enough" if needed <= estimate.free_bytes else "NOT enough"
    lines += [
        f"  in about {format_bytes(estimate.shard_bytes)} of shards",
        f"  from {format_count(estimate.num_images, 'image')}, {estimate.num_new_frames:,} of them to be decoded,",
        f"  which adds {format_bytes(estimate.store_bytes)} to {out / 'frames'}",
        f"  needs {format_bytes(needed)}, {format_bytes(estimate.free_bytes)} are free: {verdict}",
    ]
    print_result("\n".join(lines), {"build": str(folder), **asdict(estimate)}, as_json=as_json)
