"""Plans, the pipeline that follows them, and the data module."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import webdataset as wds
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sffshards.base.errors import ConflictError, DamageError, FormatError, InputError
from sffshards.domain.sample_sets import Protocol, SampleSet, Stage, Variant
from sffshards.domain.views import apply_view
from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.clip_batches import BatchBuffers, ClipBatch, apply_views
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.datamodule import ShardDataModule
from sffshards.loading.epoch_plan import PADDING, plan_epoch, shuffle_blocks, shuffle_order
from sffshards.loading.loading_options import LoadingOptions, Shuffle, ViewSource
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.read.build_reader import Build, open_build
from sffshards.shards.read.check_level import CheckLevel
from sffshards.shards.read.local_shards import CHECKED_NAME
from tests.training_data import Listener, make_build

SIZES = {
    "global_batch": st.integers(1, 20),
    "num_ranks": st.integers(1, 9),
}


def orders() -> st.SearchStrategy[np.ndarray]:
    """Give permutations of up to 60 positions."""
    return st.integers(0, 60).flatmap(lambda num: st.permutations(range(num))).map(lambda o: np.array(o, np.int64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("loading"))


def loader(build: Build, rows: np.ndarray, *, num_threads: int = 2, batch: int = 4, epoch: int = 0) -> ClipLoader:
    source = PlanSource(
        rows=rows, global_batch=batch, num_ranks=1, rank=0, seed=1, shuffle=Shuffle.GLOBAL if epoch else Shuffle.NONE
    )
    return ClipLoader(build, source, num_threads=num_threads, epoch=lambda: epoch)


@given(order_N=orders(), **SIZES)
def test_an_epoch_holds_every_sample_exactly_once(order_N: np.ndarray, global_batch: int, num_ranks: int) -> None:
    plan = plan_epoch(order_N, global_batch=global_batch, num_ranks=num_ranks)
    local_batch = -(-min(global_batch, len(order_N)) // num_ranks)
    assert plan.shape == (-(-len(order_N) // global_batch), num_ranks, local_batch)
    assert sorted(plan[plan != PADDING].tolist()) == list(range(len(order_N)))


@given(order_N=orders(), **SIZES)
def test_the_global_batches_do_not_depend_on_the_number_of_ranks(
    order_N: np.ndarray, global_batch: int, num_ranks: int
) -> None:
    def batches(ranks: int) -> list[list[int]]:
        plan = plan_epoch(order_N, global_batch=global_batch, num_ranks=ranks)
        return [step[step != PADDING].tolist() for step in plan]

    assert batches(num_ranks) == batches(1)
    assert all(len(batch) == global_batch for batch in batches(1)[:-1])


@given(order_N=orders(), **SIZES)
def test_shares_of_a_step_differ_by_one_sample_at_most(order_N: np.ndarray, global_batch: int, num_ranks: int) -> None:
    plan = plan_epoch(order_N, global_batch=global_batch, num_ranks=num_ranks)
    shares = (plan != PADDING).sum(axis=2)
    assert not len(shares) or int((shares.max(axis=1) - shares.min(axis=1)).max()) <= 1


def test_without_shuffling_samples_come_in_order() -> None:
    plan = plan_epoch(np.arange(7), global_batch=4, num_ranks=2)
    assert plan.tolist() == [[[0, 1], [2, 3]], [[4, PADDING], [5, 6]]]


def test_the_order_follows_seed_and_epoch_and_stays_the_same_for_good() -> None:
    # Pinned: a run that was begun under another version must go on with the same order.
    assert shuffle_order(8, seed=123, epoch=0).tolist() == [1, 4, 3, 2, 7, 0, 5, 6]
    assert shuffle_order(8, seed=123, epoch=1).tolist() == [4, 1, 0, 6, 7, 2, 5, 3]


def test_orders_of_epochs_and_seeds_have_nothing_to_do_with_each_other() -> None:
    orders = [shuffle_order(20_000, seed=s, epoch=e) for s, e in ((0, 0), (0, 1), (1, 0), (1, 1))]
    correlation = np.corrcoef(np.stack(orders)) - np.eye(4)
    assert np.abs(correlation).max() < 0.03


@pytest.mark.parametrize("wrong", [{"global_batch": 0}, {"num_ranks": 0}])
def test_a_plan_of_impossible_sizes_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no plan"):
        plan_epoch(np.arange(5), **{"global_batch": 2, "num_ranks": 1} | wrong)


@st.composite
def placed_rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw the shard and the group of each row of a set, shard by shard as they lie in an index."""
    sizes = draw(st.lists(st.integers(1, 6), max_size=40))
    groups_S = np.sort(draw(arrays(np.int64, len(sizes), elements=st.integers(0, 3))))
    shards_N = np.repeat(np.arange(len(sizes)) * 3 + 1, sizes)
    return shards_N, np.repeat(groups_S, sizes)


@given(rows=placed_rows(), block_shards=st.integers(1, 12), epoch=st.integers(0, 3))
def test_blocks_hold_every_sample_once_and_a_shard_is_in_one_block_only(
    rows: tuple[np.ndarray, np.ndarray], block_shards: int, epoch: int
) -> None:
    shards_N, groups_N = rows
    order_N = shuffle_blocks(shards_N, groups_N, block_shards=block_shards, seed=1, epoch=epoch)
    assert sorted(order_N.tolist()) == list(range(len(shards_N)))
    num_shards = len(np.unique(shards_N))
    num_blocks = max(1, num_shards // block_shards)
    seen = shards_N[order_N]
    spans = [np.flatnonzero(seen == shard)[[0, -1]] for shard in np.unique(seen)]
    most = max((sum(first <= at <= last for first, last in spans) for at in range(len(seen))), default=0)
    assert most <= -(-num_shards // num_blocks)


def test_every_block_holds_its_share_of_every_group() -> None:
    # Four groups of 6, 2, 6 and 2 shards, ten samples each: two blocks of 3, 1, 3 and 1.
    groups_S = np.repeat(np.arange(4), [6, 2, 6, 2])
    shards_N, groups_N = np.repeat(np.arange(16), 10), np.repeat(groups_S, 10)
    blocks = set()
    for epoch in range(20):
        order_N = shuffle_blocks(shards_N, groups_N, block_shards=8, seed=5, epoch=epoch)
        assert np.bincount(groups_N[order_N[:80]]).tolist() == [30, 10, 30, 10]
        blocks.add(tuple(np.unique(shards_N[order_N[:80]])))
    assert len(blocks) > 15  # of the 14,400 that there are, each epoch draws another


def test_the_order_in_blocks_stays_the_same_for_good() -> None:
    shards_N, groups_N = np.repeat(np.arange(4), 2), np.repeat([0, 1], 4)
    order_N = shuffle_blocks(shards_N, groups_N, block_shards=2, seed=123, epoch=0)
    assert order_N.tolist() == [2, 3, 7, 6, 5, 1, 4, 0]
    with pytest.raises(ValueError, match="no blocks"):
        shuffle_blocks(shards_N, groups_N, block_shards=0, seed=123, epoch=0)


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_batches_hold_the_clips_and_labels_of_their_rows(folder: Path, num_threads: int) -> None:
    with open_build(folder) as build:
        rows = build.set_rows(SampleSet(variant=Variant.OT, stage=Stage.TRAIN, fold=0, protocol=Protocol.PAPER))[:22]
        seen = []
        for batch in loader(build, rows, num_threads=num_threads, epoch=1):
            assert batch.num_real == int(batch.mask_B.sum())
            for clip, label, row in zip(batch.clips_BTHW, batch.labels_B, batch.rows_B[batch.mask_B], strict=False):
                assert np.array_equal(clip.numpy(), build.read_clip(int(row)))
                assert int(label) == int(build.index["label"][int(row)])
                seen.append(int(row))
        assert sorted(seen) == rows.tolist()
        assert seen != rows.tolist()


@pytest.mark.slow
def test_an_epoch_is_read_exactly_once_on_any_number_of_ranks_and_threads(folder: Path) -> None:
    # 47 samples: no number of ranks divides them, nor does a batch of 3 on each.
    with open_build(folder) as build:
        for num_ranks in (1, 2, 3, 5, 8, 16):
            for num_threads in (0, 1, 3, 8):
                seen, steps = [], set()
                for rank in range(num_ranks):
                    source = PlanSource(
                        rows=np.arange(100, 147),
                        global_batch=3 * num_ranks,
                        num_ranks=num_ranks,
                        rank=rank,
                        seed=1,
                        shuffle=Shuffle.GLOBAL,
                    )
                    batches = real_rows(ClipLoader(build, source, num_threads=num_threads))
                    seen += [row for batch in batches for row in batch]
                    steps.add(len(batches))
                assert sorted(seen) == list(range(100, 147))
                assert len(steps) == 1


_MEMORY = """
import json, os, sys
from pathlib import Path
import numpy as np
from sffshards.loading import ClipLoader, PlanSource
from sffshards.loading.loading_options import Shuffle
from sffshards.shards.read import open_build

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

build = open_build(Path(sys.argv[1]))
before = resident()
source = PlanSource(
    rows=np.arange(len(build)), global_batch=10, num_ranks=1, rank=0, seed=1, shuffle=Shuffle.GLOBAL
)
batches = ClipLoader(build, source, num_threads=2)
print(json.dumps([max(resident() for _ in batches) - before for epoch in range(20)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "codec", [pytest.param(CodecName.NPY, marks=pytest.mark.long), pytest.param(CodecName.JPG, marks=pytest.mark.slow)]
)
def test_memory_stays_small_and_flat_over_twenty_epochs(tmp_path: Path, codec: CodecName) -> None:
    # 210 samples of 0.8 MB: an epoch that was kept would be 160 MiB more each time.
    command = [sys.executable, "-c", _MEMORY, str(make_build(tmp_path, codec=codec))]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, check=True, timeout=300, env=environment, capture_output=True, text=True)
    added = json.loads(done.stdout)
    assert len(added) == 20
    assert max(added) < 300
    assert max(added[10:]) < max(added[:10]) + 20


def test_padding_is_masked_and_empty(folder: Path) -> None:
    with open_build(folder) as build:
        last = list(loader(build, np.arange(6)))[-1]
        assert last.mask_B.tolist() == [True, True, False, False]
        assert last.rows_B.tolist() == [4, 5, PADDING, PADDING]
        assert last.num_real == 2
        assert not last.clips_BTHW[2:].any()


def test_a_batch_stays_as_it_is_for_as_long_as_anyone_holds_it(folder: Path) -> None:
    with open_build(folder) as build:
        rows = np.arange(60)
        kept = [(batch.clips_BTHW[1:2].numpy(), int(batch.rows_B[1])) for batch in loader(build, rows)]
        for clip, row in kept:
            assert np.array_equal(clip[0], build.read_clip(row))


def test_memory_of_batches_that_nobody_holds_is_used_again() -> None:
    buffers = BatchBuffers(batch_size=2, num_kept=2, pinned=False)
    first = buffers.take()
    address, view = first.data_ptr(), first[1, 3, :5]
    del first
    assert buffers.take().data_ptr() != address  # a slice of it is still held
    del view
    assert buffers.take().data_ptr() == address
    many = [buffers.take() for _ in range(5)]
    addresses = {batch.data_ptr() for batch in many}
    assert len(addresses) == 5
    del many
    assert len(buffers._free) == 2


def test_what_one_process_has_checked_another_need_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / CHECKED_NAME).unlink(missing_ok=True)
    rows = np.arange(6)
    with open_build(folder) as first, open_build(folder) as second:  # opened before anything was checked
        first.check_shards(rows, progress=Listener())
        monkeypatch.setattr("sffshards.shards.read.local_shards.hash_file", None)
        second.check_shards(rows, progress=Listener())
        assert second.read_clip(0).any()


def test_a_stage_can_be_inserted(folder: Path) -> None:
    with open_build(folder) as build:
        clips = loader(build, np.arange(6))
        clips.pipeline.append(lambda batches: (batch.num_real for batch in batches))
        counts: list[object] = list(clips)
        assert counts == [4, 2]
        assert len(clips) == 2


def test_views_made_on_the_device_are_the_stored_ones_under_npy(folder: Path) -> None:
    with open_build(folder) as build:
        rows = build.set_rows(SampleSet(variant=Variant.OTV, stage=Stage.TRAIN, fold=0, protocol=Protocol.PAPER))
        source = PlanSource(rows=rows, global_batch=9, num_ranks=1, rank=0, seed=1, shuffle=Shuffle.GLOBAL)
        stored = ClipLoader(build, source, num_threads=1)
        made = ClipLoader(build, source, num_threads=1, views=ViewSource.DEVICE, epoch=lambda: 0)
        seen = set()
        for expected, batch in zip(stored, made, strict=True):
            assert torch.equal(batch.rows_B, expected.rows_B)
            assert not expected.views_B.any()
            assert torch.equal(apply_views(batch.clips_BTHW, batch.views_B), expected.clips_BTHW)
            seen |= set(batch.views_B.tolist())
        assert seen == set(range(6))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_worker_processes_give_the_same_batches_in_the_same_order(folder: Path, num_workers: int) -> None:
    with open_build(folder) as build:
        clips = loader(build, np.arange(23), num_threads=0, epoch=1)
        clips.source.epoch = 1
        by_workers = wds.WebLoader(clips.pipeline, batch_size=None, num_workers=num_workers)
        found = [(batch.rows_B.tolist(), batch.clips_BTHW.clone()) for batch in by_workers]
        expected = [(batch.rows_B.tolist(), batch.clips_BTHW.clone()) for batch in clips]
        assert [rows for rows, _ in found] == [rows for rows, _ in expected]
        assert all(torch.equal(mine, theirs) for (_, mine), (_, theirs) in zip(found, expected, strict=True))


def counting_loader(build: Build, *, num_ranks: int = 1, rank: int = 0, batch: int = 8, seed: int = 1) -> ClipLoader:
    """A loader of 50 samples that counts its own epochs."""
    source = PlanSource(
        rows=np.arange(50), global_batch=batch, num_ranks=num_ranks, rank=rank, seed=seed, shuffle=Shuffle.GLOBAL
    )
    return ClipLoader(build, source, num_threads=2)


def real_rows(batches: Iterable[ClipBatch]) -> list[list[int]]:
    return [batch.rows_B[batch.mask_B].tolist() for batch in batches]


def joined(loaders: list[ClipLoader]) -> list[list[int]]:
    """The global batches that the ranks' shares make up."""
    steps = zip(*[real_rows(one) for one in loaders], strict=True)
    return [[row for share in step for row in share] for step in steps]


@pytest.mark.parametrize("num_steps", [0, 1, 4, 7])
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_a_state_goes_on_with_the_next_batch_on_any_number_of_ranks(
    folder: Path, num_steps: int, num_ranks: int
) -> None:
    with open_build(folder) as build:
        unbroken = counting_loader(build)
        epochs = [real_rows(unbroken) for _ in range(3)]
        cut_off = counting_loader(build)
        list(cut_off)  # the first epoch
        batches = iter(cut_off)
        seen = real_rows(next(batches) for _ in range(num_steps))
        assert seen == epochs[1][:num_steps]
        state = json.loads(json.dumps(cut_off.state_dict()))
        assert state == cut_off.state_dict()  # taking it changes nothing
        if not num_steps:
            assert (state["epoch"], state["step"]) == (0, 7)
        later = [counting_loader(build, num_ranks=num_ranks, rank=rank) for rank in range(num_ranks)]
        for one in later:
            one.load_state_dict(state)
            assert one.state_dict() == state
        remaining = [joined(later) for _ in range(2)]
        assert remaining[0] == (epochs[1][num_steps:] if num_steps else [])
        assert remaining[1] == epochs[2 if num_steps else 1]


def test_the_global_batches_are_the_same_to_the_byte_on_any_number_of_ranks(folder: Path) -> None:
    def digest(build: Build, num_ranks: int) -> list[str]:
        ranks = [counting_loader(build, num_ranks=num_ranks, rank=rank, batch=9) for rank in range(num_ranks)]
        digests = []
        for shares in zip(*ranks, strict=True):
            content = hashlib.sha256()
            real = [(share.clips_BTHW[share.mask_B], share.labels_B[share.mask_B]) for share in shares]
            content.update(torch.cat([clips for clips, _ in real]).numpy().tobytes())
            content.update(torch.cat([labels for _, labels in real]).numpy().tobytes())
            digests.append(content.hexdigest())
        return digests

    with open_build(folder) as build:
        expected = digest(build, 1)
        assert len(expected) == len(set(expected)) == 6
        assert all(digest(build, num_ranks) == expected for num_ranks in (2, 3, 4, 8))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"seed": 2}, r"found seed 2 \(here 1\)"),
        ({"global_batch": 4}, r"found global_batch 4 \(here 8\)"),
        ({"rows_xxh3": "0"}, "found rows_xxh3 0"),
        ({"manifest_sha256": "0"}, "found manifest_sha256 0"),
        ({"step": 8}, "found step 8 of 7 in epoch 0"),
        ({"step": -1}, "found step -1 of 7 in epoch 0"),
        ({"format_version": 2}, "expected a state of version 1, found version 2"),
        ({"more": 1}, "expected a state of version 1, found fields"),
    ],
)
def test_a_state_of_something_else_is_refused(folder: Path, change: dict[str, object], found: str) -> None:
    with open_build(folder) as build:
        clips = counting_loader(build)
        with pytest.raises((ConflictError, FormatError), match=found):
            clips.load_state_dict(clips.state_dict() | change)


def spoil(folder: Path, row: int) -> str:
    """Alter a sample's payload and leave the file's date and size as they are; say where."""
    with open_build(folder) as build:
        entry = build.index[row]
        shard = folder / build.manifest.shards[int(entry["shard"])].name
        date = shard.stat().st_mtime_ns
        with shard.open("r+b") as file:
            file.seek(int(entry["offset"]) + 5_000)
            file.write(b"\xff\x00\xff")
        os.utime(shard, ns=(date, date))
        return f"{shard}, sample {entry['key'].decode()}, offset {int(entry['offset'])}"


@pytest.mark.slow
@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("codec", [CodecName.NPY, CodecName.JPG])
def test_a_damaged_sample_stops_the_epoch_with_its_shard_key_and_offset(
    tmp_path: Path, num_threads: int, codec: CodecName
) -> None:
    folder = make_build(tmp_path, codec=codec)
    with open_build(folder) as build:
        list(loader(build, np.arange(12)))
    place = spoil(folder, row=7)
    with open_build(folder) as build, pytest.raises(DamageError) as caught:
        list(loader(build, np.arange(12), num_threads=num_threads))
    assert place in str(caught.value)


@pytest.mark.slow
def test_a_damaged_shard_is_found_before_it_is_first_read_and_a_whole_one_remembered(tmp_path: Path) -> None:
    folder = make_build(tmp_path)
    spoil(folder, row=7)
    with open_build(folder) as build, pytest.raises(DamageError, match=r"-base-00000.tar: expected .* SHA-256"):
        build.read_clip(3)
    progress = Listener()
    with open_build(folder) as build:
        rows = np.flatnonzero(build.index["shard"] != build.index["shard"][7])
        build.check_shards(rows, progress=progress)
        assert progress.tasks == {"Check shards, once": (17, 17)}
    again = Listener()
    with open_build(folder) as build:
        build.check_shards(rows, progress=again)
        assert not again.tasks
        shard = folder / build.manifest.shards[-1].name
        shard.touch()
        build.check_shards(rows, progress=again)
        assert again.tasks == {"Check shards, once": (1, 1)}
        os.truncate(shard, 1_000)
        with pytest.raises(DamageError, match="found 1000 bytes"):
            build.check_shards(rows, progress=again)
        shard.unlink()
        with pytest.raises(DamageError, match="found no such file"):
            build.read_clip(len(build) - 1)


@pytest.mark.slow
def test_the_words_of_a_check_mean_what_they_say(tmp_path: Path) -> None:
    folder = make_build(tmp_path)
    with open_build(folder) as build:
        build.read_clip(7)  # the shard is known to be intact from now on
    spoil(folder, row=7)
    for check in ("full", CheckLevel.FULL):
        with open_build(str(folder), check=check) as build, pytest.raises(DamageError, match="found other bytes"):  # type: ignore[arg-type]
            build.read_clip(7)
    with open_build(str(folder), check="fast") as build:  # type: ignore[arg-type]
        build.read_clip(7)
    with pytest.raises(InputError, match=r"`check`: expected one of full, fast, found 'fats'"):
        open_build(folder, check="fats")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_fast_check_looks_at_lengths_only(tmp_path: Path) -> None:
    folder = make_build(tmp_path)
    with open_build(folder) as build:
        before = build.read_clip(7)
    spoil(folder, row=7)
    with open_build(folder, check=CheckLevel.FAST) as build:
        assert (build.read_clip(7) != before).sum() <= 3


def test_no_thread_is_left_when_an_epoch_ends_or_is_left_early(folder: Path) -> None:
    def readers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("clips")]

    with open_build(folder) as build:
        for num_taken in (2, 15):  # of 15 batches
            batches = iter(loader(build, np.arange(60)))
            for _ in range(num_taken):
                next(batches)
            if num_taken == 2:
                del batches
            for thread in readers():
                thread.join(timeout=10)
            assert not readers()


def test_the_data_module_gives_every_set_in_index_order_for_prediction(folder: Path) -> None:
    data = ShardDataModule(
        folder, LoadingOptions(variant=Variant.OTV, protocol=Protocol.PAPER, batch_size=16, num_threads=1), fold=2
    )
    sizes = []
    for clips in data.predict_dataloader():
        rows = np.concatenate([batch.rows_B[batch.mask_B].numpy() for batch in clips])
        assert np.array_equal(rows, np.sort(rows))
        sizes.append(len(rows))
    assert sizes == [4 * 35, 35, 10]
    data.build.close()


def test_an_empty_set_and_a_batch_of_none_are_refused(folder: Path) -> None:
    def module(**changes: int) -> ShardDataModule:
        values: dict[str, Any] = {"batch_size": 4, "num_threads": 1} | changes
        options = LoadingOptions(variant=Variant.BASE, protocol=Protocol.PAPER, **values)
        return ShardDataModule(folder, options, fold=0)

    with pytest.raises(InputError, match="`batch_size`: expected at least 1, found 0"):
        module(batch_size=0)
    data = module()
    data.build.set_rows = lambda *_, **__: np.empty(0, np.int64)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="val set of base fold 0: expected samples in the set, found none"):
        data.val_dataloader()
    data.build.close()


def module_of(folder: Path, **changes: object) -> ShardDataModule:
    options = {"variant": Variant.BASE, "protocol": Protocol.PAPER, "batch_size": 7, "num_threads": 0}
    return ShardDataModule(folder, LoadingOptions(**(options | changes)), fold=0)  # type: ignore[arg-type]


def planned(module: ShardDataModule, epoch: int) -> list[list[int]]:
    """The batches of an epoch by the documented rule: sorted rows in the order of seed and epoch, cut into batches."""
    rows = np.sort(module.build.set_rows(module.sample_set(Stage.TRAIN)))
    order = rows[shuffle_order(len(rows), seed=123, epoch=epoch)].tolist()
    return [order[start : start + 7] for start in range(0, len(order), 7)]


def test_words_choose_what_their_enumerations_do(folder: Path) -> None:
    with open_build(folder) as build:
        words = SampleSet(variant="base", stage="test", fold=0, protocol="paper")  # type: ignore[arg-type]
        assert build.set_rows(words).tolist() == build.group_rows(["Test/base"]).tolist()
        assert len(build.set_rows(words)) == 10
    module = module_of(str(folder), variant="oT", protocol="paper", engine="classic", shuffle="global")  # type: ignore[arg-type]
    assert type(module.train_dataloader()).__name__ == "ClassicLoader"
    assert module.stage_loader("val", shuffle="none").source.shuffle is Shuffle.NONE  # type: ignore[arg-type]
    frames = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    assert np.array_equal(apply_view(frames, "hf"), frames[..., ::-1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"variant": "OT"}, r"`variant`: expected one of base, oT, oTV, oTV_Test, found 'OT'"),
        ({"engine": "stock"}, r"`engine`: expected one of plan, classic, found 'stock'"),
        ({"check": True}, r"`check`: expected one of full, fast, found a value of type bool"),
        ({"batch_size": "8"}, r"`batch_size`: expected a whole number, found '8'"),
        ({"batch_size": 8.0}, r"`batch_size`: expected a whole number, found a value of type float"),
        ({"batch_size": None}, r"`batch_size`: expected a whole number, found a value of type NoneType"),
        ({"variant": None}, r"`variant`: expected one of base, oT, oTV, oTV_Test, found a value of type NoneType"),
    ],
)
def test_what_is_no_word_of_an_option_is_refused(folder: Path, change: dict[str, object], found: str) -> None:
    with pytest.raises(InputError, match=found):
        module_of(folder, **change)


def test_a_plain_loop_reads_another_order_in_every_epoch(folder: Path) -> None:
    kept = module_of(folder)
    loader = kept.train_dataloader()
    expected = [planned(kept, epoch) for epoch in range(3)]
    assert [real_rows(loader) for _ in range(3)] == expected
    made_each_time = module_of(folder)
    assert [real_rows(made_each_time.train_dataloader()) for _ in range(3)] == expected
    by_pipeline = module_of(folder).train_dataloader()
    assert isinstance(by_pipeline, ClipLoader)
    assert [real_rows(by_pipeline.pipeline) for _ in range(3)] == expected
    by_pipeline.set_epoch(1)
    assert [real_rows(by_pipeline) for _ in range(2)] == expected[1:]


def test_the_stock_reader_too_reads_another_order_in_every_epoch(folder: Path) -> None:
    loader = module_of(folder, engine="classic").train_dataloader()
    first, second = real_rows(loader), real_rows(loader)
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second))


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_worker_processes_read_another_order_in_every_epoch(folder: Path, method: str, persistent: bool) -> None:
    module = module_of(folder)
    loader = module.train_dataloader()
    assert isinstance(loader, ClipLoader)
    by_workers = wds.WebLoader(
        loader.pipeline,
        batch_size=None,
        num_workers=2,
        persistent_workers=persistent,
        multiprocessing_context=method,
    )
    assert [real_rows(by_workers) for _ in range(3)] == [planned(module, epoch) for epoch in range(3)]
    if not persistent:  # the count goes on in this process, and in a loader that is left early
        assert real_rows(loader) == planned(module, 3)
        for _ in by_workers:
            break
        assert real_rows(by_workers) == planned(module, 5)


class Naive(pl.LightningModule):
    """A user's own module, which knows nothing of masks, and notes the rows that it trains on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1, 2)
        self.seen: dict[int, list[list[int]]] = {}

    def training_step(self, batch: ClipBatch, batch_idx: int) -> torch.Tensor:
        self.seen.setdefault(self.current_epoch, []).append(batch.rows_B[batch.mask_B].tolist())
        logits = self.head(batch.clips_BTHW.float().mean((1, 2, 3))[:, None] / 255)
        return torch.nn.functional.cross_entropy(logits, batch.labels_B)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Wrapped(pl.LightningDataModule):
    """A user's own data module around one of ours."""

    def __init__(self, inner: ShardDataModule) -> None:
        super().__init__()
        self.inner = inner

    def train_dataloader(self) -> Any:
        return self.inner.train_dataloader()


def naive_trainer(out: Path, **changes: object) -> pl.Trainer:
    plain = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    plain |= {"default_root_dir": out, "max_epochs": 3, "devices": 1, "enable_checkpointing": False}
    return pl.Trainer(**(plain | changes))  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*You requested to overfit")
def test_lightning_reads_the_epochs_of_its_trainer_however_the_loader_reaches_it(folder: Path, tmp_path: Path) -> None:
    module = module_of(folder)
    expected = {epoch: planned(module, epoch) for epoch in range(3)}
    loader = module_of(folder).train_dataloader()
    for loaders in (
        {"train_dataloaders": loader},
        {"train_dataloaders": loader},  # again from epoch 0, as the trainer counts
        {"datamodule": module_of(folder)},
        {"datamodule": Wrapped(module_of(folder))},
    ):
        naive = Naive()
        naive_trainer(tmp_path).fit(naive, **loaders)
        assert naive.seen == expected
    naive = Naive()
    naive_trainer(tmp_path, reload_dataloaders_every_n_epochs=1).fit(naive, datamodule=Wrapped(module_of(folder)))
    assert naive.seen == expected


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*You requested to overfit")
def test_a_trainer_that_overfits_reads_the_same_batches_in_every_epoch(folder: Path, tmp_path: Path) -> None:
    naive = Naive()
    naive_trainer(tmp_path, overfit_batches=2).fit(naive, datamodule=module_of(folder))
    assert naive.seen[0] == naive.seen[1] == naive.seen[2]
    assert [len(rows) for rows in naive.seen[0]] == [7, 7]


def test_padding_is_no_class_to_a_loss_that_knows_no_mask(folder: Path) -> None:
    *_, last = module_of(folder).train_dataloader()  # 40 samples in batches of 7: the last has 5
    assert last.labels_B[last.mask_B].unique().tolist() == [0, 1]
    assert last.labels_B[~last.mask_B].tolist() == [-100, -100]
    logits = torch.randn((7, 2), generator=torch.Generator().manual_seed(0))
    naive = torch.nn.functional.cross_entropy(logits, last.labels_B)
    real = torch.nn.functional.cross_entropy(logits[:5], last.labels_B[:5])
    assert torch.equal(naive, real)
    with pytest.raises(RuntimeError, match="Class values must be"):
        torch.nn.functional.one_hot(last.labels_B)


@pytest.mark.parametrize("engine", ["plan", "classic"])
def test_a_batch_is_not_larger_than_its_set(folder: Path, engine: str) -> None:
    module = module_of(folder, batch_size=1_000_000_000, engine=engine)
    (batch,) = module.train_dataloader()
    assert batch.clips_BTHW.shape == (40, 16, 224, 224)
    assert batch.mask_B.all()


_RANKS = """
import json, sys
from pathlib import Path
import torch
import webdataset as wds
from torch import distributed
from sffshards.loading import LoadingOptions, ShardDataModule

def rows(batches):
    return [batch.rows_B[batch.mask_B].tolist() for batch in batches]

if __name__ == "__main__":
    build, out, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    options = LoadingOptions(variant="base", protocol="paper", batch_size=7, num_threads=0)
    loader = ShardDataModule(build, options, fold=0).train_dataloader()  # before there is a group
    distributed.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=2)
    found = [len(loader), rows(loader), rows(loader)]
    for method in ("fork", "spawn"):
        by_workers = wds.WebLoader(loader.pipeline, batch_size=None, num_workers=2, multiprocessing_context=method)
        found.append(rows(by_workers))
    (out / f"rank{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()
"""


@pytest.mark.long
def test_two_ranks_without_a_trainer_share_every_epoch(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(_RANKS)
    command = [sys.executable, str(tmp_path / "loop.py"), str(folder), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    ranks = [subprocess.Popen([*command, str(rank)], env=environment) for rank in (0, 1)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    mine, theirs = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert mine[0] == theirs[0] == 3  # 40 samples, 14 a step
    rows = list(range(10)) + list(range(35, 45)) + list(range(70, 80)) + list(range(105, 115))
    for epoch in range(4):
        order = np.array(rows)[shuffle_order(40, seed=123, epoch=epoch)].tolist()
        steps = [a + b for a, b in zip(mine[epoch + 1], theirs[epoch + 1], strict=True)]
        assert steps == [order[:14], order[14:28], order[28:]]
