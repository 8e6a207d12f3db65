"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import Protocol, Variant
from sffshards.domain.task import Horizon
from sffshards.shards.read import CheckLevel

if TYPE_CHECKING:
    from sffshards.shards.format import Manifest
    from sffshards.shards.read import Place

__all__ = [
    "CACHE_SIZE",
    "CacheFolderOption",
    "CacheSizeOption",
    "CheckOption",
    "DataArgument",
    "ForceOption",
    "HorizonOption",
    "ImagesOption",
    "JsonOption",
    "LabelsOption",
    "ProtocolOption",
    "SeedOption",
    "ShardsArgument",
    "ShardsOption",
    "VariantOption",
    "WorkersOption",
    "choose_build",
    "count_workers",
    "place_of",
]

CACHE_SIZE = 20.0
"""GB of shards from elsewhere that are kept, if the user says nothing: a build of the published size takes 12."""

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of the data: magnetogram_jpg/, M24/, M48/, or the published Seq_Magnetogram/ layout.",
        show_default=True,
    ),
]
ImagesOption = Annotated[
    Path | None, typer.Option(help="Folder of the images, where it is not in the data's folder.", show_default=False)
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the label lists, where it is not in the data's folder.", show_default=False),
]
ShardsArgument = Annotated[
    str, typer.Argument(help="A build, or a folder of builds: a path, or a URL (s3://..., https://...).")
]
ShardsOption = Annotated[
    str, typer.Option(help="A build, or a folder of builds: a path, or a URL (s3://..., https://...).")
]
CacheFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        help="Folder for shards from a URL, which several processes may share; on a local disk.  "
        "[default: ~/.cache/sffshards/shards]",
        show_default=False,
    ),
]
CacheSizeOption = Annotated[
    float,
    typer.Option("--cache-size", min=0.001, max=1e6, help="GB that it may hold; the least recently used leave first."),
]
HorizonOption = Annotated[
    Horizon | None, typer.Option(help="24h or 48h; may be left out where there is only one.", show_default=False)
]
VariantOption = Annotated[
    Variant,
    typer.Option(help="Where positives are oversampled: nowhere, train, train and validation, or test too."),
]
ProtocolOption = Annotated[
    Protocol,
    typer.Option(
        help="paper: four training parts, exact class weights. published: as the authors' programs, whose 24h one "
        "trains on three parts and whose class weights lose each set's first row."
    ),
]
CheckOption = Annotated[
    CheckLevel,
    typer.Option(
        help="full: each sample's checksum whenever it is read. fast: its length only. A shard's SHA-256 is checked "
        "before it is first used, in any case."
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Processes to use.  [default: one a processor]", show_default=False),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of all that is random.")]
ReplaceOption = Annotated[
    bool, typer.Option("--force", help="Replace a file of other content that is there under the name.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Begin anew, and replace what is there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def count_workers(workers: int | None) -> int:
    """Give the number of processes to use."""
    from sffshards.base.worker_pool import default_workers

    return default_workers() if workers is None else workers


def place_of(shards: str, *, cache_dir: Path | None = None, cache_size: float = CACHE_SIZE) -> Place:
    """Take what the user gave for a build's place for what it is."""
    from sffshards.shards.read import CacheOptions, default_cache_folder, parse_place

    folder = default_cache_folder() if cache_dir is None else cache_dir
    return parse_place(shards, cache=CacheOptions(folder=folder, limit_bytes=round(cache_size * 1e9)))


def choose_build(place: Place, horizon: Horizon | None) -> tuple[Place, Manifest]:
    """Find the one build that is meant; raises `InputError` where there are several or none."""
    from sffshards.shards.read import load_builds

    builds = load_builds(place)
    chosen = [(folder, manifest) for folder, manifest in builds.items() if horizon in (None, manifest.horizon)]
    if len(chosen) == 1:
        return chosen[0]
    raise InputError(
        place,
        expected="one build" if horizon is None else f"one build of {horizon}",
        found=", ".join(f"{folder} ({manifest.horizon})" for folder, manifest in builds.items()),
        fix="say --horizon 24h or 48h, or name the build's own folder",
    )
