"""A small build whose labels can be learnt, and a network that learns them in seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sffshards.base.errors import SffshardsError
from sffshards.base.json_records import CHECKSUM, format_json, seal
from sffshards.base.progress import SILENT, Advance
from sffshards.domain.sample_sets import Part, Protocol, Variant
from sffshards.domain.task import M48
from sffshards.labels.data_layout import find_data
from sffshards.models.model_names import ModelName
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.format.codec_names import CodecName
from sffshards.training.fold_record import read_record, write_record
from sffshards.training.training_config import TrainingOptions

FRAMES_PER_HARP = 5


def make_labelled_images(folder: Path, *, seed: int = 0) -> Path:
    """Make 48h lists of two regions a part, one quiet and one that flares all the time, with a strong field."""
    images, lists = folder / "magnetogram_jpg", folder / "M48"
    images.mkdir(parents=True)
    lists.mkdir()
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:40, 0:60]
    for position, part in enumerate(Part):
        lines = []
        for label in (0, 1):
            harp = 100 * (position + 1) + label
            for number in range(FRAMES_PER_HARP):
                time = datetime(2011, 2, 13) + timedelta(days=position, minutes=96 * number)
                name = f"hmi.sharp_720s.{harp}.{time:%Y%m%d_%H%M%S}_TAI.magnetogram"
                field = rng.normal(0, 3, x.shape)
                for sign, offset in ((1, -8), (-1, 8)):
                    distance = (x - 30 - offset - number) ** 2 + (y - 20) ** 2
                    field += sign * (20 + 90 * label) * np.exp(-distance / 40)
                Image.fromarray(np.clip(128 + field, 0, 255).astype(np.uint8)).save(images / f"{name}.fits.jpg")
                lines.append(f"{name} {label}\n")
        (lists / f"flare_Mclass_48h_{part}.txt").write_text("".join(lines))
    return folder


def make_build(folder: Path, *, seed: int = 0, codec: CodecName = CodecName.NPY) -> Path:
    """Build `make_labelled_images`: 10 base samples and 25 over samples a part."""
    data = make_labelled_images(folder / "data", seed=seed)
    options = BuildOptions(task=M48, codec=codec, seed=0, shard_size_bytes=1 << 23, skip_bad_images=False)
    out = folder / "shards" / "48h"
    build_shards(find_data(data), options, out=out, store_folder=folder / "frames", force=False, progress=SILENT)
    return out


def fast_options(**changes: object) -> TrainingOptions:
    """Give options for `FastNetwork` in place of the small MViT."""
    options = {
        "variant": Variant.BASE,
        "protocol": Protocol.PAPER,
        "model": ModelName.MVIT_TINY,
        "weights": "none",
        "max_epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.1,
        "accelerator": "cpu",
        "num_threads": 1,
    }
    return TrainingOptions(**(options | changes))  # type: ignore[arg-type]  # a test's shorthand


def rewrite_record(path: Path, **changes: object) -> None:
    """Change fields of a record on disk, with the checksum that a program that wrote it so would give it."""
    content = json.loads(path.read_text()) | changes
    path.write_bytes(format_json(seal({name: value for name, value in content.items() if name != CHECKSUM})))


def describe_checkpoint(folder: Path) -> None:
    """Make the record of a fold state the checksum that its best checkpoint has now."""
    record = read_record(folder)
    best = record.checkpoints[0]
    sha256 = hashlib.sha256((folder / best.name).read_bytes()).hexdigest()
    write_record(folder, replace(record, checkpoints=(replace(best, sha256=sha256), *record.checkpoints[1:])))


class FastNetwork(nn.Module):
    """Sees a clip's mean and contrast, and draws random numbers as MViT's dropout does."""

    def __init__(self) -> None:
        super().__init__()
        self.num_calls = 0
        self.fail_at: int | None = None
        self.failure: BaseException = RuntimeError("killed")
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 2))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        self.num_calls += 1
        if self.training and self.num_calls == self.fail_at:
            raise self.failure
        x_BN = x_BCTHW[:, 0, :, ::8, ::8].flatten(1)
        features_B2 = torch.stack([x_BN.mean(1), 20 * x_BN.std(1)], dim=1)
        logits_BK: Tensor = self.head(features_B2)
        return logits_BK


class SpreadNetwork(nn.Module):
    """Losses from 1e-7 to 1e4, so that the order of a sum shows, each from its sample's pixels alone and exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(2))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        pixels_BN = (255 * x_BCTHW[:, 0, :, ::8, ::8]).round().long().flatten(1)
        gap_B = (pixels_BN.sum(1) % 33 - 16).float()
        return torch.stack([torch.zeros_like(gap_B), torch.where(gap_B < 0, 1000 * gap_B, gap_B)], dim=1) + self.shift


class Listener:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tasks: dict[str, tuple[int | None, int]] = {}
        self.started: dict[str, int] = {}

    @contextmanager
    def task(self, description: str, total: int | None, *, unit: str = "", done: int = 0) -> Iterator[Advance]:
        self.tasks[description] = (total, done)
        self.started[description] = done

        def advance(steps: int) -> None:
            _, so_far = self.tasks[description]
            self.tasks[description] = (total, so_far + steps)

        yield advance

    def note(self, message: str | SffshardsError) -> None:
        self.notes.append(str(message))
