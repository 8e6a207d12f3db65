"""The end of a build: the index from the records of its shards, the groups, and the manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from sffshards.domain.sample_sets import Part
from sffshards.shards.build import build_folder, shard_writer
from sffshards.shards.build.build_preparation import Prepared
from sffshards.shards.build.shard_plan import ShardPlan
from sffshards.shards.format import INDEX_DTYPE, Group, Manifest, all_groups, format_index_header


def finish_build(out: Path, prepared: Prepared, plans: list[ShardPlan]) -> Manifest:
    """Write index, card and, last, the manifest from the records of the shards."""
    shards = tuple(shard_writer.read_shard_record(out, plan.name) for plan in plans)
    index = np.empty(sum(shard.num_samples for shard in shards), INDEX_DTYPE)
    start = 0
    for number, shard in enumerate(shards):
        rows = index[start : start + shard.num_samples]
        rows[:] = shard_writer.read_shard_rows(out, shard)
        rows["shard"] = number
        start += shard.num_samples
    header = format_index_header(len(index))
    digest = hashlib.sha256(header)
    content = index.view(np.uint8).data
    digest.update(content)
    manifest = Manifest(
        inputs=prepared.inputs,
        num_skipped_sequences=prepared.num_skipped_sequences,
        num_short_sequences=prepared.num_short_sequences,
        shards=shards,
        groups=_describe_groups(plans, prepared),
        index_size_bytes=len(header) + index.nbytes,
        index_sha256=digest.hexdigest(),
    )
    build_folder.write_finished(out, manifest, [header, content])
    return manifest


def _describe_groups(plans: list[ShardPlan], prepared: Prepared) -> dict[str, Group]:
    numbers, firsts = np.unique(prepared.sequences.parts, return_index=True)  # in the order of the lists
    labels = prepared.sequences.labels[firsts].tolist()
    first = {list(Part)[number]: label for number, label in zip(numbers.tolist(), labels, strict=True)}
    groups = {}
    for name in all_groups():
        of_group = [plan for plan in plans if plan.group == name]
        num_samples = sum(len(plan.samples) for plan in of_group)
        groups[name] = Group(
            num_samples=num_samples,
            num_positive=sum(int(plan.samples.sequences.labels.sum()) for plan in of_group),
            first_label=first.get(Part(name.split("/")[0])) if num_samples else None,
            shards=tuple(plan.name for plan in of_group),
        )
    return groups
