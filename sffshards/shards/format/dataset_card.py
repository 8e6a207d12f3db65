"""The dataset card: a README whose front matter, read by Hugging Face ``datasets``, has a configuration per set."""

from __future__ import annotations

from sffshards.base.errors import format_count
from sffshards.domain.frame_sequences import OnShort
from sffshards.domain.sample_sets import NUM_FOLDS, Kind, Part, Protocol, SampleSet, Stage, Variant
from sffshards.shards.format.manifest import Manifest

__all__ = ["CARD_NAME", "format_card"]

CARD_NAME = "README.md"
"""File name of the card in a build."""

_SPLITS = {Stage.TRAIN: "train", Stage.VAL: "validation", Stage.TEST: "test"}


def format_card(manifest: Manifest) -> bytes:
    """Return the card of a build."""
    task = manifest.task
    skipped = ""
    if manifest.num_skipped_sequences:
        num_sequences, num_images = manifest.num_skipped_sequences, len(manifest.inputs.skipped_frames)
        skipped = (
            f"\nLeft out: {format_count(num_sequences, 'sequence')} with "
            f"{format_count(num_images, 'image')} that cannot be used.\n"
        )
    return f"""---
pretty_name: Solar flare magnetogram sequences, {task.exceedance} within {task.horizon_hours} h
task_categories:
- video-classification
tags:
- webdataset
- solar-flares
- space-weather
- magnetograms
configs:
{_format_configs(manifest)}---

# Sequences of SDO/HMI magnetograms, labelled by {task.event}

Sixteen frames of an active region patch (SHARP), {_describe_codec(manifest)}, labelled 1 if
{task.event} of the last frame follows, and 0 if not. After Grim and Gradvohl (2024),
https://doi.org/10.1007/s11207-024-02276-0. Built with sffshards {manifest.inputs.program_version} from
{format_count(manifest.inputs.num_images, "image")}. {_describe_windows(manifest)}
{skipped}
| part | sequences | positive | augmented views of the positives |
| --- | ---: | ---: | ---: |
{_format_parts(manifest)}
A sample is `<key>.{manifest.inputs.codec}`, `<key>.cls` (the label) and `<key>.json` (sequence name, HARP, frames,
times in TAI). `base` shards hold every sequence unchanged, `over` shards five augmented views of the positives:
flipped (`hf`, `vf`) and rotated counter-clockwise by 90, 180 and 270 degrees (`r1`, `r2`, `r3`). `manifest.json` lists
the shards of every set and their SHA-256; `index.npy` has the place of each sample.

```python
from datasets import load_dataset

train = load_dataset("path/to/this/folder", "oTV-fold0", split="train", streaming=True)
```
""".encode()


def _describe_windows(manifest: Manifest) -> str:
    windows, number = manifest.inputs.windows, manifest.num_short_sequences
    becomes = "left out" if windows.on_short is OnShort.DROP else "stretched to 16 by repeating frames"
    short = f"Sequences of fewer than {windows.min_frames} frames: {number:,}, {becomes}."
    if windows.max_gap_minutes is None:
        return short
    return f"{short} No sequence spans\na gap of more than {windows.max_gap_minutes} minutes."


def _describe_codec(manifest: Manifest) -> str:
    shapes = {
        "jpg": "one grey film strip of 224 x 3584 pixels (one frame per 224 rows)",
        "npy": "a uint8 array of shape (16, 224, 224)",
        "mp4": "a grey H.264 movie of 224 x 224 pixels",
    }
    return shapes[manifest.inputs.codec]


def _format_configs(manifest: Manifest) -> str:
    lines = []
    for variant in Variant:
        for fold in range(NUM_FOLDS):
            lines.append(f"- config_name: {variant}-fold{fold}")
            lines.append("  data_files:")
            for stage, split in _SPLITS.items():
                samples = SampleSet(variant=variant, stage=stage, fold=fold, protocol=Protocol.PAPER)
                groups = samples.groups(manifest.task)
                patterns = [f"{group}-*.tar" for group in groups if manifest.groups[group].shards]
                if not patterns:  # a build of Test alone, or of parts without positives
                    continue
                lines.append(f"  - split: {split}")
                lines.append("    path:")
                lines += [f"    - {pattern}" for pattern in patterns]
    return "".join(f"{line}\n" for line in lines)


def _format_parts(manifest: Manifest) -> str:
    rows = []
    for part in Part:
        base, over = (manifest.groups[f"{part}/{kind}"] for kind in Kind)
        rows.append(f"| {part} | {base.num_samples:,} | {base.num_positive:,} | {over.num_samples:,} |\n")
    return "".join(rows)
