"""Scores against the literature and scikit-learn, the table of predictions, and runs that are scored."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from typer.testing import CliRunner

from sffshards.base.errors import ConflictError, DamageError, InputError, SffshardsError, StorageError
from sffshards.base.progress import SILENT, Progress
from sffshards.cli.command_options import to_typer
from sffshards.cli.evaluate import evaluate as evaluate_command
from sffshards.domain.sample_sets import Protocol, SampleSet, Stage, Variant
from sffshards.domain.views import View
from sffshards.forecasting.operational.ensemble_members import find_members
from sffshards.forecasting.runs.decision import read_decision
from sffshards.forecasting.runs.network_prediction import Inference, choose_device
from sffshards.forecasting.runs.predictions_table import Predictions, read_predictions, write_predictions
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.forecasting.runs.run_scores import RunScores, StageScores, summarise_scores
from sffshards.shards.read.build_reader import open_build
from sffshards.training.fold_record import read_record, write_record
from sffshards.training.fold_training import train_folds
from sffshards.verification.contingency_tables import ContingencyTable, count_outcomes
from sffshards.verification.score_names import (
    PUBLISHED_SCORES,
    ScoreName,
    compute_score,
    explain_undefined,
    format_score,
)
from tests.tiny import digest_tree
from tests.training_data import FastNetwork, Listener, describe_checkpoint, fast_options, make_build, rewrite_record

ON_CPU = Inference(batch_size=4, num_threads=1, device=torch.device("cpu"))

# tp, fp, fn, tn and what was printed of ACC, POD, FAR, F1, HSS, TSS: the published single folds.
PUBLISHED = [
    ((165, 952, 30, 8237), (0.90, 0.85, 0.85, 0.25, 0.22, 0.74)),
    ((156, 773, 39, 8416), (0.91, 0.80, 0.83, 0.28, 0.25, 0.72)),
    ((163, 748, 32, 8441), (0.92, 0.84, 0.82, 0.29, 0.27, 0.75)),
    ((374, 688, 39, 8283), (0.92, 0.91, 0.65, 0.51, 0.47, 0.83)),
    ((352, 547, 61, 8424), (0.94, 0.85, 0.61, 0.54, 0.51, 0.79)),
    ((372, 655, 41, 8316), (0.93, 0.90, 0.64, 0.52, 0.48, 0.83)),
]


def table(tp: int, fp: int, fn: int, tn: int) -> ContingencyTable:
    return ContingencyTable(tp=tp, fp=fp, fn=fn, tn=tn)


# Scores -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # Finley's tornado forecasts of 1884; Wilks (2011), table 8.2 and after, and Murphy (1996).
        (ScoreName.ACC, 0.966),
        (ScoreName.CSI, 0.228),
        (ScoreName.POD, 0.549),
        (ScoreName.FAR, 0.720),
        (ScoreName.HSS, 0.355),
        (ScoreName.TSS, 0.523),
        (ScoreName.PRE, 0.280),
    ],
)
def test_finleys_case(name: ScoreName, value: float) -> None:
    assert round(compute_score(name, table(28, 72, 23, 2680)), 3) == value


@pytest.mark.parametrize(("counts", "printed"), PUBLISHED)
def test_the_published_rows_are_reproduced_to_the_printed_digits(
    counts: tuple[int, int, int, int], printed: tuple[float, ...]
) -> None:
    names = (ScoreName.ACC, ScoreName.POD, ScoreName.FAR, ScoreName.F1, ScoreName.HSS, ScoreName.TSS)
    assert tuple(round(compute_score(name, table(*counts)), 2) for name in names) == printed


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=32)), min_size=1, max_size=60))
def test_scores_equal_scikit_learns(rows: list[tuple[int, float]]) -> None:
    labels = np.array([label for label, _ in rows])
    called = np.array([int(p >= 0.5) for _, p in rows])
    counts = count_outcomes(labels, np.array([p for _, p in rows]))
    expected = {
        ScoreName.F1: metrics.f1_score(labels, called, zero_division=math.nan),
        ScoreName.ACC: metrics.accuracy_score(labels, called),
        ScoreName.POD: metrics.recall_score(labels, called, zero_division=math.nan),
        ScoreName.PRE: metrics.precision_score(labels, called, zero_division=math.nan),
        ScoreName.FAR: 1 - metrics.precision_score(labels, called, zero_division=math.nan),
    }
    if len(set(labels)) == 2:
        expected[ScoreName.TSS] = metrics.balanced_accuracy_score(labels, called, adjusted=True)
        expected[ScoreName.CSI] = metrics.jaccard_score(labels, called)
        expected[ScoreName.HSS] = metrics.cohen_kappa_score(labels, called)
    for name, value in expected.items():
        assert compute_score(name, counts) == pytest.approx(value, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("counts", "undefined"),
    [
        ((0, 3, 0, 4), {"POD": "no flare came", "TSS": "no flare came"}),
        ((0, 0, 2, 4), {"PRE": "no flare was forecast", "FAR": "no flare was forecast"}),
        ((2, 0, 3, 0), {"TSS": "a flare came every time"}),
        (
            (5, 0, 0, 0),
            dict.fromkeys(("HSS",), "a flare was forecast, and came, every time") | {"TSS": "a flare came every time"},
        ),
        (
            (0, 0, 0, 7),
            dict.fromkeys(("F1", "CSI", "HSS"), "no flare was forecast and none came")
            | dict.fromkeys(("POD", "TSS"), "no flare came")
            | dict.fromkeys(("PRE", "FAR"), "no flare was forecast"),
        ),
        ((0, 0, 0, 0), dict.fromkeys(PUBLISHED_SCORES, "there are no samples")),
    ],
)
def test_an_undefined_score_is_nan_and_has_a_reason(
    counts: tuple[int, int, int, int], undefined: dict[str, str]
) -> None:
    found = {name: reason for name in PUBLISHED_SCORES if (reason := explain_undefined(name, table(*counts)))}
    assert found == undefined
    for name in PUBLISHED_SCORES:
        assert math.isnan(compute_score(name, table(*counts))) == (name in undefined)


def test_a_probability_at_the_threshold_is_a_forecast_of_a_flare() -> None:
    below = np.nextafter(0.5, 0)
    assert count_outcomes(np.array([1, 1, 0]), np.array([0.5, below, 0.5])) == table(1, 1, 1, 0)


def test_counts_are_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        table(-1, 0, 0, 0)


def test_mean_and_deviation_are_over_the_folds_where_a_score_is_defined() -> None:
    stages = [
        StageScores(fold=0, stage=Stage.TEST, table=table(1, 0, 1, 2)),  # POD 0.5
        StageScores(fold=1, stage=Stage.TEST, table=table(3, 0, 1, 2)),  # POD 0.75
        StageScores(fold=2, stage=Stage.TEST, table=table(0, 1, 0, 2)),  # POD undefined
    ]
    summary = {(s.stage, s.score): s for s in summarise_scores(stages)}
    pod = summary[Stage.TEST, ScoreName.POD]
    assert (pod.num_defined, pod.mean) == (2, 0.625)
    assert pod.deviation == pytest.approx(0.125 * math.sqrt(2))
    one = {s.score: s for s in summarise_scores(stages[:1]) if s.stage is Stage.TEST}
    assert one[ScoreName.POD].mean == 0.5
    assert math.isnan(one[ScoreName.POD].deviation)
    assert format_score(one[ScoreName.POD].deviation) == "undefined"
    assert summary[Stage.TRAIN, ScoreName.POD].num_defined == 0


# Predictions --------------------------------------------------------------------------------------------------------


def some_predictions() -> Predictions:
    return Predictions(
        sequence=("hmi.sharp_720s.377.20110213_000000_TAI.to.20110214_000000_TAI",) * 3,
        harp=np.array([377, 377, 377]),
        t_end_tai=np.array(["2011-02-14T00:00:00"] * 3, "datetime64[s]"),
        view=(View.NF, View.HF, View.R3),
        label=np.array([1, 1, 1]),
        probability=np.array([0.1, 1 / 3, 1e-17]),
    )


def test_a_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = some_predictions()
    write_predictions(tmp_path / "p.csv", written)
    read = read_predictions(tmp_path / "p.csv")
    assert (read.sequence, read.view) == (written.sequence, written.view)
    for name in ("harp", "t_end_tai", "label", "probability"):
        assert np.array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == getattr(written, name).dtype
    assert (tmp_path / "p.csv").read_text().splitlines()[2] == (
        "hmi.sharp_720s.377.20110213_000000_TAI.to.20110214_000000_TAI,377,2011-02-14T00:00:00,hf,1,0.3333333333333333"
    )


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        (1, "a,b", "expected the header"),
        (2, "only,three,fields", "expected 6 fields, found 3"),
        (3, "s,x,2011-02-14T00:00:00,nf,1,0.5", "invalid literal"),
        (3, "s,3,yesterday,nf,1,0.5", "Invalid isoformat"),
        (3, "s,3,2011-02-14T00:00:00,r9,1,0.5", "not a valid View"),
        (3, "s,0,2011-02-14T00:00:00,nf,1,0.5", "expected a HARP from 1 to 999999999, found 0"),
        (3, f"s,{'9' * 30},2011-02-14T00:00:00,nf,1,0.5", "expected a HARP from 1 to 999999999, found 9999"),
        (3, "s,3,2011-02-14T00:00:00+00:00,nf,1,0.5", "expected a time without a zone"),
        (3, "s,3,0001-01-01T00:00:00,nf,1,0.5", "in 1972 to 2999, found 0001-01-01"),
        (3, "s,3,9999-12-31T00:00:00,nf,1,0.5", "in 1972 to 2999, found 9999-12-31"),
        (3, "s,3\r,2011-02-14T00:00:00,nf,1,0.5", "expected 6 fields, found 2"),
        (4, "s,3,2011-02-14T00:00:00,nf,2,0.5", "expected label 0 or 1"),
        (4, "s,3,2011-02-14T00:00:00,nf,1,1.5", "from 0 to 1"),
        (4, "s,3,2011-02-14T00:00:00,nf,1,nan", "from 0 to 1"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: int, text: str, found: str) -> None:
    path = tmp_path / "p.csv"
    write_predictions(path, some_predictions())
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=found) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_an_empty_file_is_no_table_and_an_empty_table_is_one(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("")
    with pytest.raises(InputError, match="expected the header"):
        read_predictions(tmp_path / "p.csv")
    (tmp_path / "p.csv").write_text("sequence,harp,t_end_tai,view,label,probability\n")
    assert len(read_predictions(tmp_path / "p.csv")) == 0


@pytest.mark.parametrize(
    "change", [{"label": np.array([0, 1, 2])}, {"probability": np.array([0.0, np.nan, 1])}, {"view": (View.NF,)}]
)
def test_a_table_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    fields = {name: getattr(some_predictions(), name) for name in Predictions.__slots__}
    with pytest.raises(ValueError, match="must be"):
        Predictions(**(fields | change))


# Runs ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A build, and a run of two folds on it."""
    folder = tmp_path_factory.mktemp("evaluation")
    build = make_build(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sffshards.training.fold_training.build_model", lambda *_, **__: FastNetwork())
        options = fast_options(variant=Variant.OTV, max_epochs=3)
        train_folds(build, folder / "oTV", options, folds=[0, 2], force=False, progress=SILENT)
    return build, folder / "oTV"


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, which a test may spoil."""
    monkeypatch.setattr("sffshards.forecasting.runs.network_prediction.build_model", lambda *_, **__: FastNetwork())
    return Path(shutil.copytree(trained[1], tmp_path / "oTV"))


@pytest.fixture
def evaluate(trained: tuple[Path, Path], run: Path) -> Callable[..., RunScores]:
    def call(*, force: bool = False, progress: Progress = SILENT, folds: list[int] | None = None) -> RunScores:
        return evaluate_run(run, trained[0], folds=folds, inference=ON_CPU, force=force, progress=progress)

    return call


@pytest.mark.slow
def test_every_sample_of_every_set_is_predicted_once_and_read_in_the_order_of_harp_time_and_view(
    trained: tuple[Path, Path], run: Path, evaluate: Callable[..., RunScores]
) -> None:
    evaluate()
    with open_build(trained[0]) as build:
        for fold in (0, 2):
            for stage in Stage:
                samples = SampleSet(variant=Variant.OTV, stage=stage, fold=fold, protocol=Protocol.PAPER)
                rows = build.set_rows(samples)
                index = build.index[rows]
                rows = rows[np.lexsort((index["view"], index["t_end_tai"], index["harp"]))]
                predicted = read_predictions(run / f"fold{fold}" / f"predictions-{stage}.csv")
                assert predicted.harp.tolist() == build.index["harp"][rows].tolist()
                assert predicted.label.tolist() == build.index["label"][rows].tolist()
                assert [list(View).index(view) for view in predicted.view] == build.index["view"][rows].tolist()
                assert np.array_equal(predicted.t_end_tai, build.index["t_end_tai"][rows])


def test_scores_are_those_of_the_tables_and_of_the_best_checkpoint(
    run: Path, evaluate: Callable[..., RunScores]
) -> None:
    scores = evaluate()
    assert [(s.fold, s.stage) for s in scores.stages] == [(fold, stage) for fold in (0, 2) for stage in Stage]
    for s in scores.stages:
        table = read_predictions(run / f"fold{s.fold}" / f"predictions-{s.stage}.csv")
        assert s.scores[ScoreName.ACC] == metrics.accuracy_score(table.label, table.probability >= 0.5)
    # What validation said of the best epoch, computed in training in other batches.
    best = read_record(run / "fold0").best
    assert best is not None
    rows = list(csv.DictReader((run / "fold0" / "metrics.csv").read_text().splitlines()))
    of_val = next(s for s in scores.stages if (s.fold, s.stage) == (0, Stage.VAL))
    assert of_val.scores[ScoreName.ACC] == pytest.approx(float(rows[best.epoch]["valid_accuracy"]), abs=1e-6)


def test_scores_are_written_for_programs_and_people(run: Path, evaluate: Callable[..., RunScores]) -> None:
    scores = evaluate()
    content = json.loads((run / "scores.json").read_text())
    assert content["format_version"] == 2
    assert (content["kind"], content["name"], content["missing"]) == ("network", "oTV", [])
    assert (content["task"], content["variant"], content["threshold"]) == ("M48", "oTV", 0.5)
    assert [f["counts"]["tp"] for f in content["folds"]] == [s.table.tp for s in scores.stages]
    lines = list(csv.reader((run / "scores.csv").read_text().splitlines()))
    assert lines[0] == ["fold", "stage", "tp", "fp", "fn", "tn", "F1", "ACC", "POD", "PRE", "FAR", "CSI", "HSS", "TSS"]
    assert len(lines) == 1 + 6 + 9


@pytest.mark.slow
def test_thresholds_calibration_and_verification_are_kept_beside_the_checkpoints(
    run: Path, evaluate: Callable[..., RunScores]
) -> None:
    scores = evaluate()
    for fold in (0, 2):
        folder = run / f"fold{fold}"
        best = read_record(folder).best
        decision = read_decision(folder)
        assert best is not None
        assert decision is not None
        assert decision.source_sha256 == hashlib.sha256((folder / best.name).read_bytes()).hexdigest()
        # oTV: 10 sequences, of which the 5 positive ones come in 6 views.
        assert len(read_predictions(folder / "predictions-val.csv")) == 35
        assert (decision.num_samples, decision.num_flares) == (10, 5)
    content = json.loads((run / "verification.json").read_text())
    assert {one["counts"]["tp"] + one["counts"]["fn"] for one in content["forecasts"] if one["subset"] == "all"} == {5}
    assert {one["climatology"] for one in content["forecasts"]} == {0.5}  # not 30 / 35
    assert scores.verification.ensemble.num_folds == 2
    before = (run / "verification.json").read_bytes()
    evaluate(folds=[2])
    assert (run / "verification.json").read_bytes() == before
    evaluate()
    assert (run / "verification.json").read_bytes() == before


@pytest.mark.slow
def test_the_command_scores_every_run_in_a_folder_and_compares_them(trained: tuple[Path, Path], run: Path) -> None:
    runs = run.parent / "runs"
    for name in ("a", "b"):
        shutil.copytree(run, runs / name)
    app = typer.Typer()
    app.command()(to_typer(evaluate_command))
    start = [str(runs), "--shards", str(trained[0]), "--device", "cpu"]
    done = CliRunner().invoke(app, start)
    assert done.exit_code == 0, done.exception
    assert done.stdout.count("a flare is forecast at a probability of 0.5 or more") == 2
    assert done.stdout.count("ensemble of 2 folds, 95 % intervals by HARP") == 2
    assert f"{runs / 'b'} - {runs / 'a'}" in done.stdout
    content = json.loads((runs / "comparisons.json").read_text())
    assert {one["second_minus_first"]["estimate"] for one in content["comparisons"]} == {0}
    printed = json.loads(CliRunner().invoke(app, [*start, "--json"]).stdout)
    of_runs = [json.loads((runs / name / "comparisons.json").read_text())["comparisons"] for name in ("a", "b")]
    written = [*content["comparisons"], *of_runs[0], *of_runs[1]]
    assert sorted(printed["comparisons"], key=json.dumps) == sorted(written, key=json.dumps)
    assert f"{runs / 'b'} - {runs / 'ever-flared'}" in done.stdout
    networks = [one for one in printed["runs"] if one["kind"] == "network"]
    assert len(networks) == 2
    for described in networks:
        assert described["verification"] == json.loads((runs / "a" / "verification.json").read_text())
        assert described["threshold"] == 0.5


def test_what_is_undefined_is_null_and_said_so(
    run: Path, evaluate: Callable[..., RunScores], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sffshards.verification.count_outcomes", lambda *_: table(0, 0, 0, 9))
    evaluate()
    content = json.loads((run / "scores.json").read_text())
    assert content["folds"][0]["scores"]["TSS"] is None
    assert content["folds"][0]["undefined"]["TSS"] == "no flare came"
    assert content["folds"][0]["scores"]["ACC"] == 1.0
    by_score = {(s["stage"], s["score"]): s for s in content["summary"]}
    assert by_score["test", "TSS"] == {
        "stage": "test",
        "score": "TSS",
        "num_defined": 0,
        "mean": None,
        "deviation": None,
    }
    assert (by_score["test", "ACC"]["mean"], by_score["test", "ACC"]["num_defined"]) == (1.0, 2)
    assert "undefined" in (run / "scores.csv").read_text()


@pytest.mark.slow
def test_predictions_of_the_same_checkpoint_are_kept(run: Path, evaluate: Callable[..., RunScores]) -> None:
    first = evaluate()
    again, forced, spoilt = Listener(), Listener(), Listener()
    assert evaluate(progress=again).stages == first.stages
    assert not again.tasks
    assert evaluate(progress=forced, force=True).stages == first.stages
    assert len(forced.tasks) == 6
    (run / "fold2" / "predictions-val.csv").write_text("altered")
    assert evaluate(progress=spoilt).stages == first.stages
    assert list(spoilt.tasks) == ["Fold 2, predict val"]


@pytest.mark.slow
def test_a_table_that_is_computed_again_leaves_the_files_that_were_there_before(
    run: Path, evaluate: Callable[..., RunScores]
) -> None:
    evaluate()
    whole = digest_tree(run)
    (run / "fold0" / "predictions-train.csv").unlink()
    evaluate()
    assert digest_tree(run) == whole


@pytest.mark.slow
def test_scores_of_some_folds_leave_those_of_all_as_they_are(run: Path, evaluate: Callable[..., RunScores]) -> None:
    evaluate()
    before = (run / "scores.json").read_bytes()
    progress = Listener()
    assert [fold.record.fold for fold in evaluate(folds=[2], progress=progress).run.folds] == [2]
    assert (run / "scores.json").read_bytes() == before
    assert "scores.json and scores.csv cover all folds" in progress.notes[-1]


@pytest.mark.slow
def test_folds_that_were_trained_otherwise_are_not_averaged(run: Path, evaluate: Callable[..., RunScores]) -> None:
    record = read_record(run / "fold2")
    write_record(run / "fold2", replace(record, options=replace(record.options, learning_rate=0.5)))
    with pytest.raises(ConflictError, match=r"fold2: expected .* as fold0 was, with learning_rate 0.1, found .* 0.5"):
        evaluate()
    write_record(run / "fold2", replace(record, options=replace(record.options, num_threads=7)))
    evaluate()


@pytest.mark.slow
def test_a_run_of_another_build_is_refused(run: Path, tmp_path: Path) -> None:
    other = make_build(tmp_path / "other", seed=1)
    with pytest.raises(ConflictError, match="expected a fold trained on"):
        evaluate_run(run, other, folds=None, inference=ON_CPU, force=False, progress=SILENT)
    assert not (run / "scores.json").exists()


def test_a_fold_that_is_not_there_is_named(run: Path, tmp_path: Path, evaluate: Callable[..., RunScores]) -> None:
    with pytest.raises(InputError, match="expected fold 1, found folds 0, 2 only"):
        evaluate(folds=[0, 1])
    with pytest.raises(InputError, match="expected a run"):
        evaluate_run(tmp_path / "none", tmp_path, folds=None, inference=ON_CPU, force=False, progress=SILENT)


def test_checkpoints_that_cannot_be_used_are_refused_and_their_code_not_run(
    run: Path, tmp_path: Path, evaluate: Callable[..., RunScores]
) -> None:
    best = read_record(run / "fold0").best
    assert best is not None
    path = run / "fold0" / best.name
    whole = path.read_bytes()

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path.write_bytes(whole[: len(whole) // 2])
    describe_checkpoint(run / "fold0")
    with pytest.raises(InputError, match="cut off"):
        evaluate()
    torch.save({"state_dict": {"model.head.1.weight": torch.ones(2, 768)}}, path)
    describe_checkpoint(run / "fold0")
    with pytest.raises(InputError, match="those of another network"):
        evaluate()
    torch.save({"state_dict": {"model.x": Evil()}}, path)
    describe_checkpoint(run / "fold0")
    with pytest.raises(InputError, match="could run code"):
        evaluate()
    assert not (tmp_path / "ran").exists()
    path.unlink()
    with pytest.raises(OSError, match="the fold's best checkpoint"):
        evaluate()


def test_the_checkpoint_of_another_fold_in_its_place_is_refused(run: Path, evaluate: Callable[..., RunScores]) -> None:
    here, other = (run / fold / read_record(run / fold).checkpoints[0].name for fold in ("fold0", "fold2"))
    here.write_bytes(other.read_bytes())
    expected = rf"{re.escape(here.name)}: expected the checkpoint that run\.json describes, .* found another file"
    with pytest.raises(DamageError, match=expected):
        evaluate()
    with pytest.raises(DamageError, match=expected):
        find_members(run, folds=None)
    assert not (run / "fold0" / "predictions-val.csv").exists()


@pytest.mark.slow
def test_what_another_process_trained_meanwhile_is_evaluated(
    run: Path, trained: tuple[Path, Path], evaluate: Callable[..., RunScores]
) -> None:
    class Training(Listener):
        def note(self, message: str | SffshardsError) -> None:
            describe_checkpoint(run / "fold2")

    record = read_record(run / "fold2")
    best = record.checkpoints[0]
    (run / "fold2" / best.name).write_bytes((run / "fold2" / record.checkpoints[1].name).read_bytes())
    rewrite_record(run / "fold0" / "run.json", finished=False)  # which is noted, and then fold 2 is described again
    evaluate(progress=Training())
    sha256 = read_record(run / "fold2").checkpoints[0].sha256
    assert sha256 != best.sha256
    decision = read_decision(run / "fold2", source_sha256=sha256)
    assert decision is not None
    with pytest.raises(ConflictError, match=r"decision\.json: expected the decision of the checkpoint or table of"):
        read_decision(run / "fold2", source_sha256=best.sha256)


def test_a_run_that_cannot_be_written_to_is_found_before_any_prediction(
    run: Path, evaluate: Callable[..., RunScores], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(kwargs["dir"]))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    progress = Listener()
    with pytest.raises(StorageError, match="oTV: expected a folder that can be written, found read-only file system"):
        evaluate(progress=progress)
    assert not progress.tasks


@pytest.mark.slow
def test_a_fold_without_an_epoch_is_refused_and_one_under_way_is_scored_with_a_word(
    run: Path, evaluate: Callable[..., RunScores]
) -> None:
    record = run / "fold0" / "run.json"
    rewrite_record(record, finished=False)
    progress = Listener()
    evaluate(progress=progress)
    assert "training is not finished" in progress.notes[0]
    rewrite_record(record, checkpoints=[])
    with pytest.raises(InputError, match="expected a checkpoint, found none yet"):
        evaluate()


def test_a_batch_size_of_none_is_refused() -> None:
    with pytest.raises(InputError, match="`batch_size`: expected at least 1"):
        Inference(batch_size=0, num_threads=0, device=torch.device("cpu"))


@pytest.mark.parametrize("name", ["meta", "cuda:99", "gpu"])
def test_a_device_that_cannot_compute_here_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="`device`: expected a device of this machine, found"):
        choose_device(name)
