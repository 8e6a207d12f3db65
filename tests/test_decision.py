"""Thresholds and calibration that are fitted on validation and kept beside a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from sffshards.base.errors import DamageError, FormatError
from sffshards.domain.views import View
from sffshards.forecasting.runs.decision import (
    DECISION_NAME,
    Decision,
    fit_decision,
    read_decision,
    write_decision,
)
from sffshards.forecasting.runs.predictions_table import Predictions
from sffshards.verification.threshold_curves import ThresholdRule

SHA256 = "ab" * 32


def predictions(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], views: tuple[View, ...] | None = None
) -> Predictions:
    num = len(labels)
    return Predictions(
        sequence=tuple(f"sequence {number}" for number in range(num)),
        harp=np.arange(num) % 7 + 1,
        t_end_tai=np.datetime64("2012-03-06T00:00:00", "s") + np.arange(num) * np.timedelta64(96, "m"),
        view=(View.NF,) * num if views is None else views,
        label=labels,
        probability=probabilities,
    )


def draw(seed: int, num: int = 300) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    labels = (random.random(num) < 0.2).astype(np.int64)
    return labels, 1 / (1 + np.exp(-2 * labels + 0.5 + random.normal(0, 1, num)))


def oversample(plain: Predictions) -> Predictions:
    """As a variant's set that is oversampled: positives in five augmented views, which are forecast differently."""
    rows = np.repeat(np.flatnonzero(plain.label == 1), 5)
    further = tuple(view for view in View if view is not View.NF)
    return Predictions(
        sequence=plain.sequence + tuple(plain.sequence[row] for row in rows),
        harp=np.append(plain.harp, plain.harp[rows]),
        t_end_tai=np.append(plain.t_end_tai, plain.t_end_tai[rows]),
        view=plain.view + further * (len(rows) // 5),
        label=np.append(plain.label, plain.label[rows]),
        probability=np.append(plain.probability, np.linspace(0, 1, len(rows))),
    )


def test_thresholds_are_where_scikit_learns_scores_are_highest() -> None:
    labels, probabilities = draw(1)
    decision = fit_decision(predictions(labels, probabilities), source_sha256=SHA256)
    assert decision.thresholds[ThresholdRule.HALF] == 0.5
    for rule, score in (
        (ThresholdRule.MAX_TSS, lambda y, called: metrics.balanced_accuracy_score(y, called, adjusted=True)),
        (ThresholdRule.MAX_HSS, metrics.cohen_kappa_score),
    ):
        best = max(score(labels, probabilities >= p) for p in probabilities)
        assert score(labels, probabilities >= decision.thresholds[rule]) == pytest.approx(best, abs=1e-12)
    assert (decision.num_samples, decision.num_flares, decision.reason) == (300, int(labels.sum()), None)


def test_what_is_calibrated_comes_as_often_as_it_says() -> None:
    labels, probabilities = draw(2, 5000)
    decision = fit_decision(predictions(labels, probabilities), source_sha256=SHA256)
    assert decision.platt is not None
    assert decision.isotonic is not None
    assert decision.platt.apply(probabilities).mean() == pytest.approx(labels.mean(), abs=2e-4)
    assert decision.isotonic.apply(probabilities).mean() == pytest.approx(labels.mean(), abs=1e-12)


def test_augmented_views_of_an_oversampled_set_do_not_affect_it() -> None:
    plain = predictions(*draw(3))
    many = oversample(plain)
    assert np.mean(many.label) > 2 * np.mean(plain.label)
    assert fit_decision(many, source_sha256=SHA256) == fit_decision(plain, source_sha256=SHA256)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([0, 0, 0], "the validation set has no samples with a flare"),
        ([1, 1, 1], "the validation set has no samples without a flare"),
        ([], "the validation set has no samples"),
    ],
)
def test_without_both_outcomes_there_is_half_and_a_reason(tmp_path: Path, labels: list[int], reason: str) -> None:
    given = predictions(np.array(labels, np.int64), np.linspace(0.2, 0.7, len(labels)))
    decision = fit_decision(given, source_sha256=SHA256)
    assert decision.thresholds == {ThresholdRule.HALF: 0.5}
    assert (decision.platt, decision.isotonic, decision.reason) == (None, None, reason)
    write_decision(tmp_path, decision)
    assert read_decision(tmp_path) == decision


def test_a_decision_reads_back_exactly_and_none_is_none(tmp_path: Path) -> None:
    assert read_decision(tmp_path) is None
    decision = fit_decision(predictions(*draw(4)), source_sha256=SHA256)
    write_decision(tmp_path, decision)
    assert read_decision(tmp_path) == decision
    content = json.loads((tmp_path / DECISION_NAME).read_text())
    assert content["format_version"] == 3
    assert set(content["thresholds"]) == {"0.5", "max TSS", "max HSS"}
    assert set(content["platt"]) == {"slope", "intercept"}


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"format_version": 4}, FormatError, "expected format version 3, found 4"),
        ({"thresholds": {"max TSS": 0.2}}, DamageError, "the rule 0.5"),
        ({"thresholds": {"0.5": 0.5, "max TSS": 1.2}}, DamageError, "from 0 to 1"),
        ({"thresholds": {"0.5": 0.5, "max TSS": float("nan")}}, DamageError, "found no JSON"),
        ({"thresholds": {"0.5": 0.5, "max F1": 0.3}}, DamageError, "Invalid enum value 'max F1'"),
        ({"num_flares": 999}, DamageError, "999 flares in 300"),
        ({"reason": 3}, DamageError, "Expected `str . null`, got `int`"),
        ({"platt": None}, DamageError, "there must be both calibrations, or a reason why not"),
        ({"isotonic": None}, DamageError, "or a reason why not"),
        ({"platt": None, "isotonic": None}, DamageError, "or a reason why not"),
        ({"platt": None, "isotonic": None, "reason": ""}, DamageError, "or a reason why not"),
        ({"reason": "none"}, DamageError, "there must be both calibrations"),
        ({"platt": {"slope": 1.0}}, DamageError, "missing required field `intercept`"),
    ],
)
def test_what_is_no_decision_is_refused(
    tmp_path: Path, change: dict[str, object], kind: type[Exception], message: str
) -> None:
    write_decision(tmp_path, fit_decision(predictions(*draw(5)), source_sha256=SHA256))
    path = tmp_path / DECISION_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(kind, match=message) as caught:
        read_decision(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("fit it again with `sffshards evaluate`")


def test_calibrations_in_each_others_place_are_refused(tmp_path: Path) -> None:
    write_decision(tmp_path, fit_decision(predictions(*draw(5)), source_sha256=SHA256))
    path = tmp_path / DECISION_NAME
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"platt": content["isotonic"]}))
    with pytest.raises(DamageError, match=r"found Object missing required field `slope` - at `\$.platt`"):
        read_decision(tmp_path)
    path.write_text(json.dumps(content | {"isotonic": content["platt"]}))
    with pytest.raises(DamageError, match=r"found Object missing required field `probabilities` - at `\$.isotonic`"):
        read_decision(tmp_path)
    path.write_text("[" * 100_000)
    with pytest.raises(DamageError, match="the decision of a fold"):
        read_decision(tmp_path)


def test_a_decision_without_the_published_threshold_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="0.5"):
        Decision(
            source_sha256=SHA256, num_samples=1, num_flares=0, thresholds={}, platt=None, isotonic=None, reason="x"
        )
