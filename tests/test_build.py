"""Building: the same bytes whatever happens on the way, and clear words where it cannot go on."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sffshards.base.errors import ConflictError, DamageError, ImageError, InputError, SffshardsError, StorageError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import SILENT
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.sample_sets import Kind
from sffshards.domain.task import M24, M48
from sffshards.executors.executor import Executor
from sffshards.executors.local_executor import LocalExecutor
from sffshards.executors.worker_checks import MARK_PREFIX
from sffshards.forecasting.baselines.baseline_samples import read_samples
from sffshards.labels.data_layout import find_data
from sffshards.shards.build import build_folder, shard_writer
from sffshards.shards.build import encoded_frames as encoded
from sffshards.shards.build.build_parts import BuildPart, build_part
from sffshards.shards.build.build_preparation import estimate_build
from sffshards.shards.build.build_verification import verify_build, verify_build_deep
from sffshards.shards.build.shard_writer import HashedStream
from sffshards.shards.format import jpeg_splice as strip
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.read.build_reader import open_build
from sffshards.shards.read.manifest_reading import read_manifest
from sffshards.synth.synthetic_dataset import synthesize
from tests.test_shards import build, options
from tests.tiny import digest_tree, draw_image, frame_name, make_data
from tests.training_data import Listener


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data", harps_per_part=2, frames_per_harp=4)


@pytest.fixture
def reference(data, tmp_path):
    """The bytes of an unbroken build in one process."""
    build(data, tmp_path / "reference" / "48h")
    return digest_tree(tmp_path / "reference" / "48h")


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_workers_or_the_place(data, reference, tmp_path):
    moved = shutil.copytree(data, tmp_path / "other" / "moved")
    with LocalExecutor(2) as executor:
        report = build(moved, tmp_path / "b" / "48h", executor=executor)
    assert digest_tree(tmp_path / "b" / "48h") == reference
    tars = {"TrainVal0/M48-TrainVal0-base-00000.tar", "Test/M48-Test-over-00000.tar"}
    assert {"manifest.json", "index.npy", "README.md", *tars} <= set(reference)
    assert (report.num_decoded, report.num_written, report.num_kept) == (48, 12, 0)


def test_no_machine_path_and_no_time_stands_in_a_build(data, reference, tmp_path):
    for path in (tmp_path / "reference" / "48h").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content
            assert str(time.gmtime().tm_year).encode() + b"-" not in content


@pytest.mark.slow
def test_both_horizons_use_the_same_frames(data, tmp_path):
    assert build(data, tmp_path / "out" / "24h", options(task=M24)).num_decoded == 48
    assert build(data, tmp_path / "out" / "48h").num_decoded == 0


def test_an_image_is_opened_for_decoding_once_in_a_build(data, tmp_path, monkeypatch):
    from sffshards.images import image_files as image
    from sffshards.images import store_filling as fill

    seen = []

    def decode(data, *, where):
        seen.append(where)
        return image.decode_image(data, where=where)

    monkeypatch.setattr(fill, "decode_image", decode)
    build(data, tmp_path / "out" / "48h")
    assert len(seen) == len(set(seen)) == 48


def test_a_frame_is_encoded_once_in_each_view_that_is_shown(data, tmp_path, monkeypatch):
    seen = []

    def encode(frames):
        shown = list(frames)
        seen.extend(shown)
        return strip.encode_frames(shown)

    monkeypatch.setattr(encoded, "encode_frames", encode)
    build(data, tmp_path / "out" / "48h")
    with open_build(tmp_path / "out" / "48h") as built:
        samples = [built.read_meta(row) for row in range(len(built))]
    shown = {(frame, sample.view) for sample in samples for frame in sample.frames}
    assert len(samples) == 48 + 5 * 18
    assert len(seen) == len(shown)
    assert not (tmp_path / "out" / "48h" / ".build").exists()


@pytest.mark.slow
@pytest.mark.parametrize("num_shards", [0, 5])
def test_encoded_frames_are_removed_when_a_build_breaks_off_and_made_anew(
    data, tmp_path, reference, monkeypatch, num_shards
):
    folder, join = tmp_path / "out" / "48h", strip.join_pieces

    def fail_later(pieces):
        if len(list(folder.glob("*/*.tar"))) >= num_shards:
            raise KeyboardInterrupt
        return join(pieces)

    monkeypatch.setattr(shard_writer, "join_pieces", fail_later)
    with pytest.raises(KeyboardInterrupt):
        build(data, folder)
    assert not (folder / ".build" / "encoded").exists()
    monkeypatch.undo()
    assert build(data, folder).num_kept == num_shards
    assert digest_tree(folder) == reference


@pytest.mark.slow
@pytest.mark.parametrize("num_a_file", [1, 5])
def test_how_encoded_frames_are_parted_into_files_changes_no_byte(data, tmp_path, reference, monkeypatch, num_a_file):
    monkeypatch.setattr(encoded, "_MIN_PER_FILE", num_a_file)
    monkeypatch.setattr(encoded, "_MAX_FILES", 1000)
    build(data, tmp_path / "out" / "48h")
    assert digest_tree(tmp_path / "out" / "48h") == reference


def test_encoded_frames_that_changed_on_the_disk_are_not_written(data, tmp_path, monkeypatch):
    opens = encoded._open_files._opens

    def damage(folder):
        content = bytearray((folder / "000.bin").read_bytes())
        content[100] ^= 1
        (folder / "000.bin").write_bytes(content)
        return opens(folder)

    monkeypatch.setattr(encoded._open_files, "_opens", damage)
    with pytest.raises(DamageError, match=r"000\.bin: expected checksum [0-9a-f]{16} at byte 0, found other bytes"):
        build(data, tmp_path / "out" / "48h")


@pytest.mark.slow
def test_running_again_checks_and_writes_nothing(data, reference, tmp_path):
    folder = tmp_path / "reference" / "48h"
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")}
    report = build(data, folder)
    assert (report.num_written, report.num_kept) == (0, 12)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")} == times
    assert digest_tree(folder) == reference


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "stray"])
def test_a_damaged_shard_is_found_and_written_anew(data, reference, tmp_path, damage):
    folder = tmp_path / "reference" / "48h"
    shard = folder / "TrainVal1" / "M48-TrainVal1-base-00000.tar"
    content = shard.read_bytes()
    if damage == "flip":
        shard.write_bytes(content[:5000] + bytes([content[5000] ^ 4]) + content[5001:])
    elif damage == "cut":
        # At a member's border, where the shard reads as a shorter whole one.
        shard.write_bytes(content[: 512 * (len(content) // 1024)])
    elif damage == "missing":
        shard.unlink()
    else:
        shutil.copy(shard, shard.with_name("M48-TrainVal1-base-00007.tar"))
    problems = verify_build(folder, progress=SILENT)
    assert len(problems) == 1
    assert str(shard.parent) in str(problems[0])
    assert build(data, folder).num_written == (0 if damage == "stray" else 1)
    assert digest_tree(folder) == reference
    assert verify_build(folder, progress=SILENT) == []


@pytest.mark.slow
def test_deep_verification_finds_other_pixels_and_other_labels(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    layout = find_data(data)
    assert verify_build_deep(folder, layout, progress=SILENT) == []
    images = data / "magnetogram_jpg"
    first, second = (images / f"{frame_name(500, n)}.fits.jpg" for n in (2, 3))
    second.write_bytes(first.read_bytes())  # the frame before, 96 minutes earlier
    problems = verify_build_deep(folder, layout, progress=SILENT)
    assert len(problems) == 1
    assert "expected the pixels of the source images" in str(problems[0])
    labels = data / "M48" / "flare_Mclass_48h_TrainVal0.txt"
    labels.write_text(labels.read_text().replace(" 0", " 1", 1))
    problems = verify_build_deep(folder, layout, progress=SILENT)
    assert any("expected samples of the lists" in str(problem) for problem in problems)


KILLED_WHEN = {
    "frames are being decoded": lambda folder: any((folder / "frames").glob("*.npy")),
    "frames are recorded": lambda folder: (folder / "frames" / "frames.csv").exists(),
    "the first shard is being written": lambda folder: any(folder.glob("48h/*/.*.tmp")),
    "the first shard is there": lambda folder: any(folder.glob("48h/*/*.tar")),
    "five shards are there": lambda folder: len(list(folder.glob("48h/*/*.tar"))) >= 5,
    "another one is being written": lambda folder: any(folder.glob("48h/*/.*.tmp")),
    "ten shards are there": lambda folder: len(list(folder.glob("48h/*/*.tar"))) >= 10,
    "the index is there": lambda folder: (folder / "48h" / "index.npy").exists(),
}


@pytest.mark.slow
def test_a_build_killed_anywhere_and_run_again_ends_with_the_same_bytes(tmp_path):
    data = make_data(tmp_path / "data", harps_per_part=2, frames_per_harp=30)
    program = [sys.executable, "-m", "sffshards", "build", str(data)]
    command = [*program, "--horizon", "48h", "--workers", "2", "--shard-size", "1", "--out"]
    assert subprocess.run([*command, tmp_path / "reference"], capture_output=True).returncode == 0
    reference = digest_tree(tmp_path / "reference" / "48h")
    assert len(reference) > 20
    folder = tmp_path / "killed"
    num_killed = 0
    for is_time in KILLED_WHEN.values():
        process = subprocess.Popen([*command, folder], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and not is_time(folder):
            time.sleep(0.001)
        num_killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        for tar in folder.glob("48h/*/*.tar"):
            # Whatever stands under a final name is whole.
            assert digest_tree(tar.parent)[tar.name] == reference[f"{tar.parent.name}/{tar.name}"]
    assert num_killed >= len(KILLED_WHEN) - 1  # the last moment is a short one
    assert subprocess.run([*command, folder], capture_output=True).returncode == 0
    assert digest_tree(folder / "48h") == reference
    # Its sequences of sixteen frames in a row are what the codec makes of the images.
    assert verify_build_deep(folder / "48h", find_data(data), progress=SILENT) == []


@pytest.mark.parametrize("moment", ["start", "run"])
def test_a_finished_build_is_left_as_it_was_when_checking_it_is_broken_off(
    data, tmp_path, reference, monkeypatch, moment
):
    folder = tmp_path / "reference" / "48h"

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalExecutor, moment, interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(data, folder)
    assert digest_tree(folder) == reference
    assert not (folder / ".build").exists()


@pytest.mark.slow
def test_leftovers_of_a_kill_are_removed_and_nothing_else(data, tmp_path, reference):
    folder = tmp_path / "out" / "48h"
    ours = [".build/.inputs.json.7.tmp", ".manifest.json.9.tmp", ".index.npy.9.tmp"]
    ours.append("TrainVal1/.M48-TrainVal1-base-00000.tar.8.tmp")
    (folder / "TrainVal1").mkdir(parents=True)
    (folder / ".build").mkdir()
    for name in ours:
        (folder / name).write_bytes(b"half")
    theirs = folder / ".notes.txt.9.tmp"
    theirs.write_bytes(b"kept")
    shutil.copy(tmp_path / "reference" / "48h" / "manifest.json", folder)  # so that the folder is known for a build's
    build(data, folder)
    assert theirs.read_bytes() == b"kept"
    theirs.unlink()
    assert digest_tree(folder) == reference


@pytest.mark.slow
def test_an_error_in_the_middle_leaves_no_short_tar(data, tmp_path, reference, monkeypatch):
    folder, written = tmp_path / "out" / "48h", HashedStream.write
    failed: list[object] = []

    def fail_at_second_shard(self, data):
        if not failed and len(list(folder.glob("*/*.tar"))) == 1 and self.size_bytes > 20_000:
            failed.append(self)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(self, data)

    monkeypatch.setattr(HashedStream, "write", fail_at_second_shard)
    with pytest.raises(StorageError, match=r"found no space left on device; free some space"):
        build(data, folder)
    tars = [path.name for path in folder.glob("*/*") if path.parent.name != ".build"]
    assert tars == ["M48-TrainVal0-base-00000.tar"]
    assert not (folder / "manifest.json").exists()
    monkeypatch.undo()
    report = build(data, folder)
    assert (report.num_kept, report.num_written) == (1, 11)
    assert digest_tree(folder) == reference


def test_a_full_disk_is_known_before_anything_is_written(data, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr("sffshards.base.output_checks.shutil.disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match="MB of free space"):
        build(data, tmp_path / "out" / "48h")
    assert not list((tmp_path / "out").rglob("*.npy"))
    assert not list((tmp_path / "out").rglob("*.tar"))


@pytest.mark.slow
def test_another_build_in_the_folder_is_refused_and_kept(data, reference, tmp_path):
    folder = tmp_path / "reference" / "48h"
    with pytest.raises(ConflictError, match="found another build: codec jpg there, npy now.*`force`"):
        build(data, folder, options(CodecName.NPY))
    with pytest.raises(ConflictError, match="seed 123 there, 5 now"):
        build(data, folder, options(seed=5))
    assert digest_tree(folder) == reference
    build(data, folder, options(CodecName.NPY), force=True)
    assert read_manifest(folder).inputs.codec is CodecName.NPY
    assert verify_build(folder, progress=SILENT) == []


def test_changed_images_or_labels_make_another_build(data, reference, tmp_path):
    folder = tmp_path / "reference" / "48h"
    path = data / "magnetogram_jpg" / f"{frame_name(100, 0)}.fits.jpg"
    Image.new("L", (60, 40), 90).save(path)
    with pytest.raises(ConflictError, match="other images_sha256"):
        build(data, folder)
    assert digest_tree(folder) == reference


def test_a_folder_of_other_files_is_never_touched(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConflictError, match=r"found other files \(thesis\.tex\)"):
            build(data, folder, force=force)
    assert os.listdir(folder) == ["thesis.tex"]


def test_a_manifest_of_something_else_does_not_make_a_folder_ours(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"name": "a web page"}')
    (folder / "README.md").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConflictError, match="found other files"):
            build(data, folder, force=force)
    assert (folder / "README.md").read_text() == "mine"


def test_a_folder_named_as_our_state_does_not_make_a_folder_ours(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    (folder / ".build").mkdir(parents=True)
    (folder / ".build" / "keep").write_text("mine")
    (folder / "README.md").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConflictError, match="found other files"):
            build(data, folder, force=force)
    (folder / "README.md").unlink()
    build(data, folder)
    assert (folder / ".build" / "keep").read_text() == "mine"


@pytest.mark.slow
def test_force_asks_for_room_before_it_clears(data, tmp_path, monkeypatch, reference):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    monkeypatch.setattr("sffshards.base.output_checks.free_bytes", lambda _: 1_000_000)
    with pytest.raises(StorageError, match=r"expected .* MB of free space, found 1\.0 MB"):
        build(data, folder, options(CodecName.NPY), force=True)
    left = {name: digest for name, digest in digest_tree(folder).items() if not name.startswith(".build")}
    assert left == reference


def test_room_is_asked_for_before_images_are_decoded(data, tmp_path, monkeypatch):
    monkeypatch.setattr("sffshards.base.output_checks.free_bytes", lambda _: 3_000_000)
    with pytest.raises(StorageError, match="MB of free space"):
        build(data, tmp_path / "out" / "48h")
    assert not list((tmp_path / "out" / "frames").glob("*.npy"))


@pytest.mark.slow
def test_force_takes_no_image_for_the_same_by_its_date(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    path = data / "magnetogram_jpg" / f"{frame_name(100, 2)}.fits.jpg"
    other = path.read_bytes()
    first = data / "magnetogram_jpg" / f"{frame_name(500, 1)}.fits.jpg"
    size = max(len(other), first.stat().st_size)
    first.write_bytes(first.read_bytes().ljust(size, b"\0"))  # bytes behind the end are allowed
    os.utime(first, ns=(5, 5))
    build(data, folder)
    first.write_bytes(other.ljust(size, b"\0"))
    os.utime(first, ns=(5, 5))
    assert len(verify_build_deep(folder, find_data(data), progress=SILENT)) > 0
    build(data, folder, force=True)
    assert verify_build_deep(folder, find_data(data), progress=SILENT) == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["manifest in other bytes", "card", "tar at the top", "index header", "index gone"])
def test_verification_finds_what_is_not_in_a_shard(data, tmp_path, damage):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    manifest, index = folder / "manifest.json", folder / "index.npy"
    if damage == "manifest in other bytes":
        manifest.write_text(manifest.read_text() + "\n")
    elif damage == "card":
        (folder / "README.md").write_text("altered")
    elif damage == "tar at the top":
        (folder / "more.tar").write_bytes(b"")
    elif damage == "index header":
        index.write_bytes(index.read_bytes()[:20] + b"\0" + index.read_bytes()[21:])
    else:
        index.unlink()
    try:
        problems = verify_build(folder, progress=SILENT)
    except DamageError as error:
        problems = [error]
    assert len(problems) == 1
    if damage.startswith("index"):
        build(data, folder)
        assert verify_build(folder, progress=SILENT) == []


@pytest.mark.slow
def test_tars_that_are_not_named_as_ours_stay(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    (folder / "Test" / "notes.tar").write_bytes(b"mine")
    build(data, folder, options(seed=5), force=True)
    assert (folder / "Test" / "notes.tar").read_bytes() == b"mine"


@pytest.mark.slow
def test_force_keeps_the_old_build_until_nothing_stands_in_the_way_of_the_new(data, tmp_path, reference):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    next((data / "magnetogram_jpg").iterdir()).rename(tmp_path / "away.jpg")
    with pytest.raises(ImageError, match="found none"):
        build(data, folder, options(seed=5), force=True)
    left = {name: digest for name, digest in digest_tree(folder).items() if not name.startswith(".build")}
    assert left == reference
    assert verify_build(folder, progress=SILENT) == []


@pytest.mark.slow
def test_a_second_build_in_one_process_shows_what_the_images_show_now(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    path = data / "magnetogram_jpg" / f"{frame_name(100, 2)}.fits.jpg"
    draw_image(999, 7).save(path)
    build(data, folder, force=True)
    assert verify_build_deep(folder, find_data(data), progress=SILENT) == []


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("sffshards.base.folder_locks.fcntl.flock", flock)
    progress = Listener()
    with folder_lock(tmp_path, progress=progress, wait=False):
        pass
    (note,) = progress.notes
    assert note.startswith(f"{tmp_path}: this file system has no locks; make sure that no other command writes there")


def test_no_room_leaves_the_build_that_is_there(data, tmp_path, monkeypatch):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    (folder / "Test" / "M48-Test-base-00000.tar").write_bytes(b"damaged")
    monkeypatch.setattr("sffshards.base.output_checks.free_bytes", lambda _: 0)
    with pytest.raises(StorageError, match=r"found 0\.0 MB"):
        build(data, folder)
    assert (folder / "manifest.json").is_file()


def test_two_builds_of_one_folder_do_not_mix(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    script = """
import sys, time
from pathlib import Path
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import SILENT
with folder_lock(Path(sys.argv[1]), progress=SILENT, wait=False):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", script, folder / ".build"], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match="found one that another sffshards command is writing to"):
            build(data, folder)
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
    # The lock went with its holder.
    with folder_lock(folder / ".build", progress=SILENT, wait=False):
        pass


BAD_IMAGES = {
    "missing": None,
    "empty": b"",
    "truncated": 400,
    "rgb": ("RGB", "JPEG"),
    "16-bit": ("I;16", "PNG"),
    "1x1": ("L", (1, 1)),
}


def spoil(path, kind):
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-60])
    elif kind == "rgb":
        Image.new("RGB", (60, 40)).save(path, "JPEG")
    elif kind == "16-bit":
        Image.fromarray(np.zeros((40, 60), np.uint16)).save(path, "PNG")
    else:
        Image.new("L", (1, 1)).save(path, "JPEG")


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(BAD_IMAGES))
def test_a_bad_image_stops_the_build_or_is_left_out_and_recorded(data, tmp_path, kind):
    name = frame_name(101, 1)
    spoil(data / "magnetogram_jpg" / f"{name}.fits.jpg", kind)
    folder = tmp_path / "out" / "48h"
    with pytest.raises(ImageError, match=name) as caught:
        build(data, folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.glob("*/*.tar"))
    report = build(data, folder, options(skip=True))
    # Frames 1, 2 and 3 of the HARP show frame 1; at 48 h these three are the positives.
    assert report.manifest.num_skipped_sequences == 3
    assert list(report.manifest.inputs.skipped_frames) == [name]
    with open_build(folder) as opened:
        assert len(opened) == 45 + 5 * 15
        assert not any(name in opened.read_meta(row).frames for row in range(len(opened)))
    assert verify_build_deep(folder, find_data(data), progress=SILENT) == []
    assert "Left out: 3 sequences with 1 image that cannot be used" in (folder / "README.md").read_text()


def test_a_build_of_nothing_usable_says_so(data, tmp_path):
    for path in (data / "magnetogram_jpg").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        InputError, match=r"expected at most 5 % of 48 images .* found 48 \(100.0 %\), such as .*an empty"
    ):
        build(data, tmp_path / "out" / "48h", options(skip=True))


@pytest.mark.slow
def test_sequences_that_were_too_short_are_counted(data, tmp_path):
    rule = WindowRule(max_gap_minutes=None, min_frames=3, on_short=OnShort.DROP)
    chosen = replace(options(), windows=rule)
    layout = find_data(data)
    assert estimate_build(layout, chosen, store_folder=tmp_path / "frames", out=tmp_path / "out").num_short == 24
    manifest = build(data, tmp_path / "out" / "48h", chosen).manifest
    assert (manifest.num_short_sequences, manifest.inputs.windows) == (24, rule)  # of 12 HARPs, the first two of four
    with open_build(tmp_path / "out" / "48h") as built:
        assert {built.read_meta(row).num_distinct for row in range(len(built))} == {3, 4}
    assert verify_build_deep(tmp_path / "out" / "48h", layout, progress=SILENT) == []
    assert build(data, tmp_path / "kept" / "48h").manifest.num_short_sequences == 48
    with pytest.raises(ConflictError, match="other windows"):
        build(data, tmp_path / "kept" / "48h", chosen)


def test_a_build_of_too_short_sequences_only_is_refused(data, tmp_path):
    rule = WindowRule(max_gap_minutes=None, min_frames=5, on_short=OnShort.DROP)
    with pytest.raises(InputError, match="`min_frames`: expected a sequence of enough frames, found none of 48"):
        build(data, tmp_path / "out" / "48h", replace(options(), windows=rule))


def test_a_list_of_test_alone_can_be_built_and_not_trained_on(data, tmp_path):
    for path in data.glob("M*/*TrainVal*.txt"):
        path.unlink()
    manifest = build(data, tmp_path / "out" / "48h").manifest
    assert {name: group.num_samples for name, group in manifest.groups.items() if group.num_samples} == {
        "Test/base": 8,
        "Test/over": 15,
    }
    assert verify_build_deep(tmp_path / "out" / "48h", find_data(data), progress=SILENT) == []
    card = (tmp_path / "out" / "48h" / "README.md").read_text()
    assert "split: test" in card
    assert "split: train" not in card
    with pytest.raises(InputError, match="expected the lists of all six parts"):
        read_samples(find_data(data).lists[M48])


def test_a_selection_of_lists_that_lost_one_is_refused(data, tmp_path):
    (data / "M48" / "flare_Mclass_48h_TrainVal3.txt").unlink()
    said = r"M48: expected the 48h lists of all six parts, or of Test alone, found no flare_Mclass_48h_TrainVal3\.txt"
    with pytest.raises(InputError, match=said):
        build(data, tmp_path / "out" / "48h")


def test_how_images_were_ingested_stands_in_the_manifest(data, tmp_path):
    record = {"format_version": 1, "options": {"scale": "linear", "clip_gauss": 800.0}, "frames": {}}
    (data / "ingest.json").write_text(json.dumps(record | {"left_out": {}, "skipped": {}}))
    built = build(data, tmp_path / "out" / "48h").manifest
    assert built.inputs.image_options == {"scale": "linear", "clip_gauss": 800.0}
    assert not built.inputs.is_synthetic


def test_what_lies_beside_the_images_and_is_not_taken_is_counted(data, tmp_path):
    folder = data / "magnetogram_jpg"
    (folder / "more").mkdir()
    for name in (f"{frame_name(9, 0)}.fits.jpg", "._a.fits.jpg", "a.jpg", "a.fits.bz2", "README"):
        (folder / name).write_bytes(b"x")
    progress = Listener()
    build(data, tmp_path / "out" / "48h", progress=progress)
    found = "1 image of another name, 1 image of no list, 1 FITS file, 1 subfolder, 1 other file"
    assert f"{folder}: {found} not taken" in progress.notes


@pytest.mark.slow
def test_near_real_time_harp_numbers_stand_in_the_manifest(data, tmp_path):
    assert build(data, tmp_path / "definitive" / "48h").manifest.inputs.harp_numbers == "definitive"
    (data / "labels.json").write_text(json.dumps({"harp_numbers": "near-real-time"}))
    built = build(data, tmp_path / "out" / "48h").manifest
    assert built.inputs.image_options == {"harp_numbers": "near-real-time"}
    assert read_manifest(tmp_path / "out" / "48h").inputs.harp_numbers == "near-real-time"


def test_a_build_of_synthetic_images_records_that_they_are(tmp_path):
    synthesize(tmp_path / "data", seed=1, num_harps=2, frames_per_harp=2)
    built = build(tmp_path / "data", tmp_path / "out" / "48h").manifest
    assert built.inputs.image_options == {"source": "synthetic"}
    assert read_manifest(tmp_path / "out" / "48h").inputs.is_synthetic


@pytest.mark.slow
def test_a_dry_run_counts_what_the_build_then_makes(data, tmp_path):
    folder = tmp_path / "out" / "48h"
    estimate = estimate_build(find_data(data), options(), store_folder=tmp_path / "out" / "frames", out=folder)
    assert not (tmp_path / "out").exists()
    assert estimate.num_samples == {Kind.BASE: 48, Kind.OVER: 90}
    assert (estimate.num_images, estimate.num_new_frames, estimate.num_positive) == (48, 48, 18)
    report = build(data, folder)
    assert estimate.shard_bytes == pytest.approx(report.manifest.size_bytes, rel=0.15)
    assert estimate.store_bytes == 48 * 224 * 224


@pytest.mark.parametrize("place", ["magnetogram_jpg", "Seq_Magnetogram/magnetogram_jpg"])
@pytest.mark.parametrize("lists", ["M{}", "Seq_Magnetogram/M{}"])
def test_published_layouts_are_found(data, place, lists):
    for old, new in [("magnetogram_jpg", place), ("M24", lists.format(24)), ("M48", lists.format(48))]:
        if old != new:
            (data / new).parent.mkdir(exist_ok=True)
            (data / old).rename(data / new)
    layout = find_data(data)
    assert layout.images == data / place
    assert {task: len(paths) for task, paths in layout.lists.items()} == {M24: 6, M48: 6}


def test_folders_can_be_named_and_missing_ones_are_told(data, tmp_path):
    layout = find_data(Path("nowhere"), images=data / "magnetogram_jpg", labels=data / "M48")
    assert list(layout.lists) == [M48]
    with pytest.raises(InputError, match="expected images in magnetogram_jpg/.*found no such folder"):
        find_data(tmp_path / "absent")
    (data / "M48" / "flare_Mclass_48h_Test.txt").unlink()
    with pytest.raises(InputError, match="found no flare_Mclass_48h_Test.txt"):
        find_data(data)


def test_errors_survive_the_way_from_a_worker(data, tmp_path):
    path = data / "magnetogram_jpg" / f"{frame_name(101, 1)}.fits.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with LocalExecutor(2) as executor, pytest.raises(SffshardsError) as caught:
        build(data, tmp_path / "out" / "48h", executor=executor)
    assert isinstance(caught.value, ImageError)
    assert caught.value.where == str(path)


def is_starting(process):
    """Say whether a process has begun to start workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    return any(b"spawn_main" in command for command in commands)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at a process in /proc")
@pytest.mark.parametrize("delay", [0, 0.05, 0.2])
def test_ctrl_c_ends_a_build_in_a_line_even_while_workers_start(tmp_path, delay):
    make_data(tmp_path / "data", frames_per_harp=30)
    command = [sys.executable, "-m", "sffshards", "build", "--horizon", "48h", "--workers", "2", "--codec", "mp4"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not is_starting(process):
        time.sleep(0.001)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert not list(tmp_path.glob("shards/48h/**/.*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["stopped", "busy"])
def test_ctrl_c_is_not_held_by_a_worker_that_was_stopped_or_is_busy(monkeypatch, what):
    monkeypatch.setattr("sffshards.executors.local_executor._PATIENCE_S", 1.0)
    executor = LocalExecutor(1)
    if what == "busy":
        executor.start(functools.partial(time.sleep, 600))
    else:
        assert next(iter(executor.run(abs, [1, 1]))) == 1
    (worker,) = multiprocessing.active_children()
    if what == "stopped":
        os.kill(worker.pid or 0, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), executor:
        raise KeyboardInterrupt
    assert time.monotonic() - began < 10
    worker.join(10)
    assert not worker.is_alive()


@pytest.mark.slow
def test_force_keeps_the_old_build_until_the_new_one_is_complete(data, tmp_path, reference, monkeypatch):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    other = build(data, tmp_path / "other" / "48h", options(seed=5)).manifest
    write_shard, num_left = shard_writer.write_shard, [4]

    def break_off(task):
        num_left[0] -= 1
        if num_left[0] < 0:
            raise KeyboardInterrupt
        return write_shard(task)

    monkeypatch.setattr(shard_writer, "write_shard", break_off)
    with pytest.raises(KeyboardInterrupt):
        build(data, folder, options(seed=5), force=True)
    assert {name: of for name, of in digest_tree(folder).items() if not name.startswith(".build")} == reference
    assert verify_build(folder) == []
    with pytest.raises(ConflictError, match="found another build: seed 123 there, 9 now"):
        build(data, folder, options(seed=9))
    num_left[0] = 100
    report = build(data, folder, options(seed=5))  # without force, it resumes
    assert (report.num_kept, report.manifest) == (4, other)
    assert digest_tree(folder) == digest_tree(tmp_path / "other" / "48h")


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(1, 30, 4))
def test_a_kill_while_a_new_build_takes_the_place_of_the_old_one_is_made_good(data, tmp_path, monkeypatch, moment):
    folder = tmp_path / "out" / "48h"
    build(data, folder)
    build(data, tmp_path / "other" / "48h", options(seed=5))
    num_left = [moment]

    def count(do):
        def limited(path, *args, **kwargs):
            if f"{folder}/" in f"{path}/" and ".tmp" not in path.name:
                num_left[0] -= 1
            if num_left[0] < 0:
                raise KeyboardInterrupt
            return do(path, *args, **kwargs)

        return limited

    adopt_new = build_folder.adopt_new

    def broken_off(out):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", count(Path.replace))
            patched.setattr(Path, "unlink", count(Path.unlink))
            adopt_new(out)

    with monkeypatch.context() as patched:
        patched.setattr(build_folder, "adopt_new", broken_off)
        with contextlib.suppress(KeyboardInterrupt):
            build(data, folder, options(seed=5), force=True)
    assert build(data, folder, options(seed=5)).num_written == 0
    assert digest_tree(folder) == digest_tree(tmp_path / "other" / "48h")


@pytest.mark.slow
def test_without_room_for_two_builds_the_old_one_is_removed_first_and_that_is_said(data, tmp_path, monkeypatch):
    folder, progress = tmp_path / "out" / "48h", Listener()
    build(data, folder)
    size = sum(path.stat().st_size for path in folder.glob("*/*.tar"))
    monkeypatch.setattr("sffshards.shards.build.shard_build.free_bytes", lambda _: size // 2)
    new = build(data, folder, options(seed=5), force=True, progress=progress).manifest
    assert new.inputs.seed == 5
    assert progress.notes == [f"{folder}: no room for two builds; the old one is removed before the new one is written"]


@pytest.mark.slow
def test_parts_that_share_only_folders_give_the_same_bytes(data, reference, tmp_path):
    small = options(shard_size_bytes=200_000)
    build(data, tmp_path / "small" / "48h", small)
    out, store = tmp_path / "parts" / "48h", tmp_path / "parts" / "frames"

    def run_part(number, chosen):
        part = BuildPart(number=number, count=3)
        return build_part(find_data(data), chosen, part=part, out=out, store_folder=store)

    first = [run_part(number, small) for number in (2, 1, 2)]
    assert [report.num_decoded for report in first] == [16, 16, 0]
    assert [[str(part) for part in report.waiting] for report in first] == [["1/3", "3/3"], ["3/3"], ["3/3"]]
    stored = sorted(os.listdir(store))
    with pytest.raises(InputError, match="expected all shards written by the parts of the build, found none; run"):
        build(data, out, small, must_be_written=True)
    assert sorted(os.listdir(store)) == stored  # nothing was decoded for it
    # The last one finds all images decoded, and goes on at once.
    last = run_part(3, small)
    assert last.waiting == ()
    assert last.num_written > 0
    with pytest.raises(InputError, match=r"expected all shards written by the parts of the build, found \d+ of"):
        build(data, out, small, must_be_written=True)
    assert [run_part(number, small).num_written > 0 for number in (1, 1)] == [True, False]
    with pytest.raises(ConflictError, match="found another build: codec jpg there, npy now"):
        run_part(2, options(CodecName.NPY))
    run_part(2, small)
    report = build(data, out, small, must_be_written=True)
    assert (report.num_decoded, report.num_written) == (0, 0)
    assert digest_tree(out) == digest_tree(tmp_path / "small" / "48h")
    assert run_part(1, small).num_kept == len(report.manifest.shards)
    assert digest_tree(out) == digest_tree(tmp_path / "small" / "48h")


@pytest.mark.slow
def test_parts_agree_on_the_images_that_none_of_them_can_use(data, tmp_path):
    for frame in (frame_name(101, 1), frame_name(501, 0)):
        path = data / "magnetogram_jpg" / f"{frame}.fits.jpg"
        path.write_bytes(path.read_bytes()[:-200])
    (data / "magnetogram_jpg" / f"{frame_name(301, 2)}.fits.jpg").unlink()
    skipping = replace(options(skip=True), max_skipped_percent=20.0)
    whole = build(data, tmp_path / "whole" / "48h", skipping)
    assert len(whole.manifest.inputs.skipped_frames) == 3
    out = tmp_path / "parts" / "48h"
    for number in (1, 2, 1):
        part = BuildPart(number=number, count=2)
        build_part(find_data(data), skipping, part=part, out=out, store_folder=tmp_path / "parts" / "frames")
    build(data, out, skipping, must_be_written=True)
    assert digest_tree(out) == digest_tree(tmp_path / "whole" / "48h")


def test_a_build_may_have_more_parts_than_images(data, tmp_path):
    for number in (1, 100):
        part = BuildPart(number=number, count=100)
        report = build_part(
            find_data(data), options(), part=part, out=tmp_path / "48h", store_folder=tmp_path / "frames"
        )
        assert (report.num_decoded, len(report.waiting)) == ((0, 99) if number == 1 else (1, 98))


class Watching(Executor):
    """Computes tasks in this process, and lists the files under a folder that each task writes."""

    num_workers = 2

    def __init__(self, folder):
        self.folder, self.writers = folder, {}

    def run(self, function, tasks, *, group=1):
        for number, task in enumerate(tasks):
            before = self._look()
            result = function(task)
            for path in self._look() - before:
                self.writers.setdefault(path[0], set()).add((function.__name__, number))
            yield result

    def _look(self):
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {(str(path.relative_to(self.folder)), path.stat().st_mtime_ns, path.stat().st_size) for path in files}


@pytest.mark.slow
def test_no_two_tasks_write_the_same_file_and_none_writes_what_tasks_share(tmp_path):
    data = make_data(tmp_path / "data", harps_per_part=4, frames_per_harp=10)
    executor = Watching(tmp_path / "out")
    build(data, tmp_path / "out" / "48h", options(shard_size_bytes=1_000_000), executor=executor)
    assert all(len(tasks) == 1 for tasks in executor.writers.values())
    of_tasks: dict[tuple[str, str], set[int]] = {}
    for path, ((function, number),) in executor.writers.items():
        kind = re.sub(r"[0-9a-f]{16}|(?<=/)[0-9]{3}\b|(TrainVal[0-4]|Test).*(?=\.)", "*", path)
        of_tasks.setdefault((function, kind), set()).add(number)
    assert {what: len(numbers) for what, numbers in of_tasks.items()} == {
        ("_decode_chunk", "frames/frames-*.npy"): 4,
        ("_encode_file", "48h/.build/encoded/*/*.bin"): 4,
        ("write_shard", "48h/.build/records/*.npy"): 30,
        ("write_shard", "48h/.build/records/*.json"): 30,
        ("write_shard", "48h/*.tar"): 30,
    }
    others = set(digest_tree(tmp_path / "out")) - set(executor.writers)
    assert others == {"48h/README.md", "48h/index.npy", "48h/manifest.json", "frames/.lock", "frames/frames.csv"}


@pytest.mark.long
@pytest.mark.skipif("SFFSHARDS_NFS_MOUNTS" not in os.environ, reason="SFFSHARDS_NFS_MOUNTS names no two mounts")
def test_parts_on_two_mounts_of_a_network_file_system_give_the_same_bytes(tmp_path):
    places = [Path(mount) / tmp_path.name for mount in os.environ["SFFSHARDS_NFS_MOUNTS"].split(":")]
    data = make_data(tmp_path / "data", harps_per_part=4, frames_per_harp=10)
    shutil.copytree(data, places[0] / "data")
    command = [sys.executable, "-m", "sffshards", "build", "--horizon", "48h", "--shard-size", "1"]
    subprocess.run([*command, data, "--out", tmp_path / "local"], check=True, capture_output=True)
    try:
        for _ in range(2):  # all at the same time, and one part on both mounts
            parts = [
                subprocess.Popen([*command, place / "data", "--out", place / "out", "--part", f"{number}/3"])
                for number, place in [(1, places[0]), (2, places[1]), (3, places[0]), (3, places[1])]
            ]
            assert [part.wait() for part in parts] == [0, 0, 0, 0]
        subprocess.run([*command, places[1] / "data", "--out", places[1] / "out", "--finish"], check=True)
        assert digest_tree(places[0] / "out" / "48h") == digest_tree(tmp_path / "local" / "48h")
    finally:
        shutil.rmtree(places[0])


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "1/3/3", "-1/3"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(InputError, match=r"`part`: expected a part such as 3/16"):
        BuildPart.parse(text)


def children(process):
    """Return the worker processes that a process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            command = (path.parent / "cmdline").read_bytes()
            if int(fields[1]) == process and fields[0] != "Z" and b"spawn_main" in command:
                found.append(int(path.parent.name))
    return found


def kill_at_random(process, state, random, killed):
    """Kill workers of a build once they are at work, each after a while, and the build itself after every fifth."""
    began = time.time()
    while process.poll() is None and killed["workers"] < 20:
        time.sleep(random.uniform(0.1, 2))
        marks = [path.stat().st_mtime for path in state.glob(f"{MARK_PREFIX}*")]  # by which workers know the folder
        workers = children(process.pid) if max(marks, default=0) > began else []
        if not workers:
            continue
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(int(random.choice(workers)), signal.SIGKILL)
            killed["workers"] += 1
        if killed["workers"] // 5 > killed["coordinators"] < 3:
            time.sleep(random.uniform(0, 1))
            process.kill()
            killed["coordinators"] += process.wait() == -signal.SIGKILL


@pytest.mark.long
def test_kills_of_workers_and_of_the_coordinator_leave_the_same_bytes(tmp_path):
    data = make_data(tmp_path / "data", harps_per_part=8, frames_per_harp=20)
    command = [sys.executable, "-m", "sffshards", "build", str(data), "--horizon", "48h", "--shard-size", "1"]
    subprocess.run([*command, "--out", tmp_path / "local"], check=True, capture_output=True)
    out, log = tmp_path / "cluster" / "48h", tmp_path / "log"
    random, killed, code = np.random.default_rng(20), {"workers": 0, "coordinators": 0}, None
    deadline = time.monotonic() + 900
    while code != 0 and time.monotonic() < deadline:
        with log.open("a") as file:
            process = subprocess.Popen(
                [*command, "--out", out.parent, "--cluster", "local:2"], stdout=file, stderr=file
            )
        kill_at_random(process, out / ".build", random, killed)
        code = process.wait()
        if code == 0 and killed["workers"] < 20:  # finished too early: again from scratch
            shutil.rmtree(out.parent)
            code = None
    assert (code, killed) == (0, {"workers": 20, "coordinators": 3}), log.read_text()
    assert digest_tree(out) == digest_tree(tmp_path / "local" / "48h")
    assert "Traceback" not in log.read_text()
