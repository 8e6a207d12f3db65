"""Which groups make up the sets of variants, folds and stages."""

from __future__ import annotations

import pytest

from sffshards.domain.sample_sets import Part, Protocol, Stage, Variant, stage_groups, stage_parts
from sffshards.domain.task import M24, M48, PUBLISHED_TASKS

PAPER, PUBLISHED = Protocol.PAPER, Protocol.PUBLISHED


@pytest.mark.parametrize(
    ("fold", "train", "val"), [(0, "0123", "4"), (1, "1234", "0"), (2, "2340", "1"), (3, "3401", "2"), (4, "4012", "3")]
)
def test_folds_go_round_the_parts(fold, train, val):
    def parts(stage):
        return [p.value for p in stage_parts(stage, fold=fold, task=M48, protocol=PAPER)]

    assert parts(Stage.TRAIN) == [f"TrainVal{k}" for k in train]
    assert parts(Stage.VAL) == [f"TrainVal{k}" for k in val]
    assert parts(Stage.TEST) == ["Test"]


def test_only_the_published_24h_program_trains_on_three_parts():
    counts = {
        (task, protocol): len(stage_parts(Stage.TRAIN, fold=0, task=task, protocol=protocol))
        for task in PUBLISHED_TASKS
        for protocol in Protocol
    }
    assert counts == {
        (M24, PAPER): 4,
        (M24, PUBLISHED): 3,
        (M48, PAPER): 4,
        (M48, PUBLISHED): 4,
    }


@pytest.mark.parametrize(
    ("variant", "oversampled"),
    [("base", []), ("oT", ["train"]), ("oTV", ["train", "val"]), ("oTV_Test", ["train", "val", "test"])],
)
def test_variants_oversample_the_stages_that_they_name(variant, oversampled):
    for stage in Stage:
        groups = stage_groups(Variant(variant), stage, fold=0, task=M48, protocol=PAPER)
        assert any(group.endswith("/over") for group in groups) == (stage in oversampled)


def test_no_set_shares_a_part_with_another():
    for variant in Variant:
        for fold in range(5):
            sets = [
                {g.split("/")[0] for g in stage_groups(variant, s, fold=fold, task=M24, protocol=PAPER)} for s in Stage
            ]
            assert sum(len(s) for s in sets) == len(set.union(*sets)) == len(Part)


def test_a_fold_that_is_none_is_refused():
    with pytest.raises(ValueError, match="fold must be 0 to 4, got 5"):
        stage_parts(Stage.TRAIN, fold=5, task=M24, protocol=PAPER)
