"""The command `sffshards report`: the results of runs as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards import report as page
from sffshards.base.errors import InputError
from sffshards.base.option_fields import Option
from sffshards.cli import flare_options
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress
from sffshards.domain.sample_sets import LabelSet
from sffshards.forecasting import runs as forecast_runs
from sffshards.shards import read

__all__ = ["report"]


def report(
    runs: Annotated[Path, typer.Argument(help="An evaluated run, or a folder of runs.")] = Path("runs"),
    out: Annotated[Path, Option("Folder for the page, its tables and figures.")] = Path("report"),
    shards: Annotated[
        str | None,
        Option(
            "Path or URL of a build or a folder of builds, for film strips and provenance.",
            default_text="shards, if it exists",
        ),
    ] = None,
    harps: Annotated[
        str | None,
        Option(
            "HARP numbers of the regions to show over time, such as 1449,377.",
            default_text="the six with most positive samples",
        ),
    ] = None,
    flares: flare_options.FlareListsOption = None,
    harp_map: flare_options.HarpMapOption = None,
    clock: flare_options.ClockOption = "as-written",
    label_set: flare_options.LabelSetOption = LabelSet.PUBLISHED,
    explain: Annotated[
        bool, Option("Explain the forecasts of the film strips, which needs the checkpoints of the run and takes time.")
    ] = False,
    device: Annotated[str, Option("Device for --explain: auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
) -> None:
    """Write a report on evaluated runs.

    The report is one self-contained HTML page. Its tables and figures are also saved as files.

    The page has the scores with 95 % intervals, and published results; the differences between runs, and from
    baselines; reliability and ROC diagrams; scores by threshold; and training curves. It shows forecasts of regions
    over time, and film strips of hits, misses and false alarms. It lists the sets, the regions that they share, and the
    provenance of the runs.

    Baselines are runs: `evaluate` writes those that labels or a flare list determine beside each network, and
    `baselines --runs` also writes forecasters of keywords and flare history. A report on one run has the baselines
    beside it as well.

    With --label-set rebuilt, all of this is by labels that follow from the flare list; with both, the scores by the
    published labels, which alone compare with published results, are beside them. With several --flares, a table has
    the scores by the labels of each list, and their spread.

    Examples
    --------
    sffshards report
        report on every run in runs/, written to report/index.html
    sffshards report runs/48h --out report-48h --harps 1449,377
        one task, with two regions over time
    sffshards report --flares flares.csv --harp-map harps.txt
        first flares by the flare list, and flares in the figures of regions
    """
    progress = make_progress()
    chosen, place = _parse_harps(harps), shared.place_of(shards or "shards")
    if shards is not None:
        read.load_builds(place)  # a build that is named must exist
    tasks = () if flares is None or harp_map is None else sorted({run.task for run in forecast_runs.find_runs(runs)})
    every = flare_options.read_flare_lists(flares, harp_map, tasks=tasks, clock=clock, progress=progress)
    options = page.ReportOptions(
        harps=chosen,
        explain_on=device if explain else None,
        catalogue=every[0] if every else None,
        label_set=label_set,
        other_catalogues=tuple(every[1:]),
    )
    print(page.write_report(runs, out, shards=[place], options=options, progress=progress))


def _parse_harps(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(number) for number in text.split(","))
    except ValueError:
        raise InputError(
            "--harps",
            expected="HARP numbers with commas between them",
            found=repr(text)[:80],
            fix="write them as 1449,377",
        ) from None
