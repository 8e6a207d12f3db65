"""Forecasts of new sequences by combinations of networks of the user's own and of forecasters of keywords."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from sffshards.base.errors import InputError
from sffshards.base.progress import SILENT
from sffshards.cli import command_list
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.combinations.run_combination import combine_runs
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.forecasting.runs.run_folders import gather_runs
from sffshards.models.model_names import ModelName
from sffshards.tabular import KEYWORDS
from sffshards.training.fold_training import train_folds
from tests.training_data import fast_options, make_build

FOLDS = (0, 2)
FACTORIES = ("first", "second")
pytestmark = pytest.mark.slow

MODULE = "own_of_combinations"
GRID = timedelta(minutes=96)


def command(*arguments: object) -> Result:
    app = typer.Typer()
    command_list.register(app)
    return CliRunner().invoke(app, list(map(str, arguments)))


def refusal(*arguments: object) -> str:
    done = command(*arguments)
    assert isinstance(done.exception, InputError), (done.exception, done.stdout)
    return str(done.exception)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with keywords, and runs of two folds: two networks by factories, one of keywords, and combinations."""
    home = tmp_path_factory.mktemp("combined")
    (home / f"{MODULE}.py").write_text(
        "from tests.training_data import FastNetwork\n" + "".join(f"{name} = FastNetwork\n" for name in FACTORIES)
    )
    build, runs = make_build(home), home / "runs" / "48h"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(home)
        for name in FACTORIES:
            factory = ModelName(f"{MODULE}:{name}")
            options = fast_options(model=factory, max_epochs=1 + FACTORIES.index(name))
            train_folds(build, runs / name, options, folds=FOLDS, force=False, progress=SILENT)
            inference = Inference(batch_size=4, num_threads=1, device=torch.device("cpu"), factories=(factory,))
            evaluate_run(runs / name, build, folds=None, inference=inference, force=False, progress=SILENT)
    write_keywords(home / "k.csv", home / "data")
    done = command("baselines", home / "data", "--keywords", home / "k.csv", "--runs", home / "runs")
    assert done.exit_code == 0, done.exception
    for fold in {0, 1, 2, 3, 4} - {*FOLDS}:
        shutil.rmtree(runs / "keywords" / f"fold{fold}")
    for name, members in {"all": (*FACTORIES, "keywords"), "fused": ("keywords", "again")}.items():
        if "again" in members:
            shutil.copytree(runs / "keywords", runs / "again")
        combine_runs([runs / member for member in members], runs / name, name=name, force=False, progress=SILENT)
    return home


def write_keywords(path: Path, data: Path, *, kept: Collection[str] | None = None) -> Path:
    """Write keywords of all frames of the lists, or of some."""
    rows = [line.split() for of in sorted((data / "M48").glob("*.txt")) for line in of.read_text().splitlines()]
    random = np.random.default_rng(1)
    values = {name: float(label) + random.normal(0, 1, len(KEYWORDS)) for name, label in rows}
    lines = [f"{name},{','.join(map(str, of.tolist()))}" for name, of in values.items() if name in (kept or values)]
    path.write_text("\n".join([f"frame,{','.join(KEYWORDS)}", *lines]))
    return path


@pytest.fixture
def named(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name both factories, which can be imported."""
    monkeypatch.syspath_prepend(home)
    return [word for name in FACTORIES for word in ("--model", f"{MODULE}:{name}")]


def name_frame(harp: int, number: int) -> str:
    """Name of a frame of a region of the test part."""
    return f"hmi.sharp_720s.{harp}.{datetime(2011, 2, 18) + number * GRID:%Y%m%d_%H%M%S}_TAI.magnetogram"


def test_images_and_keywords_forecast_as_the_combination_forecast_its_tables(home: Path, named: list[str]) -> None:
    run = home / "runs" / "48h" / "all"
    start = ["predict", "--run", run, "--keywords", home / "k.csv", "--every", "--format", "json", "--device", "cpu"]
    (combined,) = gather_runs(run)
    tables = [fold.tables[Stage.TEST] for fold in combined.folds]
    keys = zip(tables[0].harp.tolist(), tables[0].t_end_tai.tolist(), strict=True)
    of_table = dict(zip(keys, np.mean([table.probability for table in tables], axis=0).tolist(), strict=True))
    for source in (["--images", home / "data"], ["--shards", home / "shards"]):
        done = command(*start, *source, *named)
        assert done.exit_code == 0, done.exception
        found = {
            (one["harp"], datetime.fromisoformat(one["t_end_tai"])): one["raw_probability"]
            for one in json.loads(done.stdout)["regions"]
        }
        assert {key: found[key] for key in of_table} == pytest.approx(of_table, abs=1e-6)
        is_of_images = "--images" in source
        assert len(found) == (60 if is_of_images else 10)
        # The build's Test part has 10 of the 60 frames that the table of keywords has.
        assert ("50 sequences left out, without images of the same time" in done.stderr) != is_of_images


def test_every_factory_of_a_combination_is_named_and_no_other(home: Path, named: list[str]) -> None:
    start = ["predict", "--run", home / "runs" / "48h" / "all", "--images", home / "data", "--keywords", home / "k.csv"]
    first, second = (f"{MODULE}:{name}" for name in FACTORIES)
    for given, lacking in (([], first), (named[:2], second), (named[2:], first)):
        assert f"expected the factory {lacking} to be named by you too" in refusal(*start, *given)
    other = refusal(*start, *named, "--model", "mvit_tiny")
    assert f"expected a run of mvit_tiny, found a run of {first} and {second}" in other
    for run, given in (("first", named), ("all", named)):
        explained = ["explain", "--run", home / "runs" / "48h" / run, "--images", home / "data", "--latest"]
        expected = (
            f"expected a run of {second}" if run == "first" else "expected the run of a network, found a combination"
        )
        assert expected in refusal(*explained, *given)
    evaluated = ["evaluate", home / "runs" / "48h", "--shards", home / "shards", "--model"]
    assert "expected a run of mvit_tiny, found runs of" in refusal(*evaluated, "mvit_tiny")


def test_the_latest_time_of_images_and_keywords_is_forecast_within_a_tolerance(
    home: Path, named: list[str], tmp_path: Path
) -> None:
    # The last keywords of HARP 600 are one frame before its last image, and HARP 601 has none of its last three frames.
    kept = [name_frame(harp, number) for harp, num_frames in ((600, 4), (601, 2)) for number in range(num_frames)]
    keywords = write_keywords(tmp_path / "k.csv", home / "data", kept=kept)
    start = ["predict", "--run", home / "runs" / "48h" / "all", "--shards", home / "shards", "--keywords", keywords]
    for tolerance, times in ((96, {600: 3}), (95, {}), (288, {600: 3, 601: 1})):
        arguments = [*start, *named, "--format", "json", "--device", "cpu", "--tolerance", tolerance]
        if not times:
            assert "expected regions with images and keywords of the same time, at most 95" in refusal(*arguments)
            continue
        done = command(*arguments)
        assert done.exit_code == 0, done.exception
        found = {one["harp"]: one["t_end_tai"] for one in json.loads(done.stdout)["regions"]}
        assert found == {harp: (datetime(2011, 2, 18) + number * GRID).isoformat() for harp, number in times.items()}
        late = ", ".join(map(str, times))
        assert f"HARP {late}: forecast at an earlier time, the latest with images and keywords" in done.stderr
        assert ("HARP 601: left out; images and keywords have no common time, or none in" in done.stderr) == (
            601 not in times
        )


def test_options_that_do_not_affect_a_run_are_refused(home: Path) -> None:
    images, keywords = ["--images", "i"], ["--keywords", "k.csv"]
    no_images, no_keywords = "takes no images, found ", "takes no keywords, found "
    cases: list[tuple[str, list[str], str]] = [
        ("keywords", [], r"`keywords`: expected a table of keywords, for .*/keywords, found none; name a table"),
        ("first", [*images, *keywords], rf"`keywords`: expected none with .*/first, which {no_keywords}k.csv"),
        (
            "first",
            [*images, "--clock", "tai"],
            r"`clock`: expected none with .*/first, which takes no flare history, found tai",
        ),
        ("keywords", [*keywords, "--flares", "f"], "`flares`: expected none with .*, which takes no flare history"),
        ("keywords", [*keywords, "--model-option", "depth=3"], "`model_options`: expected none with a run"),
        ("keywords", [*keywords, "--force"], "`force`: expected none without --out, found True"),
    ]
    for given in (
        *("--images=i", "--sequences=s", "--shards=s", "--part=Test", "--model=mvit_tiny", "--cluster=local:1"),
        *("--device=cpu", "--threads=2", "--batch-size=10"),
    ):
        name, _, value = given.removeprefix("--").partition("=")
        message = f"`{name.replace('-', '_')}`: expected none with .*, which {no_images}{value}; leave it out"
        cases += [("keywords", [*keywords, given], message), ("fused", [*keywords, given], message)]
    for name, arguments, message in cases:
        found = refusal("predict", "--run", home / "runs" / "48h" / name, *arguments)
        assert re.search(message, found), found
    evaluated = refusal("evaluate", home / "runs" / "48h" / "keywords", "--device", "cpu")
    assert "`device`: expected none with" in evaluated
    assert "which has no network, found cpu" in evaluated
