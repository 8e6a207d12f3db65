"""The stock reader as the training set's: the same samples as the plan's, and no code from a tar."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset as wds
from numpy.typing import NDArray

from sffshards.base.errors import DamageError, InputError
from sffshards.domain.sample_sets import Protocol, SampleSet, Stage, Variant
from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.epoch_plan import PADDING
from sffshards.loading.loading_options import Engine, Shuffle, ViewSource
from sffshards.loading.stock_loader import ClassicLoader
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.read.build_reader import Build, open_build
from sffshards.shards.read.check_level import CheckLevel
from tests.training_data import fast_options, make_build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("classic"))


def train_rows(build: Build) -> NDArray[np.int64]:
    return np.sort(build.set_rows(SampleSet(variant=Variant.OT, stage=Stage.TRAIN, fold=0, protocol=Protocol.PAPER)))


def classic(build: Build, *, batch: int = 9, num_ranks: int = 1, rank: int = 0, epoch: int = 0) -> ClassicLoader:
    return ClassicLoader(
        build,
        rows=train_rows(build),
        batch_size=batch,
        num_ranks=num_ranks,
        rank=rank,
        seed=3,
        epoch=lambda: epoch,
    )


def order(loader: ClassicLoader) -> list[int]:
    return [int(row) for batch in loader for row in batch.rows_B[batch.mask_B]]


@pytest.mark.parametrize("codec", [CodecName.NPY, CodecName.JPG])
def test_an_epoch_on_one_rank_holds_the_samples_of_the_plan(tmp_path: Path, codec: CodecName) -> None:
    with open_build(make_build(tmp_path, codec=codec)) as build:
        rows = train_rows(build)  # 140, in batches of 9
        source = PlanSource(rows=rows, global_batch=9, num_ranks=1, rank=0, seed=0, shuffle=Shuffle.NONE)
        planned, expected = ClipLoader(build, source, num_threads=0), {}
        for batch in planned:
            for clip, label, row in zip(batch.clips_BTHW, batch.labels_B, batch.rows_B, strict=True):
                expected[int(row)] = (clip.clone(), int(label))
        read = classic(build)
        batches = list(read)
        assert len(batches) == len(read) == len(planned) == 16
        seen = Counter()  # type: ignore[var-annotated]
        for batch in batches:
            assert batch.clips_BTHW.shape == (9, 16, 224, 224)
            assert batch.clips_BTHW.dtype == torch.uint8
            assert batch.num_real == int(batch.mask_B.sum())
            assert not batch.clips_BTHW[~batch.mask_B].any()
            assert set(batch.rows_B[~batch.mask_B].tolist()) <= {PADDING}
            for clip, label, row, real in zip(*batch[:4], strict=True):
                if real:
                    seen[int(row)] += 1
                    assert torch.equal(clip, expected[int(row)][0])
                    assert int(label) == expected[int(row)][1]
        assert seen == Counter(rows.tolist())


def test_the_order_follows_from_seed_and_epoch(folder: Path) -> None:
    with open_build(folder) as build:
        first = order(classic(build))
        assert order(classic(build)) == first
        assert order(classic(build, epoch=1)) != first
        assert first != sorted(first)


def test_ranks_take_stocks_shares_and_as_many_steps_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_build(folder) as build:
        rows = train_rows(build)
        names = [shard.name for shard in build.manifest.shards]
        for rank in range(3):
            loader = classic(build, num_ranks=3, rank=rank)
            monkeypatch.setenv("RANK", str(rank))
            monkeypatch.setenv("WORLD_SIZE", "3")
            mine = set(wds.split_by_node(iter(loader._paths)))
            batches = list(loader)
            assert [batch.num_real for batch in batches] == [27, 27, 27, 27, 27, 6]  # 47 on each of three ranks
            shards = {names[int(s)] for b in batches for s in build.row_shards(b.rows_B[b.mask_B].numpy()).shards_N}
            assert {str(folder / name) for name in shards} <= mine
            assert len(rows) == 140
        with pytest.raises(
            InputError, match=r"`engine`: expected plan, or at most \d+ devices?, .*, found classic on 1,000 devices"
        ):
            classic(build, num_ranks=1_000)


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def pickled_array(trace: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil(trace)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["npy", "pyd", "pickle", "cls"])
def test_a_pickled_member_is_not_loaded(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, trace = make_build(tmp_path), tmp_path / "ran"
    content = pickled_array(trace) if name == "npy" else pickle.dumps(Evil(trace))
    with open_build(folder, check=CheckLevel.FAST) as build:
        shard = folder / build.manifest.shards[int(build.index["shard"][train_rows(build)[0]])].name
        with tarfile.open(shard) as tar:
            members = [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
        key = members[0][0].split(".")[0]
        with tarfile.open(shard, "w") as tar:
            for path, data in members:
                write(tar, path, content if path == f"{key}.{name}" else data)
                if name in {"pyd", "pickle"} and path == f"{key}.cls":
                    write(tar, f"{key}.{name}", content)
        monkeypatch.setattr(Build, "check_shards", lambda *_, **__: None)  # as if the manifest were forged too
        if name in {"npy", "cls"}:
            with pytest.raises(DamageError, match=key):
                list(classic(build))
        else:
            assert len(order(classic(build))) == 140
    assert not trace.exists()


def write(tar: tarfile.TarFile, path: str, data: bytes) -> None:
    info = tarfile.TarInfo(path)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def test_a_damaged_shard_or_sample_stops_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_build(tmp_path)
    with open_build(folder) as build:
        entry = build.index[int(train_rows(build)[0])]
        with (folder / build.manifest.shards[int(entry["shard"])].name).open("r+b") as file:
            file.seek(int(entry["offset"]) + 5_000)
            file.write(b"\xff\x00\xff")
        with pytest.raises(DamageError, match="SHA-256"):
            list(classic(build))
        monkeypatch.setattr(Build, "check_shards", lambda *_, **__: None)
        with pytest.raises(DamageError, match=f"{entry['key'].decode()}: .* found other bytes"):
            list(classic(build))


@pytest.mark.parametrize("forged", ["no tar", "cut off", "a member twice", "a long name"])
def test_a_forged_tar_ends_in_one_line(tmp_path: Path, forged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_build(tmp_path)
    monkeypatch.setattr(Build, "check_shards", lambda *_, **__: None)  # as if the manifest were forged too
    with open_build(folder, check=CheckLevel.FAST) as build:
        shard = folder / build.manifest.shards[int(build.index["shard"][train_rows(build)[0]])].name
        if forged == "no tar":
            shard.write_bytes(b"\x1f\x8b" + bytes(10_000))
        elif forged == "cut off":
            os.truncate(shard, shard.stat().st_size // 2 - 700)
        else:
            name = "a" if forged == "a member twice" else "\udcff" * 60
            with tarfile.open(shard, "w", format=tarfile.PAX_FORMAT) as tar:
                for _ in range(2):
                    write(tar, f"{name}.cls", b"1")
                    write(tar, f"{name}.npy", b"1")
        with pytest.raises(DamageError) as caught:
            list(classic(build))
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a#b", "a?b"])
def test_a_path_that_webdataset_would_not_open_as_it_is_is_refused(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    with open_build(make_build(place)) as build, pytest.raises(InputError, match="a path that WebDataset opens"):
        classic(build)


def test_a_path_is_never_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_build(Path("pipe:touch ran"))
    with open_build(Path("pipe:touch ran/shards/48h")) as build:
        assert len(order(classic(build))) == 140
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change", [{"shuffle": Shuffle.BLOCKS}, {"shuffle": Shuffle.NONE}, {"views": ViewSource.DEVICE}]
)
def test_options_that_say_nothing_to_it_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="`engine`: expected plan, where `shuffle` or `views` is given"):
        fast_options(engine=Engine.CLASSIC, **change)
