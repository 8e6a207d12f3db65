"""Verification of a run's folds and their ensemble, and differences between runs, from tables without a network."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from sffshards.base.errors import ConflictError
from sffshards.cli.score_output import format_comparisons, format_differences, format_side_by_side, format_verification
from sffshards.domain.sample_sets import Protocol, Stage, Variant
from sffshards.domain.task import M24, M48, Task
from sffshards.domain.views import View
from sffshards.flares import FlareTime, FrameClock, HarpFlares, assign_flares, read_flare_list, read_harp_map
from sffshards.forecasting.runs.decision import fit_decision
from sffshards.forecasting.runs.fold_ensemble import IssuedForecast, Probability, combine_folds, issue_forecast
from sffshards.forecasting.runs.forecast_record import ForecastRecord, RunKind
from sffshards.forecasting.runs.predictions_table import Predictions
from sffshards.forecasting.runs.run_comparison import compare_runs, write_comparisons
from sffshards.forecasting.runs.run_fold import RunFold
from sffshards.forecasting.runs.run_folders import Run
from sffshards.forecasting.runs.run_scores import RunScores
from sffshards.forecasting.runs.run_verification import (
    RunVerification,
    describe_verification,
    verify_forecasts,
    write_verification,
)
from sffshards.forecasting.runs.sample_subsets import Subset, explain_subsets, find_subsets
from sffshards.training.fold_record import FoldRecord
from sffshards.verification.forecast_scores import ForecastScores
from sffshards.verification.score_names import ProbabilityScore, ScoreName
from sffshards.verification.threshold_curves import ThresholdRule
from tests.training_data import fast_options

NUM_HARPS, PER_HARP = 40, 12
NF = View.NF


def samples(seed: int, labels: NDArray[np.int64], *, skill: float = 2.0) -> Predictions:
    """A sample every 12 hours of each of 40 regions."""
    random = np.random.default_rng(seed)
    harp = np.repeat(np.arange(NUM_HARPS) + 1, PER_HARP)
    time = np.tile(np.arange(PER_HARP), NUM_HARPS) * np.timedelta64(12, "h")
    return Predictions(
        sequence=tuple(f"{h} {t}" for h, t in zip(harp.tolist(), time.tolist(), strict=True)),
        harp=harp,
        t_end_tai=np.datetime64("2012-03-06T00:00:00", "s") + time,
        view=(NF,) * len(harp),
        label=labels,
        probability=1 / (1 + np.exp(-skill * (labels - 0.5) + 1 + random.normal(0, 1, len(harp)))),
    )


def draw_labels(seed: int) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    flaring = np.repeat(random.random(NUM_HARPS) < 0.4, PER_HARP)
    return (flaring & (random.random(len(flaring)) < 0.5)).astype(np.int64)


def issue(seed: int, *, num_folds: int = 3, skill: float = 2.0, quiet: tuple[int, ...] = ()) -> list[IssuedForecast]:
    """Validation and test of each fold; the validation sets of quiet folds have no flare."""
    test_labels = draw_labels(1)
    issued = []
    for fold in range(num_folds):
        labels = np.zeros_like(test_labels) if fold in quiet else draw_labels(100 + fold)
        val = samples(10 * seed + fold, labels, skill=skill)
        decision = fit_decision(val, source_sha256="0" * 64)
        test = samples(1000 * seed + fold, test_labels, skill=skill)
        for stage, table in ((Stage.VAL, val), (Stage.TEST, test)):
            issued.append(issue_forecast(table, decision, fold=fold, stage=stage, climatology=0.1 + fold / 100))
    return issued


def run_scores(
    run: Path, issued: list[IssuedForecast], *, task: Task = M24, flares: HarpFlares | None = None
) -> RunScores:
    record = FoldRecord(
        task=task,
        fold=0,
        manifest_sha256="ab" * 32,
        weights_sha256=None,
        options=fast_options(variant=Variant.OT, protocol=Protocol.PAPER),
        class_counts={},
        versions={},
    )
    folds = (RunFold(folder=run / "fold0", record=record),)
    described = Run(folder=run, name="oT", folds=folds)
    return RunScores(run=described, stages=(), summary=(), verification=verify(issued, task=task, flares=flares))


def verify(issued: list[IssuedForecast], *, task: Task = M24, flares: HarpFlares | None = None) -> RunVerification:
    return verify_forecasts(issued, name="oT", task=task, flares=flares)


def find(
    verified: RunVerification,
    *,
    fold: int | None,
    stage: Stage,
    subset: Subset,
    probability: Probability,
    rule: ThresholdRule,
) -> ForecastScores:
    """The scores of a forecast."""
    key = fold, stage, subset, probability, rule
    (found,) = (
        of.scores for of in verified.forecasts if (of.fold, of.stage, of.subset, of.probability, of.rule) == key
    )
    return found


def test_scores_are_those_of_scikit_learn_at_the_thresholds_of_validation() -> None:
    issued = issue(1)
    verified = verify(issued)
    for one in issued:
        for rule in ThresholdRule:
            found = find(
                verified, fold=one.fold, stage=one.stage, subset=Subset.ALL, probability=Probability.RAW, rule=rule
            )
            called = one.samples.probability >= one.thresholds[rule]
            expected = metrics.balanced_accuracy_score(one.samples.label, called, adjusted=True)
            interval = found.interval(ScoreName.TSS)
            assert interval.estimate == pytest.approx(expected, abs=1e-12)
            assert interval.low < interval.estimate < interval.high
            auc = metrics.roc_auc_score(one.samples.label, one.samples.probability)
            assert found.interval(ProbabilityScore.ROC_AUC).estimate == pytest.approx(auc, abs=1e-12)


def test_calibrated_probabilities_are_scored_as_such_and_called_at_half() -> None:
    issued = issue(2)
    verified = verify(issued)
    test = next(one for one in issued if one.stage is Stage.TEST)
    reference = metrics.brier_score_loss(test.samples.label, np.full(len(test.samples), test.climatology))
    for probability in (Probability.PLATT, Probability.ISOTONIC):
        found = find(
            verified, fold=0, stage=Stage.TEST, subset=Subset.ALL, probability=probability, rule=ThresholdRule.HALF
        )
        assert found.threshold == 0.5
        own = metrics.brier_score_loss(test.samples.label, test.probabilities[probability])
        assert found.interval(ProbabilityScore.BRIER_SKILL).estimate == pytest.approx(1 - own / reference, abs=1e-12)


def test_the_ensemble_is_the_mean_of_probabilities_thresholds_and_climatologies() -> None:
    tests = [one for one in issue(3) if one.stage is Stage.TEST]
    ensemble = combine_folds(tests, name="oT")
    for probability in Probability:
        mean = sum(one.probabilities[probability] for one in tests) / 3
        np.testing.assert_allclose(ensemble.probabilities[probability], mean, atol=1e-15)
    for rule in ThresholdRule:
        assert ensemble.thresholds[rule] == pytest.approx(sum(one.thresholds[rule] for one in tests) / 3)
    assert ensemble.climatology == pytest.approx(0.11)
    assert (ensemble.fold, ensemble.num_folds) == (None, 3)
    other = replace(tests[1], samples=replace(tests[1].samples, label=1 - tests[1].samples.label))
    with pytest.raises(ConflictError, match="the samples and labels of fold 0"):
        combine_folds([tests[0], other], name="oT")


def test_a_flare_is_known_from_labels_a_horizon_after_a_positive_one() -> None:
    # Every 12 hours, horizon 24 hours: the label of two samples before is the latest that is known.
    labels = np.zeros(NUM_HARPS * PER_HARP, np.int64)
    labels[[3, 4]] = 1  # of the first region
    labels[PER_HARP - 1] = 1  # its last, which nothing follows
    labels[2 * PER_HARP] = 1  # of the third region
    known = find_subsets(samples(1, labels), task=M24)[Subset.KNOWN]
    assert np.flatnonzero(known).tolist() == [5, 6, 2 * PER_HARP + 2]


def catalogue(tmp_path: Path, rows: list[str], regions: str) -> HarpFlares:
    (tmp_path / "flares.csv").write_text("\n".join(["start_time,peak_time,goes_class,noaa_ar", *rows]))
    (tmp_path / "harps.txt").write_text(regions)
    return assign_flares(
        read_flare_list(tmp_path / "flares.csv"),
        read_harp_map(tmp_path / "harps.txt"),
        flare_time=FlareTime.START,
        clock=FrameClock.AS_WRITTEN,
    )


def test_first_flares_are_those_before_which_the_flare_list_has_none(tmp_path: Path) -> None:
    # Samples of HARPs 1 to 40 at 2012-03-06 00:00, 12:00 and so on; HARPs 1 to 39 are in the map.
    flares = catalogue(
        tmp_path,
        [
            "2012-03-01 00:00,2012-03-01 00:10,C9.9,11001",  # too weak
            "2012-03-07 00:00,2012-03-07 00:10,M1.0,11001",  # of HARP 1, at the time of its third sample
            "2012-02-20 00:00,2012-02-20 00:10,X1.0,11002",  # of HARP 2, before its labels begin
            "2012-03-11 00:01,2012-03-11 00:10,M1.0,11003",  # of HARP 3, a minute after its last but one sample
        ],
        "\n".join(f"{harp} {11000 + harp}" for harp in range(1, NUM_HARPS)),
    )
    labels = np.zeros(NUM_HARPS * PER_HARP, np.int64)
    labels[[0, 1, 4, PER_HARP, 2 * PER_HARP + 9, NUM_HARPS * PER_HARP - 1]] = 1
    found = find_subsets(samples(1, labels), task=M24, flares=flares)
    later = [*range(2, PER_HARP), *range(PER_HARP, 2 * PER_HARP), 3 * PER_HARP - 1]
    assert np.flatnonzero(found[Subset.LATER]).tolist() == later
    assert (found[Subset.FIRST] == ~found[Subset.LATER]).all()
    note = explain_subsets(samples(1, labels), task=M24, flares=flares)
    assert note == (
        f"first flares: 4 positive samples; nothing is known of 1 (HARP not in {tmp_path / 'harps.txt'}) and of 1 "
        f"(outside the time of {tmp_path / 'flares.csv'}), which count as first flares"
    )


def test_a_note_says_how_many_flares_without_a_known_one_may_not_be_first() -> None:
    # Every 12 hours, horizon 24 hours: a label is known two samples later.
    labels = np.zeros(NUM_HARPS * PER_HARP, np.int64)
    labels[[0, 1]] = 1  # no label of HARP 1 is known yet
    labels[[PER_HARP + 2, PER_HARP + 8]] = 1  # of HARP 2: none known, and one known that older labels show
    note = explain_subsets(samples(1, labels), task=M24)
    assert note.startswith(
        "no flare known from labels: 4 positive samples, each of which may follow an earlier flare: 1 do by older "
        "labels, 2 have no label of their region that is known yet, and 1 do if the region flared before its labels"
    )


@pytest.mark.slow
def test_evaluation_with_a_flare_list_scores_its_subsets(tmp_path: Path) -> None:
    flares = catalogue(tmp_path, ["2012-03-08 00:00,,M1.0,11001"], "1 11001\n2 11002\n")
    scores = run_scores(tmp_path, issue(4), flares=flares)
    described = describe_verification(scores)
    assert list(described["subsets"]) == ["all", "first flares", "later flares"]
    assert described["subset_note"].startswith("first flares: ")
    assert described["subset_note"] in format_verification(scores)
    without = describe_verification(run_scores(tmp_path, issue(4)))
    assert list(without["subsets"]) == ["all", "no flare known from labels", "flare known from labels"]


def test_samples_with_and_without_a_known_flare_make_up_the_test_set() -> None:
    verified = verify(issue(4))
    tables = {}
    for subset in (Subset.ALL, Subset.NONE_KNOWN, Subset.KNOWN):
        found = find(
            verified,
            fold=None,
            stage=Stage.TEST,
            subset=subset,
            probability=Probability.RAW,
            rule=ThresholdRule.MAX_TSS,
        )
        tables[subset] = found.table
    for count in ("tp", "fp", "fn", "tn"):
        parts = getattr(tables[Subset.NONE_KNOWN], count) + getattr(tables[Subset.KNOWN], count)
        assert getattr(tables[Subset.ALL], count) == parts
    assert tables[Subset.NONE_KNOWN].num_positive > 0
    assert tables[Subset.KNOWN].num_positive > 0


def test_mean_and_deviation_are_over_the_folds_and_not_the_ensemble() -> None:
    issued = issue(5)
    verified = verify(issued)
    values = [
        metrics.cohen_kappa_score(one.samples.label, one.samples.probability >= 0.5)
        for one in issued
        if one.stage is Stage.TEST
    ]
    summary = next(
        one
        for one in verified.summary
        if (one.stage, one.subset, one.probability, one.rule, one.score)
        == (Stage.TEST, Subset.ALL, Probability.RAW, ThresholdRule.HALF, ScoreName.HSS)
    )
    assert summary.num_defined == 3
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.deviation == pytest.approx(np.std(values, ddof=1))


def test_what_a_fold_without_flares_in_validation_lacks_is_left_out_with_the_reason(tmp_path: Path) -> None:
    scores = run_scores(tmp_path, issue(6, quiet=(1,)))
    left_out = [one for one in scores.verification.left_out if one.stage is Stage.TEST and one.subset is Subset.ALL]
    assert {(one.fold, one.probability, one.rule) for one in left_out} == {
        (1, Probability.RAW, ThresholdRule.MAX_TSS),
        (1, Probability.RAW, ThresholdRule.MAX_HSS),
        (1, Probability.PLATT, ThresholdRule.HALF),
        (1, Probability.ISOTONIC, ThresholdRule.HALF),
    }
    assert {one.reason for one in left_out} == {"the validation set has no samples with a flare"}
    # The ensemble's calibrated probabilities take the raw ones of that fold; its thresholds are of the other two.
    tests = [one for one in issue(6, quiet=(1,)) if one.stage is Stage.TEST]
    mixed = (
        tests[0].probabilities[Probability.PLATT]
        + tests[1].samples.probability
        + tests[2].probabilities[Probability.PLATT]
    )
    ensemble = scores.verification.ensemble
    np.testing.assert_allclose(ensemble.probabilities[Probability.PLATT], mixed / 3, atol=1e-15)
    mean = (tests[0].thresholds[ThresholdRule.MAX_TSS] + tests[2].thresholds[ThresholdRule.MAX_TSS]) / 2
    assert ensemble.thresholds[ThresholdRule.MAX_TSS] == pytest.approx(mean)
    undefined = next(
        one
        for one in describe_verification(scores)["forecasts"]
        if (one["fold"], one["stage"], one["rule"]) == (1, "val", "0.5")
    )
    assert undefined["scores"]["TSS"]["estimate"] is None
    assert undefined["undefined"]["TSS"] == undefined["undefined"]["AUC"] == "no flare came"
    lines = [line for line in format_verification(scores).splitlines() if "the validation set has" in line]
    subsets = "all, no flare known from labels, flare known from labels"
    assert lines == [
        f"  fold 1 ({subsets}): no max TSS, max HSS, Platt, isotonic: the validation set has no samples with a flare"
    ]


def test_a_run_without_any_flare_is_verified_as_far_as_that_goes(tmp_path: Path) -> None:
    quiet = issue(6, quiet=(0, 1, 2))
    none = np.zeros(NUM_HARPS * PER_HARP, np.int64)
    issued = [replace(one, samples=replace(one.samples, label=none)) for one in quiet]
    scores = run_scores(tmp_path, issued)
    write_verification(scores)
    content = json.loads((tmp_path / "verification.json").read_text())
    nothing = [one for one in content["left_out"] if one["subset"] == "flare known from labels"]
    assert {one["reason"] for one in nothing} == {"there are no such samples"}
    text = format_verification(scores)
    # What all folds and all subsets lack for one reason is one line.
    assert text.count("the validation set has no samples with a flare") == 1
    assert "  fold 0, fold 1, fold 2, ensemble (all, " in text
    assert text.count("TSS, AUC undefined: no flare came") == 1
    assert "HSS, BSS without an interval: no flare came" in text


def test_verification_is_written_for_programs_and_people(tmp_path: Path) -> None:
    scores = run_scores(tmp_path, issue(7))
    write_verification(scores)
    content = json.loads((tmp_path / "verification.json").read_text())
    assert (content["format_version"], content["task"], content["variant"], content["num_folds"]) == (
        3,
        "M24",
        "oT",
        3,
    )
    keys = [(f["fold"], f["stage"], f["subset"], f["probability"], f["rule"]) for f in content["forecasts"]]
    # A fold: 5 of validation, 15 of test; the ensemble: 15.
    assert len(keys) == len(set(keys)) == 3 * 20 + 15
    assert set(content["forecasts"][0]["scores"]) == {*ScoreName, *ProbabilityScore}
    assert content["level"] == 0.95
    rows = list(csv.DictReader((tmp_path / "verification.csv").read_text().splitlines()))
    assert len(rows) == len(keys) * (len(ScoreName) + len(ProbabilityScore))
    of = {tuple(row[name] for name in ("fold", "stage", "subset", "probability", "rule", "score")): row for row in rows}
    row = of["ensemble", "test", "all", "raw", "max HSS", "HSS"]
    forecast = content["forecasts"][keys.index(("ensemble", "test", "all", "raw", "max HSS"))]
    for column in ("estimate", "low", "high"):
        assert float(row[column]) == forecast["scores"]["HSS"][column]
    assert float(row["threshold"]) == forecast["threshold"]


@pytest.mark.slow
def test_runs_of_the_same_test_samples_are_compared_and_the_better_shows(tmp_path: Path) -> None:
    good = run_scores(tmp_path / "24h" / "oT", issue(1, skill=4.0))
    poor = run_scores(tmp_path / "24h" / "base", issue(2, skill=0.5))
    other = run_scores(tmp_path / "48h" / "oT", issue(3), task=M48)
    compared = compare_runs([good, poor, other])
    comparisons = compared.between
    assert compared.from_baselines == []
    assert {(one.first.name, one.second.name) for one in comparisons} == {("oT", "base")}
    found = {(one.compared.probability, one.compared.rule, one.compared.score): one.difference for one in comparisons}
    assert len(found) == 8
    difference = found[Probability.RAW, ThresholdRule.MAX_TSS, ScoreName.TSS]
    tss = [
        metrics.balanced_accuracy_score(
            e.samples.label,
            e.probabilities[Probability.RAW] >= e.thresholds[ThresholdRule.MAX_TSS],
            adjusted=True,
        )
        for e in (good.verification.ensemble, poor.verification.ensemble)
    ]
    assert difference.estimate == pytest.approx(tss[1] - tss[0], abs=1e-12)
    assert found[Probability.PLATT, None, ProbabilityScore.BRIER_SKILL].high < 0
    assert write_comparisons(compared) == [tmp_path / "24h"]
    content = json.loads((tmp_path / "24h" / "comparisons.json").read_text())
    assert (content["format_version"], len(content["comparisons"])) == (4, 8)
    assert len((tmp_path / "24h" / "comparisons.csv").read_text().splitlines()) == 9
    assert format_comparisons(comparisons).count("*") > 1


def issue_known(seed: int, *, num_folds: int = 3) -> tuple[list[IssuedForecast], NDArray[np.int64]]:
    """Persistence of the samples of `issue`, and what it forecasts for the test set."""

    def find_known(table: Predictions) -> NDArray[np.int64]:
        # A label is known 24 hours, two samples, later.
        first = table.t_end_tai < table.t_end_tai[0] + np.timedelta64(24, "h")
        return np.where(first, 0, np.roll(table.label, 2))

    issued, tests = [], []
    for one in issue(seed, num_folds=num_folds):
        table = replace(one.samples, probability=find_known(one.samples).astype(float))
        if one.stage is Stage.VAL:
            decision = fit_decision(table, source_sha256="0" * 64)
        else:
            tests.append(find_known(one.samples))
        issued.append(issue_forecast(table, decision, fold=one.fold or 0, stage=one.stage, climatology=one.climatology))
    return issued, tests[0]


def baseline_scores(run: Path, issued: list[IssuedForecast]) -> RunScores:
    """Scores of a run that is recorded as a baseline."""
    record = ForecastRecord(
        kind=RunKind.BASELINE,
        name="persistence",
        description="earlier labels",
        task=M24,
        fold=0,
        protocol=Protocol.PAPER,
        climatology=0.1,
    )
    described = Run(folder=run, name="persistence", folds=(RunFold(folder=run / "fold0", record=record),))
    return RunScores(run=described, stages=(), summary=(), verification=verify(issued))


def test_a_run_is_compared_with_every_baseline(tmp_path: Path) -> None:
    issued, known = issue_known(1)
    baseline = baseline_scores(tmp_path / "24h" / "persistence", issued)
    runs = [run_scores(tmp_path / "24h" / name, issue(seed, skill=4.0)) for seed, name in enumerate(("oT", "base"))]
    for one in (baseline, *runs):
        one.run.folder.mkdir(parents=True)
    compared = compare_runs([baseline, *runs])
    assert {(one.first.name, one.second.name) for one in compared.between} == {("oT", "base")}
    assert {(one.first.name, one.second.name) for one in compared.from_baselines} == {
        *(("persistence", "oT"), ("persistence", "base"))
    }
    found = {
        (one.compared.probability, one.compared.rule, one.compared.score): one.difference
        for one in compared.from_baselines
        if one.second.name == "oT"
    }
    ensemble = runs[0].verification.ensemble
    label = ensemble.samples.label
    for rule in ThresholdRule:
        called = ensemble.samples.probability >= ensemble.thresholds[rule]
        by_run, by_baseline = (metrics.balanced_accuracy_score(label, of, adjusted=True) for of in (called, known))
        difference = found[Probability.RAW, rule, ScoreName.TSS]
        assert difference.estimate == pytest.approx(by_run - by_baseline, abs=1e-12)
        assert difference.low < difference.estimate < difference.high
    reference = metrics.brier_score_loss(label, np.full(len(label), ensemble.climatology))
    errors = [metrics.brier_score_loss(label, of) for of in (known, ensemble.samples.probability)]
    difference = found[Probability.RAW, None, ProbabilityScore.BRIER_SKILL]
    assert difference.estimate == pytest.approx((errors[0] - errors[1]) / reference, abs=1e-12)
    # Baselines are compared with each other only where there is nothing else.
    assert len(compare_runs([baseline, baseline]).between) == 8
    folders = write_comparisons(compared)
    assert set(folders) == {tmp_path / "24h", tmp_path / "24h" / "oT", tmp_path / "24h" / "base"}
    rows = list(csv.DictReader((tmp_path / "24h" / "oT" / "comparisons.csv").read_text().splitlines()))
    assert {row["first"] for row in rows} == {str(tmp_path / "24h" / "persistence")}
    assert {row["second"] for row in rows} == {str(tmp_path / "24h" / "oT")}
    shown = format_differences(compared.from_baselines).splitlines()
    assert len(shown) == 2 + 2
    assert shown[2].split("  ")[1] == f"{tmp_path / '24h' / 'oT'} - {tmp_path / '24h' / 'persistence'}"
    without = replace(compared.between[0].difference, low=math.nan, high=math.nan, reason="no flare came")
    shown = format_differences([replace(one, difference=without) for one in compared.from_baselines]).splitlines()
    assert shown[4:] == ["  [no interval]: no flare came"]
    side_by_side = format_side_by_side([baseline, *runs]).splitlines()
    assert [line.split("  ")[1] for line in side_by_side[2:]] == [str(one.run.folder) for one in (baseline, *runs)]
    tss = metrics.balanced_accuracy_score(label, ensemble.samples.probability >= 0.5, adjusted=True)
    assert f"  {tss:.3f} [" in side_by_side[3]


@pytest.mark.slow
def test_runs_of_other_samples_are_not_compared(tmp_path: Path) -> None:
    issued = issue(1)
    other = [
        replace(one, samples=replace(one.samples, t_end_tai=one.samples.t_end_tai + np.timedelta64(1, "h")))
        for one in issued
    ]
    compared = compare_runs([run_scores(tmp_path / "a", issued), run_scores(tmp_path / "b", other)])
    assert compared.every == []
    assert write_comparisons(compared) == []


def test_the_table_shows_ensemble_and_folds_for_every_rule(tmp_path: Path) -> None:
    text = format_verification(run_scores(tmp_path, issue(8)))
    lines = text.splitlines()
    assert "ensemble of 3 folds, 95 % intervals by HARP" in lines[0]
    assert lines[1].split() == ["probability", "threshold", "TSS", "HSS", "BSS", "AUC"]
    assert sum(" ensemble " in line for line in lines[2:]) == 5
    assert sum(" folds " in line for line in lines[2:]) == 5
    assert sum(line.startswith("  no flare known from labels (") for line in lines) == 2
    assert sum(line.startswith("  flare known from labels (") for line in lines) == 2


# The published lists -------------------------------------------------------------------------------------------------


def read_strong(path: Path) -> dict[int, list[datetime]]:
    """Starts of the flares of class M and X of each NOAA region, read without the package."""
    found: dict[int, list[datetime]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            if row["label"][0] in "MX" and row["noaa_ar"] not in ("", "0"):
                start = datetime.fromisoformat(row["start_time"].replace("/", "-"))
                found.setdefault(int(float(row["noaa_ar"])), []).append(start)
    return found


def read_regions(path: Path) -> dict[int, set[int]]:
    rows = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line[:1].isdigit()]
    return {int(harp): {int(number) for number in re.findall(r"\d+", regions)} for harp, regions in rows}


@pytest.mark.realdata
@pytest.mark.parametrize(("task", "num_called", "num_later", "by_labels"), [(M24, 161, 89, 31), (M48, 286, 154, 0)])
def test_most_flares_that_labels_call_first_follow_an_earlier_one(
    real_data: Path, task: Task, num_called: int, num_later: int, by_labels: int
) -> None:
    strong = read_strong(real_data / "catalog" / "flares_2010_2025.csv")
    regions = read_regions(real_data / "catalog" / "harp_to_noaa.txt")
    text = (real_data / "labels" / task.name / task.list_name("Test")).read_text()
    rows = [re.fullmatch(r"hmi\.sharp_720s\.(\d+)\.(\d{8}_\d{6})\S* ([01])", line) for line in text.splitlines()]
    found = [(int(row[1]), datetime.strptime(row[2], "%Y%m%d_%H%M%S"), int(row[3])) for row in rows if row]
    assert len(found) == 9_384
    labels = np.array([label for *_, label in found])
    test = Predictions(
        sequence=tuple(f"{harp} {time}" for harp, time, _ in found),
        harp=np.array([harp for harp, *_ in found]),
        t_end_tai=np.array([time for _, time, _ in found], "datetime64[s]"),
        view=(NF,) * len(found),
        label=labels,
        probability=np.zeros(len(found)),
    )
    called = find_subsets(test, task=task)[Subset.NONE_KNOWN] & (labels == 1)
    starts = {harp: sorted(t for region in regions.get(harp, ()) for t in strong.get(region, ())) for harp, *_ in found}
    later = np.array([bool(starts[harp]) and starts[harp][0] <= time for harp, time, _ in found])
    assert (int(called.sum()), int((called & later).sum())) == (num_called, num_later)
    flares = assign_flares(
        read_flare_list(real_data / "catalog" / "flares_2010_2025.csv"),
        read_harp_map(real_data / "catalog" / "harp_to_noaa.txt"),
        flare_time=FlareTime.START,
        clock=FrameClock.AS_WRITTEN,
    )
    assert np.array_equal(find_subsets(test, task=task, flares=flares)[Subset.LATER], later)
    note = explain_subsets(test, task=task)
    assert (
        f": {num_called} positive samples, each of which may follow an earlier flare: {by_labels} do by older" in note
    )
