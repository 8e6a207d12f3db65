"""Downloads that stall, break and lie; archives that would do harm; and JSOC as it answers, and as it fails."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sffshards.base import retries
from sffshards.base.errors import ConflictError, DamageError, InputError, SffshardsError, StorageError
from sffshards.base.progress import SILENT
from sffshards.fetch import jsoc_service as jsoc_module
from sffshards.fetch import published_files as published
from sffshards.fetch import zip_extraction as extract_module
from sffshards.fetch.dataset_archive import fetch_dataset
from sffshards.fetch.http_transfer import Source
from sffshards.fetch.jsoc_files import fetch_jsoc
from sffshards.fetch.jsoc_service import JsocQuery
from sffshards.fetch.published_files import fetch_labels, fetch_weights, weights_path
from sffshards.fetch.verified_download import download
from sffshards.fetch.zip_extraction import extract_dataset
from sffshards.labels.data_layout import find_data
from tests.commands import error_of, run
from tests.fake_jsoc import serve_jsoc
from tests.tiny import digest_tree, make_data
from tests.web import serve_files

SIZE = 1_500_000
CONTENT = np.random.default_rng(3).bytes(SIZE)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serve_files() as server:
        server.files["/file.bin"] = CONTENT
        yield server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in list(os.environ):
        if name.startswith("SFFSHARDS_") and name.endswith("_URL"):
            monkeypatch.delenv(name)


def fetch(server, path, *, checksum=f"sha256:{SHA256}", progress=SILENT, check=lambda _: None):
    source = Source(f"{server.url}/file.bin", "a file", "put it there by hand", 1 << 30, checksum)
    return download(source, path, check=check, progress=progress)


class Kill:
    """Ends a download as Ctrl-C does, after so many kilobytes."""

    def __init__(self, after_kb):
        self.left = after_kb

    @contextmanager
    def task(self, description, total, *, unit="", done=0):
        def advance(count):
            self.left -= count
            if self.left <= 0:
                raise KeyboardInterrupt

        yield advance

    def note(self, text):
        """Say nothing."""


# Downloads


def test_a_file_is_fetched_once(server, tmp_path):
    assert fetch(server, tmp_path / "file.bin") == SHA256
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert fetch(server, tmp_path / "file.bin") == SHA256
    assert len(server.requests) == 1


@pytest.mark.slow
def test_a_download_that_is_cut_at_50_random_bytes_goes_on_to_the_same_file(server, tmp_path):
    rng = random.Random(7)
    ends = sorted(rng.sample(range(1, SIZE), 50))
    server.faults.extend(("cut", end - start) for start, end in zip([0, *ends], ends, strict=False))
    assert fetch(server, tmp_path / "file.bin") == SHA256
    assert [asked for _, asked in server.requests] == [None, *(f"bytes={end}-" for end in ends)]
    assert server.num_sent == SIZE


def test_a_download_that_is_killed_at_50_random_bytes_goes_on_to_the_same_file(server, tmp_path):
    rng = random.Random(8)
    num_killed = 0
    for _ in range(50):
        try:
            fetch(server, tmp_path / "file.bin", progress=Kill(rng.uniform(1, 90)))
            break
        except KeyboardInterrupt:
            num_killed += 1
            assert not (tmp_path / "file.bin").exists()
    assert num_killed > 10
    assert fetch(server, tmp_path / "file.bin") == SHA256
    assert len([asked for _, asked in server.requests if asked]) >= num_killed - 2


@pytest.mark.slow
def test_a_command_that_is_killed_at_random_bytes_goes_on_to_the_same_archive(server, tmp_path):
    content = zip_of({f"x/magnetogram_jpg/{image_name(k)}": np.random.default_rng(k).bytes(400_000) for k in range(40)})
    server.files["/data.zip"] = content
    server.slow_s = 0.02
    command = [sys.executable, "-m", "sffshards", "fetch", "dataset", "data", "--url", f"{server.url}/data.zip"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    rng = random.Random(9)
    num_killed, before = 0, 0
    for _ in range(12):
        goal = before + rng.randrange(1, len(content) // 4)
        process = subprocess.Popen([*command, "--keep-archive"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        while process.poll() is None and server.num_sent < goal:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            num_killed += 1
        process.communicate()
        before = server.num_sent
    run("fetch", "dataset", "data", "--url", f"{server.url}/data.zip", "--keep-archive", cwd=tmp_path)
    assert num_killed >= 6
    assert (tmp_path / "data" / "data.zip").read_bytes() == content
    # What had come before a kill did not come again, but for two megabytes that no note had and what was on its way.
    assert server.num_sent < len(content) + num_killed * 5_000_000
    assert any(asked for _, asked in server.requests)


@pytest.mark.parametrize("checksum", [None, f"sha256:{SHA256}"])
def test_a_part_that_was_damaged_while_it_waited_is_fetched_again(server, tmp_path, checksum):
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path / "file.bin", checksum=checksum, progress=Kill(600))
    (part,) = tmp_path.glob(".*/file.bin.part")
    if checksum is None:  # as it is when a process was not killed but refused
        note = json.loads((part.parent / "file.bin.part.json").read_text())
        assert note["size_bytes"] <= part.stat().st_size
    data = bytearray(part.read_bytes())
    data[1000] ^= 1
    part.write_bytes(data)
    assert fetch(server, tmp_path / "file.bin", checksum=checksum) == SHA256
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_what_arrived_of_a_file_without_a_known_checksum_is_noted_as_it_grows(server, tmp_path):
    server.files["/file.bin"] = content = CONTENT * 4
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path / "file.bin", checksum=None, progress=Kill(5000))
    fetch(server, tmp_path / "file.bin", checksum=None)
    assert (tmp_path / "file.bin").read_bytes() == content
    start = int(server.requests[-1][1].removeprefix("bytes=").removesuffix("-"))
    assert 2_000_000 < start <= 5_300_000


def test_a_server_that_stalls_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "TIMEOUT_S", 0.3)
    server.faults.append(("stall", 1.0))
    assert fetch(server, tmp_path / "file.bin") == SHA256
    assert server.requests[1][1] is not None


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.faults.extend([(503, None), (429, None), (500, None)])
    assert fetch(server, tmp_path / "file.bin") == SHA256


def test_a_server_that_refuses_is_not_asked_again(server, tmp_path):
    server.faults.append((403, None))
    with pytest.raises(StorageError, match="HTTP status 403.*put it there by hand"):
        fetch(server, tmp_path / "file.bin")
    assert len(server.requests) == 1


def test_a_server_without_ranges_is_read_from_the_start(server, tmp_path):
    server.with_ranges = False
    server.faults.extend([("cut", 500_000)] * 3)
    assert fetch(server, tmp_path / "file.bin") == SHA256


def test_a_server_that_always_drops_is_given_up(server, tmp_path):
    server.with_ranges = False
    server.faults.extend([("cut", 500_000)] * 20)
    with pytest.raises(StorageError, match="closed early .in each of 8 tries"):
        fetch(server, tmp_path / "file.bin")


def test_a_web_page_is_not_taken_for_the_file(server, tmp_path):
    server.faults.append(("page", None))
    with pytest.raises(DamageError, match="a web page"):
        fetch(server, tmp_path / "file.bin", checksum=None)
    assert not (tmp_path / "file.bin").exists()


def test_other_bytes_are_fetched_once_more_and_then_refused(server, tmp_path):
    server.faults.append(("lie", b"x" * SIZE))
    assert fetch(server, tmp_path / "first.bin") == SHA256
    server.files["/file.bin"] = b"y" * SIZE
    with pytest.raises(DamageError, match="SHA-256"):
        fetch(server, tmp_path / "second.bin")
    assert not (tmp_path / "second.bin").exists()


def test_a_length_that_is_said_too_short_does_not_pass(server, tmp_path):
    server.faults.extend([("short", 1000)] * 2)
    with pytest.raises(DamageError, match="SHA-256"):
        fetch(server, tmp_path / "file.bin")
    assert fetch(server, tmp_path / "file.bin") == SHA256


def test_a_file_that_changed_since_is_fetched_from_the_start(server, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path / "file.bin", checksum=None, progress=Kill(300))
    server.files["/file.bin"] = CONTENT[::-1]
    fetch(server, tmp_path / "file.bin", checksum=None)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[::-1]


def test_a_part_of_no_known_version_is_gone_on_with_only_if_the_checksum_is_known(server, tmp_path):
    server.with_tags = False
    for checksum in (f"sha256:{SHA256}", None):
        path = tmp_path / f"{checksum is None}.bin"
        with pytest.raises(KeyboardInterrupt):
            fetch(server, path, checksum=checksum, progress=Kill(300))
        fetch(server, path, checksum=checksum)
        assert path.read_bytes() == CONTENT
        assert (server.requests[-1][1] is None) == (checksum is None)


def test_a_full_disk_is_said_and_the_download_goes_on_later(server, tmp_path, monkeypatch):
    written = 0
    write = os.pwrite

    def full(descriptor, data, offset):
        nonlocal written
        if written > 400_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(descriptor, data, offset)
        written += done
        return done

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError, match="no space left on device; free some space"):
        fetch(server, tmp_path / "file.bin")
    monkeypatch.setattr(os, "pwrite", write)
    assert fetch(server, tmp_path / "file.bin") == SHA256
    start = int(server.requests[-1][1].removeprefix("bytes=").removesuffix("-"))
    assert start >= 400_000


def test_a_file_of_unknown_size_does_not_fill_the_disk(server, tmp_path, monkeypatch):
    server.faults.append(("endless", False))
    monkeypatch.setattr("sffshards.base.output_checks.free_bytes", lambda _: 1_000_000_000)
    with pytest.raises(StorageError, match=r"of free space, found 1,000\.0 MB"):
        fetch(server, tmp_path / "file.bin")


def test_a_file_that_never_ends_is_stopped(server, tmp_path):
    limited = Source(f"{server.url}/file.bin", "a file", "", 1_000_000)
    with pytest.raises(DamageError, match="at most 1,000,000 bytes"):
        download(limited, tmp_path / "file.bin", progress=SILENT)


def test_another_file_in_its_place_is_not_written_over(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(DamageError, match="remove it"):
        fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/file",
        "not a url",
        "",
        "http://",
        "http://[::1/x",
        "http://host:abc/x",
        "http://h/a b",
        "http://ü/x",
    ],
)
def test_only_http_is_fetched(tmp_path, url):
    with pytest.raises(InputError, match="https"):
        download(Source(url, "a file", "by hand", 100), tmp_path / "file", progress=SILENT)


@pytest.mark.slow
def test_without_a_network_the_command_says_what_to_put_where(tmp_path):
    with serve_files() as closed:
        url = closed.url
    line = error_of("fetch", "weights", "--url", f"{url}/weights.pth", "--out", tmp_path / "w" / "weights.pth")
    assert "Connection refused" in line
    assert f"put it at {tmp_path}/w/weights.pth" in line


# Weights and lists


def test_weights_land_in_the_cache_of_torch(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert weights_path() == tmp_path / "torch" / "hub" / "checkpoints" / "mvit_v2_s-ae3be167.pth"
    monkeypatch.setitem(published.WEIGHTS_SHA256, "mvit_v2_s", SHA256)
    assert fetch_weights(weights_path(), url=f"{server.url}/file.bin", progress=SILENT).read_bytes() == CONTENT


@pytest.mark.slow
def test_weights_land_where_torchvision_looks(tmp_path, monkeypatch):
    import torch
    from torchvision.models import get_model_weights

    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv("TORCH_HOME", raising=False)
        monkeypatch.setenv(name, str(tmp_path / name))
        assert weights_path() == Path(torch.hub.get_dir()) / "checkpoints" / published.KINETICS_FILES["mvit_v2_s"]
    for model, file in published.KINETICS_FILES.items():
        assert get_model_weights(model).KINETICS400_V1.url == f"{published.WEIGHTS_URL}/{file}"


def test_lists_are_fetched_and_others_kept(server, tmp_path, monkeypatch):
    made = make_data(tmp_path / "made")
    lists = list(made.rglob("*.txt"))
    server.files |= {f"/lists/{path.relative_to(made)}": path.read_bytes() for path in lists}
    sums = {
        key: hashlib.sha256(find_data(made).lists[key[0]][key[1]].read_bytes()).hexdigest()
        for key in published.LABELS_SHA256
    }
    monkeypatch.setattr(published, "LABELS_SHA256", sums)
    data = tmp_path / "data"
    assert len(fetch_labels(data, url=f"{server.url}/lists/", force=False, progress=SILENT)) == 12
    assert {p.name: p.read_bytes() for p in data.rglob("*.txt")} == {p.name: p.read_bytes() for p in lists}
    mine = data / "M48" / "flare_Mclass_48h_Test.txt"
    mine.write_text("mine")
    with pytest.raises(ConflictError, match="`force`"):
        fetch_labels(data, url=f"{server.url}/lists", force=False, progress=SILENT)
    assert mine.read_text() == "mine"
    for path in data.rglob("*.txt"):
        path.write_text("mine")
    with pytest.raises(StorageError):  # there is nothing there
        fetch_labels(data, url=f"{server.url}/missing", force=True, progress=SILENT)
    assert [path.read_text() for path in data.rglob("*.txt")] == ["mine"] * 12
    fetch_labels(data, url=f"{server.url}/lists", force=True, progress=SILENT)
    assert {p.name: p.read_bytes() for p in data.rglob("*.txt")} == {p.name: p.read_bytes() for p in lists}
    assert mine.read_text() != "mine"


@pytest.mark.realdata
def test_the_published_lists_are_those_that_are_known(real_labels, server, tmp_path):
    server.files |= {f"/{path.relative_to(real_labels)}": path.read_bytes() for path in real_labels.rglob("flare*.txt")}
    assert len(fetch_labels(tmp_path, url=server.url, force=False, progress=SILENT)) == 12


# Archives


def image_name(number):
    return f"hmi.sharp_720s.{number + 1}.20110213_000000_TAI.magnetogram.fits.jpg"


def zip_of(members, *, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_folder(folder, prefix="SFF/Seq_Magnetogram"):
    files = {f"{prefix}/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return zip_of(files | {f"{prefix}/M24/SF_MViT/program.py": "print()", "SFF/README.md": "text"})


def test_images_and_lists_are_taken_out_and_nothing_else(server, tmp_path):
    made = make_data(tmp_path / "made")
    server.files["/data.zip"] = zip_folder(made)
    (report,) = fetch_dataset(tmp_path / "data", url=f"{server.url}/data.zip")
    assert (report.num_images, report.num_lists, report.others) == (60, 12, {"of another name": 2})
    found = digest_tree(tmp_path / "data")
    assert {name: value for name, value in found.items() if name.startswith("M") or "jpg" in name} == digest_tree(made)
    assert report.checked_by.startswith("nothing")
    (record,) = json.loads((tmp_path / "data" / "fetch.json").read_text())["archives"]
    assert record["sha256"] == hashlib.sha256(server.files["/data.zip"]).hexdigest()
    assert not (tmp_path / "data" / "data.zip").exists()


def test_an_extraction_goes_on_and_writes_over_nothing(tmp_path):
    made = make_data(tmp_path / "made")
    (tmp_path / "data.zip").write_bytes(zip_folder(made))
    fetch_dataset(tmp_path / "data", archive=tmp_path / "data.zip")
    image = next((tmp_path / "data" / "magnetogram_jpg").iterdir())
    image.unlink()
    (report,) = fetch_dataset(tmp_path / "data", archive=tmp_path / "data.zip")
    assert report.num_written == 1
    image.write_bytes(b"mine")
    with pytest.raises(ConflictError, match="another file"):
        fetch_dataset(tmp_path / "data", archive=tmp_path / "data.zip")
    assert image.read_bytes() == b"mine"
    assert (tmp_path / "data.zip").exists()


def link():
    info = zipfile.ZipInfo(f"magnetogram_jpg/{image_name(0)}")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize("prefix", ["SFF\\magnetogram_jpg\\", "", "images/", "SFF/Magnetograms (1)/"])
def test_images_and_lists_are_found_where_folders_were_renamed_or_flattened(tmp_path, prefix):
    members = {f"{prefix}{image_name(k)}": b"x" for k in range(2)} | {f"{prefix}flare_Mclass_24h_Test.txt": b"y"}
    hidden = {f"__MACOSX/{prefix}._{image_name(0)}": b"z", f"{prefix}._{image_name(1)}": b"z"}
    (tmp_path / "a.zip").write_bytes(zip_of(members | hidden))
    report = extract_dataset(tmp_path / "a.zip", tmp_path / "data", force=False, progress=SILENT)
    assert (report.num_images, report.num_lists, report.others) == (2, 1, {})
    assert (tmp_path / "data" / "M24" / "flare_Mclass_24h_Test.txt").read_bytes() == b"y"
    assert len(list((tmp_path / "data" / "magnetogram_jpg").iterdir())) == 2


def test_members_that_are_not_extracted_are_counted_by_reason(tmp_path):
    others = {f"others/{image_name(0)}": b"y", "b.jpg": b"", "a.zip": b"", "README": b"", "x/Thumbs.db": b""}
    members = {f"magnetogram_jpg/{image_name(0)}": b"x", **others}
    (tmp_path / "a.zip").write_bytes(zip_of(members))
    report = extract_dataset(tmp_path / "a.zip", tmp_path / "data", force=False, progress=SILENT)
    reasons = ("an archive in the archive", "of another name", "in another folder", "an image of another name")
    assert (report.num_images, report.others) == (1, dict.fromkeys(reasons, 1))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"inner/data.zip": b"PK"}, r"found an archive within the archive, inner/data\.zip; unpack it"),
        (
            {"magnetogram_jpg/377.jpg": b"x"},
            r"found images of other names, such as magnetogram_jpg/377\.jpg; rename",
        ),
        ({"fits/a.fits": b"x"}, r"found images of other names, such as fits/a\.fits; unpack it, and convert the files"),
        ({"data.tar.xz": b"x"}, r"found an archive within the archive, data\.tar\.xz; unpack it"),
        ({"data.zip.001": b"x"}, r"found an archive within the archive, data\.zip\.001; unpack it"),
        (
            {"magnetogram_jpg/hmi.sharp_720s_nrt.377.20110213_000000_TAI.magnetogram.fits.jpg": b"x"},
            "use images of the definitive series; near-real-time HARP numbers are other numbers",
        ),
        ({"README.md": b"x"}, "found none among 1 files; check that this is the archive of the data set"),
    ],
)
def test_an_archive_without_images_is_refused_with_what_it_has(tmp_path, members, message):
    (tmp_path / "a.zip").write_bytes(zip_of(members))
    with pytest.raises(DamageError, match=message):
        extract_dataset(tmp_path / "a.zip", tmp_path / "data", force=False, progress=SILENT)


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (98, "PPMd"), (77, "method 77")])
def test_a_method_that_python_cannot_read_is_named(tmp_path, method, name):
    content = bytearray(zip_of({f"magnetogram_jpg/{image_name(0)}": b"x"}))
    content[8] = content[content.index(b"PK\x01\x02") + 10] = method
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DamageError, match=f"found one packed by {name}; unpack it with another program"):
        extract_dataset(tmp_path / "a.zip", tmp_path / "data", force=False, progress=SILENT)


@pytest.mark.parametrize(("start", "name"), [(b"\x1f\x8b", "a gzip file"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive")])
def test_another_archive_in_place_of_a_zip_is_named(tmp_path, start, name):
    (tmp_path / "a.zip").write_bytes(start + bytes(50))
    with pytest.raises(DamageError, match=f"expected a whole zip, found {name}.*; unpack it, and pack"):
        extract_dataset(tmp_path / "a.zip", tmp_path / "data", force=False, progress=SILENT)


HARMFUL = {
    "a path upwards": ({"../../evil.txt": b"x"}, "leads out"),
    "an absolute path": ({"/etc/evil.txt": b"x"}, "leads out"),
    "a path of Windows": ({"a\\..\\..\\evil.txt": b"x"}, "leads out"),
    "a drive": ({"C:evil.txt": b"x"}, "leads out"),
    "a link": ({link(): b"/etc/passwd"}, "a link"),
    "the same image twice": ({f"{a}/magnetogram_jpg/{image_name(0)}": b"x" for a in "ab"}, "it twice"),
    "a bomb": ({f"magnetogram_jpg/{image_name(0)}": bytes(5_000_000)}, "packed in"),
    "nothing of ours": ({"README.md": b"x"}, "found none"),
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_a_harmful_archive_is_refused_whole(tmp_path, kind):
    members, found = HARMFUL[kind]
    good = {f"magnetogram_jpg/{image_name(9)}": b"x"} if "nothing" not in kind else {}
    (tmp_path / "bad.zip").write_bytes(zip_of(good | members, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(DamageError, match=found):
        extract_dataset(tmp_path / "bad.zip", tmp_path / "data", force=False, progress=SILENT)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bad.zip"]


@pytest.mark.parametrize(("limit", "value"), [("MAX_MEMBERS", 2), ("MAX_TOTAL_BYTES", 25), ("MAX_MEMBER_BYTES", 5)])
def test_an_archive_past_a_limit_is_refused(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(extract_module, limit, value)
    (tmp_path / "big.zip").write_bytes(zip_of({f"magnetogram_jpg/{image_name(k)}": b"0123456789" for k in range(3)}))
    with pytest.raises(DamageError, match="at most"):
        extract_dataset(tmp_path / "big.zip", tmp_path / "data", force=False, progress=SILENT)


@pytest.mark.parametrize(
    "spoil", [lambda z: z[:-30], lambda z: b"<html>" + z[:50], lambda z: z.replace(b"0123", b"9999")]
)
def test_a_damaged_archive_is_refused(tmp_path, spoil):
    content = zip_of({f"magnetogram_jpg/{image_name(k)}": b"0123456789" for k in range(3)})
    (tmp_path / "bad.zip").write_bytes(spoil(content))
    with pytest.raises(DamageError, match="a whole zip.*; fetch it again"):
        extract_dataset(tmp_path / "bad.zip", tmp_path / "data", force=False, progress=SILENT)
    assert not list(tmp_path.glob("data/magnetogram_jpg/*"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_of_which_bytes_are_lost_is_refused(tmp_path, method):
    path, name = tmp_path / "bad.zip", f"magnetogram_jpg/{image_name(0)}"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, random.Random(0).randbytes(5000))
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(DamageError, match=r"bad\.zip: expected a whole zip, found a damaged one"):
        extract_dataset(path, tmp_path / "data", force=False, progress=SILENT)
    assert not list(tmp_path.glob("data/magnetogram_jpg/*"))


def test_a_page_in_place_of_a_zip_gets_no_name(server, tmp_path):
    server.files["/data.zip"] = b"<!DOCTYPE html><html>maintenance</html>"
    with pytest.raises(DamageError, match="a whole zip"):
        fetch_dataset(tmp_path / "data", url=f"{server.url}/data.zip")
    assert not (tmp_path / "data" / "data.zip").exists()


def test_a_sha256_that_the_user_knows_is_checked(server, tmp_path):
    server.files["/data.zip"] = content = zip_of({f"magnetogram_jpg/{image_name(0)}": b"x"})
    with pytest.raises(DamageError, match="SHA-256"):
        fetch_dataset(tmp_path / "data", url=f"{server.url}/data.zip", sha256="0" * 64)
    (tmp_path / "mine.zip").write_bytes(content)
    with pytest.raises(DamageError, match="SHA-256"):
        fetch_dataset(tmp_path / "data", archive=tmp_path / "mine.zip", sha256="0" * 64)
    good = hashlib.sha256(content).hexdigest()
    (report,) = fetch_dataset(tmp_path / "data", url=f"{server.url}/data.zip", sha256=good)
    assert report.checked_by == "the SHA-256 given"


def put_record(server, content, *, md5=None):
    """Describe a zip as Zenodo does."""
    server.files["/api/records/1/files/Data set.zip/content"] = content
    entry = {
        "key": "Data set.zip",
        "size": len(content),
        "checksum": f"md5:{md5 or hashlib.md5(content).hexdigest()}",
        "links": {"self": f"{server.url}/api/records/1/files/Data%20set.zip/content"},
    }
    server.files["/api/records/1/files/Data%20set.zip/content"] = content
    other = {"key": "README.md", "size": 1, "checksum": "md5:0", "links": {"self": "x"}}
    server.files["/record"] = json.dumps({"id": 1, "files": [other, entry]}).encode()


def test_the_md5_of_the_record_is_checked(server, tmp_path):
    content = zip_of({f"magnetogram_jpg/{image_name(0)}": b"x"})
    put_record(server, content)
    server.faults.extend([(503, None), None])
    (report,) = fetch_dataset(tmp_path / "data", record_url=f"{server.url}/record")
    assert report.checked_by == "the MD5 of Zenodo's record"
    put_record(server, content, md5="0" * 32)
    with pytest.raises(DamageError, match="MD5"):
        fetch_dataset(tmp_path / "other", record_url=f"{server.url}/record")


@pytest.mark.parametrize("record", [b"<html></html>", b"{}", b'{"files": [{"key": "a.zip"}]}', b"[" * 100_000])
def test_a_record_that_is_none_ends_in_a_clear_error(server, tmp_path, record):
    server.files["/record"] = record
    with pytest.raises(SffshardsError, match="`archive`"):
        fetch_dataset(tmp_path / "data", record_url=f"{server.url}/record")


def test_the_command_takes_a_mirror_from_the_environment(server, tmp_path, monkeypatch):
    server.files["/data.zip"] = zip_of({f"magnetogram_jpg/{image_name(0)}": b"x"})
    monkeypatch.setenv("SFFSHARDS_DATASET_URL", f"{server.url}/data.zip")
    done = run("fetch", "dataset", cwd=tmp_path)
    assert "1 image, 0 label lists; 1 file written" in done.stdout
    assert "checked by nothing" in done.stdout


# JSOC


@pytest.fixture
def jsoc(monkeypatch):
    monkeypatch.setattr(jsoc_module, "_POLL_S", 0.01)
    with serve_jsoc(377, datetime(2011, 2, 13), datetime(2011, 2, 13, 8)) as server:
        yield server


def query_of(**changes):
    given: dict[str, Any] = {
        "harp": 377,
        "start_tai": datetime(2011, 2, 13),
        "end_tai": datetime(2011, 2, 14),
        "cadence": timedelta(minutes=96),
        "series": "hmi.sharp_cea_720s",
        "segment": "magnetogram",
    }
    return JsocQuery(**given | changes)


def names_of(folder):
    return sorted(path.name for path in folder.glob("*.fits"))


STAMPS = [f"20110213_{time}00" for time in ("0000", "0136", "0312", "0448", "0624", "0800")]
FILES = [f"hmi.sharp_cea_720s.377.{stamp}_TAI.magnetogram.fits" for stamp in STAMPS]


@pytest.mark.slow
def test_magnetograms_of_a_region_arrive_and_can_be_ingested(jsoc, tmp_path):
    report = fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url)
    assert (report.num_records, report.num_fetched, report.offline) == (6, 6, ())
    assert names_of(tmp_path / "fits") == FILES
    # The stored files have no keywords; JSOC's answer to the query has.
    run("ingest", "fits", "--workers", "1", cwd=tmp_path)
    images = sorted(path.name for path in (tmp_path / "data" / "magnetogram_jpg").iterdir())
    assert images == [f"hmi.sharp_720s.377.{stamp}_TAI.magnetogram.fits.jpg" for stamp in STAMPS]


def test_what_arrived_is_kept_when_the_service_fails_and_gone_on_from(jsoc, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "NUM_TRIES", 2)
    # The query, two files, and then nothing but failures.
    jsoc.faults.extend([None, None, None, *[(503, None)] * 40])
    with pytest.raises(StorageError, match="expected 6 files, found 2, which are kept"):
        fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url)
    assert names_of(tmp_path / "fits") == FILES[:2]
    jsoc.faults.clear()
    jsoc.requests.clear()
    report = fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url)
    assert (report.num_fetched, report.num_kept) == (4, 2)
    assert len(jsoc.requests) == 5
    record = json.loads((tmp_path / "fits" / "jsoc.json").read_text())
    assert sorted(record["files"]) == FILES
    for name, entry in record["files"].items():
        assert entry["sha256"] == hashlib.sha256((tmp_path / "fits" / name).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "fault", [(500, None), ("cut", 30), ("lie", b"not json"), ("lie", b'{"status": 1, "error": "database is busy"}')]
)
def test_a_query_that_fails_once_is_made_again(jsoc, tmp_path, fault):
    jsoc.files["/cgi-bin/ajax/jsoc_info"] = json.dumps(
        jsoc.list_records({"op": "rs_list", "ds": query_of().record_set, "key": "T_REC,HARPNUM", "seg": "magnetogram"})
    ).encode()
    jsoc.faults.append(fault)
    assert fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url).num_fetched == 6


def test_a_file_that_was_damaged_after_it_arrived_is_fetched_again(jsoc, tmp_path):
    fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url)
    path = tmp_path / "fits" / FILES[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] + b"x" + whole[-4:])
    report = fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url)
    assert (report.num_fetched, report.num_kept) == (1, 5)
    assert path.read_bytes() == whole


def test_a_file_that_is_none_is_not_kept(jsoc, tmp_path):
    jsoc.files["/SUM3/D1002/S00000/20110213_031200.magnetogram.fits"] = b"Service unavailable"
    with pytest.raises(StorageError, match="found 5, which are kept"):
        fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url)
    assert names_of(tmp_path / "fits") == [name for name in FILES if "031200" not in name]


def test_files_on_tape_are_named_and_come_by_export(jsoc, tmp_path):
    jsoc.on_tape = {STAMPS[1], STAMPS[4]}
    report = fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url)
    assert report.offline == (FILES[1], FILES[4])
    report = fetch_jsoc(tmp_path / "fits", query_of(), email="someone@example.org", server=jsoc.url)
    assert (report.num_fetched, report.num_kept, report.offline) == (2, 4, ())
    assert names_of(tmp_path / "fits") == FILES
    assert list(jsoc.exports.values()) == [f"{query_of().record_set}{{magnetogram}}"]


@pytest.mark.parametrize("email", [None, "someone@example.org"])
def test_records_without_an_image_are_counted_and_not_asked_for(jsoc, tmp_path, email):
    """QUALITY is negative as a signed word: bit 31 says that there is no image."""
    jsoc.without_image = {STAMPS[1], STAMPS[5]}
    jsoc.on_tape = {STAMPS[2]}
    report = fetch_jsoc(tmp_path / "fits", query_of(), email=email, server=jsoc.url)
    assert (report.num_records, report.num_without_image) == (6, 2)
    assert (report.num_fetched, report.offline) == ((4, ()) if email else (3, (FILES[2],)))


@pytest.mark.slow
def test_the_command_counts_records_without_an_image(jsoc, tmp_path):
    jsoc.without_image = {STAMPS[1]}
    command = ["fetch", "jsoc", "--harp", "377", "--start", "2011-02-13", "--end", "2011-02-13T03:12:00"]
    done = run(*command, "--series", "hmi.sharp_cea_720s", "--server", jsoc.url, cwd=tmp_path)
    assert "2 of 3 frames fetched" in done.stdout
    assert "1 record has no image at JSOC" in done.stdout
    assert "on tape" not in done.stdout


def test_an_export_is_asked_for_once(jsoc, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "NUM_TRIES", 2)
    jsoc.faults.extend([None, None, None, None, None, *[(503, None)] * 40])
    with pytest.raises(StorageError):
        fetch_jsoc(tmp_path / "fits", query_of(), email="someone@example.org", server=jsoc.url)
    jsoc.faults.clear()
    fetch_jsoc(tmp_path / "fits", query_of(), email="someone@example.org", server=jsoc.url)
    assert names_of(tmp_path / "fits") == FILES
    assert len(jsoc.exports) == 1


def test_an_export_that_jsoc_has_forgotten_is_asked_for_again(jsoc, tmp_path):
    (tmp_path / "fits").mkdir()
    exports = {f"{query_of().record_set}{{magnetogram}}": "JSOC_20200101_001"}
    note = {"format_version": 1, "exports": exports, "files": {}}
    (tmp_path / "fits" / "jsoc.json").write_text(json.dumps(note))
    fetch_jsoc(tmp_path / "fits", query_of(), email="someone@example.org", server=jsoc.url)
    assert names_of(tmp_path / "fits") == FILES


def test_an_address_that_is_not_registered_is_refused(jsoc, tmp_path):
    with pytest.raises(InputError, match="not registered"):
        fetch_jsoc(tmp_path / "fits", query_of(), email="nobody@example.org", server=jsoc.url)


def test_a_region_that_jsoc_does_not_have_is_said(jsoc, tmp_path):
    with pytest.raises(InputError, match="found none"):
        fetch_jsoc(tmp_path / "fits", query_of(harp=378), server=jsoc.url)


@pytest.mark.slow
def test_the_command_fetches_from_the_server_that_it_is_told(jsoc, tmp_path):
    command = ["fetch", "jsoc", "--harp", "377", "--start", "2011-02-13", "--end", "2011-02-13T03:12:00"]
    done = run(*command, "--series", "hmi.sharp_cea_720s", "--server", jsoc.url, cwd=tmp_path)
    assert "fits: 3 of 3 frames fetched" in done.stdout
    assert "3 of 3 frames fetched, 3 kept" not in done.stdout
    assert fetch_jsoc(tmp_path / "fits", query_of(), server=jsoc.url).num_kept == 3


def test_the_end_comes_after_the_start():
    with pytest.raises(InputError, match="^`end_tai`"):
        query_of(end_tai=datetime(2010, 1, 1))
