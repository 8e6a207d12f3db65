"""Tasks of other classes and horizons than the published ones, from label lists to files for the Scoreboard."""

from __future__ import annotations

import csv
import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.commands import error_of, run_here

pytestmark = pytest.mark.slow

TASKS = {"C24": ("C", 24), "M12": ("M", 12), "X72": ("X", 72)}
FOLDERS = {"C24": "C24", "M12": "12h", "X72": "X72"}
LEAST = {"C": 1e-6 - 1e-12, "M": 1e-5 - 1e-12, "X": 1e-4 - 1e-12}
"""Peak flux in W/m2 of the weakest flare of a class, less what rounding takes off."""
PARTS = ("TrainVal0", "TrainVal1", "TrainVal2", "TrainVal3", "TrainVal4", "Test")


def choice(task: str) -> tuple[str, ...]:
    """Return the options that select a task."""
    letter, hours = TASKS[task]
    return ("--threshold", f"{letter}1.0", "--horizon", f"{hours}h")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command was run for the three tasks, with three regions in each part."""
    folder = tmp_path_factory.mktemp("tasks")
    data, runs = folder / "data", folder / "runs"
    catalogue = ("--flares", data / "flares.csv", "--harp-map", data / "harps.txt", "--clock", "tai")
    run_here("synth", data, "--harps", 3, "--frames", 2, "--seed", 0, "--workers", 1)
    for task in TASKS:
        run_here("labels", "rebuild", data, *choice(task), *catalogue, "--out", folder / "labels")
    run_here("build", data, "--labels", folder / "labels", "--out", folder / "shards", "--workers", 1)
    for task in TASKS:
        tiny = ("--model", "mvit_tiny", "--epochs", 1, "--fold", 0, "--accelerator", "cpu", "--logger", "csv")
        run_here("train", "--shards", folder / "shards", *choice(task), *tiny, "--out", runs)
    run_here("evaluate", runs, "--shards", folder / "shards", "--device", "cpu", *catalogue)
    run_here("report", runs, "--shards", folder / "shards", "--out", folder / "report", *catalogue)
    for task, place in FOLDERS.items():
        source = ("--run", runs / place / "base", "--shards", folder / "shards", "--device", "cpu")
        for form in ("scoreboard-json", "scoreboard-text"):
            (folder / task / form).mkdir(parents=True)
            run_here("predict", *source, "--format", form, "--out", folder / task / form)
    return folder


def read_flares(data: Path) -> list[tuple[int, float, datetime]]:
    """Return HARP, peak flux in W/m2 and start in TAI of the flares of synthetic data."""
    lines = (data / "harps.txt").read_text().splitlines()[1:]
    harps = {region: int(harp) for harp, region in map(str.split, lines)}
    letters = {"C": 1e-6, "M": 1e-5, "X": 1e-4}
    with (data / "flares.csv").open() as file:
        assert next(file).startswith("# covers ")
        return [
            (
                harps[row["noaa_ar"]],
                letters[row["goes_class"][0]] * float(row["goes_class"][1:]),
                # TAI was 34 s ahead of UTC until 2012-07-01, and these regions are of May 2010.
                datetime.fromisoformat(row["start_time"]) + timedelta(seconds=34),
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("task", TASKS)
def test_lists_are_named_after_the_task_and_follow_from_the_flares_of_its_class(home: Path, task: str):
    letter, hours = TASKS[task]
    flares = read_flares(home / "data")
    lists = home / "labels" / task
    assert sorted(path.name for path in lists.iterdir()) == sorted(
        f"flare_{letter}class_{hours}h_{part}.txt" for part in PARTS
    )
    labels = []
    for path in lists.iterdir():
        for line in path.read_text().splitlines():
            name, label = line.split()
            harp, time = name.split(".")[2:4]
            start = datetime.strptime(time, "%Y%m%d_%H%M%S_TAI")
            end = start + timedelta(hours=hours)
            came = any(of == int(harp) and flux >= LEAST[letter] and start < t <= end for of, flux, t in flares)
            assert int(label) == came, line
            labels.append(came)
    assert 0 < sum(labels) < len(labels) == 36


def test_the_labels_of_all_tasks_have_one_record(home: Path):
    record = json.loads((home / "labels" / "labels.json").read_text())
    fluxes = [flux for _, flux, _ in read_flares(home / "data")]
    counts = {f"{letter}1.0": sum(flux >= least for flux in fluxes) for letter, least in LEAST.items()}
    assert {name: of["num_flares"] for name, of in record["thresholds"].items()} == counts
    assert len(record["lists"]) == 18


@pytest.mark.parametrize("task", TASKS)
def test_shards_and_runs_state_the_task(home: Path, task: str):
    letter, hours = TASKS[task]
    build = home / "shards" / FOLDERS[task]
    assert json.loads((build / "manifest.json").read_text())["inputs"]["task"] == task
    assert f"a flare of class {letter} or above within {hours} h" in (build / "README.md").read_text()
    assert all(path.name.startswith(f"{task}-") for path in build.glob("*/*.tar"))
    for record in ("fold0/run.json", "scores.json", "verification.json", "comparisons.json"):
        content = json.loads((home / "runs" / FOLDERS[task] / "base" / record).read_text())
        assert content["task"] == task


def test_the_report_names_each_event_and_compares_none_with_published_results(home: Path):
    page = (home / "report" / "index.html").read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for task, (letter, hours) in TASKS.items():
        assert f"flare of class {letter} or above within {hours} h" in text
        assert f"the flare list, {letter}1.0 and above" in text  # what persistence follows from
        record = json.loads((home / "runs" / FOLDERS[task] / "persistence" / "fold0" / "run.json").read_text())
        assert record["description"] == f"the flare list, {letter}1.0 and above"
        assert (home / "report" / "figures" / f"{FOLDERS[task]}-reliability.svg").is_file()
        assert (home / "report" / "tables" / f"{FOLDERS[task]}-forecasts.csv").is_file()
    assert not re.search(r"within (?!12 h|24 h|72 h)\d+ h", text)
    assert "published, base" not in text


@pytest.mark.parametrize("task", TASKS)
def test_a_scoreboard_file_states_the_class_and_the_window_of_the_task(home: Path, task: str):
    letter, hours = TASKS[task]
    (path,) = (home / task / "scoreboard-json").iterdir()
    content = json.loads(path.read_text())["forecast_submission"]
    (disk,) = content["full_disk_forecasts"]
    for forecast in (disk, *content["region_forecasts"]):
        window = {name: datetime.fromisoformat(text) for name, text in forecast["prediction_window"].items()}
        assert window["end_time"] - window["start_time"] == timedelta(hours=hours)
        (probability,) = forecast["flare_probabilities"]
        assert probability["class"] == f"{letter}+"
        assert 0 < probability["probability"] < 1
    # The latest frame of Test is the last of its list by time; the Scoreboard's times are UTC.
    names = (home / "labels" / task / f"flare_{letter}class_{hours}h_Test.txt").read_text().split()[::2]
    latest = max(datetime.strptime(name.split(".")[3], "%Y%m%d_%H%M%S_TAI") for name in names)
    start = datetime.fromisoformat(disk["prediction_window"]["start_time"]).replace(tzinfo=None)
    assert start == latest - timedelta(seconds=34)

    (path,) = (home / task / "scoreboard-text").iterdir()
    fields = dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
    assert fields["Probability Bins"] == f"{letter}+"
    times = [datetime.fromisoformat(fields[f"Prediction Window {which} Time"]) for which in ("Start", "End")]
    assert times[1] - times[0] == timedelta(hours=hours)
    assert times[0].replace(tzinfo=None) == start
    assert f"#{letter}_prob {letter}_uncert" in path.read_text()


def test_a_fold_without_a_flare_of_class_x_is_refused_with_those_that_can_be_trained(home: Path):
    options = ("--shards", home / "shards", *choice("X72"), "--model", "mvit_tiny", "--out", home / "more")
    error = error_of("train", *options)
    assert "X72 fold 2: expected samples of both classes to train on and to validate with" in error
    assert "the val set has no positives" in error
    assert "train only fold 0,1,4, or pass --allow-one-class" in error
    assert not (home / "more").exists()
