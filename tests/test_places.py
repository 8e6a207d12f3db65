"""Places that are shared with other users, on file systems that lack something, or that the system refuses to read."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from sffshards.base import output_checks
from sffshards.base.atomic_files import read_exactly, write_atomic
from sffshards.base.errors import StorageError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.json_records import read_own_json
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.task import M48
from sffshards.fetch.http_transfer import Source
from sffshards.fetch.verified_download import download
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.labels.data_layout import find_data
from sffshards.models.model_weights import read_checkpoint
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.build_verification import verify_build, verify_build_deep
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.read.build_reader import open_build
from sffshards.shards.read.places import CacheOptions, RemoteFolder
from sffshards.shards.read.shard_cache import ShardCache
from sffshards.training.fold_training import train_fold
from tests.commands import call, run
from tests.servers import serve_folder
from tests.tiny import digest_tree
from tests.training_data import FastNetwork, Listener, fast_options, make_build

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
REFUSALS = (errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM, errno.EMFILE)
CPU = Inference(batch_size=8, num_threads=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the build of `make_build`."""
    folder = tmp_path_factory.mktemp("whole")
    make_build(folder)
    return folder


def use_fast_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("training.fold_training", "forecasting.runs.network_prediction"):
        monkeypatch.setattr(f"sffshards.{module}.build_model", lambda *_, **__: FastNetwork())


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fast_network(monkeypatch)


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def unlike(folder: Path, umask: int) -> dict[str, str]:
    """Give the files and folders whose permissions are not all that the umask leaves."""
    found = {}
    for path in folder.rglob("*"):
        mode, full = stat.S_IMODE(path.lstat().st_mode) & 0o777, 0o777 if path.is_dir() else 0o666
        if mode != full & ~umask:
            found[str(path.relative_to(folder))] = oct(mode)
    return found


class TestPermissions:
    @pytest.mark.slow
    @pytest.mark.parametrize("umask", [0o002, 0o027], indirect=True, ids=["002", "027"])
    @pytest.mark.usefixtures("_fast")
    def test_everything_that_is_written_has_the_permissions_that_the_umask_leaves(
        self, tmp_path: Path, umask: int
    ) -> None:
        shards = make_build(tmp_path / "made")
        of_run = tmp_path / "runs" / "base"
        for logger in ("csv", "tensorboard"):
            options = fast_options(max_epochs=1, logger=logger)
            train_fold(shards, of_run / "fold0", options, fold=0, force=logger == "tensorboard", progress=SILENT)
        evaluate_run(of_run, shards, folds=None, inference=CPU, force=False, progress=SILENT)
        with serve_folder(shards) as server:
            cache = CacheOptions(folder=tmp_path / "cache", limit_bytes=10**9)
            with open_build(RemoteFolder(server.url, cache)) as build:
                build.read_clip(0)
            source = Source(f"{server.url}/manifest.json", "a manifest", "copy it", 10**6)
            download(source, tmp_path / "fetched" / "file", progress=SILENT)
        names = {path.name for path in tmp_path.rglob("*")}
        assert {"manifest.json", "index.npy", "frames.csv", "last.ckpt", "scores.csv", ".lock"} <= names
        assert any(name.startswith("frames-") for name in names)
        assert unlike(tmp_path, umask) == {}

    @pytest.mark.long
    @pytest.mark.parametrize("umask", [0o002], indirect=True, ids=["002"])
    def test_so_it_is_for_what_the_commands_write(self, tmp_path: Path, umask: int) -> None:
        train = "train --shards shards/48h --model mvit_tiny --weights none --fold 0 --epochs 1 --out runs"
        for command in (
            "synth data --harps 2 --frames 3",
            "build data --horizon 48h --out shards --shard-size 1",
            train,
            "evaluate runs --shards shards/48h",
            "report runs --out report --shards shards/48h",
            "sequences data/M48/flare_Mclass_48h_Test.txt --out sequences",
        ):
            run(*command.split(), cwd=tmp_path)
        assert (tmp_path / "report" / "index.html").is_file()
        assert unlike(tmp_path, umask) == {}

    def test_a_lock_of_another_user_that_may_only_be_read_can_be_held(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".lock").touch()
        really_open = os.open

        def refuse_writing(path: object, flags: int, *args: object, **how: object) -> int:
            if str(path).endswith(".lock") and flags & os.O_ACCMODE != os.O_RDONLY:
                raise PermissionError(errno.EACCES, "no", str(path))
            return really_open(path, flags, *args, **how)  # type: ignore[arg-type]  # as it was called

        monkeypatch.setattr(os, "open", refuse_writing)
        with (
            folder_lock(tmp_path, progress=SILENT, wait=False),
            (tmp_path / ".lock").open() as other,
            pytest.raises(BlockingIOError),
        ):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def user(number: int) -> Iterator[None]:
    """Be another user of group 23456 while the block runs."""
    os.setgroups([])
    os.setresgid(23456, 23456, 0)
    os.setresuid(number, number, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def work_as_two(folder: Path) -> dict[str, object]:
    """Work in a folder as two users in turn; give what they saw."""
    os.umask(0o002)
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_fast_network(monkeypatch)
        make_and_train(folder / "root")  # imports everything: other users may be unable to read this Python
        shutil.rmtree(folder / "root")
        return _work_as_two(folder)


def _work_as_two(folder: Path) -> dict[str, object]:
    seen: dict[str, object] = {}
    first, second, listener = partial(user, 34567), partial(user, 34568), Listener()
    with first():
        shards, fold = make_build(folder / "made"), folder / "runs" / "fold0"
        tar = next(shards.rglob("*.tar"))
        whole_bytes = tar.read_bytes()
        tar.write_bytes(whole_bytes[:-512])
    with second():
        make_again(folder / "made")
        seen["repaired by"] = tar.stat().st_uid if tar.read_bytes() == whole_bytes else None
        seen["problems"] = verify_build(shards)
    with first():
        train_fold(shards, fold, fast_options(max_epochs=1), fold=0, force=False, progress=SILENT)
    with second():
        train_fold(shards, fold, fast_options(max_epochs=2), fold=0, force=False, progress=listener)
        evaluate_run(fold.parent, shards, folds=None, inference=CPU, force=False, progress=SILENT)
    with first():
        evaluate_run(fold.parent, shards, folds=None, inference=CPU, force=True, progress=SILENT)
    seen["notes"] = listener.notes
    seen["fetched"] = []
    for who, letters in ((first, "ab"), (second, "abc"), (first, "cb")):
        with who():
            seen["fetched"].append(fetch_letters(folder / "cache", letters))  # type: ignore[attr-defined]  # a list
    return seen


def fetch_letters(folder: Path, letters: str) -> str:
    """Open files of 100 bytes in a cache that has room for two; give those that were fetched."""
    cache, fetched = ShardCache(CacheOptions(folder=folder, limit_bytes=250)), []
    for letter in letters:
        data = letter.encode() * 100

        def fetch(descriptor: int, data: bytes = data) -> None:
            fetched.append(data[:1].decode())
            os.pwrite(descriptor, data, 0)

        sha256 = hashlib.sha256(data).hexdigest()
        descriptor = cache.open(sha256, 100, fetch=fetch, close_idle=lambda **_: False)
        assert os.pread(descriptor, 200, 0) == data
        os.close(descriptor)
    return "".join(fetched)


@pytest.mark.long
@pytest.mark.skipif(os.getuid() != 0, reason="only root can work as two users")
def test_a_second_user_of_the_group_goes_on_with_what_the_first_began() -> None:
    folder = Path(tempfile.mkdtemp(prefix="sffshards-shared-"))  # pytest's own can be entered by one user only
    try:
        os.chown(folder, 0, 23456)
        folder.chmod(0o2775)
        seen = call(work_as_two, folder)
        assert seen["repaired by"] == 34568
        assert seen["problems"] == []
        assert any("resuming from last.ckpt" in note for note in seen["notes"])
        assert seen["fetched"][:2] == ["ab", "c"]  # a file of the first user made room
        assert {path.stat().st_uid for path in folder.rglob("*")} == {34567, 34568}
        assert {path.stat().st_gid for path in folder.rglob("*")} == {23456}
        assert unlike(folder, 0o002) == {}
    finally:
        shutil.rmtree(folder)


def refuse(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def refuse_folders(number: int, *, when_opened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let folders be opened, or synced, with an error only."""
    really_sync, really_open = os.fsync, os.open

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            refuse(number)()
        really_sync(descriptor)

    def open_(path: object, *args: object, **how: object) -> int:
        if how.get("dir_fd") is None and Path(str(path)).is_dir() and sys._getframe(1).f_code.co_name == "_sync_path":
            refuse(number)()
        return really_open(path, *args, **how)  # type: ignore[arg-type]  # as it was called

    if when_opened:
        monkeypatch.setattr(os, "open", open_)
    else:
        monkeypatch.setattr(os, "fsync", sync)


def make_and_train(folder: Path, progress: Progress = SILENT) -> dict[str, str]:
    """Build, verify, train and evaluate; give the checksums of what matters."""
    shards = make_build(folder)
    assert verify_build(shards) == []
    train_fold(shards, folder / "run" / "fold0", fast_options(max_epochs=1), fold=0, force=False, progress=progress)
    evaluate_run(folder / "run", shards, folds=None, inference=CPU, force=False, progress=progress)
    digests = digest_tree(folder)
    kept = ("index.npy", "manifest.json", ".tar", "test.csv", "last.ckpt")
    return {name: digest for name, digest in digests.items() if name.endswith(kept) and "data" not in name}


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_fast_network(monkeypatch)
        made = make_and_train(tmp_path_factory.mktemp("usual"))
    assert len(made) > 10
    return made


MISSING: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    **{
        f"fsync of a folder, {errno.errorcode[number]}": partial(
            lambda number, m: refuse_folders(number, when_opened=False, monkeypatch=m), number
        )
        for number in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)
    },
    "a folder cannot be opened": lambda m: refuse_folders(errno.EACCES, when_opened=True, monkeypatch=m),
    "fsync": lambda m: m.setattr(os, "fsync", refuse(errno.ENOSYS)),
    **{
        f"posix_fallocate, {errno.errorcode[number]}": partial(
            lambda number, m: m.setattr(os, "posix_fallocate", refuse(number)), number
        )
        for number in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
    },
    "mmap, ENODEV": lambda m: m.setattr("mmap.mmap", refuse(errno.ENODEV)),
    "mmap, EINVAL": lambda m: m.setattr("mmap.mmap", refuse(errno.EINVAL)),
    "flock": lambda m: m.setattr(fcntl, "flock", refuse(errno.ENOLCK)),
    "utime": lambda m: m.setattr(os, "utime", refuse(errno.EPERM)),
    "statvfs": lambda m: m.setattr(shutil, "disk_usage", refuse(errno.ENOSYS)),
}


def miss_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for change in list(MISSING.values()):
        if change is not miss_all:
            change(monkeypatch)


MISSING["all of them"] = miss_all


class TestMissingCalls:
    @pytest.mark.slow
    @pytest.mark.parametrize("missing", MISSING)
    @pytest.mark.usefixtures("_fast")
    def test_the_work_goes_on_and_has_the_same_bytes(
        self, tmp_path: Path, usual: dict[str, str], monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        MISSING[missing](monkeypatch)
        assert make_and_train(tmp_path) == usual

    @pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
    def test_a_lock_that_cannot_be_held_is_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        monkeypatch.setattr(fcntl, "flock", refuse(number))
        listener = Listener()
        with folder_lock(tmp_path, progress=listener, wait=False):
            pass
        assert listener.notes == [
            f"{tmp_path}: this file system has no locks; make sure that no other command writes there at the same time"
        ]

    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
    def test_a_disk_that_fails_is_no_missing_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        refuse_folders(number, when_opened=False, monkeypatch=monkeypatch)
        with pytest.raises(StorageError, match=os.strerror(number).lower()):
            write_atomic(tmp_path / "file", b"data")
        monkeypatch.setattr(os, "posix_fallocate", refuse(number))
        with pytest.raises(StorageError, match=os.strerror(number).lower()):
            make_build(tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
    def test_a_cache_without_locks_keeps_its_size_and_reports_them(
        self, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        monkeypatch.setattr(fcntl, "flock", refuse(number))
        monkeypatch.setattr("sffshards.shards.read.shard_cache._EXPLAINED", set())  # an earlier test's folder, perhaps
        local = whole / "shards" / "48h"
        largest = max(path.stat().st_size for path in local.rglob("*.tar"))
        cache = CacheOptions(folder=tmp_path / "cache", limit_bytes=3 * largest)
        listener = Listener()
        with (
            serve_folder(local) as server,
            open_build(local) as same,
            open_build(RemoteFolder(server.url, cache)) as build,
        ):
            build.check_shards(np.arange(len(build)), progress=listener)
            for row in range(0, len(build), 5):
                assert (build.read_clip(row) == same.read_clip(row)).all()
                assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= cache.limit_bytes
        assert len(listener.notes) == 1
        assert listener.notes[0].startswith(f"{cache.folder}: this file system has no locks")
        assert all(len(path.name) == 64 or path.name == ".lock" for path in cache.folder.iterdir())

    def test_without_locks_two_fetches_of_a_file_do_not_disturb_each_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
        data = b"a" * 100
        sha256 = hashlib.sha256(data).hexdigest()
        caches = [ShardCache(CacheOptions(folder=tmp_path, limit_bytes=1000)) for _ in range(2)]

        def keep(*, in_need: bool) -> bool:
            return False

        def fetch_all(descriptor: int) -> None:
            os.pwrite(descriptor, data, 0)

        def fetch(descriptor: int) -> None:
            os.pwrite(descriptor, data[:50], 0)
            other = caches[1].open(sha256, 100, fetch=fetch_all, close_idle=keep)
            assert os.pread(other, 200, 0) == data
            os.close(other)
            os.pwrite(descriptor, data[50:], 50)

        descriptor = caches[0].open(sha256, 100, fetch=fetch, close_idle=keep)
        assert os.pread(descriptor, 200, 0) == data
        os.close(descriptor)
        assert {path.name for path in tmp_path.iterdir()} == {sha256, ".lock"}

    def test_free_space_that_is_not_known_is_no_full_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 0))
        output_checks.check_room(tmp_path, 10**12)

    @pytest.mark.slow
    def test_a_short_read_is_no_damage(self, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        really_read = os.preadv

        def read_few(descriptor: int, buffers: list[bytearray], offset: int) -> int:
            return really_read(descriptor, [memoryview(next(filter(len, buffers)))[:1000]], offset)

        monkeypatch.setattr(os, "preadv", read_few)
        data = bytearray(100_000)
        (segment,) = (whole / "frames").glob("*.npy")
        with segment.open("rb") as file:
            assert read_exactly(file.fileno(), [data], 5) == 100_000
        assert data == segment.read_bytes()[5:100_005]
        layout = find_data(whole / "data")
        assert verify_build_deep(whole / "shards" / "48h", layout) == []


class TestRefusals:
    @pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
    @pytest.mark.parametrize("name", [".tar", "index.npy", "manifest.json", "README.md"])
    @pytest.mark.parametrize("call", ["open", "stat"])
    def test_verify_calls_a_refusal_what_it_is(
        self, whole: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str, call: str
    ) -> None:
        really = getattr(os, call)

        def refusing(path: object, *args: object, **how: object) -> object:
            if str(path).endswith(name) and "48h" in str(path):
                raise OSError(number, os.strerror(number), str(path))
            return really(path, *args, **how)

        monkeypatch.setattr(os, call, refusing)
        try:
            problems = verify_build(whole / "shards" / "48h")
        except StorageError as error:
            problems = [error]
        assert problems
        for problem in problems:
            assert isinstance(problem, StorageError)
            assert problem.found == os.strerror(number).lower()
            assert name in problem.where
            assert "build again" not in problem.fix

    def test_a_finished_build_that_cannot_be_read_is_not_written_again(
        self, whole: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = digest_tree(whole / "shards")
        monkeypatch.setattr("sffshards.shards.format.shard_index._map_rows", refuse(errno.EIO))
        with pytest.raises(StorageError, match="input/output error"):
            make_again(whole)
        monkeypatch.undo()
        assert {name: before[name] for name in before} == digest_tree(whole / "shards")

    def test_a_record_that_cannot_be_read_is_not_taken_for_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "record.json").write_text("{}")
        assert read_own_json(tmp_path / "record.json") == {}
        assert read_own_json(tmp_path / "none.json") is None
        monkeypatch.setattr(os, "open", refuse(errno.EIO))
        with pytest.raises(StorageError, match="input/output error"):
            read_own_json(tmp_path / "record.json")

    def test_a_checkpoint_that_cannot_be_read_is_not_called_cut_off(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        torch.save({"a": torch.zeros(3)}, tmp_path / "weights.pt")
        monkeypatch.setattr("zipfile.ZipFile.testzip", refuse(errno.ESTALE))
        with pytest.raises(StorageError, match="stale file handle; run the command again: the file was moved or repl"):
            read_checkpoint(tmp_path / "weights.pt")


def make_again(folder: Path) -> None:
    options = BuildOptions(task=M48, codec=CodecName.NPY, seed=0, shard_size_bytes=1 << 23, skip_bad_images=False)
    build_shards(find_data(folder / "data"), options, out=folder / "shards" / "48h", store_folder=folder / "frames")
