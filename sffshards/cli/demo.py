"""`sffshards demo`: the whole way on made data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.cli.shared_options import SeedOption, WorkersOption, count_workers

__all__ = ["EXAMPLES", "demo"]

EXAMPLES = (("sffshards demo", "everything in sffshards-demo/, which may be deleted afterwards"),)


def demo(
    out: Annotated[Path, typer.Option(help="Folder to work in.")] = Path("sffshards-demo"),
    seed: SeedOption = 0,
    workers: WorkersOption = None,
) -> None:
    """Make data, build shards, train a small network, and score it: a few minutes on two processor cores.

    The scores are of made data. They show that the way works, not how well flares of the Sun can be forecast.
    """
    from sffshards.cli.evaluate import format_scores
    from sffshards.cli.terminal_output import make_progress
    from sffshards.experiments import run_demo

    report = run_demo(out, seed=seed, workers=count_workers(workers), progress=make_progress())
    print(
        f"{out / 'data'}: {report.data.num_frames:,} made images of {report.data.num_harps} active regions, "
        f"{report.data.num_flares} flares of class M and above"
    )
    manifest = report.build.manifest
    num_samples = sum(group.num_samples for group in manifest.groups.values())
    print(f"{out / 'shards' / manifest.task.folder}: {num_samples:,} samples in {len(manifest.shards)} shards")
    print(format_scores(report.scores))
    print("No skill is a TSS of 0. The test regions are in neither the training nor the validation set.")
    print(
        f"Look on: sffshards info {out / 'shards'}; sffshards show --shards {out / 'shards'}; "
        f"{report.scores.run.folder / 'fold0' / 'predictions-test.csv'}"
    )
