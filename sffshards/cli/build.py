"""`sffshards build`: label lists and images to shards."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.cli.shared_options import (
    DataArgument,
    ForceOption,
    HorizonOption,
    ImagesOption,
    JsonOption,
    LabelsOption,
    ThresholdOption,
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
    ("sffshards build --horizon 48h --dry-run", "what it would take: samples, bytes, free space"),
    ("sffshards build --max-gap 192 --on-short drop", "only full sequences of frames at most 192 minutes apart"),
    ("sffshards build --out s3://bucket/shards", "made in shards/, then copied to s3://bucket/shards/48h"),
    ("sffshards build /archive/flares --codec npy --out /scratch/shards", "lossless, for the fastest reading"),
)


class OnBadImage(StrEnum):
    """What to do about an image that cannot be used."""

    ERROR = "error"
    SKIP = "skip"


def build(
    data: DataArgument = Path("data"),
    horizon: HorizonOption = None,
    threshold: ThresholdOption = None,
    out: Annotated[
        str,
        typer.Option(help="Folder that gets a build a horizon, and the frames they share; or a URL to copy builds to."),
    ] = "shards",
    stage: Annotated[
        Path, typer.Option(help="Where --out is a URL: the folder where builds are made first, and stay.")
    ] = Path("shards"),
    codec: Annotated[
        CodecName,
        typer.Option(
            help="jpg: film strips, about a sixth of raw. npy: lossless, read at the speed of memory. "
            "mp4: H.264, smallest, for slow links."
        ),
    ] = CodecName.JPG,
    images: ImagesOption = None,
    labels: LabelsOption = None,
    max_gap: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Minutes: a sequence takes no frame from before a longer gap. 96 is the published cadence.  "
            "[default: gaps are not looked at, as published]",
            show_default=False,
        ),
    ] = None,
    min_frames: Annotated[int, typer.Option(min=1, max=16, help="Sequences of fewer frames are short.")] = 16,
    on_short: Annotated[
        OnShort, typer.Option(help="keep: stretch short sequences to 16 frames, as published. drop: leave them out.")
    ] = OnShort.KEEP,
    shard_size: Annotated[int, typer.Option(min=1, help="Size of a shard aimed at, in MB.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of samples in a shard.")] = 123,
    on_bad_image: Annotated[
        OnBadImage, typer.Option(help="error: stop. skip: leave out the sequences concerned, and record them.")
    ] = OnBadImage.ERROR,
    max_skipped: Annotated[
        float, typer.Option(min=0, max=100, help="Percent of the images that may be skipped; more is an error.")
    ] = 5.0,
    workers: WorkersOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build WebDataset shards of all sequences of a horizon.

    Every image is decoded and resized once, into frames/, which both horizons use. A build that is stopped goes on
    where it was when run again. OUT/48h/manifest.json, written last, names every shard of every variant and fold.
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
    for options in builds if copies else builds[1:]:  # the first looks at its folder itself
        target = copies.get(options.task)
        check_build(layout, options, out=folder / options.task.folder, target=target, force=force)
    for options in builds:
        target = copies.get(options.task)
        _build(layout, options, out=folder, copy=target, workers=count_workers(workers), force=force, as_json=as_json)


def _note_faults(layout: DataLayout) -> None:
    """Say in a line what is wrong with the label lists, before a week is spent on them."""
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
        f"{folder}: {counts[Kind.BASE]:,} sequences and {counts[Kind.OVER]:,} further views of the positives, "
        f"{len(manifest.shards)} shards, {format_bytes(manifest.size_bytes)} "
        f"({report.num_decoded:,} images decoded, {report.num_written} shards written, {report.num_kept} kept)"
    )
    if copy is not None:
        print(f"{copy}: the same, {num_copied} shards copied")
    if options.windows.on_short is OnShort.DROP:
        print(f"{manifest.num_short_sequences:,} sequences of fewer than {options.windows.min_frames} frames left out")
    if manifest.num_skipped_sequences:
        print(
            f"{manifest.num_skipped_sequences:,} sequences left out for {len(manifest.inputs.skipped_frames):,} images "
            f"that cannot be used; {folder / 'manifest.json'} names them"
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
    print(f"  {num_base:,} sequences, {estimate.num_positive:,} positive, and {num_over:,} further views of these")
    if estimate.num_short:
        becomes = "would be left out" if options.windows.on_short is OnShort.DROP else "of these, are stretched to 16"
        print(f"  {estimate.num_short:,} sequences of fewer than {options.windows.min_frames} frames {becomes}")
    print(f"  in about {format_bytes(estimate.shard_bytes)} of shards")
    print(f"  from {estimate.num_images:,} images, {estimate.num_new_frames:,} of them to be decoded,")
    print(f"  which adds {format_bytes(estimate.store_bytes)} to {out / 'frames'}")
    needed = estimate.shard_bytes + estimate.store_bytes
    verdict = "enough" if needed <= estimate.free_bytes else "NOT enough"
    print(f"  needs {format_bytes(needed)}, {format_bytes(estimate.free_bytes)} are free: {verdict}")
