"""Forecasts of real SHARP files by every kind of run, against the arithmetic of the numbers that the runs state."""

from __future__ import annotations

import csv
import gzip
import json
import math
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.io import fits
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.functional import resize

from sffshards.base.progress import SILENT
from sffshards.forecasting.combinations.run_combination import combine_runs
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.models.model_names import ModelName
from sffshards.tabular import KEYWORDS
from sffshards.training.fold_training import train_folds
from tests.commands import run_here
from tests.training_data import FastNetwork, fast_options, make_build

pytestmark = pytest.mark.realdata

FACTORY = "tests.training_data:FastNetwork"
HARPS = (1446, 1447, 1449)
LATEST = datetime(2012, 3, 7, 14, 24)
"""Time of the last file of each of these HARPs."""
WATTS = {"A": 1e-8, "B": 1e-7, "C": 1e-6, "M": 1e-5, "X": 1e-4}


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Path:
    """Runs of fold 0 that learned from a few drawn images and numbers: a network, keywords and history, and both."""
    home = tmp_path_factory.mktemp("real")
    build, runs = make_build(home), home / "runs" / "48h"
    options = fast_options(model=ModelName(FACTORY), max_epochs=1)
    train_folds(build, runs / "network", options, folds=[0], force=False, progress=SILENT)
    inference = Inference(batch_size=4, num_threads=1, device=torch.device("cpu"), factories=(ModelName(FACTORY),))
    evaluate_run(runs / "network", build, folds=None, inference=inference, force=False, progress=SILENT)
    start = datetime(2011, 2, 12)
    lines = [f"{start + timedelta(hours=7 * n)},M1.0,{11000 + n % 12}" for n in range(40)]
    (home / "flares.csv").write_text("\n".join(["start_time,goes_class,noaa_ar", *lines]))
    harps = [100 * (number // 2 + 1) + number % 2 for number in range(12)]
    (home / "harps.txt").write_text("".join(f"{harp} {11000 + number}\n" for number, harp in enumerate(harps)))
    catalogue = ["--flares", home / "flares.csv", "--harp-map", home / "harps.txt"]
    keywords = write_keywords(home, real_data)
    run_here("baselines", home / "data", "--keywords", keywords, *catalogue, "--runs", home / "runs")
    tabular = runs / "keywords-history"
    for fold in range(1, 5):
        shutil.rmtree(tabular / f"fold{fold}")
    combine_runs([tabular, runs / "network"], runs / "both", name="both", force=False, progress=SILENT)
    (home / "fits").mkdir()
    for harp in HARPS:
        for path in (real_data / "fits").glob(f"*.{harp}.*"):
            if path.name != "hmi.sharp_cea_720s.1447.20120307_022400_TAI.magnetogram.fits":  # damaged as published
                (home / "fits" / path.name).symlink_to(path)
    run_here("ingest", home / "fits", "--out", home / "images", "--cadence", "all")
    return home


def write_keywords(home: Path, real_data: Path) -> Path:
    """Write a table in which the drawn frames have keywords of real ones, so that forecasts of others are moderate."""
    with gzip.open(real_data / "keywords" / "sharp_keywords.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))[::900]
    names = [
        line.split()[0] for of in sorted((home / "data" / "M48").glob("*.txt")) for line in of.read_text().splitlines()
    ]
    with (home / "k.csv").open("w") as file:
        writer = csv.DictWriter(file, ["frame", *KEYWORDS], extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "frame": name} for name, row in zip(names, rows, strict=False))
    return home / "k.csv"


def forecast(home: Path, real_data: Path, name: str, *sources: str) -> dict[int, dict[str, Any]]:
    """Return what the command forecasts for each HARP by a run."""
    options: dict[str, list[object]] = {
        "images": ["--images", home / "images", "--model", FACTORY, "--device", "cpu"],
        "keywords": [
            *("--keywords", home / "fits", "--flares", real_data / "catalog" / "flares_2010_2025.csv"),
            *("--harp-map", real_data / "catalog" / "harp_to_noaa.txt"),
        ],
    }
    chosen = [option for source in sources for option in options[source]]
    done = run_here("predict", "--run", home / "runs" / "48h" / name, *chosen, "--format", "json")
    described = json.loads(done.stdout)
    (member,) = described["members"]
    found = {region["harp"]: region | {"file": member["checkpoint"]} for region in described["regions"]}
    assert tuple(found) == HARPS
    assert {region["t_end_tai"] for region in found.values()} == {LATEST.isoformat()}
    return found


def describe_region(harp: int, fold: dict[str, Any], real_data: Path) -> NDArray[np.float64]:
    """Return the features that a forecaster names, from the header and from plain loops over the flare list."""
    name = f"hmi.sharp_cea_720s.{harp}.{LATEST:%Y%m%d_%H%M%S}_TAI.magnetogram.fits"
    header = fits.getheader(real_data / "fits" / name, 1)
    rows = (real_data / "catalog" / "harp_to_noaa.txt").read_text().splitlines()
    regions = dict(row.split() for row in rows if row).get(str(harp), "").split(",")
    with (real_data / "catalog" / "flares_2010_2025.csv").open() as file:
        flares = [
            (
                (LATEST - datetime.fromisoformat(row["start_time"])) / timedelta(hours=1),
                WATTS[row["cls"]] * float(row["label"][1:]),
            )
            for row in csv.DictReader(file)
            if row["noaa_ar"] in regions and datetime.fromisoformat(row["peak_time"]) <= LATEST
        ]
    strong = [hours for hours, watts in flares if watts >= 1e-5]
    history = {
        "M flares": len(strong),
        "M flares, 24 h": sum(hours < 24 for hours in strong),
        "largest flare": math.log10(max((watts for _, watts in flares), default=1e-9)),
        "decayed sum": sum(math.exp(-hours / 24) * watts / 1e-5 for hours, watts in flares),
    }
    if not regions[0]:
        history = dict.fromkeys(history, math.nan)
    extensive = [name.removeprefix("log10 ") for name in fold["features"] if name.startswith("log10 ")]
    floors = dict(zip(extensive, fold["floors"], strict=True))
    logs = {f"log10 {name}": math.log10(max(header[name], floors[name])) for name in extensive}
    return np.array(
        [{**{name: header[name] for name in KEYWORDS}, **logs, **history}[name] for name in fold["features"]],
        np.float64,
    )


def test_every_kind_of_run_forecasts_real_magnetograms(
    home: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = home / "runs" / "48h"
    by_numbers = forecast(home, real_data, "keywords-history", "keywords")
    fold = json.loads((runs / "keywords-history" / "fold0" / "forecaster.json").read_text())
    model = {name: np.array(value) for name, value in fold["logistic"].items()}
    for harp, found in by_numbers.items():
        features = describe_region(harp, fold, real_data)
        known = np.where(np.isnan(features), model["fills"], features)
        expected = sigmoid(
            float((known - model["means"]) / model["scales"] @ model["coefficients"] + model["intercept"])
        )
        assert found["raw_probability"] == pytest.approx(expected, rel=1e-9)
    assert describe_region(1449, fold, real_data)[fold["features"].index("M flares")] > 5  # of AR 11429

    by_images = forecast(home, real_data, "network", "images")
    checkpoint = runs / "network" / "fold0" / by_images[HARPS[0]]["file"]
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    network = FastNetwork().eval()
    network.load_state_dict({name.removeprefix("model."): value for name, value in state.items() if "model." in name})
    for harp, found in by_images.items():
        paths = sorted((home / "images" / "magnetogram_jpg").glob(f"*.{harp}.*"))
        grey = [torch.from_numpy(np.array(Image.open(path)))[None] for path in paths]
        frames = torch.cat([resize(one, [224, 224], antialias=True) for one in grey])
        clip = frames[[int(slot * len(paths) / 16) for slot in range(16)]].expand(1, 3, -1, -1, -1)
        with torch.no_grad():
            expected = float(network(clip.float() / 255).softmax(1)[0, 1])
        assert found["raw_probability"] == pytest.approx(expected, abs=1e-3)  # resized by another program

    combination = json.loads((runs / "both" / "fold0" / "combination.json").read_text())["regression"]
    weights, intercept = combination["weights"], combination["intercept"]
    for harp, found in forecast(home, real_data, "both", "images", "keywords").items():
        members = [by_numbers[harp]["raw_probability"], by_images[harp]["raw_probability"]]
        members = [min(max(p, 1e-6), 1 - 1e-6) for p in members]  # so that none that is certain outweighs all others
        line = intercept + sum(weight * logit(p) for weight, p in zip(weights, members, strict=True))
        assert found["raw_probability"] == pytest.approx(sigmoid(line), rel=1e-9)
