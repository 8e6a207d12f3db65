"""Shards: their bytes, their order, and what reads them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from xxhash import xxh3_64_intdigest

from sffshards.base.errors import DamageError, FormatError, InputError
from sffshards.base.progress import SILENT
from sffshards.domain.frames import FrameId
from sffshards.domain.labelled_frames import LabelledFrame
from sffshards.domain.sample_sets import Kind, Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.sequence_table import SequenceTable, build_sequences
from sffshards.domain.task import M48, PUBLISHED_TASKS
from sffshards.domain.views import View, apply_view
from sffshards.executors.local_executor import IN_PROCESS
from sffshards.fetch import weights_path
from sffshards.labels.data_layout import find_data
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.build_verification import verify_build
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.build.shard_plan import plan_shards, shuffle_samples
from sffshards.shards.format import jpeg_splice as strip
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.format.codecs import CLIP_SHAPE, get_codec
from sffshards.shards.read import default_cache_folder
from sffshards.shards.read.build_reader import open_build
from tests.tiny import frame_name, make_data

CODECS = list(CodecName)


def options(codec=CodecName.JPG, *, task=M48, skip=False, shard_size_bytes=128_000_000, seed=123):
    return BuildOptions(task=task, codec=codec, seed=seed, shard_size_bytes=shard_size_bytes, skip_bad_images=skip)


def build(data, out, chosen=None, *, executor=IN_PROCESS, force=False, must_be_written=False, progress=SILENT):
    return build_shards(
        find_data(data),
        chosen or options(),
        out=out,
        store_folder=out.parent / "frames",
        executor=executor,
        force=force,
        must_be_written=must_be_written,
        progress=progress,
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def builds(data, tmp_path_factory):
    """A build of every codec."""
    folder = tmp_path_factory.mktemp("builds")
    for codec in CODECS:
        build(data, folder / codec, options(codec))
    return folder


def smooth_clip():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:224, 0:224]
    waves = [128 + 70 * np.sin(x / 20 + k / 3) * np.cos(y / 30) + rng.normal(0, 2, (224, 224)) for k in range(16)]
    return np.clip(waves, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("name", "mean", "most"), [("jpg", 1.5, 16), ("npy", 0, 0), ("mp4", 1.2, 10)])
def test_a_codec_gives_the_clip_back(name, mean, most):
    codec, clip = get_codec(CodecName(name)), smooth_clip()
    payload = codec.encode(clip)
    difference = np.abs(codec.decode(payload, where="here").astype(int) - clip)
    assert difference.mean() <= mean
    assert difference.max() <= most
    assert codec.encode(clip) == payload


@pytest.mark.parametrize("name", ["noise", "edges", "blocks", "levels", "smooth"])
def test_pyav_decodes_mp4_to_the_pixels_of_decord(name, monkeypatch):
    pytest.importorskip("decord")
    codec = get_codec(CodecName.MP4)
    payload = codec.encode(made_clips()[name])
    decoded = codec.decode(payload, where="here")
    monkeypatch.setitem(sys.modules, "decord", None)
    assert np.array_equal(codec.decode(payload, where="here"), decoded)


def made_clips():
    """Clips that try an encoder: noise, edges, blocks of one value each, frames of one value, and a likely one."""
    rng = np.random.default_rng(5)
    blocks = rng.integers(0, 256, (16, 28, 28), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    levels = np.linspace(0, 255, 16).astype(np.uint8)
    return {
        "noise": rng.integers(0, 256, CLIP_SHAPE, np.uint8),
        "edges": rng.integers(0, 2, CLIP_SHAPE, np.uint8) * np.uint8(255),
        "blocks": blocks,
        "levels": np.broadcast_to(levels[:, None, None], CLIP_SHAPE).copy(),
        "black and white": np.broadcast_to((levels % 2 * 255).astype(np.uint8)[:, None, None], CLIP_SHAPE).copy(),
        "smooth": smooth_clip(),
    }


def cut_pieces(data, places, runs):
    """Give pieces of encoded frames, each of a range of them."""
    return [
        strip.Piece(
            data=data,
            rest=int(places["rest"][run.start]),
            end=int(places["end"][run.stop - 1]),
            first=int(places["first"][run.start]),
            last=int(places["last"][run.stop - 1]),
            num_frames=len(run),
        )
        for run in runs
    ]


@pytest.mark.parametrize("kind", made_clips())
def test_a_strip_of_frames_encoded_alone_is_the_strip_encoded_whole(kind):
    clip, whole = made_clips()[kind], io.BytesIO()
    Image.fromarray(clip.reshape(-1, 224)).save(whole, "JPEG", quality=95)
    alone = [strip.encode_frames(frame[None]) for frame in clip]
    pieces = [piece for data, places in alone for piece in cut_pieces(data, places, [range(1)])]
    assert strip.join_pieces(pieces) == whole.getvalue()


@pytest.mark.parametrize("kind", made_clips())
@pytest.mark.parametrize("start", [0, 1, 37, 56, 80])  # 64 are encoded as one image
def test_sixteen_frames_that_follow_one_another_are_cut_out_as_they_are(kind, start):
    frames = np.concatenate([made_clips()[kind]] * 6)
    data, places = strip.encode_frames(frames)
    assert len(places) == 96
    pieces = cut_pieces(data, places, [range(start, start + 16)])
    assert strip.join_pieces(pieces) == get_codec(CodecName.JPG).encode(frames[start : start + 16])


def test_other_than_sixteen_frames_are_no_strip():
    data, places = strip.encode_frames(smooth_clip())
    with pytest.raises(ValueError, match="a strip has 16 frames, got 15"):
        strip.join_pieces(cut_pieces(data, places, [range(7), range(7, 15)]))


@given(st.permutations(range(16)), st.integers(0, 15))
@settings(deadline=None, max_examples=20)
def test_frames_join_in_any_order_and_more_than_once(order, again):
    clip = smooth_clip()
    order = [again, *order[1:]]
    data, places = strip.encode_frames(clip)
    pieces = cut_pieces(data, places, [range(k, k + 1) for k in order])
    assert strip.join_pieces(pieces) == get_codec(CodecName.JPG).encode(clip[order])


@pytest.mark.parametrize("name", CODECS)
def test_encoding_does_not_depend_on_what_memory_held_before(name):
    codec, clip, rng = get_codec(name), smooth_clip(), np.random.default_rng(0)
    payloads = set()
    for value in (0, 1, 97, 255):
        litter = [np.full(size, value, np.uint8) for size in rng.integers(16, 200_000, 2_000)]
        del litter
        payloads.add(codec.encode(clip))
    assert len(payloads) == 1


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_refuses_what_is_not_its_own(name):
    codec = get_codec(name)
    payload = codec.encode(smooth_clip())
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    others = [get_codec(other).encode(smooth_clip()) for other in CODECS if other != name]
    for wrong in [b"", payload[:200], payload[: len(payload) // 2], pickled.getvalue(), *others]:
        with pytest.raises(DamageError, match="here: expected a clip of 16x224x224 pixels"):
            codec.decode(wrong, where="here")


@pytest.mark.slow
def test_every_sample_is_there_once_with_its_label_and_pixels(data, builds):
    with open_build(builds / "npy") as opened:
        counts = Counter((e["key"].decode()[-2:], int(e["label"])) for e in opened.index)
        assert counts == {("nf", 0): 42, ("nf", 1): 18, **{(v.value, 1): 18 for v in View if v is not View.NF}}
        assert len(set(opened.index["key"])) == len(opened)
        from sffshards.images.image_files import read_frame

        for row in range(len(opened)):
            meta = opened.read_meta(row)
            frames = {n: read_frame(data / "magnetogram_jpg" / f"{n}.fits.jpg") for n in set(meta.frames)}
            expected = apply_view(np.stack([frames[name] for name in meta.frames]), meta.view)
            assert (opened.read_clip(row) == expected).all()
            assert meta.label == opened.index[row]["label"]


@pytest.mark.parametrize("codec", CODECS)
def test_plain_tar_reads_what_the_index_points_at(builds, codec):
    with open_build(builds / codec) as opened:
        entries = {e["key"].decode(): e for e in opened.index}
        seen = set()
        for shard in opened.manifest.shards:
            with tarfile.open(builds / codec / shard.name) as tar:
                names = tar.getnames()
                for key in names[::3]:
                    seen.add(key.split(".")[0])
                for member in tar:
                    key, extension = member.name.split(".")
                    assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
                    file = tar.extractfile(member)
                    assert file is not None
                    content = file.read()
                    entry = entries[key]
                    if extension == codec:
                        assert (member.offset_data, member.size) == (entry["offset"], entry["size"])
                        assert xxh3_64_intdigest(content) == entry["checksum"]
                    elif extension == "cls":
                        assert content == str(entry["label"]).encode()
                    else:
                        assert (member.offset_data, member.size) == (entry["meta_offset"], entry["meta_size"])
            assert open(builds / codec / shard.name, "rb").read(263)[257:] == b"ustar\0"
        assert seen == set(entries)


@pytest.mark.parametrize("codec", CODECS)
def test_stock_webdataset_reads_the_same_samples(builds, codec):
    import webdataset as wds

    with open_build(builds / codec) as opened:
        training = SampleSet(variant=Variant.OTV, stage=Stage.TRAIN, fold=0, protocol=Protocol.PAPER)
        rows = opened.set_rows(training)
        groups = training.groups(opened.manifest.task)
        urls = [str(builds / codec / name) for name in opened.manifest.shard_names(groups)]
        samples = list(wds.WebDataset(urls, shardshuffle=False))
        assert [s["__key__"].split("/")[-1] for s in samples] == [opened.index[r]["key"].decode() for r in rows]
        assert [int(s["cls"]) for s in samples] == [int(opened.index[r]["label"]) for r in rows]
        for row, sample in zip(rows, samples, strict=True):
            clip = get_codec(codec).decode(sample[codec], where="stock")
            assert (clip == opened.read_clip(row)).all()


@pytest.mark.slow
def test_a_cache_of_stock_webdataset_keeps_the_shards_of_all_parts_and_tasks_apart(tmp_path):
    """Such a cache names files by the last part of their address."""
    import webdataset as wds

    data, urls, keys = make_data(tmp_path / "data"), [], []
    for task in PUBLISHED_TASKS:
        build(data, tmp_path / task.name, options(CodecName.NPY, task=task))
        with open_build(tmp_path / task.name) as opened:
            urls += [f"file:{tmp_path / task.name / shard.name}" for shard in opened.manifest.shards]
            keys += [(task.name, key.decode()) for key in opened.index["key"]]
    cache = tmp_path / "cache"
    cache.mkdir()
    samples = wds.WebDataset(urls, shardshuffle=False, cache_dir=str(cache))
    found = [(sample["__url__"].split("/")[-3], sample["__key__"]) for sample in samples]
    assert len(set(found)) == len(found)
    assert sorted(found) == sorted(keys)


@pytest.mark.parametrize("codec", CodecName)
def test_a_build_of_format_version_2_is_read_as_it_was(builds, codec, tmp_path):
    """Its tars are called ``TrainVal0/base-00000.tar``."""
    folder = Path(shutil.copytree(builds / codec, tmp_path / "old"))
    content = json.loads((folder / "manifest.json").read_text())
    for tar in folder.glob("*/*.tar"):
        tar.rename(tar.with_name("-".join(tar.name.split("-")[2:])))
    text = (folder / "manifest.json").read_text().replace("M48-", "")
    for part in Part:
        text = text.replace(f"/{part}-", "/")
        card = (folder / "README.md").read_text().replace(f"M48-{part}-", "")
        (folder / "README.md").write_text(card)
    content = json.loads(text) | {"format_version": 2}
    del content["sha256"]
    sealed = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    content["sha256"] = hashlib.sha256(sealed).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(content, indent=1) + "\n")
    assert verify_build(folder, progress=SILENT) == []
    with open_build(folder) as old, open_build(builds / codec) as new:
        assert "Test/base-00000.tar" in {shard.name for shard in old.manifest.shards}
        assert np.array_equal(old.index, new.index)
        assert np.array_equal(old.read_clip(7), new.read_clip(7))


@pytest.mark.parametrize("codec", CodecName)
def test_hugging_face_datasets_reads_the_same_samples(builds, codec, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import Video, load_dataset

    with open_build(builds / codec) as opened:
        stream = load_dataset(str(builds / codec), "oTV-fold0", split="validation", streaming=True)
        if codec is CodecName.MP4:  # its own decoding wants torchcodec
            stream = stream.cast_column("mp4", Video(decode=False))
        samples = {s["__key__"].split("/")[-1]: s for s in stream}
        rows = opened.set_rows(SampleSet(variant=Variant.OTV, stage=Stage.VAL, fold=0, protocol=Protocol.PAPER))
        assert set(samples) == {opened.index[r]["key"].decode() for r in rows}
        for row in rows:
            sample = samples[opened.index[row]["key"].decode()]
            assert int(sample["cls"]) == opened.index[row]["label"]
            assert sample["json"]["harp"] == opened.index[row]["harp"]
            if codec is CodecName.MP4:
                assert sample["mp4"]["bytes"] == opened.read_payload(row)
            else:  # some versions give an npy member as wider integers
                assert (np.asarray(sample[codec]).reshape(CLIP_SHAPE) == opened.read_clip(row)).all()


def made_sequences(num_harps: int, length: int) -> SequenceTable:
    rows = [
        LabelledFrame(frame=FrameId.parse(frame_name(harp, number)), label=int(harp % 5 == 0), row=row)
        for row, (harp, number) in enumerate(product(range(1, num_harps + 1), range(length)))
    ]
    return build_sequences(rows, part=Part.TEST)


def test_classes_and_harps_are_even_over_the_shards():
    sequences = made_sequences(num_harps=20, length=30)
    plans = plan_shards(sequences, M48, sample_bytes=dict.fromkeys(Kind, 1000), shard_bytes=60_000)
    base = [plan for plan in plans if plan.group == "Test/base"]
    assert [plan.name for plan in base] == [f"Test/M48-Test-base-{n:05d}.tar" for n in range(10)]
    for per_shard in (
        [sum(s.sequence.label for s in plan.samples) for plan in base],
        *[[sum(s.sequence.harp == harp for s in plan.samples) for plan in base] for harp in range(1, 21)],
    ):
        assert max(per_shard) - min(per_shard) <= 1
    keys = [sample.key for plan in plans for sample in plan.samples]
    assert len(keys) == len(set(keys)) == 600 + 5 * 120
    # Within a shard neither time nor HARP is in order.
    harps = [sample.sequence.harp for sample in shuffle_samples(base[0].samples, seed=1)]
    assert harps != sorted(harps)


def test_order_follows_the_seed():
    sequences = made_sequences(num_harps=5, length=8)

    def order(seed):
        return [
            s.key
            for plan in plan_shards(sequences, M48, sample_bytes=dict.fromkeys(Kind, 1), shard_bytes=10)
            for s in shuffle_samples(plan.samples, seed=seed)
        ]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == sorted(order(2))


def test_the_manifest_names_every_set_and_counts_its_classes(builds):
    with open_build(builds / "jpg") as opened:
        content = json.loads((builds / "jpg" / "manifest.json").read_text())
        groups = content["sets"]["paper"]["oTV"]["1"]["val"]
        assert groups == ["TrainVal0/base", "TrainVal0/over"]
        # Ten sequences, three of them positive, with five further views each.
        assert opened.manifest.class_counts(groups) == (7, 18)


def test_an_altered_manifest_is_refused(builds, tmp_path):
    text = (builds / "jpg" / "manifest.json").read_text()
    folder = tmp_path / "48h"
    folder.mkdir()
    cases = [
        ('"num_positive": 3', '"num_positive": 4', DamageError, "does not match the manifest's own checksum"),
        ('"format_version": 3', '"format_version": 4', FormatError, "expected format version 3, found 4"),
        ("{", "", DamageError, "found no JSON"),
    ]
    for old, new, error, message in cases:
        assert old in text
        (folder / "manifest.json").write_text(text.replace(old, new, 1))
        with pytest.raises(error, match=rf"manifest\.json: .*{message}"):
            open_build(folder)
    with pytest.raises(InputError, match="expected a build, with a manifest.json, found no such folder"):
        open_build(tmp_path / "absent")


def test_an_altered_index_is_refused(data, tmp_path):
    build(data, tmp_path / "48h")
    path = tmp_path / "48h" / "index.npy"
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[-1] ^= 1
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    for wrong in (bytes(changed), whole[:-50], objects.getvalue(), b""):
        path.write_bytes(wrong)
        with pytest.raises(DamageError, match=r"index\.npy: expected"):
            open_build(tmp_path / "48h")


@pytest.mark.slow
def test_a_damaged_payload_is_not_read_as_data(data, tmp_path):
    build(data, tmp_path / "48h", options(CodecName.NPY))
    with open_build(tmp_path / "48h") as opened:
        entry, shard = opened.index[0], tmp_path / "48h" / opened.manifest.shards[0].name
        opened.read_clip(0)  # what comes later escapes the check of the whole shard
        with shard.open("r+b") as file:
            file.seek(int(entry["offset"]) + 5000)
            file.write(b"\xff\x00\xff")
        key = entry["key"].decode()
        with pytest.raises(DamageError, match=rf"-base-00000\.tar, sample {key}, offset {entry['offset']}"):
            opened.read_clip(0)
        shard.write_bytes(shard.read_bytes()[:600])
        with pytest.raises(DamageError, match="the shard is cut off"):
            opened.read_clip(1)


@pytest.mark.slow
def test_building_verifying_and_describing_need_no_torch(data, tmp_path):
    script = """
import sys
from importlib.abc import MetaPathFinder
class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "pytorch_lightning", "decord", "matplotlib", "sklearn"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
from sffshards.cli import main
for command in (["build", sys.argv[1], "--horizon", "48h"], ["verify"], ["info"]):
    sys.argv = ["sffshards", *command]
    try:
        main()
    except SystemExit as exit:
        assert not exit.code, command
assert not any(name.split(".")[0] == "torch" for name in sys.modules)
"""
    path = tmp_path / "script.py"
    path.write_text(f"if __name__ == '__main__':\n{''.join(f'    {line}' + chr(10) for line in script.splitlines())}")
    done = subprocess.run([sys.executable, path, data], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "48h: intact" in done.stdout


@pytest.mark.slow
def test_more_shards_than_files_may_be_open_are_built_and_read(data, tmp_path):
    chosen = options(CodecName.NPY, shard_size_bytes=1 << 20)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, before[1]))
    try:
        report = build(data, tmp_path / "48h", chosen)
        assert len(report.manifest.shards) > 60
        with open_build(tmp_path / "48h") as opened:
            labels = [opened.read_meta(row).label for row in range(len(opened))]
            assert opened.read_clip(0).shape == CLIP_SHAPE
        assert verify_build(tmp_path / "48h") == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert labels == opened.index["label"].tolist()


def test_the_cache_of_a_user_without_a_home_is_in_the_folder_for_temporary_files(monkeypatch, tmp_path):
    for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # the system knows no user of this number
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cache = tmp_path / f"sffshards-{os.getuid()}"
    assert default_cache_folder() == cache / "sffshards" / "shards"
    assert weights_path().parent == cache / "torch" / "hub" / "checkpoints"


_UNGUARDED = """
from sffshards.executors.local_executor import LocalExecutor

with LocalExecutor(1) as executor:
    print(list(executor.run(abs, [-1, -2])))
"""


def test_a_program_without_a_main_guard_is_told_so(tmp_path):
    (tmp_path / "program.py").write_text(_UNGUARDED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert 'InputError: program.py: expected calls under `if __name__ == "__main__":`' in done.stderr
    assert done.stderr.count("Traceback") == 1
