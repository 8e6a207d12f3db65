"""`sffshards report`: the results of runs as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.cli.options import SeedOption, place_of
from sffshards.errors import InputError

__all__ = ["EXAMPLES", "report"]

EXAMPLES = (
    ("sffshards report", "every run in runs/, as report/index.html"),
    ("sffshards report runs/48h --out report-48h --harps 1449,377", "one horizon, with two regions in time"),
)


def report(
    runs: Annotated[Path, typer.Argument(help="A run, or a folder of runs, evaluated.", show_default=True)] = Path(
        "runs"
    ),
    out: Annotated[Path, typer.Option(help="Folder for the page and the files beside it.")] = Path("report"),
    shards: Annotated[
        str | None,
        typer.Option(
            help="A build, or a folder of builds, for film strips and provenance: a path, or a URL.  [default: shards, "
            "if it is there]",
            show_default=False,
        ),
    ] = None,
    harps: Annotated[
        str | None,
        typer.Option(
            help="HARP numbers to show in time, such as 1449,377.  [default: the six with most flares]",
            show_default=False,
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, max=1_000_000, help="Times that regions are drawn again.")] = 1000,
    seed: SeedOption = 123,
) -> None:
    """Write one page on how good the forecasts of evaluated runs are, and tables and figures beside it.

    The page needs no other file and asks nothing of any server: scores with 95 % intervals beside forecasts that need
    no network and the published results, reliability, ROC, scores by threshold, training, regions in time, film strips
    of hits, misses and false alarms, sets, regions that sets share, provenance.
    """
    from sffshards.cli.console import make_progress
    from sffshards.shards import load_builds

    chosen, place = _parse_harps(harps), place_of(shards or "shards")
    if shards is not None:
        load_builds(place)  # one that is named must be there

    from sffshards.report import ReportOptions, write_report
    from sffshards.verification.summary import Resampling

    options = ReportOptions(harps=chosen, resampling=Resampling(num_resamples=resamples, seed=seed))
    print(write_report(runs, out, shards=[place], options=options, progress=make_progress()))


def _parse_harps(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise InputError(
            "--harps", expected="HARP numbers with commas between them", found=repr(text)[:80], fix="such as 1449,377"
        ) from None
