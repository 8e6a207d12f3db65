"""Shards: their bytes, their order, and what reads them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from xxhash import xxh3_64_intdigest

from sffshards.base.errors import DamageError, FormatError, InputError
from sffshards.base.progress import SILENT
from sffshards.domain.frame_sequences import Sequence
from sffshards.domain.sample_sets import Kind, Part, Protocol, SampleSet, Stage, Variant
from sffshards.domain.task import M48
from sffshards.domain.views import View, apply_view
from sffshards.labels.data_layout import find_data
from sffshards.shards.build.build_inputs import BuildOptions
from sffshards.shards.build.shard_build import build_shards
from sffshards.shards.build.shard_plan import plan_shards
from sffshards.shards.format import jpeg_splice as strip
from sffshards.shards.format.codec_names import CodecName
from sffshards.shards.format.codecs import CLIP_SHAPE, get_codec
from sffshards.shards.read.build_reader import open_build
from tests.test_names import sequence_of
from tests.tiny import frame_name, make_data

CODECS = list(CodecName)


def options(codec=CodecName.JPG, *, task=M48, skip=False, shard_size_bytes=128_000_000, seed=123):
    return BuildOptions(task=task, codec=codec, seed=seed, shard_size_bytes=shard_size_bytes, skip_bad_images=skip)


def build(data, out, chosen=None, *, workers=0, force=False):
    return build_shards(
        find_data(data),
        chosen or options(),
        out=out,
        store_folder=out.parent / "frames",
        workers=workers,
        force=force,
        progress=SILENT,
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


def made_sequences(num_harps: int, length: int) -> list[Sequence]:
    from sffshards.domain.frames import FrameId

    made: list[Sequence] = []
    for harp in range(1, num_harps + 1):
        for number in range(length):
            plain = sequence_of(FrameId.parse(frame_name(harp, number)))
            made.append(Sequence(frames=plain.frames, label=int(harp % 5 == 0), part=Part.TEST, row=len(made)))
    return made


def test_classes_and_harps_are_even_over_the_shards():
    sequences = made_sequences(num_harps=20, length=30)
    plans = plan_shards(sequences, sample_bytes=dict.fromkeys(Kind, 1000), shard_bytes=60_000, seed=1)
    base = [plan for plan in plans if plan.group == "Test/base"]
    assert [plan.name for plan in base] == [f"Test/base-{n:05d}.tar" for n in range(10)]
    for per_shard in (
        [sum(s.sequence.label for s in plan.samples) for plan in base],
        *[[sum(s.sequence.harp == harp for s in plan.samples) for plan in base] for harp in range(1, 21)],
    ):
        assert max(per_shard) - min(per_shard) <= 1
    keys = [sample.key for plan in plans for sample in plan.samples]
    assert len(keys) == len(set(keys)) == 600 + 5 * 120
    # Within a shard neither time nor HARP is in order.
    harps = [sample.sequence.harp for sample in base[0].samples]
    assert harps != sorted(harps)


def test_order_follows_the_seed():
    sequences = made_sequences(num_harps=5, length=8)

    def order(seed):
        return [
            s.key
            for plan in plan_shards(sequences, sample_bytes=dict.fromkeys(Kind, 1), shard_bytes=10, seed=seed)
            for s in plan.samples
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
        ('"format_version": 2', '"format_version": 3', FormatError, "expected format version 2, found 3"),
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


def test_a_damaged_payload_is_not_read_as_data(data, tmp_path):
    build(data, tmp_path / "48h", options(CodecName.NPY))
    with open_build(tmp_path / "48h") as opened:
        entry, shard = opened.index[0], tmp_path / "48h" / opened.manifest.shards[0].name
        opened.read_clip(0)  # what comes later escapes the check of the whole shard
        with shard.open("r+b") as file:
            file.seek(int(entry["offset"]) + 5000)
            file.write(b"\xff\x00\xff")
        key = entry["key"].decode()
        with pytest.raises(DamageError, match=rf"base-00000\.tar, sample {key}, offset {entry['offset']}"):
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
