"""`sffshards fetch dataset|labels|weights|jsoc`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sffshards.base.errors import format_count
from sffshards.cli.shared_options import ForceOption

__all__ = ["COMMANDS", "HELP", "dataset", "jsoc", "labels", "weights"]

HELP = "Download images, label lists or weights.\n\nAn interrupted download resumes when the same command runs again."

_DataArgument = Annotated[Path, typer.Argument(help="Data folder to create or to add to.", show_default=True)]


def _option(text: str, **settings: Any) -> Any:
    """Return an option that shows no default."""
    return typer.Option(help=text, show_default=False, **settings)


def _url_option(name: str, text: str) -> Any:
    """Return an option for a URL that the environment may name, too."""
    return _option(text, envvar=f"SFFSHARDS_{name}_URL")


def dataset(
    data: _DataArgument = Path("data"),
    url: Annotated[str | None, _url_option("DATASET", "URL of the zip at a mirror.")] = None,
    sha256: Annotated[str | None, _option("SHA-256 that the zip must have.")] = None,
    archive: Annotated[Path | None, _option("A zip that you downloaded; the network is not used.")] = None,
    record_url: Annotated[
        str | None,
        _url_option(
            "RECORD", "URL of Zenodo's record of the data, in JSON.  [default: https://zenodo.org/api/records/10246577]"
        ),
    ] = None,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Keep the zip in the data folder.")] = False,
    force: ForceOption = False,
) -> None:
    """Fetch the published images and label lists.

    They are extracted from a zip, doi 10.5281/zenodo.10246577. The MD5 of the zip is checked if Zenodo's record states
    one. The SHA-256 of the zip, and which checksum was checked, are recorded in fetch.json.
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
        counts = f"{format_count(report.num_images, 'image')}, {format_count(report.num_lists, 'label list')}"
        print(f"{data}: {counts}; {format_count(report.num_written, 'file')} written")
        print(f"zip of {format_bytes(report.size_bytes)}, SHA-256 {report.sha256}, checked by {report.checked_by}")


def labels(
    data: _DataArgument = Path("data"),
    url: Annotated[
        str | None,
        _url_option("LABELS", "URL of a folder with M24/ and M48/ at a mirror.  [default: the authors' repository]"),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Fetch the twelve published label lists.

    They are written to M24/ and M48/ in the data folder. The SHA-256 of each is checked.
    """
    from sffshards.cli.terminal_output import make_progress
    from sffshards.fetch import LABELS_URL, fetch_labels

    paths = fetch_labels(data, url=url or LABELS_URL, force=force, progress=make_progress())
    print(f"{data}: {len(paths)} published label lists")


def weights(
    url: Annotated[
        str | None, _url_option("WEIGHTS", "URL of the file at a mirror.  [default: download.pytorch.org]")
    ] = None,
    out: Annotated[
        Path | None, _option("File to write.  [default: the one in torch's cache that `train` reads]")
    ] = None,
) -> None:
    """Fetch the Kinetics-400 weights of MViTv2-S.

    They are written to where `sffshards train` finds them. Their SHA-256 is checked.
    """
    from sffshards.cli.terminal_output import make_progress
    from sffshards.fetch import WEIGHTS_URL, fetch_weights, weights_path

    print(fetch_weights(out or weights_path(), url=url or WEIGHTS_URL, progress=make_progress()))


def jsoc(
    harp: Annotated[int, _option("HARP number of the region.", min=1)],
    start: Annotated[str, _option("Time of the first frame, in TAI.")],
    end: Annotated[str, _option("Time of the last frame, in TAI.")],
    cadence: Annotated[str, typer.Option(help="Time between frames.")] = "96m",
    series: Annotated[
        str,
        typer.Option(help="JSOC series: hmi.sharp_720s or hmi.sharp_cea_720s; append _nrt for near-real-time data."),
    ] = "hmi.sharp_720s",
    segment: Annotated[str, typer.Option(help="Segment to fetch: magnetogram, Br, Bp or Bt.")] = "magnetogram",
    email: Annotated[
        str | None, _option("E-mail address registered at JSOC. Requests an export, which includes files on tape.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the FITS files, new or existing.")] = Path("fits"),
    server: Annotated[str | None, _url_option("JSOC", "URL of JSOC.  [default: http://jsoc.stanford.edu]")] = None,
) -> None:
    """Fetch a region's magnetograms from JSOC.

    They are FITS files, which `sffshards ingest` reads. If the service fails, the files fetched so far are kept; run
    the same command again to fetch the others.
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
    print(f"{out}: {report.num_fetched:,} of {format_count(report.num_records, 'frame')} fetched{kept}")
    if report.offline:
        is_or_are = "file is" if len(report.offline) == 1 else "files are"
        print(f"{len(report.offline):,} {is_or_are} on tape at JSOC; pass --email to request an export")


COMMANDS = (
    (
        dataset,
        (
            ("sffshards fetch dataset data", "images and label lists, from Zenodo"),
            ("sffshards fetch dataset data --archive dataset.zip", "from a zip that you downloaded"),
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
