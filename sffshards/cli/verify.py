"""`sffshards verify`: checks of builds against their manifests and their sources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sffshards.cli.shared_options import (
    ImagesOption,
    JsonOption,
    LabelsOption,
    ShardsArgument,
    WorkersOption,
    count_workers,
    place_of,
)

__all__ = ["EXAMPLES", "verify"]

EXAMPLES = (
    ("sffshards verify", "every byte of every build in shards/, against their manifests"),
    ("sffshards verify shards/48h --deep", "and every sample's pixels against the images in data/"),
)


def verify(
    shards: ShardsArgument = "shards",
    deep: Annotated[
        bool, typer.Option("--deep", help="Also decode every sample and compare it with its source images.")
    ] = False,
    data: Annotated[Path, typer.Option(help="Data folder with the source images and label lists, for --deep.")] = Path(
        "data"
    ),
    images: ImagesOption = None,
    labels: LabelsOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare every byte of builds with their manifests.

    The exit code is 0 if all builds are intact, and 2 if something is damaged. Each problem is a line on standard
    error.
    """
    from sffshards.base.errors import SffshardsError, format_count
    from sffshards.cli.terminal_output import make_progress, print_json
    from sffshards.labels import find_data
    from sffshards.shards.format import find_builds
    from sffshards.shards.read import RemoteFolder, load_builds, verify_build, verify_build_deep

    layout = find_data(data, images=images, labels=labels) if deep else None
    problems = {}
    place = place_of(shards)
    for folder in load_builds(place) if isinstance(place, RemoteFolder) else find_builds(place):
        try:
            found = verify_build(folder, workers=count_workers(workers), progress=make_progress())
            if layout is not None and not found:
                found = verify_build_deep(folder, layout, workers=count_workers(workers), progress=make_progress())
        except SffshardsError as error:  # a manifest, index or label list; the other builds are still checked
            found = [error]
        problems[str(folder)] = [str(problem) for problem in found]
    if as_json:
        print_json(problems)
    for build, of_build in problems.items():
        for problem in of_build:
            print(f"error: {problem}", file=sys.stderr)
        if not as_json:
            print(f"{build}: {format_count(len(of_build), 'problem') if of_build else 'intact'}")
    if any(problems.values()):
        raise typer.Exit(2)
