"""Tables of forecasts by other systems: read, joined to labels, scored; what cannot be used is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from sffshards.base.errors import ConflictError, InputError
from sffshards.cli.score import score
from sffshards.domain.frame_codes import harps_of, times_of
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M24, M48
from sffshards.domain.times import TimeScale
from sffshards.flares.harp_map import read_harp_map
from sffshards.forecasting.imported.forecast_tables import ForecastTable, UnusedForecast, read_forecast_table
from sffshards.forecasting.imported.label_joining import JoinedForecasts, describe_joined, join_labels
from sffshards.forecasting.imported.table_scores import find_climatology, score_table
from sffshards.labels.data_layout import find_label_lists
from sffshards.labels.label_lists import read_parts
from sffshards.verification.score_names import ProbabilityScore, ScoreName
from tests.commands import run
from tests.forecast_lists import Row, forecast, make_lists, write_table


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """A data folder with lists for M48, and their rows."""
    folder = tmp_path_factory.mktemp("lists")
    return folder, make_lists(folder)


def read(path: Path, text: str, **options: object) -> ForecastTable:
    path.write_text(text)
    return read_forecast_table(path, **({"task": M48, "time_scale": None} | options))  # type: ignore[arg-type]  # a test's shorthand


def join(folder: Path, table: ForecastTable, **options: object) -> JoinedForecasts:
    return join_labels(table, read_parts(find_label_lists(folder)[M48]), **options)  # type: ignore[arg-type]  # a test's shorthand


def times(table: ForecastTable) -> list[str]:
    return [str(time) for time in times_of(table.codes)]


@pytest.mark.parametrize(
    ("header", "stated", "scale", "expected"),
    [
        ("harp,time,p", "2012-03-06T14:24:00Z", None, "2012-03-06T14:24:34"),
        ("harp,time,p", "2012-07-01 00:00 UTC", TimeScale.TAI, "2012-07-01T00:00:35"),
        ("harp,time,p", "2012-03-06 14:24:00+00:00", None, "2012-03-06T14:24:34"),
        ("HARPNUM,T_REC,Probability", "2012.03.06_14:24:00_TAI", None, "2012-03-06T14:24:00"),
        ("harp,time,p", "20120306_142400_TAI", TimeScale.UTC, "2012-03-06T14:24:00"),
        ("harp,time,p", "2012/3/6 14:24", TimeScale.UTC, "2012-03-06T14:24:34"),
        ("harp,time,p", "2012-03-06T14:23:59.9996", TimeScale.TAI, "2012-03-06T14:24:00"),
        ("harp,t_end_tai,p", "2012-03-06T14:24:00", None, "2012-03-06T14:24:00"),
        ("harp,time_utc,p", "2012-03-06T14:24:00", None, "2012-03-06T14:24:34"),
    ],
)
def test_times_in_utc_and_tai_are_read_as_they_state_it(
    tmp_path: Path, header: str, stated: str, scale: TimeScale | None, expected: str
) -> None:
    table = read(tmp_path / "f.csv", f"{header}\n377,{stated},0.25\n", time_scale=scale)
    assert times(table) == [expected]
    assert harps_of(table.codes).tolist() == [377]
    assert table.probability.tolist() == [0.25]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("harp,time,p\n377,2012-03-06T14:24:00,0.2\n", "csv:2: expected a time whose scale is stated, found '2012-03-"),
        (
            "harp,time,p\n377,2012-03-06,0.2\n",
            "csv:2: expected a time such as 2012-03-06T14:24:00Z, 2012-03-06 14:24 or",
        ),
        ("harp,time,p\n377,06/03/2012 14:24Z,0.2\n", "csv:2: expected a time such as 2012-03-06T14:24:00Z"),
        ("harp,time,p\n377,2012-02-30T14:24:00Z,0.2\n", "csv:2: expected a time that exists, found '2012-02-30T14"),
        ("harp,time,p\n377,2012-03-06T14:24:60Z,0.2\n", "csv:2: expected a time that exists, found '2012-03-06T14:24"),
        ("harp,time,p\n377,1912-03-06T14:24:00Z,0.2\n", "csv:2: expected a time of 1972 to 2199, found '1912-"),
        (
            "harp,time,p\n\n377,2012-03-06T14:24Z,20\n",
            "csv:3: expected a probability from 0 to 1, found '20'; divide perc",
        ),
        (
            "harp,time,p\n377,2012-03-06T14:24Z,-0.1\n",
            "csv:2: expected a probability from 0 to 1, found '-0.1'; correct",
        ),
        (
            "harp,time,p\n377,2012-03-06T14:24Z,high\n",
            "csv:2: expected a probability from 0 to 1, found 'high'; correct",
        ),
        ("harp,time,p\nAR377,2012-03-06T14:24Z,0.1\n", "csv:2: expected a HARP number such as 377, found 'AR377'"),
        ("harp,time,p\n377,2012-03-06T14:24Z\n", "csv:2: expected 3 fields, found 2; check that the file is whole"),
        ("harp,time,p,fold\n377,2012-03-06T14:24Z,0.1,5\n", "csv:2: expected a fold from 0 to 4, found '5'"),
        (
            "harp,time,p,horizon\n377,2012-03-06T14:24Z,0.1,soon\n",
            "csv:2: expected a horizon in hours such as 48, found",
        ),
        ("harp,time,p,task\n377,2012-03-06T14:24Z,0.1,48h\n", "csv:2: expected a task such as M24 or C48"),
        (
            "harp,time,p,task\n377,2012-03-06T14:24Z,0.1,M24\n",
            "csv: expected forecasts of M48, found 1 rows of other tasks",
        ),
        ("harp,time,p\n", "csv: expected forecasts of M48, found no rows"),
        ("harp,time\n377,2012-03-06T14:24Z\n", "csv: expected a column probability (or prob, flare_probability"),
        ("time,p\n2012-03-06T14:24Z,0.1\n", "csv: expected a column harp or noaa (or harpnum, harp_number"),
        ("harp,p\n377,0.1\n", "csv: expected a column time (or time_tai, time_utc"),
        ("harp,time,p,p\n377,2012-03-06T14:24Z,0.1,0.2\n", "csv: expected every column once, found `p` again"),
        (
            "harp,time,p,label\n377,2012-03-06T14:24Z,0.1,1\n",
            "csv: expected no column of what happened, which a forecast",
        ),
        (
            "harp,time,p,Observed_M\n377,2012-03-06T14:24Z,0.1,1\n",
            "found `Observed_M`; remove it: labels are read from",
        ),
        ("harp,time,p,goes_class\n377,2012-03-06T14:24Z,0.1,M1\n", "found `goes_class`; remove it"),
        ("harp,time,p,peak_flux\n377,2012-03-06T14:24Z,0.1,1e-5\n", "found `peak_flux`; remove it"),
        ("harp,time,flare_prob\n377,2012-03-06T14:24Z,0.1\n", "csv: expected a column probability (or prob, flare_"),
        ("harp,time,p,y_true\n377,2012-03-06T14:24Z,0.1,1\n", "found `y_true`; remove it"),
        ("harp;time;p\n377;2012-03-06T14:24Z;0.1\n", "csv:1: expected columns separated by commas, found semicolons"),
        (
            "noaa,time,p\n11158,2012-03-06T14:24Z,0.1\n",
            "csv: expected a map from HARPs to NOAA regions beside a table of",
        ),
        (
            "harp,time,p\n377,2012-03-06T14:24Z,0.1\n378,2012-03-06T14:24Z,0.1\n377,2012-03-06T14:24:34_TAI,0.2\n",
            "csv:4: expected each region and time once, found HARP 377 at 2012-03-06T14:24:34 TAI again, as in line 2",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_line(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(InputError) as found:
        read(tmp_path / "f.csv", text)
    assert error in str(found.value)


def test_other_columns_and_tasks_are_left_out_and_named(tmp_path: Path) -> None:
    text = "harp,time,p,horizon,threshold,model\n" + "".join(
        f"377,2012-03-06T14:24Z,{p},{hours},{threshold},x\n"
        for hours, threshold, p in ((24, "M1.0", 0.1), (48, "M", 0.2), ("48h", "C+", 0.3))
    )
    table = read(tmp_path / "f.csv", text)
    assert (table.probability.tolist(), table.num_rows, table.num_of_other_tasks) == ([0.2], 3, 2)
    assert table.ignored_columns == ("model",)
    assert read(tmp_path / "f.csv", text, task=M24).probability.tolist() == [0.1]


def test_features_and_further_forecasts_are_not_taken_for_outcomes(tmp_path: Path) -> None:
    names = ("unsigned_flux", "class", "y", "peak", "flare_prob_x1", "class_probability", "event forecast")
    text = f"harp,time,p,{','.join(names)}\n377,2012-03-06T14:24Z,0.1,{','.join('2' for _ in names)}\n"
    assert read(tmp_path / "f.csv", text).ignored_columns == names


def test_a_harp_has_the_forecasts_of_all_its_noaa_regions(tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("HARPNUM NOAA_ARS\n10 11158\n20 11159,11160\n30 11160\n")
    harp_map = read_harp_map(tmp_path / "map.txt")
    text = "noaa,time,p\n1158,2012-03-06T14:24Z,0.3\n11159,2012-03-06T14:24Z,0.5\n11160,2012-03-06T14:24Z,0.2\n"
    table = read(tmp_path / "f.csv", text + "11999,2012-03-06T14:24Z,0.9\n", harp_map=harp_map)
    found = dict(zip(harps_of(table.codes).tolist(), table.probability.tolist(), strict=True))
    assert found == {10: 0.3, 20: pytest.approx(1 - 0.5 * 0.8), 30: 0.2}
    (unused,) = table.unused
    assert (unused.line, unused.reason) == (5, UnusedForecast.UNMAPPED)
    assert unused.text == "NOAA region 11999 at 2012-03-06T14:24:34 TAI"


def test_each_label_has_at_most_the_nearest_forecast_before_it(tmp_path: Path, lists: tuple[Path, list[Row]]) -> None:
    folder, _ = lists  # HARP 600 has labels of Test at every 96 minutes from 2012-03-06 on
    text = """harp,time_tai,p
600,2012-03-06T00:00:00,0.1
600,2012-03-06T00:30:00,0.2
600,2012-03-06T01:00:00,0.3
600,2012-03-06T01:36:01,0.4
600,2012-03-06T05:47:00,0.5
600,2012-03-07T12:00:00,0.6
999,2012-03-06T00:00:00,0.7
100,2012-03-01T00:00:00,0.8
600,2012-03-06T06:24:00,NaN
"""
    joined = join(folder, read(tmp_path / "f.csv", text), parts=[Part.TEST], tolerance_minutes=40)
    samples = joined.predictions([Part.TEST])
    assert dict(zip(np.datetime_as_string(samples.t_end_tai).tolist(), samples.probability.tolist(), strict=True)) == {
        "2012-03-06T00:00:00": 0.1,
        "2012-03-06T01:36:00": 0.3,
        "2012-03-06T06:24:00": 0.5,
    }
    assert [(row.line, row.reason) for row in joined.unused] == [
        (3, UnusedForecast.NO_LABEL),
        (5, UnusedForecast.NO_LABEL),
        (7, UnusedForecast.NO_LABEL),
        (8, UnusedForecast.UNKNOWN_HARP),
        (9, UnusedForecast.OTHER_PART),
        (10, UnusedForecast.NO_PROBABILITY),
    ]
    wider = join(folder, read(tmp_path / "f.csv", text), tolerance_minutes=96)
    assert [row.line for row in wider.unused if row.reason is UnusedForecast.FARTHER] == [3]
    described = describe_joined(wider)
    assert described["num_joined"]["Test"] == 4  # a label at 03:12 has the forecast of 01:36:01
    assert described["num_unused"] == {
        "no probability": 1,
        "a HARP that the labels do not have": 1,
        "no label of its HARP at that time": 1,
        "a later forecast is nearer to the label": 1,
    }


@pytest.mark.parametrize("tolerance_minutes", [0, 7, 96, 500])
def test_joining_agrees_with_a_search_through_all_pairs(
    tmp_path: Path, lists: tuple[Path, list[Row]], tolerance_minutes: int
) -> None:
    folder, rows = lists
    random = np.random.default_rng(5)
    every = [row for row in rows for _ in range(2)]
    offsets = random.choice([0, 0, -1, -5, -7, -8, 3, 60, -200], len(every))
    lines = {(row[0], row[1] + timedelta(minutes=int(offset))) for row, offset in zip(every, offsets, strict=True)}
    table = read(
        tmp_path / "f.csv",
        "harp,time_tai,p\n" + "".join(f"{harp},{at.isoformat()},0.5\n" for harp, at in sorted(lines, key=hash)),
    )
    joined = join(folder, table, tolerance_minutes=tolerance_minutes)
    expected = set()
    of_harp = defaultdict(list)
    for harp, at in lines:
        of_harp[harp].append(at)
    labels = defaultdict(list)
    for harp, at, _, _ in rows:
        labels[harp].append(at)
    for harp, at, _, _ in rows:
        before = [one for one in of_harp[harp] if one <= at]
        if before and at - max(before) <= timedelta(minutes=tolerance_minutes):
            first = min(one for one in labels[harp] if one >= max(before))
            expected |= {(harp, at)} if first == at else set()
    samples = joined.predictions(list(Part))
    pairs = zip(samples.harp.tolist(), samples.t_end_tai.tolist(), strict=True)
    assert set(pairs) == expected
    assert len(samples) + len(joined.unused) == table.num_rows


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("600,2012-03-06T00:00:00Z,0.5", "check the time scale: labels are in TAI, 34 to 37 s ahead of UTC"),
        ("600,2012-03-06T01:00:00Z,0.5", "accept earlier forecasts with `tolerance_minutes`"),
        ("999,2012-03-06T00:00:00_TAI,0.5", "check that table and labels are of the same regions and times"),
        ("100,2012-03-01T00:00:00_TAI,0.5", "choose the part with `part`"),
    ],
)
def test_a_table_of_which_no_forecast_has_a_label_is_refused_with_what_may_be_wrong(
    tmp_path: Path, lists: tuple[Path, list[Row]], line: str, fix: str
) -> None:
    with pytest.raises(InputError, match=r"f\.csv:2: expected a forecast of a label, found HARP") as found:
        join(lists[0], read(tmp_path / "f.csv", f"harp,time,p\n{line}\n"), parts=[Part.TEST])
    assert fix in str(found.value)


def test_scores_of_a_table_are_those_of_scikit_learn(tmp_path: Path, lists: tuple[Path, list[Row]]) -> None:
    folder, rows = lists
    probabilities = forecast(rows, seed=1)
    table = read(
        tmp_path / "f.csv",
        "harp,time_tai,p\n"
        + "".join(f"{row[0]},{row[1].isoformat()},{p!r}\n" for row, p in zip(rows, probabilities, strict=True)),
    )
    known = read_parts(find_label_lists(folder)[M48])
    climatology = find_climatology(known, parts=tuple(Part)[:5])
    assert climatology == np.mean([label for _, _, label, part in rows if part is not Part.TEST])
    scores = score_table(
        join(folder, table, parts=[Part.TEST]), part=Part.TEST, climatology=climatology, thresholds=[0.5, 0.3]
    )
    chosen = [(label, p) for (_, _, label, part), p in zip(rows, probabilities, strict=True) if part is Part.TEST]
    labels, issued = (np.array(column) for column in zip(*chosen, strict=True))
    for threshold, one in zip((0.5, 0.3), scores.scores, strict=True):
        tss = metrics.balanced_accuracy_score(labels, issued >= threshold, adjusted=True)
        assert one.interval(ScoreName.TSS).estimate == pytest.approx(tss, abs=1e-12)
        kappa = metrics.cohen_kappa_score(labels, issued >= threshold)
        assert one.interval(ScoreName.HSS).estimate == pytest.approx(kappa, abs=1e-12)
    skill = 1 - np.mean((issued - labels) ** 2) / np.mean((climatology - labels) ** 2)
    assert scores.scores[0].interval(ProbabilityScore.BRIER_SKILL).estimate == pytest.approx(skill, abs=1e-12)
    auc = scores.scores[0].interval(ProbabilityScore.ROC_AUC)
    assert auc.estimate == pytest.approx(metrics.roc_auc_score(labels, issued), abs=1e-12)
    assert auc.low < auc.estimate < auc.high


def test_folds_are_scored_each_and_as_their_mean(tmp_path: Path, lists: tuple[Path, list[Row]]) -> None:
    folder, rows = lists
    test = [row for row in rows if row[3] is Part.TEST]
    of_folds = {fold: forecast(test, seed=fold) for fold in (0, 3)}
    lines = [
        (row[0], row[1].isoformat(), p, fold)
        for fold, probabilities in of_folds.items()
        for row, p in zip(test, probabilities, strict=True)
    ]
    write_table(tmp_path / "f.csv.gz", "harp,time_tai,p,fold", lines)
    table = read_forecast_table(tmp_path / "f.csv.gz", task=M48)
    scores = score_table(join(folder, table), part=Part.TEST, climatology=0.2)
    labels = [label for _, _, label, _ in test]
    mean = np.mean(list(of_folds.values()), axis=0)
    assert scores.scores[0].interval(ProbabilityScore.ROC_AUC).estimate == pytest.approx(
        metrics.roc_auc_score(labels, mean), abs=1e-12
    )
    for fold, probabilities in of_folds.items():
        auc = scores.of_folds[fold][0].interval(ProbabilityScore.ROC_AUC).estimate
        assert auc == pytest.approx(metrics.roc_auc_score(labels, probabilities), abs=1e-12)
    write_table(tmp_path / "g.csv", "harp,time_tai,p,fold", lines[:-1])
    shorter = join(folder, read_forecast_table(tmp_path / "g.csv", task=M48))
    with pytest.raises(InputError, match="found 80 by fold 0, and 79 by fold 3"):
        score_table(shorter, part=Part.TEST, climatology=0.2)


def write_forecasts(path: Path, rows: list[Row], *, seed: int = 1) -> Path:
    lines = [(row[0], f"{row[1].isoformat()}_TAI", p) for row, p in zip(rows, forecast(rows, seed=seed), strict=True)]
    return write_table(path, "harp,time,probability", lines)


def test_the_command_prints_scores_and_what_joined(
    tmp_path: Path, lists: tuple[Path, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rows = lists
    table = write_forecasts(tmp_path / "f.csv", [*rows, (999, datetime(2012, 3, 6), 0, Part.TEST)])
    score(table, folder, task="M48", at="0.5,0.2")
    text = capsys.readouterr().out
    assert "48h: Test, 80 samples, " in text
    assert "Test: 80 of 80 labels have a forecast" in text
    assert "not used: 1 row, a HARP that the labels do not have" in text
    assert f"  {table}:482: HARP 999 at 2012-03-06T00:00:00 TAI" in text
    assert "not used: 400 rows, a label of another part" in text
    score(table, folder, markdown=True)
    assert "| TSS | " in capsys.readouterr().out
    score(table, folder, latex=True)
    assert r"\begin{tabular}{lr}" in capsys.readouterr().out
    score(table, folder, as_json=True)
    assert json.loads(capsys.readouterr().out)["num_joined"] == {**dict.fromkeys(map(str, Part), 0), "Test": 80}


@pytest.mark.slow  # figures
def test_the_command_writes_scores_and_figures(
    tmp_path: Path, lists: tuple[Path, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rows = lists
    table = write_forecasts(tmp_path / "f.csv", rows)
    score(table, folder, at="0.5,0.2", out=tmp_path / "out")
    text = capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [one["threshold"] for one in document["scores"]] == [0.5, 0.2]
    assert len(document["unused"]) == 400
    shown = re.search(r"^  AUC +(\S+) ", text, re.MULTILINE)
    assert shown is not None
    assert shown[1] == f"{document['scores'][0]['scores']['AUC']['estimate']:.3f}"
    for name in ("reliability", "roc", "precision", "tss", "hss"):
        assert (tmp_path / "out" / f"M48-{name}.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConflictError, match="scores.json: expected no such file, .* found one of other thresholds"):
        score(table, folder, at="0.3", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"task": "M24"}, "expected lists of 24h, found those of 48h"),
        ({"task": "M48", "horizon": "48h"}, "--task: expected no --horizon beside it, found M48"),
        ({"markdown": True, "as_json": True}, "--markdown: expected one format, found --json beside it"),
        ({"at": "0.5,2"}, "--at: expected thresholds from 0 to 1, each once, found '0.5,2'"),
        ({"force": True}, "`force`: expected none without --out, found True; leave it out"),
        ({"harp_map": Path("map.txt")}, "`harp_map`: expected none, as "),
        ({"at": "half"}, "--at: expected thresholds from 0 to 1, each once, found 'half'"),
    ],
)
def test_options_of_score_that_do_not_fit_are_refused(
    tmp_path: Path, lists: tuple[Path, list[Row]], options: dict[str, Any], error: str
) -> None:
    folder, rows = lists
    if "harp_map" in options:
        options = {"harp_map": tmp_path / "map.txt"}
        options["harp_map"].write_text("377 11158\n")
    with pytest.raises(InputError, match=re.escape(error)):
        score(write_forecasts(tmp_path / "f.csv", rows), folder, **options)


def test_near_real_time_harp_numbers_are_not_joined_to_definitive_labels(
    tmp_path: Path, lists: tuple[Path, list[Row]]
) -> None:
    folder, rows = lists
    table = write_forecasts(tmp_path / "f.csv", rows)
    table.write_text("# near-real-time HARP numbers\n" + table.read_text())
    with pytest.raises(InputError, match="expected definitive HARP numbers, as in .*, found near-real-time ones"):
        score(table, folder)


def test_a_rate_of_flares_is_asked_for_where_only_test_has_labels(
    tmp_path: Path, lists: tuple[Path, list[Row]]
) -> None:
    folder, rows = lists
    (tmp_path / "M48").mkdir()
    name = "flare_Mclass_48h_Test.txt"
    (tmp_path / "M48" / name).write_text((folder / "M48" / name).read_text())
    table = write_forecasts(tmp_path / "f.csv", rows[-80:])
    with pytest.raises(InputError, match="climatology`: expected label lists of training parts"):
        score(table, tmp_path)
    score(table, tmp_path, climatology=0.3)


@pytest.mark.slow  # a process of its own
def test_score_never_imports_torch(tmp_path: Path, lists: tuple[Path, list[Row]]) -> None:
    folder, rows = lists
    table = write_forecasts(tmp_path / "f.csv", rows)
    code = "import sys; sys.modules |= dict.fromkeys(['torch', 'torchvision', 'pytorch_lightning'])\n"
    code += f"sys.argv[1:] = ['score', {str(table)!r}, '--labels', {str(folder)!r}]\n"
    code += "from sffshards.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Test: 80 of 80 labels" in done.stdout


@pytest.mark.realdata
def test_a_forecast_of_every_published_test_label_is_scored(tmp_path: Path, real_labels: Path) -> None:
    listed = (real_labels / "M48" / "flare_Mclass_48h_Test.txt").read_text().splitlines()
    rows = [line.split()[0].split(".") for line in listed]
    write_table(tmp_path / "f.csv", "harp,time,p", ((row[2], row[3], 0.05 + 0.9 * (int(row[2]) % 2)) for row in rows))
    done = run("score", tmp_path / "f.csv", "--labels", real_labels, "--task", "M48")
    assert "Test: 9,384 of 9,384 labels have a forecast" in done.stdout
