"""Baselines: what they forecast, what they may know, and the table of keywords."""

from __future__ import annotations

import gzip
import json
from datetime import datetime

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from sffshards import forecasting
from sffshards.base.errors import ConflictError, InputError
from sffshards.cli import command_list
from sffshards.cli.baselines_text import describe_flare_lists, format_flare_lists
from sffshards.domain.sample_sets import Part, Protocol, Stage
from sffshards.domain.task import M1, M24, M48
from sffshards.flares import FlareTime, FrameClock, assign_flares, has_known_flare, read_flare_list, read_harp_map
from sffshards.forecasting.baselines.baseline_forecasts import forecast_baselines, forecast_fitted
from sffshards.forecasting.baselines.baseline_runs import check_runs, write_references
from sffshards.forecasting.baselines.baseline_samples import BaselineSet, Samples, read_samples, rebuild_labels
from sffshards.forecasting.baselines.baseline_scores import BaselineName, describe_baselines, score_baselines
from sffshards.forecasting.baselines.fitted_folds import fit_recipes
from sffshards.forecasting.baselines.model_fitting import RECIPES, fit_forecaster
from sffshards.forecasting.baselines.skill_comparison import compare_skill
from sffshards.forecasting.runs import gather_runs
from sffshards.labels.data_layout import find_label_lists
from sffshards.tabular.keyword_tables import EXTENSIVE, KEYWORDS, KeywordTable, read_keyword_table
from sffshards.tabular.sample_inputs import SampleInputs
from sffshards.verification.contingency_tables import count_outcomes
from sffshards.verification.score_names import ProbabilityScore, ScoreName, compute_score
from sffshards.verification.threshold_curves import ThresholdRule, choose_threshold
from tests.commands import error_of, run
from tests.tiny import frame_name, make_data

NUM_HARPS = 8


def forecast_regression(training, labels, sets):
    """Fit the logistic regression of the baselines, and forecast sets."""

    def take(values):
        nothing = np.zeros((len(values), 1))
        return SampleInputs(keywords_nTK=values[:, None], hours_nT=nothing, history_nF=nothing)

    forecaster = fit_forecaster(RECIPES[0], [take(training)], labels)
    return [forecaster.forecast(take(values)) for values in sets]


def make_samples(seed=0, *, num_frames=15):
    """Parts of eight HARPs, half of which flare, a day each; keywords that tell most of it."""
    random = np.random.default_rng(seed)
    samples: dict[Part, Samples] = {}
    keys: dict[tuple[int, int], int] = {}
    values = []
    for position, part in enumerate(Part):
        harp = np.repeat(np.arange(1, NUM_HARPS + 1) + 100 * position, num_frames)
        start = np.datetime64("2012-03-07", "s") + np.timedelta64(30 * position, "D")
        times = np.tile(start + np.arange(num_frames) * np.timedelta64(96, "m"), NUM_HARPS)
        label = (harp % 2) * (random.random(len(harp)) < 0.6)
        samples[part] = Samples(harp=harp, t_end_tai=times, label=label)
        for of_harp, time, flares in zip(harp.tolist(), times.astype(int).tolist(), label.tolist(), strict=True):
            keys[of_harp, time] = len(keys)
            values.append(np.exp(random.normal(flares, 1, len(KEYWORDS))))
    return samples, KeywordTable(source="keywords.csv", rows=keys, values=np.array(values))


def compute(samples, **options):
    options = {"task": M24, "protocol": Protocol.PAPER, "seed": 123, **options}
    return score_baselines(forecast_baselines(samples, **options))


# Forecasts ----------------------------------------------------------------------------------------------------------


def test_without_more_than_labels_there_are_four_baselines():
    samples, _ = make_samples()
    made = {baseline.name: baseline for baseline in compute(samples)}
    assert list(made) == list(BaselineName)[:4]
    rate = np.mean(np.concatenate([samples[part].label for part in Part if part is not Part.TEST]))
    climatology = made[BaselineName.CLIMATOLOGY]
    assert set(climatology.forecasts[0].probability) == {rate}
    assert climatology.mean[ProbabilityScore.BRIER_SKILL].estimate == 0
    assert made[BaselineName.NO_SKILL].forecasts[0].probability.mean() == pytest.approx(rate, abs=0.1)
    assert abs(made[BaselineName.NO_SKILL].mean[ScoreName.TSS].estimate) < 0.15


def test_history_is_that_of_all_parts_and_of_nothing_later():
    # HARP 7 flares in the last part before Test and goes on into it; HARP 8 flares for the first time in Test.
    day = np.timedelta64(24, "h")
    start = np.datetime64("2012-03-07", "s")

    def part(*rows):
        harp, number, label = (np.array(column) for column in zip(*rows, strict=True))
        return Samples(harp=harp, t_end_tai=start + number * day, label=label)

    samples = {part_name: part((position, 0, 0), (50 + position, 0, 1)) for position, part_name in enumerate(Part)}
    samples[Part.TRAIN_VAL_4] = part((7, 0, 1), (7, 1, 0))
    samples[Part.TEST] = part((7, 2, 0), (7, 3, 1), (8, 0, 1), (8, 1, 0), (8, 2, 0))
    made = {baseline.name: baseline.forecasts[0].probability.tolist() for baseline in compute(samples)}
    assert made[BaselineName.PERSISTENCE] == [0, 0, 0, 1, 0]
    assert made[BaselineName.EVER_FLARED] == [1, 1, 0, 1, 1]


def test_history_by_a_flare_list_counts_what_came_up_to_now(tmp_path):
    data = make_data(tmp_path / "data")
    samples = read_samples(find_label_lists(data)[M24])
    harp = int(samples[Part.TEST].harp[0])
    t_first = samples[Part.TEST].t_end_tai[0]
    (tmp_path / "flares.csv").write_text(f"start_time,label,noaa_ar\n{t_first + np.timedelta64(96, 'm')},M1.0,11429\n")
    (tmp_path / "map.txt").write_text(f"{harp} 11429\n")
    flares = assign_flares(
        read_flare_list(tmp_path / "flares.csv"),
        read_harp_map(tmp_path / "map.txt"),
        flare_time=FlareTime.START,
        clock=FrameClock.AS_WRITTEN,
    )
    made = {baseline.name: baseline for baseline in compute(samples, flares=flares)}
    for name in (BaselineName.PERSISTENCE, BaselineName.EVER_FLARED):
        # Five frames of a HARP: the flare is at the second, which knows of it. The other HARP has none.
        assert made[name].forecasts[0].probability.tolist() == [0, 1, 1, 1, 1, 0, 0, 0, 0, 0]
        assert made[name].source == "the flare list, M1.0 and above"


def test_a_flare_of_the_list_is_known_from_its_peak_on(tmp_path):
    # Frames at 00:00, 01:36, 03:12, ...; the first flare starts before the second frame and peaks after it, the second
    # has no peak in the list, so that its start counts, and the third is too weak.
    rows = [
        "2012-03-07 01:30,2012-03-07 01:40,M1.0,11001",
        "2012-03-07 01:30,,M1.0,11002",
        "2012-03-07 00:00,,C9.9,11003",
    ]
    (tmp_path / "flares.csv").write_text("\n".join(["start_time,peak_time,goes_class,noaa_ar", *rows]))
    (tmp_path / "map.txt").write_text("1 11001\n2 11002\n3 11003\n")
    flares = assign_flares(
        read_flare_list(tmp_path / "flares.csv"),
        read_harp_map(tmp_path / "map.txt"),
        flare_time=FlareTime.START,
        clock=FrameClock.AS_WRITTEN,
    )
    times = np.datetime64("2012-03-07", "s") + np.arange(18) * np.timedelta64(96, "m")
    for harp, first in ((1, 2), (2, 1), (3, 18), (4, 18)):
        for within_hours, end in ((24, 15 + 1), (None, 18)):
            found = has_known_flare(flares, np.full(18, harp), times, threshold=M1, within_hours=within_hours)
            # The start of 01:30 is in the 24 hours before the frames up to 01:30 of the next day, frame 15 of 00:00.
            assert found.tolist() == [first <= number < end for number in range(18)], (harp, within_hours)


def test_a_map_of_other_harps_is_refused(tmp_path):
    samples = read_samples(find_label_lists(make_data(tmp_path / "data"))[M24])
    (tmp_path / "flares.csv").write_text("start_time,label,noaa_ar\n2011-02-13 05:00,M1.0,11429\n")
    (tmp_path / "map.txt").write_text("9999 11429\n")
    flares = assign_flares(
        read_flare_list(tmp_path / "flares.csv"),
        read_harp_map(tmp_path / "map.txt"),
        flare_time=FlareTime.START,
        clock=FrameClock.AS_WRITTEN,
    )
    with pytest.raises(InputError, match=r"map\.txt: expected HARPs of the frames in the label lists, such as 100"):
        compute(samples, flares=flares)


def test_regression_is_that_of_a_scikit_learn_pipeline():
    samples, table = make_samples()
    training, test = (table.of_frames(samples[part].codes) for part in (Part.TRAIN_VAL_0, Part.TEST))
    labels = samples[Part.TRAIN_VAL_0].label
    training[3, 2] = training[5, 0] = test[1, 4] = np.nan
    test[2] = np.nan  # a frame that the table lacks
    training[7, 0], test[3, 0] = 0, 0
    (found,) = forecast_regression(training, labels, [test])

    columns = [KEYWORDS.index(name) for name in EXTENSIVE]
    least = np.array([training[training[:, c] > 0, c].min() for c in columns])

    def widen(values):
        return np.hstack([values, np.log10(np.maximum(values[:, columns], least))])

    pipeline = make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000, tol=1e-10),
    )
    pipeline.fit(widen(training), labels)
    np.testing.assert_allclose(found, pipeline.predict_proba(widen(test))[:, 1], rtol=1e-6)


def test_regression_is_fitted_by_fold_and_its_thresholds_are_chosen_on_validation():
    samples, table = make_samples()
    made = [baseline for baseline in compute(samples, keywords=table) if baseline.name is BaselineName.REGRESSION]
    assert [baseline.rule for baseline in made] == [*ThresholdRule, ThresholdRule.HALF]
    assert [baseline.title for baseline in made] == ["logistic regression"] * 3 + ["logistic regression, Platt"]
    parts = list(Part)
    for baseline in made:
        assert baseline.folds == (0, 1, 2, 3, 4)
    for fold in range(5):
        training = [parts[(fold + i) % 5] for i in range(4)]
        labels = np.concatenate([samples[part].label for part in training])
        validation = samples[parts[(fold + 4) % 5]]
        of_validation, of_test = forecast_regression(
            np.concatenate([table.of_frames(samples[part].codes) for part in training]),
            labels,
            [table.of_frames(validation.codes), table.of_frames(samples[Part.TEST].codes)],
        )
        thresholds = [
            0.5,
            *(choose_threshold(validation.label, of_validation, score=s) for s in (ScoreName.TSS, ScoreName.HSS)),
        ]
        calibrated = made[3].forecasts[fold]
        # Platt's targets by scikit-learn: each sample counts as both classes, weighted by its target.
        targets = {
            1: (sum(validation.label) + 1) / (sum(validation.label) + 2),
            0: 1 / (sum(validation.label == 0) + 2),
        }
        of_flare = np.array([targets[label] for label in validation.label.tolist()])
        logits = np.log(of_validation / (1 - of_validation))[:, None]
        line = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(
            np.concatenate([logits, logits]),
            np.repeat([1, 0], len(logits)),
            sample_weight=np.concatenate([of_flare, 1 - of_flare]),
        )
        expected = line.predict_proba(np.log(of_test / (1 - of_test))[:, None])[:, 1]
        np.testing.assert_allclose(calibrated.probability, expected, atol=1e-5)
        assert (calibrated.threshold, calibrated.climatology) == (0.5, labels.mean())
        for baseline, threshold in zip(made[:3], thresholds, strict=True):
            forecast = baseline.forecasts[fold]
            np.testing.assert_array_equal(forecast.probability, of_test)
            assert (forecast.threshold, forecast.climatology) == (threshold, labels.mean())


def test_the_mean_over_folds_and_its_interval_are_of_the_same_harps():
    samples, table = make_samples()
    made = compute(samples, keywords=table)
    regression = made[4]
    each = [
        compute_score(ScoreName.TSS, count_outcomes(samples[Part.TEST].label, f.probability, threshold=f.threshold))
        for f in regression.forecasts
    ]
    mean = regression.mean[ScoreName.TSS]
    assert mean.estimate == pytest.approx(np.mean(each), abs=1e-12)
    assert regression.deviation[ScoreName.TSS] == pytest.approx(np.std(each, ddof=1), abs=1e-12)
    assert mean.low <= mean.estimate <= mean.high
    # Folds agree far better than HARPs do: an interval over folds alone would be many times narrower.
    widths = [scores.interval(ScoreName.TSS).high - scores.interval(ScoreName.TSS).low for scores in regression.scores]
    assert mean.high - mean.low == pytest.approx(np.mean(widths), rel=0.3)
    (described,) = describe_baselines([regression])
    assert described["mean"]["TSS"]["low"] == mean.low
    assert len(described["forecasts"]) == 5
    json.dumps(described, allow_nan=False)


def test_the_published_protocol_trains_on_three_parts_at_24_hours():
    samples, table = make_samples()
    made = [compute(samples, keywords=table, folds=[0], protocol=protocol)[4] for protocol in Protocol]
    assert (made[0].forecasts[0].probability != made[1].forecasts[0].probability).any()
    three = np.concatenate([samples[part].label for part in list(Part)[:3]])
    assert made[1].forecasts[0].climatology == three.mean()


def test_what_cannot_be_fitted_is_refused():
    samples, table = make_samples()
    calm = {
        **samples,
        **{part: Samples(harp=s.harp, t_end_tai=s.t_end_tai, label=s.label * 0) for part, s in samples.items()},
    }
    with pytest.raises(
        InputError, match=r"regression, fold 0: expected both classes in training, found 480 samples of one"
    ):
        compute(calm, keywords=table)
    part = samples[Part.TRAIN_VAL_4]
    calm = {**samples, Part.TRAIN_VAL_4: Samples(harp=part.harp, t_end_tai=part.t_end_tai, label=part.label * 0)}
    with pytest.raises(InputError, match=r"fold 0: expected both classes in validation \(TrainVal4\)"):
        compute(calm, keywords=table)
    other = KeywordTable(source="other.csv", rows={(1, 2): 0}, values=np.ones((1, len(KEYWORDS))))
    with pytest.raises(InputError, match=r"other\.csv: expected frames of Test, found none of them"):
        compute(samples, keywords=other)


# Tables of keywords -------------------------------------------------------------------------------------------------

NAMES = ",".join(KEYWORDS)
NUMBERS = ",".join(str(number) for number in range(1, 18))


def test_a_table_is_found_by_frame_whatever_its_form(tmp_path):
    samples = Samples(
        harp=np.array([500, 500, 501]),
        t_end_tai=np.array(["2011-02-13T00:00:00", "2011-02-13T01:36:00", "2011-02-13T00:00:00"], "datetime64[s]"),
        label=np.zeros(3, np.int64),
    )
    blank = NUMBERS.replace("1,2,", "nan,,", 1)
    named = f"frame,{NAMES},more\n{frame_name(500, 0)},{NUMBERS},x\n{frame_name(500, 1)},{blank},x\n"
    jsoc = f"T_REC,HARPNUM,{NAMES}\n2011.02.13_00:00:00_TAI,500,{NUMBERS}\n2011.02.13_01:36:00_TAI,500,{blank}\n"
    (tmp_path / "named.csv.gz").write_bytes(gzip.compress(named.encode()))
    (tmp_path / "jsoc.csv").write_text(jsoc)
    for name in ("named.csv.gz", "jsoc.csv"):
        table = read_keyword_table(tmp_path / name)
        found = table.of_frames(samples.codes)
        assert found[0].tolist() == list(range(1, 18))
        assert np.isnan(found[1, :2]).all()
        assert found[1, 2:].tolist() == list(range(3, 18))
        assert np.isnan(found[2]).all()
        assert table.count_lacking(samples.codes) == 1
        assert table.count_incomplete(samples.codes) == 1


def test_a_table_states_near_real_time_numbers_in_a_comment(tmp_path):
    rows = f"frame,{NAMES}\n{frame_name(500, 0)},{NUMBERS}\n"
    for first, numbers in (("", "definitive"), ("# near-real-time\n", "near-real-time")):
        (tmp_path / "k.csv").write_text(first + rows)
        assert read_keyword_table(tmp_path / "k.csv").harp_numbers == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"k\.csv: expected columns of 17 SHARP keywords, found none of them, but nothing; check that"),
        (
            "start_time,class\n",
            "found none of them, but START_TIME, CLASS; check that this is a table of SHARP keywords",
        ),
        (
            f"{NAMES}\n",
            r"k\.csv: expected columns of a frame and of 17 SHARP keywords, found no frame \(or HARPNUM and T_REC\)",
        ),
        (f"HARPNUM,{NAMES}\n", r"k\.csv: .*, found no T_REC;"),
        ("frame,USFLUX\n", r"found no MEANGAM, MEANGBT, "),
        (f"frame,{NAMES}\n", r"k\.csv: expected rows of keywords, found none"),
        (f"frame,{NAMES}\n{frame_name(1, 0)},1\n", r"k\.csv:2: expected 18 fields, found 2"),
        (f"frame,{NAMES}\nAR1,{NUMBERS}\n", r"k\.csv:2: expected a name of the form"),
        (
            f"HARPNUM,T_REC,{NAMES}\n1,2011-02-13,{NUMBERS}\n",
            r"k\.csv:2: expected T_REC in TAI, such as .*, found '2011-02-13'",
        ),
        (
            f"frame,{NAMES}\n{frame_name(1, 0)},a{NUMBERS}\n",
            r"k\.csv:2: expected a number in column USFLUX, found 'a1'",
        ),
        (f"HARPNUM,T_REC,{NAMES}\nAR1,2011.02.13_00:00:00_TAI,{NUMBERS}\n", r"k\.csv:2: expected HARPNUM such as 377"),
        (f"HARPNUM,T_REC,{NAMES}\n1,2011-02-13T00:00:00Z,{NUMBERS}\n", r"k\.csv:2: expected T_REC in TAI"),
        (f"frame,{NAMES},usflux\n{frame_name(1, 0)},{NUMBERS},1\n", r"expected every column once, found USFLUX again"),
        (
            f"frame,{NAMES}\n{frame_name(1, 0)},{NUMBERS}\n".replace(",", ";"),
            r"k\.csv:1: expected columns separated by commas, found semicolons",
        ),
        (f"frame,{NAMES}\n{frame_name(1, 0)},inf{NUMBERS[1:]}\n", r"expected a number in column USFLUX, found 'inf'"),
        *(
            (
                f"frame,{NAMES}\n{frame_name(1, 0)},{NUMBERS}\n{frame_name(1, 1)},{huge}{NUMBERS[1:]}\n",
                rf"k\.csv:3: expected a number of at most 1e\+36 in size in column USFLUX, found '{huge}'",
            )
            for huge in ("1e308", "-1e308")
        ),
        (
            f"frame,{NAMES}\n" + f"{frame_name(1, 0)},{NUMBERS}\n" * 2,
            r"k\.csv:3: expected every frame once, found HARP 1 at",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "k.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_keyword_table(tmp_path / "k.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "harp", "time"),
    [
        ("HARPNUM,T_REC", "377.0", "2011.02.13_00:00:00_TAI"),
        ("harpnum,t_rec", "377", "2011-02-13 00:00:00"),
        ("HARPNUM,T_REC", "377", "2011-02-13T00:00:00"),
        ("HARPNUM,T_REC", "377.", "2011.02.13_00:00_TAI"),
        ("HARPNUM,T_REC", "377", "2011-02-13 00:00:00.000"),
    ],
)
def test_a_frame_is_known_as_jsoc_or_pandas_writes_it(tmp_path, columns, harp, time):
    for encoding in ("utf-8", "utf-8-sig"):
        text = f"{columns},{NAMES.lower()}\n{harp},{time},{NUMBERS.replace('17', '<NA>')}\n"
        (tmp_path / "k.csv").write_text(text, encoding=encoding)
        table = read_keyword_table(tmp_path / "k.csv")
        assert list(table.rows) == [(377, 1297555200)]
        assert table.values[0, :16].tolist() == list(range(1, 17))
        assert np.isnan(table.values[0, 16])


@given(
    st.lists(
        st.one_of(st.text(max_size=40), st.sampled_from([f"frame,{NAMES}", f"{frame_name(1, 0)},{NUMBERS}", '"'])),
        max_size=6,
    )
)
def test_any_text_is_read_or_refused(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("any") / "k.csv"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    refused = None
    try:
        table = read_keyword_table(path)
    except InputError as error:
        refused = str(error)
    if refused is not None:
        assert refused.startswith(str(path))
        assert "\n" not in refused
    else:
        assert sorted(table.rows.values()) == list(range(len(table.values))) != []


@pytest.mark.parametrize("field", ["1_000", "\u0663", "1.5D+22", "0x10", "1e400"])
def test_a_number_that_others_read_otherwise_is_refused(tmp_path, field):
    (tmp_path / "k.csv").write_text(f"frame,{NAMES}\n{frame_name(1, 0)},{field},{NUMBERS.partition(',')[2]}\n")
    with pytest.raises(InputError, match=r"k\.csv:2: expected a number in column"):
        read_keyword_table(tmp_path / "k.csv")


@pytest.mark.parametrize("field", ["-9999", "-9999.0", "-999", "?"])
def test_a_number_that_stands_for_none_is_missing(tmp_path, field):
    (tmp_path / "k.csv").write_text(f"frame,{NAMES}\n{frame_name(1, 0)},{field},{NUMBERS.partition(',')[2]}\n")
    assert np.isnan(read_keyword_table(tmp_path / "k.csv").values).sum() == 1


def test_a_keyword_row_of_the_future_is_refused(tmp_path):
    name = "hmi.sharp_720s.1.29510213_000000_TAI.magnetogram"
    (tmp_path / "k.csv").write_text(f"frame,{NAMES}\n{name},{NUMBERS}\n")
    with pytest.raises(InputError, match=r"k\.csv:2: expected a time in the past, found 2951-02-13T00:00:00"):
        read_keyword_table(tmp_path / "k.csv")


def test_a_truncated_compressed_table_is_refused(tmp_path):
    (tmp_path / "k.csv.gz").write_bytes(gzip.compress(b"frame" * 1000)[:-9])
    with pytest.raises(InputError, match=r"k\.csv\.gz: expected a whole gzip file, found "):
        read_keyword_table(tmp_path / "k.csv.gz")


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Lists of four HARPs a part, keywords of all frames but one, a flare list and a map."""
    home = tmp_path_factory.mktemp("home")
    make_data(home / "data", harps_per_part=4)
    random = np.random.default_rng(1)
    names = [
        line.split()[0]
        for path in sorted((home / "data" / "M48").glob("*.txt"))
        for line in path.read_text().splitlines()
    ]
    lines = [f"{name},{','.join(map(str, random.random(17)))}" for name in names if name != frame_name(600, 2)]
    (home / "keywords.csv").write_text("\n".join([f"frame,{NAMES}", *lines]))
    (home / "flares.csv").write_text("start_time,label,noaa_ar\n2011-02-14 05:00,M1.0,11429\n2011-02-15 05:00,X1.0,0\n")
    (home / "map.txt").write_text("601 11429\n")
    return home


@pytest.mark.slow
def test_the_command_shows_a_table(home):
    options = ["--horizon", "48h", "--keywords", "keywords.csv", "--folds"]
    done = run("baselines", *options, "--flares", "flares.csv", "--harp-map", "map.txt", cwd=home)
    lines = done.stdout.splitlines()
    assert lines[0] == "48h: Test, 20 samples, 6 positive, of 4 HARPs, 2 of which flare"
    assert [line.split("  ")[1] for line in lines[2:6]] == list(BaselineName)[:4]
    assert sum(line.startswith("    fold ") for line in lines) == 100  # five forecasters, four rows of each
    assert "Highest HSS with a TSS of at least 0.70 on validation, means over folds:" in done.stdout
    assert "no keywords of 1 frame (Test 1), replaced by medians of training" in done.stdout
    assert "flares.csv: 1 of M1.0 and above without a region, not attributed" in done.stderr
    unknown = (
        "48h: persistence assumes no flares where their history is unknown: of 120 frames, "
        "115 of a HARP that map.txt lacks"
    )
    assert unknown in " ".join(done.stderr.split())


@pytest.mark.slow
def test_the_command_prints_and_writes_json(home, tmp_path):
    options = ["--horizon", "48h", "--keywords", "keywords.csv", "--out", tmp_path / "new"]
    printed = json.loads(run("baselines", *options, "--json", cwd=home).stdout)
    written = json.loads((tmp_path / "new" / "baselines.json").read_text())
    assert written == printed
    refused = error_of("baselines", *options, "--seed", 5, cwd=home)
    assert "baselines.json: expected no such file, or one made from the same inputs, found one of other seed" in refused
    (of_horizon,) = printed["tasks"]
    assert of_horizon["num_without_keywords"]["Test"] == 1
    assert [made["threshold_rule"] for made in of_horizon["baselines"]] == ["0.5"] * 5 + [
        *("max TSS", "max HSS", "0.5")
    ]
    assert [made["probability"] for made in of_horizon["baselines"]] == ["raw"] * 7 + ["Platt"]


@pytest.mark.slow
def test_every_forecaster_is_written_as_a_run(home, tmp_path):
    options = ["--horizon", "48h", "--keywords", "keywords.csv", "--flares", "flares.csv", "--harp-map", "map.txt"]
    done = run("baselines", *options, "--runs", tmp_path / "runs", cwd=home)
    assert "48h: 9 runs" in done.stderr
    found = {one.folder.name: one for one in gather_runs(tmp_path / "runs")}
    assert set(found) == {
        *("no-skill", "climatology", "persistence", "ever-flared"),
        *("keywords", "history", "keywords-history", "gradient-boosting", "course"),
    }
    samples = read_samples(find_label_lists(home / "data")[M48])
    test = samples[Part.TEST]
    order = np.lexsort((test.t_end_tai, test.harp))
    for name, one in found.items():
        assert [fold.number for fold in one.folds] == [0, 1, 2, 3, 4]
        assert one.kind == ("baseline" if list(found).index(name) < 4 else "keywords")
        for fold in one.folds:
            np.testing.assert_array_equal(fold.tables[Stage.TEST].label, test.label[order])
            assert fold.missing == {Stage.TRAIN: "forecasts of the training set are not kept"}
            assert (fold.folder / "forecaster.json").is_file() == (one.kind == "keywords")
    # HARP 601 flared at 05:00 on the 14th; a frame knows of it from then on.
    expected = (test.harp == 601) & (test.t_end_tai >= np.datetime64("2011-02-14T05:00"))
    np.testing.assert_array_equal(found["persistence"].folds[3].tables[Stage.TEST].probability, expected[order])
    table = read_keyword_table(home / "keywords.csv")
    regression = compute(samples, task=M48, keywords=table)[4]
    for fold, forecast in zip(found["keywords"].folds, regression.forecasts, strict=True):
        np.testing.assert_array_equal(fold.tables[Stage.TEST].probability, forecast.probability[order])
        assert fold.climatology == forecast.climatology
    for name, more in (("keywords", ()), ("course", options[4:])):
        chosen = ["--run", tmp_path / "runs" / "48h" / name, "--keywords", "keywords.csv", *more]
        told = json.loads(run("predict", *chosen, "--every", "--format", "json", cwd=home).stdout)
        assert {member["model"] for member in told["members"]} == {found[name].name}
        of_frames = {(one["harp"], one["t_end_tai"]): one["raw_probability"] for one in told["regions"]}
        mean = np.mean([fold.tables[Stage.TEST].probability for fold in found[name].folds], axis=0)
        tables = found[name].folds[0].tables[Stage.TEST]
        for harp, time, probability in zip(tables.harp.tolist(), tables.t_end_tai.tolist(), mean, strict=True):
            if harp != 600:  # of which the table lacks a frame
                assert of_frames[harp, time.isoformat()] == pytest.approx(probability, abs=1e-12)
    course = ["--run", tmp_path / "runs" / "48h" / "course", "--keywords", "keywords.csv"]
    assert "--flares: expected a flare list, as the run takes flare history, found none" in error_of(
        "predict", *course, cwd=home
    )
    error = error_of("baselines", *options, "--runs", tmp_path / "runs", "--seed", "7", cwd=home)
    assert "no-skill" in error
    assert "found seed 123" in error


def test_a_conflict_of_the_last_run_is_found_before_any_is_fitted(home, tmp_path, monkeypatch):
    def fit(*_, **__):
        raise AssertionError("fitted before the folders were checked")

    monkeypatch.setattr(forecasting.baselines, "fit_recipes", fit)
    last = tmp_path / "rebuilt" / "48h" / "course" / "fold4"
    last.mkdir(parents=True)
    (last / "last.ckpt").write_bytes(b"a network")
    app = typer.Typer()
    command_list.register(app)
    flares = tmp_path / "flares.csv"
    flares.write_text(f"# covers 2011-01-01 to 2012-01-01\n{(home / 'flares.csv').read_text()}")
    sources = ["--keywords", home / "keywords.csv", "--flares", flares, "--harp-map", home / "map.txt"]
    options = [home / "data", "--horizon", "48h", *sources, "--label-set", "both", "--runs", tmp_path]
    options += ["--flares-until", "2011-03-01"]
    done = CliRunner().invoke(app, ["baselines", *map(str, options)])
    assert str(done.exception).startswith(f"{last}: expected a folder without a network, found checkpoints")
    assert not done.stdout
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"flares.csv", "last.ckpt"}


@pytest.mark.slow
def test_a_combination_of_forecasters_of_keywords_forecasts_new_frames(home, tmp_path):
    sources = ["--keywords", "keywords.csv", "--flares", "flares.csv", "--harp-map", "map.txt"]
    run("baselines", "--horizon", "48h", *sources, "--runs", tmp_path, cwd=home)
    members, both = [tmp_path / "48h" / name for name in ("keywords", "keywords-history")], tmp_path / "48h" / "both"
    run("combine", *members, "--name", "both", cwd=home)
    told = json.loads(run("predict", "--run", both, *sources, "--every", "--format", "json", cwd=home).stdout)
    found = {(one["harp"], one["t_end_tai"]): one["raw_probability"] for one in told["regions"]}
    (combined,) = gather_runs(both)
    table = combined.folds[0].tables[Stage.TEST]
    mean = np.mean([fold.tables[Stage.TEST].probability for fold in combined.folds], axis=0)
    keys = [(harp, time.isoformat()) for harp, time in zip(table.harp.tolist(), table.t_end_tai.tolist(), strict=True)]
    expected = {key: probability for key, probability in zip(keys, mean.tolist(), strict=True) if key in found}
    assert len(expected) == 19  # the table of keywords lacks a frame
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9)


def test_flare_lists_are_compared_in_what_all_of_them_forecast():
    """A regression is not fitted to a list by which a part has one class; it has no place in the table."""
    samples, table = make_samples()
    several = compute(samples, keywords=table, folds=[0])
    few = [one for one in several if one.name is not BaselineName.REGRESSION]
    text = format_flare_lists("M24", {"one.csv": several, "two.csv": few})
    assert "  left out, not forecast by two.csv: logistic regression, logistic regression, Platt" in text.splitlines()
    assert text.count("two.csv ") == len(few)
    assert [one["name"] for one in describe_flare_lists({"one.csv": several, "two.csv": few})] == [
        str(one.name) for one in few
    ]


def test_labels_are_rebuilt_from_the_flare_list(tmp_path):
    samples = read_samples(find_label_lists(make_data(tmp_path / "data"))[M24])
    covers, flare = "# covers 2011-01-01 to 2011-04-01", "2011-02-14 01:00,M1.0,11429"
    (tmp_path / "flares.csv").write_text(f"{covers}\nstart_time,label,noaa_ar\n{flare}\n")
    (tmp_path / "map.txt").write_text("600 11429\n")
    harp_map = read_harp_map(tmp_path / "map.txt")

    def rebuild(until: datetime | None = None) -> dict[Part, Samples]:
        read = read_flare_list(tmp_path / "flares.csv", until_utc=until)
        flares = assign_flares(read, harp_map, flare_time=FlareTime.START, clock=FrameClock.AS_WRITTEN)
        return rebuild_labels(samples, flares, task=M24)

    rebuilt = rebuild()
    times = samples[Part.TEST].t_end_tai
    came = np.datetime64("2011-02-14T01:00") - times
    expected = (samples[Part.TEST].harp == 600) & (came > np.timedelta64(0, "s")) & (came <= np.timedelta64(24, "h"))
    np.testing.assert_array_equal(rebuilt[Part.TEST].label, expected)
    assert expected.any()
    # Positive or not, samples whose horizon is not covered are left out.
    end = datetime(2011, 2, 14, 3)
    is_known = times + np.timedelta64(24, "h") <= np.datetime64(end)
    assert expected[is_known].any()
    assert expected[~is_known].any()
    np.testing.assert_array_equal(rebuild(end)[Part.TEST].label, expected[is_known])
    text = (tmp_path / "flares.csv").read_text()
    (tmp_path / "flares.csv").write_text(text.replace("2011-01-01", "2011-02-14"))
    with pytest.raises(InputError, match=r"which covers that of none of \d+; use a list .* `# covers"):
        rebuild(end)
    assert not any(rebuilt[part].label.any() for part in Part if part is not Part.TEST)
    assert (samples[Part.TEST].label != expected).any()


def test_runs_of_baselines_record_how_flares_count(tmp_path):
    samples = read_samples(find_label_lists(make_data(tmp_path / "data"))[M24])
    text = "# covers 2011-01-01 to 2011-04-01\nstart_time,label,noaa_ar\n2011-02-14 01:00,M1.0,11429\n"
    (tmp_path / "flares.csv").write_text(text)
    (tmp_path / "map.txt").write_text("600 11429\n")
    read, harp_map = read_flare_list(tmp_path / "flares.csv"), read_harp_map(tmp_path / "map.txt")
    as_written, tai = (
        BaselineSet(
            task=M24,
            protocol=Protocol.PAPER,
            samples=samples,
            label_set="published",
            sources=(),
            harp_numbers=None,
            flares=assign_flares(read, harp_map, flare_time=FlareTime.START, clock=clock),
            folds=(0,),
        )
        for clock in FrameClock
    )
    (record,) = (fold.record for fold in write_references(tmp_path, as_written, seed=1, force=False)[2].folds)
    assert record.options == {
        "labels": "published",
        "flare_time": "start",
        "clock": "as-written",
        "covers_from": "2011-01-01T00:00:00",
        "covers_until": "2011-04-01T00:00:00",
    }
    check_runs(tmp_path, as_written, [], seed=1, force=False)
    with pytest.raises(ConflictError, match="clock as-written"):
        check_runs(tmp_path, tai, [], seed=1, force=False)


@pytest.mark.slow
def test_without_a_horizon_the_command_does_all_that_have_lists(home):
    text = run("baselines", cwd=home).stdout
    assert [line[:9] for line in text.splitlines() if "Test, " in line] == ["24h: Test", "48h: Test"]
    assert "earlier labels" in text


@pytest.mark.slow
def test_bad_input_ends_in_one_line(home, tmp_path):
    assert "expected both --flares and --harp-map, found no --harp-map" in error_of(
        "baselines", "--flares", "flares.csv", cwd=home
    )
    assert "--label-set: expected published without a flare list, found rebuilt" in error_of(
        "baselines", "--label-set", "rebuilt", cwd=home
    )
    assert "--clock: expected as-written or tai, found 'utc'" in error_of("baselines", "--clock", "utc", cwd=home)
    assert "nowhere: expected lists such as" in error_of("baselines", "nowhere", cwd=home)
    assert "expected a column of the start" in error_of(
        "baselines", "--flares", "map.txt", "--harp-map", "map.txt", cwd=home
    )
    for path in (home / "data" / "M24").iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    assert "expected lists of 48h, found those of 24h" in error_of("baselines", tmp_path, "--horizon", "48h")


# The published lists ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_sources(real_data):
    """Flares of the published regions, and keywords of the published frames."""
    flares = assign_flares(
        read_flare_list(real_data / "catalog" / "flares_2010_2025.csv"),
        read_harp_map(real_data / "catalog" / "harp_to_noaa.txt"),
        flare_time=FlareTime.START,
        clock=FrameClock.AS_WRITTEN,
    )
    return flares, read_keyword_table(real_data / "keywords" / "sharp_keywords.csv.gz")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("task", "regression", "by_hss", "brier_skill", "persistence"),
    [
        (M24, (0.71, 0.20), 0.34, (-3.29, 0.12), (0.4097, 0.3390)),
        (M48, (0.81, 0.44), 0.58, (-0.78, 0.45), (0.5019, 0.4934)),
    ],
)
def test_the_published_lists_give_the_figures_of_the_field(
    real_data, real_sources, task, regression, by_hss, brier_skill, persistence
):
    """Found before by programs of their own, with scikit-learn's pipeline and with plain loops over flares."""
    samples = read_samples(find_label_lists(real_data / "labels")[task])
    flares, table = real_sources
    assert sum(table.count_lacking(of.codes) for of in samples.values()) == 59_384 - 57_860
    made = {
        (baseline.title, baseline.rule): baseline.mean
        for baseline in compute(samples, task=task, flares=flares, keywords=table)
    }
    for key, (tss, hss), tolerance in (
        ((BaselineName.REGRESSION, ThresholdRule.HALF), regression, 0.02),
        ((BaselineName.PERSISTENCE, ThresholdRule.HALF), persistence, 0.0001),
    ):
        assert made[key][ScoreName.TSS].estimate == pytest.approx(tss, abs=tolerance)
        assert made[key][ScoreName.HSS].estimate == pytest.approx(hss, abs=tolerance)
    best = made[BaselineName.REGRESSION, ThresholdRule.MAX_HSS][ScoreName.HSS]
    assert best.estimate == pytest.approx(by_hss, abs=0.02)
    for title, skill in zip(("logistic regression", "logistic regression, Platt"), brier_skill, strict=True):
        mean = made[title, ThresholdRule.HALF]
        assert mean[ProbabilityScore.BRIER_SKILL].estimate == pytest.approx(skill, abs=0.02)
    # A constant forecast has a TSS of 0 whichever region is left out.
    assert made.pop(("climatology", ThresholdRule.HALF))[ScoreName.TSS].reason is not None
    for mean in made.values():
        assert mean[ScoreName.TSS].low <= mean[ScoreName.TSS].estimate <= mean[ScoreName.TSS].high


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("task", "figures", "differences"),
    [
        (
            M24,
            {BaselineName.REGRESSION: (0.708, 0.203), BaselineName.BOTH: (0.723, 0.214)},
            {BaselineName.BOTH: (0.050, 0.022, 0.079), BaselineName.COURSE: (0.051, 0.021, 0.081)},
        ),
        (
            M48,
            {BaselineName.REGRESSION: (0.811, 0.435), BaselineName.BOTH: (0.828, 0.458)},
            {BaselineName.BOTH: (0.067, 0.039, 0.096), BaselineName.COURSE: (0.053, -0.001, 0.106)},
        ),
    ],
)
def test_fitted_forecasters_have_the_figures_of_the_skill_page(real_data, real_sources, task, figures, differences):
    """Figures at 0.5 were found by independent code; the differences are those that the page reports."""
    samples = read_samples(find_label_lists(real_data / "labels")[task])
    flares, table = real_sources
    options = {"task": task, "protocol": Protocol.PAPER, "flares": flares, "keywords": table}
    fitted = fit_recipes(samples, recipes=RECIPES, **options)
    for one in forecast_fitted(samples, fitted, protocol=Protocol.PAPER):
        if one.name in figures and (one.probability, one.rule) == ("raw", ThresholdRule.HALF):
            tables = [count_outcomes(f.label, f.probability, threshold=0.5) for f in one.forecasts]
            found = [np.mean([compute_score(name, of) for of in tables]) for name in (ScoreName.TSS, ScoreName.HSS)]
            assert found == pytest.approx(figures[one.name], abs=0.005)
    rows = {row.name: row.difference for row in compare_skill(samples, fitted)}
    for name, expected in differences.items():
        difference = rows[name]
        assert difference is not None
        assert (difference.estimate, difference.low, difference.high) == pytest.approx(expected, abs=0.003)
