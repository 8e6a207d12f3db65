"""Tables of forecasts as runs: the same scores as the run that they came from; and combinations of runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from sffshards.base.errors import ConflictError, DamageError, InputError
from sffshards.base.progress import SILENT
from sffshards.cli.combine import combine
from sffshards.cli.forecast_inputs import find_forecasters
from sffshards.cli.import_ import import_
from sffshards.cli.shared_options import parse_task_choice
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import M48
from sffshards.forecasting.combinations.logit_regression import LogitRegression, cross_fit, fit_regression
from sffshards.forecasting.combinations.run_combination import combine_runs, find_combined, read_combination
from sffshards.forecasting.operational.clip_sources import Shown
from sffshards.forecasting.operational.combined_forecasts import CombinedMember, combine_forecasts
from sffshards.forecasting.operational.region_forecasts import RegionForecasts
from sffshards.forecasting.runs.fold_ensemble import decide_fold, issue_fold
from sffshards.forecasting.runs.predictions_table import (
    plain_predictions,
    predictions_path,
    read_predictions,
    write_predictions,
)
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.forecasting.runs.run_fold import read_fold
from sffshards.forecasting.runs.run_folders import gather_runs, read_run
from sffshards.forecasting.runs.run_scores import RunScores, describe_scores, score_folds
from sffshards.forecasting.runs.run_verification import describe_verification, verify_forecasts
from sffshards.training.fold_record import FoldRecord, fold_folder, write_record
from tests.forecast_lists import Row, forecast, make_lists, write_table
from tests.training_data import Listener, fast_options

FOLDS = (0, 1, 4)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    folder = tmp_path_factory.mktemp("lists") / "data"
    return folder, make_lists(folder)


@pytest.fixture(scope="module")
def network(lists: tuple[Path, list[Row]]) -> Path:
    """A run as training and evaluation leave it, with rows in the order of a build."""
    _, rows = lists
    run = lists[0].parent / "runs" / "48h" / "base"
    for fold in FOLDS:
        folder = fold_folder(run, fold)
        folder.mkdir(parents=True)
        for stage in Stage:
            parts = SampleSet(variant=Variant.BASE, stage=stage, fold=fold, protocol=Protocol.PAPER).parts(M48)
            of_set = [row for row in rows if row[3] in parts]
            harp, time, label, _ = zip(*of_set, strict=True)
            table = plain_predictions(
                harp=np.array(harp),
                t_end_tai=np.array(time, "datetime64[s]"),
                label=np.array(label),
                probability=np.array(forecast(of_set, seed=10 * fold + list(Stage).index(stage))),
            )
            shuffled = np.random.default_rng(fold).permutation(len(table))
            write_predictions(predictions_path(folder, stage), table.take(shuffled))
        write_record(
            folder,
            FoldRecord(
                task=M48,
                fold=fold,
                manifest_sha256="ab" * 32,
                weights_sha256=None,
                options=fast_options(),
                class_counts={},
                versions={},
            ),
        )
    return run


@pytest.fixture(scope="module")
def exported(network: Path, lists: tuple[Path, list[Row]]) -> Path:
    """The predictions tables of all folds and sets of the run in one table, without labels."""
    lines = [
        (fold, harp, time, probability)
        for fold in FOLDS
        for stage in Stage
        for _, harp, time, _, _, probability in (
            line.split(",") for line in predictions_path(fold_folder(network, fold), stage).read_text().splitlines()[1:]
        )
    ]
    return write_table(lists[0].parent / "own.csv", "fold,harp,t_end_tai,probability", lines)


def evaluate(run: Path) -> RunScores:
    return evaluate_run(run, None, folds=None, inference=None, force=False, progress=SILENT)


def strip(described: dict[str, Any]) -> dict[str, Any]:
    """The scores alone, without what names the run."""
    return {name: described[name] for name in ("folds", "summary", "forecasts", "left_out") if name in described}


def test_imported_forecasts_of_a_run_score_as_the_run_itself_to_the_last_digit(
    network: Path, exported: Path, lists: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    import_(exported, "own", lists[0], out=tmp_path)
    evaluate(tmp_path / "48h" / "own")
    (run,) = gather_runs(network)
    issued = [issue_fold(fold, decide_fold(fold), stage) for fold in run.folds for stage in (Stage.VAL, Stage.TEST)]
    folds = score_folds(run)
    expected = RunScores(
        run=run,
        stages=folds.stages,
        summary=folds.summary,
        verification=verify_forecasts(issued, name="base", task=M48),
    )
    scores = json.loads((tmp_path / "48h" / "own" / "scores.json").read_text())
    verification = json.loads((tmp_path / "48h" / "own" / "verification.json").read_text())
    assert len(scores["folds"]) == 9
    assert strip(scores) == strip(describe_scores(expected))
    assert strip(verification) == strip(describe_verification(expected))


def test_a_table_without_folds_is_that_of_all_with_a_threshold_for_each(
    lists: tuple[Path, list[Row]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rows = lists
    lines = [(row[0], row[1].isoformat(), p) for row, p in zip(rows, forecast(rows, seed=1), strict=True)]
    import_(write_table(tmp_path / "f.csv", "harp,time_tai,p", lines), "other", folder, out=tmp_path)
    run = tmp_path / "48h" / "other"
    assert f"{run}: imported; score with `sffshards evaluate {run}`" in capsys.readouterr().out
    (read,) = gather_runs(run)
    assert [fold.number for fold in read.folds] == [0, 1, 2, 3, 4]
    thresholds = [json.loads((run / f"fold{fold}" / "decision.json").read_text())["thresholds"] for fold in range(5)]
    assert len({of["max TSS"] for of in thresholds}) > 1
    for fold in read.folds:
        training = SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=fold.number, protocol=Protocol.PAPER)
        labels = [label for _, _, label, part in rows if part in training.parts(M48)]
        assert fold.climatology == np.mean(labels)
        assert len(fold.plain(Stage.TEST)) == 80


def test_a_table_of_test_alone_has_no_threshold_and_states_why(
    lists: tuple[Path, list[Row]], members: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, rows = lists
    lines = [(row[0], row[1].isoformat(), 0.3) for row in rows if row[3] is Part.TEST]
    import_(write_table(tmp_path / "f.csv", "harp,time_tai,p", lines), "other", folder, out=tmp_path)
    decision = json.loads((tmp_path / "48h" / "other" / "fold2" / "decision.json").read_text())
    assert decision["thresholds"] == {"0.5": 0.5}
    assert decision["reason"].endswith("the table has no forecasts of TrainVal1")
    with pytest.raises(InputError, match="expected forecasts of the validation set, to which a combination is fitted"):
        combine_runs([members[0], tmp_path / "48h" / "other"], tmp_path / "both", **names())


def names(**changes: Any) -> dict[str, Any]:
    return {"name": "both", "force": False, "progress": SILENT} | changes


@pytest.mark.parametrize(
    ("header", "lines", "error"),
    [
        ("harp,time_tai,p", [(100, "2012-03-01T00:00", 0.3)], "expected forecasts of Test, found none"),
        (
            "harp,time_tai,p,fold",
            [(600, "2012-03-06T00:00", 0.3, 0), (100, "2012-03-01T00:00", 0.3, 1)],
            "expected forecasts of Test by fold 1, found none",
        ),
        (
            "harp,time_tai,p,fold",
            [(600, "2012-03-06T00:00", 0.3, 0), (600, "2012-03-06T01:36", 0.3, 1)],
            "expected forecasts of the same labels of Test by all folds, found 1 by fold 0, and 1 by fold 1",
        ),
    ],
)
def test_a_table_that_cannot_be_a_run_is_refused_and_leaves_nothing(
    lists: tuple[Path, list[Row]], tmp_path: Path, header: str, lines: Sequence[Sequence[object]], error: str
) -> None:
    with pytest.raises(InputError, match=re.escape(error)):
        import_(write_table(tmp_path / "f.csv", header, lines), "other", lists[0], out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "fold0"])
def test_a_name_that_is_no_folder_is_refused(lists: tuple[Path, list[Row]], tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="--name: expected up to 80 letters"):
        import_(tmp_path / "f.csv", name, lists[0])


# Combinations ---------------------------------------------------------------------------------------------------------


def draw(seed: int, *, num_harps: int = 30) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Labels, the probabilities of two members that know different things, and HARPs."""
    random = np.random.default_rng(seed)
    harps = np.repeat(np.arange(num_harps), 20)
    hidden = random.normal(0, 1.5, (len(harps), 2))
    labels = (random.random(len(harps)) < 1 / (1 + np.exp(2.5 - hidden.sum(axis=1)))).astype(np.int64)
    return labels, 1 / (1 + np.exp(-hidden + random.normal(0, 0.3, hidden.shape))), harps


def logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    logit: NDArray[np.float64] = np.log(probabilities / (1 - probabilities))
    return logit


@pytest.mark.parametrize("num_harps", [2, 30])
def test_the_regression_is_that_of_scikit_learn(num_harps: int) -> None:
    labels, probabilities, _ = draw(3, num_harps=num_harps)
    fitted = fit_regression(labels, probabilities, members=("a", "b"))
    reference = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-13).fit(logits(probabilities), labels)
    assert fitted.weights == pytest.approx(reference.coef_[0].tolist(), rel=1e-8)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], rel=1e-8)
    expected = reference.predict_proba(logits(probabilities))[:, 1]
    np.testing.assert_allclose(fitted.apply(probabilities), expected, atol=1e-9)


def test_separable_members_and_certain_forecasts_have_finite_weights() -> None:
    labels = np.array([0, 0, 1, 1])
    fitted = fit_regression(labels, labels[:, None].astype(np.float64), members=("a",))
    assert 0 < fitted.weights[0] < 10
    assert ((fitted.apply(np.array([[0.0], [1.0]])) > 0.5) == [False, True]).all()


def test_cross_fitted_forecasts_do_not_know_the_labels_of_their_region() -> None:
    labels, probabilities, harps = draw(4)
    before = cross_fit(labels, probabilities, harps)
    assert before is not None
    chosen = harps == 7
    changed = np.where(chosen, 1 - labels, labels)
    # Other labels of a region may deal it to another group, so only they change; the sizes of flaring stay.
    changed[chosen] = np.random.default_rng(0).permutation(labels[chosen])
    after = cross_fit(changed, probabilities, harps)
    assert after is not None
    np.testing.assert_array_equal(before[chosen], after[chosen])
    assert (before[~chosen] != after[~chosen]).any()


def test_one_flaring_region_cannot_be_cross_fitted() -> None:
    labels, probabilities, harps = draw(5)
    assert cross_fit(labels * (harps == 3), probabilities, harps) is None


@pytest.fixture(scope="module")
def members(network: Path, lists: tuple[Path, list[Row]]) -> tuple[Path, Path]:
    """The network, and an imported run of the same folds."""
    _, rows = lists
    lines = [
        (fold, row[0], row[1].isoformat(), p)
        for fold in FOLDS
        for row, p in zip(rows, forecast(rows, seed=100 + fold), strict=True)
    ]
    table = write_table(lists[0].parent / "other.csv", "fold,harp,time_tai,probability", lines)
    import_(table, "other", lists[0], out=network.parents[1])
    return network, network.parent / "other"


def test_a_combination_is_fitted_to_validation_and_scored_as_a_run(
    members: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    combine(list(members), "both", out=tmp_path)
    text = capsys.readouterr().out
    assert re.search(r"fold  intercept +base +other\n +0 ", text)
    (run,) = gather_runs(tmp_path / "both")
    (first,), (second,) = (gather_runs(member) for member in members)
    for fold, one, other in zip(run.folds, first.folds, second.folds, strict=True):
        regression = read_combination(fold).regression
        assert regression.members == ("base", "other")
        val, test = (
            np.column_stack([of.plain(stage).probability for of in (one, other)]) for stage in (Stage.VAL, Stage.TEST)
        )
        reference = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-13).fit(
            logits(val), one.plain(Stage.VAL).label
        )
        expected = reference.predict_proba(logits(test))[:, 1]
        np.testing.assert_allclose(fold.plain(Stage.TEST).probability, expected, atol=1e-6)
        known = reference.predict_proba(logits(val))[:, 1]
        assert np.abs(fold.plain(Stage.VAL).probability - known).max() > 1e-3  # of regressions without its region
        record = json.loads((fold.folder / "run.json").read_text())
        assert record["kind"] == "combination"
        sources = {source["path"]: source["sha256"] for source in record["sources"]}
        assert sources[str(predictions_path(one.folder, Stage.VAL))] == one.fingerprints["predictions-val.csv"]
        assert len(sources) == 6
    scores = evaluate(tmp_path / "both")
    assert scores.verification.ensemble.num_folds == 3


def test_a_combination_is_made_again_where_a_member_changed(members: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "both"
    combine_runs(members, run, **names())
    path = run / "fold0" / "combination.json"
    before = path.stat().st_mtime_ns
    combine_runs(members, run, **names())
    assert path.stat().st_mtime_ns == before
    path.write_text(path.read_text().replace('"intercept": ', '"intercept": 1'))
    with pytest.raises(DamageError):
        read_combination(read_fold(run / "fold0"))
    combine_runs(members, run, **names())
    assert [one.folder for one in find_combined(read_run(run))] == list(members)
    with pytest.raises(ConflictError, match="expected no run, or one with description"):
        combine_runs(members[::-1], run, **names())


def test_a_combination_of_members_that_changed_is_not_used(
    lists: tuple[Path, list[Row]], members: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, rows = lists
    for seed in (1, 2):
        lines = [(row[0], row[1].isoformat(), p) for row, p in zip(rows, forecast(rows, seed=seed), strict=True)]
        import_(write_table(tmp_path / f"{seed}.csv", "harp,time_tai,p", lines), f"of{seed}", folder, out=tmp_path)
    runs = tmp_path / "48h"
    combine_runs([runs / "of1", runs / "of2"], runs / "both", **names())
    assert [one.name for one in find_combined(read_run(runs / "both"))] == ["of1", "of2"]
    (tmp_path / "2.csv").write_bytes((tmp_path / "1.csv").read_bytes())
    import_(tmp_path / "2.csv", "of2", folder, out=tmp_path)
    with pytest.raises(ConflictError, match="of2, fold 0, found one of earlier forecasts; write it again with"):
        find_combined(read_run(runs / "both"))
    combine_runs([runs / "of1", runs / "of2"], runs / "both", **names())
    (tmp_path / "48h").rename(tmp_path / "moved")
    assert [one.folder.name for one in find_combined(read_run(tmp_path / "moved" / "both"))] == ["of1", "of2"]


def test_one_fold_is_combined_as_among_all(members: tuple[Path, Path], tmp_path: Path) -> None:
    combine_runs(members, tmp_path / "all", **names())
    (fold,) = combine_runs(members, tmp_path / "one", folds=[1], **names()).folds
    assert fold.number == 1
    for stage in (Stage.VAL, Stage.TEST):
        written = predictions_path(fold.folder, stage).read_bytes()
        assert written == predictions_path(tmp_path / "all" / "fold1", stage).read_bytes()
    with pytest.raises(InputError, match="expected fold 2, found folds 0, 1, 4; name a fold of all members"):
        combine_runs(members, tmp_path / "none", folds=[2], **names())


@pytest.mark.parametrize(
    ("task", "folds", "rows_left_out", "error"),
    [
        ("M24", FOLDS, 0, "expected task 48h, as of .*base/fold0, found 24h"),
        ("M48", (0, 1), 0, "expected folds 0, 1, 4, as of .*base, found folds 0, 1"),
        ("M48", FOLDS, 3, "expected the 80 test samples of .*base/fold0, found others, 77"),
    ],
)
def test_members_of_other_tasks_folds_or_samples_are_refused(
    members: tuple[Path, Path], tmp_path: Path, task: str, folds: Sequence[int], rows_left_out: int, error: str
) -> None:
    rows = make_lists(tmp_path / "data", task=task)
    kept = rows[: len(rows) - rows_left_out]
    lines = [(fold, row[0], row[1].isoformat(), 0.1 + 0.8 * row[2]) for fold in folds for row in kept]
    import_(write_table(tmp_path / "f.csv", "fold,harp,time_tai,p", lines), "third", tmp_path / "data", out=tmp_path)
    third = next(tmp_path.glob("*/third"))
    with pytest.raises(ConflictError, match=error):
        combine_runs([members[0], third], tmp_path / "both", **names())
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("change", ["shorter", "shifted"])
def test_training_sets_that_differ_are_not_combined(members: tuple[Path, Path], tmp_path: Path, change: str) -> None:
    run = Path(shutil.copytree(members[0], tmp_path / "base"))
    for fold in FOLDS:
        path = predictions_path(fold_folder(run, fold), Stage.TRAIN)
        table = read_predictions(path)
        kept = np.arange(len(table) - 2 if change == "shorter" else len(table))
        write_predictions(path, replace(table.take(kept), harp=table.harp[kept] + (change == "shifted")))
    combined = combine_runs([run, members[1]], tmp_path / "both", **names())
    for made in combined.folds:
        assert made.missing == {Stage.TRAIN: "the members forecast other samples of it, or have other labels"}
        assert not predictions_path(made.folder, Stage.TRAIN).exists()
    assert [one.folder for one in find_combined(read_run(tmp_path / "both"))] == [run, members[1]]


def test_a_combination_does_not_replace_a_member(
    members: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(members[0].parent, tmp_path / "48h")
    (tmp_path / "link").symlink_to(tmp_path / "48h")
    chosen = [tmp_path / "48h" / member.name for member in members]
    before = {path: path.read_bytes() for path in (tmp_path / "48h").rglob("*") if path.is_file()}
    for out in (tmp_path / "48h", tmp_path / "link"):
        for force in (False, True):
            with pytest.raises(InputError, match="other: expected a folder of its own for the combination, found memb"):
                combine(chosen, "other", out=out, force=force)
    assert {path: path.read_bytes() for path in (tmp_path / "48h").rglob("*") if path.is_file()} == before


def test_one_member_or_none_twice_is_no_combination(members: tuple[Path, Path], tmp_path: Path) -> None:
    for chosen in (members[:1], (members[0], members[0])):
        with pytest.raises(InputError, match="expected two or more runs, each once"):
            combine_runs(chosen, tmp_path / "both", **names())
    with pytest.raises(InputError, match="expected one run, found a folder of runs"):
        combine_runs([members[0].parent, members[1]], tmp_path / "both", **names())
    (tmp_path / "f.csv").touch()
    with pytest.raises(InputError, match="found a file; import a table with `sffshards import`"):
        combine_runs([members[0], tmp_path / "f.csv"], tmp_path / "both", **names())


# Forecasts of new sequences -------------------------------------------------------------------------------------------


def issue(
    keys: Sequence[tuple[int, int]], seed: int, *, folds: tuple[int, ...] = (0, 1), **changes: Any
) -> RegionForecasts:
    """Forecasts by some folds for regions at some hours of a day."""
    shown = [
        Shown(
            sequence=f"{harp} {hour}",
            harp=harp,
            t_end_tai=datetime(2012, 3, 6, hour),
            num_distinct=16,
            longest_gap_minutes=96,
        )
        for harp, hour in keys
    ]
    raw = np.random.default_rng(seed).random((len(folds), len(keys)))
    members = tuple(combined_member(fold, (1.0, 1.0)) for fold in folds)
    return RegionForecasts(members=members, shown=tuple(shown), raw_MN=raw, calibrated_MN=raw, **changes)


def combined_member(fold: int, weights: tuple[float, float]) -> CombinedMember:
    return CombinedMember(
        name=f"fold {fold}",
        checkpoint=Path("combination.json"),
        checkpoint_sha256="ab" * 32,
        model_name="both",
        task=M48,
        regression=LogitRegression(members=("a", "b"), weights=weights, intercept=-1.0),
        decision=None,
        reason="nothing was fitted",
    )


def test_forecasts_of_the_same_regions_are_combined_fold_by_fold() -> None:
    first, second = issue([(1, 3), (3, 5)], 1), issue([(1, 3), (3, 5)], 2)
    members = [combined_member(0, (1.0, 0.5)), combined_member(1, (0.0, 2.0))]
    notes = Listener()
    found = combine_forecasts(members, [first, second], progress=notes)
    assert [(shown.harp, shown.t_end_tai.hour) for shown in found.shown] == [(1, 3), (3, 5)]
    for fold, (one, other) in enumerate(((1.0, 0.5), (0.0, 2.0))):
        line = one * logits(first.raw_MN[fold]) + other * logits(second.raw_MN[fold]) - 1
        np.testing.assert_allclose(found.raw_MN[fold], 1 / (1 + np.exp(-line)), atol=1e-12)
    assert notes.notes[0] == "fold 0: raw probabilities, not calibrated: nothing was fitted"


def test_folds_of_members_are_combined_by_their_numbers() -> None:
    first, second = issue([(1, 3)], 1, folds=(0, 1, 2)), issue([(1, 3)], 2, folds=(2, 0))
    members = [combined_member(0, (1.0, 0.5)), combined_member(2, (0.0, 2.0))]
    found = combine_forecasts(members, [first, second], progress=SILENT)
    lines = np.concatenate(
        [logits(first.raw_MN[0]) + 0.5 * logits(second.raw_MN[1]) - 1, 2 * logits(second.raw_MN[0]) - 1]
    )
    np.testing.assert_allclose(found.raw_MN[:, 0], 1 / (1 + np.exp(-lines)), atol=1e-12)
    with pytest.raises(InputError, match="expected fold 2 of each run, found fold 0, fold 1"):
        combine_forecasts(members, [first, issue([(1, 3)], 2)], progress=SILENT)


def test_forecasts_of_other_times_or_numbers_are_not_combined() -> None:
    members = [combined_member(0, (1.0, 0.5)), combined_member(1, (0.0, 2.0))]
    with pytest.raises(InputError, match="expected the same regions and times for all members, in the same order"):
        combine_forecasts(members, [issue([(1, 3)], 1), issue([(1, 4)], 2)], progress=SILENT)
    others = issue([(1, 3)], 2, harp_numbers=HarpNumbers.NEAR_REAL_TIME)
    with pytest.raises(InputError, match="expected definitive HARP numbers for all members, found near-real-time"):
        combine_forecasts(members, [issue([(1, 3)], 1), others], progress=SILENT)


def test_a_combination_with_an_imported_table_forecasts_nothing_new(members: tuple[Path, Path], tmp_path: Path) -> None:
    combined = combine_runs(members, tmp_path / "both", **names())
    with pytest.raises(InputError, match=r"expected a run that can forecast new sequences, found other \(imported\)"):
        find_forecasters(combined.folder, "all", None, None, choice=parse_task_choice(None, None))
