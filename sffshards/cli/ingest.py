"""`sffshards ingest`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.base.errors import InputError, format_count
from sffshards.cli.shared_options import ForceOption, JsonOption, WorkersOption, count_workers
from sffshards.images import BadQuality, Colours, Component, Scale

if TYPE_CHECKING:
    from sffshards.images import IngestReport, MovieOptions

__all__ = ["EXAMPLES", "ingest"]

EXAMPLES = (
    ("sffshards ingest fits --out data", "frames every 96 minutes; field from -800 to 800 G becomes black to white"),
    ("sffshards ingest fits --out data --cadence all --skip-bad", "all frames, without those of damaged files"),
    (
        "sffshards ingest movie.mp4 --harp 7117 --start 2017-09-03 --cadence 6h --crop 62,468,365,157 --colours bwr",
        "the magnetogram panel of a movie",
    ),
)

_DEFAULT_CADENCE = "96m"


def ingest(
    source: Annotated[Path, typer.Argument(help="Folder of FITS files, one FITS file, or a movie (mp4, mpg).")],
    out: Annotated[Path, typer.Option(help="Data folder to create or to add to.")] = Path("data"),
    component: Annotated[
        Component,
        typer.Option(
            help="Component of the field: magnetogram, along the line of sight; or Br, Bp or Bt of the vector."
        ),
    ] = Component.MAGNETOGRAM,
    series: Annotated[
        str | None,
        typer.Option(help="JSOC series of the files, such as hmi.sharp_cea_720s.", show_default=False),
    ] = None,
    scale: Annotated[
        Scale, typer.Option(help="Function from field to grey level; arctan and symlog compress fields above 100 G.")
    ] = Scale.LINEAR,
    clip_gauss: Annotated[
        float, typer.Option(help="Field strength in gauss that is shown as white if positive, black if negative.")
    ] = 800.0,
    cadence: Annotated[
        str | None,
        typer.Option(
            help="Time step of a regular grid; of each region, the frame nearest to each grid time is kept. all: keep "
            "every frame. Movie: time between pictures.  [default: 96m]",
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[str, typer.Option(help="Maximum time between a frame and its grid time.")] = "12m",
    bad_quality: Annotated[
        BadQuality, typer.Option(help="Treatment of frames whose QUALITY has bit 0x10000 or a higher one.")
    ] = BadQuality.DROP,
    jpeg_quality: Annotated[int, typer.Option(min=1, max=95, help="JPEG quality of the images.")] = 92,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Skip files that cannot be used, and report their names and number.")
    ] = False,
    harp: Annotated[int | None, typer.Option(min=1, help="Movie: HARP of the region.", show_default=False)] = None,
    start: Annotated[
        str | None, typer.Option(help="Movie: time of the first picture, in TAI.", show_default=False)
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(help="Movie: left,top,width,height of the magnetogram in pixels.", show_default=False),
    ] = None,
    colours: Annotated[Colours, typer.Option(help="Movie: colour map of the field.")] = Colours.GREY,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Movie: expected number of pictures; another number is an error.", show_default=False),
    ] = None,
    workers: WorkersOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert FITS files or a movie to images.

    FITS files of the series hmi.sharp_720s and hmi.sharp_cea_720s, compressed or not, or a movie of one region become
    8-bit grey JPEGs in the published layout, with north up and west right. Pixels without a value are set to zero
    field. The options and the source of each image are recorded in ingest.json, in the folder of the images.
    """
    from sffshards.cli.terminal_output import make_progress
    from sffshards.domain.times import parse_duration
    from sffshards.images import MOVIE_SUFFIXES, FitsOptions, ingest_fits, ingest_movie

    progress = make_progress()
    if source.suffix.lower() in MOVIE_SUFFIXES:
        movie = _movie_options(harp, start, cadence, crop, colours=colours, jpeg_quality=jpeg_quality, frames=frames)
        _print(ingest_movie(source, out, options=movie, force=force, progress=progress), out, as_json=as_json)
        return
    _refuse_movie_options(harp=harp, start=start, crop=crop, frames=frames)
    grid = cadence or _DEFAULT_CADENCE
    options = FitsOptions(
        component=component,
        scale=scale,
        clip_gauss=clip_gauss,
        jpeg_quality=jpeg_quality,
        bad_quality=bad_quality,
        cadence=None if grid == "all" else parse_duration(grid, where="--cadence"),
        tolerance=timedelta(0) if grid == "all" else parse_duration(tolerance, where="--tolerance"),
        series=series,
    )
    workers = count_workers(workers)
    report = ingest_fits(
        source, out, options=options, skip_bad=skip_bad, force=force, workers=workers, progress=progress
    )
    _print(report, out, as_json=as_json)


def _movie_options(
    harp: int | None,
    start: str | None,
    cadence: str | None,
    crop: str | None,
    *,
    colours: Colours,
    jpeg_quality: int,
    frames: int | None,
) -> MovieOptions:
    """Return the options of a movie, after checking that those are given that a movie does not state itself."""
    from sffshards.domain.times import parse_duration, parse_tai
    from sffshards.images import MovieOptions, parse_crop

    if harp is None or start is None or cadence is None:
        raise InputError(
            "a movie",
            expected="--harp, --start and --cadence, which it does not state itself",
            found=" and ".join(
                f"no {name}"
                for name, value in (("--harp", harp), ("--start", start), ("--cadence", cadence))
                if value is None
            ),
            fix="add them, as in --harp 7117 --start 2017-09-03T00:00:00 --cadence 6h",
        )
    return MovieOptions(
        harp=harp,
        start_tai=parse_tai(start, where="--start"),
        cadence=parse_duration(cadence, where="--cadence"),
        crop=None if crop is None else parse_crop(crop),
        colours=colours,
        jpeg_quality=jpeg_quality,
        num_frames=frames,
    )


def _refuse_movie_options(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(f"--{name}", expected="a movie (mp4, mpg)", found="FITS files", fix=f"leave out --{name}")


def _print(report: IngestReport, out: Path, *, as_json: bool) -> None:
    if as_json:
        from sffshards.base.json_records import to_plain
        from sffshards.cli.terminal_output import print_json

        print_json(to_plain(report))
        return
    left_out = "".join(
        f", {format_count(count, 'file')} left out: {reason}" for reason, count in sorted(report.left_out.items())
    )
    bad = f", {format_count(report.num_bad, 'bad file')} skipped" if report.num_bad else ""
    kept = f", {report.num_kept:,} kept" if report.num_kept else ""
    print(f"{out}: {format_count(report.num_images, 'image')}; {report.num_written:,} written{kept}{left_out}{bad}")
