"""`sffshards fetch dataset|labels|weights|jsoc`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.cli.shared_options import ForceOption

__all__ = ["COMMANDS", "HELP", "dataset", "jsoc", "labels", "weights"]

HELP = "Fetch the published data, label lists or weights, or magnetograms from JSOC; a download that broke goes on."

_DataArgument = Annotated[Path, typer.Argument(help="Data folder to make, or to add to.", show_default=True)]


def dataset(
    data: _DataArgument = Path("data"),
    url: Annotated[
        str | None,
        typer.Option(envvar="SFFSHARDS_DATASET_URL", help="The zip at a mirror.", show_default=False),
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="What the zip must have.", show_default=False)] = None,
    archive: Annotated[
        Path | None, typer.Option(help="The zip, fetched by hand; no network is used.", show_default=False)
    ] = None,
    record_url: Annotated[
        str | None,
        typer.Option(
            envvar="SFFSHARDS_RECORD_URL",
            help="Zenodo's record in JSON.  [default: https://zenodo.org/api/records/10246577]",
            show_default=False,
        ),
    ] = None,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Leave the zip in the data folder.")] = False,
    force: ForceOption = False,
) -> None:
    """Fetch the published zip (doi 10.5281/zenodo.10246577) and take its images and label lists out.

    Its MD5 is checked where Zenodo's record states one; fetch.json says what arrived, and what it was checked by.
    """
    from sffshards.cli.terminal_output import format_bytes, make_progress
    from sffshards.fetch import RECORD_URL, fetch_dataset

    reports = fetch_dataset(
        data,
        url=url,
        sha256=sha256,
        archive=archive,
        record_url=record_url or RECORD_URL,
        keep_archive=keep_archive,
        force=force,
        progress=make_progress(),
    )
    for report in reports:
        print(f"{data}: {report.num_images:,} images, {report.num_lists:,} lists; {report.num_written:,} written")
        print(f"zip of {format_bytes(report.size_bytes)}, SHA-256 {report.sha256}, checked by {report.checked_by}")


def labels(
    data: _DataArgument = Path("data"),
    url: Annotated[
        str | None,
        typer.Option(
            envvar="SFFSHARDS_LABELS_URL",
            help="Folder of M24/ and M48/ at a mirror.  [default: the authors' repository]",
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Fetch the twelve published label lists, each known by its SHA-256, to M24/ and M48/."""
    from sffshards.cli.terminal_output import make_progress
    from sffshards.fetch import LABELS_URL, fetch_labels

    paths = fetch_labels(data, url=url or LABELS_URL, force=force, progress=make_progress())
    print(f"{data}: {len(paths)} published label lists")


def weights(
    url: Annotated[
        str | None,
        typer.Option(
            envvar="SFFSHARDS_WEIGHTS_URL",
            help="The file at a mirror.  [default: download.pytorch.org]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to put it.  [default: torch's cache, where `train` looks]", show_default=False),
    ] = None,
) -> None:
    """Fetch the Kinetics-400 weights of MViTv2-S, known by their SHA-256, to where `sffshards train` finds them."""
    from sffshards.cli.terminal_output import make_progress
    from sffshards.fetch import WEIGHTS_URL, fetch_weights, weights_path

    print(fetch_weights(out or weights_path(), url=url or WEIGHTS_URL, progress=make_progress()))


def jsoc(
    harp: Annotated[int, typer.Option(min=1, help="The region's HARP.", show_default=False)],
    start: Annotated[str, typer.Option(help="Time of the first frame, in TAI.", show_default=False)],
    end: Annotated[str, typer.Option(help="Time of the last frame, in TAI.", show_default=False)],
    cadence: Annotated[str, typer.Option(help="From frame to frame.")] = "96m",
    series: Annotated[
        str, typer.Option(help="hmi.sharp_720s or hmi.sharp_cea_720s; with _nrt in near real time.")
    ] = "hmi.sharp_720s",
    segment: Annotated[str, typer.Option(help="magnetogram, Br, Bp or Bt.")] = "magnetogram",
    email: Annotated[
        str | None,
        typer.Option(
            help="Registered at JSOC: asks for an export, which also brings what is on tape.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of FITS files to make, or to add to.")] = Path("fits"),
    server: Annotated[
        str | None,
        typer.Option(
            envvar="SFFSHARDS_JSOC_URL",
            help="Address of JSOC.  [default: http://jsoc.stanford.edu]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fetch a region's magnetograms from JSOC, as FITS files that `sffshards ingest` takes.

    What arrived is kept when the service fails; the same command goes on.
    """
    from sffshards.cli.terminal_output import make_progress
    from sffshards.domain.times import parse_duration, parse_tai
    from sffshards.fetch import JSOC_URL, JsocQuery, fetch_jsoc

    query = JsocQuery(
        harp=harp,
        start_tai=parse_tai(start, where="--start"),
        end_tai=parse_tai(end, where="--end"),
        cadence=parse_duration(cadence, where="--cadence"),
        series=series,
        segment=segment,
    )
    address = (server or JSOC_URL).rstrip("/")
    report = fetch_jsoc(out, query, email=email, server=address, progress=make_progress())
    kept = f", {report.num_kept:,} kept" if report.num_kept else ""
    print(f"{out}: {report.num_fetched:,} of {report.num_records:,} frames fetched{kept}")
    if report.offline:
        print(f"{len(report.offline):,} are on tape at JSOC: give --email to have them exported")


COMMANDS = (
    (
        dataset,
        (
            ("sffshards fetch dataset data", "images and label lists, from Zenodo"),
            ("sffshards fetch dataset data --archive dataset.zip", "from a zip that you fetched by hand"),
        ),
    ),
    (labels, (("sffshards fetch labels data", "the twelve published lists"),)),
    (weights, (("sffshards fetch weights", "before training on a node without network"),)),
    (
        jsoc,
        (("sffshards fetch jsoc --harp 377 --start 2011-02-13 --end 2011-02-15", "two days, every 96 minutes"),),
    ),
)
"""The commands of the group, with examples of each."""
