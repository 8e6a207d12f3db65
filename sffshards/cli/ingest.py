"""`sffshards ingest`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from sffshards import images
from sffshards.base.errors import InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress, print_result
from sffshards.domain.times import parse_duration, parse_tai

__all__ = ["ingest"]

_DEFAULT_CADENCE = "96m"


def ingest(
    source: Annotated[Path, typer.Argument(help="Folder of FITS files, one FITS file, or a movie (mp4, mpg).")],
    out: Annotated[Path, Option("Data folder to create or to add to.")] = Path("data"),
    component: Annotated[
        images.Component,
        Option("Component of the field: magnetogram, along the line of sight; or Br, Bp or Bt of the vector."),
    ] = images.Component.MAGNETOGRAM,
    series: Annotated[str | None, Option("JSOC series of the files, such as hmi.sharp_cea_720s.")] = None,
    scale: Annotated[
        images.Scale, Option("Function from field to grey level; arctan and symlog compress fields above 100 G.")
    ] = images.Scale.LINEAR,
    clip_gauss: Annotated[
        float, Option("Field strength in gauss that is shown as white if positive, black if negative.")
    ] = 800.0,
    cadence: Annotated[
        str | None,
        Option(
            "Time step of a regular grid; for each region, the frame nearest to each grid time is kept. all: keep "
            "every frame. Movie: time between pictures.",
            default_text=_DEFAULT_CADENCE,
        ),
    ] = None,
    tolerance: Annotated[str, Option("Maximum time between a frame and its grid time.")] = "12m",
    bad_quality: Annotated[
        images.BadQuality, Option("Treatment of frames whose QUALITY has bit 0x10000 or a higher bit set.")
    ] = images.BadQuality.DROP,
    max_empty: Annotated[
        float,
        Option(
            "Maximum percentage of pixels that are zero or without a value; frames with more are left out.",
            minimum=0,
            maximum=100,
        ),
    ] = 50.0,
    ignore_datasum: Annotated[
        bool, Option("Take files whose pixels disagree with the DATASUM in the header, as after editing.")
    ] = False,
    jpeg_quality: Annotated[int, Option("JPEG quality of the images.", minimum=1, maximum=95)] = 92,
    skip_bad: Annotated[bool, Option("Skip files that cannot be used, and report their names and number.")] = False,
    harp: Annotated[int | None, Option("Movie: HARP of the region.", minimum=1)] = None,
    start: Annotated[str | None, Option("Movie: time of the first picture, in TAI.")] = None,
    crop: Annotated[str | None, Option("Movie: left,top,width,height of the magnetogram in pixels.")] = None,
    colours: Annotated[images.Colours, Option("Movie: colour map of the field.")] = images.Colours.GREY,
    frames: Annotated[
        int | None, Option("Movie: expected number of pictures; another number is an error.", minimum=1)
    ] = None,
    workers: shared.WorkersOption = None,
    cluster: shared.ClusterOption = None,
    jobs: shared.JobsOption = 1,
    force: shared.ForceOption = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Convert FITS files or a movie to images.

    The input is FITS files of the series hmi.sharp_720s or hmi.sharp_cea_720s, compressed or not, or a movie of one
    region. The output is 8-bit grey JPEGs in the published layout, with north up and west right. Field in other units
    (BUNIT) is converted to gauss. Pixels without a value are set to zero field. If a file holds several images, EXTNAME
    or SEGMENT selects one. The options and the source of each image are recorded in OUT/ingest.json.

    Examples
    --------
    sffshards ingest fits --out data
        frames every 96 minutes; field from -800 to 800 G becomes black to white
    sffshards ingest fits --out data --cadence all --skip-bad
        all frames, without those of damaged files
    sffshards ingest movie.mp4 --harp 7117 --start 2017-09-03 --cadence 6h --crop 62,468,365,157 --colours bwr
        the magnetogram panel of a movie
    """
    progress = make_progress()
    if images.is_movie(source):
        if harp is None or start is None or cadence is None:
            given = {"--harp": harp, "--start": start, "--cadence": cadence}
            raise InputError(
                "a movie",
                expected="--harp, --start and --cadence, which it does not state itself",
                found=" and ".join(f"no {flag}" for flag, value in given.items() if value is None),
                fix="add them, as in --harp 7117 --start 2017-09-03T00:00:00 --cadence 6h",
            )
        movie = images.MovieOptions(
            harp=harp,
            start_tai=parse_tai(start, where="--start"),
            cadence=parse_duration(cadence, where="--cadence"),
            crop=None if crop is None else images.parse_crop(crop),
            colours=colours,
            jpeg_quality=jpeg_quality,
            num_frames=frames,
        )
        report = images.ingest_movie(source, out, options=movie, force=force, progress=progress)
    else:
        for flag, value in {"--harp": harp, "--start": start, "--crop": crop, "--frames": frames}.items():
            if value is not None:
                raise InputError(
                    flag, expected="a movie (.mp4, .m4v, .mpg, .mpeg)", found=f"{source}", fix=f"leave out {flag}"
                )
        grid = cadence or _DEFAULT_CADENCE
        options = images.FitsOptions(
            component=component,
            scale=scale,
            clip_gauss=clip_gauss,
            jpeg_quality=jpeg_quality,
            bad_quality=bad_quality,
            max_empty_percent=max_empty,
            ignore_datasum=ignore_datasum,
            cadence=None if grid == "all" else parse_duration(grid, where="--cadence"),
            tolerance=timedelta(0) if grid == "all" else parse_duration(tolerance, where="--tolerance"),
            series=series,
        )
        with shared.open_executor(workers, cluster=cluster, jobs=jobs) as executor:
            report = images.ingest_fits(
                source, out, options=options, skip_bad=skip_bad, force=force, executor=executor, progress=progress
            )
    from sffshards.base.json_records import to_plain

    print_result(_format(report, out), to_plain(report), as_json=as_json)


def _format(report: images.IngestReport, out: Path) -> str:
    left_out = "".join(
        f", {format_count(count, 'file')} left out: {reason}" for reason, count in sorted(report.left_out.items())
    )
    bad = f", {format_count(report.num_bad, 'bad file')} skipped" if report.num_bad else ""
    kept = f", {report.num_kept:,} kept" if report.num_kept else ""
    return f"{out}: {format_count(report.num_images, 'image')}; {report.num_written:,} written{kept}{left_out}{bad}"
