"""Damaged and hostile builds: what is not as it was written ends in one of our errors, never in data.

Damage is done before a build is first used, where a shard's SHA-256 must find it, and after it was found whole and
remembered, with size and date restored, where only the checksums of samples can.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import shutil
import struct
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import torch
from PIL import Image
from xxhash import xxh3_64_intdigest

from sffshards.base.errors import DamageError, FormatError, InputError, SffshardsError
from sffshards.base.progress import SILENT
from sffshards.labels.data_layout import find_data
from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.loading_options import Shuffle
from sffshards.models.model_weights import read_checkpoint
from sffshards.shards.build.build_verification import verify_build, verify_build_deep
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.format.codecs import CLIP_SHAPE, get_codec
from sffshards.shards.format.shard_index import INDEX_DTYPE
from sffshards.shards.read.build_reader import open_build
from sffshards.shards.read.check_level import CheckLevel
from sffshards.shards.read.manifest_reading import read_manifest
from tests.test_shards import build, options
from tests.tiny import PARTS, make_data

CODECS = list(CodecName)
SHARD, OTHER = "TrainVal0/M48-TrainVal0-over-00000.tar", "TrainVal0/M48-TrainVal0-base-00000.tar"
BLOCK = 512
NAMES_SHARD = re.compile(r"TrainVal0/M48-TrainVal0-(over|base)-00000\.tar")


class Whole(NamedTuple):
    """Builds that are whole, and what they show, read by tarfile."""

    builds: Path
    stale: Path
    data: Path
    truth: dict[CodecName, dict[str, tuple[int, np.ndarray]]]


def few_samples(folder: Path, *, frames: int) -> Path:
    """Make data of two sequences a part, one of them positive in the first part only."""
    data = make_data(folder, frames_per_harp=frames)
    for part in PARTS:
        path = data / "M48" / f"flare_Mclass_48h_{part}.txt"
        lines = path.read_text().splitlines()[frames - 1 :: frames]
        path.write_text("\n".join(line if part == "TrainVal0" else f"{line[:-1]}0" for line in lines))
    return data


def read_plainly(folder: Path, codec: CodecName) -> dict[str, tuple[int, np.ndarray]]:
    samples = {}
    for path in folder.glob("*/*.tar"):
        with tarfile.open(path) as tar:
            content = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for key in {name.split(".")[0] for name in content}:
            pixels = get_codec(codec).decode(content[f"{key}.{codec}"], where=key)
            samples[key] = int(content[f"{key}.cls"]), pixels
    return samples


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    data, others = few_samples(folder / "data", frames=1), few_samples(folder / "others", frames=3)
    truth = {}
    for codec in CODECS:
        build(data, folder / "builds" / codec, options(codec))
        build(others, folder / "stale" / codec, options(codec))
        with open_build(folder / "builds" / codec) as opened:
            opened.check_shards(np.arange(len(opened)), progress=SILENT)
        truth[codec] = read_plainly(folder / "builds" / codec, codec)
        assert len(truth[codec]) == 17
    return Whole(folder / "builds", folder / "stale", data, truth)


class Place:
    """A copy of a build to damage: files are shared with the whole one until they are written."""

    def __init__(self, whole: Whole, codec: CodecName, folder: Path) -> None:
        self.folder, self.codec, self.stale = folder, codec, whole.stale / codec
        shutil.copytree(whole.builds / codec, folder, copy_function=os.link)
        with open_build(folder) as opened:
            self.index = np.array(opened.index)
            names = [shard.name for shard in opened.manifest.shards]
        self.rows = np.flatnonzero(self.index["shard"] == names.index(SHARD))

    def read(self, name: str = SHARD) -> bytearray:
        return bytearray((self.folder / name).read_bytes())

    def write(self, name: str, data: bytes | bytearray) -> None:
        (self.folder / name).unlink()
        (self.folder / name).write_bytes(data)

    def flip(self, offset: int) -> None:
        data = self.read()
        data[offset] ^= 1
        self.write(SHARD, data)

    def cut(self, size: int) -> None:
        self.write(SHARD, self.read()[:size])

    def write_index(self, rows: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, rows)
        self.write("index.npy", buffer.getvalue())

    def edit(self, change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> None:
        """Change the manifest and, as a forger would, all checksums that depend on it."""
        content = json.loads(self.read("manifest.json"))
        index = self.read("index.npy")
        if seal:
            content |= {"index_sha256": hashlib.sha256(index).hexdigest(), "index_size_bytes": len(index)}
            for shard in content["shards"]:
                path = self.folder / shard["name"]
                shard |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
        change(content)
        if seal:
            del content["sha256"]
            plain = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
            content["sha256"] = hashlib.sha256(plain).hexdigest()
        self.write("manifest.json", (json.dumps(content, indent=1) + "\n").encode())

    def put_payload(self, payload: bytes) -> None:
        """Put a payload in place of the shard's first one, in tar, index, manifest: nothing but decoding can tell."""
        row = self.rows[0]
        names = {f"{self.index['key'][row].decode()}.{self.codec}": payload}
        self.write_tar(lambda name, content: [(name, names.get(name, content))])

    def write_tar(self, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> None:
        """Write the shard again with changed members, and an index and a manifest that match it."""
        rows, buffer = self.index.copy(), io.BytesIO()
        of_key = {self.index["key"][row].decode(): row for row in self.rows}
        with tarfile.open(self.folder / SHARD) as old, tarfile.open(fileobj=buffer, mode="w") as new:
            members = [(member.name, old.extractfile(member).read()) for member in old]  # type: ignore[union-attr]
            for name, content in [pair for member in members for pair in change(*member)]:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                offset = new.fileobj.tell() + BLOCK
                new.addfile(info, io.BytesIO(content))
                key, extension = name.split(".")
                columns = {self.codec: ("offset", "size", "checksum"), "json": ("meta_offset", "meta_size")}
                values = offset, len(content), xxh3_64_intdigest(content)
                for column, value in zip(columns.get(extension, ()), values, strict=False):
                    rows[column][of_key[key]] = value
                if extension == "json":
                    rows["meta_checksum"][of_key[key]] = values[2]
        self.write(SHARD, buffer.getvalue())
        self.write_index(rows)
        self.edit(lambda content: None)

    def restore_dates(self, whole: Path) -> None:
        """Give damaged shards the size and the date that they were remembered by."""
        for path in whole.glob("*/*.tar"):
            mine, status = self.folder / path.relative_to(whole), path.stat()
            if mine.exists() and not mine.samefile(path):
                mine.write_bytes(mine.read_bytes()[: status.st_size].ljust(status.st_size, b"\0"))
                os.utime(mine, ns=(status.st_mtime_ns, status.st_mtime_ns))


@pytest.fixture
def place(whole, tmp_path) -> Callable[[CodecName], Place]:
    return lambda codec: Place(whole, codec, tmp_path / "48h")


def read_all(folder: Path, check: CheckLevel) -> dict[str, tuple[int, np.ndarray]]:
    """Read every sample with `Build.read_into`."""
    found = {}
    with open_build(folder, check=check) as opened:
        for row in range(len(opened)):
            clip = np.empty(CLIP_SHAPE, np.uint8)
            opened.read_into(row, clip)
            found[opened.index["key"][row].decode()] = int(opened.index["label"][row]), clip
    return found


def load_all(folder: Path, check: CheckLevel, *, num_threads: int) -> dict[str, tuple[int, np.ndarray]]:
    """Go over every sample with a `ClipLoader`."""
    found = {}
    with open_build(folder, check=check) as opened:
        rows = np.arange(len(opened))
        source = PlanSource(rows=rows, global_batch=4, num_ranks=1, rank=0, seed=1, shuffle=Shuffle.GLOBAL)
        for batch in ClipLoader(opened, source, num_threads=num_threads):
            mask = batch.mask_B
            for row, label, clip in zip(batch.rows_B[mask], batch.labels_B[mask], batch.clips_BTHW[mask], strict=True):
                found[opened.index["key"][row].decode()] = int(label), clip.numpy()
    return found


WAYS: dict[str, Callable[[Path, CheckLevel], dict[str, tuple[int, np.ndarray]]]] = {
    "read_into": read_all,
    "loader": lambda folder, check: load_all(folder, check, num_threads=0),
    "loader, 2 threads": lambda folder, check: load_all(folder, check, num_threads=2),
}


def same(found: dict[str, tuple[int, np.ndarray]], expected: dict[str, tuple[int, np.ndarray]]) -> bool:
    return found.keys() == expected.keys() and all(
        found[key][0] == label and (found[key][1] == pixels).all() for key, (label, pixels) in expected.items()
    )


def problem_of(call: Callable[..., Any], *arguments: object, **options: object) -> str:
    """Give what is said against a build: by an error, or by a list of them."""
    try:
        found = call(*arguments, **options)
    except SffshardsError as error:
        found = [error]
    assert isinstance(found, list), "read as data"
    assert found, "nothing found"
    assert all(isinstance(error, SffshardsError) for error in found)
    return str(found[0])


PAYLOAD, META, UNREAD = "payload", "JSON member", "nothing that the sample reader reads"


def swap(place: Place) -> None:
    one, other = place.read(SHARD), place.read(OTHER)
    place.write(SHARD, other)
    place.write(OTHER, one)


def in_row(place: Place, column: str, shift: int, number: int = 1) -> int:
    return int(place.index[column][place.rows[number]]) + shift


def replace(place: Place, name: str, make: Callable[[Path], object]) -> None:
    (place.folder / name).unlink()
    make(place.folder / name)


SHARD_DAMAGE: dict[str, tuple[str, Callable[[Place], object]]] = {
    # What is damaged, and how. The label is a sample's first member: its content is the block before the next header.
    "bit in a payload": (PAYLOAD, lambda p: p.flip(in_row(p, "offset", 300))),
    "first bit of a payload": (PAYLOAD, lambda p: p.flip(in_row(p, "offset", 0))),
    "bit in a payload's header": (UNREAD, lambda p: p.flip(in_row(p, "offset", -BLOCK + 3))),
    "bit in a size in a header": (UNREAD, lambda p: p.flip(in_row(p, "offset", -BLOCK + 130))),
    "bit in a JSON member": (META, lambda p: p.flip(in_row(p, "meta_offset", 20))),
    "bit in a label member": (
        UNREAD,
        lambda p: p.flip(min(in_row(p, n, -2 * BLOCK) for n in ("offset", "meta_offset"))),
    ),
    "cut inside a payload": (PAYLOAD, lambda p: p.cut(in_row(p, "offset", 700))),
    "cut inside a header": (PAYLOAD, lambda p: p.cut(in_row(p, "offset", -100))),
    "cut at a member border": (PAYLOAD, lambda p: p.cut(in_row(p, "offset", -BLOCK))),
    "stale": (PAYLOAD, lambda p: p.write(SHARD, (p.stale / SHARD).read_bytes())),
    "swapped with another": (PAYLOAD, swap),
    "empty": (PAYLOAD, lambda p: p.write(SHARD, b"")),
}
"""Filled up with zeros to its size, a shard cut inside its last blocks is whole again: see `GONE`."""

GONE: dict[str, Callable[[Place], object]] = {
    "missing": lambda p: (p.folder / SHARD).unlink(),
    "cut inside the trailing zero blocks": lambda p: p.cut(len(p.read()) - 700),
    "link to another file": lambda p: replace(p, SHARD, lambda path: path.symlink_to("/etc/passwd")),
    "link to nothing": lambda p: replace(p, SHARD, lambda path: path.symlink_to("nowhere")),
    "link to a device": lambda p: replace(p, SHARD, lambda path: path.symlink_to("/dev/zero")),
    "pipe": lambda p: replace(p, SHARD, os.mkfifo),
    "folder": lambda p: replace(p, SHARD, Path.mkdir),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("damage", [*SHARD_DAMAGE, *GONE])
def test_a_shard_damaged_before_first_use_is_found_whatever_is_damaged(place, codec, damage):
    damaged = place(codec)
    ({name: do for name, (_, do) in SHARD_DAMAGE.items()} | GONE)[damage](damaged)
    if damage not in GONE:
        (damaged.folder / ".checked.json").unlink()  # for GONE, size or kind tell of a change
    for check in CheckLevel:
        for way in WAYS.values():
            assert NAMES_SHARD.search(problem_of(way, damaged.folder, check))
    assert NAMES_SHARD.search(problem_of(verify_build, damaged.folder, progress=SILENT))


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("damage", SHARD_DAMAGE)
def test_a_shard_damaged_after_it_was_found_whole_gives_no_damaged_sample(whole, place, codec, damage):
    damaged = place(codec)
    what, do = SHARD_DAMAGE[damage]
    do(damaged)
    damaged.restore_dates(whole.builds / codec)
    for way in WAYS.values():
        if what == PAYLOAD:
            message = problem_of(way, damaged.folder, CheckLevel.FULL)
            assert NAMES_SHARD.search(message)
            assert re.search(r"\.tar, sample harp\S+, offset \d+: ", message)
        else:  # labels come from the index, and no read touches headers: the samples are what they were
            assert same(way(damaged.folder, CheckLevel.FULL), whole.truth[codec])
        try:  # lengths only: altered pixels may go unseen, but nothing else may happen
            found = way(damaged.folder, CheckLevel.FAST)
        except DamageError:
            assert what == PAYLOAD
        else:
            labels = {key: label for key, (label, _) in found.items()}
            assert labels == {key: label for key, (label, _) in whole.truth[codec].items()}
    assert NAMES_SHARD.search(problem_of(verify_build, damaged.folder, progress=SILENT))
    if what == META:
        row = damaged.rows[1]
        with open_build(damaged.folder) as opened, pytest.raises(DamageError, match=r"sample harp.* JSON member"):
            opened.read_meta(row)
    if what != UNREAD and codec is not CodecName.MP4:
        layout = find_data(whole.data)
        deep = problem_of(verify_build_deep, damaged.folder, layout, progress=SILENT)
        assert ", sample harp" in deep


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_a_whole_build_passes_every_way_and_so_does_one_of_links(whole, place, codec):
    linked = place(codec)
    shutil.move(linked.folder / SHARD, linked.folder / "blob")
    (linked.folder / SHARD).symlink_to("../blob")  # as caches that store by content have them
    for check in CheckLevel:
        for way in WAYS.values():
            assert same(way(linked.folder, check), whole.truth[codec])
    assert verify_build(linked.folder, progress=SILENT) == []
    assert verify_build_deep(linked.folder, find_data(whole.data), progress=SILENT) == []


def rows_with(place: Place, **changes: Any) -> np.ndarray:
    rows = place.index.copy()
    for column, value in changes.items():
        rows[column][3] = value
    return rows


def changed_index(**changes: Any) -> Callable[[Place], None]:
    return lambda place: place.write_index(rows_with(place, **changes))


def shift_offsets(place: Place) -> None:
    rows = place.index.copy()
    rows["offset"] += 512
    place.write_index(rows)


def flip_index(place: Place) -> None:
    data = place.read("index.npy")
    data[-40] ^= 1
    place.write("index.npy", data)


INDEX_DAMAGE: dict[str, Callable[[Place], object]] = {
    "of another build": lambda p: p.write("index.npy", (p.stale / "index.npy").read_bytes()),
    "rows reordered": lambda p: p.write_index(p.index[::-1]),
    "offsets shifted": shift_offsets,
    "a bit": flip_index,
    "cut off": lambda p: p.write("index.npy", p.read("index.npy")[:-60]),
    "cut off in its header": lambda p: p.write("index.npy", p.read("index.npy")[:60]),
    "a row less": lambda p: p.write_index(p.index[:-1]),
    "another type": lambda p: p.write_index(np.zeros(17)),
}


@pytest.mark.parametrize("damage", INDEX_DAMAGE)
def test_a_wrong_index_is_refused(place, damage):
    damaged = place(CodecName.JPG)
    INDEX_DAMAGE[damage](damaged)
    for check in CheckLevel:
        for way in WAYS.values():
            assert "index.npy: expected" in problem_of(way, damaged.folder, check)
    assert "index.npy: expected" in problem_of(verify_build, damaged.folder, progress=SILENT)


FORGED_INDEX: dict[str, Callable[[Place], object]] = {
    "rows reordered": INDEX_DAMAGE["rows reordered"],
    "shard of none": changed_index(shard=4_000_000_000),
    "shard of another": changed_index(shard=2),
    "offset behind the end": changed_index(offset=1 << 40),
    "offset that no file has": changed_index(offset=(1 << 64) - 1),
    "payload of 4 GB": changed_index(size=(1 << 32) - 1),
    "JSON of 4 GB": changed_index(meta_size=(1 << 32) - 1),
    "JSON behind the end": changed_index(meta_offset=(1 << 64) - 1),
    "label": changed_index(label=7),
    "other positives": changed_index(label=0),
    "view": changed_index(view=200),
    "frames": changed_index(num_distinct=0),
    "no time": changed_index(t_end_tai=np.datetime64("NaT", "s")),
    "key: traversal": changed_index(key=b"../../../etc/passwd"),
    "key: absolute": changed_index(key=b"/etc/passwd"),
    "key: command": changed_index(key=b"pipe:touch ran"),
    "key: newline": changed_index(key=b"harp\n00001"),
    "key: NUL": changed_index(key=b"harp\x0000001."),
    "key: escape": changed_index(key=b"harp\x1b[2J"),
    "key: no ASCII": changed_index(key=b"harp\xff"),
}


@pytest.mark.parametrize("damage", FORGED_INDEX)
def test_an_index_that_points_elsewhere_is_refused_though_all_checksums_fit(place, damage):
    damaged = place(CodecName.NPY)
    FORGED_INDEX[damage](damaged)
    damaged.edit(lambda content: None)
    with small_memory(), pytest.raises(DamageError, match=r"index\.npy: expected the index of a build"):
        open_build(damaged.folder)


@contextmanager
def small_memory(megabytes: int = 12) -> Iterator[None]:
    """See that little memory is taken while the block runs."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npy_claim(dtype: str, shape: str, *, header_bytes: int | None = None) -> bytes:
    """Give an npy file's beginning: what it says of itself, and little more."""
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    if header_bytes is not None:
        return b"\x93NUMPY\x02\x00" + struct.pack("<I", header_bytes) + header
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize("kind", ["objects", "10 GB of header", "10**12 rows", "negative rows", "archive", "text"])
def test_an_index_that_is_none_runs_no_code_and_takes_no_memory(place, tmp_path, kind):
    damaged = place(CodecName.NPY)
    archive = io.BytesIO()
    np.savez(archive, index=damaged.index)
    dtype = repr(INDEX_DTYPE.descr)
    content = {
        "objects": npy_bytes(np.array([Evil(tmp_path / "ran")], dtype=object)),
        "10 GB of header": npy_claim("'|u1'", "(1,)", header_bytes=(1 << 32) - 1),
        "10**12 rows": npy_claim(dtype, "(1000000000000,)"),
        "negative rows": npy_claim(dtype, "(-5,)"),
        "archive": archive.getvalue(),
        "text": b"#EXTM3U\nhttp://localhost/x\n",
    }[kind]
    damaged.write("index.npy", content)
    damaged.edit(lambda content: None)
    with small_memory(), pytest.raises(DamageError, match=r"index\.npy: expected the index of a build"):
        open_build(damaged.folder)
    assert not (tmp_path / "ran").exists()


def name_all(name: str) -> Callable[[dict[str, Any]], None]:
    """Give the first shard another name wherever the manifest names it."""

    def change(content: dict[str, Any]) -> None:
        content["shards"][0]["name"] = name
        content["groups"]["TrainVal0/base"]["shards"][0] = name

    return change


def both_counts(number: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["shards"][0]["num_samples"] = content["groups"]["TrainVal0/base"]["num_samples"] = number

    return change


def set_at(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


FORGED_MANIFEST: dict[str, Callable[[dict[str, Any]], object]] = {
    **{
        f"shard {name!r}": name_all(name)
        for name in (
            "../../etc/x",
            "/etc/passwd",
            "pipe:touch ran",
            "s3://bucket/x.tar",
            "http://localhost/x.tar",
            f"{OTHER}\0",
            OTHER.replace("base", "base\n"),
            OTHER.replace("/", "/../TrainVal0/"),
            OTHER.replace("TrainVal0", "TrainVal1"),
            "",
        )
    },
    "shard that is no text": set_at("shards", 0, "name", value=["x"]),
    "shards swapped": lambda c: c["shards"].reverse(),
    "shard twice": lambda c: c["shards"].append(c["shards"][0]),
    "shards of a group gone": set_at("groups", "TrainVal0/base", "shards", value=[]),
    "groups in another order": lambda c: c["groups"].update({"TrainVal0/base": c["groups"].pop("TrainVal0/base")}),
    "groups: another one": set_at("groups", "../x", value={}),
    "sets edited": set_at("sets", "paper", "oT", "0", "train", value=["Test/base"]),
    **{
        f"count {str(number)[:5]!r} of {len(str(number))} digits": both_counts(number)
        for number in (-1, -(10**12), 10**30, 10**4000, 1.5, float("nan"), float("inf"), True, "2", None, [2])
    },
    "size negative": set_at("shards", 0, "size_bytes", value=-1),
    "size not finite": set_at("shards", 0, "size_bytes", value=float("inf")),
    "index size not finite": set_at("index_size_bytes", value=float("inf")),
    "skipped not finite": set_at("num_skipped_sequences", value=float("-inf")),
    "images not finite": set_at("inputs", "num_images", value=float("nan")),
    "seed": set_at("inputs", "seed", value={}),
    "positives more than samples": set_at("groups", "TrainVal0/base", "num_positive", value=9),
    "first label": set_at("groups", "TrainVal0/base", "first_label", value=2),
    "checksum": set_at("shards", 0, "sha256", value="../x"),
    "index checksum": set_at("index_sha256", value=5),
    "codec": set_at("inputs", "codec", value="pkl"),
    "codec of no text": set_at("inputs", "codec", value=["npy"]),
    "nested": set_at("inputs", "skipped_frames", value={"x": nested(300)}),
    "nested deeply": set_at("inputs", "skipped_frames", value={"x": nested(800)}),
    "lists": set_at("inputs", "lists", value={}),
}


@pytest.mark.parametrize("damage", FORGED_MANIFEST)
def test_a_manifest_that_no_build_has_is_refused_though_all_checksums_fit(place, damage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damaged = place(CodecName.NPY)
    damaged.edit(FORGED_MANIFEST[damage])
    for read in (lambda: open_build(damaged.folder), lambda: read_manifest(damaged.folder)):
        with small_memory(), pytest.raises(DamageError, match=r"manifest\.json: expected"):
            read()
    assert not (tmp_path / "ran").exists()


def test_a_manifest_that_claims_a_million_million_samples_takes_no_memory(place):
    damaged = place(CodecName.NPY)
    damaged.edit(both_counts(10**12))
    with small_memory(), pytest.raises(DamageError, match=r"index\.npy: expected 10000000000\d\d rows"):
        open_build(damaged.folder)


WRONG_MANIFEST: dict[str, Callable[[Place], object]] = {
    "of another build": lambda p: p.write("manifest.json", (p.stale / "manifest.json").read_bytes()),
    "sizes edited": lambda p: p.edit(set_at("shards", 0, "size_bytes", value=7), seal=False),
    "groups edited": lambda p: p.edit(set_at("groups", "Test/base", "num_positive", value=1), seal=False),
    "index hash edited": lambda p: p.edit(set_at("index_sha256", value="0" * 64), seal=False),
    "index hash edited and sealed": lambda p: p.edit(set_at("index_sha256", value="0" * 64)),
    "not JSON": lambda p: p.write("manifest.json", b"#EXTM3U\n"),
    "not text": lambda p: p.write("manifest.json", b"\xff\xfe\x00"),
    "empty": lambda p: p.write("manifest.json", b""),
    "a list": lambda p: p.write("manifest.json", b"[]"),
    "nested": lambda p: p.write("manifest.json", b"[" * 100_000),
    "nested and closed": lambda p: p.write(
        "manifest.json", b'{"format_version": 1, "x":' + b"[" * 950 + b"]" * 950 + b"}"
    ),
    "a huge number": lambda p: p.write("manifest.json", b'{"format_version": ' + b"9" * 10_000 + b"}"),
    "a version of digits": lambda p: p.write("manifest.json", b'{"format_version": ' + b"9" * 4_000 + b"}"),
    "a version not finite": lambda p: p.write("manifest.json", b'{"format_version": 1e999}'),
    "a pipe": lambda p: replace(p, "manifest.json", os.mkfifo),
}


@pytest.mark.parametrize("damage", WRONG_MANIFEST)
def test_a_wrong_manifest_is_refused(place, damage):
    damaged = place(CodecName.JPG)
    WRONG_MANIFEST[damage](damaged)
    messages = [problem_of(way, damaged.folder, CheckLevel.FULL) for way in WAYS.values()]
    messages.append(problem_of(verify_build, damaged.folder, progress=SILENT))
    assert all("manifest.json" in message or "index.npy: expected" in message for message in messages)


def jpeg_of(width: int, height: int) -> bytes:
    """Give a small JPEG whose header claims a size."""
    data = bytearray(picture("JPEG", "L"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def picture(kind: str, mode: str, size: tuple[int, int] = (224, 3584)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


def movie(num_frames: int, side: int = 224) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = side, side, "gray"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.zeros((side, side), np.uint8), format="gray")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def lying_movie(side: int) -> bytes:
    """Give a movie of large frames whose header states 224x224."""
    data = bytearray(movie(16, side))
    struct.pack_into(">HH", data, data.rindex(b"avc1") + 28, 224, 224)
    return bytes(data)


def cut_movie(payload):
    """Cut six of sixteen frames away by an edit list; the container still states sixteen."""
    data = bytearray(payload)
    start = data.index(b"elst") + 12
    duration, media_time = struct.unpack_from(">iI", data, start)
    timescale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    struct.pack_into(">iI", data, start, duration * 10 // 16, media_time + 6 * timescale // 25)
    return bytes(data)


HOSTILE_PAYLOADS: dict[str, tuple[CodecName, Callable[[Path], bytes]]] = {
    "npy: objects": (CodecName.NPY, lambda ran: npy_bytes(np.array([Evil(ran)], dtype=object))),
    "npy: pickle": (CodecName.NPY, lambda ran: pickle.dumps(Evil(ran))),
    "npy: padded pickle": (CodecName.NPY, lambda ran: pickle.dumps(Evil(ran)).ljust(128 + 16 * 224 * 224, b"\0")),
    "npy: fortran order": (CodecName.NPY, lambda _: npy_bytes(np.asfortranarray(np.zeros(CLIP_SHAPE, np.uint8)))),
    "npy: another type": (CodecName.NPY, lambda _: npy_bytes(np.zeros(CLIP_SHAPE, np.int8))),
    "npy: another shape": (CodecName.NPY, lambda _: npy_bytes(np.zeros((16, 224 * 224), np.uint8))),
    "npy: 10 GB": (
        CodecName.NPY,
        lambda _: npy_claim("'|u1'", "(16, 25000, 25000)").ljust(128 + 16 * 224 * 224, b"\0"),
    ),
    "npy: nothing": (CodecName.NPY, lambda _: b""),
    "jpg: bomb": (CodecName.JPG, lambda _: jpeg_of(65_500, 65_500)),
    "jpg: other sides": (CodecName.JPG, lambda _: picture("JPEG", "L", (3584, 224))),
    "jpg: taller than its data": (CodecName.JPG, lambda _: jpeg_of(224, 3600)),
    "jpg: cut": (CodecName.JPG, lambda _: picture("JPEG", "L")[:-200]),
    "jpg: PNG": (CodecName.JPG, lambda _: picture("PNG", "L")),
    "jpg: GIF": (CodecName.JPG, lambda _: picture("GIF", "L")),
    "jpg: CMYK": (CodecName.JPG, lambda _: picture("JPEG", "CMYK")),
    "jpg: colour": (CodecName.JPG, lambda _: picture("JPEG", "RGB")),
    "jpg: pickle": (CodecName.JPG, lambda ran: pickle.dumps(Evil(ran))),
    "jpg: nothing": (CodecName.JPG, lambda _: b""),
    "mp4: a frame more": (CodecName.MP4, lambda _: movie(17)),
    "mp4: a frame less": (CodecName.MP4, lambda _: movie(15)),
    "mp4: larger": (CodecName.MP4, lambda _: movie(16, 448)),
    "mp4: larger than it says": (CodecName.MP4, lambda _: lying_movie(448)),
    "mp4: frames cut away": (CodecName.MP4, lambda _: cut_movie(movie(16))),
    "mp4: half": (CodecName.MP4, lambda _: movie(16)[:900]),
    "mp4: text": (CodecName.MP4, lambda _: b"file '/etc/passwd'\n"),
    "mp4: concat": (CodecName.MP4, lambda ran: f"ffconcat version 1.0\nfile '{ran.parent}/secret.mp4'\n".encode()),
    "mp4: playlist": (CodecName.MP4, lambda ran: f"#EXTM3U\n#EXTINF:1,\nfile://{ran.parent}/secret.mp4\n".encode()),
    "mp4: playlist of a URL": (CodecName.MP4, lambda _: b"#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/x.ts\n"),
    "mp4: playlist with ftyp": (
        CodecName.MP4,
        lambda r: f"#EXTftypM3U\nfile://{r.parent}/secret.mp4\navc1".encode() * 9,
    ),
    "mp4: nothing": (CodecName.MP4, lambda _: b""),
}


@pytest.mark.parametrize(
    ("kind", "has_decord"),
    [(kind, True) for kind in HOSTILE_PAYLOADS]
    + [(kind, False) for kind, (codec, _) in HOSTILE_PAYLOADS.items() if codec is CodecName.MP4],
)
def test_a_hostile_payload_is_not_decoded_though_all_checksums_fit(place, tmp_path, monkeypatch, kind, has_decord):
    codec, make = HOSTILE_PAYLOADS[kind]
    if not has_decord:
        monkeypatch.setitem(sys.modules, "decord", None)
    (tmp_path / "secret.mp4").write_bytes(movie(16))
    damaged = place(codec)
    damaged.put_payload(make(tmp_path / "ran"))
    with open_build(damaged.folder) as opened:
        key = opened.index["key"][damaged.rows[0]].decode()
        for check in CheckLevel:
            opened.check = check
            with small_memory(), pytest.raises(DamageError, match=rf"-over-00000\.tar, sample {key}, offset \d+"):
                opened.read_clip(damaged.rows[0])
        opened.read_clip(damaged.rows[1])  # the others are what they were
    assert not (tmp_path / "ran").exists()


def test_a_movie_larger_than_it_says_takes_a_frame_at_most():
    import resource

    payload = lying_movie(2048)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamageError, match=r"a frame of shape \(2048, 2048, 3\)"):
        get_codec(CodecName.MP4).decode(payload, where="here")
    # Sixteen frames as RGB would be 201 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


EXTRA_MEMBERS: dict[str, Callable[[str, bytes], list[tuple[str, bytes]]]] = {
    extension: lambda name, content, e=extension: [  # type: ignore[misc]
        (name, content),
        *([(f"{name.split('.')[0]}.{e}", b"hostile")] if name.endswith(".json") else []),
    ]
    for extension in ("pkl", "pyd", "pth", "pickle")
}


@pytest.mark.parametrize("extension", EXTRA_MEMBERS)
def test_a_member_that_others_would_unpickle_is_passed_over_and_named_by_verify(whole, place, tmp_path, extension):
    damaged = place(CodecName.NPY)
    evil = pickle.dumps(Evil(tmp_path / "ran"))
    add = EXTRA_MEMBERS[extension]
    damaged.write_tar(lambda name, content: [(n, evil if c == b"hostile" else c) for n, c in add(name, content)])
    for way in WAYS.values():
        assert same(way(damaged.folder, CheckLevel.FULL), whole.truth[CodecName.NPY])
    message = problem_of(verify_build, damaged.folder, progress=SILENT)
    assert "over-00000.tar" in message
    assert "expected the tar that the index describes" in message
    assert not (tmp_path / "ran").exists()


def other_label(name: str, content: bytes) -> list[tuple[str, bytes]]:
    return [(name, b"0" if name.endswith(".cls") else content)]


@pytest.mark.parametrize("damage", ["label", "10 GB", "behind the end"])
def test_verify_names_what_a_stock_reader_would_see_otherwise_though_all_checksums_fit(whole, place, damage):
    damaged = place(CodecName.NPY)
    if damage == "label":
        damaged.write_tar(other_label)
    elif damage == "10 GB":
        data, info = damaged.read(), tarfile.TarInfo(f"{damaged.index['key'][damaged.rows[0]].decode()}.npy")
        info.size, start = 8 << 30, in_row(damaged, "offset", -BLOCK, 0)
        data[start : start + BLOCK] = info.tobuf(tarfile.GNU_FORMAT)
        damaged.write(SHARD, data)
        damaged.edit(lambda content: None)
    else:
        damaged.write(SHARD, damaged.read() + b"\0" * 4096 + b"more")
        damaged.edit(lambda content: None)
    assert same(read_all(damaged.folder, CheckLevel.FULL), whole.truth[CodecName.NPY])
    with small_memory():
        message = problem_of(verify_build, damaged.folder, progress=SILENT)
    assert "expected the tar that the index describes" in message


@pytest.mark.parametrize("content", [b"[1]", b"{", b"5", b"[" * 900 + b"]" * 900, b'{"sequence": 1e999}', b"\xff"])
def test_a_json_member_that_is_none_is_refused_though_all_checksums_fit(place, content):
    damaged = place(CodecName.NPY)
    damaged.write_tar(lambda name, old: [(name, content if name.endswith(".json") else old)])
    with open_build(damaged.folder) as opened, pytest.raises(DamageError, match=r"sample harp.* JSON member"):
        opened.read_meta(damaged.rows[0])


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
        b"null",
        b"\xff\x00",
        b'{"format_version": 1, "shards": {"TrainVal0/M48-TrainVal0-over-00000.tar": [1e999, 1e999, "x"]}}',
        b'{"format_version": 1, "shards": {"TrainVal0/M48-TrainVal0-over-00000.tar": [NaN, 0, 0]}}',
        b'{"format_version": 1, "shards": [[1, 2, 3]]}',
        b'{"format_version": 1, "shards": {"TrainVal0/M48-TrainVal0-over-00000.tar": "abc", "../../x": [1, 2, "x"]}}',
        b'{"format_version": 1, "shards": {"TrainVal0/M48-TrainVal0-over-00000.tar": [' + b"9" * 5_000 + b', 2, "x"]}}',
        None,
    ],
)
def test_what_is_remembered_in_other_words_counts_for_nothing(whole, place, content):
    damaged = place(CodecName.JPG)
    if content is None:
        (damaged.folder / ".checked.json").unlink()
        os.mkfifo(damaged.folder / ".checked.json")
    else:
        damaged.write(".checked.json", content)
    assert same(read_all(damaged.folder, CheckLevel.FULL), whole.truth[CodecName.JPG])
    damaged.flip(in_row(damaged, "offset", 300))
    assert SHARD in problem_of(read_all, damaged.folder, CheckLevel.FULL)


CHECKPOINTS: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda ran: pickle.dumps(Evil(ran)),
    "old pickle": lambda ran: pickle.dumps({"state_dict": Evil(ran)}, protocol=0),
    "torch's, with an object": lambda ran: torch_bytes({"state_dict": {"model.x": Evil(ran)}}),
    "torch's old format": lambda ran: torch_bytes({"x": Evil(ran)}, _use_new_zipfile_serialization=False),
    "nested": lambda _: b"\x80\x02" + b"]" * 5 + b"(" * 100_000,
    "tar": lambda _: tarfile.TarInfo("x.pkl").tobuf() + bytes(1024),
    "zip of nothing": lambda _: b"PK\x05\x06" + bytes(18),
    "text": lambda _: b"#EXTM3U\n",
    "empty": lambda _: b"",
}


def torch_bytes(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_of_another_kind_is_refused_and_its_code_not_run(tmp_path, kind):
    path = tmp_path / "x.ckpt"
    path.write_bytes(CHECKPOINTS[kind](tmp_path / "ran"))
    with pytest.raises(InputError, match=r"x\.ckpt: expected a state dict"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_the_error_classes_are_those_that_the_docs_name(place):
    damaged = place(CodecName.JPG)
    damaged.edit(set_at("format_version", value=4))
    with pytest.raises(FormatError, match=r"manifest\.json: expected format version 3, found 4"):
        open_build(damaged.folder)
