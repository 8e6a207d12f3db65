"""The dataset card: a README with the front matter that Hugging Face ``datasets`` reads, a configuration a fold."""

from __future__ import annotations

from sffshards.domain.frame_sequences import OnShort
from sffshards.domain.sample_sets import NUM_FOLDS, Kind, Part, Protocol, SampleSet, Stage, Variant
from sffshards.shards.format.manifest import Manifest

__all__ = ["CARD_NAME", "format_card"]

CARD_NAME = "README.md"
"""The card's file name in a build."""

_SPLITS = {Stage.TRAIN: "train", Stage.VAL: "validation", Stage.TEST: "test"}


def format_card(manifest: Manifest) -> bytes:
    """Give the card of a build."""
    hours = manifest.task.horizon_hours
    skipped = ""
    if manifest.num_skipped_sequences:
        num_sequences, num_images = manifest.num_skipped_sequences, len(manifest.inputs.skipped_frames)
        skipped = f"\n{num_sequences} sequences were left out for {num_images} images that cannot be used.\n"
    return f"""---
pretty_name: Solar flare magnetogram sequences, {hours} h
task_categories:
- video-classification
tags:
- webdataset
- solar-flares
- space-weather
- magnetograms
configs:
{_format_configs(manifest)}---

# Sequences of SDO/HMI magnetograms, with flares of class M and above within {hours} h

Sixteen frames of an active region patch (SHARP), {_describe_codec(manifest)}, labelled 1 if a flare of class M or above
follows within {hours} hours of the last frame and 0 if none does. After Grim and Gradvohl (2024),
https://doi.org/10.1007/s11207-024-02276-0. Built with sffshards {manifest.inputs.program_version} from
{manifest.inputs.num_images:,} images. {_describe_windows(manifest)}
{skipped}
| part | sequences | positive | further views of the positives |
| --- | ---: | ---: | ---: |
{_format_parts(manifest)}
A sample is `<key>.{manifest.inputs.codec}`, `<key>.cls` (the label) and `<key>.json` (sequence name, HARP, frames,
times in TAI). `base` shards hold every sequence as it is, `over` shards the other five views of the positives: flipped
(`hf`, `vf`) and turned counter-clockwise by 90, 180 and 270 degrees (`r1`, `r2`, `r3`). `manifest.json` names the
shards of every set and their SHA-256; `index.npy` says where each sample lies.

```python
from datasets import load_dataset

train = load_dataset("path/to/this/folder", "oTV-fold0", split="train", streaming=True)
```
""".encode()


def _describe_windows(manifest: Manifest) -> str:
    windows, number = manifest.inputs.windows, manifest.num_short_sequences
    becomes = "were left out" if windows.on_short is OnShort.DROP else "repeat some, in order"
    short = f"{number:,} sequences of fewer than {windows.min_frames} frames {becomes}."
    if windows.max_gap_minutes is None:
        return short
    return f"{short} No sequence goes\nover a gap of more than {windows.max_gap_minutes} minutes."


def _describe_codec(manifest: Manifest) -> str:
    shapes = {
        "jpg": "one grey film strip of 224 x 3584 pixels (a frame each 224 rows)",
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
