"""The whole experiment in one call: skipped where done, gone on with where cut off, and its table."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sffshards.base.errors import ConflictError, InputError
from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Variant
from sffshards.domain.task import M48
from sffshards.experiments.reproduction import Experiment, reproduce, tabulate
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.predictions_table import read_predictions
from sffshards.forecasting.runs.run_scores import PUBLISHED_RESULTS
from sffshards.verification.score_names import ScoreName, compute_score
from tests.commands import error_of, run, run_here
from tests.tiny import make_data
from tests.training_data import FastNetwork, Listener, fast_options, make_build

VARIANTS, FOLDS = (Variant.BASE, Variant.OTV), (0, 3)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("reproduce"))


class Killer:
    """Counts what all networks compute, and breaks off at a call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_calls = 0
        self.kill_at: int | None = None
        for place in (
            "sffshards.training.fold_training.build_model",
            "sffshards.forecasting.runs.network_prediction.build_model",
        ):
            monkeypatch.setattr(place, lambda *_, **__: FastNetwork())
        forward = FastNetwork.forward

        def counting(network: FastNetwork, x: torch.Tensor) -> torch.Tensor:
            self.num_calls += 1
            if self.num_calls == self.kill_at:
                raise RuntimeError("killed")
            return forward(network, x)

        monkeypatch.setattr(FastNetwork, "forward", counting)


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)


def reproduce_tiny(build: Path, out: Path, *, progress=SILENT, **changes: object):
    inference = Inference(batch_size=8, num_threads=0, device=torch.device("cpu"))
    options = fast_options(**({"max_epochs": 1, "num_threads": 0, "save_every_steps": 2} | changes))
    experiment = Experiment(builds={M48: build}, variants=VARIANTS, folds=FOLDS, options=options, inference=inference)
    return reproduce(experiment, out, report=out / "report", progress=progress)


def read_results(out: Path) -> tuple[bytes, bytes]:
    return (out / "results.csv").read_bytes(), (out / "results.json").read_bytes()


@pytest.mark.long
def test_killed_anywhere_and_run_again_the_table_is_the_same_and_then_nothing_is_computed(
    build: Path, tmp_path: Path, killer: Killer
) -> None:
    reproduce_tiny(build, tmp_path / "whole")
    total = killer.num_calls
    assert total > 60
    killer.num_calls = 0
    broken = 0
    for step in (4, 5, 11, 23, 7):  # within epochs, between folds and runs, and while it scores
        killer.kill_at = killer.num_calls + step
        with pytest.raises(RuntimeError, match="killed"):
            reproduce_tiny(build, tmp_path / "killed")
        broken += 1
    assert broken == 5
    assert not (tmp_path / "killed" / "results.csv").exists()
    killer.kill_at = None
    reproduce_tiny(build, tmp_path / "killed")
    assert read_results(tmp_path / "killed") == read_results(tmp_path / "whole")
    assert (tmp_path / "killed" / "48h" / "comparisons.csv").is_file()
    page = (tmp_path / "killed" / "report" / "index.html").read_text()
    assert "oTV minus base" in page
    assert "oTV minus persistence" in page
    killer.num_calls, killer.kill_at = 0, 1
    progress = Listener()
    reproduce_tiny(build, tmp_path / "whole", progress=progress)
    assert killer.num_calls == 0
    assert read_results(tmp_path / "killed") == read_results(tmp_path / "whole")
    assert sum("already finished, kept" in note for note in progress.notes) == 4


@pytest.mark.slow
def test_the_table_has_means_and_deviations_over_folds_beside_the_published_fold(
    build: Path, tmp_path: Path, killer: Killer
) -> None:
    scores = reproduce_tiny(build, tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [(row["variant"], row["what"], row["folds"]) for row in rows] == [
        ("base", "mean", "0 3"),
        ("base", "deviation", "0 3"),
        ("base", "published", "1"),
        ("oTV", "mean", "0 3"),
        ("oTV", "deviation", "0 3"),
        ("oTV", "published", "2"),
    ]
    of_folds = [stage.scores[ScoreName.ACC] for stage in scores[1].stages if stage.stage == "test"]
    assert len(of_folds) == 2
    assert float(rows[3]["ACC"]) == pytest.approx(sum(of_folds) / 2)
    assert float(rows[4]["ACC"]) == pytest.approx(abs(of_folds[0] - of_folds[1]) / 2**0.5)
    assert float(rows[5]["TSS"]) == pytest.approx(372 / 413 - 655 / 8971)
    described = json.loads((tmp_path / "results.json").read_text())
    assert [row["variant"] for row in described["rows"]] == ["base", "oTV"]
    assert described["rows"][0]["published"]["fold"] == 1
    assert described["rows"][0]["scores"]["ACC"]["num_defined"] == 2
    assert tabulate(scores, with_published=True)[1].folds == (0, 3)


@pytest.mark.slow
def test_a_conflict_in_the_last_run_is_found_before_the_first_is_trained(
    build: Path, tmp_path: Path, killer: Killer
) -> None:
    other = tmp_path / "48h" / "oTV" / "fold3"
    other.mkdir(parents=True)
    (other / "precious.ckpt").write_bytes(b"")
    with pytest.raises(ConflictError, match="oTV/fold3.*checkpoints without a run.json"):
        reproduce_tiny(build, tmp_path)
    assert killer.num_calls == 0
    assert not (tmp_path / "48h" / "base").exists()


def test_a_page_where_the_report_goes_is_found_before_anything_is_trained(
    build: Path, tmp_path: Path, killer: Killer
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("mine")
    with pytest.raises(ConflictError, match=r"report/index\.html: .*name another folder for the report"):
        reproduce_tiny(build, tmp_path)
    assert killer.num_calls == 0
    assert (tmp_path / "report" / "index.html").read_text() == "mine"


@pytest.mark.long
def test_further_ranks_train_and_leave_the_scores_to_the_first(
    build: Path, tmp_path: Path, killer: Killer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduce_tiny(build, tmp_path)
    killer.kill_at = 1
    (tmp_path / "results.csv").unlink()
    monkeypatch.setenv("LOCAL_RANK", "1")  # as Lightning starts the second process
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert reproduce_tiny(build, tmp_path, devices=2, batch_size=4) == []
    assert not (tmp_path / "results.csv").exists()


@pytest.mark.slow
def test_both_sets_of_labels_are_trained_on_each_in_a_folder_of_its_own(
    build: Path, tmp_path: Path, killer: Killer
) -> None:
    data = tmp_path / "data"
    shutil.copytree(build.parents[1] / "data", data)
    for path in data.glob("M48/*.txt"):  # the last of the five positive rows of each part becomes negative
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{line}\n" for line in [*lines[:-1], lines[-1].replace(" 1", " 0")]))
    tiny = ["--model", "mvit_tiny", "--epochs", 1, "--batch-size", 8, "--accelerator", "cpu", "--threads", 0]
    options = ["--shards", build.parent, "--variants", "base", "--folds", 0, *tiny, "--label-set", "both"]
    places = ["--rebuilt-shards", tmp_path / "rebuilt", "--out", tmp_path / "runs", "--report", tmp_path / "report"]
    error = error_of("reproduce", *options, *places)
    assert "build lists of `sffshards labels rebuild` into this folder, or name another with --rebuilt-shards" in error
    assert not (tmp_path / "runs").exists()
    run_here("build", data, "--out", tmp_path / "rebuilt", "--codec", "npy", "--workers", 1)
    text = run_here("reproduce", *options, *places).stdout
    assert re.search("published labels\n.*rebuilt labels\n", text, re.DOTALL)
    for folder, page, num_positive, kinds in (
        (tmp_path / "runs", "report", 5, ["mean", "deviation", "published"]),
        (tmp_path / "runs" / "rebuilt", "report-rebuilt", 4, ["mean", "deviation"]),
    ):
        table = read_predictions(folder / "48h" / "base" / "fold0" / "predictions-test.csv")
        assert int(table.label.sum()) == num_positive
        rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
        assert [row["what"] for row in rows] == kinds
        scores = (tmp_path / page / "tables" / "48h-test-scores.md").read_text()
        assert ("published, base" in scores) == ("published" in kinds)


# As the notebooks print them: horizon, variant, ACC, POD, FAR, F1, HSS, TSS.
PRINTED = """24h base .90 .85 .85 .25 .22 .74
24h oT   .91 .80 .83 .28 .25 .72
24h oTV  .92 .84 .82 .29 .27 .75
48h base .92 .91 .65 .51 .47 .83
48h oT   .94 .85 .61 .54 .51 .79
48h oTV  .93 .90 .64 .52 .48 .83"""


@pytest.mark.parametrize("line", PRINTED.splitlines())
def test_the_published_tables_give_the_printed_scores(line: str) -> None:
    task, variant, *printed = line.split()
    (table,) = (r.table for r in PUBLISHED_RESULTS if (str(r.task), r.variant) == (task, variant))
    assert table.num_samples == 9_384
    assert table.num_positive == {"24h": 195, "48h": 413}[task]
    for name, value in zip(("ACC", "POD", "FAR", "F1", "HSS", "TSS"), printed, strict=True):
        assert compute_score(ScoreName(name), table) == pytest.approx(float(value), abs=0.00501)


@pytest.mark.parametrize(("text", "expected"), [("all", [0, 1, 2, 3, 4]), ("3, 0", [0, 3]), ("2,2", [2])])
def test_choices_are_taken_once_and_in_order(text: str, expected: list[int]) -> None:
    from sffshards.cli.shared_options import parse_choices

    assert parse_choices("--folds", text, range(5)) == expected


def test_a_choice_that_there_is_not_is_refused() -> None:
    from sffshards.cli.shared_options import parse_choices

    with pytest.raises(InputError, match="^--variants: expected all, or some of base, oT, oTV, oTV_Test, found 'oT2'"):
        parse_choices("--variants", "base,oT2", Variant)


@pytest.mark.long
def test_the_command_killed_and_given_again_ends_with_the_same_table(tmp_path: Path) -> None:
    make_data(tmp_path / "data", frames_per_harp=2)
    run("build", "--horizon", "48h", "--workers", "1", cwd=tmp_path)
    arguments = [
        *("reproduce", "--variants", "base,oT", "--folds", "1", "--model", "mvit_tiny", "--epochs", "1"),
        *("--batch-size", "4", "--save-steps", "1", "--accelerator", "cpu", "--threads", "0"),
    ]
    whole = run(*arguments, "--out", "whole", cwd=tmp_path).stdout
    assert re.search(r"48h +oT +fold 1 ", whole)
    assert re.search(r" published, fold 0 .*0\.791 *$", whole, re.MULTILINE)
    command = [sys.executable, "-m", "sffshards", *arguments, "--out", "killed"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    second = tmp_path / "killed" / "48h" / "oT" / "fold1" / "last.ckpt"
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        while not second.exists():  # in the second run, after a step
            assert process.poll() is None, (tmp_path / "log.txt").read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "killed" / "results.csv").exists()
    run(*arguments, "--out", "killed", cwd=tmp_path)
    assert read_results(tmp_path / "killed") == read_results(tmp_path / "whole")
