"""Files that appear whole or not at all, and what is never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sffshards.base.atomic_files import check_replaceable, write_atomic, write_files
from sffshards.base.errors import ConflictError, StorageError


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
