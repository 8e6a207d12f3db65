"""Label lists of all parts without images, and tables of forecasts for them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from sffshards.domain.sample_sets import Part

HARPS_PER_PART, PER_HARP = 8, 10
Row = tuple[int, datetime, int, Part]
"""HARP, time in TAI, label and part."""


def make_lists(folder: Path, *, seed: int = 0, task: str = "M48") -> list[Row]:
    """Write lists of eight regions per part, of which five flare, at every 96 minutes; return their rows in order."""
    random = np.random.default_rng(seed)
    lists, letter, hours = folder / task, task[0], task[1:]
    lists.mkdir(parents=True)
    rows: list[Row] = []
    for position, part in enumerate(Part):
        of_part: list[Row] = []
        for number in range(HARPS_PER_PART):
            harp = 100 * (position + 1) + number
            for step in range(PER_HARP):
                time = datetime(2012, 3, 1 + position) + timedelta(minutes=96 * step)
                label = int(number < 5 and random.random() < 0.5)
                of_part.append((harp, time, label, part))
        lines = [f"hmi.sharp_720s.{h}.{t:%Y%m%d_%H%M%S}_TAI.magnetogram {label}\n" for h, t, label, _ in of_part]
        (lists / f"flare_{letter}class_{hours}h_{part}.txt").write_text("".join(lines))
        rows += of_part
    return rows


def forecast(rows: Iterable[Row], *, seed: int) -> list[float]:
    """Return probabilities that are higher before flares more often than not."""
    random = np.random.default_rng(seed)
    return [float(1 / (1 + np.exp(2.0 - 3 * label + random.normal(0, 1.5)))) for _, _, label, _ in rows]


def write_table(path: Path, header: str, lines: Iterable[Sequence[object]]) -> Path:
    """Write a table of comma-separated values, compressed if its name ends so."""
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        csv.writer(file).writerows([header.split(","), *lines])
    return path
