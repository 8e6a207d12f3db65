"""A build whose labels follow from keywords and not from the images, with its tables of keywords and flares."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M48
from sffshards.flares import assign_flares, read_flare_list, read_harp_map
from sffshards.labels.data_layout import find_data
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.format.codec_names import CodecName
from sffshards.tabular import NumberSources, read_keyword_table
from tests.training_data import FRAMES_PER_HARP, make_labelled_images

NAMES = (
    *("USFLUX", "MEANGAM", "MEANGBT", "MEANGBZ", "MEANGBH", "MEANJZD", "TOTUSJZ", "MEANJZH", "TOTUSJH", "ABSNJZH"),
    *("SAVNCPP", "MEANPOT", "TOTPOT", "MEANSHR", "SHRGT45", "R_VALUE", "AREA_ACR"),
)
LARGE = ("USFLUX", "TOTUSJZ", "TOTUSJH", "ABSNJZH", "SAVNCPP", "TOTPOT", "AREA_ACR")
"""Keywords of which the network also takes a logarithm."""

TRAINED = [35 * part + row for part in range(4) for row in range(10)]
"""Rows of the sequences of the training set of fold 0, without augmented views."""


def make_number_build(folder: Path) -> Path:
    """Make data, a build, ``keywords.csv``, ``flares.csv`` and ``map.txt``; return the build.

    In every other part it is the region with the weaker field that flares, so that images alone do not tell.
    One frame has no row in the table, and one lacks a keyword.
    """
    data, random = make_labelled_images(folder / "data"), np.random.default_rng(0)
    rows: list[list[object]] = []
    for position, part in enumerate(Part):
        path = data / "M48" / f"flare_Mclass_48h_{part}.txt"
        lines = [line.split() for line in path.read_text().splitlines()]
        labels = {name: int(label) ^ position % 2 for name, label in lines}
        path.write_text("".join(f"{name} {label}\n" for name, label in labels.items()))
        for frame, label in labels.items():
            values = dict(zip(NAMES, random.normal(size=len(NAMES)), strict=True))
            values |= {large: float(10 ** random.uniform(20, 23)) for large in LARGE}
            values |= {name: 3 + label + random.normal(0, 0.1) for name in ("R_VALUE", "MEANSHR", "SHRGT45", "MEANPOT")}
            rows.append([frame, *values.values()])
    rows[7][5] = ""  # of the training set
    del rows[13]
    with (folder / "keywords.csv").open("w") as file:
        csv.writer(file).writerows([["frame", *NAMES], *rows])
    write_flares(folder)
    options = BuildOptions(task=M48, codec=CodecName.NPY, seed=0, shard_size_bytes=1 << 23, skip_bad_images=False)
    out, store = folder / "shards" / "48h", folder / "frames"
    build_shards(find_data(data), options, out=out, store_folder=store, force=False, progress=SILENT)
    return out


def write_flares(folder: Path) -> None:
    """Write an M1.0 flare of the first region of each part between its second and third frame; HARP 601 is unknown."""
    lines = ["start_time,peak_time,goes_class,noaa_ar", "2010-01-01 00:00,2010-01-01 00:01,B1.0,10001"]
    for position in range(len(Part)):
        start = datetime(2011, 2, 13) + timedelta(days=position, minutes=96 + 40)
        lines.append(f"{start:%Y-%m-%d %H:%M},{start + timedelta(minutes=9):%Y-%m-%d %H:%M},M1.0,{11100 + position}")
    lines.append("2012-01-01 00:00,2012-01-01 00:01,B1.0,10001")
    (folder / "flares.csv").write_text("\n".join(lines) + "\n")
    harps = [f"{100 * (position + 1)} {11100 + position}\n{100 * (position + 1) + 1} 10001\n" for position in range(6)]
    (folder / "map.txt").write_text("".join(harps).replace("601 10001\n", ""))


def read_sources(folder: Path) -> NumberSources:
    """Read the tables of `make_number_build`."""
    flares = assign_flares(
        read_flare_list(folder / "flares.csv"),
        read_harp_map(folder / "map.txt"),
        flare_time="start",  # type: ignore[arg-type]  # text is accepted
        clock="as-written",  # type: ignore[arg-type]
    )
    return NumberSources(keywords=read_keyword_table(folder / "keywords.csv"), flares=flares)


def expected_numbers(folder: Path, index: NDArray[np.void]) -> NDArray[np.float64]:
    """Compute from the files what the network should take of each row of an index, with the count of M flares last."""
    with (folder / "keywords.csv").open() as file:
        table = {row["frame"]: row for row in csv.DictReader(file)}
    values = np.full((len(index), len(NAMES)), np.nan)
    counts = np.full((len(index), 1), np.nan)
    for row, (harp, time) in enumerate(zip(index["harp"].tolist(), index["t_end_tai"].tolist(), strict=True)):
        found = table.get(f"hmi.sharp_720s.{harp}.{time:%Y%m%d_%H%M%S}_TAI.magnetogram", {})
        values[row] = [float(found.get(name) or "nan") for name in NAMES]
        begun = datetime(2011, 2, 13) + timedelta(days=harp // 100 - 1)
        if harp != 601:
            counts[row] = harp % 100 == 0 and time - begun > timedelta(minutes=96)
    large = values[:, [NAMES.index(name) for name in LARGE]]
    floors = np.nanmin(large[TRAINED], axis=0)
    features = np.concatenate([values, np.log10(np.maximum(large, floors)), counts], axis=1)
    mean, deviation = np.nanmean(features[TRAINED], axis=0), np.nanstd(features[TRAINED], axis=0)
    standard = (features - mean) / deviation
    return np.clip(standard, -10, 10)


assert FRAMES_PER_HARP == 5
