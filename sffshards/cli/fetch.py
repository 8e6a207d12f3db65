"""`sffshards fetch dataset|labels|weights|jsoc`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards import fetch
from sffshards.base.errors import format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import format_bytes, make_progress, show
from sffshards.domain.times import parse_duration, parse_tai

__all__ = ["COMMANDS", "HELP"]

HELP = "Download images, label lists or weights.\n\nAn interrupted download resumes when the same command runs again."

_DataArgument = Annotated[Path, typer.Argument(help="Data folder to create or to add to.")]


def _url(name: str, text: str, default_text: str | None = None) -> Option:
    """Return an option for a URL that the environment may name, too."""
    return Option(text, envvar=f"SFFSHARDS_{name}_URL", default_text=default_text)


def dataset(
    data: _DataArgument = Path("data"),
    url: Annotated[str | None, _url("DATASET", "URL of the zip at a mirror.")] = None,
    sha256: Annotated[str | None, Option("SHA-256 that the zip must have.")] = None,
    archive: Annotated[Path | None, Option("A zip that you downloaded; the network is not used.")] = None,
    record_url: Annotated[
        str | None,
        _url("RECORD", "URL of Zenodo's record of the data, in JSON.", "https://zenodo.org/api/records/10246577"),
    ] = None,
    keep_archive: Annotated[bool, Option("Keep the zip in the data folder.")] = False,
    force: shared.ForceOption = False,
) -> None:
    """Fetch the published images and label lists.

    They are extracted from a zip, doi 10.5281/zenodo.10246577. The MD5 of the zip is checked if Zenodo's record states
    one. fetch.json records the SHA-256 of the zip, and states which checksum was checked.

    Examples
    --------
    sffshards fetch dataset data
        images and label lists, from Zenodo
    sffshards fetch dataset data --archive dataset.zip
        from a zip that you downloaded
    """
    reports = fetch.fetch_dataset(
        data,
        url=url,
        sha256=sha256,
        archive=archive,
        record_url=record_url or fetch.RECORD_URL,
        keep_archive=keep_archive,
        force=force,
        progress=make_progress(),
    )
    for report in reports:
        counts = f"{format_count(report.num_images, 'image')}, {format_count(report.num_lists, 'label list')}"
        others = "".join(
            f", {format_count(count, 'file')} left out: {reason}" for reason, count in sorted(report.others.items())
        )
        show(f"{data}: {counts}; {format_count(report.num_written, 'file')} written{others}")
        show(f"zip of {format_bytes(report.size_bytes)}, SHA-256 {report.sha256}, checked by {report.checked_by}")


def labels(
    data: _DataArgument = Path("data"),
    url: Annotated[
        str | None, _url("LABELS", "URL of a folder with M24/ and M48/ at a mirror.", "the authors' repository")
    ] = None,
    force: shared.ForceOption = False,
) -> None:
    """Fetch the twelve published label lists.

    They are written to M24/ and M48/ in the data folder. The SHA-256 of each is checked.

    Examples
    --------
    sffshards fetch labels data
        the twelve published lists
    """
    paths = fetch.fetch_labels(data, url=url or fetch.LABELS_URL, force=force, progress=make_progress())
    show(f"{data}: {len(paths)} published label lists")


def weights(
    model: Annotated[
        str, Option("Network of torchvision's, as `train --model` names it.", metavar="<network>")
    ] = "mvit_v2_s",
    url: Annotated[str | None, _url("WEIGHTS", "URL of the file at a mirror.", "download.pytorch.org")] = None,
    out: Annotated[
        Path | None, Option("File to write.", default_text="the one in torch's cache that `train` reads")
    ] = None,
) -> None:
    """Fetch the Kinetics-400 weights of a network.

    They are written to where `sffshards train` finds them. Their SHA-256 is checked; of networks other than mvit_v2_s,
    the first eight digits, which torchvision publishes in the file's name.

    Examples
    --------
    sffshards fetch weights
        before training on a node without network
    sffshards fetch weights --model swin3d_t
        of another network
    """
    path = out or fetch.weights_path(model)
    show(fetch.fetch_weights(path, model=model, url=url, progress=make_progress()))


def jsoc(
    harp: Annotated[int, Option("HARP number of the region.", minimum=1)],
    start: Annotated[str, Option("Time of the first frame, in TAI.")],
    end: Annotated[str, Option("Time of the last frame, in TAI.")],
    cadence: Annotated[str, Option("Time between frames.")] = "96m",
    series: Annotated[
        str, Option("JSOC series: hmi.sharp_720s or hmi.sharp_cea_720s; append _nrt for near-real-time data.")
    ] = "hmi.sharp_720s",
    segment: Annotated[str, Option("Segment to fetch: magnetogram, Br, Bp or Bt.")] = "magnetogram",
    email: Annotated[
        str | None,
        Option(
            "E-mail address registered at JSOC. If given, the files are requested as an export, which also "
            "includes files on tape."
        ),
    ] = None,
    out: Annotated[Path, Option("Folder for the FITS files, new or existing.")] = Path("fits"),
    server: Annotated[str | None, _url("JSOC", "URL of JSOC.", "http://jsoc.stanford.edu")] = None,
) -> None:
    """Fetch a region's magnetograms from JSOC.

    They are FITS files, which `sffshards ingest` reads. If the service fails, the files fetched so far are kept; run
    the same command again to fetch the others.

    Examples
    --------
    sffshards fetch jsoc --harp 377 --start 2011-02-13 --end 2011-02-15
        two days, every 96 minutes
    """
    query = fetch.JsocQuery(
        harp=harp,
        start_tai=parse_tai(start, where="--start"),
        end_tai=parse_tai(end, where="--end"),
        cadence=parse_duration(cadence, where="--cadence"),
        series=series,
        segment=segment,
    )
    address = (server or fetch.JSOC_URL).rstrip("/")
    report = fetch.fetch_jsoc(out, query, email=email, server=address, progress=make_progress())
    kept = f", {report.num_kept:,} kept" if report.num_kept else ""
    show(f"{out}: {report.num_fetched:,} of {format_count(report.num_records, 'frame')} fetched{kept}")
    if report.num_without_image:
        empty = format_count(report.num_without_image, "record has", "records have")
        show(f"{empty} no image at JSOC (QUALITY 0x80000000)")
    if report.offline:
        tape = format_count(len(report.offline), "file is", "files are")
        show(f"{tape} on tape at JSOC; pass --email to request an export")


COMMANDS = (dataset, labels, weights, jsoc)
"""The commands of the group."""
