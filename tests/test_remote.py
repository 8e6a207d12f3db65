"""Builds behind URLs: places, the cache, HTTP and S3, servers that fail."""

from __future__ import annotations

import fcntl
import gc
import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sffshards.base import retries
from sffshards.base.errors import ConflictError, DamageError, InputError, StorageError
from sffshards.base.progress import SILENT, Advance
from sffshards.domain.sample_sets import Protocol, SampleSet, Stage, Variant
from sffshards.executors import LocalExecutor, open_cluster
from sffshards.loading import shard_prefetch as window_module
from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.datamodule import ShardDataModule
from sffshards.loading.loading_options import Engine, LoadingOptions, Shuffle
from sffshards.shards.build.build_verification import verify_build
from sffshards.shards.build.publishing import publish_build
from sffshards.shards.format.manifest import MANIFEST_NAME
from sffshards.shards.read import remote_files as store_module
from sffshards.shards.read import shard_cache as cache_module
from sffshards.shards.read.build_reader import open_build
from sffshards.shards.read.manifest_reading import load_builds
from sffshards.shards.read.places import CacheOptions, Place, RemoteFolder, parse_place
from sffshards.shards.read.remote_files import RemoteStore
from sffshards.shards.read.shard_cache import ShardCache
from tests.commands import error_of, run
from tests.servers import FolderServer, serve_folder, serve_s3
from tests.tiny import make_data
from tests.training_data import Listener, make_build
from tests.web import serve_files

MB = 1_000_000


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("remote"))


@pytest.fixture
def server(build: Path) -> Iterator[FolderServer]:
    with serve_folder(build.parent) as server:
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_S", 0.05)


def remote(server: FolderServer, tmp_path: Path, *, megabytes: float = 400) -> RemoteFolder:
    place = parse_place(
        f"{server.url}/48h", cache=CacheOptions(folder=tmp_path / "cache", limit_bytes=round(megabytes * MB))
    )
    assert isinstance(place, RemoteFolder)
    return place


def hash_epoch(place: Place, *, shuffle: Shuffle = Shuffle.BLOCKS, num_threads: int = 2, epochs: int = 1) -> str:
    """Give a hash over all batches of a training set: pixels, labels and rows, in their order."""
    digest = hashlib.sha256()
    with open_build(place) as opened:
        rows = opened.set_rows(SampleSet(variant=Variant.OT, stage=Stage.TRAIN, fold=0, protocol=Protocol.PAPER))
        source = PlanSource(
            rows=rows,
            global_batch=7,
            num_ranks=1,
            rank=0,
            seed=1,
            shuffle=shuffle,
            shards=opened.row_shards(rows),
            block_shards=3,
        )
        loader = ClipLoader(opened, source, num_threads=num_threads)
        for _ in range(epochs):
            for batch in loader:
                for tensor in (batch.clips_BTHW, batch.labels_B, batch.rows_B):
                    digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def shard_names(build: Path) -> list[str]:
    """Give the paths, as the server counts them, of the training set's tars."""
    with open_build(build) as opened:
        samples = SampleSet(variant=Variant.OT, stage=Stage.TRAIN, fold=0, protocol=Protocol.PAPER)
        groups = samples.groups(opened.manifest.task)
        return [f"48h/{name}" for name in opened.manifest.shard_names(groups)]


class TestPlaces:
    CACHE = CacheOptions(folder=Path("cache"), limit_bytes=1)

    @pytest.mark.parametrize("text", ["shards", "./a b/48h", "/scratch/x", "C:shards", "a:b", "http:/no"])
    def test_paths_are_paths(self, text: str) -> None:
        assert parse_place(text, cache=self.CACHE) == Path(text)

    @pytest.mark.parametrize("text", ["s3://b", "s3://b/x/48h/", "https://host:8443/x", "hf://datasets/me/flares"])
    def test_urls_are_elsewhere(self, text: str) -> None:
        place = parse_place(text, cache=self.CACHE)
        assert isinstance(place, RemoteFolder)
        assert str(place / "manifest.json") == text.rstrip("/") + "/manifest.json"

    @pytest.mark.parametrize(
        "text",
        [
            "pipe:cat /etc/passwd",
            "reference://x",
            "simplecache::s3://b/x",
            "s3://b/x::zip://y",
            "python://x",
            "github://o:r@main/x",
            "PIPE://x",
            "memory://x",
            "s3:///x",
            "https://me:secret@host/x",
            "https://host/x?token=secret",
            "https://host/x#secret",
            "https://host/a/../b",
            "http://[host/x",
        ],
    )
    def test_other_urls_are_refused_and_secrets_not_repeated(self, text: str) -> None:
        with pytest.raises(InputError) as caught:
            parse_place(text, cache=self.CACHE)
        assert "secret" not in str(caught.value)

    def test_a_package_that_is_not_there_is_named(self) -> None:
        place = parse_place("gs://bucket/48h", cache=self.CACHE)
        with pytest.raises(InputError, match="pip install gcsfs"):
            open_build(place)


class TestReading:
    @pytest.mark.slow
    @pytest.mark.parametrize("num_threads", [0, 2])
    @pytest.mark.parametrize("shuffle", list(Shuffle))
    def test_the_batches_are_those_of_a_local_build(
        self, build: Path, server: FolderServer, tmp_path: Path, shuffle: Shuffle, num_threads: int
    ) -> None:
        place = remote(server, tmp_path)
        assert hash_epoch(place, shuffle=shuffle, num_threads=num_threads) == hash_epoch(build, shuffle=shuffle)
        sizes = {name: (build.parent / name).stat().st_size for name in shard_names(build)}
        assert {name: server.sent[name] for name in sizes} == sizes  # each once
        server.sent.clear()
        hash_epoch(place, shuffle=shuffle)
        assert set(server.sent) == {"48h/manifest.json"}

    @pytest.mark.slow
    def test_a_cache_smaller_than_the_set_fetches_each_shard_once_an_epoch(
        self, build: Path, server: FolderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sffshards.loading.shard_prefetch._MARGIN", 0)
        place = remote(server, tmp_path, megabytes=85)  # of 113
        with Watch(tmp_path / "cache") as watch:
            assert hash_epoch(place, epochs=2) == hash_epoch(build, epochs=2)
        assert 60 * MB < watch.most_bytes <= 85 * MB
        for name in shard_names(build):
            assert server.sent[name] <= 2 * (build.parent / name).stat().st_size

    def test_a_cache_too_small_for_a_step_is_refused_before_anything_is_fetched(
        self, server: FolderServer, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match="`limit_bytes`: expected at least 0.113 GB.*found 0.050 GB"):
            hash_epoch(remote(server, tmp_path, megabytes=50), shuffle=Shuffle.GLOBAL)
        assert not any(name.endswith(".tar") for name in server.sent)

    @pytest.mark.slow
    def test_a_training_run_reads_from_elsewhere(self, build: Path, server: FolderServer, tmp_path: Path) -> None:
        def rows_of(place: Place) -> list[int]:
            data = ShardDataModule(
                place,
                LoadingOptions(
                    variant=Variant.OTV,
                    protocol=Protocol.PAPER,
                    batch_size=8,
                    seed=3,
                    num_threads=1,
                    shuffle=Shuffle.BLOCKS,
                    block_shards=2,
                ),
                fold=1,
            )
            rows = [r for loader in (data.train_dataloader(), data.val_dataloader()) for b in loader for r in b.rows_B]
            data.build.close()
            return [int(row) for row in rows]

        assert rows_of(remote(server, tmp_path)) == rows_of(build)

    def test_the_stock_reader_is_for_local_builds(self, server: FolderServer, tmp_path: Path) -> None:
        data = ShardDataModule(
            remote(server, tmp_path),
            LoadingOptions(variant=Variant.BASE, protocol=Protocol.PAPER, engine=Engine.CLASSIC),
            fold=0,
        )
        with pytest.raises(
            InputError, match="expected plan for a remote build: the stock reader reads local folders only"
        ):
            data.train_dataloader()

    @pytest.mark.slow
    def test_leaving_an_epoch_early_releases_the_cache(self, build: Path, server: FolderServer, tmp_path: Path) -> None:
        place = remote(server, tmp_path)
        server.delay_s = 0.2
        with open_build(place) as opened:
            rows = opened.set_rows(SampleSet(variant=Variant.OT, stage=Stage.TRAIN, fold=0, protocol=Protocol.PAPER))
            source = PlanSource(rows=rows, global_batch=4, num_ranks=1, rank=0, seed=1, shuffle=Shuffle.GLOBAL)
            batches = iter(ClipLoader(opened, source, num_threads=2))
            next(batches)
            batches.close()  # type: ignore[attr-defined]
            assert opened.read_clip(0).shape == (16, 224, 224)  # what was given up is fetched when it is asked for
        cache = ShardCache(CacheOptions(folder=tmp_path / "cache", limit_bytes=20 * MB))
        os.close(cache.open("0" * 64, 15 * MB, fetch=lambda _: None, close_idle=keep_all))  # nobody holds the others

    @pytest.mark.slow
    def test_an_epoch_that_is_interrupted_while_the_server_stalls_asks_for_nothing_more(
        self, server: FolderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(retries, "TIMEOUT_S", 2.0)
        server.stall_s, server.faults = 30.0, {"stall": 1.0}
        before = signal.signal(signal.SIGALRM, interrupt)
        gc.collect()
        gc.disable()  # or the interrupt may come in a finalizer, where Python passes over it
        try:
            with open_build(remote(server, tmp_path)) as opened:
                rows = opened.set_rows(
                    SampleSet(variant=Variant.OT, stage=Stage.TRAIN, fold=0, protocol=Protocol.PAPER)
                )
                source = PlanSource(rows=rows, global_batch=4, num_ranks=1, rank=0, seed=1, shuffle=Shuffle.NONE)
                signal.setitimer(signal.ITIMER_REAL, 0.5)
                with pytest.raises(KeyboardInterrupt):
                    next(iter(ClipLoader(opened, source, num_threads=2)))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            gc.enable()
        assert server.num_faults["stall"] <= 6  # four threads that fetch and two that read, each once

    def test_a_shard_that_arrives_when_nobody_wants_it_any_more_is_not_held(
        self, server: FolderServer, tmp_path: Path
    ) -> None:
        server.delay_s = 0.2
        with open_build(remote(server, tmp_path)) as opened:
            opened.files.expect(0)
            fetching = threading.Thread(target=opened.files.open, args=(0,))
            fetching.start()
            opened.files.release(0)
            fetching.join()
            assert can_lock(tmp_path / "cache" / opened.manifest.shards[0].sha256)

    @pytest.mark.slow
    def test_a_build_that_was_replaced_does_not_open_in_another_process(
        self, build: Path, server: FolderServer, tmp_path: Path
    ) -> None:
        with open_build(remote(server, tmp_path)) as opened:
            sent = pickle.dumps(opened)
            with pickle.loads(sent) as again:
                assert again.read_clip(3).sum() == opened.read_clip(3).sum()
            server.folder = make_build(tmp_path / "other", seed=4).parent
            with pytest.raises(ConflictError, match="the build that was opened before"):
                pickle.loads(sent)

    def test_builds_in_a_process_make_room_for_each_other(
        self, build: Path, server: FolderServer, tmp_path: Path
    ) -> None:
        place = remote(server, tmp_path, megabytes=20)  # two shards
        with open_build(place) as one, open_build(place) as other:
            rows = [int(np.flatnonzero(one.index["shard"] == number)[0]) for number in range(4)]
            read = [opened.read_clip(row) for opened, row in zip((one, other, one, other), rows, strict=True)]
        with open_build(build) as local:
            assert all(np.array_equal(clip, local.read_clip(row)) for clip, row in zip(read, rows, strict=True))


class TestFailingServers:
    @pytest.mark.slow
    def test_an_epoch_arrives_whole(
        self, build: Path, server: FolderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "CHUNK_BYTES", 1 << 20)
        monkeypatch.setattr(retries, "TIMEOUT_S", 1.0)
        server.faults = {"503": 0.1, "drop": 0.1, "short": 0.1, "stall": 0.03, "flip": 0.01}
        assert hash_epoch(remote(server, tmp_path)) == hash_epoch(build)
        assert all(server.num_faults[fault] for fault in ("503", "drop", "short", "stall"))

    @pytest.mark.slow
    def test_a_server_without_ranges_will_do(self, build: Path, server: FolderServer, tmp_path: Path) -> None:
        server.with_ranges = False
        assert hash_epoch(remote(server, tmp_path)) == hash_epoch(build)

    @pytest.mark.slow
    @pytest.mark.parametrize("is_gzipped", [False, True])
    def test_an_answer_without_end_is_cut_off(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_gzipped: bool
    ) -> None:
        monkeypatch.setattr("sffshards.shards.read.remote_files.MAX_ANSWER_BYTES", 10_000_000)
        with serve_files() as endless:
            endless.files["/48h/manifest.json"] = b""
            endless.faults.append(("endless", is_gzipped))
            with pytest.raises((StorageError, DamageError), match="manifest.json: ") as caught:
                open_build(parse_place(f"{endless.url}/48h", cache=CacheOptions(folder=tmp_path, limit_bytes=10**9)))
        found = "found no JSON" if is_gzipped else "expected an answer of at most 10,000,000 bytes"
        assert found in str(caught.value)

    def test_an_object_of_s3_without_end_is_cut_off(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("s3fs")
        monkeypatch.setattr("sffshards.shards.read.remote_files.MAX_ANSWER_BYTES", 10_000_000)
        for name, value in {"ACCESS_KEY_ID": "made", "SECRET_ACCESS_KEY": "up", "DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        with serve_files() as endless:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endless.url)
            endless.files["/flares/48h/manifest.json"] = b""
            endless.faults.append(("endless", False))
            with pytest.raises(StorageError, match="an answer of at most 10,000,000 bytes, found more"):
                open_build(parse_place("s3://flares/48h", cache=CacheOptions(folder=tmp_path, limit_bytes=10**9)))
            assert len(endless.requests) == 1

    def test_other_bytes_each_time_are_damage(self, server: FolderServer, tmp_path: Path) -> None:
        server.faults = {"flip": 1.0}
        with open_build(remote(server, tmp_path)) as opened, pytest.raises(DamageError, match=r"48h/.*\.tar: expected"):
            opened.read_clip(0)
        assert server.num_faults["flip"] >= store_module.MAX_FETCHES
        assert not [name for name in os.listdir(tmp_path / "cache") if name.endswith(".part")]

    def test_what_is_not_there_is_said(self, build: Path, server: FolderServer, tmp_path: Path) -> None:
        place = remote(server, tmp_path)
        with pytest.raises(InputError, match=r"nothing/: expected|nothing: expected a build"):
            load_builds(parse_place(f"{server.url}/nothing", cache=place.cache))
        server.folder = build.parent / "48h"  # the addresses are now others
        with pytest.raises(InputError, match="expected a build"):
            open_build(place)

    def test_a_shard_that_is_missing_is_damage(self, build: Path, server: FolderServer, tmp_path: Path) -> None:
        with open_build(remote(server, tmp_path)) as opened:
            server.folder = tmp_path
            with pytest.raises(DamageError, match="found none"):
                opened.read_clip(0)

    @pytest.mark.slow
    def test_a_fetch_that_fails_is_not_made_again_for_everyone_who_waits(
        self, server: FolderServer, tmp_path: Path
    ) -> None:
        server.delay_s, server.faults = 0.1, {"503": 1.0}
        with open_build(remote(server, tmp_path)) as opened:
            barrier = threading.Barrier(5)

            def read(_: int) -> str:
                barrier.wait()
                with pytest.raises(StorageError) as caught:
                    opened.read_clip(0)
                return str(caught.value)

            with ThreadPoolExecutor(5) as pool:
                assert len(set(pool.map(read, range(5)))) == 1
        assert server.num_faults["503"] == retries.NUM_TRIES

    def test_a_server_that_is_down_is_given_up(
        self, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve_folder(build.parent) as server:
            place = remote(server, tmp_path)
        monkeypatch.setattr(retries, "NUM_TRIES", 3)
        with pytest.raises(StorageError, match="in each of 3 tries"):
            open_build(place)


def can_lock(path: Path) -> bool:
    """Say whether nobody holds a file's lock."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def keep_all(*, in_need: bool) -> bool:
    return False


def read_in_a_process(place: RemoteFolder, margin: int, seen: Any) -> None:
    window_module._MARGIN = margin
    seen.put(hash_epoch(place))


class Watch:
    """Looks at a cache all the time, and remembers the most bytes that it held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.most_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.001):
            sizes = []
            for path in self.folder.glob("*"):
                try:
                    sizes.append(path.stat().st_size)
                except FileNotFoundError:
                    sizes = []
                    break
            self.most_bytes = max(self.most_bytes, sum(sizes))


def read_in_processes(place: RemoteFolder, *, margin: int) -> set[str]:
    """Go through an epoch in four processes at once, and give the hashes."""
    context = multiprocessing.get_context("spawn")
    seen = context.Queue()
    processes = [context.Process(target=read_in_a_process, args=(place, margin, seen)) for _ in range(4)]
    for process in processes:
        process.start()
    hashes = {seen.get(timeout=300) for _ in processes}
    for process in processes:
        process.join()
    return hashes


@pytest.mark.long
def test_four_processes_fetch_each_shard_once(build: Path, server: FolderServer, tmp_path: Path) -> None:
    place = remote(server, tmp_path, megabytes=120)
    server.faults = {"503": 0.1, "drop": 0.1, "short": 0.1}
    with Watch(tmp_path / "cache") as watch:
        assert read_in_processes(place, margin=16) == {hash_epoch(build)}
    assert 0 < watch.most_bytes <= 120 * MB
    names = shard_names(build)
    sent = sum(server.sent[name] for name in names)
    assert sent <= 1.2 * sum((build.parent / name).stat().st_size for name in names)


@pytest.mark.long
def test_four_processes_get_on_in_a_cache_that_is_too_small_for_all(
    build: Path, server: FolderServer, tmp_path: Path
) -> None:
    # Each needs up to 85 MB at a time, and they are not at the same place: each holds what the others wait for.
    with Watch(tmp_path / "cache") as watch:
        assert read_in_processes(remote(server, tmp_path, megabytes=85), margin=0) == {hash_epoch(build)}
    assert 60 * MB < watch.most_bytes <= 85 * MB


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of a fork in a process with threads
def test_a_process_forked_during_a_fetch_can_read_the_same_shard(server: FolderServer, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    seen = context.Queue()
    with open_build(remote(server, tmp_path)) as opened:
        server.delay_s = 1.0
        fetching = threading.Thread(target=opened.read_clip, args=(0,))
        fetching.start()
        assert wait_until(lambda: any((tmp_path / "cache").glob("*.part")))
        child = context.Process(target=lambda: seen.put(int(opened.read_clip(0).sum())), daemon=True)
        child.start()
        try:
            assert seen.get(timeout=60) == int(opened.read_clip(0).sum())
        finally:
            child.kill()
            child.join()
            fetching.join()


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; say whether it came."""
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.01)
    return False


class TestCache:
    def open(self, cache: ShardCache, data: bytes, fetched: list[bytes] | None = None) -> int:
        def fetch(descriptor: int) -> None:
            os.pwrite(descriptor, data, 0)
            if fetched is not None:
                fetched.append(data)

        return cache.open(hashlib.sha256(data).hexdigest(), len(data), fetch=fetch, close_idle=keep_all)

    def make(self, tmp_path: Path, limit: int = 100) -> ShardCache:
        return ShardCache(CacheOptions(folder=tmp_path / "cache", limit_bytes=limit))

    def test_the_least_recently_used_leaves_first(self, tmp_path: Path) -> None:
        cache, files = self.make(tmp_path), [bytes([n]) * 40 for n in range(3)]
        for data in (files[0], files[1], files[0], files[2]):
            os.close(self.open(cache, data))
            time.sleep(0.01)
        here = {path.read_bytes() for path in (tmp_path / "cache").glob("[0-9a-f]*")}
        assert here == {files[0], files[2]}

    def test_what_is_in_use_stays_and_who_needs_room_waits_for_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache_module, "PATIENCE_S", 0.2)
        cache = self.make(tmp_path)
        held = self.open(cache, b"a" * 60)
        with pytest.raises(StorageError, match="other processes that hold all of it"):
            self.open(cache, b"b" * 60)
        assert os.pread(held, 60, 0) == b"a" * 60
        os.close(held)
        os.close(self.open(cache, b"b" * 60))

    def test_what_is_closed_makes_room(self, tmp_path: Path) -> None:
        cache = self.make(tmp_path)
        held = [self.open(cache, b"a" * 60)]

        def close_idle(*, in_need: bool) -> bool:
            if held:
                os.close(held.pop())
                return True
            return False

        data = b"b" * 60
        sha256 = hashlib.sha256(data).hexdigest()
        os.close(cache.open(sha256, 60, fetch=lambda fd: os.pwrite(fd, data, 0), close_idle=close_idle))  # type: ignore[arg-type]
        assert not held

    def test_a_file_is_fetched_once_by_many_threads(self, tmp_path: Path) -> None:
        fetched: list[bytes] = []

        def slow(descriptor: int) -> None:
            time.sleep(0.2)
            os.pwrite(descriptor, b"c" * 50, 0)
            fetched.append(b"c")

        sha256 = hashlib.sha256(b"c" * 50).hexdigest()

        def ask() -> None:
            os.close(self.make(tmp_path).open(sha256, 50, fetch=slow, close_idle=keep_all))

        threads = [threading.Thread(target=ask) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(fetched) == 1

    @pytest.mark.parametrize("how", ["changed", "cut", "dated"])
    def test_a_file_that_was_changed_is_fetched_anew_unless_its_bytes_are_right(self, tmp_path: Path, how: str) -> None:
        cache, data = self.make(tmp_path), b"d" * 50
        fetched: list[bytes] = []
        os.close(self.open(cache, data, fetched))
        (path,) = (tmp_path / "cache").glob("[0-9a-f]*")
        if how == "changed":
            path.write_bytes(b"D" + data[1:])
        elif how == "cut":
            path.write_bytes(data[:-1])
        else:
            os.utime(path)
        descriptor = self.open(cache, data, fetched)
        assert os.pread(descriptor, 50, 0) == data
        os.close(descriptor)
        assert len(fetched) == (1 if how == "dated" else 2)

    def test_a_changed_bit_is_found_by_a_check_even_where_size_and_date_are_as_before(self, tmp_path: Path) -> None:
        cache, data = self.make(tmp_path), b"d" * 50
        fetched: list[bytes] = []
        os.close(self.open(cache, data, fetched))
        (path,) = (tmp_path / "cache").glob("[0-9a-f]*")
        before = path.stat()
        cache.check(path.name)
        os.close(self.open(cache, data, fetched))
        assert len(fetched) == 1
        path.write_bytes(b"D" + data[1:])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        cache.check(path.name)
        descriptor = self.open(cache, data, fetched)
        assert os.pread(descriptor, 50, 0) == data
        os.close(descriptor)
        assert len(fetched) == 2

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of a fork in a process with threads
    def test_a_process_forked_by_another_thread_does_not_keep_the_lock(self, tmp_path: Path) -> None:
        cache = self.make(tmp_path)
        with cache._locked():
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
            child.start()
        try:
            assert child.is_alive()
            assert can_lock(tmp_path / "cache" / ".lock")
        finally:
            child.kill()
            child.join()

    def test_what_a_killed_process_left_is_removed(self, tmp_path: Path) -> None:
        cache = self.make(tmp_path)
        os.close(self.open(cache, b"e"))
        left = tmp_path / "cache" / f"{'f' * 64}.part"
        left.write_bytes(b"x" * 90)
        theirs = tmp_path / "cache" / "notes.txt"
        theirs.write_bytes(b"y" * 500)
        os.close(self.open(cache, b"g" * 95))
        assert not left.exists()
        assert theirs.exists()

    def test_a_fetch_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        def fail(_: int) -> None:
            raise DamageError("a shard", expected="x", found="y", fix="z")

        with pytest.raises(DamageError):
            self.make(tmp_path).open("0" * 64, 50, fetch=fail, close_idle=keep_all)
        assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]

    def test_a_file_larger_than_the_cache_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="^`limit_bytes`"):
            self.open(self.make(tmp_path), b"h" * 101)


class TestPublishing:
    @pytest.fixture
    def bucket(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with serve_s3(monkeypatch) as url:
            yield url

    def place(self, bucket: str, tmp_path: Path) -> RemoteFolder:
        place = parse_place(f"{bucket}/flares/48h", cache=CacheOptions(folder=tmp_path / "cache", limit_bytes=400 * MB))
        assert isinstance(place, RemoteFolder)
        return place

    @pytest.mark.slow
    def test_a_build_is_copied_to_s3_and_read_from_there(self, build: Path, bucket: str, tmp_path: Path) -> None:
        place = self.place(bucket, tmp_path)
        num_shards = len(list(build.glob("*/*.tar")))
        assert publish_build(build, place, force=False, progress=SILENT) == num_shards
        assert verify_build(place, progress=SILENT) == []
        assert hash_epoch(place) == hash_epoch(build)
        assert publish_build(build, place, force=False, progress=SILENT) == 0

    @pytest.mark.slow
    def test_a_copy_that_was_stopped_goes_on_and_has_no_manifest_before_its_end(
        self, build: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (build / ".published.json").unlink(missing_ok=True)
        place, upload = self.place(bucket, tmp_path), RemoteStore.upload
        done: list[str] = []

        def stop_at_the_fifth(self: RemoteStore, name: str, source: str) -> None:
            if len(done) == 5:
                raise StorageError(name, expected="a network", found="none", fix="wait")
            done.append(name)
            upload(self, name, source)

        monkeypatch.setattr(RemoteStore, "upload", stop_at_the_fifth)
        with pytest.raises(StorageError, match="found none"):
            publish_build(build, place, force=False, progress=SILENT)
        assert RemoteStore(place).look(MANIFEST_NAME) is None
        monkeypatch.setattr(RemoteStore, "upload", upload)
        assert publish_build(build, place, force=False, progress=SILENT) == len(list(build.glob("*/*.tar"))) - 5
        assert verify_build(place, progress=SILENT) == []

    @pytest.mark.long
    def test_a_copy_by_processes_that_was_stopped_goes_on_by_workers_of_a_cluster(
        self, build: Path, bucket: str, tmp_path: Path
    ) -> None:
        class Impatient(Listener):
            @contextmanager
            def task(self, description: str, total: int | None, **_: object) -> Iterator[Advance]:
                counted: list[int] = []

                def advance(steps: int) -> None:
                    counted.append(steps)
                    if len(counted) == 3:
                        raise KeyboardInterrupt

                yield advance

        (build / ".published.json").unlink(missing_ok=True)
        place, total = self.place(bucket, tmp_path), len(list(build.glob("*/*.tar")))
        with pytest.raises(KeyboardInterrupt), LocalExecutor(2) as executor:
            publish_build(build, place, force=False, executor=executor, progress=Impatient())
        assert RemoteStore(place).look(MANIFEST_NAME) is None
        assert any(RemoteStore(place).look(name.removeprefix("48h/")) for name in shard_names(build))
        with open_cluster("local:2") as cluster:
            assert publish_build(build, place, force=False, executor=cluster, progress=SILENT) == total - 3
        assert verify_build(place, progress=SILENT) == []
        for name in ("index.npy", *(name.removeprefix("48h/") for name in shard_names(build))):
            assert RemoteStore(place).read(name) == (build / name).read_bytes()

    @pytest.mark.slow
    def test_another_build_there_is_kept_unless_forced(self, build: Path, bucket: str, tmp_path: Path) -> None:
        place, other = self.place(bucket, tmp_path), make_build(tmp_path / "other", seed=4)
        publish_build(build, place, force=False, progress=SILENT)
        publish_build(other, place, force=True, progress=SILENT)
        with pytest.raises(ConflictError, match="another build: other"):
            publish_build(build, place, force=False, progress=SILENT)
        assert hash_epoch(place) == hash_epoch(other)
        # The shards have the names and the sizes of those that were copied there first, but are others.
        publish_build(build, place, force=True, progress=SILENT)
        assert hash_epoch(place) == hash_epoch(build)

    @pytest.mark.slow
    def test_a_damaged_manifest_there_is_replaced_when_forced(self, build: Path, bucket: str, tmp_path: Path) -> None:
        place = self.place(bucket, tmp_path)
        RemoteStore(place).write(MANIFEST_NAME, b"garbage")
        with pytest.raises(DamageError, match="build again and pass `force`"):
            publish_build(build, place, force=False, progress=SILENT)
        publish_build(build, place, force=True, progress=SILENT)
        assert verify_build(place, progress=SILENT) == []

    @pytest.mark.slow
    @pytest.mark.parametrize("why", ["no credentials", "no such name"])
    def test_what_stays_the_same_is_not_asked_again(
        self, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
    ) -> None:
        if why == "no credentials":
            monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            monkeypatch.setenv("HOME", str(tmp_path))
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.delenv(name)
        url = f"{bucket}/x" if why == "no credentials" else "s3://No_Such_!!/x"
        with pytest.raises(StorageError, match="at the first try"):
            load_builds(parse_place(url, cache=self.place(bucket, tmp_path).cache))

    @pytest.mark.slow
    def test_damage_there_is_found_by_verify(self, build: Path, bucket: str, tmp_path: Path) -> None:
        place = self.place(bucket, tmp_path)
        publish_build(build, place, force=False, progress=SILENT)
        name = shard_names(build)[0].removeprefix("48h/")
        data = bytearray((build / name).read_bytes())
        data[3000] ^= 1
        RemoteStore(place).write(name, bytes(data))
        (problem,) = verify_build(place, progress=SILENT)
        assert str(problem).startswith(f"{place}/{name}: expected")

    @pytest.mark.slow
    def test_commands_take_urls(self, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        make_data(tmp_path / "data")
        command = ("build", "--horizon", "48h", "--workers", "1", "--out", f"{bucket}/x")
        assert f"{bucket}/x/48h: the same, 12 shards copied" in run(*command, cwd=tmp_path).stdout
        assert f"{bucket}/x/48h: the same, 0 shards copied" in run(*command, cwd=tmp_path).stdout
        assert run("verify", f"{bucket}/x").stdout == f"{bucket}/x/48h: intact\n"
        there, here = (
            json.loads(run("info", place, "--json", cwd=tmp_path).stdout)[0] for place in (f"{bucket}/x", "shards")
        )
        assert there.pop("build") == f"{bucket}/x/48h"
        assert here.pop("build") == "shards/48h"
        assert there == here
        urls = run("info", f"{bucket}/x", "--urls", "--variant", "base", "--fold", "0", "--stage", "test").stdout
        assert urls == f"{bucket}/x/48h/Test/M48-Test-base-00000.tar\n"
        run("show", "--shards", f"{bucket}/x", "--out", "sheet.png", cwd=tmp_path)
        assert (tmp_path / "sheet.png").is_file()
        said = error_of(*command, "--codec", "npy", "--stage", "else", cwd=tmp_path)
        assert "codec jpg there, npy now" in said
        assert not (tmp_path / "else").exists()  # known before anything was made

    @pytest.mark.slow
    def test_a_bucket_that_is_not_there_is_known_before_anything_is_built(self, bucket: str, tmp_path: Path) -> None:
        make_data(tmp_path / "data")
        said = error_of("build", "--horizon", "48h", "--out", f"{bucket}-misspelt/x", cwd=tmp_path)
        assert said.startswith(f"error: {bucket}-misspelt/x/48h/")
        assert "expected a bucket or folder that can be written to" in said
        assert not (tmp_path / "shards").exists()

    @pytest.mark.slow
    def test_an_index_that_was_replaced_is_not_copied(self, build: Path, bucket: str, tmp_path: Path) -> None:
        copy = shutil.copytree(build, tmp_path / "copy")
        index = copy / "index.npy"
        index.write_bytes(index.read_bytes()[:-1] + b"?")
        place = self.place(bucket, tmp_path)
        with pytest.raises(DamageError, match=r"index.npy: expected \d+ bytes with SHA-256"):
            publish_build(copy, place, force=False, progress=SILENT)
        assert RemoteStore(place).look(MANIFEST_NAME) is None

    def test_http_cannot_be_written_to(self, build: Path, server: FolderServer, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="which can only be read"):
            publish_build(build, remote(server, tmp_path), force=False, progress=SILENT)
