"""`sffshards info`: the content of builds, and the shards of a set."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Annotated, Any

from sffshards.base.errors import InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import format_bytes, format_table, print_result
from sffshards.domain.frame_sequences import OnShort
from sffshards.domain.sample_sets import NUM_FOLDS, Kind, Part, Protocol, SampleSet, Stage, Variant, format_group
from sffshards.shards import format as shard_format
from sffshards.shards import read

__all__ = ["info"]


def info(
    shards: shared.ShardsArgument = "shards",
    horizon: shared.HorizonsOption = None,
    threshold: shared.ThresholdsOption = None,
    variant: Annotated[Variant | None, Option("Show the sets of this variant.")] = None,
    fold: Annotated[int | None, Option("Show only this fold.", minimum=0, maximum=4)] = None,
    stage: Annotated[Stage | None, Option("Show only the set of this stage.")] = None,
    protocol: shared.ProtocolOption = Protocol.PAPER,
    urls: Annotated[bool, Option("Print the paths of the tars, one per line.")] = False,
    keys: Annotated[bool, Option("Print the keys of the samples, one per line.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Show what builds contain.

    Shows the samples, classes, sizes and sources of each build. With --variant, it shows the sets of that variant
    instead. With --urls or --keys, a single build must be selected.

    Examples
    --------
    sffshards info
        every build in shards/
    sffshards info --horizon 48h --variant oTV
        the sets of a variant, all folds
    sffshards info shards/48h --variant oTV --fold 0 --stage train --urls
        the tars of a set, for any reader
    sffshards info shards/48h --keys
        the keys of all samples
    """
    if variant is None and (urls or fold is not None or stage is not None):
        raise InputError("--variant", expected="a variant", found="none", fix="add --variant, such as --variant oTV")
    one = urls or keys
    if one and variant is not None and (fold is None or stage is None):
        raise InputError("--variant", expected="a fold and a stage with it", found="none", fix="add --fold and --stage")
    chosen = shared.choose_builds(shared.place_of(shards), shared.parse_task_choice(horizon, threshold), one=one)
    sets = [
        SampleSet(variant=variant, stage=of_stage, fold=of_fold, protocol=protocol)
        for of_fold in (range(NUM_FOLDS) if fold is None else [fold])
        for of_stage in (Stage if stage is None else [stage])
        if variant is not None
    ]
    if one:
        names = _list_names(next(iter(chosen)), sets, keys=keys)
        print_result("\n".join(names), names, as_json=as_json)
        return
    described = [
        _describe_sets(folder, manifest, sets) if sets else _describe_build(folder, manifest)
        for folder, manifest in chosen.items()
    ]
    text = "\n\n".join(_format_sets(of) if sets else _format_build(of) for of in described)
    print_result(text, described, as_json=as_json)


def _list_names(folder: read.Place, sets: list[SampleSet], *, keys: bool) -> list[str]:
    """Return the paths of the tars, or the keys, of a set or, without one, of the whole build."""
    with read.open_build(folder) as build:
        groups = sets[0].groups(build.manifest.task) if sets else tuple(build.manifest.groups)
        if keys:
            return [key.decode("ascii") for key in build.index["key"][build.group_rows(groups)]]
        return [str(folder / name) for name in build.manifest.shard_names(groups)]


def _describe_build(folder: read.Place, manifest: shard_format.Manifest) -> dict[str, Any]:
    inputs = manifest.inputs
    sizes = {shard.name: shard.size_bytes for shard in manifest.shards}
    return {
        "build": str(folder),
        "task": inputs.task.name,
        "event": inputs.task.event,
        "codec": inputs.codec,
        "encoder": inputs.encoder,
        "program_version": inputs.program_version,
        "manifest_sha256": manifest.sha256,
        "num_images": inputs.num_images,
        "windows": asdict(inputs.windows),
        "num_short_sequences": manifest.num_short_sequences,
        "image_options": inputs.image_options,
        "num_skipped_sequences": manifest.num_skipped_sequences,
        "skipped_frames": inputs.skipped_frames,
        "size_bytes": manifest.size_bytes,
        "groups": {
            name: {
                "num_samples": group.num_samples,
                "num_positive": group.num_positive,
                "num_shards": len(group.shards),
                "size_bytes": sum(sizes[shard] for shard in group.shards),
            }
            for name, group in manifest.groups.items()
        },
    }


def _format_build(described: dict[str, Any]) -> str:
    def count(name: str, parts: Collection[Part]) -> list[str]:
        base, over = ([described["groups"][format_group(part, kind)] for part in parts] for kind in Kind)
        columns = ((base, "num_samples"), (base, "num_positive"), (over, "num_samples"), (base + over, "num_shards"))
        numbers = (sum(group[column] for group in groups) for groups, column in columns)
        size = sum(group["size_bytes"] for group in base + over)
        return [name, *(f"{number:,}" for number in numbers), format_bytes(size)]

    rows = [*(count(str(part), [part]) for part in Part), count("all", Part)]
    maker = f"sffshards {described['program_version']} ({described['encoder']})"
    lines = [
        f"{described['build']}: {described['event']}, {described['codec']}",
        f"  from {format_count(described['num_images'], 'image')}, by {maker}",
        f"  manifest {described['manifest_sha256'][:16]}",
        _format_windows(described),
    ]
    if described["image_options"].get("source") == shard_format.SYNTHETIC_IMAGES:
        lines.append("  synthetic images, drawn by `sffshards synth`")
    elif described["image_options"]:
        chosen = ", ".join(f"{name} {value}" for name, value in described["image_options"].items() if value is not None)
        lines.append(f"  images ingested with {chosen}")
    if described["num_skipped_sequences"]:
        skipped = format_count(described["num_skipped_sequences"], "sequence")
        images = format_count(len(described["skipped_frames"]), "image")
        lines.append(f"  {skipped} left out for {images} that cannot be used")
    header = ["part", "sequences", "positive", "augmented views", "shards", "size"]
    return "\n".join([*lines, format_table(header, rows)])


def _format_windows(described: dict[str, Any]) -> str:
    """Return a line on how sequences were cut and what was done with short ones."""
    windows = described["windows"]
    gap = windows["max_gap_minutes"]
    cut = "gaps of any length" if gap is None else f"none over a gap of more than {gap} minutes"
    becomes = "left out" if windows["on_short"] == OnShort.DROP else "stretched to 16"
    number, least = described["num_short_sequences"], windows["min_frames"]
    return f"  sequences: {cut}; {number:,} of fewer than {least} frames, {becomes}"


def _describe_sets(folder: read.Place, manifest: shard_format.Manifest, sets: list[SampleSet]) -> dict[str, Any]:
    described = []
    for samples in sets:
        groups = samples.groups(manifest.task)
        num_negative, num_positive = manifest.class_counts(groups)
        described.append(
            {
                "fold": samples.fold,
                "stage": samples.stage,
                "groups": list(groups),
                "num_samples": num_negative + num_positive,
                "num_positive": num_positive,
                "shards": list(manifest.shard_names(groups)),
            }
        )
    return {"build": str(folder), "variant": sets[0].variant, "protocol": sets[0].protocol, "sets": described}


def _format_sets(described: dict[str, Any]) -> str:
    rows = []
    for one in described["sets"]:
        counts = (f"{one['num_samples']:,}", f"{one['num_positive']:,}", str(len(one["shards"])))
        rows.append([f"fold {one['fold']} {one['stage']}", *counts, " ".join(one["groups"])])
    title = f"{described['build']}: variant {described['variant']}, protocol {described['protocol']}"
    return f"{title}\n{format_table(['set', 'samples', 'positive', 'shards', 'groups'], rows, left=(0, 4))}"
