"""The published lists at full size, and the whole way on real images."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
import torch

from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Kind, Part, Stage
from sffshards.domain.task import M24, M48, PUBLISHED_TASKS, Task
from sffshards.executors.local_executor import LocalExecutor
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.forecasting.runs.run_scores import RunScores
from sffshards.labels.data_layout import DataLayout, find_data, find_label_lists
from sffshards.models.model_names import ModelName
from sffshards.shards.build.build_inputs import BuildOptions, read_source
from sffshards.shards.build.build_verification import verify_build, verify_build_deep
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.build.shard_plan import plan_shards
from sffshards.shards.format.codec_names import CodecName
from sffshards.training.fold_training import train_fold
from sffshards.verification.score_names import ScoreName
from tests.commands import run
from tests.training_data import FastNetwork, fast_options

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.realdata

NUM_POSITIVE = {
    M24: [227, 247, 95, 498, 258, 195],
    M48: [396, 429, 267, 809, 523, 413],
}
"""As `grep -c ' 1$'` counts them in the published lists, TrainVal0 to TrainVal4 and Test."""


@pytest.mark.parametrize(("task", "num_over"), [(M24, 7_600), (M48, 14_185)])
def test_the_published_lists_give_the_published_numbers_of_samples(
    real_labels: Path, task: Task, num_over: int
) -> None:
    layout = DataLayout(images=real_labels, lists=find_label_lists(real_labels))
    options = BuildOptions(
        task=task, codec=CodecName.JPG, seed=123, shard_size_bytes=128_000_000, skip_bad_images=False
    )
    read = read_source(layout, options)
    sequences = read.sequences
    assert {part: source.num_rows for part, source in read.lists.items()} == {
        part: 9_384 if part is Part.TEST else 10_000 for part in Part
    }
    positives = Counter(sequence.part for sequence in sequences if sequence.label)
    assert [positives[part] for part in Part] == NUM_POSITIVE[task]
    assert len({frame for sequence in sequences for frame in sequence.frames}) == 59_384
    plans = plan_shards(sequences, task, sample_bytes=dict.fromkeys(Kind, 160_000), shard_bytes=128_000_000)
    keys = [sample.key for plan in plans for sample in plan.samples]
    assert len(keys) == len(set(keys)) == 59_384 + num_over
    assert sum(len(plan.samples) for plan in plans if plan.group.endswith("over")) == num_over


@pytest.mark.parametrize("task", PUBLISHED_TASKS)
@pytest.mark.parametrize("codec", CodecName)
def test_real_images_are_built_verified_trained_on_and_scored(
    real_mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: CodecName, task: Task
) -> None:
    monkeypatch.setattr("sffshards.training.fold_training.build_model", lambda *_, **__: FastNetwork())
    monkeypatch.setattr("sffshards.forecasting.runs.network_prediction.build_model", lambda *_, **__: FastNetwork())
    scores = _go_the_whole_way(real_mini, tmp_path, codec=codec, task=task)
    assert _positives_of_test(scores) == {M24: 2, M48: 4}[task]


def test_the_small_network_takes_real_images(real_mini: Path, tmp_path: Path) -> None:
    scores = _go_the_whole_way(real_mini, tmp_path, codec=CodecName.JPG, task=M48, learning_rate=3e-4)
    assert _positives_of_test(scores) == 4
    assert math.isnan(next(s.scores[ScoreName.TSS] for s in scores.stages if s.stage is Stage.VAL))  # it has none


@pytest.mark.parametrize("page", ["your-own-region.md"])
def test_the_commands_of_a_page_run_on_real_magnetograms(real_data: Path, tmp_path: Path, page: str) -> None:
    """Each as it stands, but for what needs JSOC, and for the demo, of which a smaller network stands in."""
    (tmp_path / "fits").mkdir()
    for harp in (1446, 1447, 1449):
        for path in (real_data / "fits").glob(f"*.{harp}.*"):
            (tmp_path / "fits" / path.name).symlink_to(path)
    (tmp_path / "flares.csv").symlink_to(real_data / "catalog" / "flares_2010_2025.csv")
    (tmp_path / "harp_to_noaa.txt").symlink_to(real_data / "catalog" / "harp_to_noaa.txt")
    demo = tmp_path / "sffshards-demo"
    run("synth", demo / "data", "--harps", "2", "--frames", "2", cwd=tmp_path)
    run("build", demo / "data", "--horizon", "48h", "--out", demo / "shards", cwd=tmp_path)
    small = ("--model", "mvit_tiny", "--epochs", "1", "--fold", "0", "--batch-size", "8", "--allow-one-class")
    run("train", "--shards", demo / "shards", "--out", demo / "runs", *small, cwd=tmp_path)
    run("evaluate", demo / "runs", "--shards", demo / "shards", cwd=tmp_path)

    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]
    done = [command[0] for command in commands if command[0] not in ("fetch", "demo")]
    assert done == ["ingest", "labels", "labels", "build", "info", "show", "predict"]
    for command in commands:
        if command[0] in done:
            run(*command, cwd=tmp_path)
    rows = [line.split() for line in (tmp_path / "region/M48/flare_Mclass_48h_Test.txt").read_text().splitlines()]
    assert [label for name, label in rows if ".1449." in name] == ["1", "1", "0", "1"]
    assert (tmp_path / "region.png").read_bytes().startswith(b"\x89PNG")
    forecast = json.loads((tmp_path / "forecast.json").read_text())
    assert "1449" in json.dumps(forecast)


def _go_the_whole_way(data: Path, out: Path, *, codec: CodecName, task: Task, **changes: object) -> RunScores:
    layout, folder = find_data(data), out / "shards" / task.folder
    options = BuildOptions(task=task, codec=codec, seed=1, shard_size_bytes=1 << 24, skip_bad_images=False)
    with LocalExecutor(2) as executor:
        report = build_shards(layout, options, out=folder, store_folder=out / "frames", executor=executor)
        assert report.num_decoded == 135
        assert verify_build(folder) == []
        assert verify_build_deep(folder, layout, executor=executor) == []
    training = fast_options(model=ModelName.MVIT_TINY, max_epochs=1, allow_one_class=True, **changes)
    train_fold(folder, out / "run" / "fold0", training, fold=0, force=False, progress=SILENT)
    inference = Inference(batch_size=8, num_threads=1, device=torch.device("cpu"))
    scores = evaluate_run(out / "run", folder, folds=None, inference=inference, force=False, progress=SILENT)
    assert {stage.stage for stage in scores.stages} == set(Stage)
    assert "undefined" in (out / "run" / "scores.csv").read_text()  # some sets have no positive
    return scores


def _positives_of_test(scores: RunScores) -> int:
    return next(s.table.tp + s.table.fn for s in scores.stages if s.stage is Stage.TEST)
