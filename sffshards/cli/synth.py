"""`sffshards synth`: synthetic images and label lists in the published layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sffshards import synth as synthesis
from sffshards.base.errors import format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress, show

__all__ = ["synth"]


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write.")] = Path("data"),
    labels: Annotated[
        Path | None, Option("Folder of label lists: write an image for each frame in them, instead of new regions.")
    ] = None,
    harps: Annotated[int, Option("Number of active regions in each of the six parts.", minimum=2)] = 12,
    frames: Annotated[int, Option("Number of frames of each region, 96 minutes apart.", minimum=1)] = 40,
    seed: shared.SeedOption = 0,
    workers: shared.WorkersOption = None,
    cluster: shared.ClusterOption = None,
    jobs: shared.JobsOption = 1,
    force: Annotated[bool, Option("Rewrite existing images, and overwrite lists that differ.")] = False,
) -> None:
    """Write synthetic images and label lists.

    They have the published layout. The images show evolving active regions, some of which flare. A region's chance of
    a flare rises with its unsigned flux and with the field along its polarity inversion line, so that a model can learn
    the labels from the pixels. The flares and the regions are listed in flares.csv and harps.txt, in the formats of
    SWPC and JSOC. keywords.csv has SHARP keywords of each image, at a low resolution, for forecasters that need no
    images. The same seed gives the same images on any machine.

    Examples
    --------
    sffshards synth data
        72 regions of 40 frames, whose flares depend on their magnetic field
    sffshards synth data --harps 60 --frames 80
        more regions, with more frames
    sffshards synth full --labels published
        synthetic images for your own lists, to rehearse a build
    """
    if labels is not None:
        write = partial(synthesis.synthesize_for_lists, labels=labels)
    else:
        write = partial(synthesis.synthesize, num_harps=harps, frames_per_harp=frames)
    with shared.open_executor(workers, cluster=cluster, jobs=jobs) as executor:
        report = write(out, seed=seed, force=force, executor=executor, progress=make_progress())
    flares = "" if report.num_flares is None else f", {format_count(report.num_flares, 'flare')} of class M or above"
    positive = ", ".join(f"{count:,} positive at {task}" for task, count in report.num_positive.items())
    images, regions = format_count(report.num_frames, "image"), format_count(report.num_harps, "region")
    show(f"{out}: {images} of {regions}{flares} ({positive})")
