"""Runs scored by other labels than those that they were made with: rebuilt from one flare list, or from several."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from sffshards.base.errors import InputError
from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import LabelSet, Protocol, Stage
from sffshards.domain.task import M24
from sffshards.flares import FlareTime, FrameClock, HarpFlares, assign_flares, read_flare_list, read_harp_map
from sffshards.forecasting.label_sets import LabelChoice, LabelSource, find_spread, score_by_labels
from sffshards.forecasting.runs.fold_ensemble import average_run
from sffshards.forecasting.runs.forecast_record import ForecastRecord, RunKind, read_any_record, write_forecast_record
from sffshards.forecasting.runs.predictions_table import plain_predictions
from sffshards.forecasting.runs.run_comparison import compare_issued
from sffshards.forecasting.runs.run_folders import gather_runs
from sffshards.forecasting.runs.run_writing import FoldForecasts, write_run
from sffshards.report import ReportOptions, write_report
from sffshards.verification.forecast_scores import explain_score, score_forecast
from sffshards.verification.score_names import ProbabilityScore
from tests.commands import error_of, run_here
from tests.forecast_lists import make_lists

HARPS, PER_HARP = 12, 6
FIRST = {Stage.TRAIN: datetime(2012, 1, 1), Stage.VAL: datetime(2012, 4, 1), Stage.TEST: datetime(2012, 7, 1)}
FOLDS = (0, 1)


def samples(stage: Stage) -> list[tuple[int, datetime]]:
    """Return HARP and time of the samples of a set, which are four hours apart."""
    first = 100 * (1 + list(Stage).index(stage))
    return [
        (first + harp, FIRST[stage] + timedelta(days=harp, hours=4 * step))
        for harp in range(HARPS)
        for step in range(PER_HARP)
    ]


def draw_flares(seed: int) -> list[tuple[int, datetime]]:
    """Return HARP and start of flares: one in most regions, in the 44 hours from the first sample."""
    rng = np.random.default_rng(seed)
    starts = {harp: time for stage in Stage for harp, time in reversed(samples(stage))}
    return [
        (harp, time + timedelta(minutes=int(rng.integers(0, 44 * 60))))
        for harp, time in sorted(starts.items())
        if rng.random() < 0.7
    ]


def label(flares: list[tuple[int, datetime]], harp: int, time: datetime) -> int:
    """Return the label of a sample: whether a flare of its region starts in the 24 hours after it."""
    return int(any(of == harp and time < start <= time + timedelta(hours=24) for of, start in flares))


def write_list(path: Path, flares: list[tuple[int, datetime]]) -> Path:
    """Write a flare list of class M1.0, which begins long before the samples and ends long after."""
    edges = ["2011-01-01 00:00,A1.0,", "2013-01-01 00:00,A1.0,"]
    rows = [f"{start:%Y-%m-%d %H:%M},M1.0,{11_000 + harp}" for harp, start in flares]
    path.write_text("\n".join(["start_time,goes_class,noaa_ar", *edges, *rows]))
    return path


def forecast(stage: Stage, fold: int) -> list[float]:
    """Return probabilities that follow the flares of the first list more often than not."""
    rng = np.random.default_rng([fold, list(Stage).index(stage)])
    known = [label(draw_flares(0), *sample) for sample in samples(stage)]
    return [float(1 / (1 + np.exp(1.5 - 2 * one + rng.normal(0, 1)))) for one in known]


def write_labelled_run(folder: Path, flares: list[tuple[int, datetime]]) -> None:
    """Write a run with the labels that follow from flares, by the rule above."""
    labels = {stage: np.array([label(flares, *one) for one in samples(stage)]) for stage in Stage}
    rate = float(labels[Stage.TRAIN].mean())

    def make(plan: ForecastRecord) -> FoldForecasts:
        tables = {
            stage: plain_predictions(
                harp=np.array([harp for harp, _ in samples(stage)]),
                t_end_tai=np.array([time for _, time in samples(stage)], "datetime64[s]"),
                label=labels[stage],
                probability=np.array(forecast(stage, plan.fold)),
            )
            for stage in Stage
        }
        return FoldForecasts(tables=tables, missing={})

    plans = [
        ForecastRecord(
            kind=RunKind.IMPORTED,
            name=folder.name,
            description="a table",
            task=M24,
            fold=fold,
            protocol=Protocol.PAPER,
            climatology=rate,
            options={},
            sources=(),
        )
        for fold in FOLDS
    ]
    write_run(folder, plans, make, force=False, progress=SILENT)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with labels of its own, runs with those of two flare lists, the lists, and the map of the regions."""
    folder = tmp_path_factory.mktemp("labels")
    write_labelled_run(folder / "runs" / "24h" / "mine", draw_flares(2))
    for name, seed in (("one", 0), ("two", 1)):
        write_list(folder / f"{name}.csv", draw_flares(seed))
        write_labelled_run(folder / "rebuilt" / "24h" / name, draw_flares(seed))
    harps = sorted({harp for stage in Stage for harp, _ in samples(stage)})
    (folder / "harps.txt").write_text("\n".join(f"{harp} {11_000 + harp}" for harp in harps))
    return folder


@pytest.fixture(scope="module")
def lists(home: Path) -> list[HarpFlares]:
    harp_map = read_harp_map(home / "harps.txt")
    read = [read_flare_list(home / f"{name}.csv") for name in ("one", "two")]
    return [assign_flares(of, harp_map, flare_time=FlareTime.START, clock=FrameClock.AS_WRITTEN) for of in read]


def test_rebuilt_labels_score_a_run_as_if_it_had_been_made_with_them(home: Path, lists: list[HarpFlares]):
    (mine,) = gather_runs(home / "runs")
    published, *rebuilt = score_by_labels(mine, LabelChoice.make(LabelSet.BOTH, lists).compared)
    assert published.num_changed == 0
    for name, one in zip(("one", "two"), rebuilt, strict=True):
        (run,) = gather_runs(home / "rebuilt" / "24h" / name)
        (expected,) = score_by_labels(run, [LabelSource(flares=None)])
        assert {c: repr(i) for c, i in one.scores.items()} == {c: repr(i) for c, i in expected.scores.items()}
        assert one.source.title == f"rebuilt from {home / f'{name}.csv'}"
        own, other = (
            [label(draw_flares(seed), *s) for s in samples(Stage.TEST)] for seed in (2, ("one", "two").index(name))
        )
        assert one.num_positive == sum(other)
        assert one.num_changed == sum(a != b for a, b in zip(own, other, strict=True)) > 0


def test_the_spread_over_flare_lists_is_the_highest_score_less_the_lowest(home: Path, lists: list[HarpFlares]):
    (mine,) = gather_runs(home / "runs")
    scores = score_by_labels(mine, LabelChoice.make(LabelSet.PUBLISHED, lists).compared)
    assert [one.source.flares is None for one in scores] == [True, False, False]
    for compared, spread in find_spread(scores).items():
        estimates = [interval.estimate for one in scores[1:] if (interval := one.scores[compared]) is not None]
        assert spread == pytest.approx(max(estimates) - min(estimates))
        assert len(estimates) == 2
    assert find_spread(scores[:2]) == {}


@pytest.mark.slow
def test_published_results_do_not_stand_beside_runs_made_with_rebuilt_labels(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sffshards.report.figure_style._print", lambda canvas: {})  # PDF files take time
    for labels in ("published", "rebuilt"):
        run = tmp_path / labels / "24h" / "mine"
        shutil.copytree(home / "runs" / "24h" / "mine", run)
        for path in run.glob("fold*/run.json"):
            record = read_any_record(path.parent)
            assert isinstance(record, ForecastRecord)
            write_forecast_record(path.parent, replace(record, options={"labels": labels}))
        out = tmp_path / f"report-{labels}"
        write_report(run, out, shards=[], options=ReportOptions(), progress=SILENT)
        table = (out / "tables" / "24h-test-scores.md").read_text()
        assert ("published, oTV" in table) == (labels == "published")


def test_brier_skill_by_rebuilt_labels_needs_their_rate_in_training(home: Path, lists: list[HarpFlares]):
    """Runs without a table of the training set, as of baselines, have the published rate in their records only."""
    (mine,) = gather_runs(home / "runs")
    folds = [
        replace(fold, tables={s: t for s, t in fold.tables.items() if s is not Stage.TRAIN}) for fold in mine.folds
    ]
    rebuilt = LabelSource(flares=lists[0])
    runs = [rebuilt.relabel(run) for run in (mine, replace(mine, folds=tuple(folds)))]
    known, unknown = map(average_run, runs)
    expected = np.mean([label(draw_flares(0), *sample) for sample in samples(Stage.TRAIN)])
    assert known.climatology == pytest.approx(expected)
    scores = score_forecast(unknown.forecast())
    assert np.isnan(scores.interval(ProbabilityScore.BRIER_SKILL).estimate)
    assert "no forecasts of the training set" in str(explain_score(scores, ProbabilityScore.BRIER_SKILL))
    published = replace(known, climatology=known.climatology / 2)
    for second, reason in ((unknown, "no forecasts of the training set"), (published, "the two climatologies differ")):
        for compared, difference in compare_issued(known, second).items():
            is_skill = compared.score is ProbabilityScore.BRIER_SKILL
            assert np.isnan(difference.estimate) == is_skill
            assert (reason in str(difference.reason)) == is_skill


def test_labels_cannot_be_rebuilt_without_a_flare_list():
    with pytest.raises(InputError, match="expected published without a flare list, found both"):
        LabelChoice.make(LabelSet.BOTH, [])


def test_samples_whose_horizon_is_not_covered_are_left_out_and_counted(home: Path, tmp_path: Path):
    end = datetime(2012, 7, 6)
    flares = [flare for flare in draw_flares(0) if flare[1] < end]
    path = write_list(tmp_path / "short.csv", flares)
    path.write_text(path.read_text().replace("2013-01-01", f"{end:%Y-%m-%d}"))

    def assign(path: Path) -> HarpFlares:
        harp_map = read_harp_map(home / "harps.txt")
        clock = FrameClock.AS_WRITTEN
        return assign_flares(read_flare_list(path), harp_map, flare_time=FlareTime.START, clock=clock)

    (mine,) = gather_runs(home / "runs")
    (found,) = score_by_labels(mine, [LabelSource(flares=assign(path))])
    kept = [one for one in samples(Stage.TEST) if one[1] + timedelta(hours=24) <= end]
    expected = [label(flares, *one) for one in kept]
    assert list(zip(found.samples.harp, found.samples.t_end_tai.tolist(), strict=True)) == kept
    assert found.samples.label.tolist() == expected
    assert 0 < sum(expected) < len(kept)
    assert found.num_changed == sum(a != label(draw_flares(2), *one) for a, one in zip(expected, kept, strict=True))
    assert f"are 0 of training, 0 of validation, {72 - len(kept)} of Test" in found.note
    path.write_text(path.read_text().replace(f"{end:%Y-%m-%d} 00:00,A", "2012-07-01 00:00,A"))
    path.write_text(
        "\n".join(line for line in path.read_text().splitlines() if not line.startswith("2012-07-0") or "A1" in line)
    )
    with pytest.raises(InputError, match=r"Test in .*, which covers that of none of 72; .* `# covers"):
        LabelSource(flares=assign(path)).relabel(mine)


@pytest.mark.slow
def test_evaluate_and_report_state_the_labels_of_every_table(home: Path):
    catalogue = [value for name in ("one", "two") for value in ("--flares", home / f"{name}.csv")]
    options = ("--label-set", "both", *catalogue, "--harp-map", home / "harps.txt")
    text = run_here("evaluate", home / "runs", *options).stdout
    assert re.search(r"spread of the flare lists +\d\.\d{3}", text)
    content = json.loads((home / "runs" / "24h" / "mine" / "label-sets.json").read_text())
    titles = ["published", *(f"rebuilt from {home / f'{name}.csv'}" for name in ("one", "two"))]
    assert [one["labels"] for one in content["label_sets"]] == titles
    assert [one["num_positive"] for one in content["label_sets"]] == [
        sum(label(draw_flares(seed), *sample) for sample in samples(Stage.TEST)) for seed in (2, 0, 1)
    ]

    run_here("report", home / "runs", "--out", home / "report", *options)
    tables = home / "report" / "tables"
    for name in ("forecasts", "subsets", "test-scores", "sets"):
        assert f"labels {titles[1]}**" in (tables / f"24h-{name}.md").read_text().splitlines()[0]
    published = (tables / "24h-published-labels.md").read_text()
    assert "test set, published labels**" in published
    assert "published, oTV" in published  # the results of the paper are by these labels
    assert "published, oTV" not in (tables / "24h-test-scores.md").read_text()
    with (tables / "24h-label-sets.csv").open() as file:
        rows = {(row["labels"], row["rule"], row["score"]): row["estimate"] for row in csv.DictReader(file)}
    (main,) = json.loads((home / "report" / "report.json").read_text())["tasks"]["M24"]["forecasts"]
    assert rows[titles[1], "0.5", "TSS"] == str(main["scores"]["TSS"]["estimate"])
    assert rows[titles[0], "0.5", "TSS"] != rows[titles[1], "0.5", "TSS"]
    assert "expected published without a flare list" in error_of("report", home / "runs", "--label-set", "both")


def true_skill(flares: list[tuple[int, datetime]], rows: list[tuple[int, datetime]]) -> float:
    """Return POD minus POFD of persistence over 24 hours, with the labels of the same flares."""
    outcomes = [(label(flares, harp, time), label(flares, harp, time - timedelta(hours=24))) for harp, time in rows]
    rates = [[said for came, said in outcomes if came == wanted] for wanted in (1, 0)]
    return float(np.mean(rates[0]) - np.mean(rates[1]))


@pytest.mark.slow
def test_baselines_repeat_everything_by_each_flare_list_and_show_the_spread(tmp_path: Path):
    rows = make_lists(tmp_path / "data", task="M24")
    every = sorted({harp for harp, *_ in rows})
    rng = np.random.default_rng(3)
    start = {harp: min(time for of, time, *_ in rows if of == harp) for harp in every}
    flares = {
        name: [
            (harp, start[harp] + timedelta(minutes=int(rng.integers(-600, 1200))))
            for harp in every
            if rng.random() < 0.6
        ]
        for name in ("one", "two")
    }
    catalogue = [
        value for name, of in flares.items() for value in ("--flares", write_list(tmp_path / f"{name}.csv", of))
    ]
    (tmp_path / "harps.txt").write_text("\n".join(f"{harp} {11_000 + harp}" for harp in every))
    options = (*catalogue, "--harp-map", tmp_path / "harps.txt", "--runs", tmp_path / "runs", "--label-set", "both")
    document = json.loads(run_here("baselines", tmp_path / "data", *options, "--json").stdout)
    assert [(of["labels"], Path(of["flares"]).name) for of in document["tasks"]] == [
        ("published", "one.csv"),
        ("rebuilt", "one.csv"),
        ("rebuilt", "two.csv"),
    ]
    tested = [(harp, time) for harp, time, _, part in rows if part == "Test"]
    expected = [true_skill(flares[name], tested) for name in ("one", "two")]
    found = [
        next(one for one in of["baselines"] if one["name"] == "persistence")["mean"]["TSS"]["estimate"]
        for of in document["tasks"][1:]
    ]
    assert found == pytest.approx(expected)
    (spread,) = (one for one in document["spreads_of_flare_lists"]["M24"] if one["name"] == "persistence")
    assert spread["spread"]["TSS"] == pytest.approx(abs(expected[0] - expected[1])) != 0
    # Runs are written for the published labels, and for those of the first list.
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"24h", "rebuilt"}
    record = json.loads((tmp_path / "runs" / "rebuilt" / "24h" / "persistence" / "fold0" / "run.json").read_text())
    assert [Path(of["path"]).name for of in record["sources"]][-2:] == ["one.csv", "harps.txt"]
    again = ("--flares", tmp_path / "one.csv", "--flares", tmp_path / "one.csv", "--harp-map", tmp_path / "harps.txt")
    assert "--flares: expected every list once" in error_of("baselines", tmp_path / "data", *again)
