"""The command `sffshards report`: the results of runs as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.base.errors import InputError
from sffshards.cli.flare_options import FlaresOption, HarpMapOption
from sffshards.cli.shared_options import SeedOption, place_of

if TYPE_CHECKING:
    from sffshards.base.progress import Progress
    from sffshards.report import ReportSources

__all__ = ["EXAMPLES", "report"]

EXAMPLES = (
    ("sffshards report", "report on every run in runs/, written to report/index.html"),
    ("sffshards report runs/48h --out report-48h --harps 1449,377", "one task, with two regions over time"),
    (
        "sffshards report --data data --flares flares.csv --harp-map harps.txt --keywords sharp_keywords.csv.gz",
        "also persistence from a flare list, and logistic regression",
    ),
)


def report(
    runs: Annotated[Path, typer.Argument(help="An evaluated run, or a folder of runs.", show_default=True)] = Path(
        "runs"
    ),
    out: Annotated[Path, typer.Option(help="Folder for the page, its tables and figures.")] = Path("report"),
    shards: Annotated[
        str | None,
        typer.Option(
            help="Path or URL of a build or a folder of builds, for film strips and provenance.  [default: shards, if "
            "it exists]",
            show_default=False,
        ),
    ] = None,
    harps: Annotated[
        str | None,
        typer.Option(
            help="HARP numbers of the regions to show over time, such as 1449,377.  [default: the six with most "
            "flares]",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data folder with the label lists, for baselines from the labels of all parts.", show_default=False
        ),
    ] = None,
    flares: FlaresOption = None,
    harp_map: HarpMapOption = None,
    keywords: Annotated[
        Path | None,
        typer.Option(
            help="Table of SHARP keywords, .csv or .csv.gz, for logistic regression. Needs --data.", show_default=False
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Number of bootstrap resamples for the intervals.")
    ] = 1000,
    seed: SeedOption = 123,
) -> None:
    """Write a report on evaluated runs.

    The report is one self-contained HTML page. Its tables and figures are also saved as files.

    The page has the scores with 95 % intervals, beside those of baselines and published results; reliability and ROC
    diagrams; scores by threshold; and training curves. It shows forecasts of regions over time, and film strips of
    hits, misses and false alarms. It lists the sets, the regions that they share, and the provenance of the runs.
    """
    from sffshards.cli.terminal_output import make_progress
    from sffshards.shards.read import load_builds

    progress = make_progress()
    chosen, place = _parse_harps(harps), place_of(shards or "shards")
    if shards is not None:
        load_builds(place)  # a build that is named must exist
    sources = _read_sources(data, flares, harp_map, keywords, progress)

    from sffshards.report import ReportOptions, write_report
    from sffshards.verification import Resampling

    resampling = Resampling(num_resamples=resamples, seed=seed)
    options = ReportOptions(harps=chosen, resampling=resampling, sources=sources)
    print(write_report(runs, out, shards=[place], options=options, progress=progress))


def _read_sources(
    data: Path | None, flares: Path | None, harp_map: Path | None, keywords: Path | None, progress: Progress
) -> ReportSources:
    from sffshards.cli.flare_options import load_catalogue, thresholds_of
    from sffshards.labels import find_label_lists

    if keywords is not None and data is None:
        raise InputError(
            "--keywords",
            expected="--data beside it",
            found="no --data",
            fix="name the folder of the label lists that the regression is fitted to",
        )
    lists = {} if data is None else find_label_lists(data)
    # The rules by which the labels were made: see docs/labels.md.
    read = load_catalogue(flares, harp_map, flare_time="start", clock="as-written")
    for line in [] if read is None else read.format_lines(thresholds_of(lists), {}):
        progress.note(line)
    table = None
    if keywords is not None:
        from sffshards.forecasting.baselines import read_keyword_table

        table = read_keyword_table(keywords)

    from sffshards.report import ReportSources

    catalogue = None if read is None else read.harp_flares
    return ReportSources(lists=lists, catalogue=catalogue, keywords=table)


def _parse_harps(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise InputError(
            "--harps",
            expected="HARP numbers with commas between them",
            found=repr(text)[:80],
            fix="write them as 1449,377",
        ) from None
