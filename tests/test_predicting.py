"""Forecasts of sequences whose outcome is not known: from images, lists and shards, and the files of them."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from sffshards.base.errors import ConflictError, DamageError, ImageError, InputError
from sffshards.base.progress import SILENT
from sffshards.cli import command_list
from sffshards.domain.frame_codes import times_of
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.sample_sets import Part, Variant
from sffshards.domain.sequence_table import build_sequences
from sffshards.domain.task import M24, M48
from sffshards.executors import open_cluster
from sffshards.forecasting.combinations.run_combination import combine_runs
from sffshards.forecasting.operational.clip_sources import BuildSource, ImageSource, Shown, require_task
from sffshards.forecasting.operational.ensemble_members import Member, find_members, take_checkpoint
from sffshards.forecasting.operational.forecast_files import describe_forecasts, format_csv, format_json
from sffshards.forecasting.operational.region_forecasts import RegionForecasts, combine_regions, forecast_regions
from sffshards.forecasting.operational.scoreboard import (
    ForecastMode,
    Submission,
    convert_to_utc,
    format_scoreboard_json,
    format_scoreboard_text,
    scoreboard_text_name,
)
from sffshards.forecasting.operational.unlabelled_sequences import (
    find_image_folder,
    find_image_sequences,
    find_table_sequences,
    read_sequence_list,
)
from sffshards.forecasting.runs.decision import DECISION_NAME, read_decision
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.predictions_table import read_predictions, write_predictions
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.images.image_files import read_frame
from sffshards.labels.label_lists import read_label_list
from sffshards.labels.sequence_lists import write_sequence_files, write_sequence_list
from sffshards.models.model_names import ModelName, NetworkSpec
from sffshards.models.networks import build_model
from sffshards.shards.read.build_reader import open_build
from sffshards.tabular.keyword_tables import KeywordTable
from sffshards.training.fold_record import read_record
from sffshards.training.fold_training import train_folds
from sffshards.verification.threshold_curves import ThresholdRule
from tests.commands import run_here
from tests.training_data import (
    FastNetwork,
    Listener,
    describe_checkpoint,
    fast_options,
    make_build,
    make_labelled_images,
    rewrite_record,
)

ON_CPU = Inference(batch_size=4, num_threads=1, device=torch.device("cpu"))
SUBMISSION = Submission(short_name="SFF_MViT", spase_id=None, mode=ForecastMode.HISTORICAL, issue_time_utc=None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data and shards, and a run of two folds on them that is evaluated."""
    folder = tmp_path_factory.mktemp("predicting")
    build = make_build(folder)
    with pytest.MonkeyPatch.context() as patch:
        for place in ("training.fold_training", "forecasting.runs.network_prediction"):
            patch.setattr(f"sffshards.{place}.build_model", lambda *_, **__: FastNetwork())
        options = fast_options(variant=Variant.OTV, max_epochs=3)
        train_folds(build, folder / "oTV", options, folds=[0, 2], force=False, progress=SILENT)
        evaluate_run(folder / "oTV", build, folds=None, inference=ON_CPU, force=False, progress=SILENT)
    return folder, folder / "oTV"


@pytest.fixture
def a_run(trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, which a test may spoil."""
    monkeypatch.setattr("sffshards.forecasting.runs.network_prediction.build_model", lambda *_, **__: FastNetwork())
    return Path(shutil.copytree(trained[1], tmp_path / "oTV"))


@pytest.fixture
def images(trained: tuple[Path, Path]) -> Path:
    return trained[0] / "data" / "magnetogram_jpg"


def forecast(a_run: Path, source: ImageSource | BuildSource) -> RegionForecasts:
    return forecast_regions(find_members(a_run, folds=None), source, inference=ON_CPU, progress=SILENT)


# Sources ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_images_give_the_latest_sequence_of_each_harp_or_every_one(images: Path) -> None:
    latest = find_image_sequences(images, every=False, progress=SILENT)
    # Two regions a part, of five images each.
    assert [sequence.harp for sequence in latest] == sorted(100 * part + k for part in range(1, 7) for k in (0, 1))
    assert {sequence.num_distinct for sequence in latest} == {5}
    first = [sequence for sequence in find_image_sequences(images, every=True, progress=SILENT) if sequence.harp == 100]
    assert [sequence.num_distinct for sequence in first] == [1, 2, 3, 4, 5]
    assert [sequence.t_end_tai for sequence in first] == [
        datetime(2011, 2, 13) + timedelta(minutes=96 * number) for number in range(5)
    ]


def test_clips_are_the_frames_in_order_of_time_and_each_image_is_decoded_once(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def counting(path: Path) -> np.ndarray:
        decoded.append(path)
        return read_frame(path)

    monkeypatch.setattr("sffshards.forecasting.operational.clip_sources.read_frame", counting)
    sequences = find_image_sequences(images, every=True, progress=SILENT)
    clips = list(ImageSource(images, sequences).clips())
    assert len(decoded) == len(set(decoded)) == 60
    last = clips[4]  # of HARP 100, five images: slot i shows image int(i * 5 / 16)
    for slot in range(16):
        time = datetime(2011, 2, 13) + timedelta(minutes=96 * (slot * 5 // 16))
        path = images / f"hmi.sharp_720s.100.{time:%Y%m%d_%H%M%S}_TAI.magnetogram.fits.jpg"
        assert np.array_equal(last[slot], read_frame(path))


def test_a_folder_without_images_is_refused_and_other_names_are_counted(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected images named hmi\.sharp_720s.*, found none"):
        find_image_sequences(tmp_path, every=False, progress=SILENT)
    (tmp_path / "sharp.fits.gz").write_bytes(b"x")
    with pytest.raises(InputError, match="found 1 FITS file; convert them with `sffshards ingest`"):
        find_image_sequences(tmp_path, every=False, progress=SILENT)
    (tmp_path / "sharp.fits.gz").unlink()
    (tmp_path / "sharp.fits.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="found 1 image of another name"):
        find_image_sequences(tmp_path, every=False, progress=SILENT)
    name = next(iter(images.iterdir())).name
    shutil.copy(images / name, tmp_path / name)
    progress = Listener()
    assert len(find_image_sequences(tmp_path, every=False, progress=progress)) == 1
    assert progress.notes == [f"{tmp_path}: 1 image of another name ignored"]
    assert find_image_folder(images.parent) == images
    assert find_image_folder(images) == images


@pytest.fixture
def sequence_list(trained: tuple[Path, Path], tmp_path: Path) -> Path:
    """The list of the test part, as `sffshards sequences` writes it."""
    rows = read_label_list(trained[0] / "data" / "M48" / "flare_Mclass_48h_Test.txt")
    sequences = build_sequences(rows, part=Part.TEST)
    write_sequence_files(tmp_path / "Seqs16", sequences)
    write_sequence_list(tmp_path / "Seq16_Test.txt", sequences)
    return tmp_path / "Seq16_Test.txt"


def test_lists_of_sequences_are_read_with_and_without_labels(sequence_list: Path, images: Path) -> None:
    labelled = read_sequence_list(sequence_list)
    every = find_image_sequences(images, every=True, progress=SILENT)
    assert [s.frames for s in labelled] == [s.frames for s in every if s.harp in (600, 601)]
    names = [line.split()[0] for line in sequence_list.read_text().splitlines()]
    sequence_list.write_text("\n".join(reversed(names)) + "\n\n" + names[0])
    assert [s.frames for s in read_sequence_list(sequence_list)] == [s.frames for s in labelled]


def test_lists_that_cannot_be_used_are_refused_by_line(sequence_list: Path) -> None:
    name = sequence_list.read_text().split()[0]
    for text, message in (
        ("", "expected at least one sequence name"),
        (f"{name} 0\n../../etc/passwd\n", r"Seq16_Test\.txt:2: expected a sequence name"),
        (f"{name} 7", r"Seq16_Test\.txt:1: expected a sequence name"),
        (name.replace("600", "700"), "expected a file with the 16 frames of the sequence, found no such file"),
    ):
        sequence_list.write_text(text)
        with pytest.raises(InputError, match=message):
            read_sequence_list(sequence_list)
    sequence_list.write_text(name)
    file = sequence_list.parent / "Seqs16" / name
    frames = file.read_text().split()
    file.write_text("\n".join(frames[:15]))
    with pytest.raises(InputError, match="16 frames, got 15"):
        read_sequence_list(sequence_list)
    file.write_text("\n".join([*frames[:15], frames[0].replace("20110218_000000", "20110218_000001")]))
    with pytest.raises(InputError, match="expected the frames that its name states"):
        read_sequence_list(sequence_list)


def test_missing_images_are_listed_before_anything_is_computed(
    sequence_list: Path, images: Path, tmp_path: Path
) -> None:
    some = tmp_path / "some"
    some.mkdir()
    shutil.copy(min(images.glob("*.600.*")), some)
    with pytest.raises(ImageError, match=r"the 10 images .*, found all but 9: hmi\.sharp_720s\.600\..* and 6 others"):
        ImageSource(some, read_sequence_list(sequence_list))


def test_a_damaged_image_is_named(images: Path, tmp_path: Path) -> None:
    path = next(iter(images.iterdir()))
    (tmp_path / path.name).write_bytes(path.read_bytes()[:-200])
    source = ImageSource(tmp_path, find_image_sequences(tmp_path, every=False, progress=SILENT))
    with pytest.raises(ImageError, match="replace the image, or remove it") as caught:
        list(source.clips())
    assert path.name in str(caught.value)


def test_parts_of_a_build_give_the_latest_of_each_harp_or_every_one(trained: tuple[Path, Path]) -> None:
    with open_build(trained[0] / "shards" / "48h") as build:
        latest = BuildSource(build, parts=[Part.TEST], every=False)
        assert [shown.harp for shown in latest.shown] == [600, 601]
        assert {shown.num_distinct for shown in latest.shown} == {5}
        assert {shown.longest_gap_minutes for shown in latest.shown} == {96}
        two = BuildSource(build, parts=[Part.TEST, Part.TRAIN_VAL_0], every=True)
        assert [shown.harp for shown in two.shown] == [100] * 5 + [101] * 5 + [600] * 5 + [601] * 5
        with pytest.raises(ConflictError, match="expected a build of 24h, .* found one of 48h"):
            require_task(build, M24)
        require_task(build, M48)


# Forecasts ----------------------------------------------------------------------------------------------------------


def test_images_and_shards_give_what_evaluate_gave_for_the_same_sequences(
    trained: tuple[Path, Path], a_run: Path, images: Path, sequence_list: Path
) -> None:
    tables = [read_predictions(a_run / f"fold{fold}" / "predictions-test.csv") for fold in (0, 2)]
    with open_build(trained[0] / "shards" / "48h") as build:
        of_shards = forecast(a_run, BuildSource(build, parts=[Part.TEST], every=True))
    of_images = forecast(a_run, ImageSource(images, read_sequence_list(sequence_list)))
    for found in (of_shards, of_images):
        for number, table in enumerate(tables):
            of = dict(zip(table.sequence, table.probability.tolist(), strict=True))
            expected = [of[shown.sequence] for shown in found.shown]
            np.testing.assert_allclose(found.raw_MN[number], expected, atol=1e-6)
    assert of_images.shown == of_shards.shown


def test_a_combination_forecasts_new_sequences_as_it_forecast_those_of_its_tables(a_run: Path, images: Path) -> None:
    shutil.copytree(a_run, a_run.parent / "again")
    members = [a_run, a_run.parent / "again"]
    combined = combine_runs(members, a_run.parent / "both", name="both", force=False, progress=SILENT)
    tables = [read_predictions(fold.folder / "predictions-test.csv") for fold in combined.folds]
    expected = np.mean([table.probability for table in tables], axis=0)
    for member in members:  # a fold that was trained since
        shutil.copytree(member / "fold0", member / "fold1")
        rewrite_record(member / "fold1" / "run.json", fold=1)
    done = predict("--run", combined.folder, "--images", images.parent, "--every", "--format", "json")
    assert done.exit_code == 0, done.exception
    described = json.loads(done.stdout)
    assert [member["model"] for member in described["members"]] == ["both", "both"]
    found = {(one["harp"], one["t_end_tai"]): one["raw_probability"] for one in described["regions"]}
    for harp, time, probability in zip(
        tables[0].harp.tolist(), tables[0].t_end_tai.tolist(), expected.tolist(), strict=True
    ):
        assert found[harp, time.isoformat()] == pytest.approx(probability, abs=1e-6)
    assert "fold 0: raw probabilities, not calibrated: there are no forecasts of the validation set" in done.stderr
    write_predictions(a_run.parent / "again" / "fold0" / "predictions-val.csv", tables[0])
    assert isinstance(predict("--run", combined.folder, "--images", images).exception, DamageError)


def test_probabilities_are_calibrated_by_each_folds_own_decision(a_run: Path, images: Path) -> None:
    found = forecast(a_run, ImageSource(images, find_image_sequences(images, every=False, progress=SILENT)))
    for number, fold in enumerate((0, 2)):
        decision = read_decision(a_run / f"fold{fold}")
        assert decision is not None
        assert decision.platt is not None
        raw = found.raw_MN[number]
        logit = np.log(raw / (1 - raw))
        expected = 1 / (1 + np.exp(-(decision.platt.slope * logit + decision.platt.intercept)))
        np.testing.assert_allclose(found.calibrated_MN[number], expected, atol=1e-9)
    spread = found.spread(3)
    pair = found.calibrated_MN[:, 3]
    assert (spread.low, spread.high) == (pair.min(), pair.max())
    assert spread.probability == pytest.approx(pair.sum() / 2)
    assert spread.deviation == pytest.approx(abs(pair[0] - pair[1]) / 2**0.5)


def test_thresholds_are_the_folds_means_and_called_on_raw_probabilities(a_run: Path, images: Path) -> None:
    found = forecast(a_run, ImageSource(images, find_image_sequences(images, every=True, progress=SILENT)))
    decisions = [read_decision(a_run / f"fold{fold}") for fold in (0, 2)]
    for rule in ThresholdRule:
        mean = sum(decision.thresholds[rule] for decision in decisions if decision is not None) / 2
        assert found.thresholds[rule] == pytest.approx(mean)
        called = [found.calls(number)[rule] for number in range(len(found.shown))]
        assert called == [raw >= found.thresholds[rule] for raw in found.raw_MN.mean(axis=0)]
        assert 0 < sum(called) < len(called)


def test_what_is_not_calibrated_is_raw_and_said(a_run: Path, images: Path) -> None:
    source = ImageSource(images, find_image_sequences(images, every=False, progress=SILENT))
    (a_run / "fold0" / DECISION_NAME).unlink()
    decided_by = read_record(a_run / "fold2").checkpoints[0].sha256
    rewrite_record(a_run / "fold2" / DECISION_NAME, source_sha256="0" * 64)
    progress = Listener()
    found = forecast_regions(find_members(a_run, folds=None), source, inference=ON_CPU, progress=progress)
    assert np.array_equal(found.raw_MN, found.calibrated_MN)
    assert [note.split(": ", 1)[0] for note in progress.notes] == ["fold 0", "fold 2"]
    assert "there is no decision.json beside it" in progress.notes[0]
    assert "of another checkpoint" in progress.notes[1]
    assert found.thresholds == {ThresholdRule.HALF: 0.5}
    members = describe_forecasts(found, [], tolerance_minutes=96)["members"]
    assert [member["probability"] for member in members] == ["raw", "raw"]
    reason = "the validation set has no samples"
    rewrite_record(a_run / "fold2" / DECISION_NAME, source_sha256=decided_by, platt=None, isotonic=None, reason=reason)
    member = find_members(a_run, folds=[2])[0]
    assert (member.is_calibrated, member.reason) == (False, "the validation set has no samples")
    (a_run / "fold2" / DECISION_NAME).write_text("{")
    with pytest.raises(DamageError, match="the decision of a fold"):
        find_members(a_run, folds=[2])


def test_runs_that_cannot_forecast_are_refused(a_run: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run, with fold0 to fold4"):
        find_members(tmp_path, folds=None)
    with pytest.raises(InputError, match="expected fold 1, found folds 0, 2 only"):
        find_members(a_run, folds=[1, 2])
    assert [member.name for member in find_members(a_run, folds=[2])] == ["fold 2"]
    source = ImageSource(images, find_image_sequences(images, every=False, progress=SILENT))
    path = find_members(a_run, folds=[0])[0].checkpoint
    path.write_bytes(path.read_bytes()[:1000])
    describe_checkpoint(a_run / "fold0")
    with pytest.raises(InputError, match="cut off") as caught:
        forecast(a_run, source)
    assert str(caught.value).startswith(str(path))
    torch.save({"state_dict": {"model.head.1.weight": torch.ones(2, 768)}}, path)
    describe_checkpoint(a_run / "fold0")
    with pytest.raises(InputError, match="those of another network"):
        forecast(a_run, source)
    rewrite_record(a_run / "fold2" / "run.json", task="M24")
    with pytest.raises(ConflictError, match="folds of one task, 48h as fold 0, found fold 2 of 24h"):
        find_members(a_run, folds=None)
    rewrite_record(a_run / "fold2" / "run.json", task="M48", checkpoints=[])
    with pytest.raises(InputError, match="expected a checkpoint, found none yet"):
        find_members(a_run, folds=None)


# The full disk ------------------------------------------------------------------------------------------------------


def member(name: str) -> Member:
    return Member(
        name=name,
        checkpoint=Path(f"{name}.ckpt"),
        checkpoint_sha256="0" * 64,
        network=NetworkSpec(model=ModelName.MVIT_V2_S),
        task=M24,
        image_options={},
        decision=None,
        reason="not fitted",
    )


def of_regions(rows: list[tuple[int, int]], probabilities_MN: list[list[float]]) -> RegionForecasts:
    """Rows of HARP and minute, and each member's probabilities."""
    shown = [
        Shown(
            sequence=f"sequence {harp} {minute}",
            harp=harp,
            t_end_tai=datetime(2012, 3, 6) + timedelta(minutes=minute),
            num_distinct=16,
            longest_gap_minutes=96,
        )
        for harp, minute in rows
    ]
    values = np.array(probabilities_MN)
    members = tuple(member(f"m{number}") for number in range(len(values)))
    return RegionForecasts(members=members, shown=tuple(shown), raw_MN=values, calibrated_MN=values)


def test_the_full_disk_is_one_less_the_chance_of_no_flare_anywhere() -> None:
    found = of_regions([(1, 0), (2, 0), (3, 0)], [[0.5, 0.2, 0.0], [0.3, 0.4, 0.1]])
    (disk,) = combine_regions(found, tolerance_minutes=96, every=True)
    assert disk.spread.probability == pytest.approx(1 - 0.6 * 0.7 * 0.95)
    assert disk.spread.low == pytest.approx(1 - 0.5 * 0.8)
    assert disk.spread.high == pytest.approx(1 - 0.7 * 0.6 * 0.9)
    assert disk.regions == (0, 1, 2)
    # Members that disagree on which region flares: neither has as little as their means together.
    (disk,) = combine_regions(of_regions([(1, 0), (2, 0)], [[0.5, 0.0], [0.0, 0.5]]), tolerance_minutes=96, every=True)
    assert (disk.spread.low, disk.spread.probability, disk.spread.high) == (0.4375, 0.4375, 0.5)


def test_each_harp_counts_once_with_its_latest_sequence_within_the_tolerance() -> None:
    rows = [(1, 0), (1, 96), (1, 192), (2, 10), (2, 106), (3, 192)]
    found = of_regions(rows, [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    disks = combine_regions(found, tolerance_minutes=86, every=True)
    assert [(disk.t_end_tai.hour * 60 + disk.t_end_tai.minute, disk.regions) for disk in disks] == [
        (0, (0,)),
        (10, (0, 3)),
        (96, (1, 3)),
        (106, (1, 4)),
        (192, (2, 4, 5)),
    ]
    assert combine_regions(found, tolerance_minutes=85, every=True)[-1].regions == (2, 5)
    assert combine_regions(found, tolerance_minutes=10**15, every=True)[-1].regions == (2, 4, 5)
    assert disks[-1].spread.probability == pytest.approx(1 - 0.7 * 0.5 * 0.4)
    assert disks[-1].spread.deviation is None
    with pytest.raises(InputError, match="`tolerance`: expected 0 or more"):
        combine_regions(found, tolerance_minutes=-1, every=True)


def test_the_full_disk_of_a_time_is_the_same_from_all_sequences_and_from_the_latest() -> None:
    every = of_regions([(1, 0), (1, 96), (2, 0)], [[0.99, 0.9, 0.05]])
    latest = of_regions([(1, 96), (2, 0)], [[0.9, 0.05]])
    first, last = combine_regions(every, tolerance_minutes=96, every=True)
    assert first.spread.probability == pytest.approx(1 - 0.01 * 0.95)
    (only,) = combine_regions(latest, tolerance_minutes=96, every=False)
    assert (only.t_end_tai, only.spread) == (last.t_end_tai, last.spread)
    assert only.spread.probability == pytest.approx(1 - 0.1 * 0.95)


# Files --------------------------------------------------------------------------------------------------------------


def test_csv_and_json_hold_regions_and_full_disk() -> None:
    found = of_regions([(1, 0), (2, 0)], [[0.5, 0.2], [0.3, 0.4]])
    disks = combine_regions(found, tolerance_minutes=96, every=True)
    rows = list(csv.DictReader(format_csv(found, disks).splitlines()))
    assert [row["kind"] for row in rows] == ["region", "region", "full disk"]
    assert (rows[0]["harp"], rows[0]["t_end_tai"]) == ("1", "2012-03-06T00:00:00")
    assert [float(rows[0][name]) for name in ("probability", "low", "high")] == pytest.approx([0.4, 0.3, 0.5])
    assert (rows[0]["flare at 0.5"], rows[0]["flare at max TSS"]) == ("0", "")
    assert float(rows[2]["probability"]) == pytest.approx(1 - 0.6 * 0.7)
    assert (rows[2]["num_regions"], rows[2]["harp"]) == ("2", "")
    assert {(row["task"], row["goes_threshold"], row["horizon_hours"]) for row in rows} == {("M24", "M1.0", "24")}
    assert [row["harp_numbers"] for row in rows] == ["definitive", "definitive", ""]
    content = json.loads(format_json(found, disks, tolerance_minutes=96))
    assert (content["format_version"], content["task"], content["full_disk_tolerance_minutes"]) == (2, "M24", 96)
    assert (content["goes_threshold"], content["horizon_hours"]) == ("M1.0", 24)
    assert content["event"] == "a flare of class M or above within 24 h of t_end_tai"
    assert content["regions"][1]["of_members"] == [0.2, 0.4]
    assert content["full_disk"][0]["harps"] == [1, 2]


SCOREBOARD_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def check_probabilities(forecast: dict) -> None:
    """Check a forecast's window and probabilities against the Scoreboard's layout."""
    window = forecast["prediction_window"]
    assert set(window) == {"start_time", "end_time"}
    assert all(SCOREBOARD_TIME.fullmatch(time) for time in window.values())
    for entry in forecast["flare_probabilities"]:
        assert set(entry) == {"class", "probability", "uncertainty", "uncertainty_low", "uncertainty_high"}
        assert entry["class"] == "M+"
        assert 0 <= entry["uncertainty_low"] <= entry["probability"] <= entry["uncertainty_high"] <= 1


def test_the_scoreboards_json_has_its_layout() -> None:
    found = of_regions([(1, 0), (2, 96), (4, 0)], [[0.5, 0.2, 0.3], [0.3, 0.4, 0.1]])
    disk = combine_regions(found, tolerance_minutes=96, every=True)[-1]
    content = json.loads(format_scoreboard_json(found, disk, SUBMISSION))
    assert set(content) == {"forecast_submission"}
    submission = content["forecast_submission"]
    assert set(submission) == {"model", "issue_time", "mode", "full_disk_forecasts", "region_forecasts"}
    assert submission["model"] == {"short_name": "SFF_MViT"}
    assert (submission["issue_time"], submission["mode"]) == ("2012-03-06T01:35:26Z", "historical")
    (full_disk,) = submission["full_disk_forecasts"]
    assert set(full_disk) == {"prediction_window", "flare_probabilities"}
    check_probabilities(full_disk)
    # UTC was 34 s behind TAI; the window opens with the last image.
    assert full_disk["prediction_window"] == {"start_time": "2012-03-06T01:35:26Z", "end_time": "2012-03-07T01:35:26Z"}
    for region, harp in zip(submission["region_forecasts"], (1, 2, 4), strict=True):
        assert set(region) == {"region_ids", "prediction_window", "flare_probabilities"}
        assert region["region_ids"] == [{"type": "HARP", "number": harp}]
        check_probabilities(region)
    assert submission["region_forecasts"][0]["prediction_window"]["start_time"] == "2012-03-05T23:59:26Z"


def test_a_registered_id_is_written_and_a_blank_one_refused() -> None:
    found = of_regions([(1, 0)], [[0.5]])
    (disk,) = combine_regions(found, tolerance_minutes=96, every=True)
    registered = replace(SUBMISSION, spase_id="spase://CCMC/SimulationModel/SFF")
    content = json.loads(format_scoreboard_json(found, disk, registered))
    assert content["forecast_submission"]["model"]["spase_id"] == "spase://CCMC/SimulationModel/SFF"
    for blank in ("", " "):
        with pytest.raises(InputError, match="`spase_id`: expected a registered id"):
            replace(SUBMISSION, spase_id=blank)


@pytest.mark.parametrize(
    ("mode", "time", "is_possible"),
    [
        # The last image is of 2012-03-05T23:59:26Z, and the window of 24 h ends a day later.
        ("forecast", "2012-03-05T23:59:26", True),
        ("forecast", "2012-03-06T23:59:26", True),
        ("forecast", "2012-03-06T23:59:27", False),
        ("forecast", "2030-01-01T00:00:00", False),
        ("nowcast", "2030-01-01T00:00:00", False),
        ("simulated_realtime_forecast", "2012-03-08T00:00:00", False),
        ("historical", "2012-03-08T00:00:00", True),
        ("historical", "2999-01-01T00:00:00", False),
        ("historical", "2012-03-05T23:59:25", False),
        ("forecast", "2010-01-01T00:00:00", False),
    ],
)
def test_a_forecast_is_issued_after_its_data_and_before_its_window_ends(
    mode: str, time: str, is_possible: bool
) -> None:
    found = of_regions([(1, 0)], [[0.5]])
    (disk,) = combine_regions(found, tolerance_minutes=96, every=True)
    submission = replace(SUBMISSION, mode=ForecastMode(mode), issue_time_utc=datetime.fromisoformat(time))
    for write in (format_scoreboard_json, format_scoreboard_text):
        if is_possible:
            assert f"{time}Z" in write(found, disk, submission)
        else:
            with pytest.raises(InputError, match="`issue_time`: expected a time from that of the last image to"):
                write(found, disk, submission)


@pytest.mark.parametrize("mode", ["forecast", "nowcast"])
def test_a_real_time_forecast_of_old_data_states_when_it_was_issued(mode: str) -> None:
    submission = replace(SUBMISSION, mode=ForecastMode(mode))
    with pytest.raises(InputError, match=f"mode {mode} states.*ended at 2012-03-07T00:00:00Z.*choose another"):
        submission.check_issue(datetime(2012, 3, 6, 0, 0, 34), M24)
    now = datetime.now(UTC).replace(tzinfo=None)
    submission.check_issue(now, M24)
    replace(submission, issue_time_utc=datetime(2012, 3, 6, 1)).check_issue(datetime(2012, 3, 6), M24)
    replace(SUBMISSION, mode=ForecastMode.SIMULATED).check_issue(datetime(2012, 3, 6), M24)


def test_a_forecast_is_not_issued_in_the_future() -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    for mode in ForecastMode:
        submission = replace(SUBMISSION, mode=mode, issue_time_utc=now + timedelta(hours=2))
        with pytest.raises(InputError, match="from that of the last image to now"):
            submission.check_issue(now, M24)


def test_one_member_has_no_uncertainty() -> None:
    found = of_regions([(1, 0)], [[0.5]])
    (disk,) = combine_regions(found, tolerance_minutes=96, every=True)
    content = json.loads(format_scoreboard_json(found, disk, SUBMISSION))
    probabilities = content["forecast_submission"]["full_disk_forecasts"][0]["flare_probabilities"]
    assert probabilities == [{"class": "M+", "probability": 0.5}]
    assert "\n1 0.5000 ----\n" in format_scoreboard_text(found, disk, SUBMISSION)


def test_the_scoreboards_text_has_its_lines_and_name() -> None:
    found = of_regions([(377, 0), (401, 0)], [[0.5, 0.2], [0.3, 0.4]])
    (disk,) = combine_regions(found, tolerance_minutes=96, every=True)
    issued = Submission(
        short_name="SFF-MViT",
        spase_id=None,
        mode=ForecastMode.FORECAST,
        issue_time_utc=datetime(2012, 3, 6, 1, 30),
    )
    assert scoreboard_text_name(disk, issued) == "Flare_Forecast_SFF-MViT_20120306_0130.txt"
    assert format_scoreboard_text(found, disk, issued).splitlines() == [
        "#Flare_Forecast_SFF-MViT_20120306_0130.txt",
        "Forecasting method: SFF-MViT",
        "Issue Time: 2012-03-06T01:30:00Z",
        "Prediction Window Start Time: 2012-03-05T23:59:26Z",
        "Prediction Window End Time: 2012-03-06T23:59:26Z",
        "Probability Bins: M+",
        "Input data: SDO/HMI LOS_Magnetogram, definitive HARP numbers",
        "#Full Disk Forecast",
        "#M_prob M_uncert",
        "0.5800 0.0141",  # 1 - 0.6 * 0.7; of the members 0.60 and 0.58
        "#Region Forecast",
        "#HARP M_prob M_uncert",
        "377 0.4000 0.1414",
        "401 0.3000 0.1414",
    ]
    with pytest.raises(InputError, match="`short_name`: expected letters, digits, _ and -"):
        Submission(short_name="../x", spase_id=None, mode=ForecastMode.FORECAST, issue_time_utc=None)


@pytest.mark.parametrize(
    ("t_tai", "utc"),
    [
        # IERS Bulletin C: the leap second at the end of June 2012 made 34 into 35.
        ("2012-07-01T00:00:34", "2012-07-01T00:00:00"),
        ("2012-07-01T00:00:35", "2012-07-01T00:00:00"),
        ("2016-01-01T00:00:36", "2016-01-01T00:00:00"),
        ("2024-01-01T00:00:37", "2024-01-01T00:00:00"),
    ],
)
def test_times_of_images_are_tai_and_the_scoreboards_utc(t_tai: str, utc: str) -> None:
    assert convert_to_utc(datetime.fromisoformat(t_tai)).isoformat() == utc


def test_a_time_before_whole_leap_seconds_is_refused() -> None:
    with pytest.raises(InputError, match="expected 1972 or later"):
        convert_to_utc(datetime(1971, 12, 31))


def test_a_horizon_past_the_calendar_is_refused() -> None:
    found = of_regions([(1, 0)], [[0.1]])
    (disk,) = combine_regions(found, tolerance_minutes=96, every=True)
    with pytest.raises(InputError, match="expected one before 9999"):
        format_scoreboard_text(found, replace(disk, t_end_tai=datetime(9999, 12, 31, 23)), SUBMISSION)


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as the published programs wrote them, of a small network, beside images."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    network = build_model(ModelName.MVIT_TINY, weights="none")
    torch.save(
        {
            "epoch": 7,
            "pytorch-lightning_version": "1.9.0",
            "state_dict": {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
            | {"criterion.weight": torch.ones(2), "criterion_val.weight": torch.ones(2)},
            "hyper_parameters": {"lr": 1e-7},
        },
        folder / "sample-FLARE_MViT_S_10-7-epoch=07-valid_loss=0.02-Wloss_k=0.ckpt",
    )
    make_labelled_images(folder / "data")
    for path in (folder / "data" / "magnetogram_jpg").iterdir():
        if not re.search(r"\.60[01]\.", path.name):
            path.unlink()
    return folder


def predict(*arguments: object) -> Result:
    """Run the command in this process: a process of its own takes long to import torch."""
    app = typer.Typer()
    command_list.register(app)
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_a_published_checkpoint_forecasts_images_by_command(published: Path, tmp_path: Path) -> None:
    checkpoint = next(published.glob("*.ckpt"))
    start = ["--run", checkpoint, "--model", "mvit_tiny", "--horizon", "24h", "--images", published / "data"]
    done = predict(*start, "--format", "scoreboard-text", "--out", tmp_path, "--short-name", "Test")
    assert done.exit_code == 0, done.exception
    (path,) = tmp_path.iterdir()
    assert path.name == "Flare_Forecast_Test_20110218_0623.txt"
    event = "a flare of class M or above within 24 h"
    assert done.stdout == f"{path}: {event}: 2 sequences, 1 time of the full disk\n"
    assert "raw probabilities, not calibrated: there is no decision.json beside it" in done.stderr
    member = take_checkpoint(checkpoint, network=NetworkSpec(model=ModelName.MVIT_TINY), task=M24)
    images = published / "data" / "magnetogram_jpg"
    source = ImageSource(images, find_image_sequences(images, every=False, progress=SILENT))
    found = forecast_regions([member], source, inference=ON_CPU, progress=SILENT)
    lines = path.read_text().splitlines()
    assert lines[-2:] == [f"{600 + k} {found.raw_MN[0, k]:.4f} ----" for k in (0, 1)]


@pytest.mark.long
def test_a_cluster_forecasts_images_and_shards_with_the_same_bits(
    published: Path, trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    start = ["--run", next(published.glob("*.ckpt")), "--model", "mvit_tiny", "--batch-size", "2", "--format", "json"]
    images = [*start, "--horizon", "48h", "--images", published / "data"]
    shards = [*start, "--horizon", "48h", "--shards", trained[0] / "shards", "--part", "TrainVal0", "--part", "Test"]
    for arguments in ([*images, "--every"], [*shards, "--every"], images):  # 10, 20 and 2 sequences
        here, there = predict(*arguments, "--device", "cpu"), predict(*arguments, "--cluster", "local:2")
        assert here.exit_code == there.exit_code == 0, (here.exception, there.exception)
        assert there.stdout == here.stdout
    assert isinstance(predict(*images, "--cluster", "local:2", "--device", "cuda").exception, InputError)


@pytest.mark.slow
def test_a_checkpoint_that_a_worker_finds_replaced_is_not_used(published: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.ckpt"
    shutil.copy(next(published.glob("*.ckpt")), checkpoint)
    member = take_checkpoint(checkpoint, network=NetworkSpec(model=ModelName.MVIT_TINY), task=M24)
    checkpoint.write_bytes(b"another")
    images = published / "data" / "magnetogram_jpg"
    source = ImageSource(images, find_image_sequences(images, every=False, progress=SILENT))
    with open_cluster("local:1") as cluster, pytest.raises(ConflictError, match=r"a\.ckpt: expected the checkpoint"):
        forecast_regions([member], source, inference=ON_CPU, cluster=cluster, progress=SILENT)


def test_shards_and_folds_by_command(trained: tuple[Path, Path], a_run: Path, tmp_path: Path) -> None:
    start = ["--run", a_run, "--shards", trained[0] / "shards", "--device", "cpu"]
    both = predict(*start, "--every", "--format", "json", "--part", "Test", "--part", "TrainVal0")
    assert both.exit_code == 0, both.exception
    content = json.loads(both.stdout)
    assert [member["probability"] for member in content["members"]] == ["Platt", "Platt"]
    assert len(content["regions"]) == 20
    one = predict(*start, "--folds", "2", "--out", tmp_path / "f.csv")
    event = "a flare of class M or above within 48 h"
    assert one.stdout == f"{tmp_path / 'f.csv'}: {event}: 2 sequences, 1 time of the full disk\n"
    row = next(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))
    assert row["low"] == row["high"]
    of = {region["sequence"]: region for region in content["regions"]}
    assert float(row["probability"]) == pytest.approx(of[row["sequence"]]["of_members"][1], abs=1e-6)


def test_bad_input_of_the_command_is_refused(published: Path, trained: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint = next(published.glob("*.ckpt"))
    a_run = trained[1]
    cases: list[tuple[list[object], str]] = [
        (["--run", tmp_path, "--images", published], "expected a run, with fold0 to fold4"),
        (["--run", a_run], "expected --images, alone or with --sequences, or --shards, found none of them"),
        (["--run", a_run, "--sequences", "x", "--shards", "x"], "found --sequences and --shards"),
        (["--run", checkpoint, "--images", published], "`horizon`: expected a horizon, with a checkpoint file"),
        (["--run", a_run, "--horizon", "24h", "--images", published], "expected a run of 24h, found a run of 48h"),
        (["--run", a_run, "--folds", "0,7", "--images", tmp_path], "--folds: expected all, or some of 0, 1, 2, 3, 4"),
        (["--run", a_run, "--images", tmp_path], "expected images named"),
        (["--run", a_run, "--images", tmp_path / "none"], "no such file"),
        (["--run", a_run, "--images", published, "--issue-time", "noon"], "`issue_time`: expected a time in ISO"),
        (
            ["--run", a_run, "--images", published / "data", "--mode", "forecast", "--issue-time", "2030-01-01"],
            "in mode forecast, 2011-02-18T06:23:26Z to 2011-02-20T06:23:26Z, found 2030-01-01T00:00:00Z",
        ),
        (["--run", a_run, "--images", published / "data", "--min-frames", "6"], "expected a sequence of enough frames"),
        (["--run", a_run, "--images", published, "--issue-time", "0001-01-01T00:00+05:00"], "`issue_time`: expected"),
        (["--run", checkpoint, "--horizon", "24h", "--shards", trained[0] / "shards"], "expected a build of 24h"),
        (["--run", a_run, "--shards", trained[0] / "shards", "--out", tmp_path / "x", "--tolerance", "-1"], ""),
    ]
    for arguments, message in cases:
        done = predict(*arguments)
        assert done.exit_code != 0
        assert message in str(done.exception), arguments
        assert done.stdout == ""
    assert not (tmp_path / "x").exists()


def test_the_time_of_issue_may_be_of_any_zone(published: Path) -> None:
    checkpoint = next(published.glob("*.ckpt"))
    start = ["--run", checkpoint, "--model", "mvit_tiny", "--horizon", "24h", "--images", published / "data"]
    done = predict(*start, "--format", "scoreboard-json", "--issue-time", "2011-02-18T09:00+02:00", "--mode", "nowcast")
    submission = json.loads(done.stdout)["forecast_submission"]
    assert (submission["issue_time"], submission["mode"]) == ("2011-02-18T07:00:00Z", "nowcast")
    assert "no --spase-id" in done.stderr


def test_the_best_checkpoint_is_taken(a_run: Path) -> None:
    best = read_record(a_run / "fold0").best
    assert best is not None
    assert find_members(a_run, folds=[0])[0].checkpoint.name == best.name


def test_a_file_that_is_there_is_replaced_by_force_only(
    trained: tuple[Path, Path], a_run: Path, tmp_path: Path
) -> None:
    start = ["--run", a_run, "--shards", trained[0] / "shards", "--device", "cpu", "--out", tmp_path / "f.csv"]
    (tmp_path / "f.csv").write_text("mine")
    refused = predict(*start)
    assert "f.csv: expected no such file, or the same, found one of other content" in str(refused.exception)
    assert (tmp_path / "f.csv").read_text() == "mine"
    assert predict(*start, "--force").exit_code == 0
    assert (tmp_path / "f.csv").read_text().startswith("kind,")


def test_the_same_forecast_again_is_no_conflict(trained: tuple[Path, Path], a_run: Path, tmp_path: Path) -> None:
    start = ["--run", a_run, "--shards", trained[0] / "shards", "--device", "cpu", "--out", tmp_path / "f.csv"]
    assert predict(*start).exit_code == 0
    date = (tmp_path / "f.csv").stat().st_mtime_ns
    again = predict(*start)
    assert again.exit_code == 0, again.exception
    assert "f.csv: exists; another forecast replaces it only with --force" in again.stderr
    assert (tmp_path / "f.csv").stat().st_mtime_ns == date
    assert "found one of other content" in str(predict(*start, "--folds", "0").exception)


def test_the_full_disk_does_not_depend_on_whether_every_sequence_is_asked_for(
    a_run: Path, images: Path, tmp_path: Path
) -> None:
    for path in images.glob("*.60[01].*"):
        shutil.copy(path, tmp_path)
    max(tmp_path.glob("*.601.*")).unlink()  # HARP 601 ends 96 minutes before HARP 600
    start = ["--run", a_run, "--images", tmp_path, "--device", "cpu", "--format", "json"]
    latest, every = (json.loads(predict(*start, *more).stdout)["full_disk"] for more in ([], ["--every"]))
    assert (len(latest), len(every)) == (1, 5)
    assert latest[0]["harps"] == every[-1]["harps"] == [600, 601]
    assert latest[0]["probability"] == pytest.approx(every[-1]["probability"], abs=1e-6)


@pytest.mark.parametrize(
    ("recorded", "warning"),
    [
        ({"kind": "fits", "scale": "linear", "clip_gauss": 800.0, "jpeg_quality": 95}, None),
        ({"kind": "fits", "scale": "linear", "clip_gauss": 1500.0}, "here kind fits, scale linear, clip_gauss 1500.0;"),
        (None, "here a scale that is not recorded;"),
    ],
)
def test_images_of_another_scale_than_in_training_are_warned_of(
    a_run: Path, images: Path, tmp_path: Path, recorded: dict[str, object] | None, warning: str | None
) -> None:
    for fold in (0, 2):
        path = a_run / f"fold{fold}" / "run.json"
        options = {"kind": "fits", "scale": "linear", "clip_gauss": 800.0, "jpeg_quality": 90}
        rewrite_record(path, image_options=options)
    folder = Path(shutil.copytree(images, tmp_path / "data" / "magnetogram_jpg"))
    if recorded is not None:
        record = {"format_version": 1, "options": recorded, "frames": {}, "left_out": {}, "skipped": {}}
        (folder.parent / "ingest.json").write_text(json.dumps(record))
    progress = Listener()
    source = ImageSource(folder, find_image_sequences(folder, every=False, progress=SILENT))
    forecast_regions(find_members(a_run, folds=None), source, inference=ON_CPU, progress=progress)
    warnings = [note for note in progress.notes if note.startswith("warning: the images have another grey scale")]
    if warning is None:
        assert warnings == []
    else:
        assert len(warnings) == 1
        assert warning in warnings[0]
        assert "fold 0 was trained with kind fits, scale linear, clip_gauss 800.0" in warnings[0]


def test_forecasts_of_near_real_time_images_state_their_harp_numbers(a_run: Path, images: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(images, tmp_path / "data" / "magnetogram_jpg"))
    (folder.parent / "ingest.json").write_text('{"format_version": 1, "options": {"harp_numbers": "near-real-time"}}')
    found = forecast(a_run, ImageSource(folder, find_image_sequences(folder, every=False, progress=SILENT)))
    disks = combine_regions(found, tolerance_minutes=96, every=False)
    rows = list(csv.DictReader(format_csv(found, disks).splitlines()))
    assert {row["harp_numbers"] for row in rows if row["kind"] == "region"} == {"near-real-time"}
    assert json.loads(format_json(found, disks, tolerance_minutes=96))["harp_numbers"] == "near-real-time"


@pytest.mark.parametrize("max_gap", [None, 96])
def test_of_frames_every_12_minutes_a_sequence_takes_those_96_minutes_apart(max_gap: int | None) -> None:
    start = np.datetime64("2012-03-06T00:00:00", "s").astype(int)
    # Two days of HARP 7 with a gap of three hours, and a day of HARP 8 on the grid of training.
    of_7 = [12 * number for number in range(240) if not 1500 < 12 * number < 1680]
    minutes = {7: of_7, 8: list(range(0, 1440, 96))}
    keys = [(harp, int(start) + 60 * minute) for harp, of_harp in minutes.items() for minute in of_harp]
    table = KeywordTable(
        source="k.csv", rows={key: row for row, key in enumerate(keys)}, values=np.zeros((len(keys), 17))
    )
    windows = WindowRule(max_gap_minutes=max_gap, min_frames=3, on_short=OnShort.DROP)
    progress = Listener()
    found = find_table_sequences(table, every=True, windows=windows, progress=progress)

    def expect(harp: int, end: int) -> list[int]:
        taken = [end]
        while len(taken) < 16:
            older = [minute for minute in minutes[harp] if minute <= taken[-1] - 96]
            if not older or (max_gap and taken[-1] - older[-1] > max_gap):
                break
            taken.append(older[-1])
        return taken[::-1]

    expected = [(harp, frames) for harp, of in minutes.items() for end in of if len(frames := expect(harp, end)) >= 3]
    times = [
        [int((time - start) // 60) for time in dict.fromkeys(times_of(row).astype(int))] for row in found.windows()
    ]
    assert list(zip(found.harps.tolist(), times, strict=True)) == expected
    assert progress.notes[0] == "k.csv: frames every 12 minutes; each sequence takes those 96 minutes apart"
    latest = find_table_sequences(table, every=False, windows=windows, progress=SILENT)
    assert latest.windows().tolist() == [found.windows()[found.harps == harp][-1].tolist() for harp in (7, 8)]


def test_short_sequences_and_gaps_are_left_out_of_each_source(
    trained: tuple[Path, Path], images: Path, sequence_list: Path, tmp_path: Path
) -> None:
    long_enough = WindowRule(max_gap_minutes=None, min_frames=4, on_short=OnShort.DROP)
    no_gaps = WindowRule(max_gap_minutes=96, min_frames=3, on_short=OnShort.DROP)
    progress = Listener()
    found = find_image_sequences(images, every=True, windows=long_enough, progress=progress)
    assert {sequence.num_distinct for sequence in found} == {4, 5}
    assert progress.notes == [f"{images}: 36 sequences left out, too few frames or too long a gap"]
    listed = read_sequence_list(sequence_list, windows=long_enough)
    assert [sequence.num_distinct for sequence in listed] == [4, 5, 4, 5]
    with open_build(trained[0] / "shards" / "48h") as build:
        of_build = BuildSource(build, parts=[Part.TEST], every=True, windows=long_enough)
        assert [shown.sequence for shown in of_build.shown] == [sequence.name for sequence in listed]
        narrow = WindowRule(max_gap_minutes=95, min_frames=1, on_short=OnShort.DROP)
        (first, second) = BuildSource(build, parts=[Part.TEST], every=False, windows=narrow).shown
        assert (first.num_distinct, second.num_distinct) == (1, 1)
        with pytest.raises(InputError, match="expected a sequence of enough frames in .*, found none of 10"):
            BuildSource(build, parts=[Part.TEST], every=True, windows=replace(long_enough, min_frames=6))
    # Of HARP 600 the second image is missing: three images follow the gap. Of HARP 601 the third is: two follow.
    few = tmp_path / "few"
    few.mkdir()
    for harp, missing in ((600, 1), (601, 2)):
        for number, path in enumerate(sorted(images.glob(f"*.{harp}.*"))):
            if number != missing:
                shutil.copy(path, few)
    progress = Listener()
    (only,) = find_image_sequences(few, every=False, windows=no_gaps, progress=progress)
    assert (only.harp, only.num_distinct, max(only.gaps_minutes)) == (600, 3, 96)
    assert progress.notes == [
        f"{few}: 7 sequences left out, too few frames or too long a gap; none is left of HARP 601"
    ]


@pytest.mark.parametrize("source", ["--shards", "--images"])
def test_a_network_that_gives_no_numbers_is_refused(trained: tuple[Path, Path], a_run: Path, source: str) -> None:
    best = read_record(a_run / "fold2").best
    assert best is not None
    checkpoint = torch.load(a_run / "fold2" / best.name, weights_only=True)
    for value in checkpoint["state_dict"].values():
        value.fill_(float("nan"))
    torch.save(checkpoint, a_run / "fold2" / best.name)
    describe_checkpoint(a_run / "fold2")
    place = trained[0] / ("shards" if source == "--shards" else "data")
    found = predict("--run", a_run, source, place, "--device", "cpu")
    assert found.stdout == ""
    assert re.search(r"fold2/.*: expected a network that returns probabilities, found no number", str(found.exception))


# Another task ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def c_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with lists of class C within 72 h, a build of them, and a run of one fold."""
    folder = tmp_path_factory.mktemp("task")
    data = make_labelled_images(folder / "data")
    lines = ["start_time,peak_time,goes_class,noaa_ar", "2011-01-01 00:00,,A1.0,", "2012-01-01 00:00,,A1.0,"]
    for part in range(6):
        # Ten hours after a part's last frame: C2.0 of the second region, and B9.0 of the first, which does not count.
        time = datetime(2011, 2, 13) + timedelta(days=part, hours=16, minutes=24)
        lines += [f"{time},,B9.0,{11000 + part}", f"{time},,C2.0,{11100 + part}"]
    (folder / "flares.csv").write_text("\n".join(lines))
    regions = (f"{100 * (part + 1) + label} {11000 + 100 * label + part}" for part in range(6) for label in (0, 1))
    (folder / "harps.txt").write_text("\n".join(regions))
    catalogue = ["--flares", folder / "flares.csv", "--harp-map", folder / "harps.txt"]
    task = ["--threshold", "C1.0", "--horizon", "72h"]
    run_here("labels", "rebuild", data, *task, *catalogue, "--out", folder / "labels")
    run_here("build", data, "--labels", folder / "labels", *task, "--out", folder / "shards", "--workers", 1)
    with pytest.MonkeyPatch.context() as patch:
        for place in ("training.fold_training", "forecasting.runs.network_prediction"):
            patch.setattr(f"sffshards.{place}.build_model", lambda *_, **__: FastNetwork())
        build = folder / "shards" / "C72"
        train_folds(build, folder / "run", fast_options(), folds=[0], force=False, progress=SILENT)
        evaluate_run(folder / "run", build, folds=None, inference=ON_CPU, force=False, progress=SILENT)
    return folder


@pytest.mark.slow
def test_lists_of_another_task_are_named_and_labelled_by_it(c_run: Path) -> None:
    lists = c_run / "labels" / "C72"
    assert sorted(path.name for path in lists.iterdir()) == sorted(f"flare_Cclass_72h_{part}.txt" for part in Part)
    assert [int(line[-1]) for line in (lists / "flare_Cclass_72h_Test.txt").read_text().splitlines()] == [0] * 5 + [
        1
    ] * 5
    assert list(json.loads((c_run / "labels" / "labels.json").read_text())["thresholds"]) == ["C1.0"]


def test_a_build_and_its_card_name_another_task(c_run: Path) -> None:
    build = c_run / "shards" / "C72"
    with open_build(build) as opened:
        assert opened.manifest.task.name == "C72"
    card = (build / "README.md").read_text()
    assert "a flare of class C or above within 72 h" in card
    assert "class M" not in card
    assert "C72" in run_here("info", build).stdout


def test_forecasts_of_another_task_name_its_class_and_window(c_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sffshards.forecasting.runs.network_prediction.build_model", lambda *_, **__: FastNetwork())
    start = ["predict", "--run", c_run / "run", "--shards", c_run / "shards", "--device", "cpu", "--format"]
    text = run_here(*start, "scoreboard-text").stdout
    assert "Probability Bins: C+\n" in text
    assert "#HARP C_prob C_uncert\n" in text
    assert "Prediction Window Start Time: 2011-02-18T06:23:26Z\n" in text
    assert "Prediction Window End Time: 2011-02-21T06:23:26Z\n" in text
    submission = json.loads(run_here(*start, "scoreboard-json").stdout)["forecast_submission"]
    for forecast in (*submission["full_disk_forecasts"], *submission["region_forecasts"]):
        assert forecast["flare_probabilities"][0]["class"] == "C+"
    content = json.loads(run_here(*start, "json").stdout)
    assert (content["task"], content["event"]) == ("C72", "a flare of class C or above within 72 h of t_end_tai")
    assert "M+" not in text
