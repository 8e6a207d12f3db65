"""Files that appear whole or not at all, and what is never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sffshards.base.atomic_files import check_replaceable, write_atomic, write_files
from sffshards.base.errors import ConflictError, StorageError
from sffshards.base.file_hashes import hash_file
from sffshards.base.file_reading import read_bytes
from sffshards.base.json_records import read_own_json
from sffshards.base.output_checks import check_document, check_writable


@pytest.mark.parametrize("write", [write_atomic, lambda path, data: write_files({path: data}, force=True)])
def test_a_pipe_or_a_folder_is_not_replaced(tmp_path: Path, write) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        StorageError, match="pipe: expected a file, or none yet, found a device or a pipe; name another"
    ):
        write(tmp_path / "pipe", b"data")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder: expected a file, or none yet, found a folder"):
        write(tmp_path / "folder", b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_files_of_other_content_are_replaced_by_force_only_and_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    contents = {tmp_path / "new": b"new", tmp_path / "theirs": b"ours"}
    with pytest.raises(ConflictError, match="theirs: expected no such file, or the same, found one of other content"):
        write_files(contents, force=False)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    write_files(contents, force=True)
    assert [path.read_bytes() for path in contents] == [b"new", b"ours"]
    assert check_replaceable(contents, force=False) == {}


def test_a_links_target_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_files({tmp_path / "link": b"new"}, force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_folder_that_cannot_be_written_to_is_found_beforehand_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    for place in (tmp_path / "file", tmp_path / "file" / "deep" / "folder"):
        with pytest.raises(StorageError, match=f"{place}: expected a folder that can be written, found not a"):
            check_writable(place)
    check_writable(tmp_path)
    check_writable(tmp_path / "new" / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_document_of_another_origin_is_refused_before_the_work_on_it(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    origin = {"seed": 1, "files": [{"file": "a.csv", "sha256": "00"}]}
    check_document(path, origin, force=False)
    assert not path.exists()
    path.write_text('{"made_from": {"seed": 1, "files": [{"file": "a.csv", "sha256": "00"}]}, "more": 2}')
    check_document(path, origin, force=False)
    for text, found in (
        ('{"made_from": {"seed": 2, "files": []}}', "one of other seed and files"),
        ('{"made_from": 7}', "another document"),
        ("[1", "another document"),
    ):
        path.write_text(text)
        with pytest.raises(ConflictError, match=f"scores.json: expected no such file, or one made .*, found {found}"):
            check_document(path, origin, force=False)
        check_document(path, origin, force=True)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="found a folder"):
        check_document(path, origin, force=True)


def test_what_a_killed_process_left_an_hour_ago_is_removed_when_the_file_is_written_again(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".list.txt.77.tmp", ".list.txt.78.tmp", ".thesis.txt.77.tmp"))
    for path in (old, young, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (1e9, 1e9))
    write_atomic(tmp_path / "list.txt", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"list.txt", young.name, other.name}


@pytest.mark.parametrize("read", [read_bytes, hash_file])
def test_a_pipe_or_a_device_is_not_read(tmp_path: Path, read) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(StorageError, match=f"{path}: expected a file that can be read, found a device or a pipe"):
            read(path)
    assert read_own_json(tmp_path / "pipe") is None


def test_a_file_of_many_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 40_000_000_000)
    with pytest.raises(StorageError, match="sparse: expected at most 536,870,912 bytes, found 40,000,000,000; check"):
        read_bytes(tmp_path / "sparse")
    with pytest.raises(ConflictError, match="found one of other content"):
        write_files({tmp_path / "sparse": b"data"}, force=False)
