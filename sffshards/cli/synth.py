"""`sffshards synth`: made images and lists in the published layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.cli.shared_options import SeedOption, WorkersOption, count_workers

__all__ = ["EXAMPLES", "synth"]

EXAMPLES = (
    ("sffshards synth data", "72 regions of 40 frames, with flares that their field explains"),
    ("sffshards synth data --harps 60 --frames 80", "more and longer ones"),
    ("sffshards synth full --labels published", "the images that your lists name, to rehearse a build"),
)


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=True)] = Path("data"),
    labels: Annotated[
        Path | None,
        typer.Option(help="Make the images that the lists in this folder name, instead.", show_default=False),
    ] = None,
    harps: Annotated[int, typer.Option(min=2, help="Active regions in each of the six parts.")] = 12,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each region, 96 minutes apart.")] = 40,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Draw images again that are there, and replace changed lists.")
    ] = False,
) -> None:
    """Make images and label lists in the published layout: evolving bipoles, some of which flare.

    flares.csv and harps.txt, as SWPC and JSOC give theirs, hold the flares that the labels follow from. A region's
    chance of a flare rises with its unsigned flux and with the strong field along its polarity inversion line, so that
    a model can learn the labels from the pixels. The same seed gives the same images on any machine.
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
    flares = "" if report.num_flares is None else f", {report.num_flares} flares of class M and above"
    positive = ", ".join(f"{count:,} positive at {horizon}" for horizon, count in report.num_positive.items())
    print(f"{out}: {report.num_frames:,} images of {report.num_harps:,} regions{flares} ({positive})")
