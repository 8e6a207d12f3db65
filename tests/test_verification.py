"""Verification of forecasts, against the literature, scikit-learn and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn
from sklearn import metrics

from sffshards.evaluation import ContingencyTable, ScoreName, compute_score, count_outcomes, explain_undefined


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


@pytest.mark.parametrize("num_cases", [50, pytest.param(1000, marks=pytest.mark.slow)])
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
