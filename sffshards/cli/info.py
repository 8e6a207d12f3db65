"""`sffshards info`: the content of builds, and the shards of a set."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sffshards.base.errors import format_count
from sffshards.cli.shared_options import (
    HorizonsOption,
    JsonOption,
    ProtocolOption,
    ShardsArgument,
    ThresholdsOption,
    choose_build,
    parse_task_choice,
    place_of,
)
from sffshards.domain.frame_sequences import OnShort
from sffshards.domain.sample_sets import NUM_FOLDS, Kind, Part, Protocol, SampleSet, Stage, Variant, format_group

if TYPE_CHECKING:
    from sffshards.shards.format import Manifest
    from sffshards.shards.read import Place

__all__ = ["EXAMPLES", "info"]

EXAMPLES = (
    ("sffshards info", "every build in shards/"),
    ("sffshards info --horizon 48h --variant oTV", "the sets of a variant, all folds"),
    ("sffshards info shards/48h --variant oTV --fold 0 --stage train --urls", "the tars of a set, for any reader"),
    ("sffshards info shards/48h --keys", "the keys of all samples"),
)


def info(
    shards: ShardsArgument = "shards",
    horizon: HorizonsOption = None,
    threshold: ThresholdsOption = None,
    variant: Annotated[Variant | None, typer.Option(help="Show the sets of this variant.", show_default=False)] = None,
    fold: Annotated[int | None, typer.Option(min=0, max=4, help="Show only this fold.", show_default=False)] = None,
    stage: Annotated[Stage | None, typer.Option(help="Show only the set of this stage.", show_default=False)] = None,
    protocol: ProtocolOption = Protocol.PAPER,
    urls: Annotated[bool, typer.Option("--urls", help="Print the paths of the tars, one per line.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Print the keys of the samples, one per line.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what builds contain.

    Shows the samples, classes, sizes and sources of each build or, with --variant, the sets of that variant. With
    --urls or --keys, a single build must be selected.
    """
    from sffshards.base.errors import InputError
    from sffshards.cli.terminal_output import print_json
    from sffshards.shards.read import load_builds

    if variant is None and (urls or fold is not None or stage is not None):
        raise InputError("--variant", expected="a variant", found="none", fix="add --variant, such as --variant oTV")
    if urls or keys:
        folder, _ = choose_build(place_of(shards), parse_task_choice(horizon, threshold))
        samples = None
        if variant is not None:
            if fold is None or stage is None:
                raise InputError(
                    "--variant", expected="a fold and a stage with it", found="none", fix="add --fold and --stage"
                )
            samples = SampleSet(variant=variant, stage=stage, fold=fold, protocol=protocol)
        names = _list_names(folder, samples, keys=keys)
        if as_json:
            print_json(names)
        else:
            print("\n".join(names))
        return
    builds = load_builds(place_of(shards))
    choice = parse_task_choice(horizon, threshold)
    chosen = {folder: manifest for folder, manifest in builds.items() if choice.matches(manifest.task)}
    if not chosen:
        raise InputError(
            shards,
            expected=f"a build of {choice}",
            found=", ".join(f"{folder} ({manifest.task})" for folder, manifest in builds.items()),
            fix="build one with `sffshards build`",
        )
    described = []
    for folder, manifest in chosen.items():
        if variant is None:
            described.append(_describe_build(folder, manifest))
        else:
            described.append(_describe_sets(folder, manifest, _list_sets(variant, stage, fold, protocol)))
    if as_json:
        print_json(described)
        return
    print("\n\n".join(_format_sets(d) if variant else _format_build(d) for d in described))


def _list_names(folder: Place, samples: SampleSet | None, *, keys: bool) -> list[str]:
    """Return the paths of the tars, or the keys, of a set or of the whole build."""
    from sffshards.shards.read import open_build

    with open_build(folder) as build:
        groups = tuple(build.manifest.groups) if samples is None else samples.groups(build.manifest.task)
        if keys:
            return [key.decode("ascii") for key in build.index["key"][build.group_rows(groups)]]
        return [str(folder / name) for name in build.manifest.shard_names(groups)]


def _describe_build(folder: Place, manifest: Manifest) -> dict[str, Any]:
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


def _describe_windows(described: dict[str, Any]) -> str:
    """Return a line on how sequences were cut and what was done with short ones."""
    windows = described["windows"]
    gap = windows["max_gap_minutes"]
    cut = "gaps of any length" if gap is None else f"none over a gap of more than {gap} minutes"
    becomes = "left out" if windows["on_short"] == OnShort.DROP else "stretched to 16"
    number, least = described["num_short_sequences"], windows["min_frames"]
    return f"  sequences: {cut}; {number:,} of fewer than {least} frames, {becomes}"


def _format_build(described: dict[str, Any]) -> str:
    from sffshards.cli.terminal_output import format_bytes, format_table
    from sffshards.shards.format import SYNTHETIC_IMAGES

    def count(name: str, parts: Collection[Part]) -> list[str]:
        base, over = ([described["groups"][format_group(part, kind)] for part in parts] for kind in Kind)
        numbers = (_sum(base, "num_samples"), _sum(base, "num_positive"), _sum(over, "num_samples"))
        num_shards, size = (_sum(base + over, column) for column in ("num_shards", "size_bytes"))
        return [name, *(f"{number:,}" for number in (*numbers, num_shards)), format_bytes(size)]

    rows = [*(count(str(part), [part]) for part in Part), count("all", Part)]
    table = format_table(["part", "sequences", "positive", "augmented views", "shards", "size"], rows)
    maker = f"sffshards {described['program_version']} ({described['encoder']})"
    lines = [
        f"{described['build']}: {described['event']}, {described['codec']}",
        f"  from {format_count(described['num_images'], 'image')}, by {maker}",
    ]
    lines += [f"  manifest {described['manifest_sha256'][:16]}", _describe_windows(described)]
    if described["image_options"].get("source") == SYNTHETIC_IMAGES:
        lines.append("  synthetic images, drawn by `sffshards synth`")
    elif described["image_options"]:
        chosen = ", ".join(f"{name} {value}" for name, value in described["image_options"].items() if value is not None)
        lines.append(f"  images ingested with {chosen}")
    if described["num_skipped_sequences"]:
        lines.append(
            f"  {format_count(described['num_skipped_sequences'], 'sequence')} left out for "
            f"{format_count(len(described['skipped_frames']), 'image')} that cannot be used"
        )
    return "\n".join([*lines, *("  " + line for line in table.splitlines())])


def _sum(groups: Iterable[dict[str, int]], column: str) -> int:
    return sum(group[column] for group in groups)


def _list_sets(variant: Variant, stage: Stage | None, fold: int | None, protocol: Protocol) -> list[SampleSet]:
    """Return the sets of all folds and stages, or of those that are named."""
    return [
        SampleSet(variant=variant, stage=of_stage, fold=of_fold, protocol=protocol)
        for of_fold in (range(NUM_FOLDS) if fold is None else [fold])
        for of_stage in (Stage if stage is None else [stage])
    ]


def _describe_sets(folder: Place, manifest: Manifest, sets: list[SampleSet]) -> dict[str, Any]:
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
    from sffshards.cli.terminal_output import format_table

    rows = [
        [
            f"fold {s['fold']} {s['stage']}",
            f"{s['num_samples']:,}",
            f"{s['num_positive']:,}",
            str(len(s["shards"])),
            " ".join(s["groups"]),
        ]
        for s in described["sets"]
    ]
    table = format_table(["set", "samples", "positive", "shards", "groups"], rows, left=(0, 4))
    title = f"{described['build']}: variant {described['variant']}, protocol {described['protocol']}"
    return "\n".join([title, *("  " + line for line in table.splitlines())])
