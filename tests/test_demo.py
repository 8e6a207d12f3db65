"""The pipeline on synthetic data."""

from __future__ import annotations

import csv

import pytest

from sffshards.base.progress import SILENT
from sffshards.domain.sample_sets import Protocol, SampleSet, Stage, Variant
from sffshards.executors.local_executor import IN_PROCESS
from sffshards.experiments import demo_run as demo
from sffshards.experiments.demo_run import FOLD, run_demo
from sffshards.shards.read.build_reader import open_build
from sffshards.verification.score_names import ScoreName


@pytest.mark.long
def test_the_demo_learns_flares_of_regions_it_never_saw(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "MAX_EPOCHS", 1)  # three are for a wider margin
    report = run_demo(tmp_path, seed=0, executor=IN_PROCESS, progress=SILENT)
    network = report.scores[-1]
    scores = {stage.stage: stage for stage in network.stages}
    # No skill is 0. Were labels shuffled or views mixed up, so would this be.
    assert scores[Stage.TEST].scores[ScoreName.TSS] >= 0.5
    with open_build(tmp_path / "shards" / "48h") as build:
        samples = SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=FOLD, protocol=Protocol.PAPER)
        harps = {stage: set(build.index["harp"][build.set_rows(samples.at(stage))]) for stage in Stage}
        assert not harps[Stage.TEST] & (harps[Stage.TRAIN] | harps[Stage.VAL])
        path = network.run.folder / "fold0" / "predictions-test.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {int(row["harp"]) for row in rows} == harps[Stage.TEST]
        assert len(rows) == 120
    assert report.page == tmp_path / "report" / "index.html"
    names = [of.run.name for of in report.scores]
    assert names[:4] == ["no skill", "climatology", "persistence", "ever flared"]
    assert len(names) == 4 + 5 + 1  # fitted forecasters, and the network
    page = report.page.read_text()
    for name in names[:-1]:
        assert f"base minus {name}" in page
    # Run again, everything is kept.
    again = run_demo(tmp_path, seed=0, executor=IN_PROCESS, progress=SILENT)
    assert again.build.num_written == 0
    assert again.scores[-1].stages == network.stages
