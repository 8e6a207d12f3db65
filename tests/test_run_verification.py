"""Verification of a run's folds and their ensemble, and differences between runs, from tables without a network."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from sffshards.base.errors import ConflictError
from sffshards.cli.score_output import format_comparisons, format_verification
from sffshards.domain.sample_sets import Protocol, Stage, Variant
from sffshards.domain.task import M24, M48, Task
from sffshards.domain.views import View
from sffshards.forecasting.runs.decision import fit_decision
from sffshards.forecasting.runs.fold_ensemble import IssuedForecast, Probability, combine_folds, issue_forecast
from sffshards.forecasting.runs.predictions_table import Predictions
from sffshards.forecasting.runs.run_comparison import compare_runs, write_comparisons
from sffshards.forecasting.runs.run_folders import Run, RunFold
from sffshards.forecasting.runs.run_scores import RunScores
from sffshards.forecasting.runs.run_verification import (
    RunVerification,
    Subset,
    describe_verification,
    find_subsets,
    verify_forecasts,
    write_verification,
)
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
        decision = fit_decision(val, checkpoint_sha256="0" * 64)
        test = samples(1000 * seed + fold, test_labels, skill=skill)
        for stage, table in ((Stage.VAL, val), (Stage.TEST, test)):
            issued.append(issue_forecast(table, decision, fold=fold, stage=stage, climatology=0.1 + fold / 100))
    return issued


def run_scores(run: Path, issued: list[IssuedForecast], *, task: Task = M24) -> RunScores:
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
    return RunScores(run=described, stages=(), summary=(), verification=verify(issued, task=task))


def verify(issued: list[IssuedForecast], *, task: Task = M24) -> RunVerification:
    return verify_forecasts(issued, name="oT", task=task)


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


def test_continuing_activity_is_of_regions_that_were_known_to_have_flared() -> None:
    # Every 12 hours, horizon 24 hours: the label of two samples before is the latest that is known.
    labels = np.zeros(NUM_HARPS * PER_HARP, np.int64)
    labels[[3, 4]] = 1  # of the first region
    labels[PER_HARP - 1] = 1  # its last, which nothing follows
    labels[2 * PER_HARP] = 1  # of the third region
    continuing = find_subsets(samples(1, labels), task=M24)[Subset.CONTINUING]
    assert np.flatnonzero(continuing).tolist() == [5, 6, 2 * PER_HARP + 2]


def test_first_flares_and_continuing_activity_make_up_the_test_set() -> None:
    verified = verify(issue(4))
    tables = {}
    for subset in Subset:
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
        parts = getattr(tables[Subset.FIRST], count) + getattr(tables[Subset.CONTINUING], count)
        assert getattr(tables[Subset.ALL], count) == parts
    assert tables[Subset.FIRST].num_positive > 0
    assert tables[Subset.CONTINUING].num_positive > 0


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
    assert "fold 1, all: no max TSS, max HSS, Platt, isotonic: the validation set has" in format_verification(scores)


def test_a_run_without_any_flare_is_verified_as_far_as_that_goes(tmp_path: Path) -> None:
    quiet = issue(6, quiet=(0, 1, 2))
    none = np.zeros(NUM_HARPS * PER_HARP, np.int64)
    issued = [replace(one, samples=replace(one.samples, label=none)) for one in quiet]
    scores = run_scores(tmp_path, issued)
    write_verification(scores)
    content = json.loads((tmp_path / "verification.json").read_text())
    nothing = [one for one in content["left_out"] if one["subset"] == "continuing activity"]
    assert {one["reason"] for one in nothing} == {"there are no such samples"}
    text = format_verification(scores)
    assert "TSS, AUC undefined: no flare came" in text
    assert "HSS, BSS without an interval: no flare came" in text


def test_verification_is_written_for_programs_and_people(tmp_path: Path) -> None:
    scores = run_scores(tmp_path, issue(7))
    write_verification(scores)
    content = json.loads((tmp_path / "verification.json").read_text())
    assert (content["format_version"], content["task"], content["variant"], content["num_folds"]) == (
        1,
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


def test_runs_of_the_same_test_samples_are_compared_and_the_better_shows(tmp_path: Path) -> None:
    good = run_scores(tmp_path / "24h" / "oT", issue(1, skill=4.0))
    poor = run_scores(tmp_path / "24h" / "base", issue(2, skill=0.5))
    other = run_scores(tmp_path / "48h" / "oT", issue(3), task=M48)
    comparisons = compare_runs([good, poor, other])
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
    assert write_comparisons(comparisons) == [tmp_path / "24h"]
    content = json.loads((tmp_path / "24h" / "comparisons.json").read_text())
    assert (content["format_version"], len(content["comparisons"])) == (2, 8)
    assert len((tmp_path / "24h" / "comparisons.csv").read_text().splitlines()) == 9
    assert format_comparisons(comparisons).count("*") > 1


def test_runs_of_other_samples_are_not_compared(tmp_path: Path) -> None:
    issued = issue(1)
    other = [
        replace(one, samples=replace(one.samples, sequence=tuple(f"x{s}" for s in one.samples.sequence)))
        for one in issued
    ]
    assert compare_runs([run_scores(tmp_path / "a", issued), run_scores(tmp_path / "b", other)]) == []
    assert write_comparisons([]) == []


def test_the_table_shows_ensemble_and_folds_for_every_rule(tmp_path: Path) -> None:
    text = format_verification(run_scores(tmp_path, issue(8)))
    lines = text.splitlines()
    assert "ensemble of 3 folds, 95 % intervals by HARP" in lines[0]
    assert lines[1].split() == ["probability", "threshold", "TSS", "HSS", "BSS", "AUC"]
    assert sum(" ensemble " in line for line in lines[2:]) == 5
    assert sum(" folds " in line for line in lines[2:]) == 5
    assert sum(line.startswith("  first flares (") for line in lines) == 2
    assert sum(line.startswith("  continuing activity (") for line in lines) == 2
