"""`sffshards build`: label lists and images to shards."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.base.errors import format_count
from sffshards.cli.shared_options import (
    DataArgument,
    ForceOption,
    HorizonsOption,
    ImagesOption,
    JsonOption,
    LabelsOption,
    ThresholdsOption,
    WorkersOption,
    count_workers,
    parse_task_choice,
    place_of,
)
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.sample_sets import Kind
from sffshards.domain.task import Task
from sffshards.shards.format import CodecName

if TYPE_CHECKING:
    from sffshards.labels import DataLayout
    from sffshards.shards.build import BuildOptions
    from sffshards.shards.read import RemoteFolder

__all__ = ["EXAMPLES", "OnBadImage", "build"]

EXAMPLES = (
    ("sffshards build", "data/ to shards/24h/ and shards/48h/"),
    ("sffshards build --horizon 48h --dry-run", "what the build needs: samples, bytes, free space"),
    ("sffshards build --max-gap 192 --on-short drop", "only full sequences of frames at most 192 minutes apart"),
    ("sffshards build --out s3://bucket/shards", "built in shards/, then copied to s3://bucket/shards/48h"),
    ("sffshards build /archive/flares --codec npy --out /scratch/shards", "lossless, for the fastest reading"),
)


class OnBadImage(StrEnum):
    """What to do with an image that cannot be used."""

    ERROR = "error"
    SKIP = "skip"


def build(
    data: DataArgument = Path("data"),
    horizon: HorizonsOption = None,
    threshold: ThresholdsOption = None,
    out: Annotated[
        str,
        typer.Option(
            help="Folder for builds, one per task, and the frames that they share; or a URL to copy the builds to."
        ),
    ] = "shards",
    stage: Annotated[Path, typer.Option(help="Folder to build in before copying, if --out is a URL.")] = Path("shards"),
    codec: Annotated[
        CodecName,
        typer.Option(
            help="jpg: film strips, about a sixth of the raw size. npy: lossless, uncompressed, fastest to read. "
            "mp4: H.264, smallest, for slow links."
        ),
    ] = CodecName.JPG,
    images: ImagesOption = None,
    labels: LabelsOption = None,
    max_gap: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum gap in minutes between two frames of a sequence; the published cadence is 96.  "
            "[default: no limit, as published]",
            show_default=False,
        ),
    ] = None,
    min_frames: Annotated[int, typer.Option(min=1, max=16, help="Sequences of fewer frames are short.")] = 16,
    on_short: Annotated[
        OnShort,
        typer.Option(
            help="keep: repeat frames of short sequences up to 16, as published. drop: leave out short sequences."
        ),
    ] = OnShort.KEEP,
    shard_size: Annotated[int, typer.Option(min=1, help="Target size of a shard in MB.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of samples in a shard.")] = 123,
    on_bad_image: Annotated[
        OnBadImage, typer.Option(help="error: stop. skip: leave out and record the sequences with a bad image.")
    ] = OnBadImage.ERROR,
    max_skipped: Annotated[
        float, typer.Option(min=0, max=100, help="Maximum percentage of images that may be skipped.")
    ] = 5.0,
    workers: WorkersOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what the build would write and need, without writing.")
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build WebDataset shards from label lists and images.

    Each image is decoded and resized once, into OUT/frames, which the builds of all tasks share. An interrupted build
    resumes when the same command runs again. The manifest, such as OUT/48h/manifest.json, is written last; it lists
    the shards of every part.
    """
    from sffshards.labels import find_data
    from sffshards.shards.build import BuildOptions, check_build
    from sffshards.shards.read import RemoteFolder

    place = place_of(out)
    folder = stage if isinstance(place, RemoteFolder) else place
    layout = find_data(data, images=images, labels=labels)
    tasks = parse_task_choice(horizon, threshold).choose(layout.lists, where=labels or data)
    builds = [
        BuildOptions(
            task=task,
            codec=codec,
            seed=seed,
            shard_size_bytes=shard_size * 1_000_000,
            skip_bad_images=on_bad_image is OnBadImage.SKIP,
            windows=WindowRule(max_gap_minutes=max_gap, min_frames=min_frames, on_short=on_short),
            max_skipped_percent=max_skipped,
        )
        for task in tasks
    ]
    _note_faults(layout)
    if dry_run:
        for options in builds:
            _estimate(layout, options, out=folder, force=force, as_json=as_json)
        return
    copies: dict[Task, RemoteFolder] = {}
    if isinstance(place, RemoteFolder):
        copies = {options.task: place / options.task.folder for options in builds}
    for options in builds if copies else builds[1:]:  # the first build checks its own folder
        target = copies.get(options.task)
        check_build(layout, options, out=folder / options.task.folder, target=target, force=force)
    for options in builds:
        target = copies.get(options.task)
        _build(layout, options, out=folder, copy=target, workers=count_workers(workers), force=force, as_json=as_json)


def _note_faults(layout: DataLayout) -> None:
    """Summarise the problems of the label lists in one line, before a week of work is spent on them."""
    from sffshards.cli.terminal_output import make_progress
    from sffshards.labels import audit_labels, read_lists, summarize_audit

    make_progress().note(summarize_audit(audit_labels(read_lists(layout.lists))))


def _build(
    layout: DataLayout,
    options: BuildOptions,
    *,
    out: Path,
    copy: RemoteFolder | None,
    workers: int,
    force: bool,
    as_json: bool,
) -> None:
    from sffshards.cli.terminal_output import format_bytes, make_progress, print_json
    from sffshards.shards.build import build_shards, publish_build

    folder = out / options.task.folder
    report = build_shards(
        layout,
        options,
        out=folder,
        store_folder=out / "frames",
        workers=workers,
        force=force,
        progress=make_progress(),
    )
    manifest = report.manifest
    num_copied = 0
    if copy is not None:
        num_copied = publish_build(folder, copy, force=force, progress=make_progress())
    counts = {kind: sum(g.num_samples for name, g in manifest.groups.items() if name.endswith(kind)) for kind in Kind}
    if as_json:
        print_json(
            {
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
            | ({"copy": str(copy), "num_shards_copied": num_copied} if copy is not None else {})
        )
        return
    print(
        f"{folder}: {format_count(counts[Kind.BASE], 'sequence')} and "
        f"{format_count(counts[Kind.OVER], 'augmented view')} of the positives, "
        f"{format_count(len(manifest.shards), 'shard')}, {format_bytes(manifest.size_bytes)} "
        f"({format_count(report.num_decoded, 'image')} decoded, "
        f"{format_count(report.num_written, 'shard')} written, {report.num_kept:,} kept)"
    )
    if copy is not None:
        print(f"{copy}: the same, {format_count(num_copied, 'shard')} copied")
    if options.windows.on_short is OnShort.DROP:
        short = format_count(manifest.num_short_sequences, "sequence")
        print(f"{short} of fewer than {options.windows.min_frames} frames left out")
    if manifest.num_skipped_sequences:
        print(
            f"{format_count(manifest.num_skipped_sequences, 'sequence')} left out for "
            f"{format_count(len(manifest.inputs.skipped_frames), 'image')} that cannot be used, "
            f"listed in {folder / 'manifest.json'}"
        )


def _estimate(layout: DataLayout, options: BuildOptions, *, out: Path, force: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from sffshards.cli.terminal_output import format_bytes, print_json
    from sffshards.shards.build import estimate_build

    folder = out / options.task.folder
    estimate = estimate_build(layout, options, store_folder=out / "frames", out=folder, force=force)
    if as_json:
        print_json({"build": str(folder), **asdict(estimate)})
        return
    num_base, num_over = estimate.num_samples[Kind.BASE], estimate.num_samples[Kind.OVER]
    print(f"{folder} ({options.codec}) would hold")
    views = format_count(num_over, "augmented view")
    print(f"  {format_count(num_base, 'sequence')}, {estimate.num_positive:,} positive, and {views} of the positives")
    if estimate.num_short:
        becomes = "left out" if options.windows.on_short is OnShort.DROP else "stretched to 16"
        short = format_count(estimate.num_short, "sequence")
        print(f"  {short} of fewer than {options.windows.min_frames} frames, {becomes}")
    print(f"  in about {format_bytes(estimate.shard_bytes)} of shards")
    print(f"  from {format_count(estimate.num_images, 'image')}, {estimate.num_new_frames:,} of them to be decoded,")
    print(f"  which adds {format_bytes(estimate.store_bytes)} to {out / 'frames'}")
    needed = estimate.shard_bytes + estimate.store_bytes
    verdict = "enough" if needed <= estimate.free_bytes else "NOT enough"
    print(f"  needs {format_bytes(needed)}, {format_bytes(estimate.free_bytes)} are free: {verdict}")
