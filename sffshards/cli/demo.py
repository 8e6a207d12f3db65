"""`sffshards demo`: the pipeline on synthetic data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.base.errors import format_count
from sffshards.cli.shared_options import SeedOption, WorkersOption, count_workers

__all__ = ["EXAMPLES", "demo"]

EXAMPLES = (("sffshards demo", "write everything to sffshards-demo/, which may be deleted afterwards"),)


def demo(
    out: Annotated[Path, typer.Option(help="Folder to work in.")] = Path("sffshards-demo"),
    seed: SeedOption = 0,
    workers: WorkersOption = None,
) -> None:
    """Run the whole pipeline on synthetic data.

    The demo synthesizes data, builds shards, trains and scores a small network, and writes a report. It takes a few
    minutes on two processor cores. The scores show that the pipeline works end to end, not how well flares of the Sun
    can be forecast.
    """
    from sffshards.cli.evaluate import format_scores
    from sffshards.cli.terminal_output import make_progress
    from sffshards.experiments import run_demo

    report = run_demo(out, seed=seed, workers=count_workers(workers), progress=make_progress())
    print(
        f"{out / 'data'}: {format_count(report.data.num_frames, 'synthetic image')} of "
        f"{format_count(report.data.num_harps, 'active region')}, "
        f"{format_count(report.data.num_flares or 0, 'flare')} of class M or above"
    )
    manifest = report.build.manifest
    num_samples = sum(group.num_samples for group in manifest.groups.values())
    print(
        f"{out / 'shards' / manifest.task.folder}: {format_count(num_samples, 'sample')} in "
        f"{format_count(len(manifest.shards), 'shard')}"
    )
    print(format_scores(report.scores))
    print("A forecast without skill has a TSS of 0. The test regions are in neither training nor validation set.")
    print(f"More: sffshards info {out / 'shards'}; sffshards show --shards {out / 'shards'}")
    print(f"Open the report in a browser: {report.page}")
