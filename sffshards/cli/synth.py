"""`sffshards synth`: synthetic images and label lists in the published layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.base.errors import format_count
from sffshards.cli.shared_options import SeedOption, WorkersOption, count_workers

__all__ = ["EXAMPLES", "synth"]

EXAMPLES = (
    ("sffshards synth data", "72 regions of 40 frames, with flares that their field explains"),
    ("sffshards synth data --harps 60 --frames 80", "more regions, with more frames"),
    ("sffshards synth full --labels published", "synthetic images for your own lists, to rehearse a build"),
)


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=True)] = Path("data"),
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Folder of label lists: write an image for each frame in them, instead of new regions.",
            show_default=False,
        ),
    ] = None,
    harps: Annotated[int, typer.Option(min=2, help="Number of active regions in each of the six parts.")] = 12,
    frames: Annotated[int, typer.Option(min=1, help="Number of frames of each region, 96 minutes apart.")] = 40,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write images again that exist already, and overwrite lists that differ.")
    ] = False,
) -> None:
    """Write synthetic images and label lists.

    They have the published layout. The images show evolving active regions, some of which flare. A region's chance of
    a flare rises with its unsigned flux and with the field along its polarity inversion line, so that a model can learn
    the labels from the pixels. The flares and the regions are listed in flares.csv and harps.txt, in the formats of
    SWPC and JSOC. The same seed gives the same images on any machine.
    """
    from sffshards.cli.terminal_output import make_progress
    from sffshards.synth import synthesize, synthesize_for_lists

    num_workers, progress = count_workers(workers), make_progress()
    if labels is not None:
        report = synthesize_for_lists(
            out, labels=labels, seed=seed, force=force, workers=num_workers, progress=progress
        )
    else:
        report = synthesize(
            out,
            seed=seed,
            num_harps=harps,
            frames_per_harp=frames,
            force=force,
            workers=num_workers,
            progress=progress,
        )
    flares = "" if report.num_flares is None else f", {format_count(report.num_flares, 'flare')} of class M or above"
    positive = ", ".join(f"{count:,} positive at {task}" for task, count in report.num_positive.items())
    images, regions = format_count(report.num_frames, "image"), format_count(report.num_harps, "region")
    print(f"{out}: {images} of {regions}{flares} ({positive})")
