"""The report: one page that stands alone, whose numbers are those of the tables of predictions."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from sffshards.base.atomic_files import write_atomic
from sffshards.base.errors import ConflictError, DamageError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.json_records import format_json, seal
from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Stage, Variant
from sffshards.domain.task import M24, M48
from sffshards.domain.views import View
from sffshards.flares import FlareTime, FrameClock, assign_flares, read_flare_list, read_harp_map
from sffshards.forecasting.baselines.baseline_runs import write_build_baselines
from sffshards.forecasting.runs import Inference, choose_device, evaluate_run
from sffshards.forecasting.runs.decision import fit_decision, write_decision
from sffshards.forecasting.runs.fold_ensemble import IssuedForecast, Probability
from sffshards.forecasting.runs.forecast_record import ForecastRecord, read_any_record, write_forecast_record
from sffshards.forecasting.runs.predictions_record import PredictionsRecord, write_predictions_record
from sffshards.forecasting.runs.predictions_table import (
    Predictions,
    predictions_path,
    read_predictions,
    write_predictions,
)
from sffshards.forecasting.runs.run_folders import find_baselines, gather_runs, read_run
from sffshards.forecasting.runs.run_scores import PUBLISHED_DOI, PUBLISHED_RESULTS
from sffshards.report.report_content import ReportOptions, compute_content
from sffshards.report.report_folder import check_folder, write_folder
from sffshards.report.report_writing import write_report
from sffshards.report.result_scores import score_subsets
from sffshards.report.table_formats import Cell, Table, format_latex, format_markdown
from sffshards.shards.read.build_reader import open_build
from sffshards.shards.read.manifest_reading import read_manifest
from sffshards.training.fold_record import read_record, write_record
from sffshards.verification.cluster_intervals import Interval, explain_inestimable
from sffshards.verification.score_names import ScoreName
from sffshards.verification.threshold_curves import ThresholdRule
from tests.commands import error_of, run
from tests.other_runs import write_other_runs
from tests.report_data import make_builds, make_runs
from tests.tiny import digest_tree
from tests.training_data import rewrite_record

QUICK = ReportOptions()
VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """What a page holds: its elements, all closed in order, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.cells: list[list[str]] = []
        self.feed(path.read_text("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data + " "

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, head):
        return next([cell.strip() for cell in row] for row in self.cells if row[0].strip() == head)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Builds and runs of both horizons: two variants, two folds."""
    folder = tmp_path_factory.mktemp("report")
    shards = make_builds(folder)
    return shards, make_runs(shards, folder / "runs")


@pytest.fixture(scope="module")
def report(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report"
    return write_report(made[1], out, shards=[made[0]], options=QUICK, progress=SILENT)


@pytest.fixture
def runs(made, tmp_path, monkeypatch):
    """A copy of one horizon's runs, which a test may spoil; PDF and PNG files, which take time, are left out."""
    monkeypatch.setattr("sffshards.report.figure_style._print", lambda canvas: {})
    return Path(shutil.copytree(made[1] / "48h", tmp_path / "48h"))


def write(runs, tmp_path, *, shards=(), options=QUICK):
    return write_report(runs, tmp_path / "out", shards=shards, options=options, progress=SILENT)


def plain(path):
    read = read_predictions(path)
    keep = np.array([view is View.NF for view in read.view])
    return read.label[keep], read.probability[keep]


def relabel(runs, stage, label):
    """Give every sample of a stage the same outcome."""
    for path in runs.glob(f"*/fold*/predictions-{stage}.csv"):
        read = read_predictions(path)
        write_predictions(path, replace(read, label=np.full_like(read.label, label)))


# The page -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_asks_nothing_of_any_server(report):
    page = Page(report)
    assert not page.of("script")
    assert not page.of("link")
    assert not page.of("iframe")
    for _, attributes in page.elements:
        for name, value in ((name, value or "") for name, value in attributes.items()):
            if name in ("src", "srcset", "data", "action", "background"):
                assert value.startswith("data:image/png;base64,")
            if name.endswith("href"):
                assert value.startswith("#") or value == "https://doi.org/10.1007/s11207-024-02276-0"
    assert not re.search(r"@import|url\((?!#)", report.read_text("utf-8"))


def test_every_name_in_the_page_is_given_once_and_every_link_within_it_leads_somewhere(report):
    page = Page(report)
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    links = [value or "" for _, a in page.elements for name, value in a.items() if name.endswith("href")]
    targets: set[str | None] = {link[1:] for link in links if link.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", report.read_text("utf-8")))
    targets |= {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert targets <= set(names)


def test_the_page_has_all_its_parts(report):
    page = Page(report)
    for heading in (
        "At a glance",
        "Flares of class M or above within 24 h",
        "Flares of class M or above within 48 h",
        "Reliability",
        "ROC",
        "Precision and detection",
        "TSS against threshold",
        "HSS against threshold",
        "Training of oTV",
        "HARP 601",
        "Hits",
        "Misses",
        "False alarms",
        "Data and sets",
        "Regions in two sets of a fold.",
        "Provenance",
        "How to read the scores",
    ):
        assert heading in page.text, heading
    assert "Not evaluated, and therefore in no result: 3 of 5 folds of 24h base; 3 of 5 folds of 24h oTV" in page.text
    figures = page.of("figure")
    assert len(figures) == len(page.of("figcaption"))
    assert all(attributes.get("alt") for attributes in page.of("img"))
    assert all(attributes["role"] == "img" for attributes in page.of("svg"))
    assert len(page.of("table")) == len(page.of("caption"))


def test_figures_take_their_colours_from_the_page(report):
    svgs = re.findall(r"<svg.*?</svg>", report.read_text("utf-8"), re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", report.read_text("utf-8"), re.DOTALL)
    used = set(re.findall(r"var\(--([\w-]+)\)", "".join(svgs)))
    assert {"ink", "faint", "line", "series-0", "series-1"} <= used
    light, dark = style.split("prefers-color-scheme: dark", 1)
    for name in used:
        assert f"--{name}:" in light
        assert f"--{name}:" in dark
    # Nothing is drawn in a colour that only one of light and dark can show.
    assert not re.search(r"(fill|stroke): ?#[0-9a-f]{6}", "".join(svgs))


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(made, report, tmp_path):
    write_report(made[1], tmp_path / "again", shards=[made[0]], options=QUICK, progress=SILENT)
    assert digest_tree(tmp_path / "again") == digest_tree(report.parent)


# Numbers ------------------------------------------------------------------------------------------------------------


def test_the_table_of_forecasts_holds_what_scikit_learn_computes_of_the_mean_of_folds(made, report):
    tests = [plain(made[1] / "48h" / "oTV" / f"fold{fold}" / "predictions-test.csv") for fold in (0, 3)]
    label, probability = tests[0][0], np.mean([p for _, p in tests], axis=0)
    rates = [plain(made[1] / "48h" / "oTV" / f"fold{fold}" / "predictions-train.csv")[0].mean() for fold in (0, 3)]
    reference = metrics.brier_score_loss(label, np.full(len(label), np.mean(rates)))
    called = probability >= 0.5
    expected = {
        "TSS": metrics.balanced_accuracy_score(label, called, adjusted=True),
        "HSS": metrics.cohen_kappa_score(label, called),
        "BSS": 1 - metrics.brier_score_loss(label, probability) / reference,
        "AUC": metrics.roc_auc_score(label, probability),
        "AP": metrics.average_precision_score(label, probability),
    }
    with (report.parent / "tables" / "48h-forecasts.csv").open() as file:
        found = {r["score"]: r for r in csv.DictReader(file) if r["forecast"] == "oTV, ensemble"}
    for name, value in expected.items():
        assert float(found[name]["estimate"]) == pytest.approx(value, abs=1e-12), name
    rows = [[cell.strip() for cell in row] for row in Page(report).cells if row[0].strip() == "oTV, ensemble"]
    shown = rows[1]  # 24h comes first
    for position, name in ((1, "TSS"), (2, "HSS"), (5, "BSS"), (7, "AUC"), (8, "AP")):
        assert shown[position].split()[0] == f"{expected[name]:.3f}"


def test_the_chosen_threshold_is_that_of_validation_and_its_score_that_of_test(made, report):
    thresholds = []
    for fold in (0, 3):
        label, probability = plain(made[1] / "48h" / "base" / f"fold{fold}" / "predictions-val.csv")
        scores = {t: metrics.cohen_kappa_score(label, probability >= t) for t in probability}
        thresholds.append(max(t for t in scores if scores[t] == max(scores.values())))
    tests = [plain(made[1] / "48h" / "base" / f"fold{fold}" / "predictions-test.csv") for fold in (0, 3)]
    probability = np.mean([p for _, p in tests], axis=0)
    content = json.loads((report.parent / "report.json").read_text())["tasks"]["M48"]["forecasts"][0]
    chosen = content["chosen"]["max HSS"]
    assert chosen["threshold"] == pytest.approx(np.mean(thresholds))
    value = metrics.cohen_kappa_score(tests[0][0], probability >= np.mean(thresholds))
    assert chosen["estimate"] == pytest.approx(value, abs=1e-12)


def test_calibration_is_fitted_on_validation_and_scored_on_test(made, report):
    folder = made[1] / "48h" / "base"
    calibrated, rates = [], []
    for fold in (0, 3):
        label, probability = plain(folder / f"fold{fold}" / "predictions-val.csv")
        num = label.sum(), len(label) - label.sum()
        # Platt's smoothed targets as weighted samples of both outcomes, and no penalty.
        target = np.where(label == 1, (num[0] + 1) / (num[0] + 2), 1 / (num[1] + 2))
        logit = np.log(probability / (1 - probability))
        x, y = np.tile(logit, 2)[:, None], np.repeat([1, 0], len(label))
        fitted = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(x, y, np.concatenate([target, 1 - target]))
        label, probability = plain(folder / f"fold{fold}" / "predictions-test.csv")
        calibrated.append(fitted.predict_proba(np.log(probability / (1 - probability))[:, None])[:, 1])
        rates.append(plain(folder / f"fold{fold}" / "predictions-train.csv")[0].mean())
    reference = metrics.brier_score_loss(label, np.full(len(label), np.mean(rates)))
    expected = 1 - metrics.brier_score_loss(label, np.mean(calibrated, axis=0)) / reference
    content = json.loads((report.parent / "report.json").read_text())["tasks"]["M48"]["forecasts"][0]
    assert content["calibrated_brier_skill"]["estimate"] == pytest.approx(expected, abs=1e-6)
    assert "Reliability after calibration" in Page(report).text


def test_the_folds_table_counts_every_view_of_the_variants_own_set(made, report):
    with (report.parent / "tables" / "24h-folds.csv").open() as file:
        rows = {(r["run"], r["fold"], r["stage"]): r for r in csv.DictReader(file)}
    read = read_predictions(made[1] / "24h" / "oTV" / "fold3" / "predictions-val.csv")
    assert View.R2 in read.view
    row = rows["oTV", "3", "val"]
    assert int(row["tp"]) + int(row["fn"]) == read.label.sum()
    assert float(row["F1"]) == pytest.approx(metrics.f1_score(read.label, read.probability >= 0.5), abs=1e-12)
    tests = [read_predictions(made[1] / "24h" / "oTV" / f"fold{f}" / "predictions-test.csv") for f in (0, 3)]
    accuracies = [metrics.accuracy_score(t.label, t.probability >= 0.5) for t in tests]
    shown = Page(report).row("oTV")
    assert shown[1] == "2"
    assert shown[3] == f"{np.mean(accuracies):.3f} ± {np.std(accuracies, ddof=1):.3f}"


def test_the_published_rows_stand_beside_with_their_printed_digits(report):
    assert PUBLISHED_DOI == "10.1007/s11207-024-02276-0"
    assert len(PUBLISHED_RESULTS) == 6
    assert all(f.table.num_samples == 9384 for f in PUBLISHED_RESULTS)
    rows = [[c.strip() for c in row] for row in Page(report).cells if row[0].strip() == "published, oTV"]
    # One fold; F1, ACC, POD, PRE, FAR, CSI, HSS, TSS as printed to two digits: 24h, then 48h.
    assert [rows[0][1], *(f"{float(rows[0][i]):.2f}" for i in (2, 3, 4, 6, 8, 9))] == [
        *("1", "0.29", "0.92", "0.84", "0.82", "0.27", "0.75")
    ]
    assert [rows[1][1], *(f"{float(rows[1][i]):.2f}" for i in (2, 3, 4, 6, 8, 9))] == [
        *("1", "0.52", "0.93", "0.90", "0.64", "0.48", "0.83")
    ]


@pytest.mark.slow
def test_regions_that_sets_share_are_counted_and_named(runs, tmp_path):
    """The tiny data share none; here a test region, 601, is put among the training regions."""
    path = predictions_path(runs / "base" / "fold0", Stage.TRAIN)
    read = read_predictions(path)
    write_predictions(path, replace(read, harp=np.where(read.harp == read.harp[0], 601, read.harp)))
    page = Page(write(runs, tmp_path))
    with (tmp_path / "out" / "tables" / "48h-shared-harps.csv").open() as file:
        shared = {(r["fold"], r["first"], r["second"]): r for r in csv.DictReader(file)}
    # Six frames, of which the last three have a flare within 48 h.
    assert list(shared["0", "train", "test"].values())[3:] == ["1", "6", "3", "601"]
    assert shared["3", "train", "test"]["num_harps"] == "0"
    assert page.row("fold 0, train and test") == ["fold 0, train and test", "1", "6", "3", "601"]
    assert "1 test region also in training or validation." in page.text


@pytest.fixture
def catalogue(tmp_path):
    """A flare list that has one flare of M and above of a test region, 601, and one of another's."""
    of_601 = "2011-02-14 05:00,M1.0,11429\n2011-02-14 03:00,C9.9,11429\n"
    (tmp_path / "flares.csv").write_text(f"start_time,label,noaa_ar\n{of_601}2011-02-15 05:00,X2.0,11000\n")
    (tmp_path / "map.txt").write_text("601 11429\n")
    read, regions = read_flare_list(tmp_path / "flares.csv"), read_harp_map(tmp_path / "map.txt")
    return assign_flares(read, regions, flare_time=FlareTime.START, clock=FrameClock.AS_WRITTEN)


def add_baselines(made, runs, *, flares=None):
    """Write the baselines beside the networks of a horizon, as `sffshards evaluate` does."""
    networks = [read_run(runs / variant) for variant in ("base", "oTV")]
    with open_build(made[0] / "48h") as build:
        return write_build_baselines(runs, build, networks=networks, flares=flares, seed=123)


def test_persistence_of_a_build_follows_labels_or_a_flare_list(made, runs, catalogue, tmp_path):
    add_baselines(made, runs)
    # No label of 48 h is known within the six frames of a region.
    page = Page(write(runs, tmp_path))
    assert page.row("persistence")[1].split()[0] == "0.000"
    written = add_baselines(made, runs, flares=catalogue)
    assert [run.name for run in written] == ["no skill", "climatology", "persistence", "ever flared"]
    assert {fold.number for run in written for fold in run.folds} == {0, 3}
    page = Page(write(runs, tmp_path))
    # The flare at 05:00 is known in the last two of 601's six frames, of which the last three have a flare to come, as
    # have three of 603's.
    for name in ("persistence", "ever flared"):
        assert page.row(name)[1].split()[0] == f"{2 / 6:.3f}"
    assert f"persistence {2 / 6:.3f}" in page.text  # at a glance
    assert "48h persistence: the flare list, M1.0 and above, protocol paper, 2 folds" in page.text
    # The rate of flares of the training sets, of which sequences are counted once.
    rate = np.mean([plain(predictions_path(runs / "oTV" / f"fold{n}", Stage.TRAIN))[0].mean() for n in (0, 3)])
    (climatology,) = (fold.climatology for fold in read_run(runs / "climatology").folds[:1])
    assert climatology == pytest.approx(rate)


def test_baselines_of_another_origin_are_kept_by_an_evaluation(made, runs):
    write_other_runs(runs / "oTV")  # among them a run named persistence
    before = digest_tree(runs / "persistence")
    assert [run.name for run in add_baselines(made, runs)] == ["no skill", "climatology", "ever flared"]
    assert digest_tree(runs / "persistence") == before
    found = find_baselines([read_run(runs / "oTV")])
    assert {run.name for run in found} == {"no skill", "climatology", "persistence", "ever flared"}
    assert find_baselines(found) == ()


def test_flares_of_other_harp_numbers_than_the_runs_are_refused(runs, catalogue, made, tmp_path):
    for record in runs.glob("*/fold*/run.json"):
        rewrite_record(record, image_options={"harp_numbers": "near-real-time"})
    with pytest.raises(InputError, match=r"map\.txt: expected near-real-time HARP numbers, as in .*, found definitive"):
        write(runs, tmp_path, options=replace(QUICK, catalogue=catalogue))
    inference = Inference(batch_size=4, num_threads=1, device=choose_device("cpu"))
    with pytest.raises(InputError, match=r"map\.txt: expected near-real-time HARP numbers"):
        evaluate_run(
            runs / "base",
            made[0] / "48h",
            folds=None,
            inference=inference,
            force=False,
            flares=catalogue,
            progress=SILENT,
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_flares_of_the_list_stand_over_the_regions_that_they_came_from(runs, catalogue, tmp_path):
    """601 is forecast from 14 February, 00:00 to 08:00, so that the list tells of it until 16 February, 08:00."""
    path = tmp_path / "flares.csv"
    rows = "2011-02-16 07:59,X1.1,11429\n2011-02-16 08:01,M5.0,11429\n2011-02-13 23:59,M4.0,11429\n"
    path.write_text(path.read_text() + rows)
    catalogue = replace(catalogue, flares=read_flare_list(path))
    options = replace(QUICK, harps=(601, 603), catalogue=catalogue)
    page = Page(write(runs, tmp_path, options=options))
    said = (
        "Triangles: starts of flares in the flare list, in UTC, filled for class X: M1.0 02-14 05:00, X1.1 02-16 07:59."
    )
    assert said in page.text
    assert "The flare list has no flare of class M or above of this region in these days." in page.text
    svgs = re.findall(r"<svg.*?</svg>", (tmp_path / "out" / "index.html").read_text("utf-8"), re.DOTALL)
    (of_601,) = [svg for svg in svgs if "HARP 601<" in svg]
    assert re.findall(r">([MX]\d\.\d)<", of_601) == ["X1.1", "M1.0"]
    content = json.loads((tmp_path / "out" / "report.json").read_text())["tasks"]["M48"]["flares"]
    assert content["601"][1] == {"start_utc": "2011-02-16T07:59:00", "class": "X1.1"}


def skill(label, call):
    """Give TSS by scikit-learn: recall of both classes, less 1."""
    return metrics.balanced_accuracy_score(label, call, adjusted=True)


@pytest.mark.slow
def test_differences_between_runs_are_those_of_their_scores(made, runs, tmp_path):
    page = Page(write(runs, tmp_path))
    label, means = np.zeros(0), []
    for variant in ("oTV", "base"):
        tests = [plain(runs / variant / f"fold{fold}" / "predictions-test.csv") for fold in (0, 3)]
        label = tests[0][0]
        means.append(np.mean([probability for _, probability in tests], axis=0))
    row = page.row("oTV minus base")
    expected = skill(label, means[0] >= 0.5) - skill(label, means[1] >= 0.5)
    assert float(row[1].split()[0]) == pytest.approx(expected, abs=6e-4)
    with (tmp_path / "out" / "tables" / "48h-differences.csv").open() as file:
        rows = {row["score"]: row for row in csv.DictReader(file)}
    errors = [metrics.brier_score_loss(label, mean) for mean in means]
    # A quarter of every training set: two of the four regions of a part, for three of six frames.
    reference = np.mean((label - 0.25) ** 2)
    assert float(rows["BSS"]["second_minus_first"]) == pytest.approx((errors[1] - errors[0]) / reference)
    assert {"TSS at 0.5", "HSS at 0.5", "TSS, chosen threshold", "HSS, chosen threshold"} < set(rows)
    content = json.loads((tmp_path / "out" / "report.json").read_text())["tasks"]["M48"]["differences"]
    assert [(one["first"], one["second"]) for one in content] == [("base", "oTV")]


@pytest.mark.slow
def test_every_run_is_compared_with_every_baseline(made, runs, catalogue, tmp_path):
    """Persistence by the flare list forecasts the last two frames of 601; 601 and 603 flare after their last three."""
    add_baselines(made, runs, flares=catalogue)
    page = Page(write(runs, tmp_path))
    content = json.loads((tmp_path / "out" / "report.json").read_text())["tasks"]["M48"]
    baselines = ["climatology", "ever flared", "no skill", "persistence"]
    pairs = [(one["first"], one["second"]) for one in content["baseline_differences"]]
    assert pairs == [(baseline, run) for baseline in baselines for run in ("base", "oTV")]
    assert [(one["first"], one["second"]) for one in content["differences"]] == [("base", "oTV")]
    tests = [plain(runs / "oTV" / f"fold{fold}" / "predictions-test.csv") for fold in (0, 3)]
    own = skill(tests[0][0], np.mean([probability for _, probability in tests], axis=0) >= 0.5)
    for baseline, of_baseline in (("climatology", 0), ("persistence", 2 / 6)):
        row = page.row(f"oTV minus {baseline}")
        assert float(row[1].split()[0]) == pytest.approx(own - of_baseline, abs=6e-4)
    with (tmp_path / "out" / "tables" / "48h-baseline-differences.csv").open() as file:
        assert {(row["first"], row["second"]) for row in csv.DictReader(file)} == set(pairs)


@pytest.mark.slow
def test_one_run_alone_has_no_differences(runs, tmp_path):
    page = Page(write(runs / "base", tmp_path))
    assert "Differences between runs: there is only one run for this task." in page.text
    assert "Differences from baselines: there is no baseline for this task and these test samples." in page.text
    assert "oTV minus base" not in page.text


def make_ensemble(days, label, harp, probability):
    times = np.datetime64("2014-01-01T00:00:00", "s") + np.array(days) * np.timedelta64(1, "D")
    rows = Predictions(
        sequence=tuple(f"sequence {number}" for number in range(len(days))),
        harp=np.array(harp),
        t_end_tai=times,
        view=(View.NF,) * len(days),
        label=np.array(label),
        probability=np.array(probability),
    )
    return IssuedForecast(
        name="base",
        fold=None,
        stage=Stage.TEST,
        samples=rows,
        probabilities={Probability.RAW: rows.probability},
        thresholds={ThresholdRule.HALF: 0.5, ThresholdRule.MAX_TSS: 0.3},
        climatology=0.25,
        reason=None,
    )


def test_flares_without_a_known_one_are_scored_apart_from_those_of_regions_that_were_known_to_flare():
    """At 24 h a day's label is known the next day: 7 flares on days 1, 2 and 4; 8 never."""
    ensemble = make_ensemble(
        days=[0, 1, 2, 3, 4, 0, 1, 2],
        label=[0, 1, 1, 0, 1, 0, 0, 0],
        harp=[7, 7, 7, 7, 7, 8, 8, 8],
        probability=[0.4, 0.2, 0.9, 0.8, 0.6, 0.7, 0.1, 0.1],
    )
    first, continuing = score_subsets(ensemble, M24)
    assert (str(first.subset), str(continuing.subset)) == ("no flare known from labels", "flare known from labels")
    assert first.scored
    assert continuing.scored
    # A flare is known on days 2 and 3 of region 7, after the flares of days 1 and 2: one hit, one false alarm.
    counts = continuing.scored.scores.table
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (1, 1, 0, 0)
    # Without: the flares of days 1, missed, and 4, hit; of four quiet times, one false alarm.
    counts = first.scored.scores.table
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (1, 1, 1, 3)
    assert first.scored.scores.interval(ScoreName.TSS).estimate == pytest.approx(1 / 2 - 1 / 4)
    threshold, interval = first.scored.chosen[ThresholdRule.MAX_TSS]
    assert threshold == 0.3
    assert interval.estimate == pytest.approx(1 / 2 - 2 / 4)
    assert set(first.scored.chosen) == {ThresholdRule.MAX_TSS}


@pytest.mark.slow
def test_a_test_set_without_a_known_flare_is_said_to_have_none(runs, tmp_path):
    """Six frames of 96 minutes are over before a label of 48 h is known."""
    page = Page(write(runs, tmp_path))
    assert page.row("oTV, no flare known from labels")[1] == "24"
    assert page.row("oTV, flare known from labels")[1:3] == ["0", "\u2013"]
    noted = re.findall(r"(oTV[^:\n]*): flare known from labels: no test sequence is of this kind", page.text)
    assert len(noted) == 1  # with the other forecasts that it holds for
    assert page.text.count("no test sequence is of this kind") == 1
    assert (
        "no flare known from labels: 6 positive samples, each of which may follow an earlier flare: 0 do by older "
        "labels, 6 have no label of their region that is known yet"
    ) in page.text
    assert "first flares:" not in page.text


@pytest.mark.slow
def test_a_flare_list_decides_which_flares_are_first(runs, catalogue, tmp_path):
    # The flare of HARP 601 is at 05:00 of the first day, before the last two of its six frames.
    page = Page(write(runs, tmp_path, options=replace(QUICK, catalogue=catalogue)))
    assert page.row("oTV, first flares")[1] == "22"
    assert page.row("oTV, later flares")[1] == "2"
    assert "known from labels:" not in page.text
    content = json.loads((tmp_path / "out" / "report.json").read_text())["tasks"]["M48"]
    assert {one["subset"] for one in content["subsets"]} == {"first flares", "later flares"}
    assert content["subset_note"].startswith("first flares: 4 positive samples; ")


# What is missing ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_region_that_one_horizon_tests_may_be_named(made, tmp_path, monkeypatch):
    monkeypatch.setattr("sffshards.report.figure_style._print", lambda canvas: {})
    runs = Path(shutil.copytree(made[1], tmp_path / "runs"))
    for path in runs.glob("24h/*/fold*/predictions-test.csv"):
        read = read_predictions(path)
        write_predictions(path, replace(read, harp=np.where(read.harp == 601, 604, read.harp)))
    write(runs, tmp_path, options=replace(QUICK, harps=(601, 603)))
    names = {path.name for path in (tmp_path / "out" / "figures").glob("*-harp-*")}
    assert names == {"24h-harp-603.svg", "48h-harp-601.svg", "48h-harp-603.svg"}
    with pytest.raises(InputError, match="`harps`: expected HARP numbers of a test set, found 5"):
        write(runs, tmp_path, options=replace(QUICK, harps=(601, 5)))


def test_film_strips_show_the_frames_that_lie_in_the_shards(made, report):
    sources = [a["src"] for a in Page(report).of("img")]
    assert sources
    picture = Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2])))
    assert picture.mode == "L"
    assert picture.size == (454, 454)  # four rows of four frames of 112 pixels, with gaps of two
    assert np.ptp(np.asarray(picture)) > 60


@pytest.mark.slow
def test_without_shards_the_page_says_so_and_names_the_sequences(runs, tmp_path):
    page = Page(write(runs, tmp_path, shards=[tmp_path / "none"]))
    assert not page.of("img")
    assert f"No film strips: there is no build in {tmp_path / 'none'}." in page.text
    assert "hmi.sharp_720s.60" in page.text


@pytest.mark.slow
def test_another_build_is_not_taken_for_the_runs_own(made, runs, tmp_path):
    page = Page(write(runs, tmp_path, shards=[made[0] / "24h"]))
    assert not page.of("img")
    assert f"the builds in {made[0] / '24h'} are not the one that the runs were trained on" in page.text


@pytest.mark.slow
def test_a_fold_without_predictions_is_left_out_and_named(runs, tmp_path):
    predictions_path(runs / "base" / "fold3", Stage.TEST).unlink()
    (runs / "oTV" / "fold0" / "metrics.csv").unlink()
    page = Page(write(runs, tmp_path))
    assert "4 of 5 folds of 48h base; 3 of 5 folds of 48h oTV." in page.text
    assert page.row("base")[1] == "1"
    assert page.row("base, 1 fold")
    assert "±" not in "".join(page.row("base"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "reason"),
    [(0, "POD, TSS undefined, as no flare came"), (1, "TSS undefined, as a flare came every time")],
)
def test_what_is_undefined_is_said_with_its_reason(runs, tmp_path, label, reason):
    relabel(runs, Stage.TEST, label)
    path = write(runs, tmp_path)
    page = Page(path)
    assert re.search(rf"base, 2 folds: {reason}", page.text)
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", path.read_text("utf-8"), flags=re.DOTALL).lower().split()
    assert page.row("base, ensemble")[1] == "undefined"
    assert page.row("base, ensemble")[7] == "undefined"
    content = json.loads((tmp_path / "out" / "report.json").read_text())["tasks"]["M48"]["forecasts"][0]
    assert content["scores"]["TSS"]["estimate"] is None


@pytest.mark.slow
def test_validation_without_flares_gives_no_chosen_threshold(runs, tmp_path):
    relabel(runs, Stage.VAL, 0)
    page = Page(write(runs, tmp_path))
    said = "2 folds: threshold 0.5 and no calibration, as the validation set has no samples with a flare"
    assert f"base, {said}" in page.text
    assert f"oTV, {said}" in page.text
    assert page.row("oTV, ensemble")[3] == "\u2013"
    assert "nothing was fitted" in page.text


@pytest.mark.slow
def test_synthetic_data_are_stated_and_not_compared_with_published_scores(made, runs, tmp_path):
    shards = tmp_path / "shards" / "48h"
    shutil.copytree(made[0] / "48h", shards)
    manifest = read_manifest(shards)
    synthetic = replace(manifest, inputs=replace(manifest.inputs, image_options={"source": "synthetic"}))
    (shards / "manifest.json").write_bytes(synthetic.to_bytes())
    for folder in runs.glob("*/fold*"):
        write_record(folder, replace(read_record(folder), manifest_sha256=synthetic.sha256))
    page = Page(write(runs, tmp_path, shards=[shards]))
    assert "Synthetic data. The images and labels were generated by sffshards synth." in page.text
    assert page.text.index("Synthetic data.") < page.text.index("At a glance")
    assert "published, oTV" not in page.text


def test_intervals_from_few_flaring_regions_are_not_estimable(report):
    """Two regions of the test set flare."""
    page = Page(report)
    assert page.row("oTV, ensemble")[1].split()[1:] == ["not", "estimable"]
    assert "Interval not estimable: only 2 regions have flares, and at least 5 are needed." in page.text
    markdown = (report.parent / "tables" / "48h-forecasts.md").read_text()
    assert re.search(r"\| oTV, ensemble \| \d\.\d{3} not estimable \|", markdown)


@pytest.mark.parametrize(
    ("own", "num_flaring", "reason"),
    [
        (None, 5, None),
        (None, 4, "only 4 regions have flares, and at least 5 are needed"),
        (None, 1, "only 1 region has flares, and at least 5 are needed"),
        ("a few regions have most of the flares", 40, "a few regions have most of the flares"),
    ],
)
def test_an_interval_is_estimable_if_it_has_ends_and_five_flaring_regions(own, num_flaring, reason):
    interval = Interval(estimate=0.5, low=0.1, high=0.9, level=0.95, reason=own)
    assert explain_inestimable(interval, num_flaring_harps=num_flaring) == reason


@pytest.mark.slow
def test_the_shown_run_is_not_justified_by_an_undefined_score(report, runs, tmp_path):
    assert "of 2 runs, the one with the highest TSS on validation" in Page(report).text
    relabel(runs, Stage.VAL, 0)
    page = Page(write(runs, tmp_path))
    assert "highest TSS" not in page.text
    assert "the first of 2 runs, as TSS on validation is undefined" in page.text


def test_tables_and_figures_come_in_the_formats_of_papers_and_are_listed(report):
    listed = json.loads((report.parent / "report.json").read_text())["files"]
    written = sorted(str(path.relative_to(report.parent)) for path in report.parent.rglob("*") if path.is_file())
    assert sorted([*listed, "report.json"]) == written
    for name in ("forecasts", "differences", "subsets", "sets", "shared-harps", "test-scores"):
        assert {f"tables/48h-{name}.md", f"tables/48h-{name}.tex"} <= set(listed)
    for suffix, start in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        assert (report.parent / "figures" / f"48h-roc{suffix}").read_bytes().startswith(start)


# Escaping, folders, errors ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_text_from_data_cannot_become_markup(runs, tmp_path):
    place = runs.rename(tmp_path / "<script>alert(1)&amp;")
    record = read_record(place / "base" / "fold0")
    write_record(place / "base" / "fold0", replace(record, versions={"<b>torch": '"2"'}))
    path = write(place, tmp_path)
    page = Page(path)
    assert not page.of("script")
    assert "<script>alert(1)&amp;" in page.text
    assert "<b>torch" in page.text


def test_text_from_data_is_escaped_in_markdown_and_latex():
    hostile = Table(
        name="t", title="a_b & <i>", header=("x|y", "[50%]"), rows=((Cell(text="<b>`"), Cell(text="{1}\\$2#")),)
    )
    markdown = format_markdown(hostile)
    assert markdown.splitlines() == [
        r"**a\_b \& \<i\>**",
        "",
        r"| x\|y | \[50%\] |",
        "| --- | --- |",
        r"| \<b\>\` | \{1\}\\$2\# |",
    ]
    latex = format_latex(hostile)
    assert r"\caption{a\_b \& \textless{}i\textgreater{}}" in latex
    assert r"x\textbar{}y & {[}50\%{]} \\" in latex
    assert r"\textless{}b\textgreater{}` & \{1\}\textbackslash{}\$2\# \\" in latex


@pytest.mark.slow
def test_a_report_takes_away_what_an_earlier_one_left_and_nothing_else(runs, tmp_path):
    write(runs, tmp_path)
    figures = tmp_path / "out" / "figures"
    assert (figures / "48h-harp-603.svg").is_file()
    (figures / "48h-harp-9999.svg").write_bytes(b"")
    (figures / "mine.png").write_bytes(b"")
    write(runs, tmp_path, options=replace(QUICK, harps=(601,)))
    names = {path.name for path in figures.iterdir()}
    assert {"48h-harp-601.svg", "48h-harp-9999.svg", "mine.png"} <= names
    assert "48h-harp-603.svg" not in names


@pytest.mark.parametrize("name", ["index.html", "report.json", "tables/48h-folds.csv", "figures"])
def test_a_file_that_no_report_wrote_is_not_written_over(tmp_path, name):
    theirs = tmp_path / "out" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text('{"mine": 1}')
    contents = {"index.html": b"page", "tables/48h-folds.csv": b"run,fold"}
    with pytest.raises(ConflictError, match=f"{name}: expected no file, or one that a report wrote, found a"):
        write_folder(tmp_path / "out", contents, describe_files)
    assert theirs.read_text() == '{"mine": 1}'
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [theirs]


@pytest.mark.parametrize("listed", [["../notes.txt"], ["figures/../../notes.txt"], [7], "figures", {"a": 1}])
def test_a_forged_list_of_files_takes_nothing_away(tmp_path, listed):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text(json.dumps({"files": listed}))
    with suppress(ConflictError):
        write_folder(tmp_path / "out", {"index.html": b"page"}, describe_files)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_report_that_was_broken_off_goes_on(tmp_path, monkeypatch):
    out, first, then = tmp_path / "out", {"index.html": b"1", "figures/48h-roc.png": b"1"}, {"index.html": b"2"}
    for step in range(6):
        write_folder(out, first, describe_files)
        calls = iter(range(6))

        def break_off(path, data, *, calls=calls, step=step):
            if next(calls) == step:
                raise KeyboardInterrupt
            write_atomic(path, data)

        monkeypatch.setattr("sffshards.report.report_folder.write_atomic", break_off)
        with suppress(KeyboardInterrupt):
            write_folder(out, then, describe_files)
        monkeypatch.undo()
        write_folder(out, then, describe_files)
        assert (out / "index.html").read_bytes() == b"2"
        assert not (out / "figures" / "48h-roc.png").exists()
        assert json.loads((out / "report.json").read_text())["files"] == ["index.html"]


def describe_files(names):
    return json.dumps({"files": list(names)}).encode()


def made_from(checkpoint, stages, sha256="cd" * 32):
    return PredictionsRecord(checkpoint=checkpoint, checkpoint_sha256=sha256, manifest_sha256="0" * 64, stages=stages)


@pytest.mark.parametrize("change", ["emptied", "a row less", "other outcomes", "record"])
def test_tables_that_were_changed_since_they_were_written_are_refused(runs, tmp_path, change):
    folder = runs / "base" / "fold0"
    best = read_record(folder).best
    assert best is not None
    stages = {stage: hash_file(predictions_path(folder, stage)) for stage in Stage}
    write_predictions_record(folder, made_from(best.name, stages))
    gather_runs(runs)
    path = predictions_path(folder, Stage.TRAIN)
    lines = path.read_text().splitlines(keepends=True)
    if change == "record":
        path = folder / "predictions.json"
    path.write_text(
        {
            "emptied": "",
            "a row less": "".join(lines[:-1]),
            "other outcomes": "".join(lines).replace(",1,", ",0,"),
            "record": "{}",
        }[change]
    )
    with pytest.raises(DamageError, match=f"{path.name}: expected .*sffshards evaluate .*48h/base`"):
        gather_runs(runs)


def test_a_changed_digit_in_the_table_of_epochs_is_noticed(runs):
    folder = runs / "base" / "fold0"
    path = folder / "metrics.csv"
    write_record(folder, replace(read_record(folder), metrics_sha256=hash_file(path)))
    gather_runs(runs)
    path.write_text(path.read_text().replace("0.9", "0.8", 1))
    with pytest.raises(
        DamageError, match=r"metrics\.csv: expected the table of epochs that run\.json describes, found an"
    ):
        gather_runs(runs)


def test_a_report_whose_record_was_changed_is_not_taken_for_one(tmp_path):
    write_folder(tmp_path, {"index.html": b"page"}, lambda names: format_json(seal({"files": list(names)})))
    check_folder(tmp_path)
    path = tmp_path / "report.json"
    path.write_text(path.read_text().replace("index", "inter"))
    with pytest.raises(ConflictError, match=r"report\.json: expected no file, or one that a report wrote"):
        check_folder(tmp_path)


def test_forecasts_of_an_earlier_checkpoint_are_refused(runs):
    folder = runs / "base" / "fold0"
    write_predictions_record(folder, made_from("sample-old.ckpt", {}))
    with pytest.raises(ConflictError, match=r"found those of sample-old\.ckpt.*`sffshards evaluate .*48h/base`"):
        gather_runs(runs)


@pytest.mark.slow
def test_tables_and_decisions_of_a_checkpoint_of_other_bytes_are_refused(runs, tmp_path):
    folder = runs / "base" / "fold0"
    stages = {stage: hash_file(predictions_path(folder, stage)) for stage in Stage}
    write_predictions_record(folder, made_from("best.ckpt", stages, sha256="0" * 64))
    with pytest.raises(ConflictError, match=r"expected predictions of the best checkpoint, best\.ckpt, found .* 0{16}"):
        write(runs, tmp_path)
    write_predictions_record(folder, made_from("best.ckpt", stages))
    decision = fit_decision(read_predictions(predictions_path(folder, Stage.VAL)), source_sha256="0" * 64)
    write_decision(folder, decision)
    with pytest.raises(ConflictError, match=r"decision\.json: expected .* SHA-256 cdcd.*; fit it again with"):
        write(runs, tmp_path)
    write_decision(folder, replace(decision, source_sha256="cd" * 32))
    write(runs, tmp_path)


@pytest.mark.slow
def test_a_path_that_is_not_text_is_shown_by_its_bytes(runs, tmp_path):
    odd = tmp_path / os.fsdecode(b"a\xff")
    runs.rename(odd)
    page = write_report(odd, odd / "report", shards=(), options=QUICK, progress=SILENT)
    assert "a\\udcff" in page.read_text("utf-8")


def test_runs_that_cannot_stand_side_by_side_are_refused(runs, tmp_path):
    folder = runs / "oTV" / "fold3"
    record = read_record(folder)
    write_record(folder, replace(record, manifest_sha256="0" * 64))
    with pytest.raises(ConflictError, match="expected a fold of the build .* found one of the build 000000000000"):
        write(runs, tmp_path)
    write_record(folder, replace(record, options=replace(record.options, seed=7)))
    with pytest.raises(ConflictError, match="with seed 123, found seed 7"):
        write(runs, tmp_path)
    write_record(folder, record)
    path = predictions_path(folder, Stage.TEST)
    read = read_predictions(path)
    write_predictions(path, replace(read, t_end_tai=read.t_end_tai + np.timedelta64(1, "h")))
    with pytest.raises(ConflictError, match="oTV, fold 3, test set: expected the samples and labels of fold 0"):
        write(runs, tmp_path)
    assert not (tmp_path / "out").exists()


def test_bad_input_is_one_line(runs, tmp_path):
    with pytest.raises(InputError, match="expected HARP numbers of a test set, found 5"):
        write(runs, tmp_path, options=replace(QUICK, harps=(5,)))
    (runs / "base" / "fold0" / "metrics.csv").write_text("epoch,train_loss,valid_loss\n0,x,1\n")
    with pytest.raises(InputError, match="metrics.csv:2: expected a row of a table of epochs"):
        write(runs, tmp_path)
    for path in runs.glob("*/fold*/predictions-val.csv"):
        path.unlink()
    (runs / "base" / "fold0" / "metrics.csv").unlink()
    with pytest.raises(InputError, match="expected predictions of at least one fold"):
        write(runs, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_runs_of_a_variant_are_told_apart_by_their_folders(runs, tmp_path):
    shutil.copytree(runs / "base", runs / "again")
    page = Page(write(runs, tmp_path))
    assert f"base ({runs / 'again'}), ensemble" in page.text
    assert f"base ({runs / 'base'}), ensemble" in page.text
    assert {v for v in Variant if f"{v}, ensemble" in page.text} == {Variant.OTV}


# The command --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_writes_the_page_and_says_where(made, tmp_path):
    runs = Path(shutil.copytree(made[1] / "48h", tmp_path / "48h"))
    add_baselines(made, runs)
    (tmp_path / "flares.csv").write_text("start_time,label,noaa_ar\n2011-02-14 05:00,M1.0,11429\n")
    (tmp_path / "map.txt").write_text("601 11429\n")
    options = ["--flares", "flares.csv", "--harp-map", "map.txt", "--clock", "tai"]
    where = ["--shards", made[0]]
    done = run("report", runs / "base", *where, "--harps", "601,603", *options, cwd=tmp_path)
    assert done.stdout == "report/index.html\n"
    assert "flares.csv: 1 flare, 1 of M1.0 and above" in done.stderr
    page = Page(tmp_path / "report" / "index.html")
    assert page.of("img")
    assert "HARP 603" in page.text
    assert page.row("base minus persistence")  # which is beside the run
    assert "oTV, ensemble" not in page.text
    assert (tmp_path / "report" / "figures" / "48h-roc.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none"], "none: expected a run, .* found no such folder"),
        ([".", "--harps", "1,x"], "--harps: expected HARP numbers with commas between them, found '1,x'"),
        ([".", "--shards", "none"], "none: expected a build"),
        ([".", "--flares", "f.csv"], "--harp-map: expected both --flares and --harp-map, found no --harp-map"),
    ],
)
def test_the_command_fails_in_one_line(tmp_path, arguments, said):
    assert re.search(said, error_of("report", *arguments, cwd=tmp_path))
    assert not (tmp_path / "report").exists()


# Runs that no network made --------------------------------------------------------------------------------------------


def rows_of(out, name):
    return list(csv.DictReader((out / "tables" / name).read_text().splitlines()))


@pytest.mark.slow
def test_runs_of_every_kind_stand_in_every_table_and_figure(runs, tmp_path):
    write_other_runs(runs / "oTV")
    page = Page(write(runs, tmp_path))
    tables = tmp_path / "out"
    named = ["persistence", "ASAP", "regression", "base", "oTV"]
    assert {row["run"] for row in rows_of(tables, "48h-reliability.csv")} == set(named)
    assert {row["run"] for row in rows_of(tables, "48h-thresholds.csv")} == set(named)
    assert {row["run"] for row in rows_of(tables, "48h-sets.csv")} == set(named)
    pairs = {(row["first"], row["second"]) for row in rows_of(tables, "48h-differences.csv")}
    assert pairs == {(first, second) for number, second in enumerate(named) for first in named[1:number]}
    of_baselines = {(row["first"], row["second"]) for row in rows_of(tables, "48h-baseline-differences.csv")}
    assert of_baselines == {("persistence", second) for second in named[1:]}
    assert {row["forecast"] for row in rows_of(tables, "48h-forecasts.csv")} == {
        *("persistence", "ASAP, ensemble", "regression, ensemble", "base, ensemble", "oTV, ensemble"),
    }
    for name in named:
        assert page.text.count(f"{name}, no flare known from labels") >= 1
    assert "ASAP, 2 folds: threshold 0.5 and no calibration, as there are no forecasts of the validation" in page.text
    assert "ASAP: no forecasts of this set, as the table has no times of this set." in page.text
    assert "Shown: persistence" not in page.text
    assert "of 4 runs other than baselines, the one with the highest TSS on validation" in page.text
    assert "no network" not in page.text
    assert "48h regression: 17 SHARP keywords, last frame, protocol paper, 2 folds" in page.text
    assert "ASAP.csv (SHA-256 abababababababab)" in page.text
    assert "tolerance minutes 96" in page.text
    test = read_predictions(predictions_path(runs / "regression" / "fold0", Stage.TEST))
    auc = metrics.roc_auc_score(test.label, test.probability)
    assert page.row("regression, ensemble")[7].split()[0] == f"{auc:.3f}"
    described = json.loads((tables / "report.json").read_text())["runs"]
    assert [run["kind"] for run in described] == ["baseline", "imported", "keywords", "network", "network"]


@pytest.mark.slow
def test_a_report_needs_no_network(made, runs, tmp_path):
    for folder in write_other_runs(runs / "oTV"):
        shutil.move(folder, tmp_path / "others" / folder.name)
    page = Page(write(tmp_path / "others", tmp_path, shards=[made[0]]))
    assert page.of("img")  # strips, though the runs name no sequence and no build
    assert "It provides the film strips. No run was trained on it." in page.text
    assert "Loss by epoch" not in page.text
    shutil.move(tmp_path / "others" / "ASAP", tmp_path / "alone" / "ASAP")  # else it has the baselines beside it
    page = Page(write(tmp_path / "alone", tmp_path, shards=[made[0] / "24h"]))
    assert not page.of("img")
    assert f"no build in {made[0] / '24h'} has all the sequences that are shown" in page.text
    assert "it is not known which test regions are also there" in page.text


def test_a_run_is_a_baseline_only_if_it_says_so(runs):
    write_other_runs(runs / "oTV")
    for folder in (runs / "ASAP" / "fold0", runs / "ASAP" / "fold3"):
        record = read_any_record(folder)
        assert isinstance(record, ForecastRecord)
        write_forecast_record(folder, replace(record, name="persistence"))
    shutil.rmtree(runs / "persistence")
    content = compute_content(gather_runs(runs), M48, QUICK)
    assert [one.baseline for one in content.forecasts] == [None] * 4
    assert content.persistence is None
    assert not content.baseline_differences


def test_persistence_at_a_glance_is_of_the_samples_of_the_shown_run(runs):
    write_other_runs(runs / "oTV")
    content = compute_content(gather_runs(runs), M48, QUICK)
    number = [str(one.baseline) for one in content.forecasts].index("persistence")
    assert content.persistence is content.forecasts[number]
    ensembles, samples = list(content.ensembles), content.ensembles[number].samples
    ensembles[number] = replace(ensembles[number], samples=replace(samples, harp=samples.harp + 1))
    assert replace(content, ensembles=tuple(ensembles)).persistence is None
