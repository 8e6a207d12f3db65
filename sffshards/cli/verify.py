"""`sffshards verify`: checks of builds against their manifests and their sources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sffshards import labels as label_lists
from sffshards.base.errors import SffshardsError, format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress, print_result, show_flag
from sffshards.shards import build, read

__all__ = ["verify"]


def verify(
    shards: shared.ShardsArgument = "shards",
    deep: Annotated[bool, Option("Also decode every sample and compare it with its source images.")] = False,
    data: Annotated[Path, Option("Data folder with the source images and label lists, for --deep.")] = Path("data"),
    images: shared.ImagesOption = None,
    labels: shared.LabelsOption = None,
    workers: shared.WorkersOption = None,
    cluster: shared.ClusterOption = None,
    jobs: shared.JobsOption = 1,
    as_json: shared.JsonOption = False,
) -> None:
    """Check every byte of builds.

    Every file is compared with the checksums in the manifest of its build. The exit code is 0 if all builds are intact,
    and 2 if something is damaged. Each problem is a line on standard error.

    Examples
    --------
    sffshards verify
        every byte of every build in shards/, against their manifests
    sffshards verify shards/48h --deep
        and every sample's pixels against the images in data/
    """
    layout = label_lists.find_data(data, images=images, labels=labels) if deep else None
    progress = make_progress()
    problems: dict[str, list[str]] = {}
    place = shared.place_of(shards)
    folders = read.load_builds(place) if isinstance(place, read.RemoteFolder) else read.find_builds(place)
    with shared.open_executor(workers, cluster=cluster, jobs=jobs) as executor:
        for folder in folders:
            try:
                found = build.verify_build(folder, executor=executor, progress=progress)
                if layout is not None and not found:
                    found = build.verify_build_deep(folder, layout, executor=executor, progress=progress)
            except SffshardsError as error:  # a manifest, index or label list; the other builds are still checked
                found = [error]
            problems[str(folder)] = [problem.render(show_flag) for problem in found]
            for problem in problems[str(folder)]:
                print(f"error: {problem}", file=sys.stderr)
    lines = [f"{name}: {format_count(len(of), 'problem') if of else 'intact'}" for name, of in problems.items()]
    print_result("\n".join(lines), problems, as_json=as_json)
    if any(problems.values()):
        raise typer.Exit(2)
