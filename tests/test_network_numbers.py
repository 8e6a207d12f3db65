"""Networks of images and numbers: which sample takes which, what they teach, and who asks for them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from sklearn.metrics import roc_auc_score
from torch import Tensor
from typer.testing import CliRunner

from sffshards.base.errors import ConflictError, InputError
from sffshards.base.progress import SILENT
from sffshards.cli import command_list
from sffshards.forecasting import operational
from sffshards.forecasting.explanations.attributions import Explained, integrate_gradients
from sffshards.forecasting.explanations.sequence_explanations import ExplanationOptions, explain_sequences
from sffshards.forecasting.runs import Inference, evaluate_run, find_runs, read_predictions, require_named
from sffshards.forecasting.runs.run_fold import read_tables
from sffshards.loading import ClipBatch, ClipLoader, PlanSource, Shuffle
from sffshards.models import NetworkWithNumbers, read_inputs
from sffshards.report.chosen_examples import explain_examples
from sffshards.shards.read import open_build
from sffshards.tabular import NO_SOURCES, NetworkInputs, NumberSources, fit_scale, read_keyword_table
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_record import FoldRecord, read_record
from sffshards.training.fold_training import train_fold, train_folds
from sffshards.training.sample_numbers import SampleNumbers
from sffshards.training.training_config import TrainingOptions
from tests.commands import run_here
from tests.number_data import TRAINED, expected_numbers, make_number_build, read_sources
from tests.tiny import digest_tree
from tests.training_data import FastNetwork, Listener, fast_options

ON_CPU = Inference(batch_size=4, num_threads=1, device=torch.device("cpu"))
ALL = "images,keywords,history"
NUM_KEYWORDS = 24
"""Number of features of keywords: 17, and 7 logarithms."""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_number_build(tmp_path_factory.mktemp("numbers"))


@pytest.fixture(scope="module")
def home(build: Path) -> Path:
    return build.parents[1]


@pytest.fixture(scope="module")
def sources(home: Path) -> NumberSources:
    return read_sources(home)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace networks by fast ones."""
    for place in ("training.fold_training", "forecasting.runs.network_prediction"):
        monkeypatch.setattr(f"sffshards.{place}.build_model", lambda *_, **__: FastNetwork())


def options_of(inputs: str = "images,keywords", **changes: Any) -> TrainingOptions:
    return fast_options(inputs=NetworkInputs(inputs), **changes)


def fit(build: Path, out: Path, options: TrainingOptions, sources: NumberSources = NO_SOURCES) -> FoldRecord:
    return train_fold(build, out, options, fold=0, force=False, sources=sources, progress=SILENT)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], Tensor]]:
    """Rows of each training batch, -1 for padding, and the numbers that the network is given."""
    noted: list[tuple[list[int], Tensor]] = []
    step, forward = FlareClassifier.training_step, NetworkWithNumbers.forward
    rows: list[list[int]] = []

    def note_rows(self: FlareClassifier, batch: ClipBatch, batch_idx: int) -> Tensor:
        rows.append(batch.rows_B.tolist())
        return step(self, batch, batch_idx)

    def note_numbers(self: NetworkWithNumbers, x_BCTHW: Tensor, numbers_BF: Tensor) -> Tensor:
        if self.training:
            noted.append((rows[-1], numbers_BF.clone()))
        return forward(self, x_BCTHW, numbers_BF)

    monkeypatch.setattr(FlareClassifier, "training_step", note_rows)
    monkeypatch.setattr(NetworkWithNumbers, "forward", note_numbers)
    return noted


# Which numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["plan", "classic"])
def test_each_sample_has_its_own_numbers_standardised_on_the_training_set(
    build: Path, home: Path, sources: NumberSources, tmp_path: Path, taken: list[tuple[list[int], Tensor]], engine: str
) -> None:
    options = options_of("images,keywords,history", variant="oTV", engine=engine, max_epochs=1, batch_size=16)
    fit(build, tmp_path, options, sources)
    with open_build(build, check=options.check) as opened:
        expected = expected_numbers(home, np.asarray(opened.index))
    seen = {}
    for rows, numbers in taken:
        values, missing = numbers.numpy().reshape(len(rows), 2, -1).transpose(1, 0, 2)
        columns = [*range(NUM_KEYWORDS), NUM_KEYWORDS]  # then M flares so far
        for place, row in enumerate(rows):
            if row >= 0:
                seen[row] = missing[place, columns].tolist()
                np.testing.assert_array_equal(missing[place, columns], np.isnan(expected[row]))
                np.testing.assert_allclose(values[place, columns], np.nan_to_num(expected[row]), rtol=1e-5, atol=1e-5)
    assert len(seen) == 4 * 35
    assert set(TRAINED) < set(seen)
    assert sum(1 in missing for missing in seen.values()) >= 2  # a frame without a row, and one that lacks a keyword
    assert any(rows[-1] == -1 for rows, _ in taken) == (len(seen) % 16 > 0)


@pytest.mark.slow
def test_ranks_and_resumed_epochs_look_up_the_same_numbers(build: Path, sources: NumberSources, tmp_path: Path) -> None:
    """Every sample's forecast follows from its own row, whichever rank reads it and in whichever batch."""
    record = fit(build, tmp_path, options_of(max_epochs=1), sources)
    network = NetworkWithNumbers(FastNetwork(), inputs=record.options.inputs)
    torch.nn.init.normal_(network.numbers.out.weight)
    with open_build(build, check=record.options.check) as opened:
        numbers = np.random.default_rng(0).normal(size=(len(opened), 2 * NUM_KEYWORDS)).astype(np.float32)
        given = SampleNumbers(scale=network.numbers.get_scale(), values_NF=numbers)
        module = FlareClassifier(network, record, numbers=given).eval()
        rows = opened.set_rows(record.sample_set("train"))  # type: ignore[arg-type]  # text is accepted
        found: dict[int, float] = {}
        for rank in (0, 1):
            loaders = [
                ClipLoader(
                    opened,
                    PlanSource(rows=rows, global_batch=12, num_ranks=2, rank=rank, seed=5, shuffle=Shuffle.GLOBAL),
                    num_threads=1,
                )
                for _ in range(2)
            ]
            begun = iter(loaders[0])
            batches = [next(begun)]
            loaders[1].load_state_dict(loaders[0].state_dict())
            for batch in [*batches, *loaders[1]]:
                forecasts = module.predict_step(batch, 0)
                found |= dict(zip(forecasts.rows_N.tolist(), forecasts.probabilities_N.tolist(), strict=True))
            begun.close()  # type: ignore[attr-defined]  # it is a generator
        assert sorted(found) == sorted(rows.tolist())
        for row, probability in found.items():
            clip = torch.from_numpy(opened.read_clip(row)[None, None]) / 255
            with torch.no_grad():
                logits = network.net(clip) + network.numbers(torch.from_numpy(numbers[row : row + 1]))
            assert probability == pytest.approx(float(logits.softmax(dim=1)[0, 1]), abs=1e-6)


def test_a_keyword_that_is_constant_or_extreme_stays_finite(build: Path, sources: NumberSources) -> None:
    assert sources.keywords is not None
    values = sources.keywords.values.copy()
    values[:, 1], values[:, 2], values[0, 2] = 7.0, 0.0, 1e36
    inputs = NetworkInputs.IMAGES_KEYWORDS
    table = replace(sources.keywords, values=values)
    with open_build(build, check=options_of().check) as opened:
        codes = [
            int(harp) << 33 | int(time)
            for harp, time in zip(opened.index["harp"], opened.index["t_end_tai"].astype(int), strict=True)
        ]
    known = NumberSources(keywords=table).describe(inputs, np.array(codes))
    numbers = fit_scale(known, inputs.groups).apply(known, inputs.groups)
    assert numbers.dtype == np.float32
    assert np.isfinite(numbers).all()
    assert np.abs(numbers).max() <= 10
    assert set(numbers[:, 1].tolist()) == {0.0}


# What they teach ----------------------------------------------------------------------------------------------------


RATES: dict[str, dict[str, float]] = {"images": {}, ALL: {"numbers_learning_rate": 0.02}}


@pytest.fixture(scope="module")
def runs(build: Path, sources: NumberSources, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Evaluated runs of images, and of images with numbers."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for place in ("training.fold_training", "forecasting.runs.network_prediction"):
            patch.setattr(f"sffshards.{place}.build_model", lambda *_, **__: FastNetwork())
        for inputs, rates in RATES.items():
            options = options_of(inputs, max_epochs=6, learning_rate=0.01, logger="csv", **rates)
            train_folds(build, folder / inputs, options, folds=[0], force=False, sources=sources, progress=SILENT)
            inference = replace(ON_CPU, sources=sources)
            evaluate_run(folder / inputs, build, folds=None, inference=inference, force=False, progress=SILENT)
    return {inputs: folder / inputs for inputs in RATES}


def auc_of(run: Path, stage: str) -> float:
    table = read_predictions(run / "fold0" / f"predictions-{stage}.csv")
    return float(roc_auc_score(table.label, table.probability))


@pytest.mark.slow
def test_a_network_learns_from_keywords_what_images_lack(runs: dict[str, Path]) -> None:
    assert auc_of(runs["images"], "train") < 0.7
    assert auc_of(runs[ALL], "train") > 0.95
    assert auc_of(runs[ALL], "test") > 0.9  # also of a region whose history is unknown


@pytest.mark.slow
def test_at_first_the_numbers_add_nothing(build: Path, sources: NumberSources, tmp_path: Path) -> None:
    """The first step's loss, and so the network's initial weights and random numbers, are those of images alone."""
    losses = []
    for inputs in ("images", "images,keywords"):
        options = options_of(inputs, max_epochs=1, batch_size=100, logger="csv")
        fit(build, tmp_path / inputs, options, sources)
        losses.append((tmp_path / inputs / "metrics.csv").read_text().splitlines()[1].split(",")[2])
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_the_rate_of_numbers_is_their_own_and_follows_the_schedule(
    build: Path, tmp_path: Path, sources: NumberSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[list[float]] = []
    step = FlareClassifier.training_step

    def note(self: FlareClassifier, batch: ClipBatch, batch_idx: int) -> Tensor:
        rates.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FlareClassifier, "training_step", note)
    options = options_of(schedule="cosine", learning_rate=1e-4, numbers_learning_rate=0.02, min_learning_rate=0.0)
    fit(build, tmp_path, options, sources)
    assert rates[0] == pytest.approx([1e-4, 0.02])
    assert len(rates) == 2 * 5
    for number, (own, beside) in enumerate(rates):
        expected = 0.5e-4 * (1 + np.cos(np.pi * number / 10))
        assert own == pytest.approx(expected)
        assert beside == pytest.approx(200 * expected)
    with pytest.raises(InputError, match=r"`numbers_learning_rate`: expected .*found inputs images"):
        options_of("images", numbers_learning_rate=0.02)


# Files --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_checkpoint_holds_the_standardisation_and_is_read_without_code(
    runs: dict[str, Path], home: Path, build: Path
) -> None:
    record = read_record(runs[ALL] / "fold0")
    assert record.best is not None
    content = torch.load(runs[ALL] / "fold0" / record.best.name, weights_only=True)
    state = content["state_dict"]
    assert content["hyper_parameters"]["inputs"] == ALL
    assert read_inputs(runs[ALL] / "fold0" / record.best.name) is NetworkInputs.IMAGES_KEYWORDS_HISTORY
    assert state["model.numbers.hidden.weight"].shape == (64, 2 * (NUM_KEYWORDS + 16))
    with (home / "keywords.csv").open() as file:
        table = {row["frame"]: row for row in csv.DictReader(file)}
    with open_build(build, check=record.options.check) as opened:
        frames = [
            f"hmi.sharp_720s.{harp}.{time.item():%Y%m%d_%H%M%S}_TAI.magnetogram"
            for harp, time in zip(opened.index["harp"][TRAINED], opened.index["t_end_tai"][TRAINED], strict=True)
        ]
    values = [float(table[name]["R_VALUE"]) for name in frames if name in table]
    assert len(values) == 39
    assert float(state["model.numbers.means_F"][15]) == pytest.approx(np.mean(values), rel=1e-6)
    assert float(state["model.numbers.scales_F"][15]) == pytest.approx(np.std(values), rel=1e-6)
    fluxes = [float(table[name]["USFLUX"]) for name in frames if name in table]
    assert float(state["model.numbers.floors_L"][0]) == pytest.approx(min(fluxes), rel=1e-6)
    times = {"flare_time", "clock", "covers_from", "covers_until"}
    assert set(record.number_sources) == {"keywords", "flares", "harp_map", *times}


@pytest.mark.slow
def test_predict_forecasts_images_as_evaluate_does(runs: dict[str, Path], home: Path, sources: NumberSources) -> None:
    members = operational.find_members(runs[ALL], folds=None)
    images = home / "data" / "magnetogram_jpg"
    source = operational.ImageSource(images, operational.find_image_sequences(images, every=True, progress=SILENT))
    inference = replace(ON_CPU, batch_size=7, sources=sources)
    forecasts = operational.forecast_regions(members, source, inference=inference, progress=SILENT)
    found = {(one.harp, one.t_end_tai): p for one, p in zip(forecasts.shown, forecasts.raw_MN[0].tolist(), strict=True)}
    table = read_predictions(runs[ALL] / "fold0" / "predictions-test.csv")
    assert len(table.harp) == 10
    for harp, time, probability in zip(
        table.harp.tolist(), table.t_end_tai.tolist(), table.probability.tolist(), strict=True
    ):
        assert found[harp, time] == pytest.approx(probability, abs=1e-7)


@pytest.mark.slow
def test_an_explanation_holds_the_numbers_of_each_sequence(
    runs: dict[str, Path], home: Path, sources: NumberSources
) -> None:
    """It explains the forecast of `predict`, and its attributions are those of the network of clips by itself."""
    members = operational.find_members(runs[ALL], folds=None)
    images = home / "data" / "magnetogram_jpg"
    source = operational.ImageSource(images, operational.find_image_sequences(images, every=False, progress=SILENT))
    source, inference = source.part(2, 4), replace(ON_CPU, sources=sources)
    options = ExplanationOptions(num_steps=4, patch_side=112)
    numbers = operational.describe_numbers(source, members[0].network.inputs, sources)
    found = list(
        explain_sequences(members, source, numbers=numbers, options=options, inference=inference, progress=SILENT)
    )
    forecasts = operational.forecast_regions(members, source, inference=inference, progress=SILENT)
    assert [one.members[0].raw_probability for one in found] == pytest.approx(forecasts.raw_MN[0].tolist(), abs=1e-6)
    network = operational.load_network(members[0])
    assert isinstance(network, NetworkWithNumbers)
    clip = Explained(network.net, found[1].clip_THW, batch_size=4, device=ON_CPU.device)
    alone = integrate_gradients(clip, num_steps=4, advance=lambda _: None)
    held = found[1].members[0].gradients
    np.testing.assert_allclose(held.attribution_THW, alone.attribution_THW, rtol=1e-5, atol=1e-9)
    assert abs(held.logit - alone.logit) > 0.1  # the numbers count


@pytest.mark.slow
def test_an_interrupted_explanation_resumes_where_only_sequences_without_numbers_are_left(
    runs: dict[str, Path], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HARP 601 is not in the map of the flare list, so that a table of its sequences alone would be refused."""
    monkeypatch.setattr("sffshards.report.draw_explanation", lambda _: b"")
    tables = ("--flares", home / "flares.csv", "--harp-map", home / "map.txt", "--keywords", home / "keywords.csv")
    images = ("--images", home / "data" / "magnetogram_jpg", "--latest", "--steps", 1, "--patch", 112)
    command = ("explain", "--run", runs[ALL], *images, *tables, "--device", "cpu", "--out", tmp_path)
    run_here(*command)
    whole = digest_tree(tmp_path)
    lost = list(tmp_path.glob("harp00601-*"))
    assert lost
    for path in lost:
        path.unlink()
    run_here(*command)
    assert digest_tree(tmp_path) == whole


@pytest.mark.slow
def test_a_report_notes_that_it_does_not_explain_a_network_of_numbers(runs: dict[str, Path], build: Path) -> None:
    progress = Listener()
    (run,) = find_runs(runs[ALL], folds=None)
    run = replace(run, folds=tuple(map(read_tables, run.folds)))
    with open_build(build) as opened:
        assert explain_examples(run, [], opened, device="cpu", progress=progress) == {}
    assert progress.notes == [
        f"{runs[ALL]}: not explained: only `sffshards explain` takes the tables of numbers it needs"
    ]


@pytest.mark.slow
def test_an_evaluation_refuses_keywords_that_no_network_takes(runs: dict[str, Path], home: Path, build: Path) -> None:
    app = typer.Typer()
    command_list.register(app)
    command = ["evaluate", runs["images"], "--shards", build, "--keywords", home / "keywords.csv", "--device", "cpu"]
    error = CliRunner().invoke(app, list(map(str, command))).exception
    assert isinstance(error, InputError)
    assert "whose networks take no keywords" in str(error)


@pytest.mark.slow
def test_a_broken_off_training_resumes_to_the_last_bit(
    build: Path,
    tmp_path: Path,
    sources: NumberSources,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = options_of("images,keywords,history", save_every_steps=1, numbers_learning_rate=0.05)
    fit(build, tmp_path / "whole", options, sources)
    with monkeypatch.context() as patch:
        patch.setattr("sffshards.training.fold_training.build_model", lambda *_, **__: Failing())
        with pytest.raises(RuntimeError, match="killed"):
            fit(build, tmp_path / "broken", options, sources)
    assert fit(build, tmp_path / "broken", options, sources).finished
    files = [digest_tree(tmp_path / folder) for folder in ("whole", "broken")]
    assert files[0]["last.ckpt"] == files[1]["last.ckpt"]
    assert files[0]["metrics.csv"] == files[1]["metrics.csv"]


class Failing(FastNetwork):
    """Fails in the second epoch: five training and two validation batches are one."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_at = 9


# Errors -------------------------------------------------------------------------------------------------------------


def test_what_is_not_given_or_not_taken_is_named(
    build: Path, sources: NumberSources, tmp_path: Path, runs: dict[str, Path]
) -> None:
    only_keywords = replace(sources, flares=None)
    with pytest.raises(
        InputError, match="`keywords`: expected a table of SHARP keywords, as the network takes images,key"
    ):
        fit(build, tmp_path, options_of())
    with pytest.raises(InputError, match=r"`flares`: expected a flare list, .*found none; name it, with the map"):
        fit(build, tmp_path, options_of("images,history"), only_keywords)
    with pytest.raises(
        InputError, match="`flares`: expected none, as runs/a takes images,keywords, found one; leave it"
    ):
        sources.refuse_others(NetworkInputs.IMAGES_KEYWORDS, where="runs/a", fix="leave it out")
    run = runs[ALL]
    found = find_runs(run, folds=None)
    require_named(found, ON_CPU, force=False)  # there are predictions
    with pytest.raises(
        InputError, match=r"`keywords`: expected a table .*fold0 takes images,keywords,history, found none"
    ):
        require_named(found, ON_CPU, force=True)
    assert not list(tmp_path.iterdir())


def test_tables_of_other_frames_or_other_harp_numbers_are_refused(
    build: Path, home: Path, sources: NumberSources, tmp_path: Path
) -> None:
    header, *lines = (home / "keywords.csv").read_text().splitlines()
    cases = {
        "others": ("\n".join([header, *(line.replace("_720s.", "_720s.9") for line in lines)]), "found none of them"),
        "recent": ("\n".join(["# near-real-time", header, *lines]), "expected definitive HARP numbers"),
        "empty": (
            "\n".join([header, *(",".join([*line.split(",")[:2], "", *line.split(",")[3:]]) for line in lines)]),
            "found none of MEANGAM",
        ),
    }
    for name, (text, message) in cases.items():
        (tmp_path / f"{name}.csv").write_text(text + "\n")
        others = NumberSources(keywords=read_keyword_table(tmp_path / f"{name}.csv"))
        with pytest.raises(InputError, match=message):
            fit(build, tmp_path / "run", options_of(), others)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_other_inputs_or_tables_are_not_resumed_nor_evaluated(
    build: Path, home: Path, sources: NumberSources, tmp_path: Path
) -> None:
    fit(build, tmp_path / "run" / "fold0", options_of(max_epochs=1), sources)
    with pytest.raises(ConflictError, match=r"inputs images,keywords \(now images\)"):
        fit(build, tmp_path / "run" / "fold0", options_of("images", max_epochs=1))
    (tmp_path / "keywords.csv").write_text((home / "keywords.csv").read_text() + "\n")
    other = NumberSources(keywords=read_keyword_table(tmp_path / "keywords.csv"))
    with pytest.raises(ConflictError, match=r"a training with keywords [0-9a-f]{64} \(now [0-9a-f]{64}\)"):
        fit(build, tmp_path / "run" / "fold0", options_of(max_epochs=1), other)
    with pytest.raises(ConflictError, match=r"fold0: expected the keywords that it was trained with"):
        evaluate_run(
            tmp_path / "run", build, folds=None, inference=replace(ON_CPU, sources=other), force=False, progress=SILENT
        )


def test_missing_keywords_are_counted(build: Path, sources: NumberSources, tmp_path: Path) -> None:
    listener = Listener()
    train_fold(
        build,
        tmp_path,
        options_of("images,keywords,history", max_epochs=1),
        fold=0,
        force=False,
        sources=sources,
        progress=listener,
    )
    assert "fold 0: 1 of 40 training sequences without keywords, which are masked" in listener.notes
    assert not any("without history" in note for note in listener.notes)
