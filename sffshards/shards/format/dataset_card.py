"""The dataset card: a README whose front matter, read by Hugging Face ``datasets``, has a configuration per set."""

from __future__ import annotations

from sffshards.base.errors import format_count
from sffshards.domain.sample_sets import NUM_FOLDS, Kind, Part, Protocol, SampleSet, Stage, Variant, format_group
from sffshards.shards.format.codecs import get_codec
from sffshards.shards.format.manifest import Manifest

CARD_NAME = "README.md"
"""File name of the card in a build."""

_SPLITS = {Stage.TRAIN: "train", Stage.VAL: "validation", Stage.TEST: "test"}


def format_card(manifest: Manifest) -> bytes:
    """Return the card of a build."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # noqa: S701  Markdown is not escaped
        loader=PackageLoader("sffshards.shards.format"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = format_count
    card = environment.get_template("dataset_card.md.j2").render(
        task=manifest.task,
        inputs=manifest.inputs,
        payload=get_codec(manifest.inputs.codec).description,
        windows=manifest.inputs.windows,
        num_short_sequences=manifest.num_short_sequences,
        num_skipped_sequences=manifest.num_skipped_sequences,
        parts={part: _count_samples(manifest, part) for part in Part},
        configs={
            f"{variant}-fold{fold}": {
                split: _list_patterns(
                    manifest, SampleSet(variant=variant, stage=stage, fold=fold, protocol=Protocol.PAPER)
                )
                for stage, split in _SPLITS.items()
            }
            for variant in Variant
            for fold in range(NUM_FOLDS)
        },
    )
    return card.encode()


def _list_patterns(manifest: Manifest, samples: SampleSet) -> list[str]:
    """Return the patterns of a set's shards; none in a build of Test alone, or of parts without positives."""
    first = (shards[0] for group in samples.groups(manifest.task) if (shards := manifest.groups[group].shards))
    return [name.removesuffix("00000.tar") + "*.tar" for name in first]


def _count_samples(manifest: Manifest, part: Part) -> tuple[int, int, int]:
    """Return the numbers of sequences, of positive ones, and of augmented views of a part."""
    base, over = (manifest.groups[format_group(part, kind)] for kind in Kind)
    return base.num_samples, base.num_positive, over.num_samples
