"""Which groups make up the sets of variants, folds and stages."""

from __future__ import annotations

import pytest

from sffshards.domain.sample_sets import Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import M24, M48, PUBLISHED_TASKS

PAPER, PUBLISHED = Protocol.PAPER, Protocol.PUBLISHED


@pytest.mark.parametrize(
    ("fold", "train", "val"), [(0, "0123", "4"), (1, "1234", "0"), (2, "2340", "1"), (3, "3401", "2"), (4, "4012", "3")]
)
def test_folds_go_round_the_parts(fold, train, val):
    def parts(stage):
        return [p.value for p in SampleSet(variant=Variant.BASE, stage=stage, fold=fold, protocol=PAPER).parts(M48)]

    assert parts(Stage.TRAIN) == [f"TrainVal{k}" for k in train]
    assert parts(Stage.VAL) == [f"TrainVal{k}" for k in val]
    assert parts(Stage.TEST) == ["Test"]


def test_only_the_published_24h_program_trains_on_three_parts():
    counts = {
        (task, protocol): len(SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=0, protocol=protocol).parts(task))
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
        groups = SampleSet(variant=Variant(variant), stage=stage, fold=0, protocol=PAPER).groups(M48)
        assert any(group.endswith("/over") for group in groups) == (stage in oversampled)


def test_no_set_shares_a_part_with_another():
    for variant in Variant:
        for fold in range(5):
            sets = [
                {g.split("/")[0] for g in SampleSet(variant=variant, stage=s, fold=fold, protocol=PAPER).groups(M24)}
                for s in Stage
            ]
            assert sum(len(s) for s in sets) == len(set.union(*sets)) == len(Part)


def test_a_fold_that_is_none_is_refused():
    with pytest.raises(ValueError, match="fold must be 0 to 4, got 5"):
        SampleSet(variant=Variant.BASE, stage=Stage.TRAIN, fold=5, protocol=PAPER).parts(M24)
