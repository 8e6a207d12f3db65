"""`sffshards demo`: the pipeline on synthetic data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sffshards import experiments
from sffshards.base.errors import format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.cli.score_output import format_side_by_side
from sffshards.cli.terminal_output import make_progress, show

__all__ = ["demo"]


def demo(
    out: Annotated[Path, Option("Folder to work in.")] = Path("sffshards-demo"),
    seed: shared.SeedOption = 0,
    workers: shared.WorkersOption = None,
) -> None:
    """Run the whole pipeline on synthetic data.

    The demo synthesizes data, builds shards, and trains a small network. It scores the network beside baselines and
    forecasters of keywords and flare history, and writes a report. It takes a few minutes on two processor cores. The
    scores show that the pipeline works end to end, not how well flares of the Sun can be forecast.

    Examples
    --------
    sffshards demo
        write everything to sffshards-demo/, which may be deleted afterwards
    """
    with shared.open_executor(workers) as executor:
        report = experiments.run_demo(out, seed=seed, executor=executor, progress=make_progress())
    images = format_count(report.data.num_frames, "synthetic image")
    regions = format_count(report.data.num_harps, "active region")
    flares = format_count(report.data.num_flares or 0, "flare")
    manifest = report.build.manifest
    samples = format_count(sum(group.num_samples for group in manifest.groups.values()), "sample")
    show(f"{out / 'data'}: {images} of {regions}, {flares} of class M or above")
    show(f"{out / 'shards' / manifest.task.folder}: {samples} in {format_count(len(manifest.shards), 'shard')}")
    show(format_side_by_side(report.scores))
    show("A forecast without skill has a TSS of 0. The test regions are in neither training nor validation set.")
    show(f"More: sffshards info {out / 'shards'}; sffshards show --shards {out / 'shards'}")
    show(f"Open the report in a browser: {report.page}")
