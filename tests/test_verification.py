"""Verification of forecasts, against the literature, scikit-learn and simulated truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import sklearn
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from sffshards.base.errors import FormatError, InputError
from sffshards.base.json_records import JsonFormat, decode_record, encode_record
from sffshards.verification.by_harp import Forecast, HarpStatistic, average_statistics, prepare_statistic
from sffshards.verification.calibration import (
    IsotonicCalibration,
    PlattCalibration,
    fit_isotonic,
    fit_platt,
)
from sffshards.verification.cluster_intervals import Interval, estimate_difference, estimate_interval
from sffshards.verification.contingency_tables import ContingencyTable, count_outcomes
from sffshards.verification.logistic_regression import fit_logistic_regression
from sffshards.verification.probability_scores import (
    BrierParts,
    brier_score,
    brier_skill_score,
    decompose_brier,
    trace_reliability,
)
from sffshards.verification.reference_forecasts import forecast_ever_flared, forecast_persistence
from sffshards.verification.score_names import (
    ALL_SCORES,
    AnyScore,
    ProbabilityScore,
    ScoreName,
    compute_score,
    explain_undefined,
)
from sffshards.verification.threshold_curves import average_precision, choose_threshold, roc_auc, trace_thresholds


def table(tp: int, fp: int, fn: int, tn: int) -> ContingencyTable:
    return ContingencyTable(tp=tp, fp=fp, fn=fn, tn=tn)


# Contingency tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # Finley's tornado forecasts of 1884; Wilks (2011), section 8.2.
        (ScoreName.ETS, 0.216),
        (ScoreName.BIAS, 1.961),
        (ScoreName.POFD, 0.026),
        # (TP - FP) / (TP + FN) where flares are the rarer, Barnes et al. (2016): -44 / 51.
        (ScoreName.APSS, -0.863),
    ],
)
def test_finleys_case_by_the_further_scores(name: ScoreName, value: float) -> None:
    assert round(compute_score(name, table(28, 72, 23, 2680)), 3) == value


@pytest.mark.parametrize("num_cases", [50, pytest.param(1000, marks=pytest.mark.long)])
def test_random_cases_equal_scikit_learns(num_cases: int) -> None:
    random = np.random.default_rng(20240201)
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for _ in range(num_cases):
            num_samples = int(random.integers(10, 300))
            labels = (random.random(num_samples) < random.uniform(0.1, 0.9)).astype(int)
            labels[:2] = 0, 1
            probabilities = random.random(num_samples)
            probabilities[-2:] = 0.2, 0.8  # so that every score is defined
            called = (probabilities >= 0.5).astype(int)
            counts = count_outcomes(labels, probabilities)
            (tn, fp), (fn, tp) = metrics.confusion_matrix(labels, called)
            assert counts == table(int(tp), int(fp), int(fn), int(tn))
            precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, called)
            kappa = metrics.cohen_kappa_score(labels, called)
            expected = {
                ScoreName.F1: f1[1],
                ScoreName.ACC: metrics.accuracy_score(labels, called),
                ScoreName.POD: recall[1],
                ScoreName.PRE: precision[1],
                ScoreName.FAR: 1 - precision[1],
                ScoreName.CSI: metrics.jaccard_score(labels, called),
                ScoreName.HSS: kappa,
                ScoreName.TSS: metrics.balanced_accuracy_score(labels, called, adjusted=True),
                ScoreName.POFD: 1 - recall[0],
                ScoreName.BIAS: called.sum() / labels.sum(),
                ScoreName.MCC: metrics.matthews_corrcoef(labels, called),
                ScoreName.ETS: kappa / (2 - kappa),  # Schaefer (1990)
                ScoreName.APSS: 1 - metrics.zero_one_loss(labels, called) / min(labels.mean(), 1 - labels.mean()),
            }
            assert set(expected) == set(ScoreName)
            for name, value in expected.items():
                assert compute_score(name, counts) == pytest.approx(value, abs=1e-12), name
            brier = metrics.brier_score_loss(labels, probabilities)
            skill = 1 - brier / metrics.brier_score_loss(labels, np.full(num_samples, 0.3))
            average = metrics.average_precision_score(labels, probabilities)
            assert brier_score(labels, probabilities) == pytest.approx(brier, abs=1e-12)
            assert brier_skill_score(labels, probabilities, climatology=0.3) == pytest.approx(skill, abs=1e-12)
            assert roc_auc(labels, probabilities) == pytest.approx(
                metrics.roc_auc_score(labels, probabilities), abs=1e-12
            )
            assert average_precision(labels, probabilities) == pytest.approx(average, abs=1e-12)


@pytest.mark.parametrize(
    ("counts", "undefined"),
    [
        ((0, 3, 0, 4), dict.fromkeys(("BIAS", "ApSS", "MCC"), "no flare came")),
        ((0, 0, 2, 4), {"MCC": "no flare was forecast"}),
        ((2, 3, 0, 0), {"MCC": "a flare was forecast every time"}),
        ((2, 0, 3, 0), dict.fromkeys(("POFD", "ApSS", "MCC"), "a flare came every time")),
        (
            (5, 0, 0, 0),
            dict.fromkeys(("POFD", "ApSS", "MCC"), "a flare came every time")
            | {"ETS": "a flare was forecast, and came, every time"},
        ),
        (
            (0, 0, 0, 7),
            dict.fromkeys(("BIAS", "ApSS", "MCC"), "no flare came") | {"ETS": "no flare was forecast and none came"},
        ),
        ((0, 0, 0, 0), dict.fromkeys(("POFD", "BIAS", "ETS", "ApSS", "MCC"), "there are no samples")),
    ],
)
def test_an_undefined_further_score_is_nan_and_has_a_reason(
    counts: tuple[int, int, int, int], undefined: dict[str, str]
) -> None:
    names = (ScoreName.POFD, ScoreName.BIAS, ScoreName.ETS, ScoreName.APSS, ScoreName.MCC)
    assert {name: why for name in names if (why := explain_undefined(name, table(*counts)))} == undefined
    assert [name for name in names if math.isnan(compute_score(name, table(*counts)))] == [
        name for name in names if name in undefined
    ]


# Probabilities ------------------------------------------------------------------------------------------------------


def draw_forecasts(seed: int, num_samples: int, *, decimals: int = 16) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Probabilities, with ties where they are rounded, and outcomes of twice their odds."""
    random = np.random.default_rng(seed)
    probabilities = np.round(random.beta(0.5, 2, num_samples), decimals)
    odds = 2 * probabilities / np.maximum(1 - probabilities, 1e-9)
    labels = (random.random(num_samples) < odds / (1 + odds)).astype(np.int64)
    labels[:2] = 0, 1
    return labels, probabilities


@pytest.mark.parametrize("decimals", [1, 2, 16])
@pytest.mark.parametrize("seed", range(20))
def test_scores_and_curves_of_probabilities_equal_scikit_learns(seed: int, decimals: int) -> None:
    labels, probabilities = draw_forecasts(seed, 200, decimals=decimals)
    assert brier_score(labels, probabilities) == pytest.approx(
        metrics.brier_score_loss(labels, probabilities), abs=1e-12
    )
    assert roc_auc(labels, probabilities) == pytest.approx(metrics.roc_auc_score(labels, probabilities), abs=1e-12)
    expected = metrics.average_precision_score(labels, probabilities)
    assert average_precision(labels, probabilities) == pytest.approx(expected, abs=1e-12)

    curve = trace_thresholds(labels, probabilities)
    false_alarms, hits, thresholds = metrics.roc_curve(labels, probabilities, drop_intermediate=False)
    assert np.array_equal(curve.threshold, thresholds)
    np.testing.assert_allclose(curve.score(ScoreName.POFD), false_alarms, atol=1e-12)
    np.testing.assert_allclose(curve.score(ScoreName.POD), hits, atol=1e-12)
    precision, recall, thresholds = metrics.precision_recall_curve(labels, probabilities)
    assert np.array_equal(curve.threshold[1:], thresholds[::-1])
    np.testing.assert_allclose(curve.score(ScoreName.PRE)[1:], precision[-2::-1], atol=1e-12)
    np.testing.assert_allclose(curve.score(ScoreName.POD)[1:], recall[-2::-1], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        (ScoreName.TSS, lambda y, called: metrics.balanced_accuracy_score(y, called, adjusted=True)),
        (ScoreName.HSS, metrics.cohen_kappa_score),
    ],
)
def test_the_best_threshold_is_that_of_a_search_by_scikit_learn(name: ScoreName, reference) -> None:
    labels, probabilities = draw_forecasts(5, 150, decimals=2)
    searched = {float(p): reference(labels, (probabilities >= p).astype(int)) for p in np.unique(probabilities)}
    best = choose_threshold(labels, probabilities, score=name)
    assert searched[best] == pytest.approx(max(searched.values()), abs=1e-12)
    assert best == max(p for p, value in searched.items() if value > max(searched.values()) - 1e-12)
    curve = trace_thresholds(labels, probabilities)
    assert curve.score(name)[1:] == pytest.approx([searched[p] for p in curve.threshold[1:].tolist()], abs=1e-12)


def test_a_threshold_is_not_chosen_by_what_is_best_when_low_nor_without_flares() -> None:
    labels, probabilities = np.array([0, 1]), np.array([0.1, 0.2])
    with pytest.raises(InputError, match="highest when perfect, found FAR"):
        choose_threshold(labels, probabilities, score=ScoreName.FAR)
    with pytest.raises(InputError, match="expected flares and times without"):
        choose_threshold(np.array([0, 0]), probabilities, score=ScoreName.TSS)


def test_the_reliability_curve_equals_scikit_learns_and_counts() -> None:
    labels, probabilities = draw_forecasts(1, 60)
    curve = trace_reliability(labels, probabilities, num_bins=20)
    frequency, mean = calibration_curve(labels, probabilities, n_bins=20)
    filled = curve.num_samples > 0
    assert not filled.all()
    np.testing.assert_allclose(curve.flare_frequency[filled], frequency, atol=1e-12)
    np.testing.assert_allclose(curve.mean_probability[filled], mean, atol=1e-12)
    assert np.isnan(curve.flare_frequency[~filled]).all()
    assert curve.num_samples.tolist() == np.histogram(probabilities, curve.edges)[0].tolist()


def test_a_bin_of_the_reliability_curve_holds_its_lower_edge() -> None:
    curve = trace_reliability(np.array([0, 0, 1, 1]), np.array([0.0, 0.5, 0.5, 1.0]), num_bins=2)
    assert curve.num_samples.tolist() == [1, 3]
    assert curve.flare_frequency.tolist() == [0, 2 / 3]


def test_the_brier_score_of_murphys_kind_of_case_is_taken_apart_by_hand() -> None:
    # Four forecasts of 0.25 with one flare, four of 0.75 with two: rate 3/8.
    labels = np.array([1, 0, 0, 0, 1, 1, 0, 0])
    parts = decompose_brier(labels, np.array([0.25] * 4 + [0.75] * 4), num_bins=None)
    assert parts.reliability == pytest.approx((0 + (0.75 - 0.5) ** 2) / 2)
    assert parts.resolution == pytest.approx((0.25 - 0.375) ** 2 / 2 + (0.5 - 0.375) ** 2 / 2)
    assert parts.uncertainty == pytest.approx(3 / 8 * 5 / 8)
    assert parts.within_bins == pytest.approx(0, abs=1e-15)
    assert parts.brier_score == pytest.approx((0.75**2 + 3 * 0.25**2 + 2 * 0.25**2 + 2 * 0.75**2) / 8)


@pytest.mark.parametrize("num_bins", [None, 1, 10])
@pytest.mark.parametrize("seed", range(10))
def test_the_parts_of_the_brier_score_add_up(seed: int, num_bins: int | None) -> None:
    labels, probabilities = draw_forecasts(seed, 300, decimals=2)
    parts = decompose_brier(labels, probabilities, num_bins=num_bins)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bins
    assert total == pytest.approx(metrics.brier_score_loss(labels, probabilities), abs=1e-12)
    if num_bins is None:
        assert parts.within_bins == pytest.approx(0, abs=1e-12)


def test_parts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="add up"):
        BrierParts(brier_score=0.2, reliability=0.1, resolution=0.1, uncertainty=0.1, within_bins=0)


def test_skill_against_climatology() -> None:
    labels = np.array([0, 0, 0, 1])
    assert brier_skill_score(labels, np.full(4, 0.25), climatology=0.25) == 0
    assert brier_skill_score(labels, labels.astype(float), climatology=0.25) == 1
    # 0.0625 against 0.25.
    assert brier_skill_score(labels, np.array([0, 0, 0, 0.5]), climatology=0.5) == 0.75
    assert math.isnan(brier_skill_score(np.zeros(3, int), np.full(3, 0.1), climatology=0))


def test_scores_that_need_flares_are_nan_without() -> None:
    labels, probabilities = np.array([0, 0]), np.array([0.1, 0.9])
    assert math.isnan(roc_auc(labels, probabilities))
    assert math.isnan(roc_auc(1 - labels, probabilities))
    assert math.isnan(average_precision(labels, probabilities))
    assert math.isnan(brier_score(labels[:0], probabilities[:0]))


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [0.1], "shapes"),
        ([0, 2], [0.1, 0.2], r"labels\[1\]: expected 0 or 1, found 2"),
        ([0, 1, 0], [0.1, 0.2, math.nan], r"probabilities\[2\]: expected from 0 to 1, found nan"),
        ([0, 1], [0.1, 1.5], "found 1.5"),
    ],
)
def test_what_are_no_forecasts_is_refused(labels: list[int], probabilities: list[float], message: str) -> None:
    for function in (brier_score, trace_thresholds, fit_platt, fit_isotonic):
        with pytest.raises(InputError, match=message):
            function(np.array(labels), np.array(probabilities))


CALIBRATION = JsonFormat(expected="a calibration", fix="fit it again", error=FormatError)

# Calibration --------------------------------------------------------------------------------------------------------


def fit_by_scikit_learn(columns, targets, weights, penalty):
    """A soft target is a sample of each class, by weight."""
    half = np.concatenate([weights * targets, weights * (1 - targets)])
    regression = LogisticRegression(C=1 / penalty if penalty else np.inf, solver="newton-cholesky", tol=1e-13)
    fitted = regression.fit(np.tile(columns, (2, 1)), np.repeat([1, 0], len(targets)), half)
    return fitted.coef_[0], fitted.intercept_[0]


@pytest.mark.parametrize("penalty", [0, 0.3, 1000])
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_logistic_regression_is_that_of_scikit_learn(penalty: float, kind: str) -> None:
    random = np.random.default_rng(5)
    columns = random.normal(size=(300, 4)) * [1, 2, 30, 0.1]
    targets = (columns[:, 0] + random.normal(size=300) > 1).astype(np.float64)
    if kind == "probabilities":
        targets = 0.1 + 0.7 * targets
    weights = random.gamma(1, size=300)
    coefficients, intercept = fit_logistic_regression(columns, targets, weights=weights, penalty=penalty)
    expected = fit_by_scikit_learn(columns, targets, weights, penalty)
    np.testing.assert_allclose(coefficients, expected[0], rtol=1e-8, atol=1e-10)
    assert intercept == pytest.approx(expected[1], rel=1e-8)


def test_logistic_regression_without_a_penalty_shares_the_weight_of_equal_features() -> None:
    """The log odds of two groups: 3 of 4 and 1 of 4."""
    feature = np.repeat([0.0, 1.0], 4)
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    coefficients, intercept = fit_logistic_regression(np.column_stack([feature, feature]), labels)
    assert coefficients == pytest.approx([math.log(3)] * 2, rel=1e-9)
    assert intercept == pytest.approx(-math.log(3), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_platts_line_is_scikit_learns_unpenalised_logistic_regression(seed: int) -> None:
    labels, probabilities = draw_forecasts(seed, 400)
    num_flares = labels.sum()
    targets = np.where(labels == 1, (num_flares + 1) / (num_flares + 2), 1 / (400 - num_flares + 2))
    logits = np.log(probabilities / (1 - probabilities))
    (slope,), intercept = fit_by_scikit_learn(logits[:, None], targets, np.ones(400), 0)
    found = fit_platt(labels, probabilities)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), rel=1e-8)
    np.testing.assert_allclose(found.apply(probabilities), 1 / (1 + np.exp(-slope * logits - intercept)), atol=1e-9)


def test_platts_line_finds_the_bias_that_was_drawn() -> None:
    found = fit_platt(*draw_forecasts(3, 100_000))  # twice the odds: intercept log 2
    assert found.slope == pytest.approx(1, abs=0.03)
    assert found.intercept == pytest.approx(math.log(2), abs=0.05)


def test_platts_line_is_finite_where_flares_are_parted_cleanly_or_all_probabilities_are_one() -> None:
    clean = fit_platt(np.array([0] * 50 + [1] * 50), np.array([0.0] * 50 + [1.0] * 50))
    # With two values the smoothed targets are met.
    np.testing.assert_allclose(clean.apply(np.array([0.0, 1.0])), [1 / 52, 51 / 52], atol=1e-9)
    level = fit_platt(np.array([0, 0, 0, 1]), np.full(4, 0.9))
    # (3 targets of 1/5 and one of 2/3) / 4.
    assert level.apply(np.array([0.9]))[0] == pytest.approx((3 / 5 + 2 / 3) / 4, abs=1e-9)


@pytest.mark.parametrize("decimals", [1, 16])
@pytest.mark.parametrize("seed", range(5))
def test_the_isotonic_map_is_that_of_the_min_max_formula(seed: int, decimals: int) -> None:
    """Barlow et al. (1972): at each knot, the largest over what lies below of the least mean up to what lies above."""
    labels, probabilities = draw_forecasts(seed, 60, decimals=decimals)
    values, where = np.unique(probabilities, return_inverse=True)
    flares, samples = np.bincount(where, labels), np.bincount(where)

    def mean(first: int, last: int) -> float:
        return float(flares[first : last + 1].sum() / samples[first : last + 1].sum())

    num = len(values)
    expected = [max(min(mean(j, k) for k in range(i, num)) for j in range(i + 1)) for i in range(num)]
    calibration = fit_isotonic(labels, probabilities)
    np.testing.assert_allclose(calibration.apply(values), expected, atol=1e-12)
    ends = calibration.apply(np.array([0.0, 1.0]))
    np.testing.assert_allclose(ends, [expected[0], expected[-1]], atol=1e-12)


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_a_calibration_reads_back_exactly_and_needs_both_outcomes(fit) -> None:
    labels, probabilities = draw_forecasts(8, 100)
    calibration = fit(labels, probabilities)
    read = decode_record(encode_record(calibration), type(calibration), where="here", expects=CALIBRATION)
    assert read == calibration
    for label in (0, 1):
        with pytest.raises(InputError, match="flares and times without"):
            fit(np.full(100, label), probabilities)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[]", PlattCalibration),
        ("{", PlattCalibration),
        ('{"slope": 1, "intercept": 0, "kind": "beta"}', PlattCalibration),
        ('{"slope": 1}', PlattCalibration),
        ('{"slope": NaN, "intercept": 0}', PlattCalibration),
        ('{"probabilities": [0.2, 0.1], "calibrated": [0, 1]}', IsotonicCalibration),
        ('{"probabilities": [0.1, 0.2], "calibrated": [0, 2]}', IsotonicCalibration),
        ('{"probabilities": [0.1, 0.2], "calibrated": [1, 0]}', IsotonicCalibration),
        ('{"probabilities": [], "calibrated": []}', IsotonicCalibration),
    ],
)
def test_what_is_no_calibration_is_refused(text: str, kind: type[PlattCalibration | IsotonicCalibration]) -> None:
    with pytest.raises(FormatError, match="^fold0/calibration.json: expected a calibration, found"):
        decode_record(text, kind, where="fold0/calibration.json", expects=CALIBRATION)


def test_calibrations_are_maps_of_probabilities_by_their_parameters() -> None:
    assert PlattCalibration(slope=1, intercept=0).apply(np.array([0.0, 0.3, 1.0])) == pytest.approx(
        [0, 0.3, 1], abs=1e-9
    )
    assert PlattCalibration(slope=1, intercept=math.log(2)).apply(np.array([0.5])) == pytest.approx([2 / 3])
    knots = IsotonicCalibration(probabilities=(0.2, 0.4), calibrated=(0.1, 0.3))
    assert knots.apply(np.array([0.0, 0.3, 1.0])) == pytest.approx([0.1, 0.2, 0.3])


# Intervals ----------------------------------------------------------------------------------------------------------


def draw_regions(seed: int, num_harps: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Labels, probabilities with ties and HARP numbers; the samples of a HARP are alike."""
    random = np.random.default_rng(seed)
    harps = np.repeat(random.permutation(7000)[:num_harps], random.integers(1, 20, num_harps))
    shift = dict(zip(np.unique(harps).tolist(), random.normal(0, 1, num_harps), strict=True))
    logits = np.array([shift[harp] for harp in harps.tolist()])
    labels = (logits + random.normal(0, 1, len(harps)) > 0.8).astype(np.int64)
    return labels, np.round(1 / (1 + np.exp(-logits + random.normal(0, 0.5, len(harps)))), 2), harps


def prepare(
    name: AnyScore,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    harps: NDArray[np.int64],
    *,
    threshold: float = 0.5,
) -> HarpStatistic:
    """A score by HARP, against a climatology of 0.3."""
    forecast = Forecast(label=labels, probability=probabilities, harp=harps, threshold=threshold, climatology=0.3)
    return prepare_statistic(forecast, name)


STATISTICS: list[tuple[AnyScore, float, Callable[..., float]]] = [
    (ScoreName.TSS, 0.4, lambda y, p: metrics.balanced_accuracy_score(y, p >= 0.4, adjusted=True)),
    (ScoreName.HSS, 0.6, lambda y, p: metrics.cohen_kappa_score(y, p >= 0.6)),
    (ProbabilityScore.BRIER, 0.5, metrics.brier_score_loss),
    (
        ProbabilityScore.BRIER_SKILL,
        0.5,
        lambda y, p: 1 - metrics.brier_score_loss(y, p) / np.mean((0.3 - y) ** 2),
    ),
    (ProbabilityScore.ROC_AUC, 0.5, metrics.roc_auc_score),
    (ProbabilityScore.AVERAGE_PRECISION, 0.5, metrics.average_precision_score),
]


@pytest.mark.parametrize("number", range(len(STATISTICS)))
def test_a_score_of_weighted_regions_is_that_of_their_samples_repeated(number: int) -> None:
    name, threshold, reference = STATISTICS[number]
    labels, probabilities, harps = draw_regions(number, 30)
    statistic = prepare(name, labels, probabilities, harps, threshold=threshold)
    weights_RH = np.random.default_rng(number).multinomial(30, np.full(30, 1 / 30), 20)
    assert statistic.harps.tolist() == sorted(set(harps.tolist()))
    for weights_H, value in zip(weights_RH, statistic.compute(weights_RH.astype(float)), strict=True):
        rows = np.repeat(np.arange(len(harps)), weights_H[np.searchsorted(statistic.harps, harps)])
        assert value == pytest.approx(reference(labels[rows], probabilities[rows]), abs=1e-12)


def mean_of(values: NDArray[np.float64]) -> HarpStatistic:
    """The mean of a number a HARP: a statistic whose intervals are known."""
    once = np.ones(len(values), np.int64)
    return HarpStatistic(
        harps=np.arange(len(values)),
        num_samples=2 * once,
        num_flares=once,
        compute=lambda weights_RH: weights_RH @ values / weights_RH.sum(axis=1),
        support=once,
        limits=(-math.inf, math.inf),
    )


def interval(name: AnyScore, *forecast: NDArray[Any]) -> Interval:
    return estimate_interval(prepare(name, *forecast))


def leave_out(
    score: Callable[[NDArray[np.int64], NDArray[np.float64]], float],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    harps: NDArray[np.int64],
) -> NDArray[np.float64]:
    """A score without each HARP, from its samples."""
    kept = [harps != harp for harp in np.unique(harps)]
    return np.array([score(labels[rows], probabilities[rows]) for rows in kept])


def korn_graubard(share: float, error: float, num_harps: float) -> tuple[float, float]:
    """Clopper and Pearson's interval for as many samples as have this error, as scipy's distributions have it."""
    num = share * (1 - share) / error**2 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, num_harps - 1)) ** 2
    wrong = (1 - share) * num
    return stats.beta.ppf(0.025, share * num, wrong + 1), stats.beta.ppf(0.975, share * num + 1, wrong)


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    values = np.random.default_rng(0).normal(5, 2, 12)
    found = estimate_interval(mean_of(values), level=0.9)
    low, high = stats.t.interval(0.9, 11, values.mean(), stats.sem(values))
    assert (found.low, found.estimate, found.high) == pytest.approx((low, values.mean(), high))
    assert (found.level, found.reason) == (0.9, None)


def test_the_interval_of_a_fraction_of_equal_regions_is_clopper_and_pearsons() -> None:
    # In each of 60 regions one flare and one quiet time; 45 of the flares are forecast.
    labels, harps = np.tile([1, 0], 60), np.repeat(np.arange(60), 2)
    probabilities = np.where((labels == 1) & (harps < 45), 0.9, 0.1)
    found = interval(ScoreName.POD, labels, probabilities, harps)
    expected = korn_graubard(0.75, math.sqrt(0.75 * 0.25 / 59), 60)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    exact = stats.binomtest(45, 60).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.005)
    # A region's samples are all alike: a hundred are worth one.
    many = interval(ScoreName.POD, *(np.repeat(of, 100) for of in (labels, probabilities, harps)))
    assert (many.low, many.high) == pytest.approx((found.low, found.high), abs=1e-12)


def test_the_interval_of_a_fraction_is_that_of_the_linearised_variance_of_clusters() -> None:
    labels, probabilities, harps = draw_regions(4, 300)
    found = interval(ScoreName.PRE, labels, probabilities, harps)
    hits, calls = (
        np.bincount(harps, weights=of)[np.unique(harps)]
        for of in ((probabilities >= 0.5) * labels, (probabilities >= 0.5) * 1.0)
    )
    share = hits.sum() / calls.sum()
    error = math.sqrt(300 / 299 * np.sum((hits - share * calls) ** 2)) / calls.sum()
    expected = korn_graubard(share, error, calls.sum() ** 2 / np.sum(calls**2))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.002)


def test_the_interval_of_tss_joins_those_of_pod_and_pofd() -> None:
    forecast = draw_regions(7, 40)
    pod, pofd, tss = (interval(name, *forecast) for name in (ScoreName.POD, ScoreName.POFD, ScoreName.TSS))
    assert tss.estimate == pytest.approx(pod.estimate - pofd.estimate)
    correlation = np.corrcoef(
        leave_out(lambda y, p: float(np.mean(p[y == 1] >= 0.5)), *forecast),
        leave_out(lambda y, p: float(np.mean(p[y == 0] >= 0.5)), *forecast),
    )[0, 1]
    # Zou and Donner 2008, with their term for correlated estimates.
    a, b = pod.estimate - pod.low, pofd.high - pofd.estimate
    assert tss.low == pytest.approx(tss.estimate - math.sqrt(a * a + b * b - 2 * correlation * a * b))
    a, b = pod.high - pod.estimate, pofd.estimate - pofd.low
    assert tss.high == pytest.approx(tss.estimate + math.sqrt(a * a + b * b - 2 * correlation * a * b))


def test_the_interval_of_the_area_is_that_of_delong_where_each_region_has_one_sample() -> None:
    random = np.random.default_rng(8)
    labels = np.repeat([1, 0], [80, 120])
    probabilities = 1 / (1 + np.exp(-random.normal(labels, 1)))
    found = interval(ProbabilityScore.ROC_AUC, labels, probabilities, np.arange(200))
    right = (probabilities[:80, None] > probabilities[None, 80:]).astype(float)
    error = math.sqrt(right.mean(axis=1).var(ddof=1) / 80 + right.mean(axis=0).var(ddof=1) / 120)
    expected = korn_graubard(right.mean(), error, 80)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.001)


def test_the_interval_of_the_brier_skill_is_students_with_the_linearised_variance() -> None:
    labels, probabilities, harps = draw_regions(11, 300)
    found = interval(ProbabilityScore.BRIER_SKILL, labels, probabilities, harps)
    own, reference = (
        np.bincount(harps, weights=(of - labels) ** 2)[np.unique(harps)] for of in (probabilities, np.float64(0.3))
    )
    ratio = own.sum() / reference.sum()
    error = math.sqrt(300 / 299 * np.sum((own - ratio * reference) ** 2)) / reference.sum()
    flares = np.bincount(harps, weights=labels)
    reach = stats.t.ppf(0.975, flares.sum() ** 2 / np.sum(flares**2) - 1) * error
    assert (found.low, found.high) == pytest.approx((1 - ratio - reach, 1 - ratio + reach), abs=0.01 * reach)


def test_a_score_at_its_limit_counts_each_region_once() -> None:
    # Nine regions of 50 flares and 50 quiet times; every flare is forecast, and nothing else.
    labels, harps = np.tile(np.repeat([1, 0], 50), 9), np.repeat(np.arange(9), 100)
    low, high = stats.binomtest(9, 9).proportion_ci(0.95, method="exact")
    for name in (ScoreName.POD, ScoreName.F1, ProbabilityScore.ROC_AUC):
        found = interval(name, labels, labels * 0.8 + 0.1, harps)
        assert (found.low, found.estimate, found.high) == pytest.approx((low, 1, high))
    never = interval(ScoreName.POFD, labels, labels * 0.8 + 0.1, harps)
    assert (never.low, never.high) == pytest.approx((0, 1 - low))
    tss = interval(ScoreName.TSS, labels, labels * 0.8 + 0.1, harps)
    assert (tss.low, tss.high) == pytest.approx((1 - math.hypot(1 - low, 1 - low), 1))


def test_a_fraction_counts_each_region_as_four_samples_at_most() -> None:
    labels, harps = np.tile(np.repeat([1, 0], 50), 10), np.repeat(np.arange(10), 100)
    probabilities = labels * 0.8 + 0.1
    probabilities[[0, 1, 100]] = 0.1  # three of 500 flares are missed
    found = interval(ScoreName.POD, labels, probabilities, harps)
    expected = stats.beta.ppf([0.025, 0.975], [40 * 0.994, 40 * 0.994 + 1], [40 * 0.006 + 1, 40 * 0.006])
    assert (found.low, found.high) == pytest.approx(expected.tolist())


@pytest.mark.parametrize(
    ("num_flares", "reason"),
    [
        ([10, 4, 4] + [0] * 97, "a few regions have most of the flares"),  # 18^2 / 132 = 2.5
        ([100] * 97 + [90, 96, 96], "a few regions have most of the times without a flare"),
        ([0] * 100, "no flare came"),
        ([100] * 100, "a flare came every time"),
    ],
)
def test_few_regions_have_no_interval(num_flares: list[int], reason: str) -> None:
    statistic = replace(
        mean_of(np.random.default_rng(0).normal(0, 1, 100)),
        num_samples=np.full(100, 100),
        num_flares=np.array(num_flares),
    )
    found = estimate_interval(statistic)
    assert found.reason == reason
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("name", ALL_SCORES)
def test_the_scores_of_a_single_region_have_no_interval(name: AnyScore) -> None:
    found = interval(name, np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.4, 0.1]), np.full(4, 377))
    assert not math.isnan(found.estimate)
    assert found.reason == "a few regions have most of the flares"


def test_a_score_that_no_region_changes_has_no_interval() -> None:
    labels, _, harps = draw_regions(5, 40)
    for name in (ScoreName.TSS, ScoreName.HSS, ProbabilityScore.ROC_AUC):
        found = interval(name, labels, np.full(len(labels), 0.2), harps)
        assert found.reason == "the score is the same whichever region is left out"
        assert math.isnan(found.low)
    assert interval(ScoreName.POD, labels, np.full(len(labels), 0.2), harps).high > 0


def test_a_score_that_one_region_decides_has_no_interval() -> None:
    labels, harps = np.tile([1, 0], 20), np.repeat(np.arange(20), 2)
    probabilities = np.where(harps == 3, 0.9, 0.1)
    assert interval(ScoreName.PRE, labels, probabilities, harps).reason == (
        "a few regions have most of the samples that the score depends on"
    )
    assert interval(ScoreName.MCC, labels, probabilities, harps).reason is not None
    undefined = interval(ScoreName.PRE, labels, 0 * probabilities, harps)
    assert math.isnan(undefined.estimate)
    assert undefined.reason is None


@pytest.mark.parametrize("name", [*ScoreName, *ProbabilityScore])
def test_every_interval_has_its_score_inside_and_keeps_within_its_limits(name: AnyScore) -> None:
    lowest = {"TSS": -1, "HSS": -1, "MCC": -1, "ETS": -1 / 3, "ApSS": -math.inf, "BSS": -math.inf}.get(name, 0)
    for seed in range(20):
        found = interval(name, *draw_regions(seed, 12))
        if found.reason is None and not math.isnan(found.estimate):
            assert lowest <= found.low <= found.estimate <= found.high <= (math.inf if name == "BIAS" else 1)


def test_the_interval_of_a_mean_over_forecasts_is_that_of_one_where_all_are_alike() -> None:
    forecast = draw_regions(9, 60)
    for name in (ScoreName.TSS, ProbabilityScore.ROC_AUC):
        one = prepare(name, *forecast)
        found, expected = estimate_interval(average_statistics([one, one, one])), estimate_interval(one)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_difference_of_forecasts_is_that_of_students_paired_test() -> None:
    random = np.random.default_rng(6)
    labels, harps = np.tile([0, 1], 30), np.arange(60)
    one, two = random.random((2, 60))
    first, second = (prepare(ProbabilityScore.BRIER, labels, of, harps) for of in (one, two))
    found = estimate_difference(first, second)
    expected = stats.ttest_rel((two - labels) ** 2, (one - labels) ** 2).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    same = estimate_difference(first, first)
    assert same.estimate == 0
    assert same.reason == "the score is the same whichever region is left out"


def test_what_is_hard_for_both_cancels_in_their_difference() -> None:
    labels, probabilities, harps = draw_regions(6, 100)
    worse = np.where(np.arange(len(labels)) % 7 == 0, 1 - probabilities, probabilities)
    first, second = (prepare(ProbabilityScore.ROC_AUC, labels, p, harps) for p in (probabilities, worse))
    difference = estimate_difference(first, second)
    assert difference.estimate == pytest.approx(roc_auc(labels, worse) - roc_auc(labels, probabilities))
    assert difference.high < 0
    apart = [estimate_interval(one) for one in (first, second)]
    assert difference.high - difference.low < min(one.high - one.low for one in apart)


def test_a_difference_is_of_the_same_samples_only() -> None:
    labels, probabilities, harps = draw_regions(6, 30)
    first = prepare(ProbabilityScore.BRIER, labels, probabilities, harps)
    for other, field in (
        (prepare(ProbabilityScore.BRIER, labels, probabilities, harps + 1), "harps"),
        (prepare(ProbabilityScore.BRIER, labels[1:], probabilities[1:], harps[1:]), "num_samples"),
        (prepare(ProbabilityScore.BRIER, 1 - labels, probabilities, harps), "num_flares"),
    ):
        with pytest.raises(InputError, match=f"expected the {field} of the first"):
            estimate_difference(first, other)


def test_an_interval_without_regions_or_a_level_is_refused() -> None:
    with pytest.raises(InputError, match="level: expected above 0 and below 1"):
        estimate_interval(mean_of(np.ones(4)), level=1.0)
    with pytest.raises(InputError, match="harps: expected at least one"):
        estimate_interval(mean_of(np.ones(0)))
    with pytest.raises(InputError, match="a HARP for each sample"):
        prepare(ProbabilityScore.ROC_AUC, np.array([0, 1]), np.array([0.1, 0.2]), np.array([1]))


@pytest.mark.slow
def test_95_percent_intervals_of_many_flaring_regions_hold_the_truth_about_that_often() -> None:
    random = np.random.default_rng(12)
    num_harps, num_sets, held = 400, 600, 0
    # A region's logits share a shift of spread 0.8 beside a spread of 0.6 of their own: 1 altogether. In every fifth
    # region a third of the samples is followed by a flare: 0.2 / 3 of all samples; 0.4 / 3 of all are its others.
    above = NormalDist().cdf
    truth = above(1.5) - (0.4 / 3 * above(0.5) + 0.8 * above(-1)) / (0.4 / 3 + 0.8)
    for _ in range(num_sets):
        flaring = random.random(num_harps) < 0.2
        assert flaring.sum() >= 50
        harps = np.repeat(np.arange(num_harps), random.integers(20, 61, num_harps))
        labels = (flaring[harps] & (random.random(len(harps)) < random.beta(3, 6, num_harps)[harps])).astype(np.int64)
        shift = np.where(flaring, 0.5, -1) + random.normal(0, 0.8, num_harps)
        logits = shift[harps] + labels + random.normal(0, 0.6, len(harps))
        statistic = prepare(ScoreName.TSS, labels, 1 / (1 + np.exp(-logits)), harps)
        found = estimate_interval(statistic)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / num_sets <= 0.97, held


# References ---------------------------------------------------------------------------------------------------------


def test_references_use_what_is_known_by_then_and_no_more() -> None:
    # Hours, HARP, label; and by hand for 24 hours: persistence, ever flared.
    rows = [
        (0, 1, 0, 0.5, 0),  # nothing is known yet
        (12, 1, 1, 0.5, 0),
        (24, 1, 0, 0, 0),  # of hour 0
        (36, 1, 0, 1, 1),  # of hour 12
        (47, 1, 1, 1, 1),  # of hour 12 still: of hour 24 it is known at 48
        (60, 1, 0, 0, 1),  # of hour 36
        (36, 2, 0, 0.5, 0),  # another region
        (100, 2, 1, 0, 0),
    ]
    shuffled = [rows[i] for i in (5, 2, 7, 0, 4, 6, 1, 3)]
    hours, harps, labels, persistence, flared = (np.array(column) for column in zip(*shuffled, strict=True))
    times = np.datetime64("2012-03-06T00:00:00", "s") + hours * np.timedelta64(1, "h")
    found = forecast_persistence(labels, times, harps, horizon_hours=24, unknown=0.5)
    assert found.tolist() == persistence.tolist()
    assert forecast_ever_flared(labels, times, harps, horizon_hours=24).tolist() == flared.tolist()


def test_references_of_what_does_not_fit_are_refused() -> None:
    labels, times, harps = np.array([0]), np.array(["2012-03-06"], "datetime64[s]"), np.array([1, 2])
    with pytest.raises(InputError, match="one length"):
        forecast_ever_flared(labels, times, harps, horizon_hours=24)
    with pytest.raises(InputError, match="horizon_hours: expected at least 1"):
        forecast_persistence(labels, times, harps[:1], horizon_hours=0, unknown=0)
