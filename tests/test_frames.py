"""Images to frames, and the store that keeps them."""

from __future__ import annotations

import io
import os

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from sffshards.base.errors import DamageError, FormatError, ImageError
from sffshards.base.progress import SILENT
from sffshards.domain.frame_codes import parse_code
from sffshards.executors.local_executor import IN_PROCESS, LocalExecutor
from sffshards.images.frame_store import FrameStore
from sffshards.images.image_files import decode_image, read_frame, resize_frame, write_picture
from sffshards.images.store_filling import fill_store
from sffshards.labels.image_folder import find_images
from tests.tiny import draw_image, frame_name, make_data


def encode(image, form="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


GREY = draw_image(1, 0)
WHOLE = encode(GREY)


@pytest.mark.parametrize("size", [(500, 250), (163, 105), (1167, 460), (224, 224), (17, 900), (37, 16)])
def test_resizing_is_torchvisions_antialiased_bilinear(size):
    import torch
    from torchvision.transforms.v2 import functional as tv

    image = np.random.default_rng(5).integers(0, 256, size[::-1], np.uint8)
    expected = tv.resize(torch.from_numpy(image)[None].float(), [224, 224], antialias=True)[0].numpy()
    assert np.abs(resize_frame(image) - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an 8-bit grey JPEG, found an empty file"),
        (b"<html>not found</html>", "found bytes that are no image"),
        (WHOLE[:-100], "expected a JPEG that decodes whole, found premature end"),
        (WHOLE[:300], "found a JPEG whose header is truncated"),
        (encode(GREY.convert("RGB")), r"mode L\), found a JPEG of mode RGB"),
        (encode(GREY.convert("CMYK")), r"found a JPEG of mode CMYK"),
        (encode(Image.fromarray(np.zeros((40, 60), np.uint16)), "PNG"), r"found a PNG of mode I;16"),
        (encode(GREY, "PNG"), r"found a PNG of mode L"),
        (encode(Image.new("L", (1, 1))), "expected at least 16 pixels a side .* found 1x1"),
    ],
    ids=["empty", "html", "truncated", "header", "rgb", "cmyk", "16-bit", "png", "1x1"],
)
def test_an_unusable_image_is_refused_in_one_line_that_names_it(data, message):
    with pytest.raises(
        ImageError, match=f"^a\\.jpg: .*{message}.*; replace the image, or build with `skip_bad"
    ) as caught:
        decode_image(data, where="a.jpg")
    assert "\n" not in str(caught.value)


def test_decoding_gives_the_pixels_of_the_file():
    assert (decode_image(WHOLE, where="a.jpg") == np.asarray(Image.open(io.BytesIO(WHOLE)))).all()
    # Bytes after the end marker, as some cameras and servers leave, do no harm.
    assert (decode_image(WHOLE + b"\0\0", where="a.jpg") == decode_image(WHOLE, where="a.jpg")).all()


def test_an_image_file_larger_than_an_image_can_be_is_not_read(tmp_path):
    path = tmp_path / "a.fits.jpg"
    with path.open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(ImageError, match="at most 67108864 bytes, found 42949672960 bytes"):
        read_frame(path)


@hypothesis.given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_bit_that_changes_in_an_image_of_ours_changes_no_pixel_in_silence(tmp_path_factory, place, bit):
    path = tmp_path_factory.getbasetemp() / "image.jpg"
    write_picture(np.asarray(GREY), path, jpeg_quality=90)
    whole = decode_image(path.read_bytes(), where=path)
    assert (whole == decode_image(encode(GREY, quality=90), where="without a checksum")).all()
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    try:
        found = decode_image(bytes(data), where=path)
    except ImageError:
        return
    assert (found == whole).all()  # it was in the words before the checksum


def test_other_programs_read_an_image_with_its_checksum(tmp_path):
    write_picture(np.asarray(GREY), tmp_path / "image.jpg", jpeg_quality=90)
    with Image.open(tmp_path / "image.jpg") as image:
        assert image.size == GREY.size
        assert image.info["jfif"] == 257
        comment = image.info["comment"]
    data = (tmp_path / "image.jpg").read_bytes()
    assert data.replace(b"\xff\xfe\x00\x21" + comment, b"", 1) == encode(GREY, quality=90)


def test_a_missing_image_says_so(tmp_path):
    with pytest.raises(ImageError, match="expected an 8-bit grey JPEG, found no such file"):
        read_frame(tmp_path / "a.fits.jpg")


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data", harps_per_part=1, frames_per_harp=2)


def segments(store):
    """Return the arrays of a store, by the names of their files."""
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(store.folder.glob("*.npy"))}


NAMES = [frame_name(100 * k, n) for k in range(1, 7) for n in range(2)]
CODES = np.array([parse_code(name) for name in NAMES])


def fill(data, folder, *, workers=0, strict=True):
    store = FrameStore(folder)
    images, missing = find_images(data / "magnetogram_jpg", CODES)
    assert not missing
    with LocalExecutor(workers) as executor:
        report = fill_store(store, images, executor=executor, strict=strict, progress=SILENT)
    return store, report


def test_every_image_is_decoded_once_and_kept(data, tmp_path):
    folder = tmp_path / "frames"
    store, report = fill(data, folder, workers=2)
    assert (report.num_decoded, report.num_kept) == (12, 0)
    expected = np.stack([read_frame(data / "magnetogram_jpg" / f"{name}.fits.jpg") for name in NAMES])
    assert (store.read(NAMES) == expected).all()
    again, report = fill(data, folder)
    assert (report.num_decoded, report.num_kept) == (0, 12)
    assert (again.read(NAMES[::-1]) == expected[::-1]).all()


def test_a_segment_is_a_plain_numpy_file(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    ((name, array),) = segments(store).items()
    assert (array.shape, array.dtype) == ((12, 224, 224), np.uint8)
    record = store.record(NAMES[3])
    assert record.segment == name
    assert (array[record.row] == store.read([NAMES[3]])[0]).all()


def test_frames_of_several_segments_are_read_with_few_files_open(data, tmp_path, monkeypatch):
    expected = np.stack([read_frame(data / "magnetogram_jpg" / f"{name}.fits.jpg") for name in NAMES])
    monkeypatch.setattr("sffshards.images.store_filling._BLOCK", 1)
    monkeypatch.setattr("sffshards.images.store_filling.MAX_SEGMENT_FRAMES", 2)
    store, _ = fill(data, tmp_path / "frames")
    assert [len(array) for array in segments(store).values()] == [2] * 6
    monkeypatch.setattr("sffshards.base.file_reading.open_file_limit", lambda: 8)
    num_open = len(os.listdir("/proc/self/fd"))
    assert (FrameStore(tmp_path / "frames").read(NAMES) == expected).all()
    assert len(os.listdir("/proc/self/fd")) <= num_open + 2


def test_what_several_writers_added_is_one_store(data, tmp_path):
    folder, images = tmp_path / "frames", find_images(data / "magnetogram_jpg", CODES)[0]
    expected = np.stack([read_frame(image.path) for image in images])
    for writer, some in {"part-1-of-2": images[:7], "part-2-of-2": images[7:], "frames": images[:3]}.items():
        report = fill_store(FrameStore(folder, writer=writer), some, executor=IN_PROCESS, strict=True, progress=SILENT)
        assert report.num_decoded == (0 if writer == "frames" else len(some))
    store = FrameStore(folder)
    assert (store.read(NAMES) == expected).all()
    # A frame whose image changed is the newest one, whoever wrote it.
    draw_image(999, 5).save(images[0].path)
    for writer in ("frames", "part-1-of-2", "frames"):
        draw_image(999, 6 + len(writer)).save(images[0].path)
        changed = find_images(data / "magnetogram_jpg", CODES[:1])[0]
        fill_store(FrameStore(folder, writer=writer), changed, executor=IN_PROCESS, strict=True, progress=SILENT)
        assert (FrameStore(folder).read(NAMES[:1])[0] == read_frame(images[0].path)).all()
    assert (store.read(NAMES[1:]) == expected[1:]).all()


def test_a_changed_image_is_decoded_again(data, tmp_path):
    fill(data, tmp_path / "frames")
    path = data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg"
    draw_image(999, 5).save(path)
    os.utime(path, ns=(1, 1))
    store, report = fill(data, tmp_path / "frames")
    assert (report.num_decoded, report.num_kept) == (1, 11)
    assert (store.read([NAMES[0]])[0] == read_frame(path)).all()


@pytest.mark.parametrize("damage", ["cut off but ended", "zeros", "random"])
def test_damage_in_the_middle_of_a_jpeg_is_not_passed_over(data, damage):
    path = data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg"
    whole = path.read_bytes()
    third = len(whole) // 3
    spoilt = {
        "cut off but ended": whole[: 2 * third] + b"\xff\xd9",
        "zeros": whole[: 2 * third] + bytes(third - 20) + whole[-20:],
        "random": whole[: 2 * third] + np.random.default_rng(0).bytes(third - 20) + whole[-20:],
    }[damage]
    with pytest.raises(ImageError, match="expected a JPEG that decodes whole"):
        decode_image(spoilt, where="here")


def test_a_folder_with_a_journal_of_another_kind_is_not_written(data, tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "frames.csv").write_text("mine, not a store's")
    with pytest.raises(FormatError, match="name another folder with `out`"):
        fill(data, tmp_path / "frames")
    assert [path.read_text() for path in (tmp_path / "frames").iterdir()] == ["mine, not a store's"]


@pytest.mark.parametrize("kind", ["dangling", "loop", "folder", "pipe"])
def test_an_image_that_is_no_plain_file_counts_as_missing(data, tmp_path, kind):
    path = data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "absent" if kind == "dangling" else path)
    images, missing = find_images(data / "magnetogram_jpg", CODES)
    assert [image.name for image in images] == list(NAMES[1:])
    expected = "a link to nothing" if kind == "dangling" else "not a regular file"
    assert missing == {NAMES[0]: "too many levels of symbolic links" if kind == "loop" else expected}


def test_an_image_that_was_copied_and_then_changed_is_read_as_it_is_now(data, tmp_path):
    path = data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg"
    fill(data, tmp_path / "frames")
    os.utime(path, ns=(1, 1))  # a copy: a second line of the journal
    fill(data, tmp_path / "frames")
    first = path.read_bytes()
    for seed in range(2000):  # another image in a file of the same size, by which it is not told apart
        draw_image(999, seed).save(path)
        if path.stat().st_size <= len(first):
            break
    path.write_bytes(path.read_bytes().ljust(len(first), b"\0"))
    os.utime(path, ns=(2, 2))
    _, report = fill(data, tmp_path / "frames")
    assert report.num_decoded == 1
    assert path.read_bytes() != first
    assert (FrameStore(tmp_path / "frames").read(NAMES[:1])[0] == read_frame(path)).all()


def test_a_copy_of_an_image_is_not_decoded_again(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    for name in NAMES[:5]:
        os.utime(data / "magnetogram_jpg" / f"{name}.fits.jpg", ns=(1, 1))
    for _ in range(2):
        store, report = fill(data, tmp_path / "frames")
        assert (report.num_decoded, report.num_kept) == (0, 12)
    assert (store.read(NAMES) == before).all()
    assert [len(array) for array in segments(store).values()] == [12]


def test_a_journal_whose_segment_is_gone_counts_for_nothing(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    store.segment_path(store.record(NAMES[0]).segment).unlink()
    store, report = fill(data, tmp_path / "frames")
    assert (report.num_decoded, report.num_kept) == (12, 0)
    assert (store.read(NAMES) == before).all()


def test_frames_that_were_selected_stay_as_they_are_when_more_is_added(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    selected, before = store.select(CODES), store.read(NAMES)
    draw_image(999, 5).save(data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg")
    changed, _ = fill(data, tmp_path / "frames")
    assert (selected.read(CODES) == before).all()
    assert (selected.select(CODES[3:5]).read(CODES[[4, 3, 4]]) == before[[4, 3, 4]]).all()
    assert not (changed.read(NAMES) == before).all()


def test_pixels_that_changed_on_the_disk_are_noticed_and_made_anew(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    with store.segment_path(store.record(NAMES[11]).segment).open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"\0\xff\0\xff")
    with pytest.raises(DamageError, match=r"frames-[0-9a-f]{16}\.npy, row 11 .*expected pixels with checksum"):
        FrameStore(tmp_path / "frames").read(NAMES)
    store, report = fill(data, tmp_path / "frames")
    assert (report.num_decoded, report.num_kept) == (1, 11)
    assert (store.read(NAMES) == before).all()


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_journal_cut_off_by_a_kill_loses_only_its_last_lines(data, tmp_path, cut):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    os.truncate(store.journal_path, store.journal_path.stat().st_size - cut)
    store, report = fill(data, tmp_path / "frames")
    assert report.num_decoded == {1: 1, 40: 1, 200: 2}[cut]
    assert (store.read(NAMES) == before).all()
    assert (FrameStore(tmp_path / "frames").read(NAMES) == before).all()


def test_zeros_that_a_crash_of_the_machine_left_in_the_journal_lose_only_its_last_line(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    os.truncate(store.journal_path, store.journal_path.stat().st_size - 40)
    os.truncate(store.journal_path, store.journal_path.stat().st_size + 4000)
    store, report = fill(data, tmp_path / "frames")
    assert report.num_decoded == 1
    assert (FrameStore(tmp_path / "frames").read(NAMES) == before).all()
    assert b"\0" not in store.journal_path.read_bytes()


def test_a_changed_character_of_the_journal_is_noticed_wherever_it_is(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    text = store.journal_path.read_text()
    header, first, _ = text.split("\n", 2)
    for place in range(len(header) + 1, len(header) + 1 + len(first)):
        changed = "7" if text[place] != "7" else "8"
        store.journal_path.write_text(f"{text[:place]}{changed}{text[place + 1 :]}")
        with pytest.raises(DamageError, match=r"frames\.csv:2: expected a line of the frame journal with its checksum"):
            FrameStore(tmp_path / "frames")


def test_segments_that_no_journal_names_are_removed_and_no_other_file(data, tmp_path):
    folder = tmp_path / "frames"
    fill(data, folder)
    ours = ["frames-0123456789abcdef.npy", ".frames-0123456789abcdef.npy.7-aa.tmp"]
    others = ["frames-mine.npy", "frames.npy", "part-1-of-2-0123456789abcdef.npy"]
    for name in ours + others:
        (folder / name).write_bytes(b"x")
    fill(data, folder)
    assert not [name for name in ours if (folder / name).exists()]
    assert not [name for name in others if not (folder / name).exists()]


def test_bad_images_are_reported_or_raised_before_any_is_decoded(data, tmp_path):
    path = data / "magnetogram_jpg" / f"{NAMES[4]}.fits.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=r"truncated"):
        fill(data, tmp_path / "strict")
    assert not list((tmp_path / "strict").glob("*.npy"))
    store, report = fill(data, tmp_path / "lenient", strict=False)
    assert list(report.bad) == [NAMES[4]]
    assert report.num_decoded == 11
    assert store.get(NAMES[4]) is None


def test_a_store_of_another_version_is_refused(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    text = store.journal_path.read_text()
    store.journal_path.write_text(text.replace("sffshards-frames,3,", "sffshards-frames,9,"))
    with pytest.raises(FormatError, match=r"frames\.csv: expected the journal of a frame store"):
        FrameStore(tmp_path / "frames")
