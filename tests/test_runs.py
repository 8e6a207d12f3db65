"""Runs that no network made: their records and tables, what may replace them, and their scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from sklearn import metrics
from typer.testing import CliRunner

from sffshards.base.errors import ConflictError, DamageError, FormatError, InputError, StorageError
from sffshards.base.progress import SILENT
from sffshards.cli.command_options import to_typer
from sffshards.cli.evaluate import evaluate as evaluate_command
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import Protocol, Stage, Variant
from sffshards.domain.task import M48
from sffshards.domain.views import View
from sffshards.forecasting.runs.decision import read_decision
from sffshards.forecasting.runs.fold_ensemble import average_run
from sffshards.forecasting.runs.forecast_record import ForecastRecord, RunKind, SourceFile
from sffshards.forecasting.runs.predictions_table import (
    Predictions,
    plain_predictions,
    read_predictions,
    write_predictions,
)
from sffshards.forecasting.runs.run_comparison import compare_runs
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.forecasting.runs.run_fold import read_fold
from sffshards.forecasting.runs.run_folders import find_runs, gather_runs
from sffshards.forecasting.runs.run_scores import RunScores
from sffshards.forecasting.runs.run_writing import FoldForecasts, write_fold, write_run
from sffshards.training import fold_record
from sffshards.training.fold_record import FoldRecord
from sffshards.verification.score_names import ScoreName
from tests.training_data import fast_options

NUM_HARPS, PER_HARP = 24, 4
FOLDS = (0, 1, 3)
NUM_ROWS = NUM_HARPS * PER_HARP


def samples(seed: int, *, of: int, order: NDArray[np.int64] | None = None) -> Predictions:
    """Forecasts of a set: a sample every day of each of 24 regions, a third of which flare; in any order."""
    random = np.random.default_rng([of, 0])
    harp = np.repeat(np.arange(NUM_HARPS) + 100 * of + 1, PER_HARP)
    time = np.datetime64("2012-03-06T00:00:00", "s") + np.tile(np.arange(PER_HARP), NUM_HARPS) * np.timedelta64(24, "h")
    label = (np.repeat(random.random(NUM_HARPS) < 0.35, PER_HARP) & (random.random(NUM_ROWS) < 0.7)).astype(np.int64)
    noise = np.random.default_rng([of, seed]).normal(0, 1, NUM_ROWS)
    rows = np.arange(NUM_ROWS) if order is None else order
    return Predictions(
        sequence=tuple(f"s{seed}-{row}" for row in rows),
        harp=harp[rows],
        t_end_tai=time[rows],
        view=(View.NF,) * NUM_ROWS,
        label=label[rows],
        probability=(1 / (1 + np.exp(1.5 - 3 * label + noise)))[rows],
    )


def plan(fold: int = 0, **changes: Any) -> ForecastRecord:
    record = ForecastRecord(
        kind=RunKind.KEYWORDS,
        name="regression",
        description="17 SHARP keywords, last frame",
        task=M48,
        fold=fold,
        protocol=Protocol.PAPER,
        climatology=0.125,
        options={"C": 0.01, "frames": "last"},
        sources=(SourceFile(path="keywords.csv", sha256="ab" * 32),),
        harp_numbers=HarpNumbers.NEAR_REAL_TIME,
    )
    return replace(record, **changes)


def forecast(record: ForecastRecord, *, seed: int = 1, order: NDArray[np.int64] | None = None) -> FoldForecasts:
    """All three sets of a fold, and a model."""
    sets = {Stage.TRAIN: 1 + record.fold, Stage.VAL: 11 + record.fold, Stage.TEST: 0}
    tables = {stage: samples(10 * seed + record.fold, of=of, order=order) for stage, of in sets.items()}
    return FoldForecasts(tables=tables, files={"model.json": b"{}"})


def forecast_test(record: ForecastRecord) -> FoldForecasts:
    """The test set alone."""
    test = {Stage.TEST: forecast(record).tables[Stage.TEST]}
    return FoldForecasts(tables=test, missing=dict.fromkeys((Stage.TRAIN, Stage.VAL), "the table has Test only"))


def write(
    run: Path,
    *,
    folds: Sequence[int] = FOLDS,
    make: Callable[[ForecastRecord], FoldForecasts] = forecast,
    **changes: Any,
) -> Path:
    write_run(run, [plan(fold, **changes) for fold in folds], make, force=False, progress=SILENT)
    return run


def evaluate(run: Path) -> RunScores:
    return evaluate_run(run, None, folds=None, inference=None, force=False, progress=SILENT)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("runs") / "48h" / "regression")


# Records and tables ---------------------------------------------------------------------------------------------------


def test_a_fold_reads_back_with_what_made_it(written: Path) -> None:
    content = json.loads((written / "fold3" / "run.json").read_text())
    assert (content["format_version"], content["kind"], content["task"], content["fold"]) == (1, "keywords", "M48", 3)
    fold = read_fold(written / "fold3")
    assert (fold.kind, fold.number, fold.task, fold.name) == (RunKind.KEYWORDS, 3, M48, "regression")
    assert (fold.description, fold.climatology) == ("17 SHARP keywords, last frame", 0.125)
    assert (fold.harp_numbers, fold.variant, fold.manifest_sha256) == (HarpNumbers.NEAR_REAL_TIME, None, None)
    assert [str(part) for part in fold.sample_set(Stage.VAL).parts(M48)] == ["TrainVal2"]
    assert fold.require_file("model.json").read_bytes() == b"{}"
    decision = read_decision(written / "fold3", source_sha256=fold.source_sha256)
    assert decision is not None
    assert decision.num_samples == NUM_ROWS
    assert decision.platt is not None
    with pytest.raises(InputError, match=r"fold3: expected a fold of a trained network, found regression \(keywords\)"):
        fold.require_checkpoint()
    with pytest.raises(InputError, match=r"expected a fold with tree\.json"):
        fold.require_file("tree.json")


def test_rows_are_in_the_order_of_harp_time_and_view_and_none_is_there_twice(tmp_path: Path) -> None:
    order = np.random.default_rng(5).permutation(NUM_ROWS)
    write_predictions(tmp_path / "p.csv", samples(3, of=0, order=order))
    read, expected = read_predictions(tmp_path / "p.csv"), samples(3, of=0)
    assert read.sequence == expected.sequence
    assert np.array_equal(read.probability, expected.probability)
    lines = (tmp_path / "p.csv").read_text().splitlines(keepends=True)
    (tmp_path / "p.csv").write_text("".join([*lines, lines[7]]))
    harp, time = lines[7].split(",")[1:3]
    with pytest.raises(InputError, match=rf"p\.csv: expected every sample once, found HARP {harp} at {time}, view nf"):
        read_predictions(tmp_path / "p.csv")
    with pytest.raises(InputError, match="forecasts: expected every sample once"):
        plain_predictions(
            harp=np.array([7, 7]),
            t_end_tai=np.array(["2012-03-06T00:00:00"] * 2, "datetime64[s]"),
            label=np.array([0, 0]),
            probability=np.array([0.5, 0.6]),
        )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format_version": 9}, FormatError, "expected format version 1, found 9"),
        ({"kind": "network"}, DamageError, "a record of its own"),
        ({"kind": "oracle"}, DamageError, "Invalid enum value 'oracle'"),
        ({"climatology": 1.5}, DamageError, "climatology must be from 0 to 1"),
        ({"fold": 4}, DamageError, "found that of fold 4, in fold0"),
        ({"files": {"../model.json": "ab" * 32}}, DamageError, "plain name of their own"),
        ({"files": {"decision.json": "ab" * 32}}, DamageError, "plain name of their own"),
        ({"extra": 1}, DamageError, "an unknown field `extra`"),
    ],
)
def test_a_record_that_cannot_be_is_refused(
    written: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    content = json.loads((written / "fold0" / "run.json").read_text()) | change
    del content["record_sha256"]
    (tmp_path / "fold0").mkdir()
    (tmp_path / "fold0" / "run.json").write_text(json.dumps(content))
    with pytest.raises(error, match=message):
        read_fold(tmp_path / "fold0")


def test_a_table_or_a_model_that_has_changed_is_refused(tmp_path: Path) -> None:
    fold = write_fold(tmp_path / "fold0", plan(), forecast, force=False, progress=SILENT)
    (tmp_path / "fold0" / "model.json").write_text("[]")
    with pytest.raises(DamageError, match=r"model\.json: expected the file that run\.json describes, found another"):
        fold.require_file("model.json")
    path = tmp_path / "fold0" / "predictions-test.csv"
    path.write_text(path.read_text().replace(",0,", ",1,", 1))
    for read in (evaluate, gather_runs):
        with pytest.raises(DamageError, match=r"predictions-test\.csv: expected the file that run\.json describes"):
            read(tmp_path)


# What may be written where --------------------------------------------------------------------------------------------


def test_a_current_fold_is_kept_and_what_has_changed_is_made_again(tmp_path: Path) -> None:
    made: list[int] = []

    def make(record: ForecastRecord) -> FoldForecasts:
        made.append(record.fold)
        return forecast(record)

    def again(**changes: Any) -> list[int]:
        made.clear()
        write(tmp_path, make=make, **changes)
        return list(made)

    assert again() == [0, 1, 3]
    assert again() == []
    (tmp_path / "fold1" / "predictions-val.csv").write_text("altered")
    (tmp_path / "fold0" / "model.json").unlink()
    (tmp_path / "fold3" / "run.json").unlink()
    assert again() == [0, 1, 3]
    assert again(sources=()) == [0, 1, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": RunKind.BASELINE},
            "fold0: expected no run, or one with kind baseline, found kind keywords; pass `force`",
        ),
        ({"options": {"C": 0.1, "frames": "last"}}, r"one with C 0\.1, found C 0\.01"),
        ({"options": {"C": 0.01}}, "one with frames None, found frames last"),
        ({"task": "M24"}, "one with task 24h, found task 48h"),
    ],
)
def test_another_run_is_replaced_by_force_only(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_fold(tmp_path / "fold0", plan(), forecast, force=False, progress=SILENT)
    other = plan(**change)
    with pytest.raises(ConflictError, match=message):
        write_run(tmp_path, [other], forecast_test, force=False, progress=SILENT)
    assert read_fold(tmp_path / "fold0").record.kind is RunKind.KEYWORDS  # type: ignore[union-attr]
    write_run(tmp_path, [other], forecast_test, force=True, progress=SILENT)
    assert read_fold(tmp_path / "fold0").kind is other.kind
    names = {path.name for path in (tmp_path / "fold0").iterdir() if not path.name.startswith(".")}
    assert names == {"run.json", "decision.json", "predictions-test.csv"}


def test_folds_that_a_run_no_longer_has_are_removed_by_force_only(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConflictError, match="fold1: expected no fold but 0, found this one too"):
        write_run(tmp_path, [plan()], forecast, force=False, progress=SILENT)
    assert [fold.number for fold in write_run(tmp_path, [plan()], forecast, force=True, progress=SILENT).folds] == [0]


def test_a_network_is_never_replaced_and_never_trained_into_another_run(tmp_path: Path, written: Path) -> None:
    record = FoldRecord(
        task=M48,
        fold=0,
        manifest_sha256="ab" * 32,
        weights_sha256=None,
        options=fast_options(variant=Variant.OT, protocol=Protocol.PAPER),
        class_counts={},
        versions={},
    )
    (tmp_path / "fold0").mkdir()
    fold_record.write_record(tmp_path / "fold0", record)
    fold = read_fold(tmp_path / "fold0")
    assert (fold.kind, fold.name, fold.network) == (RunKind.NETWORK, "oT", record)
    for force in (False, True):
        with pytest.raises(ConflictError, match="expected a folder without a network, found the record of a training"):
            write_run(tmp_path, [plan()], forecast, force=force, progress=SILENT)
    with pytest.raises(ConflictError, match="expected the folder of a trained network.*'keywords', 'regression'"):
        fold_record.read_record(written / "fold0")


def test_a_fold_that_could_not_be_written_whole_is_no_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(record: ForecastRecord) -> FoldForecasts:
        raise InputError("keywords.csv", expected="frames", found="none", fix="name another table")

    with pytest.raises(InputError, match=r"keywords\.csv"):
        write_run(tmp_path / "run", [plan()], fail, force=False, progress=SILENT)
    assert not (tmp_path / "run").exists()
    write_fold(tmp_path / "fold0", plan(), forecast_test, force=False, progress=SILENT)

    def refuse(folder: Path, decision: object) -> None:
        raise StorageError(folder, expected="room", found="none", fix="free some space")

    monkeypatch.setattr("sffshards.forecasting.runs.run_writing.write_decision", refuse)
    with pytest.raises(StorageError, match="free some space"):
        write_fold(tmp_path / "fold0", plan(sources=()), forecast, force=False, progress=SILENT)
    with pytest.raises(InputError, match="expected a run"):
        find_runs(tmp_path)
    monkeypatch.undo()
    write_fold(tmp_path / "fold0", plan(sources=()), forecast, force=False, progress=SILENT)
    assert list(gather_runs(tmp_path)[0].folds[0].tables) == list(Stage)


# Scores ---------------------------------------------------------------------------------------------------------------


def test_a_run_is_scored_without_a_build_or_a_checkpoint(tmp_path: Path) -> None:
    run = write(tmp_path / "regression")
    scores = evaluate(run)
    for s in scores.stages:
        table = read_predictions(run / f"fold{s.fold}" / f"predictions-{s.stage}.csv")
        expected = metrics.balanced_accuracy_score(table.label, table.probability >= 0.5, adjusted=True)
        assert s.scores[ScoreName.TSS] == pytest.approx(expected)
    assert len(scores.stages) == 9
    mean = np.mean([forecast(plan(fold)).tables[Stage.TEST].probability for fold in FOLDS], axis=0)
    assert np.array_equal(scores.verification.ensemble.samples.probability, mean)
    content = json.loads((run / "scores.json").read_text())
    assert {name: content[name] for name in ("kind", "name", "variant", "model", "manifest_sha256", "missing")} == {
        "kind": "keywords",
        "name": "regression",
        "variant": None,
        "model": None,
        "manifest_sha256": None,
        "missing": [],
    }
    verified = json.loads((run / "verification.json").read_text())
    assert {one["climatology"] for one in verified["forecasts"]} == {0.125}
    assert not [one for one in verified["left_out"] if one["subset"] == "all"]


def test_what_cannot_be_had_without_a_validation_set_is_absent_with_the_reason(tmp_path: Path) -> None:
    run = write(tmp_path / "other", make=forecast_test, kind=RunKind.IMPORTED)
    scores = evaluate(run)
    assert [(s.fold, s.stage) for s in scores.stages] == [(fold, Stage.TEST) for fold in FOLDS]
    content = json.loads((run / "scores.json").read_text())
    assert content["missing"][1] == {"fold": 0, "stage": "val", "reason": "the table has Test only"}
    verified = json.loads((run / "verification.json").read_text())
    reason = "there are no forecasts of the validation set: the table has Test only"
    assert {one["reason"] for one in verified["left_out"] if one["subset"] == "all"} == {reason}
    assert {one["rule"] for one in verified["forecasts"]} == {"0.5"}
    assert average_run(gather_runs(run)[0]).reason == reason


def test_the_same_forecasts_in_another_order_and_of_another_kind_score_alike_to_the_last_digit(tmp_path: Path) -> None:
    order = np.random.default_rng(8).permutation(NUM_ROWS)
    first = write(tmp_path / "a", folds=[0])
    second = write(tmp_path / "b", folds=[0], make=lambda record: forecast(record, order=order), kind=RunKind.IMPORTED)
    scores = [evaluate(run) for run in (first, second)]
    # From Python 3.13 on, a record that holds NaN differs from its equal; their digits do not.
    assert repr(scores[0].verification.forecasts) == repr(scores[1].verification.forecasts)
    assert repr(scores[0].stages) == repr(scores[1].stages)
    differences = compare_runs(scores).between
    assert len(differences) == 8
    assert {one.difference.estimate for one in differences} == {0}


def test_the_command_scores_runs_of_several_kinds_and_needs_no_shards(tmp_path: Path) -> None:
    for name, kind in (("b", RunKind.BASELINE), ("a", RunKind.COMBINATION)):
        write(
            tmp_path / "48h" / name,
            folds=[2],
            name=name,
            kind=kind,
            make=lambda record: forecast(record, seed=len(record.name)),
        )
    assert [run.name for run in gather_runs(tmp_path)] == ["b", "a"]
    app = typer.Typer()
    app.command()(to_typer(evaluate_command))
    done = CliRunner().invoke(app, [str(tmp_path), "--shards", str(tmp_path / "none")])
    assert done.exit_code == 0, done.exception
    assert f"{tmp_path / '48h' / 'a'} - {tmp_path / '48h' / 'b'}" in done.stdout
    assert (tmp_path / "48h" / "a" / "comparisons.json").is_file()


def test_the_evaluation_of_a_network_asks_for_its_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write(tmp_path / "a")
    monkeypatch.setattr("sffshards.forecasting.runs.run_folders.Run.kind", RunKind.NETWORK)
    with pytest.raises(InputError, match="`shards`: expected a value, for the network .*a, found none"):
        evaluate(run)


@pytest.mark.slow
def test_runs_without_a_network_are_scored_and_reported_without_torch(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "regression", folds=[0])
    script = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "pytorch_lightning"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from sffshards.cli import main
main()
"""
    for command in ("evaluate", "report"):
        done = subprocess.run(
            [sys.executable, "-c", script, command, "runs"], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
    assert (tmp_path / "report" / "index.html").is_file()
