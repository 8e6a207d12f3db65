"""Forecasters of keywords and flare history: their features, their fits, and the files that they are kept in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from sffshards.base.errors import DamageError
from sffshards.base.progress import Silent
from sffshards.domain.frame_codes import pack_codes
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.sequence_table import build_sequences
from sffshards.domain.task import GoesClass
from sffshards.flares import FlareTime, FrameClock, assign_flares
from sffshards.flares.flare_lists import FlareList
from sffshards.flares.flare_rows import Flare
from sffshards.flares.harp_map import HarpMap
from sffshards.forecasting.baselines.fitted_models import (
    LogisticModel,
    TabularForecaster,
    Tree,
    encode_forecaster,
    read_forecaster,
)
from sffshards.forecasting.baselines.model_fitting import RECIPES, fit_forecaster, fit_logistic, fit_trees, take_trees
from sffshards.tabular.flare_history import ACTIVITY, HISTORY, describe_history
from sffshards.tabular.input_groups import InputGroup
from sffshards.tabular.keyword_features import COURSE, describe_course, find_floors
from sffshards.tabular.keyword_tables import (
    EXTENSIVE,
    KEYWORDS,
    KeywordTable,
    take_header_keywords,
)
from sffshards.tabular.sample_inputs import SampleInputs, gather_inputs
from tests.fits_files import file_name, make_fits

START = np.datetime64("2012-03-07T00:00:00", "s")
HOUR = np.timedelta64(1, "h")
FRAMES = START + np.arange(0, 120, 8) * HOUR


def make_flare(hours, goes_class, *, rise_minutes=0, region=11429):
    """Return a flare that starts some hours after `START`."""
    start = (START + np.timedelta64(round(hours * 60), "m")).item()
    peak = (START + np.timedelta64(round(hours * 60) + rise_minutes, "m")).item()
    return Flare(start_utc=start, peak_utc=peak, goes_class=GoesClass.parse(goes_class), noaa_region=region, line=1)


def assign(flares):
    # Flares of another region, so that the list covers all frames.
    bounds = (make_flare(-1000, "B1.0", region=1), make_flare(1000, "B1.0", region=1))
    listed = FlareList(source="flares.csv", flares=(*flares, *bounds), unused=(), has_regions=True)
    harp_map = HarpMap(source="map.txt", regions={7: (11429,), 8: (11430,)}, repeated=(), without_region=())
    return assign_flares(listed, harp_map, flare_time=FlareTime.START, clock=FrameClock.AS_WRITTEN)


def describe(flares, times=FRAMES, harp=7):
    return describe_history(assign(flares), np.full(len(times), harp), times)


# Flare history ------------------------------------------------------------------------------------------------------


def test_history_counts_what_a_region_did_up_to_a_frame():
    """By hand: at 48 h, an M2.0 of 30 h ago, a C5.0 of 10 h ago; an X1.0 began at 47:50 but peaks at 48:10."""
    flares = [
        make_flare(18, "M2.0", rise_minutes=10),
        make_flare(38, "C5.0"),
        make_flare(38.5, "B9.0"),
        make_flare(47 + 50 / 60, "X1.0", rise_minutes=20),
    ]
    (found,) = describe(flares, np.array([START + 48 * HOUR]))
    values = dict(zip((*HISTORY, *ACTIVITY), found.tolist(), strict=True))
    expected = {
        "M flares": 1,
        "M flares, 24 h": 0,
        "largest flare": np.log10(2e-5),
        "decayed sum": 2 * np.exp(-30 / 24) + 0.5 * np.exp(-10 / 24) + 0.09 * np.exp(-9.5 / 24),
        "log C flares": np.log(2),
        "log M flares": np.log(2),
        "log X flares": 0,
        "log C flares, 24 h": np.log(2),
        "log M flares, 24 h": 0,
        "log X flares, 24 h": 0,
        "largest C flare": 1 + np.log10(20),
        "largest C flare, 24 h": 1 + np.log10(5),
        "log decayed sum, 12 h": np.log10(1 + 20 * np.exp(-30 / 12) + 5 * np.exp(-10 / 12)),
        "log decayed sum, 48 h": np.log10(1 + 20 * np.exp(-30 / 48) + 5 * np.exp(-10 / 48)),
        "log hours since C flare": np.log(11),
        "log hours since M flare": np.log(31),
    }
    assert values == pytest.approx(expected, abs=1e-12)
    (later,) = describe(flares, np.array([START + 48 * HOUR + np.timedelta64(10, "m")]))
    assert later[HISTORY.index("M flares")] == 2  # the X1.0 has peaked


def test_a_quiet_region_has_a_history_of_nothing_and_an_unknown_one_has_none():
    quiet = describe([], harp=8)
    assert set(map(tuple, quiet)) == {(0, 0, -9, 0, *[0] * 10, np.log(241), np.log(241))}
    assert np.isnan(describe([make_flare(1, "X1.0")], harp=9)).all()  # not in the map
    beyond = np.array([START - 1001 * HOUR, START + 1001 * HOUR])
    assert np.isnan(describe([make_flare(1, "X1.0")], beyond)).all()


FLARES = st.lists(
    st.tuples(
        st.integers(-50, 140), st.sampled_from(["B5.0", "C1.0", "C9.9", "M1.0", "M5.5", "X2.0"]), st.integers(0, 90)
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(earlier=FLARES, later=FLARES, position=st.integers(0, len(FRAMES) - 1))
def test_a_flare_that_is_not_known_yet_changes_nothing(earlier, later, position):
    now = (FRAMES[position] - START) / HOUR
    known = [make_flare(hours, name, rise_minutes=rise) for hours, name, rise in earlier]
    future = [make_flare(hours, name, rise_minutes=rise) for hours, name, rise in later if hours + rise / 60 > now]
    times = FRAMES[: position + 1]
    np.testing.assert_array_equal(describe([*known, *future], times)[-1], describe(known, times)[-1])


# Keywords -----------------------------------------------------------------------------------------------------------


def test_the_course_is_the_mean_the_slope_and_the_largest_value():
    random = np.random.default_rng(0)
    keywords = np.exp(random.normal(size=(5, 16, len(KEYWORDS))))
    hours = np.cumsum(random.choice(np.array([0, 1.6, 3.2]), size=(5, 16)), axis=1)
    keywords[random.random(keywords.shape) < 0.3] = np.nan
    keywords[0, :, 3] = np.nan  # missing throughout
    keywords[1, :15, 4] = np.nan  # in one frame only
    floors = np.full(len(EXTENSIVE), 0.5)
    found = describe_course(keywords, hours, floors)
    assert found.shape == (5, len(COURSE))
    for sample in range(5):
        for column, name in enumerate(KEYWORDS):
            values = keywords[sample, :, column]
            values = np.log10(np.maximum(values, 0.5)) if name in EXTENSIVE else values
            has = ~np.isnan(values)
            mean, slope, largest = found[sample, column :: len(KEYWORDS)]
            if not has.any():
                assert np.isnan([mean, slope, largest]).all()
                continue
            several = len(set(hours[sample, has])) > 1
            line = np.polyfit(hours[sample, has] / 24, values[has], 1)[0] if several else 0
            assert (mean, largest) == pytest.approx((values[has].mean(), values[has].max()))
            assert slope == pytest.approx(line, rel=1e-6, abs=1e-9)


def test_floors_are_the_smallest_positive_values():
    keywords = np.ones((4, len(KEYWORDS)))
    keywords[:, KEYWORDS.index("USFLUX")] = [0, 3, 2, np.nan]
    keywords[:, KEYWORDS.index("TOTPOT")] = [0, -1, 0, np.nan]
    floors = dict(zip(EXTENSIVE, find_floors(keywords).tolist(), strict=True))
    assert (floors["USFLUX"], floors["TOTPOT"], floors["AREA_ACR"]) == (2, 1, 1)


def test_inputs_are_those_of_the_frames_of_each_sequence():
    times = START + np.arange(18) * 8 * HOUR
    codes = pack_codes(np.full(18, 7), times)
    frames = LabelledFrames(codes, np.zeros(18, np.uint8), np.arange(18, dtype=np.uint32))
    rows = {(7, time): row for row, time in enumerate(times.astype(np.int64).tolist()) if row != 5}
    table = KeywordTable(source="k.csv", rows=rows, values=np.repeat(np.arange(18.0)[:, None], len(KEYWORDS), axis=1))
    inputs = gather_inputs(
        build_sequences(frames, part=Part.TEST),
        keywords=table,
        flares=assign([make_flare(3, "M1.0")]),
        with_course=True,
    )
    np.testing.assert_array_equal(inputs.keywords_nTK[17, :, 0], [2, 3, 4, np.nan, *range(6, 18)])
    np.testing.assert_array_equal(np.diff(inputs.hours_nT[17]), 8)
    assert inputs.keywords_nTK[1, :, 0].tolist() == [0] * 8 + [1] * 8  # a short sequence repeats its frames
    assert inputs.history_nF[:, 0].tolist() == [0, *[1] * 17]
    assert np.isnan(inputs.last[5]).all()


# Models -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def training():
    random = np.random.default_rng(1)
    features = random.normal(size=(600, 5))
    features[random.random(features.shape) < 0.15] = np.nan
    labels = (np.nan_to_num(features[:, 0]) + np.isnan(features[:, 1]) + random.normal(size=600) > 1).astype(np.int64)
    return features, labels


def test_trees_forecast_what_scikit_learn_forecasts(training):
    features, labels = training
    options = {"max_iter": 15, "max_leaf_nodes": 6, "early_stopping": False}
    boosting = HistGradientBoostingClassifier(**options).fit(features, labels)
    random = np.random.default_rng(2)
    others = np.where(random.random((400, 5)) < 0.3, np.nan, random.normal(size=(400, 5)) * 2)
    logits = take_trees(boosting).logits(others)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), boosting.predict_proba(others)[:, 1], rtol=0, atol=1e-12)


def test_a_regression_forecasts_what_scikit_learn_forecasts(training):
    features, labels = training
    found = fit_logistic(features, labels, penalty_c=0.1).logits(features)
    filled = np.where(np.isnan(features), np.nanmedian(features, axis=0), features)
    standardised = (filled - filled.mean(axis=0)) / filled.std(axis=0)
    regression = LogisticRegression(C=0.1, class_weight="balanced", solver="newton-cholesky", tol=1e-13)
    np.testing.assert_allclose(found, regression.fit(standardised, labels).decision_function(standardised), atol=1e-10)


def test_a_feature_that_training_lacks_or_that_is_constant_has_no_effect(training):
    features, labels = training
    widened = np.column_stack([features, np.full(len(features), np.nan), np.full(len(features), 3.0)])
    model = fit_logistic(widened, labels, penalty_c=0.1)
    assert model.coefficients[5:] == (0, 0)
    changed = widened.copy()
    changed[:, 5] = 99
    trees = fit_trees(widened, labels, options={"max_iter": 3})
    for fitted in (model, trees):
        np.testing.assert_array_equal(fitted.logits(changed), fitted.logits(widened))


def test_trees_forecast_as_if_both_classes_were_equally_frequent(training):
    features, labels = training
    rate = labels.mean()
    boosting = HistGradientBoostingClassifier(max_iter=3, early_stopping=False).fit(features, labels)
    expected = boosting.decision_function(features) - np.log(rate / (1 - rate))
    np.testing.assert_allclose(fit_trees(features, labels, options={"max_iter": 3}).logits(features), expected)


def make_inputs(seed, num=300):
    random = np.random.default_rng(seed)
    return SampleInputs(
        keywords_nTK=np.exp(random.normal(size=(num, 16, len(KEYWORDS)))),
        hours_nT=np.cumsum(np.full((num, 16), 1.6), axis=1),
        history_nF=random.normal(size=(num, len(HISTORY) + len(ACTIVITY))),
    )


def shorten(recipe):
    """Return a recipe with few trees, which take a second to fit otherwise."""
    return replace(recipe, trees={**recipe.trees, "max_iter": 2, "min_samples_leaf": 5} if recipe.trees else {})


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name.folder_name)
def test_a_forecaster_reads_back_as_it_was_fitted(recipe, tmp_path):
    inputs, recipe = make_inputs(3), shorten(recipe)
    labels = (inputs.last[:, 0] > 1).astype(np.int64) ^ (np.arange(300) % 7 == 0)
    forecaster = fit_forecaster(recipe, [inputs], labels)
    path = tmp_path / "forecaster.json"
    path.write_bytes(encode_forecaster(forecaster))
    read = read_forecaster(path)
    assert read == forecaster
    others = make_inputs(4)
    probability = read.forecast(others)
    np.testing.assert_array_equal(probability, forecaster.forecast(others))
    assert ((probability > 0) & (probability < 1)).all()
    content = json.loads(path.read_text())
    content["floors"][0] = 99.0
    path.write_text(json.dumps(content))
    with pytest.raises(DamageError, match="expected a fitted forecaster, found content that does not match"):
        read_forecaster(path)


def test_two_models_are_averaged_by_their_logits():
    inputs = make_inputs(5)
    labels = np.arange(300) % 2
    both = [fit_forecaster(shorten(recipe), [inputs], labels) for recipe in RECIPES[2:4]]
    together = replace(both[0], trees=both[1].trees)
    logits = [np.log(one.forecast(inputs) / (1 - one.forecast(inputs))) for one in both]
    np.testing.assert_allclose(together.forecast(inputs), 1 / (1 + np.exp(-np.mean(logits, axis=0))), atol=1e-12)


def test_numbers_that_are_no_model_are_refused():
    numbers: dict[str, Any] = {
        "fills": (0.0,),
        "means": (0.0,),
        "scales": (1.0,),
        "coefficients": (1.0,),
        "intercept": 0.0,
    }
    model = LogisticModel(**numbers)
    for wrong in ({"scales": (0.0,)}, {"means": (0.0, 1.0)}, {"intercept": float("nan")}):
        with pytest.raises(ValueError, match="regression|scales"):
            LogisticModel(**numbers | wrong)
    leaf: dict[str, Any] = {
        "feature": (0,),
        "threshold": (0.0,),
        "missing_left": (True,),
        "left": (0,),
        "right": (0,),
        "value": (1.0,),
    }
    Tree(**leaf)
    loop: dict[str, Any] = {name: column * 2 for name, column in leaf.items()} | {"left": (1, 0), "right": (1, 0)}
    with pytest.raises(ValueError, match="node 1 of a tree must come before its children"):
        Tree(**loop)
    with pytest.raises(ValueError, match="the models must take 24 features"):
        TabularForecaster(
            groups=(InputGroup.KEYWORDS,),
            features=RECIPES[0].features,
            floors=(1.0,) * len(EXTENSIVE),
            logistic=model,
        )


# Keywords in the headers of FITS files --------------------------------------------------------------------------------


class Notes(Silent):
    """Progress that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message):
        """Keep a note."""
        self.notes.append(str(message))


def test_keywords_are_read_from_the_headers_of_fits_files(tmp_path):
    keywords: dict[str, Any] = {name: 1.5 * number for number, name in enumerate(KEYWORDS)}
    files = {
        file_name(1449, "20120307_002400"): make_fits(1449, "20120307_002400", **keywords),
        file_name(1449, "20120307_012400"): make_fits(1449, "20120307_012400", USFLUX=2e22, R_VALUE="MISSING"),
        file_name(1455, "20120307_002400"): b"\0" * 2880,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    progress = Notes()
    table = take_header_keywords(tmp_path, progress=progress)
    seconds = [np.datetime64(time, "s").astype(int).item() for time in ("2012-03-07T00:24", "2012-03-07T01:24")]
    assert table.rows == {(1449, seconds[0]): 0, (1449, seconds[1]): 1}
    assert table.values[0].tolist() == [1.5 * number for number in range(len(KEYWORDS))]
    assert table.values[1, KEYWORDS.index("USFLUX")] == 2e22
    assert np.isnan(np.delete(table.values[1], KEYWORDS.index("USFLUX"))).all()
    assert [note.split(":")[0].rpartition("/")[2] for note in progress.notes] == [file_name(1455, "20120307_002400")]
